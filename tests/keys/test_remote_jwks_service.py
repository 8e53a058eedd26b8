"""``RemoteJWKS`` as a service: refreshing in the lifespan, warming, and health."""

from __future__ import annotations

import anyio
import pytest

from authguard import BackendUnavailable
from authguard.keys import cache
from tests.support.coroutines import wait_until
from tests.support.key_source import StubbedSource
from tests.support.tokens import ec_key, key_set, rsa_key


async def test_a_lifespan_keeps_the_keys_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lifespan fetches the keys at its start and before they expire, without a request, until it ends."""
    monkeypatch.setattr(cache, "CHECK_INTERVAL", 0.001)
    source = StubbedSource("a")

    async with source.keys.running(source.clock):
        await wait_until(lambda: source.held_key_ids("a") == ["a"])
        source.clock.move(479)
        await anyio.sleep(0.02)
        assert source.server.count == 1
        source.clock.move(1)
        await wait_until(lambda: source.server.count == 2)
        await source.wait_for_fetch()
        source.server.answer = OSError()
        source.clock.move(480)
        await wait_until(lambda: source.server.count == 3)
        await source.wait_for_fetch()
        source.server.publish("b")
        source.clock.move(1)
        await wait_until(lambda: source.server.count == 4)
        await source.wait_for_fetch()
        assert source.held_key_ids("b") == ["b"]
    source.clock.move(480)
    await anyio.sleep(0.01)

    assert source.server.count == 4


async def test_warm_always_fetches_the_keys() -> None:
    """``warm`` always fetches. A failure is raised, and the keys that are held stay in use."""
    source = StubbedSource("a")

    await source.keys.warm()
    assert source.held_key_ids("a") == ["a"]
    await source.keys.warm()
    assert source.server.count == 2
    source.server.answer = OSError()
    with pytest.raises(BackendUnavailable, match="the fetch raised OSError"):
        await source.keys.warm()

    assert source.held_key_ids("a") == ["a"]


async def test_health_reports_ages_and_the_last_failure() -> None:
    """The health has the ages in seconds, by the source's own clock, and the last failure."""
    source = StubbedSource("a", "b")
    nothing: dict[str, object] = {
        "source": "https://login.example/jwks",
        "keys": 0,
        "skipped": 0,
        "age": None,
        "fresh_for": 0.0,
        "usable_for": 0.0,
        "fetches": 0,
        "fetches_left": {"known": 4, "others": 4},
        "refetches_left": {"known": 4, "others": 4},
        "fetching_for": None,
        "last_error": None,
        "failing_for": 0.0,
        "next_try_in": None,
    }
    assert source.keys.health() == nothing

    source.server.answer = key_set({}, a=rsa_key(), b=ec_key())
    await source.key_ids("a")
    source.clock.move(500)
    source.server.answer = OSError()
    source.held_key_ids("a")
    await source.wait_for_fetch()
    source.clock.move(0.5)

    assert source.keys.health() == {
        **nothing,
        "keys": 2,
        "skipped": 1,
        "age": 500.5,
        "fresh_for": 99.5,
        "usable_for": 86_499.5,
        "fetches": 2,
        "last_error": "the fetch raised OSError",
        "failing_for": 0.5,
        "next_try_in": 0.5,
    }


async def test_health_reports_a_fetch_that_hangs() -> None:
    """The health says for how long a fetch has been running, before it has failed."""
    source = StubbedSource("a")
    source.server.released.clear()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(source.keys.warm)
        await wait_until(lambda: source.keys.health()["fetches"] == 1)
        assert source.keys.health()["fetching_for"] == 0.0
        source.clock.move(3)
        assert source.keys.health() == {**source.keys.health(), "fetching_for": 3.0, "last_error": None}
        source.server.released.set()

    assert source.keys.health() == {**source.keys.health(), "fetching_for": None, "keys": 1}


async def test_health_says_if_no_keys_are_held(caplog: pytest.LogCaptureFixture) -> None:
    """Without keys the log says so, and not that the keys are used for another 0 seconds."""
    source = StubbedSource()
    source.server.answer = OSError()
    with pytest.raises(BackendUnavailable):
        await source.key_ids("a")
    await wait_until(lambda: len(caplog.records) == 1)

    assert caplog.messages == ["https://login.example/jwks: the fetch raised OSError; no keys are cached"]
