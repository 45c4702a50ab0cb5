-- ARGV: epoch.
redis.call('HSETNX', KEYS[2], 'epoch', ARGV[1])
if not redis.call('HGET', KEYS[2], 'seq') then
  local time = redis.call('TIME')
  redis.call('HSET', KEYS[2], 'seq', digits(tonumber(time[1]) * 1000000 + tonumber(time[2])))
end
return redis.call('HGET', KEYS[2], 'epoch')
