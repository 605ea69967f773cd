-- Takes what a call wants of every counter, or nothing; or looks only. By this server's clock, in one step.
-- KEYS: one counter each. ARGV: 'take' or 'look', the call's ticket, how long a call at once lasts unless renewed (ms); then for
-- each counter the length of its slots (us; 0: calls at once), the part, the amount.
-- Returns 1 and for each counter its slot, what counts, after how long nothing of it does (us); or 0, which counter refuses
-- longest, how long (us). The newest slot of a span is in the field 'n', the sum of all in 's'; 31 slots count.
local LAST = 30
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local now_ms = math.floor(now / 1000)
local is_take = ARGV[1] == 'take'

local function text(number) return string.format('%.0f', number) end

-- Throws away what counts no more; returns the newest slot, and the sum or false when there is nothing.
local function advance(key, slot_us)
  local slot = math.floor(now / slot_us)
  local known = redis.call('HMGET', key, 'n', 's')
  if not known[1] then return slot, false end
  local newest, sum = tonumber(known[1]), tonumber(known[2])
  if slot <= newest and newest - slot <= LAST then return newest, sum end
  if math.abs(slot - newest) > LAST then
    redis.call('DEL', key)
    return slot, false
  end
  for old = newest - LAST, slot - LAST - 1 do
    local gone = redis.call('HGET', key, text(old))
    if gone then
      redis.call('HDEL', key, text(old))
      if gone ~= '0' then sum = tonumber(redis.call('HINCRBY', key, 's', '-' .. gone)) end
    end
  end
  redis.call('HSET', key, 'n', text(slot))
  redis.call('PEXPIRE', key, math.ceil(slot_us * (LAST + 3) / 1000))
  return slot, sum
end

-- Says after how long no more than `room` counts, if nobody comes.
local function wait_for(key, slot_us, newest, sum, room)
  local slots, fields, till = {}, redis.call('HGETALL', key), now
  for i = 1, #fields, 2 do slots[fields[i]] = tonumber(fields[i + 1]) end
  for slot = newest - LAST, newest do
    if sum <= room then break end
    sum = sum - (slots[text(slot)] or 0)
    till = (slot + LAST + 1) * slot_us
  end
  return till - now
end

local stands, worst, longest = {}, 0, -1
for i, key in ipairs(KEYS) do
  local at = 3 * i + 1
  local slot_us, part, amount = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local stand = { slot_us = slot_us }
  local wait = -1
  if slot_us == 0 then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', text(now_ms))
    stand.used = redis.call('ZCARD', key)
    if stand.used + amount > part then wait = 1000000 end
  else
    stand.newest, stand.sum = advance(key, slot_us)
    stand.used = stand.sum or 0
    if stand.used + amount > part then
      wait = wait_for(key, slot_us, stand.newest, stand.used, part - amount)
    end
  end
  if is_take and wait > longest then worst, longest = i, wait end
  stands[i] = stand
end
if worst > 0 then return { 0, worst, longest } end

local answer = { 1 }
for i, key in ipairs(KEYS) do
  local stand, amount = stands[i], ARGV[3 * i + 3]
  local slot, reset = 0, 0
  if stand.slot_us == 0 then
    if is_take then
      redis.call('ZADD', key, text(now_ms + ARGV[3]), ARGV[2])
      redis.call('PEXPIRE', key, ARGV[3])
      stand.used = stand.used + 1
    end
  else
    slot = stand.newest
    if is_take and tonumber(amount) > 0 then
      if not stand.sum then
        redis.call('HSET', key, 'n', text(slot))
        redis.call('PEXPIRE', key, math.ceil(stand.slot_us * (LAST + 3) / 1000))
      end
      redis.call('HINCRBY', key, text(slot), amount)
      stand.used = tonumber(redis.call('HINCRBY', key, 's', amount))
    end
    if stand.used > 0 then reset = (slot + LAST + 1) * stand.slot_us - now end
  end
  answer[3 * i - 1], answer[3 * i], answer[3 * i + 1] = slot, stand.used, reset
end
return answer
