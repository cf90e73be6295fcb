-- Makes the stream exist, and a group of it. ARGV 4: the group, or nothing; 5: the id it begins after.
if not owned() then return 0 end
if ARGV[4] ~= '' then
  local reply = redis.pcall('XGROUP', 'CREATE', stream, ARGV[4], ARGV[5], 'MKSTREAM')
  if reply.err and not string.find(reply.err, 'BUSYGROUP', 1, true) then return reply end
elseif redis.call('EXISTS', stream) == 0 then
  -- Only a group brings an empty stream into being.
  redis.call('XGROUP', 'CREATE', stream, 'synapse-creates', '$', 'MKSTREAM')
  redis.call('XGROUP', 'DESTROY', stream, 'synapse-creates')
end
return 1
