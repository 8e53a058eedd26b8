"""The services of a guard: running, warming and health."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from authguard import BackendUnavailable, Guard
from authguard.model import Clock
from authguard.reasons import KEYS_UNAVAILABLE
from authguard.schemes import Service
from authguard.state import MemoryThrottleStore
from tests.support.schemes.badge import Badge
from tests.support.schemes.basic import basic_scheme


class IdleService(Service):
    """A service that does nothing."""

    @asynccontextmanager
    async def running(self, clock: Clock) -> AsyncIterator[None]:
        yield

    def health(self) -> Mapping[str, object]:
        return {"ran": True}


class WarmedService(IdleService):
    """A service that counts its calls of ``warm``, waits for the others to be warmed too, and may fail."""

    together = 0
    most = 0

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.count = 0

    async def warm(self) -> None:
        self.count += 1
        WarmedService.together += 1
        await anyio.wait_all_tasks_blocked()
        WarmedService.most = max(WarmedService.most, WarmedService.together)
        WarmedService.together -= 1
        if self.error is not None:
            raise self.error


async def test_what_can_be_warmed_is_warmed_all_at_once() -> None:
    """All services are warmed at the same time, so three slow servers take as long as one. Others are left alone."""
    WarmedService.most = 0
    guard = Guard(
        Badge(services=[IdleService(), WarmedService(), WarmedService()]), Badge("other", services=[WarmedService()])
    )

    await guard.warm()

    assert WarmedService.most == 3


async def test_what_two_schemes_share_is_warmed_once() -> None:
    """A service that two schemes share is warmed once."""
    shared = WarmedService()

    await Guard(Badge(services=[shared]), Badge("other", services=[shared])).warm()

    assert shared.count == 1


async def test_failures_to_warm_are_raised_together() -> None:
    """One exception names all services that could not be warmed, with the reason of one and the longest wait."""
    errors: list[Any] = [
        BackendUnavailable("one is down", reason=KEYS_UNAVAILABLE, retry_after=3),
        BackendUnavailable("two is down", reason=KEYS_UNAVAILABLE, retry_after=7),
        BackendUnavailable("three is down", reason=KEYS_UNAVAILABLE),
    ]
    guard = Guard(Badge(services=[WarmedService(), *map(WarmedService, errors)]))

    with pytest.raises(BackendUnavailable) as caught:
        await guard.warm()

    assert sorted(str(caught.value).split("; ")) == ["one is down", "three is down", "two is down"]
    assert (caught.value.reason, caught.value.retry_after) == (KEYS_UNAVAILABLE, 7)


async def test_a_guard_without_services_has_nothing_to_warm() -> None:
    """A guard without services has nothing to warm, and its health lists no services."""
    guard = Guard(Badge())

    await guard.warm()

    assert guard.health() == {"badge": {"services": []}}


def test_health_is_reported_by_the_name_of_the_scheme() -> None:
    """A scheme's health comes from the scheme itself if it has ``health``, else from its services."""
    scheme = basic_scheme()
    guard = Guard(Badge(services=[IdleService(), IdleService()]), scheme)

    assert guard.health() == {
        "badge": {"services": [{"ran": True}] * 2},
        "basic": {**scheme.health(), "stores": {"throttle": {"buckets": 0, "most": 100_000}}},
    }


class SharedStore:
    """A store on a server. It knows no nonces and no revocations."""

    def __init__(self) -> None:
        self.count = 0

    def health(self) -> Mapping[str, object]:
        return {"state": "ok"}

    async def warm(self) -> None:
        self.count += 1

    async def find(self, keys: Sequence[bytes]) -> Mapping[bytes, float]:
        return {}


class Stamp(Badge):
    """A scheme with a shared store, and one in memory."""

    def __init__(self, store: object) -> None:
        super().__init__(services=[])
        self.store = store

    def state_stores(self) -> Mapping[str, object]:
        return {"nonces": self.store, "throttle": MemoryThrottleStore(), "secret": "PER_PROCESS"}


async def test_stores_on_a_server_are_warmed_and_have_health() -> None:
    """The health of a store is under its scheme and its argument, that of revocations beside the schemes."""
    nonces, revocations = SharedStore(), SharedStore()
    guard = Guard(Stamp(nonces), revocations=revocations)

    await guard.warm()

    assert (nonces.count, revocations.count) == (1, 1)
    assert guard.health() == {
        "badge": {
            "services": [],
            "stores": {"nonces": {"state": "ok"}, "throttle": {"buckets": 0, "most": 100_000}},
        },
        "revocations": {"SharedStore": {"state": "ok"}},
    }
