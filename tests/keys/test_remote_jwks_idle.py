"""After a long time without requests, neither old keys nor an old failure count."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from authguard import BackendUnavailable
from authguard.keys import cache
from tests.support.coroutines import run_together, wait_until
from tests.support.key_source import StubbedSource, fetch_failure
from tests.support.tokens import key_set, published_jwk, rsa_key


async def test_an_old_failure_does_not_keep_a_withdrawn_key() -> None:
    """After an idle time the first request waits for the new key set, and the health forgets the old failure."""
    source = StubbedSource("a")
    await source.key_ids("a")
    source.server.answer = OSError()
    source.clock.move(500)
    source.held_key_ids("a")
    await source.wait_for_fetch()
    source.server.publish("b")
    source.clock.move(60.9)
    assert source.keys.health() == {**source.keys.health(), "last_error": "the fetch raised OSError", "next_try_in": 0}
    source.clock.move(0.1)
    assert source.keys.health() == {**source.keys.health(), "last_error": None, "failing_for": 0, "next_try_in": None}
    source.clock.move(70_000)

    assert source.held_key_ids("a") is None
    assert await source.key_ids("a") == []
    assert source.held_key_ids("b") == ["b"]


async def test_a_slow_response_is_awaited_after_an_idle_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the key set has been expired for as long as it was fresh, all requests wait for the new one."""
    monkeypatch.setattr(cache, "MAX_WAIT", 0.001)
    source = StubbedSource("a")
    await source.key_ids("a")
    source.server.publish("b")
    source.server.released.clear()
    source.clock.move(1200)

    async def later() -> None:
        await wait_until(lambda: source.server.count == 2)
        source.clock.move(1)
        assert source.held_key_ids("a") is None
        await anyio.sleep(0.05)
        source.server.released.set()

    assert await run_together([partial(source.key_ids, "a")], later) == [[]]


async def test_known_keys_serve_on_where_nobody_came_for_long_and_the_server_is_gone() -> None:
    """If the server is down after an idle time, the first request waits for the failure, and the others use the known
    keys."""
    source = StubbedSource("a")
    await source.key_ids("a")
    source.server.answer = OSError()
    source.clock.move(5000)

    assert source.held_key_ids("a") is None
    assert await source.key_ids("a") == ["a"]
    assert source.held_key_ids("a") == ["a"]


async def test_a_key_without_an_id_serves_on_during_an_outage() -> None:
    """During an outage, a key without a kid may verify a token with one. If it does not fit, the result is an
    outage."""
    source = StubbedSource(stale_if_error=1000.0)
    source.server.answer = key_set(published_jwk(None, rsa_key()))
    assert await source.key_ids("x") == [None]
    tried = source.keys.held(kid=None, algorithm="RS256")
    assert tried is not None
    source.server.answer = OSError()
    source.clock.move(700)

    assert await source.key_ids("x") == [None]
    with pytest.raises(BackendUnavailable, match="the fetch raised OSError"):
        await source.keys.refetch(tried, kid="x", algorithm="RS256")
    assert await source.keys.refetch(tried, kid=None, algorithm="RS256") is None
    source.clock.move(900)
    assert (await fetch_failure(source, "x"))[0] == "https://login.example/jwks: the fetch raised OSError"
