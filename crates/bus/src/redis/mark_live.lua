local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local time = redis.call('TIME')
local mark = time[1] * 1000 + math.floor(time[2] / 1000)
-- Beyond the newest entry, whatever the clock says.
if newest then mark = math.max(mark, tonumber(string.match(newest[1], '^%d+'))) end
mark = math.max(mark + ARGV[1], tonumber(redis.call('GET', KEYS[2]) or '') or 0)
local text = string.format('%.0f', mark)
redis.call('SET', KEYS[2], text, 'PX', ARGV[2])
return text
