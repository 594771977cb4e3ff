-- Publishes events durably: appends them to the workspace's log and announces each on the channel of the same name, in one step.
--   KEYS[1]   the workspace's channel, which is its log's key too: workspace:acme
--   KEYS[2]   the record of the log's epoch: {workspace:acme}/epoch. Servers that want every key declared need it; others find it
--   KEYS[3]   where there is an idempotency key, what is kept of it, likewise: {workspace:acme}/once/<key>
--   ARGV[1]   the payload, UTF-8 text
-- All others are optional; an empty text stands for the default:
--   ARGV[2]   how many events the log keeps (1000), roughly
--   ARGV[3]   how many seconds it keeps an event, and an idle log itself (86400)
--   ARGV[4]   an idempotency key: publishing with the same key within 5 minutes does nothing and answers the first id
--   ARGV[5]   how many bytes of payload the log keeps (16777216)
--   ARGV[6]   who gets it, as JSON: an array of 1 to 1000 user ids. Where there are further payloads, this is for all of them, or it is
--             an array with one element for each event: such an array, or null for everybody, but not null for all. Default: everybody.
--             Or it is an object with a trace context (W3C) of version 00 for all events, and the audience, which may be left out:
--             {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "to": ["user-1"]}. An invalid context is ignored
--   ARGV[7]…  further payloads
-- Answers the event's id; the ids in order where there are further payloads. For example:
--   redis-cli --eval scripts/publish.lua workspace:acme , '{"type":"CHANNEL_UPDATED"}'
--
-- In a cluster, declare KEYS[2], and KEYS[3] with an idempotency key: {workspace:acme}/epoch and {workspace:acme}/once/<key>. While a slot
-- moves, the server then sends TRYAGAIN until it has all of them. A key that is nowhere has to be reserved first, at the server that
-- accepts it: SET {workspace:acme}/once/<key> '' NX EX 60
local log = KEYS[1]
-- The command that announces events: SPUBLISH in a cluster, PUBLISH elsewhere. A node names it here, because it knows its server.
local announce
local count = tonumber(ARGV[2] or '') or 1000
local seconds = tonumber(ARGV[3] or '') or 86400
local key = ARGV[4] or ''
local bytes = tonumber(ARGV[5] or '') or 16777216
local record = KEYS[2] or '{' .. log .. '}/epoch'
local once = KEYS[3] or '{' .. log .. '}/once/' .. key

local function answer(ids)
  if #ARGV > 6 then return ids end
  return ids[1]
end

-- A user id has 1 to 256 bytes of UTF-8 without control characters.
local sequences = {
  '\240[\144-\191][\128-\191][\128-\191]', '[\241-\243][\128-\191][\128-\191][\128-\191]', '\244[\128-\143][\128-\191][\128-\191]',
  '\224[\160-\191][\128-\191]', '[\225-\236\238\239][\128-\191][\128-\191]', '\237[\128-\159][\128-\191]',
  '[\195-\223][\128-\191]', '\194[\160-\191]',
}
local function is_user(id)
  if type(id) ~= 'string' or #id < 1 or #id > 256 or string.find(id, '[%z\1-\31\127]') then return false end
  for _, sequence in ipairs(sequences) do id = string.gsub(id, sequence, ' ') end
  return not string.find(id, '[\128-\255]')
end

-- An audience as it stands in the log and in the envelope.
local function audience(users)
  if type(users) ~= 'table' or #users < 1 or #users > 1000 then return nil end
  local quoted = {}
  for at, id in ipairs(users) do
    if not is_user(id) then return nil end
    quoted[at] = '"' .. string.gsub(id, '["\\]', '\\%0') .. '"'
  end
  return '[' .. table.concat(quoted, ',') .. ']'
end

-- The audience of each event; nil where it is for everybody. False where the argument is none: nothing is published then.
local events = math.max(#ARGV - 5, 1)
local trace
local function context(text)
  if type(text) ~= 'string' then return nil end
  local id, span = string.match(text, '^00%-([0-9a-f]+)%-([0-9a-f]+)%-[0-9a-f][0-9a-f]$')
  if id and #id == 32 and #span == 16 and string.find(id, '[^0]') and string.find(span, '[^0]') then return text end
end
local function audiences(text)
  if text == '' then return {} end
  local is_json, users = pcall(cjson.decode, text)
  if not is_json or string.find(text, '%z') then return false end
  if type(users) == 'table' and users.traceparent then
    for name in pairs(users) do
      if name ~= 'traceparent' and name ~= 'to' then return false end
    end
    trace, users = context(users.traceparent), users.to
    if users == nil then return {} end
  end
  local each, found, for_all = {}, false, audience(users)
  if type(users) ~= 'table' or not for_all and #users ~= events then return false end
  for at = 1, events do
    each[at] = for_all or users[at] ~= cjson.null and audience(users[at]) or nil
    if not each[at] and users[at] ~= cjson.null then return false end
    found = found or each[at] ~= nil
  end
  return found and each
end

-- Redis 7 can say what a user may do; servers before it have no SPUBLISH.
local announce_too
if not announce then
  announce = 'PUBLISH'
  if redis.acl_check_cmd and redis.acl_check_cmd('INFO', 'cluster') then
    if string.find(redis.call('INFO', 'cluster'), 'cluster_enabled:1', 1, true) then announce = 'SPUBLISH' end
  elseif redis.acl_check_cmd and redis.acl_check_cmd('SPUBLISH', log, '') then
    -- A user who may not ask announces in both ways, as far as it may.
    if redis.acl_check_cmd('PUBLISH', log, '') then announce_too = 'SPUBLISH' else announce = 'SPUBLISH' end
  end
end

local to = audiences(ARGV[6] or '')
if not to then
  return redis.error_reply('ERR tidings_publish: the audience is a JSON array of 1 to 1000 user ids; or, for each event, such an array or null, but not null for all')
end
local audience_bytes = 0
for at = 1, events do audience_bytes = audience_bytes + #(to[at] or '') end
if audience_bytes > 16777216 then
  return redis.error_reply('ERR tidings_publish: the audiences of all events of a call have at most 16777216 bytes together')
end

if key ~= '' then
  local known = redis.call('GET', once)
  -- An empty text is no id: it reserves the key while a slot of a cluster moves.
  if known and known ~= '' then
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

local function is_greater(number, other)
  return #number > #other or #number == #other and number > other
end
local function is_after(id, other)
  local milliseconds, sequence = string.match(id, '^(%d+)%-(%d+)$')
  local other_milliseconds, other_sequence = string.match(other, '^(%d+)%-(%d+)$')
  if milliseconds ~= other_milliseconds then return is_greater(milliseconds, other_milliseconds) end
  return is_greater(sequence, other_sequence)
end

-- The epoch of the log, the time from its first entry to its end: its name, its first and last entry, and the highest entry of any
-- epoch before it. A node names an epoch before its first entry, to clients of an empty log. A user who may not read or write the
-- record publishes all the same; then nothing proves that a log holds what came after its beginning.
local known = redis.pcall('GET', record)
local keeps_record = type(known) ~= 'table'
-- A record that is not declared may lie on another server while the slot moves.
if announce == 'SPUBLISH' and newest and not known and not KEYS[2] then keeps_record = false end
local epoch, first, last, earlier
if keeps_record and known then
  epoch, first, last, earlier = string.match(known, '^(%w+) (%d+%-%d+) (%d+%-%d+) (%d+%-%d+)')
end
local is_born = epoch and last ~= '0-0'
earlier = earlier or '0-0'
if not epoch or is_born ~= (newest ~= nil) or newest and is_after(last, newest[1]) then
  -- No record, or it is that of another log: one that has ended, or one that something else began.
  if is_born and is_after(last, earlier) then earlier = last end
  epoch, first = nil, '0-0'
end

-- The id of the next entry, which two servers do not choose alike. While both call themselves the primary, each adds events to a copy of
-- the log. If two of these events had one id, a client that has one of them would miss the other, and no node could tell.
local time = redis.pcall('TIME')
local now = not time.err and string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local function next_id(payload)
  local milliseconds, sequence = string.match(previous, '^(%d+)%-(%d+)$')
  -- Numbers beyond 2^53 are not exact here. A user who may not ask for the time publishes all the same.
  if not now or #sequence > 15 then return '*' end
  local hash = redis.sha1hex(table.concat({log, previous, time[2], payload}, ' '))
  local chosen = tonumber(string.sub(hash, 1, 6), 16)
  if is_greater(now, milliseconds) then return now .. '-' .. chosen end
  return milliseconds .. '-' .. string.format('%.0f', sequence + 1 + chosen)
end

local function publish(payload, users)
  sum = sum + #payload
  local fields = {'data', payload, 'sum', string.format('%.0f', sum)}
  local head = ''
  if users then
    fields[5], fields[6] = 'to', users
    head = ' ' .. users
  end
  if trace then
    fields[#fields + 1], fields[#fields + 2] = 'traceparent', trace
    head = head .. ' traceparent=' .. trace
  end
  local id = redis.pcall('XADD', log, 'MAXLEN', '~', count, next_id(payload), unpack(fields))
  -- The log gave higher ids to entries that were deleted. The server continues after them.
  if type(id) == 'table' then id = redis.call('XADD', log, 'MAXLEN', '~', count, '*', unpack(fields)) end
  local message = 'tidings/1 ' .. id .. ' ' .. previous .. head .. '\n' .. payload
  redis.call(announce, log, message)
  if announce_too then redis.call(announce_too, log, message) end
  previous = id
  ids[#ids + 1] = id
end

publish(ARGV[1], to[1])
for at = 7, #ARGV do publish(ARGV[at], to[at - 5]) end

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
if keeps_record then
  if not newest then first = ids[1] end
  -- The id has the time, what was known has the name of the epoch before.
  epoch = epoch or string.sub(redis.sha1hex(table.concat({log, ids[1], known or '', ARGV[1]}, ' ')), 1, 12)
  -- It outlives the log by as long again, so that the next one is known to be another.
  redis.pcall('SET', record, table.concat({epoch, first, previous, earlier}, ' '), 'EX', 2 * seconds)
end
if key ~= '' then redis.call('SET', once, table.concat(ids, ' '), 'EX', 300) end
return answer(ids)
