-- Gives the stream back: it stays, and belongs to nobody. ARGV 4: the object's uid; another one's claim is left alone.
if not owned() then return 0 end
local claim = cjson.decode(redis.call('GET', marker))
if claim.uid and claim.uid ~= '' and claim.uid ~= ARGV[4] then return 0 end
return redis.call('DEL', marker)
