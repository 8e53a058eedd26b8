"""The stores of nonces and proofs in memory and in Redis give the same answers to the same random history."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from redis.asyncio import Redis

from authguard.state.nonce_store import WINDOW, WITHOUT_COUNT, MemoryNonces, NonceUse
from authguard.state.proof_store import MemoryProofs, ProofUse
from authguard.state.redis import RedisBackend, RedisNonces, RedisProofs
from authguard.testing import ManualClock
from tests.state.redis.servers import command
from tests.support.clock import NOW

pytestmark = pytest.mark.peer

T = TypeVar("T")

LIFE = 300.0
#: How far the clock of the server is from that of the guard.
OFFSET = -12_345.678

which = st.integers(0, 20)
counts = st.one_of(
    st.integers(0, 8),
    st.integers(0, 2 * WINDOW + 2),
    st.sampled_from([31, 32, 33, 63, 64, 65, 95, 96, 97, WINDOW - 1, WINDOW, WINDOW + 1, 2**31, 2**32 - 1]),
    st.just(WITHOUT_COUNT),
)

#: From the highest count to the next one. A window is four words of 32 bits in the server.
steps = st.integers(-WINDOW, WINDOW + 1) | st.sampled_from([1, 2, 31, 32, 33, 64, 96, WINDOW - 1, WINDOW, WINDOW + 1])


class TwoStores(RuleBasedStateMachine):
    """One history for the stores in memory and those in Redis, whose clocks are moved by hand."""

    port: int

    def __init__(self) -> None:
        super().__init__()
        port = self.port
        self.now = NOW
        self.runner = asyncio.Runner()
        backend = RedisBackend(lambda: Redis(port=port), deadline=30, clock=lambda: self.now + OFFSET)
        self.redis_nonces = RedisNonces(backend, clock_skew=0)
        self.redis_proofs = RedisProofs(backend, clock_skew=0)
        self.nonces: list[tuple[bytes, float]] = []
        self.proofs: list[tuple[bytes, float]] = []
        self.forget()

    def teardown(self) -> None:
        self.runner.close()

    def go(self, seconds: float) -> None:
        # At least a millisecond, so that nothing happens at the very time of a floor.
        self.now += 0.001 + round(seconds, 3)

    @rule()
    def forget(self) -> None:
        """Delete all data of the server, and restart the process of the stores in memory."""
        command(self.port, "FLUSHALL")
        self.go(0)
        self.memory_nonces = MemoryNonces(clock=ManualClock(0.0))
        self.memory_nonces.begin(self.now)
        self.memory_proofs = MemoryProofs(clock=ManualClock(0.0))
        # The server begins to remember at the next call, the store of proofs in memory too.
        before = self.now - 1
        assert self.claim_nonce(secrets.token_bytes(20), 1, before) == {NonceUse.FORGOTTEN: 1}
        assert self.claim_proof(secrets.token_bytes(16), before) == {ProofUse.FORGOTTEN: 1}
        self.go(0)

    @rule()
    def forget_scripts(self) -> None:
        """Have the server forget its scripts, which it may do without forgetting data."""
        command(self.port, "SCRIPT", "FLUSH")

    @rule(seconds=st.floats(0, 2 * LIFE) | st.sampled_from([0.0, 0.5, 40.0, LIFE]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.go(seconds)

    @rule(ahead=st.sampled_from([0.0, 0.0, 0.25, 7.5]))
    def mint(self, ahead: float) -> None:
        """Mint a nonce, at a host whose clock may be ahead."""
        self.go(0)
        self.nonces.append((secrets.token_bytes(20), self.now + ahead))

    @precondition(lambda self: bool(self.nonces))
    @rule(which=which, count=counts)
    def use_nonce(self, which: int, count: int) -> None:
        """Use a count of a nonce that has not expired."""
        nonce, minted_at = self.nonces[-1 - which % len(self.nonces)]
        if self.now < minted_at + LIFE:
            self.claim_nonce(nonce, count, minted_at)

    @rule(first=st.integers(0, 5 * WINDOW), steps=st.lists(steps, max_size=6))
    def use_all_counts(self, first: int, steps: list[int]) -> None:
        """Use some counts of a new nonce, each a step from the highest one, and then all counts of the window."""
        self.mint(0.0)
        highest = first
        self.use_nonce(0, first)
        for step in steps:
            count = max(0, highest + step)
            self.use_nonce(0, count)
            highest = max(highest, count)
        for count in range(max(0, highest - WINDOW - 1), highest + 2):
            self.use_nonce(0, count)

    @precondition(lambda self: bool(self.nonces))
    @rule(which=which, count=counts, times=st.integers(2, 6))
    def use_nonce_at_once(self, which: int, count: int, times: int) -> None:
        """Use a count in several requests at the same time."""
        nonce, minted_at = self.nonces[-1 - which % len(self.nonces)]
        if self.now < minted_at + LIFE:
            answers = self.claim_nonce(nonce, count, minted_at, times=times)
            assert answers.get(NonceUse.FRESH, 0) <= 1

    @rule(before=st.sampled_from([0.0, 5.0, 60.0]))
    def prove(self, before: float) -> None:
        """Make a proof, which could be accepted for some time before."""
        self.go(0)
        self.proofs.append((secrets.token_bytes(16), self.now - before))

    @precondition(lambda self: bool(self.proofs))
    @rule(which=which, times=st.integers(1, 4))
    def use_proof(self, which: int, times: int) -> None:
        """Use a proof that can be accepted, in one or in several requests at the same time."""
        key, not_before = self.proofs[-1 - which % len(self.proofs)]
        if self.now < not_before + LIFE:
            answers = self.claim_proof(key, not_before, times=times)
            assert answers.get(ProofUse.FRESH, 0) <= 1

    def claim_nonce(self, nonce: bytes, count: int, minted_at: float, *, times: int = 1) -> dict[NonceUse, int]:
        moment: dict[str, float] = {"minted_at": minted_at, "expires_at": minted_at + LIFE, "now": self.now}
        return self.compare(
            lambda: self.memory_nonces.claim_now(nonce, count, **moment),
            lambda: self.redis_nonces.claim(nonce, count, **moment),
            times,
        )

    def claim_proof(self, key: bytes, not_before: float, *, times: int = 1) -> dict[ProofUse, int]:
        moment: dict[str, float] = {"not_before": not_before, "expires_at": not_before + LIFE, "now": self.now}
        return self.compare(
            lambda: self.memory_proofs.claim_now(key, **moment),
            lambda: self.redis_proofs.claim(
                key, not_before=not_before, expires_at=moment["expires_at"], now=moment["now"]
            ),
            times,
        )

    def compare(self, in_memory: Callable[[], T], in_redis: Callable[[], Awaitable[T]], times: int) -> dict[T, int]:
        """How often each answer was given, after checking that it is the same for both."""

        async def ask_all() -> list[T]:
            return await asyncio.gather(*(in_redis() for _ in range(times)))

        wanted: list[Any] = [in_memory() for _ in range(times)]
        found: list[Any] = self.runner.run(ask_all())
        assert sorted(found, key=str) == sorted(wanted, key=str)
        return {answer: found.count(answer) for answer in found}


def test_memory_and_redis_give_the_same_answers(redis_port: int) -> None:
    """A random history of claims, waits and lost data, at a server with another clock, is answered alike."""

    class OfThisServer(TwoStores):
        """Histories with this server."""

        port = redis_port

    run_state_machine_as_test(
        OfThisServer,
        settings=settings(
            deadline=None,
            max_examples=20,
            stateful_step_count=25,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        ),
    )
