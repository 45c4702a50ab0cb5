-- ARGV: name, epoch, first position, most events, most bytes.
local log = look(ARGV[1], ARGV[2])
if not log then return { 'gone' } end
if log.lost then return { 'lost', log.lost } end
local most, room = tonumber(ARGV[4]), tonumber(ARGV[5])
local from = math.max(tonumber(ARGV[3]), log.old)
local events = {}
while from < log.fin and #events < most and room > 0 do
  local count = math.min(64, most - #events)
  local page = redis.call('XRANGE', KEYS[3], digits(from + 1), '+', 'COUNT', count)
  if #page == 0 then return { 'lost', 'events' } end
  for _, event in ipairs(page) do
    if tonumber(string.match(event[1], '^%d+')) ~= from + 1 then return { 'lost', 'events' } end
    from = from + 1
    events[#events + 1] = read(event[1], event[2])
    room = room - #event[2][2]
    if room <= 0 then break end
  end
end
return { 'read', digits(log.old), events }
