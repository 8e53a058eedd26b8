"""A ``RemoteJWKS`` whose key server is a function, with a clock that a test moves."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import pytest

from authguard import BackendUnavailable, RemoteJWKS
from authguard.keys import Fetched, KeysBusy
from authguard.keys.fetch_budget import ANYBODY, Requester
from authguard.reasons import KEYS_UNAVAILABLE
from authguard.testing import ManualClock
from tests.support.servers.key_server import TIMEOUT
from tests.support.tokens import key_set, rsa_key

JWKS_URL = "https://login.example/jwks"


class KeyServerStub:
    """A function in the place of HTTP, which answers with the keys of these ids once ``released`` is set.

    An exception in ``answer`` is raised.
    """

    def __init__(self, *kids: str, max_age: float | None = None) -> None:
        self.answer: Any = None
        self.max_age = max_age
        self.released = threading.Event()
        self.released.set()
        self.fetches: list[str] = []
        self.publish(*kids)

    @property
    def count(self) -> int:
        """How many fetches have begun."""
        return len(self.fetches)

    def publish(self, *kids: str) -> None:
        """Answer with the keys of these ids from now on."""
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
    """A ``RemoteJWKS`` over a ``KeyServerStub``, with a ``ManualClock``."""

    def __init__(self, *kids: str, max_age: float | None = None, **options: Any) -> None:
        self.server = KeyServerStub(*kids, max_age=max_age)
        self.clock = ManualClock()
        self.keys = RemoteJWKS(JWKS_URL, fetch=self.server, clock=self.clock, **options)

    async def key_ids(
        self, kid: str | None, algorithm: str = "RS256", *, requester: Requester = ANYBODY
    ) -> list[str | None]:
        """The ids of the keys that the source returns, in the way in which ``Bearer`` asks for them."""
        keys = self.keys.held(kid=kid, algorithm=algorithm)
        if keys is None:
            try:
                keys = await self.keys.keys_for(kid=kid, algorithm=algorithm, requester=requester)
            except KeysBusy as busy:
                if not busy.keys:
                    raise
                keys = busy.keys
        return [key.kid for key in keys]

    async def busy(self, kid: str, algorithm: str = "RS256", *, requester: Requester = ANYBODY) -> KeysBusy:
        """The error with which the source says that no fetch is left for this key."""
        with pytest.raises(KeysBusy) as caught:
            await self.key_ids(kid, algorithm, requester=requester)
        return caught.value

    async def has_fetched(self, kid: str, *, requester: Requester = ANYBODY) -> bool:
        """Ask for a key that is not there, and say whether that caused a fetch."""
        before = self.server.count
        try:
            assert await self.key_ids(kid, requester=requester) == []
        except KeysBusy:
            assert self.server.count == before
        return self.server.count > before

    def held_key_ids(self, kid: str | None, algorithm: str = "RS256") -> list[str | None] | None:
        """The ids of the keys that are held, without fetching; None if there is no answer yet."""
        keys = self.keys.held(kid=kid, algorithm=algorithm)
        return None if keys is None else [key.kid for key in keys]

    async def wait_for_fetch(self) -> None:
        """Wait for the fetch that is in progress."""
        await wait_for_fetch(self.keys)


async def wait_for_fetch(keys: RemoteJWKS) -> None:
    """Wait for the fetch that is in progress."""
    flight = keys._refresher.under_way
    if flight is not None:
        await flight.wait()


async def fetch_failure(source: StubbedSource, kid: str | None) -> tuple[str, int | None]:
    """The detail and the ``retry_after`` of the error with which the source fails."""
    with pytest.raises(BackendUnavailable) as caught:
        await source.key_ids(kid)
    assert caught.value.reason is KEYS_UNAVAILABLE
    return caught.value.detail, caught.value.retry_after


async def fetch_problem(keys: RemoteJWKS) -> str:
    """Why a fetch over the network failed, without the name of the source."""
    with pytest.raises(BackendUnavailable) as caught:
        await keys.keys_for(kid="a", algorithm="RS256")
    assert caught.value.reason is KEYS_UNAVAILABLE
    assert caught.value.retry_after == 1
    name, _, problem = caught.value.detail.partition(": ")
    assert name == keys.name
    assert keys.health()["last_error"] == problem
    return problem
