"""The Lua that runs inside Redis: ownership by the server's clock, and an operator's replay. Nothing of the hot path."""

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

REPLAY: Final = """
-- Puts a dead letter's message back and takes the letter away; the letter stays when the message cannot be added.
-- KEYS target stream, letters   ARGV letter id, entry fields   -> id of the message, or nil when the letter is gone
if #redis.call('XRANGE', KEYS[2], ARGV[1], ARGV[1]) == 0 then return false end
local added = redis.pcall('XADD', KEYS[1], '0-*', unpack(ARGV, 2))
if type(added) == 'table' and added.err then return added end
redis.call('XDEL', KEYS[2], ARGV[1])
return added
"""
