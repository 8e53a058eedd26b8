"""One fetch serves all requests that wait for it, even if the request that started it is cancelled."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import anyio
import pytest

from authguard import BackendUnavailable, RemoteJWKS, fork
from authguard.schemes import Service
from tests.support.coroutines import run_together, wait_until
from tests.support.forks import held_by_another_thread, needs_fork, run_in_child
from tests.support.key_source import JWKS_URL, StubbedSource, fetch_failure


async def test_fetched_keys_are_held() -> None:
    """One fetch serves all requests for ten minutes, if the server states no age."""
    source = StubbedSource("a", "b")

    assert source.held_key_ids("a") is None
    assert await source.key_ids("a") == ["a"]
    source.clock.move(479)

    assert (source.held_key_ids("a"), source.held_key_ids("b"), source.held_key_ids(None)) == (["a"], ["b"], ["a", "b"])
    assert source.server.count == 1
    assert source.keys.held(kid="a", algorithm="RS256")
    assert isinstance(source.keys, Service)


async def test_five_hundred_first_requests_are_one_fetch() -> None:
    """Five hundred first requests cause one fetch, even if the request that started it is cancelled."""
    source = StubbedSource("a", timeout=60)
    source.server.released.clear()
    leaving = anyio.CancelScope()

    async def first() -> None:
        with leaving:
            await source.key_ids("a")

    async def leave() -> None:
        leaving.cancel()
        await wait_until(lambda: leaving.cancelled_caught)
        source.server.released.set()

    answers = await run_together([first, *[partial(source.key_ids, "a")] * 499], leave)

    assert answers == [None] + [["a"]] * 499
    assert source.server.count == 1


async def test_a_cancelled_waiter_leaves_nothing_behind() -> None:
    """A client that connects and disconnects while a fetch runs leaves nothing in memory."""
    source = StubbedSource("a")
    source.server.released.clear()
    leaving: list[anyio.CancelScope] = []

    async def impatient() -> None:
        with anyio.CancelScope() as scope:
            leaving.append(scope)
            await source.key_ids("a")

    async def leave() -> None:
        flight = source.keys._refresher.under_way
        assert flight is not None
        assert len(flight._waiting) == 100
        for scope in leaving:
            scope.cancel()
        await wait_until(lambda: not flight._waiting)
        source.server.released.set()
        await flight.wait()

    await run_together([impatient] * 100, leave)

    assert source.held_key_ids("a") == ["a"]
    assert source.server.count == 1


@pytest.mark.parametrize("backends", [["asyncio"], ["trio"], ["asyncio", "trio"]])
def test_loops_in_several_threads_share_one_fetch(backends: list[str]) -> None:
    """Event loops of both kinds, in several threads, share one fetch, and all their requests are answered."""
    source, answers = StubbedSource("a"), []
    source.server.released.clear()
    threads = [
        threading.Thread(target=lambda backend=backend: answers.append(anyio.run(source.key_ids, "a", backend=backend)))
        for backend in backends * 8
    ]
    for thread in threads:
        thread.start()
    source.server.released.set()
    for thread in threads:
        thread.join(30)

    assert answers == [["a"]] * len(threads)
    assert source.server.count == 1


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_fetch_outlives_the_loop_that_began_it(backend: str) -> None:
    """A ``TestClient`` without ``with`` has a new loop for each request. The next request uses the fetch of the
    first."""
    source = StubbedSource("a")
    source.server.released.clear()

    async def impatient() -> None:
        with anyio.move_on_after(0.01):
            await source.key_ids("a")

    anyio.run(impatient, backend=backend)
    anyio.run(impatient, backend=backend)
    source.server.released.set()

    assert anyio.run(source.key_ids, "a", backend=backend) == ["a"]
    assert source.server.count == 1


async def test_a_name_server_that_hangs_delays_nobody() -> None:
    """Host names are resolved in a thread that a closing loop would wait for, but the requests do not wait for it."""
    answered = threading.Event()

    async def fetch(url: str) -> bytes:
        await asyncio.get_running_loop().run_in_executor(None, answered.wait, 30)
        return b""

    keys = RemoteJWKS(JWKS_URL, fetch=fetch, timeout=0.05)
    try:
        with anyio.fail_after(20):
            for _ in range(2):
                with pytest.raises(BackendUnavailable, match=r"it gave no answer within 0\.05 s"):
                    await keys.warm()
    finally:
        answered.set()


async def test_a_fork_does_not_wait_for_its_parents_thread() -> None:
    """A fetch of the parent never ends in a forked child, so the next request of the child fetches."""
    source = StubbedSource("a")
    source.server.released.clear()
    with anyio.move_on_after(0.01):
        await source.key_ids("a")
    fork._renew()
    source.server.released.set()

    assert await source.key_ids("a") == ["a"]
    assert source.server.count == 2


@needs_fork
def test_a_forked_child_fetches_for_itself() -> None:
    """A forked child fetches although a fetch ran in its parent and another thread held the lock."""
    source = StubbedSource("a")
    source.server.released.clear()

    async def begin() -> None:
        with anyio.move_on_after(0.01):
            await source.key_ids("a")

    def fetch() -> list[str | None]:
        source.server.released.set()
        return anyio.run(source.key_ids, "a")

    anyio.run(begin)
    with held_by_another_thread(source.keys._refresher.lock):
        answer = run_in_child(fetch)
    source.server.released.set()

    assert (answer, source.server.count) == ("['a']", 1)


async def test_a_thread_that_cannot_start_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no thread can be started, the fetch fails as an outage, and is tried again."""
    source = StubbedSource("a")

    def exhausted(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", exhausted)
        assert await fetch_failure(source, "a") == ("https://login.example/jwks: the system has no thread left", 1)
    source.clock.move(1)

    assert await source.key_ids("a") == ["a"]


async def test_a_fetch_that_ends_its_thread_is_a_failure_like_another() -> None:
    """An exception that ends the thread of a fetch is a failed fetch, and no request waits for ever."""
    source = StubbedSource("a")
    source.server.answer = SystemExit()

    assert await fetch_failure(source, "a") == ("https://login.example/jwks: the fetch raised SystemExit", 1)
    source.clock.move(1)
    source.server.publish("a")

    assert await source.key_ids("a") == ["a"]
