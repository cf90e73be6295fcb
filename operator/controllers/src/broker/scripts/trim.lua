-- Removes what exceeds the limits, never beyond what a group still needs. ARGV 4: entries or nothing; 5: age in
-- milliseconds or nothing; 6: Protect or Trim; 7: how long, in milliseconds, an unlisted group counts after its
-- last activity; 8: most entries looked at; 9 and on: the listed groups.
-- Answers: removed, whether there is more to do, the group that holds it back, what that group needs the entry for.
if not owned() then return {-1, 0, '', ''} end
if not is_stream() then return {0, 0, '', ''} end
local limit, age = tonumber(ARGV[4]), tonumber(ARGV[5])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local listed = {}
for at = 9, #ARGV do listed[ARGV[at]] = true end

local function counts(group)
  if listed[group.name] then return true end
  local idle
  for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group.name)) do
    local consumer = fields(flat)
    if not idle or consumer.idle < idle then idle = consumer.idle end
  end
  -- Without a consumer, the last entry it was given, or else the oldest one, says how old its interest is.
  if not idle then
    local at = tonumber(string.match(group['last-delivered-id'], '^(%d+)'))
    if at == 0 then
      local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
      at = first and tonumber(string.match(first[1], '^(%d+)')) or now
    end
    idle = now - at
  end
  return idle < tonumber(ARGV[7])
end

local floor, holder, why
if ARGV[6] ~= 'Trim' then
  for _, group in ipairs(groups()) do
    if counts(group) then
      local id, reason = oldest_needed(group)
      if id and (not floor or before(id, floor)) then floor, holder, why = id, group.name, reason end
    end
  end
end

-- The first entry that stays, by each limit; what lies before the later of the two goes, but for what a group needs.
local oldest = age and string.format('%.0f-0', math.max(0, now - age))
local look = tonumber(ARGV[8])
local batch = redis.call('XRANGE', stream, '-', '+', 'COUNT', look + 1)
local last = batch[look + 1] and batch[look + 1][1]
local cut, removed, more = oldest, 0, 0
local excess = limit and redis.call('XLEN', stream) - limit or 0
if excess > 0 then
  local stays = excess > look and '18446744073709551615-18446744073709551615' or batch[excess + 1][1]
  if not cut or before(cut, stays) then cut = stays end
end
if cut and floor and before(floor, cut) then cut = floor end
if cut and last and before(last, cut) then cut, more = last, 1 end
if cut then removed = redis.call('XTRIM', stream, 'MINID', '=', cut) end

local over, aged = 0, 0
if limit then over = math.max(0, redis.call('XLEN', stream) - limit) end
local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
if oldest and first and before(first[1], oldest) then aged = 1 end
if more == 1 or (over == 0 and aged == 0) then holder, why = nil, nil end
return {removed, more, holder or '', why or ''}
