"""A circuit breaker: a server that fails for several independent callers is left alone for a while."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import field

from authguard.fork import renew_after_fork
from authguard.model import Clock
from authguard.value_types import mutable, value

#: The circuit opens after this many independent failures in a row.
FAILURE_THRESHOLD = 5
#: In seconds: the pause between two probes, and the longest one for those whose probes fail again and again.
FIRST_PAUSE, MAX_PAUSE = 2.0, 60.0
#: For how many networks or topics it is remembered how often their probes failed.
MAX_TURNS = 1024


@value
class Question:
    """What the server is asked, and for whom.

    - ``topic``: what it is asked about, such as a token.
    - ``network``: where the request comes from.
    - ``known``: whether the server has answered before that the topic is good. A stranger can invent any number of
      topics, but cannot make one known.
    """

    topic: Hashable
    network: str | None = None
    known: bool = False

    @property
    def turn(self) -> Hashable:
        """Who waits longer after a failed probe, so that the others have their turn."""
        return self.topic if self.known else self.network


class Call:
    """One call of the server. ``succeeded`` stays None for a call that says nothing about the server's health."""

    __slots__ = ("succeeded",)

    def __init__(self) -> None:
        self.succeeded: bool | None = None


@mutable
class _Lane:
    """The failures since the last success, and whether calls are stopped."""

    topics: set[Hashable] = field(default_factory=set)
    networks: set[str | None] = field(default_factory=set)
    open: bool = False
    next_probe: float = 0.0
    probing: bool = False
    #: By turn: how many probes failed, and when the next one is allowed.
    failed_probes: dict[Hashable, tuple[int, float]] = field(default_factory=dict)

    def count(self, question: Question) -> bool:
        """Count a failure, if it is independent of those before. Returns whether it was one too many."""
        if not self.open and question.topic not in self.topics:
            if question.known:
                self.topics.add(question.topic)
            elif question.network not in self.networks:
                self.topics.add(question.topic)
                self.networks.add(question.network)
        return not self.open and len(self.topics) >= FAILURE_THRESHOLD

    def probe_failed(self, turn: Hashable, now: float) -> None:
        """Let everybody wait for the first pause, and this turn for twice as long as the last time."""
        failed, _ = self.failed_probes.pop(turn, (0, 0.0))
        if len(self.failed_probes) >= MAX_TURNS:
            del self.failed_probes[next(iter(self.failed_probes))]
        self.failed_probes[turn] = failed + 1, now + min(FIRST_PAUSE * 2.0 ** min(failed + 1, 16), MAX_PAUSE)
        self.next_probe = now + FIRST_PAUSE


class CircuitBreaker:
    """Counts independent failures in a row, and says when the server may be called.

    Failures are independent if they are about different topics, and come from different networks or are about known
    topics. So nobody can stop the calls of others with one topic, or from one network.

    - *Closed*: all calls are allowed.
    - *Open*: no call is allowed until the pause is over.
    - *Half open*: the pause is over, and one call is allowed, the probe. If it succeeds the circuit closes. If it fails
      the next pause begins. The network of the probe, or its known topic, waits twice as long each time, so that others
      make the next probe.

    Known topics have a circuit of their own, which only failures about known topics open. A success closes both.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known, self._others = _Lane(), _Lane()
        renew_after_fork(self)

    def renew(self) -> None:
        """Forget a probe that is under way: a forked child never hears of its end."""
        self._known.probing = self._others.probing = False

    @property
    def open(self) -> bool:
        """Whether the circuit is open or half open for topics that are not known."""
        return self._others.open

    @property
    def open_for_known(self) -> bool:
        """Whether the circuit is open or half open for known topics."""
        return self._known.open

    @property
    def failures(self) -> int:
        """The number of independent failures in a row, up to the threshold."""
        return len(self._others.topics)

    def _lane(self, question: Question) -> _Lane:
        return self._known if question.known else self._others

    def wait(self, question: Question) -> float:
        """Seconds until this question may be asked; 0 if it may be asked now."""
        lane = self._lane(question)
        if not lane.open:
            return 0.0
        _, allowed_at = lane.failed_probes.get(question.turn, (0, 0.0))
        return max(max(lane.next_probe, allowed_at) - self._clock(), 1.0 if lane.probing else 0.0)

    @contextmanager
    def call(self, question: Question) -> Iterator[Call]:
        """Ask this question, after ``wait()`` was 0. The caller sets ``succeeded``."""
        call, lane = Call(), self._lane(question)
        is_probe = lane.open
        lane.probing = lane.probing or is_probe
        try:
            yield call
        finally:
            if is_probe:
                lane.probing = False
            if call.succeeded:
                self._known, self._others = _Lane(), _Lane()
            elif call.succeeded is False:
                self._failed(question, lane if is_probe else None)

    def _failed(self, question: Question, probed: _Lane | None) -> None:
        """Count a failure. ``probed`` is the lane in which it was a probe."""
        now = self._clock()
        # Calls that were under way when the circuit opened must not make the pause longer.
        if probed is not None:
            probed.probe_failed(question.turn, now)
        for lane in (self._known, self._others) if question.known else (self._others,):
            if lane.count(question):
                lane.open, lane.next_probe = True, now + FIRST_PAUSE
