-- ARGV: name, epoch.
local log = look(ARGV[1], ARGV[2])
if not log then return { 'gone' } end
if log.lost then return { 'lost', log.lost } end
return { 'found', facts(ARGV[1], log) }
