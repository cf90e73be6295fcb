-- What every script begins with. KEYS: the marker, the stream. ARGV 1 to 3: who we are.
if not redis.REDIS_VERSION_NUM then
  return redis.error_reply('UNSUPPORTED Redis 7.0 or later is needed')
end
local marker, stream = KEYS[1], KEYS[2]

local function owned()
  local text = redis.call('GET', marker)
  if not text then return false end
  local ok, claim = pcall(cjson.decode, text)
  return ok and type(claim) == 'table'
    and claim.cluster == ARGV[1] and claim.namespace == ARGV[2] and claim.name == ARGV[3]
end

-- Ids are two decimal numbers of up to 20 digits: more than Lua's numbers hold, so they are compared as text.
local function less(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end

local function before(a, b)
  local a1, a2 = string.match(a, '^(%d+)-(%d+)$')
  local b1, b2 = string.match(b, '^(%d+)-(%d+)$')
  if a1 ~= b1 then return less(a1, b1) end
  return less(a2, b2)
end

local function fields(flat)
  local named = {}
  for at = 1, #flat, 2 do named[flat[at]] = flat[at + 1] end
  return named
end

local function is_stream()
  return redis.call('TYPE', stream).ok == 'stream'
end

local function groups()
  if not is_stream() then return {} end
  local all = {}
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', stream)) do all[#all + 1] = fields(flat) end
  return all
end

-- The oldest entry of the stream that the group has pending, and the oldest that it has not been given.
-- Pending ids whose entries are gone need nothing any more, so the search begins at the first entry.
local function needs(group)
  local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  if not first then return nil, nil end
  local pending
  if group.pending > 0 then
    local row = redis.call('XPENDING', stream, group.name, first[1], '+', 1)[1]
    pending = row and row[1]
  end
  local next_one = redis.call('XRANGE', stream, '(' .. group['last-delivered-id'], '+', 'COUNT', 1)[1]
  return pending, next_one and next_one[1]
end

local function oldest_needed(group)
  local pending, undelivered = needs(group)
  if pending and not (undelivered and before(undelivered, pending)) then return pending, 'pending' end
  return undelivered, 'not delivered'
end
