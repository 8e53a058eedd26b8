"""The backend of the stores in Redis, with servers of Redis and of Valkey."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.state.redis import RedisBackend, Script
from tests.state.redis.servers import command, free_port

pytestmark = pytest.mark.peer

ECHO = Script("echo", "return {KEYS[2], ARGV[2], epoch, tostring(floor), tostring(now)}")
COUNT = Script("count", "return redis.call('INCR', KEYS[2])")


async def test_the_reply_of_a_script_is_returned(redis_url: str) -> None:
    """A script gets its keys with the prefix, and its arguments."""
    backend = RedisBackend(lambda: Redis.from_url(redis_url), prefix="shop", clock=lambda: 1000.25)
    key, argument, epoch, floor, now = await backend.run(ECHO, b"p", [b"n:1"], [b"\x00\xff"])
    assert (key, argument, floor, now) == (b"shop:n:1", b"\x00\xff", b"1000.25", b"1000.25")
    assert epoch.endswith(b"-1000.250000")


async def test_a_script_that_the_server_has_forgotten_is_sent_again(redis_url: str, redis_port: int) -> None:
    """After SCRIPT FLUSH the next call sends the source of the script."""
    backend = RedisBackend(lambda: Redis.from_url(redis_url))
    assert await backend.run(COUNT, b"p", [b"c"]) == 1
    command(redis_port, "SCRIPT", "FLUSH")
    assert await backend.run(COUNT, b"p", [b"c"]) == 2


async def test_an_epoch_lasts_while_the_server_forgets_nothing(redis_url: str) -> None:
    """The epoch and its floor are the same at the next call."""
    times = iter([10.0, 20.0])
    backend = RedisBackend(lambda: Redis.from_url(redis_url), clock=lambda: next(times))
    first = await backend.run(ECHO, b"p", [b"n"], ["a"])
    second = await backend.run(ECHO, b"p", [b"n"], ["a"])
    assert (first[2:4], second[4]) == (second[2:4], b"20")


async def test_deleting_all_data_begins_an_epoch(redis_url: str, redis_port: int) -> None:
    """After FLUSHALL the floor is the time of the next call."""
    times = iter([10.0, 20.0])
    backend = RedisBackend(lambda: Redis.from_url(redis_url), clock=lambda: next(times))
    first = await backend.run(ECHO, b"p", [b"n"], ["a"])
    command(redis_port, "FLUSHALL")
    second = await backend.run(ECHO, b"p", [b"n"], ["a"])
    assert (first[3], second[3]) == (b"10", b"20")
    assert first[2] != second[2]


async def test_no_server_is_an_outage() -> None:
    """Where nobody listens, a call is BackendUnavailable."""
    port = free_port()
    backend = RedisBackend(lambda: Redis(port=port))
    with pytest.raises(BackendUnavailable, match="redis: ConnectionError"):
        await backend.run(COUNT, b"p", [b"c"])


def test_a_url_is_refused_and_not_shown() -> None:
    """A URL in place of a client is a ConfigurationError that does not show its password."""
    with pytest.raises(ConfigurationError, match="redis: a URL is no client") as caught:
        RedisBackend("redis://:hunter2@host")  # type: ignore[arg-type]
    assert "hunter2" not in str(caught.value)


async def test_a_client_of_one_server_is_no_cluster() -> None:
    """Stores put all keys of a request into one call then."""
    assert not RedisBackend(lambda: Redis(port=free_port())).is_cluster()
