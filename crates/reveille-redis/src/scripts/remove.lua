-- KEYS also: index. ARGV: name, channel, name in messages, member, and the epoch if only that one is meant.
if ARGV[5] and not parse(redis.call('HGET', KEYS[1], ARGV[1]), ARGV[5]) then return { 'done', '0' } end
local there = redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1] .. ':a', ARGV[1] .. ':m')
redis.call('DEL', KEYS[3], KEYS[4], KEYS[5])
redis.call('ZREM', KEYS[6], ARGV[4])
if there == 1 then redis.call('PUBLISH', ARGV[2], ARGV[3] .. ' x') end
return { 'done', tostring(there) }
