-- Puts right what was guessed of a call. By this server's clock, in one step.
-- KEYS: one counter each. ARGV: the call's ticket; then for each counter the length of its slots (us; 0: calls at once), the slot
-- that was written (-1: none), what was taken, what was used. What counts no more cannot be given back, and nothing goes below zero.
local LAST = 30
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function text(number) return string.format('%.0f', number) end

local function advance(key, slot_us)
  local slot = math.floor(now / slot_us)
  local known = redis.call('HMGET', key, 'n', 's')
  if not known[1] then return slot, false end
  local newest = tonumber(known[1])
  if slot <= newest and newest - slot <= LAST then return newest, true end
  if math.abs(slot - newest) > LAST then
    redis.call('DEL', key)
    return slot, false
  end
  for old = newest - LAST, slot - LAST - 1 do
    local gone = redis.call('HGET', key, text(old))
    if gone then
      redis.call('HDEL', key, text(old))
      if gone ~= '0' then redis.call('HINCRBY', key, 's', '-' .. gone) end
    end
  end
  redis.call('HSET', key, 'n', text(slot))
  redis.call('PEXPIRE', key, math.ceil(slot_us * (LAST + 3) / 1000))
  return slot, true
end

for i, key in ipairs(KEYS) do
  local at = 4 * i - 2
  local slot_us, slot = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local taken, used = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  if slot_us == 0 then
    redis.call('ZREM', key, ARGV[1])
  else
    local newest, is_known = advance(key, slot_us)
    if used < taken then
      local there = is_known and slot >= 0 and newest - slot <= LAST and redis.call('HGET', key, text(slot))
      if there and there ~= '0' then
        local back = text(math.min(taken - used, tonumber(there)))
        redis.call('HINCRBY', key, text(slot), '-' .. back)
        redis.call('HINCRBY', key, 's', '-' .. back)
      end
    elseif used > taken then
      if not is_known then
        redis.call('HSET', key, 'n', text(newest))
        redis.call('PEXPIRE', key, math.ceil(slot_us * (LAST + 3) / 1000))
      end
      redis.call('HINCRBY', key, text(newest), text(used - taken))
      redis.call('HINCRBY', key, 's', text(used - taken))
    end
  end
end
return #KEYS
