"""What a guard runs, warms and looks at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from authguard import BackendUnavailable, Guard
from authguard.model import Clock
from authguard.reasons import KEYS_UNAVAILABLE
from authguard.schemes import Service
from tests.support.schemes.badge import Badge
from tests.support.schemes.basic import basic_scheme


class Ran(Service):
    """A service that does nothing."""

    @asynccontextmanager
    async def running(self, clock: Clock) -> AsyncIterator[None]:
        yield

    def health(self) -> Mapping[str, object]:
        return {"ran": True}


class Warmed(Ran):
    """One that fetches when it is told to, all at once with the others, and may fail."""

    together = 0
    most = 0

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.count = 0

    async def warm(self) -> None:
        self.count += 1
        Warmed.together += 1
        await anyio.wait_all_tasks_blocked()
        Warmed.most = max(Warmed.most, Warmed.together)
        Warmed.together -= 1
        if self.error is not None:
            raise self.error


async def test_what_can_be_warmed_is_warmed_all_at_once() -> None:
    """Three servers that are slow take as long as one; what cannot be warmed is left alone."""
    Warmed.most = 0
    guard = Guard(Badge(services=[Ran(), Warmed(), Warmed()]), Badge("other", services=[Warmed()]))

    await guard.warm()

    assert Warmed.most == 3


async def test_what_two_schemes_share_is_warmed_once() -> None:
    """Keys are the same, whoever asks for them."""
    shared = Warmed()

    await Guard(Badge(services=[shared]), Badge("other", services=[shared])).warm()

    assert shared.count == 1


async def test_what_could_not_be_warmed_is_told_together() -> None:
    """One exception that names them all, with the reason of one and the longest wait."""
    errors: list[Any] = [
        BackendUnavailable("one is down", reason=KEYS_UNAVAILABLE, retry_after=3),
        BackendUnavailable("two is down", reason=KEYS_UNAVAILABLE, retry_after=7),
        BackendUnavailable("three is down", reason=KEYS_UNAVAILABLE),
    ]
    guard = Guard(Badge(services=[Warmed(), *map(Warmed, errors)]))

    with pytest.raises(BackendUnavailable) as caught:
        await guard.warm()

    assert sorted(str(caught.value).split("; ")) == ["one is down", "three is down", "two is down"]
    assert (caught.value.reason, caught.value.retry_after) == (KEYS_UNAVAILABLE, 7)


async def test_a_guard_without_services_has_nothing_to_warm() -> None:
    """Nor to tell of them."""
    guard = Guard(Badge())

    await guard.warm()

    assert guard.health() == {"badge": {"services": []}}


def test_health_is_told_by_the_name_of_the_scheme() -> None:
    """By the scheme itself where it has a word to say, else by its services."""
    scheme = basic_scheme()
    guard = Guard(Badge(services=[Ran(), Ran()]), scheme)

    assert guard.health() == {"badge": {"services": [{"ran": True}] * 2}, "basic": scheme.health()}
