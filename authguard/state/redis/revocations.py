"""Revocations that all workers and hosts share: each is kept for good elsewhere, and asked of Redis at each request."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from random import random
from secrets import token_hex
from typing import Any, Literal, TypeAlias, cast

import anyio

from authguard.app_code import awaitable, shown, wrong_answer
from authguard.errors import BackendUnavailable, ConfigurationError, WrongAnswer
from authguard.event_loop import LoopTasks, is_task_cancelled, start_in_loop
from authguard.fork import renew_after_fork
from authguard.model import Clock, wall_clock
from authguard.reasons import STORE_UNAVAILABLE
from authguard.state.redis.backend import RedisBackend, check_backend, check_on_outage
from authguard.state.redis.script import Script
from authguard.state.revocations import (
    KEPT_AFTER,
    Revocation,
    RevocationCallbacks,
    RevocationSource,
    RevocationStore,
    RevokedKey,
)
from authguard.validation import check_seconds
from authguard.value_types import value

_log = logging.getLogger("authguard")

#: A function of the app that lists all revocations that have not ended.
ListRevocations: TypeAlias = Callable[[], "Awaitable[Iterable[Revocation]] | AsyncIterator[Revocation]"]

#: How long the lock of a worker that loads is good, in seconds. It is extended at each slice.
LOCKED_FOR = 5.0
#: How long a request waits until the revocations are loaded, in seconds.
LOAD_WAIT = 1.0
#: How long nobody loads again after a failure, in seconds, at first and at most.
FIRST_RETRY, LONGEST_RETRY = 0.5, 5.0
#: How often a worker asks whether another one has loaded, in seconds: on one server, and on a Cluster.
ASK_EVERY, ASK_CLUSTER_EVERY = 0.1, 1.0
#: What was entered so many seconds before the last list was begun is listed again: hosts have different clocks, and a
#: transaction may take long.
OVERLAP = 300.0
#: How many revocations a function of the app gives in a slice.
SLICE = 1000
#: How many calls to a Cluster are under way at once.
AT_ONCE = 16
#: The longest life of a key in Redis, in milliseconds: a hundred years. What lives longer never ends there.
MOST_LIFE = 100 * 365 * 86_400_000

#: How often a worker with open connections asks for the announcements of others, in seconds.
NEWS_EVERY = 1.0
#: How many announcements are kept, for how long, and of how many keys one is. Of more keys it is "look again at all".
MOST_NEWS, NEWS_LIFE, MOST_ANNOUNCED = 1000, 3600.0, 64

_LOCK = b"revocations:lock"
_NEWS_KEY = b"revocations:news"
_PARTITIONS = tuple(bytes((first,)) for first in range(256))

# The field `loaded` of the epoch says when the list was begun with which this epoch was filled. A new epoch has none.
_FIND = Script(
    "revocations.find",
    """\
local loaded = redis.call('HGET', KEYS[1], 'loaded')
if not loaded then
  return {-1}
end
local reply = redis.call('MGET', unpack(KEYS, 2))
table.insert(reply, 1, math.floor(math.max(now - tonumber(loaded), 0)))
return reply
""",
)

# The age of the list, the epoch, and the time, to which what is listed from now on counts.
_STATE = Script(
    "revocations.state",
    """\
local loaded = redis.call('HGET', KEYS[1], 'loaded')
local age = -1
if loaded then
  age = math.floor(math.max(now - tonumber(loaded), 0))
end
return {age, epoch, string.format('%.6f', now)}
""",
)

# ARGV[2] is the epoch that it is for, or empty. Then two for each key: `before` and the life in milliseconds, -1 for
# one that never ends. Nothing is ever taken back: the later of two times holds.
_WRITE = Script(
    "revocations.write",
    """\
if ARGV[2] ~= '' and ARGV[2] ~= epoch then
  return 0
end
local function number(text)
  if text == 'inf' then
    return math.huge
  end
  return tonumber(text)
end
for index = 2, #KEYS do
  local before, life = ARGV[2 * index - 1], tonumber(ARGV[2 * index])
  local held, left = redis.call('GET', KEYS[index]), -2
  if held then
    left = redis.call('PTTL', KEYS[index])
    if number(held) > number(before) then
      before = held
    end
  end
  if left == -1 then
    life = -1
  elseif life >= 0 and left > life then
    life = left
  end
  if held ~= before or (left ~= -1 and (life < 0 or life > left + 1000)) then
    if life < 0 then
      redis.call('SET', KEYS[index], before)
    else
      redis.call('SET', KEYS[index], before, 'PX', life)
    end
  end
end
return 1
""",
)

_MARK = Script(
    "revocations.mark",
    """\
if ARGV[2] ~= epoch then
  return 0
end
redis.call('HSET', KEYS[1], 'loaded', ARGV[3])
return 1
""",
)

_TAKE_LOCK = Script(
    "revocations.lock",
    """\
if redis.call('GET', KEYS[2]) == ARGV[2] then
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
  return 1
end
if redis.call('SET', KEYS[2], ARGV[2], 'NX', 'PX', ARGV[3]) then
  return 1
end
return 0
""",
)

# ARGV[2] are the revoked keys, one after the other; empty for "look again at all". ARGV[3] is how many announcements
# are kept, and ARGV[4] for how long, in milliseconds.
_ANNOUNCE = Script(
    "revocations.announce",
    """\
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', 'keys', ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 1
""",
)

# The epoch, and the announcements from the one with this id on, or the last one alone.
_NEWS = Script(
    "revocations.news",
    """\
if ARGV[2] == '' then
  return {epoch, redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', '1')}
end
return {epoch, redis.call('XRANGE', KEYS[2], ARGV[2], '+', 'COUNT', ARGV[3])}
""",
)

_UNLOCK = Script(
    "revocations.unlock",
    """\
if redis.call('GET', KEYS[2]) == ARGV[2] then
  redis.call('DEL', KEYS[2])
end
return 1
""",
)


@value
class _State:
    """What a partition knows: how old its list is in seconds (-1: it has none), its epoch, and the time there."""

    age: int
    epoch: bytes
    now: bytes


class _Failure(Exception):
    """The list could not be loaded. The text is for the log, and for the records of requests that it concerns."""


class RedisRevocations(RevocationStore):
    """Revocations that all workers and hosts share: ``RedisRevocations(redis, source=SqlRevocations(...))``.

    - ``redis``: the ``RedisBackend``.
    - ``source``: where they are kept for good: ``SqlRevocations``, ``RevocationFile`` or another ``RevocationSource``;
      or an async function without arguments that returns, or yields, every ``Revocation`` that has not ended. A
      revocation is entered into the source first. With a function, the app enters it there before it calls ``revoke``.
    - ``on_outage``: what a request gets while Redis cannot answer, or while the list is loaded: ``"deny"`` is a 503,
      and with ``"allow"`` it passes, and each record of such a request says ``unchecked="revocations"``.
    - ``refresh``: after how many seconds one of the workers lists again what the source has got otherwise, such as by
      ``authguard revoke``. So much later that counts.
    - ``deadline``: how many seconds the source may take for one slice of its list.
    - ``clock``: the time in seconds since the epoch.

    A revocation counts at the next request of every worker. When Redis may have forgotten some (it was restarted,
    flushed, or a replica has become the master), requests wait for a second, and then get a 503, until one of the
    workers has loaded the whole list from the source. Nobody who was revoked passes meanwhile.

    It needs asyncio. Methods raise ``BackendUnavailable``. If ``revoke`` raises it, the source may have the revocation
    all the same: then it counts after ``refresh`` seconds. Raises ``ConfigurationError``.
    """

    def __init__(
        self,
        redis: RedisBackend,
        *,
        source: RevocationSource | ListRevocations,
        on_outage: Literal["deny", "allow"] = "deny",
        refresh: float = 60.0,
        deadline: float = 30.0,
        clock: Clock = wall_clock,
    ) -> None:
        self._redis, self._source = check_backend(redis), _source_of(source)
        self.on_outage = check_on_outage(on_outage, "deny", "allow")
        self._refresh = check_seconds("refresh", refresh, most=86_400)
        self._deadline = check_seconds("deadline", deadline, most=3600)
        self._clock = clock
        #: The last failure to load, and when the next attempt may begin, by the monotonic clock.
        self._failure: str | None = None
        self._retry_at, self._retry_after = -math.inf, FIRST_RETRY
        #: When this worker looks again whether the list is old, by the monotonic clock.
        self._look_at = -math.inf
        self._callbacks = RevocationCallbacks()
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Forget the tasks that load and listen: a forked child has no copy of their event loops."""
        self._listening: LoopTasks = {}
        self._loading: LoopTasks = {}

    def health(self) -> Mapping[str, object]:
        """That of the ``RedisBackend``."""
        return self._redis.health()

    async def warm(self) -> None:
        """Reach Redis. The list is loaded when the first request needs it. Raises ``BackendUnavailable``."""
        await self._redis.warm()

    # --- what requests ask --------------------------------------------------------------------------------------------

    async def find(self, keys: Sequence[bytes]) -> Mapping[bytes, float]:
        """Those of the keys that are revoked. Raises ``BackendUnavailable``, also while the list is not loaded."""
        if not keys:
            return {}
        found = await self._find(keys)
        if found is None:
            await self._wait_for_list()
            found = await self._find(keys)
        if found is None:
            raise self._not_loaded()
        return found

    async def _find(self, keys: Sequence[bytes]) -> Mapping[bytes, float] | None:
        """Those of the keys that are revoked; None if the list must be loaded first."""
        groups = self._by_partition(keys, _itself)
        calls = [
            self._redis.run(_FIND, partition, [_name(key) for key in group]) for partition, group in groups.items()
        ]
        replies = [await calls[0]] if len(calls) == 1 else await asyncio.gather(*calls)
        found: dict[bytes, float] = {}
        oldest = 0
        for group, (age, *befores) in zip(groups.values(), replies, strict=True):
            if age < 0:
                return None
            oldest = max(oldest, age)
            found |= {key: float(before) for key, before in zip(group, befores, strict=True) if before is not None}
        if oldest >= self._refresh and time.monotonic() >= self._look_at:
            self._start()
        return found

    # --- what is revoked ----------------------------------------------------------------------------------------------

    async def revoke(self, revocation: Revocation) -> None:
        """Refuse this from the next request of every worker on. Raises ``BackendUnavailable``."""
        # The source first: if Redis forgets everything now, or has never heard of it, it is listed there.
        await self._source.revoke(revocation)
        await self._write([revocation], None)
        self._callbacks.call((revocation.key,))
        with suppress(BackendUnavailable):  # it is revoked; an open connection asks once a minute too
            await self._announce([revocation.key])

    def on_revoked(self, keys: Sequence[bytes], callback: Callable[[], None]) -> Callable[[], None]:
        """Have ``callback`` called when any worker revokes one of the keys, until the returned function is called.

        That is about a second later. It is also called when it is in doubt whether one was. Needs a running event loop.
        """
        loop = asyncio.get_running_loop()
        end = self._callbacks.add(keys, callback)
        task = self._listening.get(loop)
        if task is None or task.done():
            _ = start_in_loop(self._listening, loop, self._listen())
        return end

    async def _listen(self) -> None:
        """Call back what others announce, as long as there is a connection that wants it."""
        known, last = b"", b""
        while len(self._callbacks) and not is_task_cancelled():
            # At first the last announcement alone; then those since.
            begin = (last or b"-") if known else b""
            # Without an answer it is asked again from there: what is announced meanwhile is not lost.
            with suppress(BackendUnavailable):
                epoch, news = await self._redis.run(_NEWS, _PARTITIONS[0], [_NEWS_KEY], [begin, MOST_NEWS])
                has_last = not last or (news and news[0][0] == last)
                if epoch == known and has_last:
                    for _, (_, announced) in news[1:] if last else news:
                        self._callbacks.call(_split(announced))
                else:
                    self._callbacks.call(None)  # the first look, or some may have been missed
                known, last = epoch, news[-1][0] if news else b""
            await asyncio.sleep(NEWS_EVERY)

    async def _announce(self, keys: Sequence[bytes]) -> None:
        """Tell the other workers that these are revoked."""
        joined = b"".join(keys) if len(keys) <= MOST_ANNOUNCED else b""
        await self._redis.run(_ANNOUNCE, _PARTITIONS[0], [_NEWS_KEY], [joined, MOST_NEWS, math.ceil(NEWS_LIFE * 1000)])

    async def _write(self, entries: Sequence[RevokedKey], epochs: Mapping[bytes, _State] | None) -> None:
        """Write these to Redis. With ``epochs``, raises ``_Failure`` if one of them has ended."""
        now = self._clock()

        async def write(partition: bytes, group: Sequence[RevokedKey]) -> None:
            arguments: list[bytes | str | int] = [b"" if epochs is None else epochs[partition].epoch]
            for each in group:
                arguments += (_seconds(each.before), _life(each.expires_at - now))
            if not await self._redis.run(_WRITE, partition, [_name(each.key) for each in group], arguments):
                raise _Failure("Redis has forgotten what was loaded")

        groups = self._by_partition(entries, _key_of)
        await _together([write(partition, group) for partition, group in groups.items()])

    # --- how the list comes to Redis ----------------------------------------------------------------------------------

    async def _wait_for_list(self) -> None:
        """Wait until this worker or another one has loaded the list, but not long, and not after a failure."""
        task = self._start()
        if task is not None:
            await asyncio.wait((task,), timeout=LOAD_WAIT)

    def _not_loaded(self) -> BackendUnavailable:
        why = "they are being loaded" if self._failure is None else self._failure
        wait = math.ceil(max(self._retry_at - time.monotonic(), 1))
        return BackendUnavailable(f"redis has not all revocations: {why}", reason=STORE_UNAVAILABLE, retry_after=wait)

    def _start(self) -> asyncio.Task[None] | None:
        """The task of this event loop that loads the list, which is started if need be; None after a failure."""
        loop = asyncio.get_running_loop()
        task = self._loading.get(loop)
        if task is not None and not task.done():
            return task
        if time.monotonic() < self._retry_at:
            return None
        return start_in_loop(self._loading, loop, self._load())

    async def _load(self) -> None:
        """Load the list, or wait until another worker has, and log a failure. It raises nothing."""
        problem: str | None = None
        try:
            await self._load_once(token_hex(16))
        except _Failure as error:
            problem = str(error)
        except WrongAnswer as error:
            problem = error.problem
        except BackendUnavailable as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001 - from a source of the app; its text may hold anything
            problem = f"{self._source!r} raised {type(error).__name__}"
        before, self._failure = self._failure, problem
        if problem is None:
            self._retry_after = FIRST_RETRY
            if before is not None:
                _log.warning("RedisRevocations: the list is loaded again")
            return
        self._retry_at = time.monotonic() + self._retry_after * (0.5 + random() / 2)  # noqa: S311 - no secret
        self._retry_after = min(self._retry_after * 2, LONGEST_RETRY)
        if before != problem:
            _log.error("RedisRevocations: the list of revocations cannot be loaded: %s", problem)

    async def _load_once(self, token: str) -> None:
        """Load the list, unless another worker has. Raises ``_Failure``, and whatever the source raises."""
        try:
            states = await self._states_to_load(token)
            if states is not None:
                await self._load_into(states, token)
        finally:
            with suppress(BackendUnavailable):  # it expires
                await self._redis.run(_UNLOCK, _PARTITIONS[0], [_LOCK], [token])

    async def _states_to_load(self, token: str) -> Mapping[bytes, _State] | None:
        """What each partition knows, when the lock is ours; None if another worker has loaded the list, or does."""
        has_lock = False
        while not is_task_cancelled():
            states = await self._states()
            ages = [state.age for state in states.values()]
            is_complete = min(ages) >= 0
            if is_complete and max(ages) < self._refresh:
                return None
            if has_lock:
                return states
            # With the lock the states are read again: its last holder may have loaded the list meanwhile.
            has_lock = await self._lock(token)
            if not has_lock:
                if is_complete:  # another worker lists what is new
                    self._look_at = time.monotonic() + ASK_CLUSTER_EVERY
                    return None
                await asyncio.sleep(ASK_CLUSTER_EVERY if len(states) > 1 else ASK_EVERY)
        raise asyncio.CancelledError

    async def _load_into(self, states: Mapping[bytes, _State], token: str) -> None:
        ages = [state.age for state in states.values()]
        is_complete = min(ages) >= 0
        since = self._clock() - max(ages) - OVERLAP if is_complete else -math.inf
        began, count = time.monotonic(), 0
        async for part in self._slices(since):
            await self._write(part, states)
            count += len(part)
            if is_complete:
                await self._announce([each.key for each in part])
            await self._lock(token)
        await _together([self._mark(partition, state) for partition, state in states.items()])
        if not is_complete:
            await self._announce(())
            seconds = time.monotonic() - began
            _log.info("RedisRevocations: Redis had no list; %d revocations were loaded in %.2f s", count, seconds)

    async def _slices(self, since: float) -> AsyncIterator[Sequence[RevokedKey]]:
        """What the source lists. Raises ``_Failure`` if it is too slow."""
        slices = self._source.live(since)
        try:
            while True:
                part: Sequence[RevokedKey] = ()
                with anyio.move_on_after(self._deadline) as waiting:
                    try:
                        part = await anext(slices)
                    except StopAsyncIteration:
                        return
                if waiting.cancelled_caught:
                    raise _Failure(f"{self._source!r} lists nothing within {self._deadline:g} s")
                if len(part):  # None raises here: it must not pass for the end of the list
                    yield part
        finally:
            close = getattr(slices, "aclose", None)
            if close is not None:
                await close()

    async def _states(self) -> Mapping[bytes, _State]:
        async def state(partition: bytes) -> _State:
            return _State(*await self._redis.run(_STATE, partition, ()))

        partitions = _PARTITIONS if self._redis.is_cluster() else _PARTITIONS[:1]
        return dict(zip(partitions, await _together([state(each) for each in partitions]), strict=True))

    async def _mark(self, partition: bytes, state: _State) -> None:
        if not await self._redis.run(_MARK, partition, (), [state.epoch, state.now]):
            raise _Failure("Redis has forgotten what was loaded")

    async def _lock(self, token: str) -> bool:
        """Whether the lock is ours for some more seconds."""
        return bool(await self._redis.run(_TAKE_LOCK, _PARTITIONS[0], [_LOCK], [token, math.ceil(LOCKED_FOR * 1000)]))

    def _by_partition(self, entries: Sequence[Any], key_of: Callable[[Any], bytes]) -> Mapping[bytes, Sequence[Any]]:
        """The entries by the partitions of their keys: all in one, if Redis is one server."""
        if not self._redis.is_cluster():
            return {_PARTITIONS[0]: entries}
        groups: dict[bytes, list[Any]] = {}
        for each in entries:
            groups.setdefault(key_of(each)[:1], []).append(each)
        return groups


class _Listed(RevocationSource):
    """The source that is a function of the app. The app itself keeps what is revoked."""

    def __init__(self, function: ListRevocations) -> None:
        self._function = function

    def __repr__(self) -> str:
        return shown(self._function)

    async def revoke(self, revocation: Revocation) -> None:
        """Nothing: the app has entered it before."""

    async def live(self, since: float) -> AsyncIterator[Sequence[RevokedKey]]:
        answer: Any = self._function()
        if hasattr(answer, "__aiter__"):
            part: list[Revocation] = []
            async with aclosing(answer):
                async for each in answer:
                    part.append(self._checked(each))
                    if len(part) == SLICE:
                        yield part
                        part = []
            yield part
            return
        listed: Any = await awaitable(self._function, answer)
        if not isinstance(listed, Iterable) or isinstance(listed, Mapping):
            raise wrong_answer(self._function, listed, "a list of all revocations")
        everything = [self._checked(each) for each in listed]
        for begin in range(0, len(everything), SLICE):
            yield everything[begin : begin + SLICE]

    def _checked(self, each: object) -> Revocation:
        if not isinstance(each, Revocation):
            raise wrong_answer(self._function, each, "Revocation objects")
        return each


def _source_of(source: Any) -> RevocationSource:
    if source is None:
        raise ConfigurationError(
            "source",
            "give SqlRevocations(...), RevocationFile(...), or an async function that lists all revocations; without "
            "one, everybody who was revoked is let in after Redis was restarted empty",
        )
    if not isinstance(source, type):
        if callable(getattr(source, "live", None)) and callable(getattr(source, "revoke", None)):
            return cast("RevocationSource", source)
        if callable(source):
            return _Listed(cast("ListRevocations", source))
    raise ConfigurationError(
        "source", f"{source!r} has no live(since) and revoke(revocation), and is no async function"
    )


async def _together(calls: Sequence[Awaitable[Any]]) -> list[Any]:
    """The answers of the calls, a few of which are under way at once. A failure is raised when all have ended."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(call: Awaitable[Any]) -> Any:
        async with turns:
            return await call

    if len(calls) == 1:
        return [await calls[0]]
    answers = await asyncio.gather(*map(one, calls), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers


def _split(announced: bytes) -> Sequence[bytes] | None:
    """The keys of an announcement, of 16 bytes each; None for all."""
    return [announced[begin : begin + 16] for begin in range(0, len(announced), 16)] or None


def _itself(key: bytes) -> bytes:
    return key


def _key_of(entry: RevokedKey) -> bytes:
    return entry.key


def _name(key: bytes) -> bytes:
    return b"r:" + key


def _seconds(before: float) -> str:
    """A time, so that Lua reads it. NaN, which is before nothing, counts as a time that never ends."""
    return repr(max(float(before), -1e308)) if before < math.inf else "inf"


def _life(seconds: float) -> int:
    """For how many milliseconds Redis keeps what ends in so many seconds; -1 for good."""
    life = max(seconds, 0.0) + KEPT_AFTER
    return math.ceil(life * 1000) if life * 1000 < MOST_LIFE else -1
