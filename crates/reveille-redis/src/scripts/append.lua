-- Appends that wait at the same time, to logs of one tenant, in one step: each is stored or refused as if
-- they came one after the other.
-- KEYS: logs, tenant, sequence; then for each log: events, keys, order.
-- ARGV: channel, name of the tenant, window in ms, most keys, how many logs, their names; then for each log its
-- epoch, how many appends, and for each append either
--   how many events follow, and those: without keys, conditions and seal; or
--   '', expected or '', reason of the seal or '', how many entries follow, and for each
--   '' or 'k' and its key, fingerprint, event, '' or 'k' and what the event says its key is.
-- Answers for each append its first position and first sequence number, if all it has is new; otherwise -1 and
-- what has become of it.
local counted = tonumber(redis.call('HGET', KEYS[2], 'seq') or '')
local clock
local function now()
  if not clock then
    local time = redis.call('TIME')
    clock = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  end
  return clock
end
-- A tenant that is new, or whose count was lost, counts from the server's clock on in microseconds,
-- which is beyond all that was ever counted.
local before = counted or (now() * 1000)
local is_behind = false
if not counted then
  local last = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
  is_behind = last and before < tonumber(string.match(last[1], '^%d+'))
end
local seq = before

local pattern = '^(%S+) (%d+) (%d+) (%d+) (%d+) (%S+)$'

-- The log of this number in this state, or why nothing can be appended to it.
local function begin(n, name, found, epoch)
  local of, old, fin, last, kn, reason = string.match(found or '', pattern)
  if of ~= epoch then return { refused = { 'gone' } } end
  if is_behind or before < tonumber(last) then return { refused = { 'lost', 'sequence' } } end
  local at = 3 * n
  fin = tonumber(fin)
  local log = { epoch = epoch, old = tonumber(old), fin = fin, seq = 0, kn = tonumber(kn), reason = reason,
    name = name, start = fin, first = seq + 1, events = KEYS[at + 1], keyed = KEYS[at + 2],
    order = KEYS[at + 3], new = {} }
  -- What has no keys writes to its stream, which tells whether that is there.
  if log.kn > 0 then
    local lost = lost_part(log, log.events, log.keyed, log.order)
    if lost then return { refused = { 'lost', lost } } end
  end
  return log
end

local function plain(log, i, count)
  if log.refused then return -1, log.refused end
  if log.reason ~= '-' then return -1, { 'sealed', log.reason } end
  local new = log.new
  for n = i, i + count - 1 do new[#new + 1] = n end
  log.fin, seq = log.fin + count, seq + count
  return log.fin - count, seq - count + 1
end

-- An append with keys, conditions or a seal: four arguments an entry from `i` on.
local function marked(log, i, count, expected, seal)
  if log.refused then return -1, log.refused end
  local slots, fresh, batch, keys, repeats = { 'done' }, {}, {}, {}, false
  for e = i, i + 4 * (count - 1), 4 do
    local key, fingerprint = ARGV[e], ARGV[e + 1]
    local known = false
    if key ~= '' then
      known = batch[key] or log.known and log.known[key] or redis.call('HGET', log.keyed, key)
    end
    if known then
      local of, at, number = string.match(known, '^(%x+) (%d+) (%d+)$')
      if of ~= fingerprint then return -1, { 'conflict', string.sub(key, 2) } end
      slots[#slots + 1] = at
      slots[#slots + 1] = number
      slots[#slots + 1] = '1'
      repeats = true
    else
      local at, number = digits(log.fin + #fresh), digits(seq + #fresh + 1)
      fresh[#fresh + 1] = e + 2
      if key ~= '' then
        batch[key] = fingerprint .. ' ' .. at .. ' ' .. number
        keys[#keys + 1] = key
      end
      slots[#slots + 1] = at
      slots[#slots + 1] = number
      slots[#slots + 1] = '0'
    end
  end
  -- What is known as a whole is answered whatever has happened since.
  if #fresh == 0 then return -1, slots end
  if log.reason ~= '-' then return -1, { 'sealed', log.reason } end
  if expected ~= '' and expected ~= digits(log.fin) then
    return -1, { 'conflicting', digits(log.fin) }
  end
  for _, n in ipairs(fresh) do
    log.new[#log.new + 1] = n
    if ARGV[n + 1] ~= '' then
      log.own = log.own or {}
      log.own[n] = ARGV[n + 1]
    end
  end
  for _, key in ipairs(keys) do
    -- Without keys before, nothing has been looked at where they are.
    if log.kn == 0 and not log.keys and redis.call('ZCARD', log.order) ~= 0 then
      error('keys')
    end
    log.keys, log.known = log.keys or {}, log.known or {}
    log.keys[#log.keys + 1] = key
    log.known[key] = batch[key]
  end
  if seal ~= '' then log.reason, log.seals = seal, true end
  local at, number = log.fin, seq + 1
  log.fin, seq = log.fin + #fresh, seq + #fresh
  if repeats then return -1, slots end
  return at, number
end

local count = tonumber(ARGV[5])
local found = redis.call('HMGET', KEYS[1], unpack(ARGV, 6, 5 + count))
local run_form = '%s %s ' .. whole .. ' %d'
local answers, of, logs, runs, i = {}, {}, {}, {}, 6 + count
for n = 1, count do
  local log = begin(n, ARGV[5 + n], found[n], ARGV[i])
  local appends = tonumber(ARGV[i + 1])
  i = i + 2
  for _ = 1, appends do
    local first, second
    if ARGV[i] ~= '' then
      local count = tonumber(ARGV[i])
      first, second = plain(log, i + 1, count)
      i = i + 1 + count
    else
      local count = tonumber(ARGV[i + 3])
      first, second = marked(log, i + 4, count, ARGV[i + 1], ARGV[i + 2])
      i = i + 4 + 4 * count
    end
    answers[#answers + 1] = first
    answers[#answers + 1] = second
    of[#of + 1] = log
  end
  if log.new and #log.new > 0 then
    logs[#logs + 1] = log
    runs[#runs + 1] = string.format(run_form, log.name, log.epoch, log.start, #log.new)
  end
end
if #logs == 0 then
  -- Whoever waits for replicas waits for what was written over his connection: what is known already may have
  -- been written over another one.
  if counted then redis.call('HSET', KEYS[2], 'seq', digits(seq)) end
  return answers
end

-- An error up to here, and one of the first write, has changed nothing. From then on there is none.
-- About as many events as a gateway retains of a tenant are found by their numbers.
redis.call('XADD', KEYS[3], 'MINID', '~', digits(math.max(seq - 100000, 0)), digits(seq) .. '-0',
  'f', digits(before + 1), 'r', table.concat(runs, ' '))
redis.call('HSET', KEYS[2], 'seq', digits(seq))

-- A log that has had events has a stream.
local function add(events, is_first, id, event, said)
  if is_first then
    if said then return redis.pcall('XADD', events, id, 'e', event, 'k', said) end
    return redis.pcall('XADD', events, id, 'e', event)
  end
  if said then return redis.pcall('XADD', events, 'NOMKSTREAM', id, 'e', event, 'k', said) end
  return redis.pcall('XADD', events, 'NOMKSTREAM', id, 'e', event)
end

local place = whole .. '-' .. whole
local function store(log)
  local own, at, number = log.own or {}, log.start, log.first
  for n, entry in ipairs(log.new) do
    local id = string.format(place, at + n, number + n - 1)
    local added = add(log.events, at + n == 1, id, ARGV[entry], own[entry])
    -- The stream is gone, or somebody else has written to it: then it takes none of them.
    if type(added) ~= 'string' then return false end
  end
  if log.keys then
    for _, key in ipairs(log.keys) do
      redis.call('HSET', log.keyed, key, log.known[key])
      redis.call('ZADD', log.order, now(), key)
    end
    log.kn = log.kn + #log.keys
  end
  if log.kn > 0 then
    -- Forget some of the keys that are too old or too many: at most twice as many as came.
    local most = 2 * #log.new + 16
    local old = redis.call('ZRANGEBYSCORE', log.order, '-inf',
      '(' .. digits(now() - tonumber(ARGV[3])), 'LIMIT', 0, most)
    if #old == 0 and log.kn > tonumber(ARGV[4]) then
      old = redis.call('ZRANGE', log.order, 0, math.min(most, log.kn - tonumber(ARGV[4])) - 1)
    end
    for _, key in ipairs(old) do
      redis.call('HDEL', log.keyed, key)
      redis.call('ZREM', log.order, key)
      log.kn = log.kn - 1
    end
  end
  log.seq = log.first + #log.new - 1
  return true
end

local told_form = '%s.%s ' .. whole
local told, states = {}, {}
for _, log in ipairs(logs) do
  if store(log) then
    if log.seals then
      told[#told + 1] = ARGV[2] .. '.' .. log.name .. ' x'
    else
      told[#told + 1] = string.format(told_form, ARGV[2], log.name, log.fin)
    end
    states[#states + 1] = log.name
    states[#states + 1] = state(log)
  else
    for n, other in ipairs(of) do
      if other == log then answers[2 * n - 1], answers[2 * n] = -1, { 'lost', 'events' } end
    end
  end
end
if #states > 0 then redis.call('HSET', KEYS[1], unpack(states)) end
told[#told + 1] = ARGV[2] .. ' ' .. digits(seq)
redis.call('PUBLISH', ARGV[1], table.concat(told, '\n'))
return answers
