"""The revocations in memory and those in Redis give the same answers to the same history, whatever Redis forgets."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from redis.asyncio import Redis

from authguard import BackendUnavailable, MemoryRevocations, Revocation
from authguard.state import RevocationSource, RevokedKey
from authguard.state.redis import RedisBackend, RedisRevocations, revocations
from authguard.state.revocations import KEPT_AFTER, KINDS, revocation_key
from authguard.testing import ManualClock
from tests.state.redis.servers import command
from tests.support.clock import NOW

pytestmark = pytest.mark.peer

NAMES = ["a", "b", "c"]
SECONDS = st.sampled_from([-700.0, -5.5, 0.0, 1.0, 60.25, 5000.0])
REVOCATIONS = st.one_of(
    st.builds(
        lambda kind, name, ends: Revocation(kind, name, NOW + ends),
        st.sampled_from(["token", "session", "api_key"]),
        st.sampled_from(NAMES),
        st.one_of(SECONDS, st.just(math.inf)),
    ),
    st.builds(
        lambda name, before, ends: Revocation.subject(name, before=NOW + before, expires_at=NOW + ends),
        st.sampled_from(NAMES),
        SECONDS,
        SECONDS,
    ),
)
KEYS = [revocation_key(kind, name) for kind in KINDS for name in NAMES]


class Source(RevocationSource):
    """A durable source: what was entered and when, by the clock of whoever entered it."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.entered: list[tuple[float, Revocation]] = []
        self.is_away = False

    async def revoke(self, revocation: Revocation) -> None:
        self.entered.append((self.clock.now, revocation))

    async def live(self, since: float) -> AsyncIterator[Sequence[RevokedKey]]:
        for entered, revocation in list(self.entered):
            if self.is_away:
                raise BackendUnavailable("away")
            if entered >= since and revocation.expires_at > self.clock.now - KEPT_AFTER:
                yield [revocation]
        if self.is_away:
            raise BackendUnavailable("away")


class Histories(RuleBasedStateMachine):
    """Two workers with revocations in Redis, and the same history with revocations in memory."""

    url: str
    port: int

    def __init__(self) -> None:
        super().__init__()
        command(self.port, "FLUSHALL")
        self.runner = asyncio.Runner()
        self.clock, self.server = ManualClock(NOW), ManualClock(NOW)
        self.source = Source(self.clock)
        self.memory = MemoryRevocations(clock=self.clock, monotonic=self.clock)
        self.workers = [
            RedisRevocations(
                RedisBackend(lambda: Redis.from_url(self.url), clock=self.server), source=self.source, clock=self.clock
            )
            for _ in range(2)
        ]
        self.revoked: list[Revocation] = []

    def teardown(self) -> None:
        """Close the connections of this history."""
        self.runner.close()

    def found(self, worker: int) -> Mapping[bytes, float]:
        """What one worker finds of all keys, when nothing is loaded in the background any more."""

        async def find() -> Mapping[bytes, float]:
            found = await self.workers[worker].find(KEYS)
            await asyncio.gather(*self.workers[worker]._loading.values())
            return found

        return self.runner.run(find())

    def note(self, revocation: Revocation) -> None:
        """Revoke it in memory."""
        self.memory.revoke_now(revocation)
        self.revoked.append(revocation)

    @rule(worker=st.sampled_from([0, 1]), revocation=REVOCATIONS)
    def revoke(self, worker: int, revocation: Revocation) -> None:
        """The app revokes something."""
        self.runner.run(self.workers[worker].revoke(revocation))
        self.note(revocation)

    @rule(worker=st.sampled_from([0, 1]), revocation=REVOCATIONS)
    def enter_otherwise(self, worker: int, revocation: Revocation) -> None:
        """Something reaches the source alone, and a minute later a worker reads it there."""
        self.runner.run(self.source.revoke(revocation))
        self.clock.move(60)
        self.server.move(60)
        self.found(worker)
        if revocation.expires_at > self.clock.now - KEPT_AFTER:
            self.note(revocation)

    @rule(seconds=st.sampled_from([0.5, 30.0, 400.0, 6000.0]))
    def wait(self, seconds: float) -> None:
        """Time passes, for the workers and for the server."""
        self.clock.move(seconds)
        self.server.move(seconds)

    @rule()
    def flush(self) -> None:
        """The server forgets everything."""
        command(self.port, "FLUSHALL")
        self.server.move(0.5)

    @rule()
    def flush_without_source(self) -> None:
        """The server forgets everything while the source is away: nobody gets an answer."""
        self.flush()
        self.source.is_away = True
        for worker in (0, 1):
            with pytest.raises(BackendUnavailable):
                self.found(worker)
        self.source.is_away = False

    @invariant()
    def same_answers(self) -> None:
        """Each worker finds what memory finds. It may have forgotten what has ended, and nothing else."""
        known = self.memory.find_now(KEYS)
        live: dict[bytes, float] = {}
        for each in self.revoked:
            if each.expires_at > self.clock.now - KEPT_AFTER:
                live[each.key] = max(each.before, live.get(each.key, -math.inf))
        for worker in (0, 1):
            found = self.found(worker)
            assert live.keys() <= found.keys() <= known.keys()
            assert all(live.get(key, -math.inf) <= before <= known[key] for key, before in found.items())


def test_both_adapters_give_the_same_answers(redis_url: str, redis_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With revocations, waits, flushes, and a source that is away, in any order."""
    monkeypatch.setattr(revocations, "FIRST_RETRY", 0.0)
    monkeypatch.setattr(revocations, "LONGEST_RETRY", 0.0)

    class OfThisServer(Histories):
        """Histories with this server."""

        url, port = redis_url, redis_port

    run_state_machine_as_test(OfThisServer, settings=settings(max_examples=40, stateful_step_count=20, deadline=None))
