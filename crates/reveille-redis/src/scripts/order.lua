-- KEYS: tenant, sequence. ARGV: what the keys of all logs begin with, the number to begin behind, most
-- events, most bytes. Answers how far it has looked, and of each event its log, epoch, position, fields.
local after, most, room = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local through = math.max(tonumber(redis.call('HGET', KEYS[1], 'seq') or '0'), after)
local logs, events = {}, {}
while most > 0 and room > 0 do
  local count = math.min(64, most)
  local page = redis.call('XRANGE', KEYS[2], digits(after + 1) .. '-0', '+', 'COUNT', count)
  for _, entry in ipairs(page) do
    after = tonumber(string.match(entry[1], '^%d+'))
    local name, epoch, at = entry[2][2], entry[2][4], entry[2][6]
    local log = logs[name]
    if not log then
      log = redis.call('HMGET', ARGV[1] .. ':log:' .. name, 'epoch', 'old')
      logs[name] = log
    end
    if log[1] == epoch and tonumber(at) >= tonumber(log[2]) then
      local id = digits(tonumber(at) + 1) .. '-0'
      local event = redis.call('XRANGE', ARGV[1] .. ':events:' .. name, id, id)[1]
      if event then
        events[#events + 1] = { name, epoch, at, event[2] }
        room = room - #event[2][4]
      end
    end
    most = most - 1
    if room <= 0 then break end
  end
  if #page < count and room > 0 then return { 'read', digits(through), events } end
end
return { 'read', digits(after), events }
