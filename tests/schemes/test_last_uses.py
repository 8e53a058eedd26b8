"""The last uses of API keys: at most one write a minute for each key, and never while a request waits."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import anyio
import pytest

from authguard import BackendUnavailable, Guard
from authguard.accounts.api_key_memory import ApiKeyLookup, MemoryApiKeys
from authguard.model import Moment
from authguard.request import AuthRequest
from authguard.schemes.api_key import last_uses
from authguard.schemes.api_key.last_uses import LastUses
from authguard.testing import ManualClock
from authguard.wire.authorization import Credentials
from tests.support.asgi import http_scope
from tests.support.clock import NOW
from tests.support.coroutines import wait_until
from tests.support.schemes.api_key import KEY_ID, accepted, api_key_scheme, key_text, rejected, stored_key


class Store:
    """It keeps what is written, and can fail."""

    def __init__(self) -> None:
        self.batches: list[dict[str, float]] = []
        self.threads: list[threading.Thread] = []
        self.written = threading.Event()
        self.error: Exception | None = None

    async def find(self, key_id: str) -> Any:
        return stored_key()

    async def write_last_uses(self, uses: Mapping[str, float]) -> None:
        if self.error is not None:
            raise self.error
        self.batches.append(dict(uses))
        self.threads.append(threading.current_thread())
        self.written.set()


def uses_of(store: Store, clock: ManualClock | None = None) -> LastUses:
    """The last uses of a store, by a clock that a test moves."""
    return LastUses(store, deadline=5.0, clock=clock or ManualClock(1000))


async def test_a_key_is_written_at_most_once_a_minute() -> None:
    """Ten thousand uses within ten minutes, with a batch every five seconds, are ten writes at most."""
    store = Store()
    uses = uses_of(store)
    times: list[float] = []

    for step in range(10_000):
        now = NOW + step * 0.06
        uses.note("a", now)
        if step % 83 == 0:
            before = len(store.batches)
            await uses.write()
            times += [now] * (len(store.batches) - before)

    assert 9 <= len(times) <= 10
    assert min(later - earlier for earlier, later in pairwise(times)) >= 60
    assert times[0] == NOW


async def test_a_batch_has_the_last_use_of_each_key() -> None:
    """What was noted is written once, with its own time."""
    store = Store()
    uses = uses_of(store)
    uses.note("a", NOW)
    uses.note("b", NOW + 1)
    uses.note("a", NOW + 2)

    await uses.write()
    await uses.write()

    assert store.batches == [{"a": NOW, "b": NOW + 1}]
    assert uses.health() == {"last_uses_written": 2, "last_uses_waiting": 0, "failed": False}


async def test_a_clock_that_was_set_back_does_not_end_the_writing() -> None:
    """A use before the noted one is noted anew."""
    store = Store()
    uses = uses_of(store)
    uses.note("a", NOW)
    uses.note("a", NOW - 3600)

    await uses.write()

    assert store.batches == [{"a": NOW - 3600}]


async def test_a_failure_is_logged_once_and_nothing_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    """The next batch has what could not be written, and the record shows no text of the error."""
    store = Store()
    uses = uses_of(store)
    uses.note("a", NOW)
    store.error = BackendUnavailable("s3cr3t")
    with caplog.at_level(logging.WARNING, "authguard"):
        await uses.write()
        uses.note("b", NOW)
        await uses.write()
        store.error = None
        await uses.write()

    assert store.batches == [{"a": NOW, "b": NOW}]
    assert [record.message for record in caplog.records] == [
        "the last uses of API keys cannot be written: BackendUnavailable",
        "the last uses of API keys are written again",
    ]


async def test_a_logging_filter_that_raises_ends_nothing() -> None:
    """The task that writes goes on, and the next batch has what could not be written."""

    def broken(record: logging.LogRecord) -> bool:
        raise RuntimeError("broken filter")

    store = Store()
    uses = uses_of(store)
    uses.note("a", NOW)
    store.error = BackendUnavailable("down")
    logger = logging.getLogger("authguard")
    logger.addFilter(broken)
    try:
        await uses.write()
        store.error = None
        await uses.write()
    finally:
        logger.removeFilter(broken)

    assert store.batches == [{"a": NOW}]


async def test_a_cancelled_batch_is_written_later() -> None:
    """At its end the app cancels the task that writes, and then writes once more."""

    class Slow(Store):
        async def write_last_uses(self, uses: Mapping[str, float]) -> None:
            if self.error is not None:
                await anyio.sleep_forever()
            await super().write_last_uses(uses)

    store = Slow()
    uses = uses_of(store)
    uses.note("a", NOW)
    store.error = ZeroDivisionError()
    with anyio.move_on_after(0.01):
        await uses.write()
    store.error = None

    await uses.write()

    assert store.batches == [{"a": NOW}]


async def test_while_the_app_runs_a_task_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """And at its end, what is left is written."""
    monkeypatch.setattr(last_uses, "BATCH_EVERY", 0.001)
    store = Store()
    scheme = api_key_scheme(store=store)

    async with Guard(scheme).running():
        await scheme_accepts(scheme)
        await wait_until(lambda: len(store.batches) == 1)
        scheme._verifier._last_uses.note("b", NOW)  # type: ignore[union-attr]

    assert [set(batch) for batch in store.batches] == [{KEY_ID}, {"b"}]
    assert {thread.name for thread in store.threads} == {threading.current_thread().name}


async def test_an_error_of_the_app_comes_out_unchanged() -> None:
    """And what is left is written all the same."""
    store = Store()
    scheme = api_key_scheme(store=store)

    async def run() -> None:
        async with Guard(scheme).running():
            await scheme_accepts(scheme)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run()

    assert store.batches == [{KEY_ID: NOW}]


async def scheme_accepts(scheme: Any) -> None:
    """Use the key once."""
    request = AuthRequest(http_scope(), "/", Moment(NOW, 60.0))
    await scheme.authenticate(request, Credentials("api-key", key_text().encode()))


def test_without_a_lifespan_a_thread_writes() -> None:
    """No request waits for it, and the next batch is due five seconds later."""
    store, clock = Store(), ManualClock(1000)
    uses = uses_of(store, clock)
    uses.note("a", NOW)
    assert store.batches == []
    clock.move(5)

    uses.note("a", NOW + 1)

    assert store.written.wait(30)
    assert store.batches == [{"a": NOW}]
    assert [thread.name for thread in store.threads] == ["authguard-last-uses"]
    uses._thread.join()  # type: ignore[union-attr]
    uses.note("b", NOW + 1)
    assert uses.health()["last_uses_waiting"] == 1


def test_a_system_without_threads_refuses_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is raised into the request, and what was noted waits for the next thread."""

    def start(_: threading.Thread) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    store, clock = Store(), ManualClock(1000)
    uses = uses_of(store, clock)
    clock.move(5)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        uses.note("a", NOW)
    clock.move(5)
    uses.note("a", NOW + 1)

    assert store.written.wait(60)
    assert store.batches == [{"a": NOW}]


def test_one_thread_at_a_time_writes() -> None:
    """A store that takes long is not asked by a second thread."""
    clock, release, asked = ManualClock(1000), threading.Event(), threading.Event()

    class Slow(Store):
        async def write_last_uses(self, uses: Mapping[str, float]) -> None:
            asked.set()
            assert release.wait(30)
            await super().write_last_uses(uses)

    store = Slow()
    uses = uses_of(store, clock)
    uses.note("a", NOW)
    clock.move(5)
    uses.note("b", NOW)
    assert asked.wait(30)
    first = uses._thread
    for key_id in ("c", "d", "e"):
        clock.move(5)
        uses.note(key_id, NOW)
    assert uses._thread is first
    release.set()
    first.join()  # type: ignore[union-attr]
    assert len(store.batches) == 1


def test_a_store_without_last_uses_is_not_asked() -> None:
    """A look-up may have no function for them."""

    async def find(key_id: str) -> Any:
        return stored_key()

    scheme = api_key_scheme(store=ApiKeyLookup(find))

    assert (scheme.services, scheme.health()) == ((), {})


async def test_only_accepted_keys_are_used() -> None:
    """A refused key has no last use, so that a stranger cannot make a key look used."""
    written: list[Mapping[str, float]] = []

    async def find(key_id: str) -> Any:
        return stored_key(expires=NOW + 10)

    async def write(uses: Mapping[str, float]) -> None:
        written.append(uses)

    scheme = api_key_scheme(store=ApiKeyLookup(find, write_last_uses=write))
    accepted(scheme, key_text())
    rejected(scheme, key_text(), now=NOW + 20)
    rejected(scheme, key_text(secret="t" * 27), now=NOW + 90)

    await scheme._verifier._last_uses.write()  # type: ignore[union-attr]

    assert written == [{KEY_ID: NOW}]
    assert scheme.health() == {"last_uses_written": 1, "last_uses_waiting": 0, "failed": False}


async def test_memory_keeps_the_last_use() -> None:
    """The key in the store has it afterwards, and a later one is not replaced by an earlier one."""
    store = MemoryApiKeys([stored_key()])

    await store.write_last_uses({KEY_ID: NOW, "000000000000": NOW})
    await store.write_last_uses({KEY_ID: NOW - 5})

    assert [key.last_used for key in await store.keys()] == [NOW]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a million keys it begins anew, which costs one write more for each."""
    monkeypatch.setattr(last_uses, "MOST_NOTED", 3)
    uses = uses_of(Store())

    for number in range(10):
        uses.note(str(number), NOW)

    assert len(uses._noted) <= 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_leaves_the_batch_to_its_parent() -> None:
    """Otherwise both would write it."""
    uses = uses_of(Store())
    uses.note("a", NOW)

    uses.renew()

    assert uses.health()["last_uses_waiting"] == 0
    assert anyio.run(uses.write) is None
