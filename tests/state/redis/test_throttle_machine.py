"""Hypothesis: Redis counts login attempts as the memory of one process does, whatever comes, and at whatever time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from itertools import count
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from redis.asyncio import Redis, RedisCluster

from authguard.concurrency.token_bucket import Rate
from authguard.state.redis import RedisBackend, RedisThrottleStore
from authguard.state.throttle_store import Bucket, Exceeded, MemoryThrottleStore, SeparateSteps
from authguard.testing import ManualClock
from tests.support.clock import NOW

pytestmark = pytest.mark.peer

#: The first byte of a key is its partition: two accounts, a hash of a name, and a network.
ALICE_HOME, ALICE_AWAY, BOB = b"A-alice-home", b"A-alice-away", b"B-bob"
PAIRS = (ALICE_HOME, ALICE_AWAY, BOB)
BUCKETS = (
    Bucket(ALICE_HOME, Rate(2, 30.0), "pair"),
    Bucket(b"A-known", Rate(3, 20.0), "known", known_only=True),
    Bucket(b"A-account", Rate(3, 10.1), "account", strangers_only=True),
    Bucket(BOB, Rate(1, 33.3), "pair"),
    Bucket(b"B-known", Rate(1, 100 / 3), "known", known_only=True),
    Bucket(b"H-hash", Rate(2, 30.0), "pair"),
    Bucket(b"H-account", Rate(2, 10.0), "account", strangers_only=True),
    Bucket(b"N-network", Rate(4, 12), "network"),
    Bucket(b"A-never", Rate(1, 60.0), "never", strangers_only=True, known_only=True),
)

pairs = st.sampled_from(PAIRS)
groups = st.lists(st.sampled_from(BUCKETS), unique=True, max_size=6)
_number = count()


class ThrottleMachine(RuleBasedStateMachine):
    """Does the same to a store in memory and to one in Redis, by one clock."""

    make_client: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = ManualClock(NOW + 0.123456)
        backend = RedisBackend(type(self).make_client, prefix=f"machine{next(_number)}", clock=self.clock)
        self.shared = RedisThrottleStore(backend, on_outage="deny")
        self.memory = MemoryThrottleStore(clock=self.clock)
        self.steps = SeparateSteps(self.memory)
        self.counted: list[Bucket] = []

    def teardown(self) -> None:
        self.runner.close()

    def same(self, shared: Coroutine[Any, Any, Any], memory: Coroutine[Any, Any, Any]) -> Any:
        """What both answer."""
        answers = [self.runner.run(call) for call in (shared, memory)]
        assert _plain(answers[0]) == _plain(answers[1])
        return answers[0]

    def note(self, counted: Sequence[Bucket] | Exceeded) -> None:
        if not isinstance(counted, Exceeded):
            self.counted = list(counted)

    @initialize(pair=pairs)
    def somebody_has_logged_in(self, pair: bytes) -> None:
        self.same(self.shared.remember(pair), self.memory.remember(pair))

    @rule(pair=pairs, buckets=groups)
    def acquire(self, pair: bytes, buckets: list[Bucket]) -> None:
        self.note(self.same(self.shared.acquire(pair, buckets), self.memory.acquire(pair, buckets)))

    @rule(pair=pairs, buckets=groups)
    def acquire_known(self, pair: bytes, buckets: list[Bucket]) -> None:
        counted, _ = self.same(self.shared.acquire_known(pair, buckets), self.steps.acquire_known(pair, buckets))
        self.note(counted)

    @rule(pair=pairs, buckets=groups, authenticated=st.booleans())
    def remaining(self, pair: bytes, buckets: list[Bucket], authenticated: bool) -> None:
        self.same(
            self.shared.remaining(pair, buckets, authenticated=authenticated),
            self.memory.remaining(pair, buckets, authenticated=authenticated),
        )

    @rule(pair=pairs, buckets=groups)
    def check(self, pair: bytes, buckets: list[Bucket]) -> None:
        self.same(self.shared.check(pair, buckets), self.steps.check(pair, buckets))

    @rule(pair=pairs, buckets=groups)
    def allow(self, pair: bytes, buckets: list[Bucket]) -> None:
        self.same(self.shared.allow(pair, buckets), self.steps.allow(pair, buckets))

    @rule()
    def refund(self) -> None:
        self.same(self.shared.refund(self.counted), self.memory.refund(self.counted))

    @rule(buckets=groups)
    def refund_what_was_not_taken(self, buckets: list[Bucket]) -> None:
        self.same(self.shared.refund(buckets), self.memory.refund(buckets))

    @rule(pair=pairs)
    def log_in(self, pair: bytes) -> None:
        buckets = self.counted
        self.same(self.shared.refund_and_remember(pair, buckets), self.steps.refund_and_remember(pair, buckets))

    @rule(pair=pairs)
    def knows(self, pair: bytes) -> None:
        self.same(self.shared.knows(pair), self.memory.knows(pair))

    @rule(seconds=st.sampled_from([1e-6, 0.3, 1 / 3, 7.5, 10.0, 29.99, 100.0]) | st.floats(0, 60))
    def time_passes(self, seconds: float) -> None:
        self.clock.move(seconds)


def _plain(answer: Any) -> Any:
    """An answer in which the order of buckets does not count."""
    if isinstance(answer, tuple):
        return tuple(map(_plain, answer))
    return sorted(bucket.key for bucket in answer) if isinstance(answer, list) else answer


def run_machine(client: Callable[[], Any]) -> None:
    """Run the machine with a client of some kind."""
    machine = type("Machine", (ThrottleMachine,), {"make_client": staticmethod(client)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        ),
    )


def test_one_server_answers_as_memory_does(redis_url: str) -> None:
    """In the same history, clock included: what is taken, what is refused and for how long, and who is known."""
    run_machine(lambda: Redis.from_url(redis_url))


def test_a_cluster_answers_as_memory_does(cluster_of_one: int) -> None:
    """Also where the buckets of one attempt are on several servers."""
    run_machine(lambda: RedisCluster(host="127.0.0.1", port=cluster_of_one))
