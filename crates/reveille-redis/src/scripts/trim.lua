-- ARGV: name, epoch, the first position to keep.
local log = look(ARGV[1], ARGV[2])
if not log then return { 'gone' } end
if log.lost then return { 'lost', log.lost } end
local before = math.min(tonumber(ARGV[3]), log.fin)
if before <= log.old then return { 'done', '0' } end
redis.call('XTRIM', KEYS[3], 'MINID', '=', digits(before + 1))
log.old = before
redis.call('HSET', KEYS[1], ARGV[1], state(log))
return { 'done', '1' }
