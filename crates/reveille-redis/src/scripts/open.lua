-- KEYS also: index. ARGV: name, 'current', 'any' or 'new', epoch, attributes, channel, name in messages, member.
local log = look(ARGV[1], nil)
if log and ARGV[2] ~= 'new' then
  if log.lost then return { 'lost', log.lost } end
  if not redis.call('ZSCORE', KEYS[6], ARGV[7]) then
    redis.call('ZADD', KEYS[6], 0, ARGV[7])
  end
  return { 'found', facts(ARGV[1], log) }
end
if ARGV[2] == 'current' then return { 'gone' } end
redis.call('ZADD', KEYS[6], 0, ARGV[7])
redis.call('DEL', KEYS[3], KEYS[4], KEYS[5])
local made = { epoch = ARGV[3], old = 0, fin = 0, seq = 0, kn = 0, reason = '-' }
-- A hash of short texts alone would be searched from its beginning for each log.
redis.call('HSETNX', KEYS[1], '-', string.rep('-', 1024))
redis.call('HDEL', KEYS[1], ARGV[1] .. ':m')
redis.call('HSET', KEYS[1], ARGV[1], state(made), ARGV[1] .. ':a', ARGV[4])
redis.call('PUBLISH', ARGV[5], ARGV[6] .. ' x')
return { 'made', facts(ARGV[1], made) }
