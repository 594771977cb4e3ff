local time = redis.call('TIME')
local now = string.format('(%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local most, each, all = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local members, seen, bytes, left = {}, 0, 0, 0
-- In parts, because another program may have put large members there.
while true do
  local part = redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf', 'LIMIT', seen, 32)
  for _, member in ipairs(part) do
    bytes = bytes + #member
    if #member > each or #members >= most or bytes > all then
      left = left + 1
    else
      members[#members + 1] = member
    end
  end
  seen = seen + #part
  if #part < 32 or seen > most or bytes > all then break end
end
return {left, members}
