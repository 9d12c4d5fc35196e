"""The Lua behind topics/redis_streams/intake.py: limits, memory of what was taken, and the enqueue as one step of Redis.

Keys are made inside the scripts from prefixes, since the server's clock is part of them: one Redis, not Redis Cluster.

    <limits><minute>            bucket -> when it will be full again, ms         (generic cell rate algorithm)   lives 3 minutes
    <replays><org>:<10 min>     identity of a signed request -> its answer                                       lives 20 minutes
    <keys><org>:<day>           idempotency key -> body, ms, answer                                              lives 2 days

A look reads the current and the previous generation, so nothing needs to be swept and memory is given back whole.
"""

from __future__ import annotations

from typing import Final

_DECIDE: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local minute, ten, day = math.floor(now / 60000), math.floor(now / 600000), math.floor(now / 86400000)
local buckets, buckets_before = KEYS[1] .. minute, KEYS[1] .. (minute - 1)

local function full_at(name, stored)
  return math.max(tonumber(stored or redis.call('HGET', buckets_before, name) or 0), now)
end

-- One token of a bucket that holds per_minute and is filled in a minute -> when it is full again, or nil and the wait in ms.
local function after_one(full, per_minute)
  local later = full + 60000 / per_minute
  if later - now > 60000 then return nil, math.ceil(later - now - 60000) end
  return later
end

local function left(full, per_minute)
  return math.floor((60000 - (full - now)) * per_minute / 60000 + 0.0001), math.ceil((full - now) / 1000)
end

-- Both buckets lose a token, or none does. -> {0, limit, remaining, reset_s} or {2, limit, 0, reset_s, wait_ms, which}
local function charge(org, org_rate, address, address_rate)
  local stored = redis.call('HMGET', buckets, org, address)
  local org_full, address_full = full_at(org, stored[1]), full_at(address, stored[2])
  local org_later, org_wait = after_one(org_full, org_rate)
  local address_later, address_wait = after_one(address_full, address_rate)
  if not org_later or not address_later then
    if (org_wait or 0) >= (address_wait or 0) then
      return {2, org_rate, 0, math.ceil((org_full - now) / 1000), org_wait, 'organization'}
    end
    return {2, address_rate, 0, math.ceil((address_full - now) / 1000), address_wait, 'address'}
  end
  -- The first write, and one that Redis refuses when it is out of memory: after any other it would let the whole script pass.
  redis.call('HSET', buckets, org, string.format('%.3f', org_later), address, string.format('%.3f', address_later))
  if not (stored[1] and stored[2]) then redis.call('EXPIRE', buckets, 180) end
  local org_left, org_reset = left(org_later, org_rate)
  local address_left, address_reset = left(address_later, address_rate)
  if address_left < org_left then return {0, address_rate, address_left, address_reset} end
  return {0, org_rate, org_left, org_reset}
end

-- Decides one request; `add` enqueues it. -> charge's answer, {1, ..., first answer}, {3, ...} conflict, {4, ...} too many keys
local function decide(org, org_rate, address, address_rate, replay, key, body, keys_max, answer, add)
  local out = charge(org, org_rate, address, address_rate)
  if out[1] ~= 0 then return out end
  local keys = KEYS[3] .. org .. ':' .. day
  if key ~= '' then
    local before = KEYS[3] .. org .. ':' .. (day - 1)
    local known = redis.call('HGET', keys, key) or redis.call('HGET', before, key)
    if known and tonumber(string.sub(known, 9, 21)) + 86400000 > now then
      if string.sub(known, 1, 8) ~= body then out[1] = 3 return out end
      out[1], out[5] = 1, string.sub(known, 22)
      return out
    end
    if redis.call('HLEN', keys) + redis.call('HLEN', before) >= keys_max then out[1] = 4 return out end
  end
  local replays = KEYS[2] .. org .. ':' .. ten
  local known = redis.call('HGET', KEYS[2] .. org .. ':' .. (ten - 1), replay)
  if known or redis.call('HSETNX', replays, replay, answer) == 0 then
    out[1], out[5] = 1, known or redis.call('HGET', replays, replay)
    return out
  end
  local added = add()
  if type(added) == 'table' and added.err then
    redis.call('HDEL', replays, replay)
    return {5, added.err}
  end
  if redis.call('HLEN', replays) == 1 then redis.call('EXPIRE', replays, 1260) end
  if key ~= '' then
    redis.call('HSET', keys, key, body .. string.format('%013d', now) .. answer)
    if redis.call('HLEN', keys) == 1 then redis.call('EXPIRE', keys, 172860) end
  end
  return out
end
"""

TAKE: Final = (
    _DECIDE
    + """
-- Requests that came in one turn of a gateway's event loop.
-- KEYS prefixes   ARGV per request: stream, org, rate, address, rate, replay, key, body, keys_max, answer, n, n entry fields
local outs, i = {}, 1
while i <= #ARGV do
  local at, n = i, tonumber(ARGV[i + 10])
  outs[#outs + 1] = decide(
    ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3], tonumber(ARGV[i + 4]), ARGV[i + 5], ARGV[i + 6], ARGV[i + 7],
    tonumber(ARGV[i + 8]), ARGV[i + 9],
    function() return redis.pcall('XADD', ARGV[at], '0-*', unpack(ARGV, at + 11, at + 10 + n)) end)
  i = i + 11 + n
end
return outs
"""
)

SETTLE: Final = (
    """#!lua flags=allow-oom,allow-cross-slot-keys
"""
    + _DECIDE
    + """
-- For a large request: the XADD before it in the same transaction spared Lua the copy; unless it is taken, it is taken back.
-- KEYS prefixes   ARGV stream, org, rate, address, rate, replay, key, body, keys_max, answer
local ok, out = pcall(decide, ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8],
  tonumber(ARGV[9]), ARGV[10], function() return true end)
if not ok then out = {5, tostring(type(out) == 'table' and out.err or out)} end
if out[1] ~= 0 then
  -- The entry is the one before this; asking for the last one would bring its payload along.
  local mine = redis.call('XADD', ARGV[1], '0-*', 'x', '')
  local n = tonumber(string.sub(mine, 3))
  redis.call('XDEL', ARGV[1], mine, string.format('0-%d', n - 1))
end
return out
"""
)

CHARGE: Final = (
    _DECIDE
    + """
-- KEYS prefixes   ARGV org, rate, address, rate
return charge(ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]))
"""
)
