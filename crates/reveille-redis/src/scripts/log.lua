-- What every script on a log begins with. KEYS: log, events, keys, order, tenant.
-- A log is: epoch, old (first position), fin (end), seq (its last), reason and message of its seal,
-- kn (how many idempotency keys it has). An event of position p has the stream id (p+1)-0.
local function look(epoch)
  local m = redis.call('HMGET', KEYS[1], 'epoch', 'old', 'fin', 'seq', 'reason', 'message', 'kn',
    'attributes')
  if not m[1] or (epoch and m[1] ~= epoch) then return nil end
  local log = {
    epoch = m[1], old = tonumber(m[2]), fin = tonumber(m[3]), seq = tonumber(m[4]),
    reason = m[5] or '', message = m[6], kn = tonumber(m[7]), attributes = m[8] or ''
  }
  -- Parts are only ever changed together: another count means that one was lost.
  if redis.call('XLEN', KEYS[2]) ~= log.fin - log.old then
    log.lost = 'events'
  elseif redis.call('HLEN', KEYS[3]) ~= log.kn or redis.call('ZCARD', KEYS[4]) ~= log.kn then
    log.lost = 'keys'
  end
  return log
end

-- Lua writes large numbers as floats.
local function digits(n) return string.format('%.0f', n) end

local function facts(log)
  return { log.epoch, digits(log.old), digits(log.fin), log.reason,
    log.message and 1 or 0, log.message or '', log.attributes }
end
