-- Lets calls at once last longer, also those that were forgotten here.
-- KEYS: one counter for each ticket. ARGV: how long they last (ms), then the tickets.
local time = redis.call('TIME')
local till = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
for i, key in ipairs(KEYS) do
  redis.call('ZADD', key, string.format('%.0f', till), ARGV[i + 1])
  redis.call('PEXPIRE', key, ARGV[1])
end
return #KEYS
