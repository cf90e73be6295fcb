-- Replaces the marker, or removes it, if it still reads as it was seen. ARGV 4: as seen; 5: the new text or nothing.
if redis.call('GET', marker) ~= ARGV[4] then return 0 end
if ARGV[5] == '' then return redis.call('DEL', marker) end
redis.call('SET', marker, ARGV[5])
return 1
