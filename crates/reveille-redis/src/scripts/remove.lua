-- KEYS also: index. ARGV: channel, name, member.
local there = redis.call('EXISTS', KEYS[1])
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
redis.call('ZREM', KEYS[6], ARGV[3])
if there == 1 then redis.call('PUBLISH', ARGV[1], ARGV[2] .. ' x') end
return { 'done', tostring(there) }
