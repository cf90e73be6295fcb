-- Everything about the stream in one answer: type, length, first id, last id, groups as JSON.
local kind = redis.call('TYPE', stream).ok
if kind ~= 'stream' then return {kind, 0, '', '', {}} end
local info = fields(redis.call('XINFO', 'STREAM', stream))
local first = info['first-entry'] and info['first-entry'][1] or ''
local last = info['last-entry'] and info['last-entry'][1] or ''
local seen = {}
for _, group in ipairs(groups()) do
  local pending, undelivered = needs(group)
  seen[#seen + 1] = cjson.encode({
    name = group.name, consumers = group.consumers, pending = group.pending, lag = group.lag or nil,
    delivered = group['last-delivered-id'], oldestPending = pending, oldestUndelivered = undelivered,
  })
end
return {kind, info.length, first, last, seen}
