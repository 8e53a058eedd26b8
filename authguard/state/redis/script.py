"""A script that Redis runs as one step, and the prelude that each of them begins with."""

from __future__ import annotations

from hashlib import sha1

# KEYS[1] is the hash that holds the epoch, ARGV[1] the test clock. What it declares is for the body of the script.
#
# ``master_replid`` is the id of one history of data: the server takes a new one when it starts, when a replica becomes
# the master, and on a Cluster a slot that moves comes to a server with another one. So a script that finds another id,
# or none because the data were deleted, knows that the server may have forgotten what it was told. It is read in the
# script itself, because a proxy in front of the server may change servers without closing a connection.
#
# A clock that was set back by more than a second begins an epoch too: otherwise all that is new would be before the
# floor until the clock has caught up. The floor is written with microseconds, because Lua would write 14 digits of it.
_PRELUDE = """\
local now
if ARGV[1] == '' then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
else
  now = tonumber(ARGV[1])
end
local replication = redis.call('INFO', 'replication')
local role = string.match(replication, 'role:(%a+)')
if role ~= 'master' then
  return redis.error_reply('AUTHGUARD_REPLICA ' .. tostring(role))
end
local history = string.match(replication, 'master_replid:(%w+)')
if not history then
  return redis.error_reply('AUTHGUARD_HISTORY')
end
local held = redis.call('HMGET', KEYS[1], 'history', 'id', 'floor')
local epoch, floor = held[2], tonumber(held[3] or nil)
if held[1] ~= history or not epoch or not floor or floor > now + 1 then
  epoch, floor = string.format('%s-%.6f', string.sub(history, 1, 8), now), now
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'history', history, 'id', epoch, 'floor', string.format('%.6f', floor))
end
local function run()
"""
# So each reply tells of the epoch: the first of two values is its id.
_END = """
end
return {epoch, run()}
"""


class Script:
    """A Lua script with a name for messages. ``body`` is what it does; the prelude gives the body three variables.

    - ``now``: seconds since the epoch by the server's clock, or by the clock of a test.
    - ``floor``: since when the server has forgotten nothing but what expired, by the same clock.
    - ``epoch``: the id of the time since then.

    The keys of the body are ``KEYS[2]`` and on, its arguments ``ARGV[2]`` and on. If the server is no master, the body
    does not run.
    """

    __slots__ = ("name", "sha", "source")

    def __init__(self, name: str, body: str) -> None:
        self.name = name
        self.source = (_PRELUDE + body + _END).encode()
        #: By which the server knows the script.
        self.sha = sha1(self.source, usedforsecurity=False).hexdigest().encode()

    def __repr__(self) -> str:
        return f"Script({self.name!r})"
