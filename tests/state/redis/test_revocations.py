"""Revocations in Redis: what every worker finds, and what it does while Redis has forgotten them."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis, RedisCluster

from authguard import BackendUnavailable, ConfigurationError, Guard, Revocation, RevocationFile, SqlRevocations
from authguard.accounts.revocation_file import RevocationFileAdmin
from authguard.state import RevocationSource, RevokedKey, revocation_key
from authguard.state.redis import RedisBackend, RedisRevocations, revocations
from authguard.state.revocations import KEPT_AFTER
from authguard.testing import ManualClock
from tests.state.redis.servers import command, running_server, server_program
from tests.support.clock import NOW
from tests.support.schemes.badge import Badge
from tests.support.servers.ports import free_port

pytestmark = pytest.mark.peer

ALICE = Revocation.subject("alice", before=NOW - 5.25, expires_at=NOW + 60)
SESSION = Revocation.session("s-1", expires_at=NOW + 60)
KEY = Revocation.api_key("abc", expires_at=math.inf)


class Kept(RevocationSource):
    """A source in memory, which keeps what it was asked, and can fail or stop."""

    def __init__(self, *entries: Revocation, size: int = 2) -> None:
        self.entries = list(entries)
        self.size = size
        self.asked: list[float] = []
        self.failure: Exception | None = None
        self.begun, self.turn = asyncio.Event(), asyncio.Event()
        self.turn.set()

    def __repr__(self) -> str:
        return "Kept()"

    async def revoke(self, revocation: Revocation) -> None:
        if self.failure is not None:
            raise self.failure
        self.entries.append(revocation)

    async def live(self, since: float) -> AsyncIterator[Sequence[RevokedKey]]:
        self.asked.append(since)
        self.begun.set()
        entries = list(self.entries)
        if self.failure is not None:
            raise self.failure
        for begin in range(0, len(entries), self.size):
            await self.turn.wait()
            yield entries[begin : begin + self.size]


class Store:
    """One worker with revocations: its store, the clock of the server, and that of the worker."""

    def __init__(
        self, url: str, source: Any, server: ManualClock | None = None, *, is_real: bool = False, **options: Any
    ) -> None:
        self.server, self.clock = server or ManualClock(NOW), ManualClock(NOW)
        # With a clock that stands still, a flush could begin an epoch of the same name.
        self.backend = RedisBackend(lambda: Redis.from_url(url), clock=None if is_real else self.server)
        self.store = RedisRevocations(self.backend, source=source, clock=self.clock, **options)

    async def refuses(self, *revocations: Revocation) -> list[bool]:
        """Which of these the store finds."""
        found = await self.store.find([each.key for each in revocations])
        return [each.key in found for each in revocations]

    async def idle(self) -> None:
        """Wait until what loads in the background has ended."""
        await asyncio.gather(*self.store._loading.values())


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failure the next request loads again."""
    monkeypatch.setattr(revocations, "FIRST_RETRY", 0.0)
    monkeypatch.setattr(revocations, "LONGEST_RETRY", 0.0)
    monkeypatch.setattr(revocations, "ASK_EVERY", 0.001)
    monkeypatch.setattr(revocations, "ASK_CLUSTER_EVERY", 0.0)


async def test_what_is_revoked_is_found_by_every_worker_and_nothing_else_is(redis_url: str) -> None:
    """With its time, which may be infinite; and it is in the source."""
    source = Kept()
    one, other = Store(redis_url, source), Store(redis_url, source)
    for revocation in (ALICE, SESSION, KEY):
        await one.store.revoke(revocation)

    assert await other.store.find([ALICE.key, KEY.key]) == {ALICE.key: NOW - 5.25, KEY.key: math.inf}
    assert await other.store.find([revocation_key("token", "alice")]) == {}
    assert await other.store.find([]) == {}
    assert [await other.store.is_session_revoked(name) for name in ("s-1", "s-2")] == [True, False]
    assert source.entries == [ALICE, SESSION, KEY]


async def test_what_the_source_has_is_found_by_the_first_request(redis_url: str) -> None:
    """A server that is new, or was flushed, has the whole list before anybody gets an answer."""
    first = Store(redis_url, Kept(ALICE, SESSION, KEY))

    assert await first.refuses(ALICE, SESSION, KEY) == [True, True, True]


async def test_after_a_flush_everybody_who_was_revoked_is_refused(redis_url: str, redis_port: int) -> None:
    """By each worker, of which one alone loads the list."""
    source = Kept(ALICE, SESSION, KEY)
    workers = [Store(redis_url, source) for _ in range(3)]
    await workers[0].refuses(KEY)
    for _ in range(2):
        command(redis_port, "FLUSHALL")
        for worker in workers:
            worker.server.move(1)
        answers = await asyncio.gather(*(worker.refuses(ALICE, SESSION, KEY) for worker in workers for _ in range(4)))
        assert answers == [[True, True, True]] * 12

    assert source.asked == [-math.inf] * 3


async def test_a_source_that_cannot_answer_is_a_503_until_it_can(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody passes meanwhile, one ERROR names the source, and the next request after that has an answer."""
    source = Kept(ALICE)
    source.failure = BackendUnavailable("the database is away")
    worker = Store(redis_url, source)
    for _ in range(2):
        with pytest.raises(BackendUnavailable, match="not all revocations: the database is away") as caught:
            await worker.refuses(ALICE)
        assert caught.value.retry_after == 1
    source.failure = None

    assert await worker.refuses(ALICE, KEY) == [True, False]
    assert [(record.levelno, record.getMessage().split(": ")[-1]) for record in caplog.records] == [
        (logging.ERROR, "the database is away"),
        (logging.WARNING, "the list is loaded again"),
    ]


async def test_after_a_failure_nobody_asks_the_source_again_at_once(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source in trouble is not asked by each request."""
    monkeypatch.setattr(revocations, "FIRST_RETRY", 1000.0)
    source = Kept(ALICE)
    source.failure = BackendUnavailable("away")
    worker = Store(redis_url, source)
    for _ in range(3):
        with pytest.raises(BackendUnavailable):
            await worker.refuses(ALICE)

    assert len(source.asked) == 1


async def test_a_revocation_during_the_load_is_not_lost(redis_url: str) -> None:
    """Neither by a list that was begun before it, nor by an older time of the same subject in that list."""
    source = Kept(ALICE, SESSION)
    source.turn.clear()
    worker = Store(redis_url, source)
    waiting = asyncio.create_task(worker.refuses(KEY, ALICE))
    await source.begun.wait()
    source.entries = []  # the list was begun; this is only to see that it is not read again
    await worker.store.revoke(KEY)
    await worker.store.revoke(Revocation.subject("alice", before=NOW + 7, expires_at=NOW + 90))
    source.turn.set()

    assert await waiting == [True, True]
    assert (await worker.store.find([ALICE.key]))[ALICE.key] == NOW + 7


async def test_a_flush_during_the_load_loads_again(redis_url: str, redis_port: int) -> None:
    """What was loaded before it is gone, so the list does not count."""
    source = Kept(ALICE, SESSION, KEY, size=1)
    worker = Store(redis_url, source)
    source.turn.clear()
    waiting = asyncio.create_task(worker.refuses(ALICE, SESSION, KEY))
    await source.begun.wait()
    command(redis_port, "FLUSHALL")
    worker.server.move(1)
    source.turn.set()
    with pytest.raises(BackendUnavailable, match="has forgotten what was loaded"):
        await waiting

    assert await worker.refuses(ALICE, SESSION, KEY) == [True, True, True]
    assert len(source.asked) == 2


async def test_a_flush_after_the_last_slice_loads_again(redis_url: str, redis_port: int) -> None:
    """The list is complete only in the epoch in which all of it was written."""
    source = Kept()
    worker = Store(redis_url, source)
    states = await worker.store._states()
    command(redis_port, "FLUSHALL")
    worker.server.move(1)
    with pytest.raises(revocations._Failure):
        await worker.store._mark(b"\0", states[b"\0"])

    assert (await worker.store._states())[b"\0"].age == -1


async def test_a_load_that_takes_longer_than_a_request_waits_is_a_503(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The load goes on, although the request that has begun it is gone."""
    monkeypatch.setattr(revocations, "LOAD_WAIT", 0.01)
    source = Kept(ALICE)
    source.turn.clear()
    worker = Store(redis_url, source)
    with pytest.raises(BackendUnavailable, match="they are being loaded"):
        await worker.refuses(ALICE)
    source.turn.set()
    await worker.idle()

    assert await worker.refuses(ALICE) == [True]


async def test_a_worker_that_was_killed_while_it_loaded_is_replaced(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock expires by the clock of the server, and another worker loads."""
    monkeypatch.setattr(revocations, "LOCKED_FOR", 0.05)
    source = Kept(ALICE)
    killed, other = Store(redis_url, source), Store(redis_url, source)
    await killed.store._lock("its token")

    assert await other.refuses(ALICE) == [True]


@pytest.mark.parametrize(
    ("befores", "expires", "kept"),
    [
        ((NOW, NOW - 50, NOW + 7), (9, 99, 1), (NOW + 7, 99)),
        ((math.inf, 0.0, -math.inf), (9, 99, 1), (math.inf, 99)),
        ((-math.inf, -5.0, 0.1), (9, 8, 7), (0.1, 9)),
        ((NOW, NOW, NOW), (9, math.inf, 20), (NOW, math.inf)),
        ((NOW, NOW, NOW), (math.inf, 20, 30), (NOW, math.inf)),
        ((NOW, NOW, NOW), (-1000, -3, -5), (NOW, 0)),
    ],
    ids=["times", "infinite", "negative", "for good", "stays for good", "ended"],
)
async def test_the_later_times_hold(
    redis_url: str, redis_port: int, befores: Sequence[float], expires: Sequence[float], kept: tuple[float, float]
) -> None:
    """A second revocation takes nothing back, and may add. Each is kept for ten minutes after its end."""
    worker = Store(redis_url, Kept())
    for before, seconds in zip(befores, expires, strict=True):
        await worker.store.revoke(Revocation("token", "t-1", NOW + seconds, before))
    key = revocation_key("token", "t-1")
    left = int(command(redis_port, "PTTL", b"authguard:r:" + key)[1:]) / 1000

    assert (await worker.store.find([key]))[key] == max(kept[0], -1e308)
    if kept[1] == math.inf:
        assert left == -0.001
    else:
        assert kept[1] + KEPT_AFTER - 5 < left <= kept[1] + KEPT_AFTER


async def test_what_the_source_got_otherwise_counts_after_a_while(redis_url: str) -> None:
    """The list is read again when it is old: what was entered since, with five minutes for clocks that differ."""
    server, source = ManualClock(NOW), Kept()
    worker, other = (Store(redis_url, source, server, refresh=60) for _ in range(2))
    await worker.refuses(ALICE)
    source.entries.append(ALICE)
    server.move(59)
    young = await worker.refuses(ALICE)
    server.move(1)
    await worker.refuses(ALICE)
    await worker.idle()

    assert young == [False]
    assert await other.refuses(ALICE) == [True]
    await other.idle()
    assert source.asked == [-math.inf, NOW - 60 - 300]


async def test_requests_go_on_while_another_worker_reads_what_is_new(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock keeps the others from reading it too, and from looking at each request."""
    monkeypatch.setattr(revocations, "ASK_CLUSTER_EVERY", 1000.0)
    source = Kept()
    worker = Store(redis_url, source, refresh=60)
    await worker.refuses(ALICE)
    worker.server.move(60)
    await worker.store._lock("of another worker")
    tasks: list[asyncio.Task[None]] = []
    for _ in range(2):
        assert await worker.refuses(ALICE) == [False]
        await worker.idle()
        tasks += worker.store._loading.values()

    assert source.asked == [-math.inf]
    assert tasks[0] is tasks[1]


async def test_a_source_that_fails_keeps_nobody_out_while_redis_has_the_list(redis_url: str) -> None:
    """What was revoked by the app is in Redis. Only what the source got otherwise is not."""
    source = Kept(ALICE)
    worker = Store(redis_url, source, refresh=60)
    await worker.refuses(ALICE)
    worker.server.move(60)
    source.failure = OSError("disk")
    await worker.refuses(ALICE)
    await worker.idle()

    assert await worker.refuses(ALICE, KEY) == [True, False]
    assert worker.store._failure == "Kept() raised OSError"


async def test_a_source_that_does_not_take_it_is_no_revocation(redis_url: str) -> None:
    """It is in neither place, and the caller knows."""
    source = Kept()
    worker = Store(redis_url, source)
    source.failure = BackendUnavailable("read only")
    with pytest.raises(BackendUnavailable, match="read only"):
        await worker.store.revoke(ALICE)
    source.failure = None

    assert await worker.refuses(ALICE) == [False]


async def test_redis_in_trouble_leaves_it_in_the_source(redis_url: str, redis_port: int) -> None:
    """The caller gets an outage, and the revocation counts as soon as the list is read again."""
    source = Kept()
    worker = Store(redis_url, source, refresh=60)
    await worker.refuses(KEY)
    command(redis_port, "CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(BackendUnavailable, match="redis"):
            await worker.store.revoke(KEY)
    finally:
        command(redis_port, "CONFIG", "SET", "maxmemory", "0")
    worker.server.move(60)
    await worker.refuses(KEY)
    await worker.idle()

    assert await worker.refuses(KEY) == [True]


async def _returned() -> Iterable[Revocation]:
    return [ALICE, SESSION, KEY]


async def _yielded() -> AsyncIterator[Revocation]:
    for each in (ALICE, SESSION, KEY):
        yield each


@pytest.mark.parametrize("function", [_returned, _yielded], ids=["returned", "yielded"])
async def test_a_function_of_the_app_lists_them(redis_url: str, monkeypatch: pytest.MonkeyPatch, function: Any) -> None:
    """All at once, or one by one. The app has entered them there itself."""
    monkeypatch.setattr(revocations, "SLICE", 2)
    worker = Store(redis_url, function)
    await worker.store.revoke(Revocation.token("t-9", expires_at=NOW + 60))

    assert await worker.refuses(ALICE, SESSION, KEY) == [True, True, True]
    assert await worker.refuses(Revocation.token("t-9", expires_at=NOW)) == [True]


async def _none() -> None:
    return None


async def _mapping() -> dict[str, Revocation]:
    return {}


async def _names() -> list[str]:
    return ["t-1"]


async def _hangs() -> list[Revocation]:
    await asyncio.sleep(100)
    return []


def _plain() -> list[Revocation]:
    return []


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (_none, "_none .* returned None; return a list of all revocations"),
        (_mapping, "_mapping .* returned a dict; return a list"),
        (_names, "_names .* returned a str; return Revocation objects"),
        (_hangs, "_hangs .* lists nothing within 0.01 s"),
        (_plain, "_plain .* is not async"),
    ],
    ids=lambda value: "" if isinstance(value, str) else value.__name__,
)
async def test_a_list_that_is_none_lets_nobody_pass(redis_url: str, function: Any, problem: str) -> None:
    """The 503 names the function of the app, and what is wrong."""
    worker = Store(redis_url, function, deadline=0.01)
    with pytest.raises(BackendUnavailable, match=problem):
        await worker.refuses(ALICE)


async def test_a_slice_that_is_none_is_not_the_end_of_the_list(redis_url: str) -> None:
    """Otherwise what is listed after it would not be revoked."""

    class Torn(Kept):
        async def live(self, since: float) -> AsyncIterator[Any]:
            yield [SESSION]
            yield None
            yield [ALICE]

    worker = Store(redis_url, Torn())
    with pytest.raises(BackendUnavailable, match=r"Kept\(\) raised TypeError"):
        await worker.refuses(ALICE)


async def test_a_time_that_is_no_number_revokes_everything(redis_url: str) -> None:
    """A source may have it from a database. Nothing was issued before it, so that it would revoke nothing."""

    class Row:
        key, before, expires_at = ALICE.key, math.nan, NOW + 60

    class Rows(Kept):
        async def live(self, since: float) -> AsyncIterator[Any]:
            yield [Row]

    worker = Store(redis_url, Rows())

    assert await worker.store.find([ALICE.key]) == {ALICE.key: math.inf}


def test_an_event_loop_that_has_ended_is_not_held(redis_url: str) -> None:
    """A task holds its loop, so those that have ended are forgotten when the next one starts."""
    worker = Store(redis_url, Kept())

    async def use() -> None:
        await worker.refuses(ALICE)
        worker.store.on_revoked([ALICE.key], lambda: None)
        worker.server.move(1000)
        await worker.refuses(ALICE)  # the list is old, and is loaded again
        await worker.idle()

    for _ in range(3):
        asyncio.run(use())

    assert [len(worker.store._loading), len(worker.store._listening)] == [1, 1]


async def test_an_iterator_without_an_end_of_its_own_is_read(redis_url: str) -> None:
    """A source may return any async iterator of slices."""

    class Slices:
        """One slice that is empty, and one that is not."""

        def __init__(self) -> None:
            self.parts: list[list[Revocation]] = [[], [ALICE]]

        def __aiter__(self) -> Slices:
            return self

        async def __anext__(self) -> list[Revocation]:
            if not self.parts:
                raise StopAsyncIteration
            return self.parts.pop(0)

    class Source(Kept):
        """A source that returns such an iterator."""

        def live(self, since: float) -> Any:
            return Slices()

    worker = Store(redis_url, Source())

    assert await worker.refuses(ALICE) == [True]


async def test_a_file_is_a_source(redis_url: str, tmp_path: Path) -> None:
    """What is revoked is in the file, and what is in the file is refused."""
    admin = RevocationFileAdmin(tmp_path / "revoked.json", clock=ManualClock(NOW))
    admin.make()
    admin.revoke(ALICE)
    worker = Store(redis_url, RevocationFile(tmp_path / "revoked.json", wall=ManualClock(NOW)))
    await worker.store.revoke(KEY)

    assert await worker.refuses(ALICE, KEY) == [True, True]
    assert [each.kind for each in admin.revocations()] == ["subject", "api_key"]


async def test_a_database_is_a_source(redis_url: str, tmp_path: Path) -> None:
    """What is revoked is in the table, and what is in the table is refused."""
    table = SqlRevocations(f"sqlite+aiosqlite:///{tmp_path}/revoked.db", clock=ManualClock(NOW))
    await table.create_table()
    await table.revoke(ALICE)
    worker = Store(redis_url, table)
    await worker.store.revoke(KEY)

    assert await worker.refuses(ALICE, KEY) == [True, True]
    assert len(await table.revocations()) == 2


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"source": None}, "source: give SqlRevocations"),
        ({"source": Kept}, "source"),
        ({"source": 7}, "source"),
        ({"on_outage": "memory"}, "on_outage"),
        ({"refresh": 0}, "refresh"),
        ({"deadline": -1}, "deadline"),
        ({"redis": Redis()}, r"redis: give RedisBackend\(\.\.\.\), not a Redis"),
    ],
    ids=["no source", "class", "number", "on_outage", "refresh", "deadline", "redis"],
)
def test_wrong_arguments_raise(options: dict[str, Any], argument: str) -> None:
    """At build, by the name of the argument."""
    given: dict[str, Any] = {"redis": RedisBackend(Redis), "source": Kept(), **options}
    with pytest.raises(ConfigurationError, match=argument):
        RedisRevocations(given.pop("redis"), **given)


class Told:
    """What an open connection has called: ``wait`` returns at the next call."""

    def __init__(self) -> None:
        self.calls = 0
        self._event = asyncio.Event()

    def __call__(self) -> None:
        self.calls += 1
        self._event.set()

    async def wait(self) -> int:
        """How often it was called, when it has been."""
        async with asyncio.timeout(10):
            await self._event.wait()
        self._event.clear()
        return self.calls


async def told(worker: Store, *connections: Sequence[bytes]) -> list[Told]:
    """A callback for each of these keys. They are called for the first look, before which something may be missed."""
    callbacks = [Told() for _ in connections]
    for keys, callback in zip(connections, callbacks, strict=True):
        worker.store.on_revoked(keys, callback)
    assert [await callback.wait() for callback in callbacks] == [1] * len(callbacks)
    return callbacks


@pytest.fixture(name="listening")
def _listening(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "NEWS_EVERY", 0.01)


@pytest.mark.usefixtures("listening")
async def test_an_open_connection_of_another_worker_is_told(redis_url: str) -> None:
    """Of its own keys, and not of others; in the worker that revokes at once."""
    source = Kept()
    one, other = Store(redis_url, source), Store(redis_url, source)
    (own,) = await told(one, [ALICE.key])
    alice, bob = await told(other, [ALICE.key, KEY.key], [SESSION.key])
    await one.store.revoke(ALICE)
    at_once = own.calls

    assert await alice.wait() == 2
    await one.store.revoke(SESSION)
    assert await bob.wait() == 2
    assert at_once >= 2  # it may have read its own announcement too
    assert alice.calls == 2


@pytest.mark.usefixtures("listening")
async def test_each_connection_looks_again_when_some_may_have_been_missed(redis_url: str, redis_port: int) -> None:
    """After a flush, and when the list is there again."""
    worker = Store(redis_url, Kept(ALICE), is_real=True)
    (callback,) = await told(worker, [KEY.key])
    await worker.store.revoke(SESSION)
    command(redis_port, "FLUSHALL")
    flushed = await callback.wait()
    await worker.refuses(ALICE)

    assert await callback.wait() == flushed + 1


@pytest.mark.usefixtures("listening")
async def test_while_the_server_is_away_nothing_is_lost(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker asks again from where it was."""
    source = Kept()
    one, other = Store(redis_url, source), Store(redis_url, source)
    (callback,), asked, run = await told(other, [ALICE.key]), asyncio.Event(), RedisBackend.run
    await one.store.revoke(SESSION)
    await asyncio.sleep(0.05)

    async def away(self: RedisBackend, *arguments: Any) -> Any:
        if self is other.backend:
            asked.set()
            raise BackendUnavailable("away")
        return await run(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(RedisBackend, "run", away)
        await asked.wait()
        await one.store.revoke(ALICE)
    await callback.wait()

    assert callback.calls == 2


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize("number", [1, 65])
async def test_what_the_source_got_otherwise_is_told_too(redis_url: str, number: int) -> None:
    """By its keys, or, if there are many, as a reason to look again."""
    source = Kept(size=100)
    worker = Store(redis_url, source, refresh=60)
    await worker.refuses(ALICE)
    callback, other = await told(worker, [revocation_key("token", "t-0")], [KEY.key])
    source.entries += [Revocation.token(f"t-{index}", expires_at=NOW + 600) for index in range(number)]
    worker.server.move(60)
    await worker.refuses(ALICE)
    await callback.wait()

    assert (callback.calls, other.calls) == (2, 2 if number > 64 else 1)


@pytest.mark.usefixtures("listening")
async def test_nobody_asks_for_news_when_no_connection_is_open(redis_url: str) -> None:
    """The task ends with the last of them, and begins again with the next."""
    worker = Store(redis_url, Kept())
    callback = Told()
    end = worker.store.on_revoked([KEY.key], callback)
    await callback.wait()
    end()
    (task,) = worker.store._listening.values()
    await asyncio.wait_for(task, 10)
    await told(worker, [KEY.key])

    assert list(worker.store._listening.values()) != [task]
    assert callback.calls == 1


async def _swallowing(*arguments: Any) -> Any:
    """A call that goes on although its task was cancelled, as ``asyncio.wait_for`` may before 3.12."""
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
    if isinstance(arguments[0], RedisBackend):
        raise BackendUnavailable("away")
    return {b"\0": revocations._State(-1, b"", b"")}


@pytest.mark.parametrize("method", ["_load", "_listen"])
async def test_a_task_that_was_cancelled_ends_even_if_a_call_in_it_goes_on(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the event loop would wait for it for ever when the server is stopped."""

    async def others(self: RedisRevocations, token: str) -> bool:
        return False

    async def away(self: RedisBackend, *arguments: Any) -> Any:
        raise BackendUnavailable("away")

    monkeypatch.setattr(RedisRevocations, "_states", _swallowing)
    monkeypatch.setattr(RedisRevocations, "_lock", others)
    monkeypatch.setattr(RedisBackend, "run", away if method == "_load" else _swallowing)
    store = RedisRevocations(RedisBackend(Redis), source=Kept())
    store._callbacks.add([KEY.key], Told())
    task = asyncio.create_task(getattr(store, method)())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait((task,), timeout=10)

    assert task.done()


async def test_a_failure_of_one_of_several_calls_is_raised_when_all_have_ended() -> None:
    """So that nothing goes on in the background."""
    ended = []

    async def call(number: int) -> int:
        await asyncio.sleep(0)
        if number == 1:
            raise BackendUnavailable("away")
        ended.append(number)
        return number

    with pytest.raises(BackendUnavailable, match="away"):
        await revocations._together([call(number) for number in range(3)])
    assert ended == [0, 2]


@pytest.fixture(name="cluster_port", scope="module")
def _cluster_port() -> Iterator[int]:
    """The port of a Cluster of one server, which has all slots."""
    program = server_program("redis")
    if program is None:
        pytest.skip("redis-server is not installed")
    with running_server(program, "--cluster-enabled", "yes", "--cluster-port", str(free_port())) as port:
        command(port, "CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        while b"cluster_state:ok" not in command(port, "CLUSTER", "INFO"):
            pass
        yield port


async def test_on_a_cluster_each_partition_has_its_list(cluster_port: int) -> None:
    """A request asks for the keys of each partition side by side, and a flush of one of them loads them all again."""
    command(cluster_port, "FLUSHALL")
    tokens = [Revocation.token(f"t-{index}", expires_at=NOW + 60) for index in range(40)]
    source = Kept(*tokens, size=30)
    server = ManualClock(NOW)
    backend = RedisBackend(lambda: RedisCluster(host="127.0.0.1", port=cluster_port), clock=server)
    store = RedisRevocations(backend, source=source, clock=ManualClock(NOW))
    first = await store.find([each.key for each in tokens])
    await store.revoke(ALICE)
    second = await store.find([ALICE.key, KEY.key])
    server.move(1)
    command(cluster_port, "DEL", b"authguard:{%02x}:epoch" % tokens[3].key[0])
    third = await store.find([tokens[3].key])

    assert len({each.key[0] for each in tokens}) > 20
    assert len(first) == 40
    assert list(second) == [ALICE.key]
    assert list(third) == [tokens[3].key]
    assert source.asked == [-math.inf, -math.inf]


async def test_a_guard_reaches_redis_when_it_starts(redis_url: str) -> None:
    """``Guard.warm`` calls the store, and the health of the guard has that of the backend."""
    worker = Store(redis_url, Kept())
    guard = Guard(Badge(), revocations=worker.store)
    assert guard.health()["revocations"] == {"RedisRevocations": worker.backend.health()}
    assert worker.backend.health()["state"] == "unused"

    await guard.warm()

    assert guard.health()["revocations"] == {"RedisRevocations": worker.backend.health()}
    assert worker.backend.health()["state"] == "ok"
