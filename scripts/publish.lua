-- Publishes events durably: appends them to the workspace's log and announces each on the channel of the same name, in one step.
--   KEYS[1]   the workspace's channel, which is its log's key too: workspace:acme
--   ARGV[1]   the payload, UTF-8 text
-- All others are optional; an empty text stands for the default:
--   ARGV[2]   how many events the log keeps (1000), roughly
--   ARGV[3]   how many seconds it keeps an event, and an idle log itself (86400)
--   ARGV[4]   an idempotency key: publishing with the same key within 5 minutes does nothing and answers the first id
--   ARGV[5]   how many bytes of payload the log keeps (16777216)
--   ARGV[6]…  further payloads
-- Answers the event's id; the ids in order where there are further payloads. For example:
--   redis-cli --eval scripts/publish.lua workspace:acme , '{"type":"CHANNEL_UPDATED"}'
local log = KEYS[1]
local count = tonumber(ARGV[2] or '') or 1000
local seconds = tonumber(ARGV[3] or '') or 86400
local key = ARGV[4] or ''
local bytes = tonumber(ARGV[5] or '') or 16777216
local once = log .. '/once/' .. key

local function answer(ids)
  if #ARGV > 5 then return ids end
  return ids[1]
end

if key ~= '' then
  local known = redis.call('GET', once)
  if known then
    local ids = {}
    for id in string.gmatch(known, '%S+') do ids[#ids + 1] = id end
    return answer(ids)
  end
end

-- Each entry carries the sum of all payload bytes up to it, so that the bytes in the log are a difference of two sums.
local function sum_of(entry)
  for at = 1, #entry[2], 2 do
    if entry[2][at] == 'sum' then return tonumber(entry[2][at + 1]) end
  end
end

local newest = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
local previous = newest and newest[1] or '0-0'
local sum = newest and sum_of(newest) or 0
local ids = {}

local function publish(payload)
  sum = sum + #payload
  local id = redis.call('XADD', log, 'MAXLEN', '~', count, '*', 'data', payload, 'sum', string.format('%.0f', sum))
  redis.call('PUBLISH', log, 'tidings/1 ' .. id .. ' ' .. previous .. '\n' .. payload)
  previous = id
  ids[#ids + 1] = id
end

publish(ARGV[1])
for at = 6, #ARGV do publish(ARGV[at]) end

-- By age and by bytes. A user who may append but not trim publishes all the same; MAXLEN above bounds the log.
local milliseconds = tonumber(string.match(previous, '^%d+'))
redis.pcall('XTRIM', log, 'MINID', '~', string.format('%.0f', math.max(milliseconds - seconds * 1000, 0)))
for _ = 1, #ids + 10 do
  local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
  local before = oldest and sum_of(oldest)
  if not before or oldest[1] == previous or sum - before <= bytes then break end
  local length = redis.pcall('XLEN', log)
  local trimmed = type(length) == 'number' and redis.pcall('XTRIM', log, 'MAXLEN', length - 1)
  if type(trimmed) ~= 'number' then break end
end
redis.call('EXPIRE', log, seconds)
if key ~= '' then redis.call('SET', once, table.concat(ids, ' '), 'EX', 300) end
return answer(ids)
