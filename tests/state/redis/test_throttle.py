"""The throttle in Redis: several workers have one count, and an outage takes it from nobody for long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis, RedisCluster

from authguard import BackendUnavailable, ConfigurationError
from authguard.concurrency.token_bucket import Rate
from authguard.schemes.throttle import CountedAttempt, LoginThrottle
from authguard.state.redis import RedisBackend, RedisThrottleStore, Script
from authguard.state.throttle_store import Bucket, Exceeded
from authguard.testing import ManualClock
from tests.state.redis.servers import command, running_server, server_program
from tests.support.clock import NOW
from tests.support.coroutines import run_without_waiting
from tests.support.servers.ports import free_port

pytestmark = pytest.mark.peer

PAIR, OTHER = b"A-pair", b"A-other"
STRICT = Bucket(b"A-strict", Rate(2, 30.0), "strict")
WIDE = Bucket(b"A-wide", Rate(3, 20.0), "wide", known_only=True)
ACCOUNT = Bucket(b"A-account", Rate(1, 10.0), "account", strangers_only=True)
NETWORK = Bucket(b"N-network", Rate(2, 5.0), "network")
HASHED = Bucket(b"H-account", Rate(1, 10.0), "hash", strangers_only=True)
BUCKETS = [STRICT, WIDE, ACCOUNT]


class Backend(RedisBackend):
    """A backend that counts its calls, and can be out of reach."""

    def __init__(self, client: Callable[[], Any], clock: ManualClock | None = None) -> None:
        super().__init__(client, clock=clock, deadline=30.0)  # the tests may share a busy machine
        self.calls = 0
        self.is_out = False
        self.out_from: int | None = None

    async def run(
        self,
        script: Script,
        partition: bytes,
        keys: Sequence[bytes],
        arguments: Sequence[bytes | str | int | float] = (),
    ) -> Any:
        self.calls += 1
        if self.is_out or (self.out_from is not None and self.calls >= self.out_from):
            raise BackendUnavailable("redis: nobody is there")
        return await super().run(script, partition, keys, arguments)


class Worker:
    """A process: its backend, its store, and a clock that all workers have."""

    def __init__(self, url: str, clock: ManualClock | None = None, **options: Any) -> None:
        self.clock = clock or ManualClock(NOW)
        self.backend = Backend(lambda: Redis.from_url(url), self.clock)
        self.store = RedisThrottleStore(self.backend, clock=self.clock, **options)

    async def guess(self, times: int, buckets: Sequence[Bucket] = (STRICT,), pair: bytes = PAIR) -> int:
        """How many of so many attempts are counted."""
        return sum([not isinstance(await self.store.acquire(pair, buckets), Exceeded) for _ in range(times)])


def clustered(port: int) -> tuple[Backend, RedisThrottleStore]:
    """A store on an empty Cluster."""
    command(port, "FLUSHALL")
    backend = Backend(lambda: RedisCluster(host="127.0.0.1", port=port), ManualClock(NOW))
    return backend, RedisThrottleStore(backend)


# --- One count --------------------------------------------------------------------------------------------------------


async def test_workers_have_one_count(redis_url: str) -> None:
    """Two throttles with one secret, as two processes have them, allow what one of them would."""
    throttles = [
        LoginThrottle(store=RedisThrottleStore(RedisBackend(lambda: Redis.from_url(redis_url)))) for _ in range(2)
    ]

    attempts = [await throttles[number % 2].acquire("alice", "192.0.2.7") for number in range(40)]

    assert sum(isinstance(attempt, CountedAttempt) for attempt in attempts) == 10


async def test_of_many_attempts_at_once_the_burst_is_counted(redis_url: str) -> None:
    """Two hundred attempts of four workers at the same moment want the last tokens."""
    workers = [Worker(redis_url) for _ in range(4)]
    bucket = Bucket(b"A-strict", Rate(10, 30.0), "strict")

    answers = await asyncio.gather(*(workers[n % 4].store.acquire(PAIR, [bucket]) for n in range(200)))

    assert sum(not isinstance(answer, Exceeded) for answer in answers) == 10


async def test_each_step_is_one_round_trip(redis_url: str) -> None:
    """Whatever is counted, refunded, remembered or asked."""
    worker = Worker(redis_url)
    store, calls = worker.store, []
    for step in (
        store.acquire(PAIR, BUCKETS),
        store.acquire_known(PAIR, BUCKETS),
        store.remaining(PAIR, BUCKETS),
        store.check(PAIR, BUCKETS),
        store.allow(PAIR, BUCKETS),
        store.refund([STRICT]),
        store.refund_and_remember(PAIR, [STRICT]),
        store.remember(PAIR),
        store.knows(PAIR),
    ):
        before = worker.backend.calls
        await step
        calls.append(worker.backend.calls - before)

    assert calls == [1] * 9


async def test_no_name_and_no_address_is_in_redis(redis_url: str, redis_port: int) -> None:
    """Keys are hashes, and values are times."""
    throttle = LoginThrottle(store=RedisThrottleStore(RedisBackend(lambda: Redis.from_url(redis_url))))
    attempt = await throttle.acquire("alice-smith", "192.0.2.7")
    assert isinstance(attempt, CountedAttempt)
    await throttle.refund(attempt, succeeded=True)
    await throttle.acquire("alice-smith", "192.0.2.7")

    keys = command(redis_port, "KEYS", "*")

    assert keys.count(b"authguard:t:b:") == 3 - 1  # no stranger any more: the account's own bucket is full
    assert b"alice" not in keys
    assert b"192" not in keys


async def test_keys_end_by_themselves(redis_url: str, redis_port: int) -> None:
    """A bucket a second after it is full, and what is remembered after its time."""
    worker = Worker(redis_url, remember_for=1000.0)
    await worker.guess(2)
    await worker.store.remember(PAIR)

    lives = [int(command(redis_port, "PTTL", b"authguard:t:" + key)[1:]) for key in (b"b:" + STRICT.key, b"p:" + PAIR)]

    assert 55_000 < lives[0] <= 61_000
    assert 990_000 < lives[1] <= 1_000_000


async def test_what_is_remembered_is_renewed_after_half_of_its_time(redis_url: str, redis_port: int) -> None:
    """By a right password, and not before, because a write goes to each replica."""
    worker, key = Worker(redis_url, remember_for=1000.0), b"authguard:t:p:" + PAIR
    await worker.store.remember(PAIR)
    lives = []
    for set_to, step in (
        ("600000", worker.store.check(PAIR, BUCKETS)),
        ("400000", worker.store.remaining(PAIR, BUCKETS)),
        ("400000", worker.store.check(PAIR, BUCKETS)),
        ("400000", worker.store.allow(PAIR, BUCKETS)),
    ):
        command(redis_port, "PEXPIRE", key, set_to)
        await step
        lives.append(int(command(redis_port, "PTTL", key)[1:]) // 100_000)

    assert [life in {9, 10} for life in lives] == [False, False, True, True]


async def test_an_owner_who_passes_where_no_guess_is_left_is_renewed(redis_url: str, redis_port: int) -> None:
    """A right password of a known pair needs the bucket of known pairs alone."""
    worker, key = Worker(redis_url, remember_for=1000.0), b"authguard:t:p:" + PAIR
    await worker.store.remember(PAIR)
    await worker.guess(2, BUCKETS)
    command(redis_port, "PEXPIRE", key, "400000")

    assert await worker.store.acquire(PAIR, BUCKETS) == Exceeded(30, "strict")
    assert await worker.store.check(PAIR, BUCKETS) == (Exceeded(30, "strict"), True)
    worker.clock.move(20)
    assert await worker.store.check(PAIR, BUCKETS) == (None, True)
    assert int(command(redis_port, "PTTL", key)[1:]) > 900_000


async def test_a_refund_remembers_nobody(redis_url: str, redis_port: int) -> None:
    """There is no key afterwards but that of the epoch."""
    worker = Worker(redis_url)
    counted = await worker.store.acquire(PAIR, BUCKETS)
    assert not isinstance(counted, Exceeded)
    await worker.store.refund(counted)

    assert command(redis_port, "KEYS", "*").startswith(b"*1\r\n$15\r\nauthguard:epoch")


async def test_a_guess_renews_nothing_and_makes_nobody_known(redis_url: str) -> None:
    """Neither does a right password that has to wait."""
    worker = Worker(redis_url)
    await worker.guess(3)

    assert await worker.store.allow(PAIR, [STRICT]) == Exceeded(30, "strict")
    assert not await worker.store.knows(PAIR)


async def test_a_clock_that_was_set_back_prolongs_no_wait(redis_url: str) -> None:
    """A replica whose clock is an hour behind becomes the master: an empty bucket is as it was, and fills as usual."""
    worker = Worker(redis_url)
    await worker.guess(2)
    worker.clock.move(-3600)

    assert await worker.store.remaining(PAIR, [STRICT]) == Exceeded(30, "strict")
    worker.clock.move(30)
    assert await worker.guess(3) == 1


async def test_a_value_of_somebody_else_counts_as_a_full_bucket(redis_url: str, redis_port: int) -> None:
    """It is overwritten."""
    command(redis_port, "SET", b"authguard:t:b:" + STRICT.key, "garbage")

    assert await Worker(redis_url).guess(3) == 2


async def test_health_says_where_attempts_are_counted(redis_url: str) -> None:
    """An app that starts while Redis is away counts in memory, and with ``deny`` it learns of it."""
    worker, strict = Worker(redis_url), Worker(redis_url, on_outage="deny")
    await worker.store.warm()
    states = [worker.store.health()["counts_in"]]
    worker.backend.is_out = strict.backend.is_out = True
    await worker.store.warm()
    states.append(worker.store.health()["counts_in"])

    assert states == ["redis", "memory"]
    assert worker.store.health()["state"] == "ok"
    with pytest.raises(BackendUnavailable, match="nobody is there"):
        await strict.store.warm()


def test_it_is_never_idle() -> None:
    """Another process may have counted something."""
    assert RedisThrottleStore(RedisBackend(Redis)).is_idle is False


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"redis": "redis://127.0.0.1"}, "redis"),
        ({"on_outage": []}, "on_outage"),
        ({"on_outage": "allow"}, "on_outage"),
        ({"remember_for": 0}, "remember_for"),
        ({"most": 1}, "most"),
    ],
    ids=["redis", "list", "on_outage", "remember_for", "most"],
)
def test_bad_options_are_refused(options: dict[str, Any], argument: str) -> None:
    """The message names the argument."""
    given = {"redis": RedisBackend(Redis), **options}
    with pytest.raises(ConfigurationError) as caught:
        RedisThrottleStore(given.pop("redis"), **given)
    assert caught.value.argument == argument


# --- Outages ----------------------------------------------------------------------------------------------------------


async def test_in_an_outage_each_process_counts(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """One WARNING says so. Every step has an answer, as that of a process of its own."""
    caplog.set_level(logging.INFO, "authguard")
    worker = Worker(redis_url)
    store, worker.backend.is_out = worker.store, True

    assert await worker.guess(5) == 2
    assert await store.remaining(PAIR, [STRICT]) == Exceeded(30, "strict")
    assert await store.knows(PAIR) is False
    assert await store.allow(PAIR, [ACCOUNT]) is None
    assert await store.check(PAIR, [STRICT, WIDE]) == (None, True)
    await store.refund([STRICT])
    assert await worker.guess(2) == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "redis: nobody is there" in caplog.text


async def test_after_an_outage_what_was_counted_in_it_still_counts(redis_url: str) -> None:
    """Until its buckets are full: whoever has used up the attempts of an outage has none of Redis yet. Others have."""
    worker = Worker(redis_url)
    worker.backend.is_out = True
    await worker.guess(2)
    worker.backend.is_out = False

    assert await worker.guess(3) == 0
    assert await worker.store.remaining(PAIR, [STRICT]) == Exceeded(30, "strict")
    assert await worker.guess(3, [Bucket(b"A-strict 2", Rate(2, 30.0), "strict")]) == 2
    worker.clock.move(30)
    assert await worker.guess(3) == 1
    worker.clock.move(60)
    assert await worker.guess(3) == 2


async def test_what_is_refunded_after_an_outage_is_refunded_in_both(redis_url: str) -> None:
    """An attempt that Redis refuses is not counted in memory, but for a bucket of known pairs."""
    worker, other = Worker(redis_url), None
    other = Worker(redis_url, worker.clock)
    await other.store.remember(PAIR)
    worker.backend.is_out = True
    await worker.store.remember(PAIR)
    counted = await worker.store.acquire(PAIR, [STRICT, WIDE])
    worker.backend.is_out = False
    await other.guess(2, [STRICT])
    refused = await worker.store.acquire(PAIR, [STRICT, WIDE])
    memory = worker.store._memory
    waits = [
        await memory.remaining(PAIR, [Bucket(b.key, Rate(1, b.rate.seconds), b.label, known_only=b.known_only)])
        for b in (STRICT, WIDE)
    ]
    assert not isinstance(counted, Exceeded)
    await worker.store.refund(counted)

    assert (refused, waits) == (Exceeded(30, "strict"), [Exceeded(30, "strict"), Exceeded(40, "wide")])
    assert memory.holds_any([WIDE])
    assert not memory.holds_any([STRICT])
    assert await other.guess(2, [STRICT]) == 1


async def test_an_attempt_in_a_second_outage_goes_on_from_the_first(redis_url: str) -> None:
    """It is taken once."""
    worker = Worker(redis_url)
    worker.backend.is_out = True

    assert [await worker.guess(1), await worker.guess(1), await worker.guess(1)] == [1, 1, 0]


async def test_who_was_known_before_an_outage_is_known_in_it(redis_url: str) -> None:
    """In a process that has seen it: its owner is not slowed by strangers' guesses at the account."""
    worker = Worker(redis_url)
    await Worker(redis_url, worker.clock).store.remember(PAIR)
    await worker.store.check(PAIR, BUCKETS)
    worker.backend.is_out = True
    await worker.guess(1, [ACCOUNT], OTHER)

    assert await worker.store.remaining(PAIR, BUCKETS) is None
    assert await worker.store.remaining(OTHER, BUCKETS) == Exceeded(10, "account")


async def test_warnings_of_outages_are_a_minute_apart(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A server that answers and fails in turns does not fill the log. That it is back is told once for each warning."""
    caplog.set_level(logging.INFO, "authguard")
    worker = Worker(redis_url)
    for seconds in (0, 10, 60):
        worker.clock.move(seconds)
        for is_out in (True, True, False, False):
            worker.backend.is_out = is_out
            await worker.store.knows(PAIR)

    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING", "INFO"]


async def test_with_deny_an_outage_is_an_outage(redis_url: str) -> None:
    """Of every step, and nothing is counted in memory."""
    worker = Worker(redis_url, on_outage="deny")
    worker.backend.is_out = True
    store = worker.store

    for step in (
        store.acquire(PAIR, BUCKETS),
        store.remaining(PAIR, BUCKETS),
        store.refund(BUCKETS),
        store.knows(PAIR),
    ):
        with pytest.raises(BackendUnavailable, match="nobody is there"):
            await step
    assert not store._memory.holds_any(BUCKETS)


def test_without_asyncio_each_process_counts(caplog: pytest.LogCaptureFixture) -> None:
    """On trio there is no way to Redis, and the WARNING names the fix."""
    store = RedisThrottleStore(RedisBackend(Redis))

    assert run_without_waiting(store.acquire(PAIR, [STRICT])) == [STRICT]
    assert "run the server on asyncio" in caplog.text


async def test_a_server_that_ends_and_comes_back() -> None:
    """The guesses of the outage are counted in the process. The server that comes back empty has the whole burst, and
    this process has not."""
    program = server_program("redis")
    if program is None:
        pytest.skip("redis-server is not installed")
    port = free_port()
    store = RedisThrottleStore(RedisBackend(lambda: Redis(port=port)))
    bucket = Bucket(b"A-strict", Rate(5, 3600.0), "strict")

    async def guess() -> int:
        return sum([not isinstance(await store.acquire(PAIR, [bucket]), Exceeded) for _ in range(8)])

    with running_server(program, port=port):
        first = await guess()
    during = await guess()
    with running_server(program, port=port):
        after = await guess()

    assert (first, during, after) == (5, 5, 0)


# --- On a Cluster -----------------------------------------------------------------------------------------------------


async def test_on_a_cluster_an_account_is_one_round_trip(cluster_of_one: int) -> None:
    """Its buckets are in one partition."""
    backend, store = clustered(cluster_of_one)
    await store.acquire(PAIR, BUCKETS)

    assert backend.calls == 1


async def test_on_a_cluster_a_refusal_of_one_part_is_refunded_in_the_others(cluster_of_one: int) -> None:
    """The bucket of the account is as it was, and the wait is that of the network."""
    _, store = clustered(cluster_of_one)
    for _ in range(2):
        await store.acquire(OTHER, [NETWORK])

    answers = [await store.acquire(PAIR, [STRICT, NETWORK]) for _ in range(5)]

    assert answers == [Exceeded(5, "network")] * 5
    assert await store.remaining(PAIR, [Bucket(STRICT.key, Rate(1, 30.0), "strict")]) is None


async def test_on_a_cluster_other_partitions_learn_who_is_known(cluster_of_one: int) -> None:
    """The bucket of a hashed name counts strangers alone."""
    backend, store = clustered(cluster_of_one)
    stranger = [await store.acquire(PAIR, [STRICT, HASHED]) for _ in range(2)]
    before = backend.calls
    allowed = await store.allow(PAIR, [NETWORK])
    calls = backend.calls - before
    known = await store.acquire(PAIR, [STRICT, HASHED])

    assert [isinstance(answer, Exceeded) for answer in (*stranger, known)] == [False, True, False]
    assert (allowed, calls) == (None, 3)
    assert await store.check(PAIR, [NETWORK]) == (None, True)


async def test_on_a_cluster_a_network_without_attempts_makes_nobody_known(cluster_of_one: int) -> None:
    """The partition of the account would let the password pass, and that of the network does not."""
    _, store = clustered(cluster_of_one)
    for _ in range(2):
        await store.acquire(OTHER, [NETWORK])

    assert await store.allow(PAIR, [STRICT, NETWORK]) == Exceeded(5, "network")
    assert not await store.knows(PAIR)


async def test_on_a_cluster_a_refund_that_fails_changes_no_answer(cluster_of_one: int) -> None:
    """The attempt is refused, and what was taken fills again by itself."""
    backend, store = clustered(cluster_of_one)
    for _ in range(2):
        await store.acquire(OTHER, [NETWORK])
    backend.out_from = backend.calls + 3

    assert await store.acquire(PAIR, [STRICT, NETWORK]) == Exceeded(5, "network")


async def test_on_a_cluster_a_part_that_fails_is_an_outage(cluster_of_one: int) -> None:
    """The attempt is then counted in this process."""
    backend, store = clustered(cluster_of_one)
    backend.out_from = backend.calls + 2

    assert await store.acquire(PAIR, [STRICT, NETWORK]) == [STRICT, NETWORK]
    assert store._memory.holds_any([STRICT])
