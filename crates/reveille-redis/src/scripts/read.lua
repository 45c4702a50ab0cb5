-- ARGV: epoch, first position, most events, most bytes.
local log = look(ARGV[1])
if not log then return { 'gone' } end
if log.lost then return { 'lost', log.lost } end
local most, room = tonumber(ARGV[3]), tonumber(ARGV[4])
local from = math.max(tonumber(ARGV[2]), log.old)
local events = {}
while from < log.fin and #events < most and room > 0 do
  local count = math.min(64, most - #events)
  local page = redis.call('XRANGE', KEYS[2], digits(from + 1) .. '-0', '+', 'COUNT', count)
  if #page == 0 then return { 'lost', 'events' } end
  for _, event in ipairs(page) do
    if event[1] ~= digits(from + 1) .. '-0' then return { 'lost', 'events' } end
    from = from + 1
    events[#events + 1] = event[2]
    room = room - #event[2][4]
    if room <= 0 then break end
  end
end
return { 'read', digits(log.old), events }
