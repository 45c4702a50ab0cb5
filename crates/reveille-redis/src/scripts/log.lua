-- What every script begins with. KEYS: logs, tenant; then of a log: events, keys, order.
-- `logs` has the state of each log of the tenant by its name: epoch, old (first position), fin (end), seq (its
-- last), kn (how many idempotency keys it has), reason of its seal or '-'. Behind the name and ':a' stand its
-- attributes, behind ':m' the message of its seal. An event of position p and sequence number s has the stream
-- id (p+1)-s, and the fields e, its JSON, and k, what it says its key is behind a 'k', if it says so.

-- Lua writes large numbers as floats; in a 64-bit server the quick way is exact.
local whole = string.format('%d', 2 ^ 52) == '4503599627370496' and '%d' or '%.0f'
local function digits(n) return string.format(whole, n) end

-- The log in this state, if it is of this epoch; of any, if that is nil.
local function parse(state, epoch)
  if not state then return nil end
  local of, old, fin, seq, kn, reason =
    string.match(state, '^(%S+) (%d+) (%d+) (%d+) (%d+) (%S+)$')
  if epoch and of ~= epoch then return nil end
  return { epoch = of, old = tonumber(old), fin = tonumber(fin), seq = tonumber(seq),
    kn = tonumber(kn), reason = reason }
end

local state_form = '%s ' .. whole .. ' ' .. whole .. ' ' .. whole .. ' ' .. whole .. ' %s'
local function state(log)
  return string.format(state_form, log.epoch, log.old, log.fin, log.seq, log.kn, log.reason)
end

-- Parts are only ever changed together: another count means that one was lost.
local function lost_part(log, events, keys, order)
  if redis.call('XLEN', events) ~= log.fin - log.old then return 'events' end
  if log.kn > 0 and (redis.call('HLEN', keys) ~= log.kn or redis.call('ZCARD', order) ~= log.kn) then
    return 'keys'
  end
end

local function look(name, epoch)
  local log = parse(redis.call('HGET', KEYS[1], name), epoch)
  if log then log.lost = lost_part(log, KEYS[3], KEYS[4], KEYS[5]) end
  return log
end

-- An event as it is read: its sequence number, its JSON, and what it says its key is.
local function read(id, fields)
  return { string.match(id, '%d+$'), fields[2], fields[4] }
end

local function facts(name, log)
  local more = redis.call('HMGET', KEYS[1], name .. ':a', name .. ':m')
  return { log.epoch, digits(log.old), digits(log.fin), log.reason == '-' and '' or log.reason,
    more[2] and 1 or 0, more[2] or '', more[1] or '' }
end
