"""What shared state adds to a request, with Redis on the same host, beside one bare PING; and the bytes of a row there.

The PING goes through the same client, so it is what one round trip to Redis costs anyway. What is added is the time of
a request whose state is in Redis less the time of the same request whose state is in the memory of the process.
"""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
import time
from collections.abc import Coroutine, Generator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import redis as blocking
from redis.asyncio import Redis

from authguard import Revocation
from authguard.concurrency.token_bucket import Rate
from authguard.state import Bucket
from authguard.state.redis import RedisBackend, RedisNonces, RedisProofs, RedisRevocations, RedisThrottleStore, Script
from benchmarks.material import Material, make_material
from benchmarks.measure import WARM_UP_CALLS, Sample, measure, spread, target_sample
from benchmarks.paths import Prepared, quiet
from benchmarks.results import Goal, PartResult, Progress
from benchmarks.shared_apps import BASIC, BEARER, DIGEST, PREPARE, SESSION, Stores, none_revoked
from examples.cluster.processes import find, redis_server

PING = "one PING through the same client"
KINDS = (DIGEST, BEARER, SESSION, BASIC)
#: What Redis adds should be at most so many times a PING. Digest asks it twice, one time after the other: for the
#: attempts of the account, and for the nonce.
LIMITS = {DIGEST: 5.0, BEARER: 2.5, SESSION: 2.5, BASIC: 2.5}
#: The kinds of rows that a store makes.
NONCE, BUCKET, REVOCATION, PROOF = ROWS = (
    "a used nonce",
    "a login attempt: one bucket",
    "a revoked token, session, key or subject",
    "a used proof",
)
#: Tokens of each kind: one that comes again is enough.
TOKENS = 8


def _in_memory(kind: str) -> str:
    return f"{kind}, in memory"


def _in_redis(kind: str) -> str:
    return f"{kind}, in Redis"


# --- time -------------------------------------------------------------------------------------------------------------


async def samples(material: Material, client: Redis, redis: RedisBackend, count: int) -> Mapping[str, Sample]:
    """The PING, and each kind of request twice. Raises ``SystemExit`` if one is not granted."""
    await redis.warm()  # nonces that were minted before it was reached first would be stale

    async def ping() -> int:
        start = perf_counter_ns()
        await client.ping()
        return perf_counter_ns() - start

    rows: dict[str, Sample] = {PING: ping}
    for kind in KINDS:
        for name, stores in ((_in_memory(kind), Stores(None)), (_in_redis(kind), Stores(redis))):
            prepared = await PREPARE[kind](material, stores, count + 1)
            await _check(name, prepared, count)
            rows[name] = target_sample(prepared)
    return rows


async def _check(name: str, prepared: Prepared, number: int) -> None:
    if (status := await prepared.status(number)) != 200:
        raise SystemExit(f"{name}: the status is {status}, expected was 200")


async def _measure(url: str, rounds: int, calls: int) -> Mapping[str, Sequence[float]]:
    async with Redis.from_url(url) as client, aclosing(RedisBackend(client)) as redis:
        rows = await samples(make_material(TOKENS), client, redis, rounds * (calls + WARM_UP_CALLS))
        return await measure(rows, rounds=rounds, calls=calls, progress=Progress("shared", rounds).step)


def time_table(figures: Mapping[str, Sequence[float]]) -> tuple[str, Sequence[Goal]]:
    """The table of the times, and a goal for each kind of request."""
    ping = figures[PING]
    width = max(map(len, KINDS))
    lines = [
        f"{PING}: {spread(ping).median:.0f} microseconds",
        "",
        f"{'microseconds':{width}}  in memory  in Redis  added  added / PING",
    ]
    goals: list[Goal] = []
    for kind in KINDS:
        memory, shared = figures[_in_memory(kind)], figures[_in_redis(kind)]
        # Within a round, because the machine may get slower from one to the next.
        added = [over - under for over, under in zip(shared, memory, strict=True)]
        ratio = spread([more / bare for more, bare in zip(added, ping, strict=True)]).median
        lines.append(
            f"{kind:{width}}  {spread(memory).median:9.0f}  {spread(shared).median:8.0f}  "
            f"{spread(added).median:5.0f}  {ratio:12.2f}"
        )
        goals.append(Goal(f"{kind}: added by Redis / PING", ratio, LIMITS[kind]))
    return "\n".join(lines), goals


# --- bytes ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Call:
    """A script that a store wants to have run. Awaited, it gives the reply that is sent in."""

    script: Script
    keys: Sequence[bytes]
    arguments: Sequence[bytes | str | int | float]

    def __await__(self) -> Generator[_Call, Any, Any]:
        return (yield self)

    def command(self) -> list[bytes | str]:
        """The command of redis-benchmark, which writes another number into the keys for each row.

        The random part of a key has 16 bytes, as many as stand here for it.
        """
        names = [b"authguard:epoch", *(b"authguard:" + key[:-16] + b"0000__rand_int__" for key in self.keys)]
        arguments = [each if isinstance(each, bytes) else str(each) for each in self.arguments]
        return ["EVALSHA", self.script.sha, str(len(names)), *names, "", *arguments]


class _Noting(RedisBackend):
    """A backend that calls nothing: the one who runs a coroutine of a store is given the call."""

    def is_cluster(self) -> bool:
        """No: one server."""
        return False

    async def run(
        self,
        script: Script,
        partition: bytes,
        keys: Sequence[bytes],
        arguments: Sequence[bytes | str | int | float] = (),
    ) -> Any:
        """The reply of the script."""
        return await _Call(script, keys, arguments)


def row_calls() -> Mapping[str, _Call]:
    """For each store, the call that makes a row."""
    redis, now = _Noting(_no_client), time.time()
    rows: Mapping[str, Coroutine[Any, Any, object]] = {
        NONCE: RedisNonces(redis, clock_skew=0).claim(b"n", 1, minted_at=now, expires_at=now + 3600, now=now),
        BUCKET: RedisThrottleStore(redis).acquire(bytes(16), [Bucket(bytes(16), Rate(10, 3000.0), "pair")]),
        REVOCATION: RedisRevocations(redis, source=none_revoked).revoke(Revocation.token("t", expires_at=now + 3600)),
        PROOF: RedisProofs(redis, clock_skew=0).claim(b"p", not_before=now, expires_at=now + 3600, now=now),
    }
    calls: dict[str, _Call] = {}
    for name, row in rows.items():
        calls[name] = row.send(None)
        row.close()
    return calls


def bytes_table(count: int) -> str:
    """Fill a redis-server with about so many rows of each kind, one kind after the other, and say what they take."""
    width = max(map(len, ROWS))
    lines = [f"{f'bytes of a row, of {count:,}':{width}}  INFO memory  MEMORY USAGE"]
    progress = Progress("rows", len(ROWS))
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as server:
        client = blocking.Redis.from_url(server.url, socket_timeout=60)
        for name, call in row_calls().items():
            client.flushall()
            client.script_load(call.script.source)
            # The first rows would be older than the epoch if it began with them.
            _fill(server.port, call, 1)
            time.sleep(0.01)
            before, there = int(client.info("memory")["used_memory"]), client.dbsize()
            _fill(server.port, call, count)
            rows = client.dbsize() - there
            each = (int(client.info("memory")["used_memory"]) - before) / rows
            keys = [bytes(key) for key in client.scan(count=1000)[1] if isinstance(key, bytes)]
            usage = [client.memory_usage(key) or 0 for key in keys if not key.endswith(b"epoch")]
            lines.append(f"{name:{width}}  {each:11.0f}  {sum(usage) / len(usage):12.0f}")
            progress.step()
        client.close()
    return "\n".join(lines)


def _fill(port: int, call: _Call, count: int) -> None:
    """Run the call so many times, each with other keys. A few of them are the same by chance."""
    benchmark = find("redis-benchmark") or ""
    options = ["-p", str(port), "-n", str(count), "-r", str(2**31 - 1), "-P", "64", "-q"]
    command: list[bytes | str] = [benchmark, *options, *call.command()]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)  # noqa: S603 - Debian has it with redis-server


def _no_client() -> Redis:
    raise NotImplementedError  # nothing is called


def shared(*, rounds: int, calls: int, rows: int) -> PartResult:
    """Measure the times in this many rounds, with this many timed calls per row and round, and fill Redis."""
    if find("redis-server") is None or find("redis-benchmark") is None:
        return PartResult("What shared state costs was not measured: redis-server is not installed.")
    quiet()
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as server:
        figures = asyncio.run(_measure(server.url, rounds, calls))
    times, goals = time_table(figures)
    return PartResult(f"{times}\n\n{bytes_table(rows)}", goals)
