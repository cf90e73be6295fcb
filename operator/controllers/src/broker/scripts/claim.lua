-- Claims the stream unless somebody has. ARGV 4: the marker's text; 5: whether an existing stream is adopted.
local text = redis.call('GET', marker)
if text then return {owned() and 'ours' or 'taken', text} end
local kind = redis.call('TYPE', stream).ok
if kind ~= 'none' and kind ~= 'stream' then return {'other', kind} end
if kind == 'stream' and ARGV[5] ~= 'adopt' then return {'unadopted', ''} end
redis.call('SET', marker, ARGV[4], 'NX')
return {'ours', ARGV[4]}
