"""Keys expire: when they are fetched again, and which keys are used while fetching fails."""

from __future__ import annotations

import logging

import pytest

from authguard import BackendUnavailable, RemoteJWKS
from authguard.keys import cache
from authguard.testing import ManualClock
from tests.support.coroutines import wait_until
from tests.support.key_source import StubbedSource, fetch_failure
from tests.support.servers.key_server import running_key_server
from tests.support.tokens import key_set, rsa_key


async def test_keys_are_fetched_again_before_they_expire() -> None:
    """Without a lifespan, a request starts the fetch and does not wait for it."""
    source = StubbedSource("a")
    await source.key_ids("a")
    source.server.released.clear()
    source.clock.move(480)

    assert [source.held_key_ids("a") for _ in range(5)] == [["a"]] * 5
    source.server.publish("a", "b")
    source.server.released.set()
    await wait_until(lambda: source.server.count == 2)
    await source.wait_for_fetch()
    source.clock.move(479)

    assert source.held_key_ids("a") == ["a"]
    assert source.server.count == 2


async def test_a_key_that_was_withdrawn_is_refused_when_the_set_expires() -> None:
    """After a night without requests, the first request waits for the new key set, and the withdrawn key is gone."""
    source = StubbedSource("a", "b")
    await source.key_ids("a")
    source.server.publish("b")
    source.clock.move(50_000)

    assert source.held_key_ids("a") is None
    assert await source.key_ids("a") == []
    assert source.held_key_ids("b") == ["b"]
    assert source.server.count == 3  # one for the set, one for the key that is not in it


async def test_known_keys_serve_on_while_the_server_is_down() -> None:
    """Expired keys are used for ``stale_if_error`` seconds, and no request waits for a server that is known to be
    down."""
    source = StubbedSource("a", stale_if_error=1000.0)
    await source.key_ids("a")
    source.server.answer = OSError()
    source.clock.move(600)

    assert await source.key_ids("a") == ["a"]
    for _ in range(20):
        source.clock.move(49)
        assert source.held_key_ids("a") == ["a"]
        await source.wait_for_fetch()
    source.clock.move(20)

    assert source.held_key_ids("a") is None
    told, wait = await fetch_failure(source, "a")
    assert told == "https://login.example/jwks: the fetch raised OSError"
    assert wait is not None
    assert 1 <= wait <= 30


async def test_known_keys_serve_on_while_the_server_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first request after the expiry waits a moment, the following ones do not."""
    monkeypatch.setattr(cache, "MAX_WAIT", 0.02)
    source = StubbedSource("a")
    await source.key_ids("a")
    source.server.released.clear()
    source.clock.move(600)

    assert source.held_key_ids("a") is None
    assert await source.key_ids("a") == ["a"]
    assert source.keys._refresher.under_way is not None
    source.clock.move(0.03)
    assert source.held_key_ids("a") == ["a"]
    source.server.released.set()
    await source.wait_for_fetch()

    assert source.server.count == 2


async def test_a_server_that_is_back_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    """One ERROR is logged when the server fails, and one WARNING when it is back, however many requests arrive."""
    source = StubbedSource("a")
    await source.key_ids("a")
    source.server.answer = OSError("CANARY")
    source.clock.move(500)
    for _ in range(10):
        source.held_key_ids("a")
        await source.wait_for_fetch()
        source.clock.move(1)
    source.server.publish("a")
    source.clock.move(30)
    source.held_key_ids("a")
    await source.wait_for_fetch()
    await wait_until(lambda: len(caplog.records) == 2)

    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (
            logging.ERROR,
            "https://login.example/jwks: the fetch raised OSError; the cached keys can be used for 86500 s",
        ),
        (logging.WARNING, "https://login.example/jwks answers again"),
    ]
    assert source.keys.health()["last_error"] is None


async def test_after_each_failure_the_next_try_comes_later() -> None:
    """Retries follow after 1, 2, 4, 8 and 16 seconds, then after each cooldown. Requests in between learn when, and
    fetch nothing."""
    source = StubbedSource("a")
    source.server.answer = OSError()
    waits = []

    for count in range(1, 9):
        (wait,) = {(await fetch_failure(source, "a"))[1] for _ in range(5)}
        assert source.server.count == count
        assert wait is not None
        waits.append(wait)
        source.clock.move(wait)

    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    source.server.publish("a")
    assert await source.key_ids("a") == ["a"]


async def test_an_unknown_key_is_an_outage_only_while_the_last_fetch_failed() -> None:
    """An unknown kid is an outage while the last fetch failed. After a successful fetch there is no such key."""
    source = StubbedSource("a")
    await source.key_ids("a")
    assert await source.key_ids("x") == []

    source.server.answer = OSError()
    assert await fetch_failure(source, "y") == ("https://login.example/jwks: the fetch raised OSError", 1)
    assert (await fetch_failure(source, "x"))[1] == 1
    assert source.held_key_ids("a") == ["a"]
    source.server.publish("a")
    source.clock.move(1)

    assert await source.key_ids("y") == []
    await source.busy("x")


async def test_recovery_costs_nothing_of_the_budget() -> None:
    """After an outage with random kids, three fetches for unknown keys are allowed as before."""
    source = StubbedSource("a")
    await source.key_ids("a")
    source.server.answer = OSError()
    for number in range(50):
        await fetch_failure(source, f"random-{number}")
    assert source.server.count == 2
    source.server.publish("a", "new")
    source.clock.move(1)

    assert await source.key_ids("new") == ["new"]
    for number in range(50):
        await source.has_fetched(f"more-{number}")
    assert source.server.count == 3 + 2  # one of three was spent on the fetch that failed


@pytest.mark.parametrize(
    ("max_age", "seconds"),
    [(None, 600), (0.0, 60), (30.0, 60), (300.0, 300), (86_400.0, 3600), (float("inf"), 3600), (-5.0, 600)],
)
async def test_the_max_age_of_a_server_is_bounded(max_age: float | None, seconds: float) -> None:
    """A server can neither cause a fetch each second nor keep a key for a month."""
    source = StubbedSource("a", max_age=max_age)
    await source.key_ids("a")

    assert source.keys.health()["fresh_for"] == seconds
    source.clock.move(seconds - 0.5)
    assert source.held_key_ids("a") == ["a"]
    await source.wait_for_fetch()


async def test_a_set_without_a_usable_key_keeps_the_last_good_one() -> None:
    """A key set without a usable key is a failed fetch, and the last good set stays in use."""
    source = StubbedSource("a")
    await source.key_ids("a")
    source.clock.move(450)
    for answer in (key_set(), key_set({"kty": "oct", "k": "AAAA"}), b"<html>"):
        source.server.answer = answer
        source.clock.move(50)

        assert source.held_key_ids("a") == ["a"]
        await source.wait_for_fetch()
        assert source.keys.health()["last_error"] is not None
        assert source.held_key_ids("a") == ["a"]


async def test_a_server_that_restarts_is_found_again() -> None:
    """Over the network: known keys are used while the server is down, and its new key is used when it is back."""
    with running_key_server(key_set(a=rsa_key())) as server:
        clock = ManualClock()
        keys = RemoteJWKS(server.url, insecure_http=True, clock=clock)
        assert len(await keys.keys_for(kid="a", algorithm="RS256")) == 1
        server.stop()
        clock.move(700)

        assert len(await keys.keys_for(kid="a", algorithm="RS256")) == 1
        with pytest.raises(BackendUnavailable, match="it cannot be reached"):
            await keys.keys_for(kid="b", algorithm="RS256")
        server.start()
        server.behaviour = lambda asked: asked.answer(key_set(b=rsa_key()))
        clock.move(30)

        assert len(await keys.keys_for(kid="b", algorithm="RS256")) == 1
