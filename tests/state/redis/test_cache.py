"""The cache in Redis: values that nobody can read, make or move without its secret."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from redis.asyncio import Redis

from authguard import BackendUnavailable, ConfigurationError, RemoteJWKS
from authguard.state import shared_cache
from authguard.state.redis import RedisBackend, RedisCache
from authguard.state.shared_cache import cache_key
from tests.state.redis.servers import command
from tests.support.servers.key_server import running_key_server
from tests.support.servers.ports import free_port
from tests.support.tokens import key_set, rsa_key

pytestmark = pytest.mark.peer

SECRET = "k4f9s0d8f7a6s5d4f3g2h1j0k9l8m7n6"
KEY, OTHER = cache_key("token"), cache_key("other")


def cache(url: str, **options: Any) -> RedisCache:
    """The cache of one process."""
    return RedisCache(RedisBackend(lambda: Redis.from_url(url)), **{"secret": SECRET, **options})


async def test_what_one_process_keeps_another_one_finds(redis_url: str) -> None:
    """Every byte of it, and nothing for another key."""
    await cache(redis_url).put(KEY, b"\x00value\xff", 60)

    assert await cache(redis_url).get(KEY) == b"\x00value\xff"
    assert await cache(redis_url).get(OTHER) is None


async def test_the_server_forgets_it_by_itself(redis_url: str, redis_port: int) -> None:
    """After its seconds, and after a day at most."""
    for seconds, left in ((5.5, 5500), (10.0**9, 86_400_000)):
        await cache(redis_url).put(KEY, b"value", seconds)
        name = await the_name(redis_url)
        assert left - 2000 < int(command(redis_port, "PTTL", name)[1:]) <= left


async def the_name(url: str) -> bytes:
    """The name of the only value in Redis."""
    async with Redis.from_url(url) as client:
        (name,) = [name async for name in client.scan_iter(b"authguard:c:*")]
        return bytes(name)


async def test_neither_the_key_nor_the_value_can_be_read_in_redis(redis_url: str) -> None:
    """What is stored is encrypted, and its name is made with the secret."""
    await cache(redis_url).put(KEY, b"alice@shop.example", 60)
    name = await the_name(redis_url)
    async with Redis.from_url(redis_url) as client:
        stored = await client.get(name)

    assert isinstance(stored, bytes)
    assert b"alice" not in stored
    assert KEY[:8] not in name


async def test_with_another_secret_the_cache_is_empty(redis_url: str) -> None:
    """A new secret needs no rotation."""
    await cache(redis_url).put(KEY, b"value", 60)

    assert await cache(redis_url, secret=b"x" * 32).get(KEY) is None


@pytest.mark.parametrize("forged", [b"", b"short", b"\x00" * 40, None], ids=["empty", "short", "zeros", "of another"])
async def test_a_value_that_somebody_has_put_there_is_ignored(
    redis_url: str, forged: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Also that of another key, which was moved. One WARNING says so."""
    own = cache(redis_url)
    await own.put(KEY, b"mine", 60)
    name = await the_name(redis_url)
    async with Redis.from_url(redis_url) as client:
        await client.delete(name)
        await own.put(OTHER, b"of another", 60)
        moved = await client.get(await the_name(redis_url))
        await client.set(name, moved if forged is None else forged)  # type: ignore[arg-type]

    assert [await own.get(KEY), await own.get(KEY)] == [None, None]
    assert await own.get(OTHER) == b"of another"
    assert [record.levelno for record in caplog.records if "forged" in record.getMessage()] == [logging.WARNING]


async def test_a_value_that_is_too_long_or_has_ended_is_not_kept(redis_url: str) -> None:
    """So that a server of answers cannot fill Redis with long ones."""
    own = cache(redis_url, most_bytes=1024)
    await own.put(KEY, bytes(1025), 60)
    await own.put(OTHER, b"value", 0)

    assert [await own.get(KEY), await own.get(OTHER)] == [None, None]


async def test_a_server_that_is_away_is_an_outage() -> None:
    """Which its users take for no value."""
    own = cache(f"redis://127.0.0.1:{free_port()}")
    with pytest.raises(BackendUnavailable):
        await own.get(KEY)
    with pytest.raises(BackendUnavailable):
        await own.put(KEY, b"value", 60)


async def test_fetched_keys_are_shared_although_each_fetch_has_an_event_loop_of_its_own(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function that makes clients is called once for each of them. A client that was given serves one loop alone."""
    monkeypatch.setattr(shared_cache, "CACHE_DEADLINE", 60.0)
    client = Redis.from_url(redis_url)
    with running_key_server(key_set(a=rsa_key())) as server:
        for given in (lambda: Redis.from_url(redis_url), lambda: Redis.from_url(redis_url), client):
            shared = RedisCache(RedisBackend(given, deadline=60), secret=SECRET)
            keys = RemoteJWKS(server.url, insecure_http=True, timeout=60, shared_cache=shared)
            assert [key.kid for key in await keys.keys_for(kid="a", algorithm="RS256")] == ["a"]

    assert server.request_count == 1


@pytest.mark.parametrize(
    ("redis", "options", "argument"),
    [
        ("redis://", {}, "redis"),
        (RedisBackend(Redis), {"secret": "short"}, "secret"),
        (RedisBackend(Redis), {"secret": 7}, "secret"),
        (RedisBackend(Redis), {"most_bytes": 10}, "most_bytes"),
    ],
    ids=["redis", "short", "number", "most_bytes"],
)
def test_wrong_arguments_raise(redis: Any, options: dict[str, Any], argument: str) -> None:
    """By the name of the argument, and without the secret."""
    with pytest.raises(ConfigurationError, match=argument):
        RedisCache(redis, **{"secret": SECRET, **options})


def test_its_repr_shows_no_secret() -> None:
    """A traceback or a log line may show it."""
    assert repr(RedisCache(RedisBackend(Redis), secret=SECRET)) == "RedisCache(RedisBackend(prefix='authguard'))"
