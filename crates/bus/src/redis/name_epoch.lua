local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local record = redis.call('GET', KEYS[2])
local epoch, last, earlier
if record then epoch, last, earlier = string.match(record, '^(%w+) %d+%-%d+ (%d+%-%d+) (%d+%-%d+)') end
if newest then
  -- Something else than the publish script began the log: the epoch that was named for it must not begin with a later one.
  if last == '0-0' then
    redis.call('DEL', KEYS[2])
    record = nil
  end
  return {newest[1], record or ''}
end
if not epoch or last ~= '0-0' then
  local function is_greater(number, other)
    return #number > #other or #number == #other and number > other
  end
  if epoch then
    local milliseconds, sequence = string.match(last, '^(%d+)%-(%d+)$')
    local earlier_milliseconds, earlier_sequence = string.match(earlier, '^(%d+)%-(%d+)$')
    local is_same = milliseconds == earlier_milliseconds
    if is_same and is_greater(sequence, earlier_sequence) or not is_same and is_greater(milliseconds, earlier_milliseconds) then
      earlier = last
    end
  end
  record = ARGV[2] .. ' 0-0 0-0 ' .. (earlier or '0-0')
end
redis.call('SET', KEYS[2], record, 'EX', ARGV[1])
return {'0-0', record}
