-- KEYS also: sequence. ARGV: what the keys of all logs begin with, the number to begin behind, most
-- events, most bytes. Answers how far it has looked, and of each event its log, epoch, position, and itself.
-- An entry of the sequence names the events of one step, the id has the last of their numbers: f is the first,
-- r has, log by log, its name, its epoch, the first position, and how many follow each other from there.
local after, most, room = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local through = math.max(tonumber(redis.call('HGET', KEYS[2], 'seq') or '0'), after)
local logs, events = {}, {}

-- Adds the events of a log from this position and number on; those that are gone are holes.
local function add(name, epoch, at, number, count)
  local log = logs[name]
  if not log then
    log = parse(redis.call('HGET', KEYS[1], name)) or {}
    logs[name] = log
  end
  if log.epoch ~= epoch then return end
  local from, fin = math.max(at, log.old), at + count
  if from >= fin then return end
  local page = redis.call('XRANGE', ARGV[1] .. ':events:' .. name, digits(from + 1), digits(fin))
  for _, event in ipairs(page) do
    local place, seq = string.match(event[1], '^(%d+)-(%d+)$')
    place, seq = tonumber(place) - 1, tonumber(seq)
    if room > 0 and place - at == seq - number then
      events[#events + 1] = { name, epoch, digits(place), read(event[1], event[2]) }
      room = room - #event[2][2]
      after = seq
    end
  end
end

while most > 0 and room > 0 do
  local page = redis.call('XRANGE', KEYS[3], digits(after + 1) .. '-0', '+', 'COUNT', 16)
  for _, entry in ipairs(page) do
    local number = tonumber(entry[2][2])
    for name, epoch, at, count in string.gmatch(entry[2][4], '(%S+) (%S+) (%d+) (%d+)') do
      at, count = tonumber(at), tonumber(count)
      local fin = number + count
      local from = math.max(number, after + 1)
      while from < fin and most > 0 and room > 0 do
        local some = math.min(fin - from, most, 64)
        add(name, epoch, at + from - number, from, some)
        most, from = most - some, from + some
        if room > 0 then after = from - 1 end
      end
      number = fin
    end
    -- Whatever else an entry says, it is read once.
    if most > 0 and room > 0 then after = math.max(after, tonumber(string.match(entry[1], '^%d+'))) end
  end
  if #page < 16 and most > 0 and room > 0 then return { 'read', digits(through), events } end
end
return { 'read', digits(after), events }
