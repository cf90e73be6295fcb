-- Replaces the marker if it still reads as it was seen. ARGV 4: as seen; 5: the new text.
if redis.call('GET', marker) ~= ARGV[4] then return 0 end
redis.call('SET', marker, ARGV[5])
return 1
