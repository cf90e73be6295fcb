-- Deletes the stream and the claim. ARGV 4: drained, if no group may have anything left.
if not owned() then
  -- Who deleted it may not have heard so, and asks again.
  if redis.call('EXISTS', marker, stream) == 0 then return {'deleted', '', ''} end
  return {'foreign', '', ''}
end
if ARGV[4] == 'drained' then
  for _, group in ipairs(groups()) do
    local id, why = oldest_needed(group)
    if id then return {'waiting', group.name, why} end
  end
end
if is_stream() then redis.call('UNLINK', stream) end
redis.call('DEL', marker)
return {'deleted', '', ''}
