-- KEYS also: sequence. ARGV: epoch, channel, name, expected or '', reason of the seal or '', window in ms, most keys, then
-- for each entry: '' or 'k' and its key, fingerprint, event, '' or 'k' and what the event says its key is.
local log = look(ARGV[1])
if not log then return { 'gone' } end
if log.lost then return { 'lost', log.lost } end
local counted = tonumber(redis.call('HGET', KEYS[5], 'seq') or '')
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
-- A tenant that is new, or whose count was lost, counts from the server's clock on in microseconds,
-- which is beyond all that was ever counted.
local seq = counted or (now * 1000)
if seq < log.seq then return { 'lost', 'sequence' } end
if not counted then
  local last = redis.call('XREVRANGE', KEYS[6], '+', '-', 'COUNT', 1)[1]
  if last and seq < tonumber(string.match(last[1], '^%d+')) then return { 'lost', 'sequence' } end
end

local fin = log.fin
local slots, fresh, batch = { 'done' }, {}, {}
for i = 8, #ARGV, 4 do
  local key, fingerprint = ARGV[i], ARGV[i + 1]
  local known = false
  if key ~= '' then
    known = batch[key] or redis.call('HGET', KEYS[3], key)
  end
  if known then
    local of, at, number = string.match(known, '^(%x+) (%d+) (%d+)$')
    if of ~= fingerprint then return { 'conflict', string.sub(key, 2) } end
    slots[#slots + 1] = at
    slots[#slots + 1] = number
    slots[#slots + 1] = '1'
  else
    seq = seq + 1
    local at, number = digits(fin), digits(seq)
    if key ~= '' then batch[key] = fingerprint .. ' ' .. at .. ' ' .. number end
    fresh[#fresh + 1] = { i, at, number }
    slots[#slots + 1] = at
    slots[#slots + 1] = number
    slots[#slots + 1] = '0'
    fin = fin + 1
  end
end
-- What is known as a whole is answered whatever has happened since.
if #fresh == 0 then return slots end
if log.reason ~= '' then return { 'sealed', log.reason } end
if ARGV[4] ~= '' and ARGV[4] ~= digits(log.fin) then return { 'conflicting', digits(log.fin) } end

-- From here on nothing is refused: the first XADD fails or none does.
local kn = log.kn
local name = string.match(ARGV[3], '^[^.]*%.(.*)$')
for _, entry in ipairs(fresh) do
  local i, at, number = entry[1], entry[2], entry[3]
  local key = ARGV[i]
  local id = digits(tonumber(at) + 1) .. '-0'
  redis.call('XADD', KEYS[2], id, 's', number, 'e', ARGV[i + 2], 'k', ARGV[i + 3])
  -- About as many events as a gateway retains of a tenant are found by their numbers.
  redis.call('XADD', KEYS[6], 'MAXLEN', '~', 100000, number .. '-0', 'n', name, 'e', log.epoch, 'p', at)
  if key ~= '' then
    redis.call('HSET', KEYS[3], key, batch[key])
    redis.call('ZADD', KEYS[4], now, key)
    kn = kn + 1
  end
end
-- Forget some of the keys that are too old or too many: at most twice as many as came.
local most = 2 * #fresh + 16
local old = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', '(' .. digits(now - tonumber(ARGV[6])),
  'LIMIT', 0, most)
if #old == 0 and kn > tonumber(ARGV[7]) then
  old = redis.call('ZRANGE', KEYS[4], 0, math.min(most, kn - tonumber(ARGV[7])) - 1)
end
for _, key in ipairs(old) do
  redis.call('HDEL', KEYS[3], key)
  redis.call('ZREM', KEYS[4], key)
  kn = kn - 1
end
redis.call('HSET', KEYS[1], 'fin', digits(fin), 'seq', digits(seq), 'kn', digits(kn))
redis.call('HSET', KEYS[5], 'seq', digits(seq))
local told = digits(fin)
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[1], 'reason', ARGV[5])
  told = 'x'
end
redis.call('PUBLISH', ARGV[2], ARGV[3] .. ' ' .. told .. ' ' .. digits(seq))
return slots
