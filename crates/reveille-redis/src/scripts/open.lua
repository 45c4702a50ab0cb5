-- KEYS also: index. ARGV: 'current', 'any' or 'new', epoch, attributes, channel, name, member.
local log = look(nil)
if log and ARGV[1] ~= 'new' then
  if log.lost then return { 'lost', log.lost } end
  if not redis.call('ZSCORE', KEYS[6], ARGV[6]) then
    redis.call('ZADD', KEYS[6], 0, ARGV[6])
  end
  return { 'found', facts(log) }
end
if ARGV[1] == 'current' then return { 'gone' } end
redis.call('ZADD', KEYS[6], 0, ARGV[6])
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'old', '0', 'fin', '0', 'seq', '0', 'kn', '0',
  'attributes', ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[5] .. ' x')
return { 'made', facts(look(nil)) }
