-- Gives the stream back: it stays, and belongs to nobody.
if not owned() then return 0 end
return redis.call('DEL', marker)
