"""What holds where nobody came for long: neither old keys nor an old failure say much of now."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from authguard import BackendUnavailable
from authguard.keys import cache
from tests.support.coroutines import run_together, wait_until
from tests.support.key_source import StubbedSource, fetch_failure
from tests.support.tokens import key_set, published_jwk, rsa_key


async def test_a_failure_of_long_ago_lets_in_no_key_that_was_withdrawn() -> None:
    """It says nothing of now: after an idle time the first request waits for the new set, and health forgets it."""
    source = StubbedSource("a")
    await source.key_ids("a")
    source.server.answer = OSError()
    source.clock.move(500)
    source.at_hand("a")
    await source.wait_for_fetch()
    source.server.publish("b")
    source.clock.move(60.9)
    assert source.keys.health() == {**source.keys.health(), "last_error": "the fetch raised OSError", "next_try_in": 0}
    source.clock.move(0.1)
    assert source.keys.health() == {**source.keys.health(), "last_error": None, "failing_for": 0, "next_try_in": None}
    source.clock.move(70_000)

    assert source.at_hand("a") is None
    assert await source.key_ids("a") == []
    assert source.at_hand("b") == ["b"]


async def test_a_slow_answer_is_waited_for_where_nobody_came_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the set has been expired for as long as it was good: by who comes first and by who comes later."""
    monkeypatch.setattr(cache, "PATIENCE", 0.001)
    source = StubbedSource("a")
    await source.key_ids("a")
    source.server.publish("b")
    source.server.released.clear()
    source.clock.move(1200)

    async def later() -> None:
        await wait_until(lambda: source.server.count == 2)
        source.clock.move(1)
        assert source.at_hand("a") is None
        await anyio.sleep(0.05)
        source.server.released.set()

    assert await run_together([partial(source.key_ids, "a")], later) == [[]]


async def test_known_keys_serve_on_where_nobody_came_for_long_and_the_server_is_gone() -> None:
    """Who came first has waited for the failure; the others do not."""
    source = StubbedSource("a")
    await source.key_ids("a")
    source.server.answer = OSError()
    source.clock.move(5000)

    assert source.at_hand("a") is None
    assert await source.key_ids("a") == ["a"]
    assert source.at_hand("a") == ["a"]


async def test_a_key_without_an_id_serves_on_during_an_outage() -> None:
    """A token that names one may be signed with it; where the signature does not fit, nobody knows."""
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
