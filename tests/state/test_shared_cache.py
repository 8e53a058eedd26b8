"""A cache that processes share: what it keeps, for how long, and that its outage is never one of theirs."""

from __future__ import annotations

import logging
from typing import Any, cast

import anyio
import pytest

from authguard import BackendUnavailable, ConfigurationError
from authguard.state import MemoryCache, SharedCache, shared_cache
from authguard.state.shared_cache import LookAside, cache_key
from authguard.testing import ManualClock
from tests.support.clock import NOW

KEY = cache_key("a", "b")


class Failing(SharedCache):
    """A cache that fails, hangs or answers as the test says, and counts its calls."""

    def __init__(self, answer: Any = None) -> None:
        self.answer, self.calls = answer, 0

    async def get(self, key: bytes) -> bytes | None:
        self.calls += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer == "hang":
            await anyio.sleep(60)
        return cast("bytes | None", self.answer)

    async def put(self, key: bytes, value: bytes, seconds: float) -> None:
        await self.get(key)


async def test_a_value_is_kept_for_its_time() -> None:
    """Until its end, and for its key alone."""
    ticks = ManualClock(1000)
    cache = MemoryCache(clock=ticks)
    await cache.put(KEY, b"value", 10)
    ticks.move(9)
    found = [await cache.get(KEY), await cache.get(cache_key("ab"))]
    ticks.move(1)

    assert found == [b"value", None]
    assert await cache.get(KEY) is None


async def test_the_memory_is_bounded() -> None:
    """By the number of its values, and by their bytes."""
    few, short = MemoryCache(most=10), MemoryCache(most_bytes=1024)
    for index in range(100):
        for cache in (few, short):
            await cache.put(cache_key(str(index)), bytes(100), 60)
    await short.put(KEY, bytes(513), 60)

    assert [len(few._values) <= 10, len(short._values) <= 10] == [True, True]
    assert await short.get(KEY) is None


async def test_a_value_says_how_long_it_is_good() -> None:
    """Whoever finds it may keep it for the rest of its time, by the clock that all processes share, and no longer."""
    clock = ManualClock(NOW)
    cache = MemoryCache(clock=lambda: 0.0)
    one, other = LookAside(cache, clock=clock), LookAside(cache, clock=clock)
    await one.put(KEY, b"value", 10)
    clock.move(4)
    found = [await other.get(KEY, most=60), await other.get(KEY, most=2)]
    clock.move(6)

    assert found == [(b"value", 6.0), (b"value", 2)]
    assert await other.get(KEY, most=60) is None


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")], ids=["none", "past", "not a number"])
async def test_what_has_ended_is_not_kept(seconds: float) -> None:
    """A cache is not called for it."""
    cache = Failing()
    await LookAside(cache).put(KEY, b"value", seconds)

    assert cache.calls == 0


@pytest.mark.parametrize("answer", [b"short", "text", 7], ids=["short", "text", "number"])
async def test_what_is_no_value_is_none(answer: object) -> None:
    """A cache that answers with something else has no value."""
    assert await LookAside(Failing(answer)).get(KEY, most=60) is None


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (BackendUnavailable("redis: away"), "redis: away"),
        (RuntimeError("secret"), "RuntimeError"),
        ("hang", "no answer within 0.01 s"),
    ],
    ids=["outage", "error", "hangs"],
)
async def test_a_cache_that_fails_has_no_value_and_is_left_alone_for_a_while(
    answer: object, problem: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One WARNING says so, and another one that it answers again."""
    monkeypatch.setattr(shared_cache, "CACHE_DEADLINE", 0.01)
    cache = Failing(answer)
    aside = LookAside(cache)
    for _ in range(3):
        assert await aside.get(KEY, most=60) is None
        await aside.put(KEY, b"value", 10)
    calls = cache.calls
    aside._retry_at = 0.0
    await aside.get(KEY, most=60)
    aside._retry_at = 0.0
    cache.answer = None
    await aside.get(KEY, most=60)

    assert calls == 1
    assert [(record.levelno, record.getMessage().partition("instead: ")[2]) for record in caplog.records] == [
        (logging.WARNING, problem),
        (logging.WARNING, ""),
    ]


class Full(Failing):
    """A cache that finds nothing, and takes a value at once, too slowly, or not at all."""

    async def put(self, key: bytes, value: bytes, seconds: float) -> None:
        self.calls += 1
        if self.answer is None:
            raise BackendUnavailable("full")
        if self.answer == "slow":
            await anyio.sleep(60)

    async def get(self, key: bytes) -> bytes | None:
        return None


async def test_a_full_cache_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """That it is asked with success does not mean that it takes values again."""
    cache = Full()
    aside = LookAside(cache)
    for _ in range(3):
        aside._retry_at = 0.0
        await aside.get(KEY, most=60)
        await aside.put(KEY, b"value", 10)
    aside._retry_at = 0.0
    cache.answer = b"room"
    await aside.put(KEY, b"value", 10)

    assert cache.calls == 4
    assert [record.getMessage().partition("instead: ")[2] for record in caplog.records] == ["full", ""]


async def test_a_cache_that_takes_a_value_too_slowly_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Otherwise each answer of a server would wait for it."""
    monkeypatch.setattr(shared_cache, "CACHE_DEADLINE", 0.01)
    cache = Full("slow")
    aside = LookAside(cache)
    for _ in range(3):
        await aside.put(KEY, b"value", 10)

    assert cache.calls == 1
    assert [record.getMessage().partition("instead: ")[2] for record in caplog.records] == ["no answer within 0.01 s"]


async def test_a_value_that_cannot_be_kept_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """The answer is there; it is only not shared."""
    await LookAside(Failing(BackendUnavailable("full"))).put(KEY, b"value", 10)

    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_key_shows_nothing_and_is_unambiguous() -> None:
    """The parts of a name are told apart, and cannot be read."""
    assert len({cache_key("a", "b"), cache_key("ab"), cache_key("a", "b", "")}) == 3
    assert len(cache_key("token")) == 32


@pytest.mark.parametrize("wrong", [object(), MemoryCache, None], ids=["object", "class", "None"])
def test_what_is_no_cache_raises(wrong: Any) -> None:
    """At build."""
    with pytest.raises(ConfigurationError, match="shared_cache"):
        LookAside(wrong)


@pytest.mark.parametrize("options", [{"most": 1}, {"most_bytes": 100}], ids=str)
def test_wrong_bounds_raise(options: dict[str, Any]) -> None:
    """By the name of the argument."""
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        MemoryCache(**options)
