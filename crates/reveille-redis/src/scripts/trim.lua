-- ARGV: epoch, the first position to keep.
local log = look(ARGV[1])
if not log then return { 'gone' } end
if log.lost then return { 'lost', log.lost } end
local before = math.min(tonumber(ARGV[2]), log.fin)
if before <= log.old then return { 'done', '0' } end
redis.call('XTRIM', KEYS[2], 'MINID', '=', digits(before + 1) .. '-0')
redis.call('HSET', KEYS[1], 'old', digits(before))
return { 'done', '1' }
