"""A ``RemoteJWKS`` over a key server that is a function, driven by a clock that a test moves."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import pytest

from authguard import BackendUnavailable, RemoteJWKS
from authguard.keys import Fetched
from authguard.reasons import KEYS_UNAVAILABLE
from authguard.testing import ManualClock
from tests.support.servers.key_server import TIMEOUT
from tests.support.tokens import key_set, rsa_key

JWKS_URL = "https://login.example/jwks"


class KeyServerStub:
    """Answers with the keys of these ids, as soon as it is open. An exception in ``answer`` is raised."""

    def __init__(self, *kids: str, max_age: float | None = None) -> None:
        self.answer: Any = None
        self.max_age = max_age
        self.released = threading.Event()
        self.released.set()
        self.fetches: list[str] = []
        self.publish(*kids)

    @property
    def count(self) -> int:
        """How many fetches began."""
        return len(self.fetches)

    def publish(self, *kids: str) -> None:
        """The set from now on."""
        self.answer = key_set(**{kid: rsa_key() for kid in kids})

    async def __call__(self, url: str) -> Any:
        answer = self.answer
        self.fetches.append(url)
        with anyio.fail_after(TIMEOUT):
            while not self.released.is_set():  # noqa: ASYNC110 - it is set in another thread
                await anyio.sleep(0.001)
        if isinstance(answer, BaseException):
            raise answer
        return Fetched(answer, self.max_age) if isinstance(answer, bytes) else answer


class StubbedSource:
    """A source over a stub, by a clock that a test moves."""

    def __init__(self, *kids: str, max_age: float | None = None, **options: Any) -> None:
        self.server = KeyServerStub(*kids, max_age=max_age)
        self.clock = ManualClock()
        self.keys = RemoteJWKS(JWKS_URL, fetch=self.server, clock=self.clock, **options)

    async def key_ids(self, kid: str | None, algorithm: str = "RS256") -> list[str | None]:
        """The ids of the keys, as ``Bearer`` asks for them."""
        found = self.keys.held(kid=kid, algorithm=algorithm)
        if found is None:
            found = await self.keys.keys_for(kid=kid, algorithm=algorithm)
        return [key.kid for key in found]

    def at_hand(self, kid: str | None, algorithm: str = "RS256") -> list[str | None] | None:
        """The same, where it is at hand."""
        found = self.keys.held(kid=kid, algorithm=algorithm)
        return None if found is None else [key.kid for key in found]

    async def wait_for_fetch(self) -> None:
        """Waits for the fetch that is under way."""
        await wait_for_fetch(self.keys)


async def wait_for_fetch(keys: RemoteJWKS) -> None:
    """Waits for the fetch that is under way."""
    flight = keys._refresh.flight
    if flight is not None:
        await flight.wait()


async def fetch_failure(source: StubbedSource, kid: str | None) -> tuple[str, int | None]:
    """Why the source cannot answer, and when to come again."""
    with pytest.raises(BackendUnavailable) as caught:
        await source.key_ids(kid)
    assert caught.value.reason is KEYS_UNAVAILABLE
    return caught.value.detail, caught.value.retry_after


async def fetch_problem(keys: RemoteJWKS) -> str:
    """Why a fetch over the wire failed, less whose it was."""
    with pytest.raises(BackendUnavailable) as caught:
        await keys.keys_for(kid="a", algorithm="RS256")
    assert caught.value.reason is KEYS_UNAVAILABLE
    assert caught.value.retry_after == 1
    name, _, told = caught.value.detail.partition(": ")
    assert name == keys.name
    assert keys.health()["last_error"] == told
    return told
