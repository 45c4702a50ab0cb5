-- ARGV: name, epoch, channel, name in messages, reason, and the message if there is one.
local log = look(ARGV[1], ARGV[2])
if not log then return { 'gone' } end
if log.lost then return { 'lost', log.lost } end
if log.reason ~= '-' then return { 'done', '0' } end
log.reason = ARGV[5]
redis.call('HSET', KEYS[1], ARGV[1], state(log))
if ARGV[6] then redis.call('HSET', KEYS[1], ARGV[1] .. ':m', ARGV[6]) end
redis.call('PUBLISH', ARGV[3], ARGV[4] .. ' x')
return { 'done', '1' }
