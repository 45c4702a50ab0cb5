-- ARGV: epoch, channel, name, reason, and the message if there is one.
local log = look(ARGV[1])
if not log then return { 'gone' } end
if log.lost then return { 'lost', log.lost } end
if log.reason ~= '' then return { 'done', '0' } end
redis.call('HSET', KEYS[1], 'reason', ARGV[4])
if ARGV[5] then redis.call('HSET', KEYS[1], 'message', ARGV[5]) end
redis.call('PUBLISH', ARGV[2], ARGV[3] .. ' x')
return { 'done', '1' }
