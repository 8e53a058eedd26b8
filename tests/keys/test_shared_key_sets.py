"""A process without keys takes the set that another one has fetched, if the app says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from authguard import BackendUnavailable, RemoteJWKS
from authguard.keys.cache import CachedKeys
from authguard.keys.remote import Discovery
from authguard.state import MemoryCache
from authguard.testing import ManualClock
from tests.support.servers.key_server import OPENID_PATH, publish_metadata, respond_with, running_key_server
from tests.support.tokens import ec_key, key_set, rsa_key

ONE, TWO = key_set(a=rsa_key()), key_set(a=rsa_key(), b=ec_key())


def remote(server: Any, **options: Any) -> RemoteJWKS:
    """The keys of one process, at a URL."""
    return RemoteJWKS(server.url, insecure_http=True, **options)


def discovered(server: Any, **options: Any) -> Discovery:
    """The keys of one process, of an issuer."""
    return Discovery(publish_metadata(server), insecure_http=True, **options)


KINDS = pytest.mark.parametrize("source", [remote, discovered])


async def kids(keys: CachedKeys, kid: str = "a", algorithm: str = "RS256") -> list[str | None]:
    """The names of the keys that a token with this ``kid`` is tried with."""
    return [key.kid for key in await keys.keys_for(kid=kid, algorithm=algorithm)]


@KINDS
async def test_the_key_server_is_asked_by_one_process(source: Callable[..., CachedKeys]) -> None:
    """The other one has the same keys, also while the key server is away."""
    cache = MemoryCache()
    with running_key_server(ONE) as server:
        first = await kids(source(server, shared_cache=cache))
        asked = server.request_count
        second = source(server, shared_cache=cache)

        assert await kids(second) == first == ["a"]
        assert server.request_count == asked


@KINDS
async def test_a_key_that_is_not_in_the_shared_set_is_asked_for(source: Callable[..., CachedKeys]) -> None:
    """A process that has keys asks the key server, and shares what it gets."""
    cache = MemoryCache()
    with running_key_server(ONE) as server:
        await kids(source(server, shared_cache=cache))
        server.behaviour = respond_with(TWO)
        second = source(server, shared_cache=cache)
        await kids(second)
        if source is discovered:
            publish_metadata(server)
        asked = server.request_count
        assert await kids(second, "b", "ES256") == ["b"]
        assert server.request_count > asked
        asked = server.request_count
        assert await kids(source(server, shared_cache=cache), "b", "ES256") == ["b"]
        assert server.request_count == asked


async def test_a_shared_set_is_fresh_for_the_rest_of_its_time() -> None:
    """Not for a whole lifetime of its own."""
    cache, clock = MemoryCache(clock=lambda: 0.0), ManualClock()
    with running_key_server(ONE, cache_control="max-age=300") as server:
        await kids(remote(server, shared_cache=cache, clock=clock))
        second = remote(server, shared_cache=cache, clock=clock, max_age=120)
        await kids(second)

    cached = second._refresher.cached
    assert cached is not None
    assert cached.expires_at == clock.now + 120


@pytest.mark.parametrize(
    "stored",
    [b"", b"no url", b"ftp://x\n" + ONE, b"\xff\n" + ONE, b"https://x/\n<html>", b"https://x/\n" + bytes(2000)],
    ids=["empty", "no url", "scheme", "not UTF-8", "HTML", "too long"],
)
@KINDS
async def test_a_shared_set_that_cannot_be_used_is_none(source: Callable[..., CachedKeys], stored: bytes) -> None:
    """The key server is asked instead, as without a cache."""
    cache = MemoryCache()
    with running_key_server(ONE) as server:
        first = source(server, shared_cache=cache, limit=1500)
        await first._options.shared.put(first._shared_name, stored, 60)  # type: ignore[attr-defined, union-attr]

        assert await kids(first) == ["a"]
        assert server.request_count > 0


@KINDS
async def test_a_cache_that_is_away_means_asking_the_key_server(source: Callable[..., CachedKeys]) -> None:
    """Never a refusal."""

    class Away(MemoryCache):
        """It answers nothing."""

        async def get(self, key: bytes) -> bytes | None:
            raise BackendUnavailable("away")

    with running_key_server(ONE) as server:
        assert await kids(source(server, shared_cache=Away())) == ["a"]


async def test_the_metadata_are_read_with_the_next_fetch() -> None:
    """The issuer may have moved its keys since."""
    cache, clock = MemoryCache(clock=lambda: 0.0), ManualClock()
    with running_key_server(ONE) as server:
        await kids(discovered(server, shared_cache=cache, clock=clock))
        second = discovered(server, shared_cache=cache, clock=clock)
        await kids(second)
        before = server.request_count
        await kids(second, "b", "ES256")

    assert server.requests[before][0] == OPENID_PATH
