"""The Lua that runs inside Redis: ownership by the server's clock, and what operators do. Nothing of the hot path."""

from __future__ import annotations

from typing import Final

_NOW: Final = "local t = redis.call('TIME')\nlocal now = t[1] * 1000 + math.floor(t[2] / 1000)\n"

HEARTBEAT: Final = (
    _NOW
    + """
-- Renews the member and every lease it holds; tells who is there and who owns what.
-- KEYS members, lease 1..n, epoch 1..n   ARGV member, lease_ms   -> {members}, {owner or ''}, {epoch if ours, else ''}
local n = (#KEYS - 1) / 2
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
local owners, epochs = {}, {}
for i = 1, n do
  local held = redis.call('HMGET', KEYS[1 + i], 'owner', 'exp')
  owners[i], epochs[i] = '', ''
  if held[1] == ARGV[1] then
    redis.call('HSET', KEYS[1 + i], 'exp', now + ARGV[2])
    owners[i], epochs[i] = ARGV[1], redis.call('GET', KEYS[1 + n + i]) or ''
  elseif held[1] and tonumber(held[2]) > now then
    owners[i] = held[1]
  end
end
return {redis.call('ZRANGE', KEYS[1], 0, -1), owners, epochs}
"""
)

RENEW: Final = (
    _NOW
    + """
-- Renews a member and the leases it still holds, for a member that cannot beat by itself at the moment.
-- KEYS members, lease 1..n   ARGV member, lease_ms
redis.call('ZADD', KEYS[1], 'XX', now + ARGV[2], ARGV[1])
for i = 2, #KEYS do
  if redis.call('HGET', KEYS[i], 'owner') == ARGV[1] then redis.call('HSET', KEYS[i], 'exp', now + ARGV[2]) end
end
return 1
"""
)

CLAIM: Final = (
    _NOW
    + """
-- Takes partitions that nobody holds. The epoch changes with every claim, so whatever an earlier owner still has in
-- flight aborts, even when that owner was ourselves.
-- KEYS lease 1..n, epoch 1..n   ARGV member, lease_ms, at most   -> {epoch or ''}
local n, taken, out = #KEYS / 2, 0, {}
for i = 1, n do
  out[i] = ''
  local held = redis.call('HMGET', KEYS[i], 'owner', 'exp')
  if taken < tonumber(ARGV[3]) and (not held[1] or held[1] == ARGV[1] or tonumber(held[2]) <= now) then
    local count = tonumber(string.match(redis.call('GET', KEYS[n + i]) or '0', '^%d+')) + 1
    out[i] = string.format('%d:%s', count, ARGV[1])
    redis.call('SET', KEYS[n + i], out[i])
    redis.call('HSET', KEYS[i], 'owner', ARGV[1], 'exp', now + ARGV[2])
    taken = taken + 1
  end
end
return out
"""
)

RELEASE: Final = """
-- KEYS lease 1..n   ARGV member
for i = 1, #KEYS do
  if redis.call('HGET', KEYS[i], 'owner') == ARGV[1] then redis.call('DEL', KEYS[i]) end
end
return 1
"""

REFENCE: Final = """
-- Before asking whether a lost EXEC happened: change the epoch, so that it cannot happen any more afterwards.
-- KEYS epoch   ARGV expected, member   -> the new epoch, or '' when it was not ours
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return '' end
local next = string.format('%d:%s', tonumber(string.match(ARGV[1], '^%d+')) + 1, ARGV[2])
redis.call('SET', KEYS[1], next)
return next
"""

ADOPT_RUN: Final = """
-- Names the history that offsets belong to; a new run of the server may have lost its tail, so it counts as another.
-- KEYS incarnation   ARGV run_id, id if there is none yet   -> "<id>.<generation>"
redis.call('HSETNX', KEYS[1], 'id', ARGV[2])
if redis.call('HGET', KEYS[1], 'run') ~= ARGV[1] then
  redis.call('HINCRBY', KEYS[1], 'generation', 1)
  redis.call('HSET', KEYS[1], 'run', ARGV[1])
end
return redis.call('HGET', KEYS[1], 'id') .. '.' .. redis.call('HGET', KEYS[1], 'generation')
"""

PEEK: Final = """
-- Shows entries without their values, so that neither Redis' answer nor its reader holds more than a few of them.
-- KEYS stream   ARGV id to begin behind, most entries, bytes of a value, bytes to look at   -> {{id, bytes of `v` or -1, fields}}
local out, from, seen = {}, ARGV[1], 0
while #out < tonumber(ARGV[2]) and seen < tonumber(ARGV[4]) do
  local found = redis.call('XRANGE', KEYS[1], '(' .. from, '+', 'COUNT', 1)[1]
  if not found then break end
  local fields, kept, size = found[2], {}, -1
  for i = 1, #fields, 2 do
    seen = seen + #fields[i] + #fields[i + 1]
    if fields[i] == 'v' then
      size = #fields[i + 1]
      kept[#kept + 1] = 'v'
      kept[#kept + 1] = string.sub(fields[i + 1], 1, ARGV[3])
    elseif fields[i] == 't' or fields[i] == 'k' or fields[i] == 'h' then
      kept[#kept + 1] = fields[i]
      kept[#kept + 1] = fields[i + 1]
    end
  end
  from = found[1]
  out[#out + 1] = {from, size, kept}
end
return out
"""

_UNREAD: Final = """
local function unread(committed, offset)
  for _, position in ipairs(redis.call('HVALS', committed)) do
    if tonumber(position) <= tonumber(offset) then return true end
  end
end
"""

MOVE: Final = (
    _UNREAD
    + """
-- Puts a message on another stream and takes it away here; it stays when it cannot be added. A script and not a MULTI/EXEC:
-- Redis would take it away also when it could not be added.
-- KEYS target stream, stream, its offsets   ARGV id, offset, milliseconds, headers   -> new id, or nil when it is gone
local found = redis.call('XRANGE', KEYS[2], ARGV[1], ARGV[1])[1]
if not found then return false end
if unread(KEYS[3], ARGV[2]) then return {err = 'UNREAD by a group'} end
local fields = {'t', ARGV[3]}
for i = 1, #found[2], 2 do
  if found[2][i] == 'v' or found[2][i] == 'k' then
    fields[#fields + 1] = found[2][i]
    fields[#fields + 1] = found[2][i + 1]
  end
end
fields[#fields + 1] = 'h'
fields[#fields + 1] = ARGV[4]
local added = redis.pcall('XADD', KEYS[1], '0-*', unpack(fields))
if type(added) == 'table' and added.err then return added end
redis.call('XDEL', KEYS[2], ARGV[1])
return added
"""
)

REMOVE: Final = (
    _UNREAD
    + """
-- KEYS stream, its offsets   ARGV highest offset, ids   -> how many were there
if unread(KEYS[2], ARGV[1]) then return {err = 'UNREAD by a group'} end
return redis.call('XDEL', KEYS[1], unpack(ARGV, 2))
"""
)

REMOVE_OLDEST: Final = """
-- Removes from the beginning until the stream takes no more than it may; counts first, since nothing may go uncounted.
-- KEYS stream, its offsets, counts   ARGV bytes, most entries, topic   -> {entries, their bytes}
if redis.call('HLEN', KEYS[2]) > 0 then return {err = 'UNREAD by a group'} end
local over = (redis.call('MEMORY', 'USAGE', KEYS[1], 'SAMPLES', 0) or 0) - ARGV[1]
local number, total = 0, 0
while total < over and number < tonumber(ARGV[2]) do
  local found = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  if not found then break end
  local size = 0
  for _, part in ipairs(found[2]) do size = size + #part end
  redis.call('HINCRBY', KEYS[3], ARGV[3] .. ':messages', 1)
  redis.call('HINCRBY', KEYS[3], ARGV[3] .. ':bytes', size)
  redis.call('XDEL', KEYS[1], found[1])
  number, total = number + 1, total + size
end
return {number, total}
"""
