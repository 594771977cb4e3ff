-- Publishes one event durably: appends it to the workspace's log and announces it on the channel of the same name, as one step.
--   KEYS[1]  the workspace's channel, which is its log's key too: workspace:acme
--   ARGV[1]  the payload, UTF-8 text
--   ARGV[2]  optional: how many events the log keeps (1000)
--   ARGV[3]  optional: how many seconds an idle log is kept (86400)
-- Answers the event's id. For example:
--   redis-cli --eval scripts/publish.lua workspace:acme , '{"type":"CHANNEL_UPDATED"}'
local log, payload = KEYS[1], ARGV[1]
local count = tonumber(ARGV[2] or '') or 1000
local seconds = tonumber(ARGV[3] or '') or 86400
local newest = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)
local previous = newest[1] and newest[1][1] or '0-0'
local id = redis.call('XADD', log, 'MAXLEN', '~', count, '*', 'data', payload)
redis.call('EXPIRE', log, seconds)
redis.call('PUBLISH', log, 'tidings/1 ' .. id .. ' ' .. previous .. '\n' .. payload)
return id
