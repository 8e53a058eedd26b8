"""A circuit breaker: after several failures in a row a server is left alone for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from authguard.fork import renew_after_fork
from authguard.model import Clock

#: The circuit opens after this many failures in a row.
FAILURE_THRESHOLD = 5
#: In seconds: the first pause, and the longest. Each failed probe doubles the pause.
FIRST_PAUSE, MAX_PAUSE = 2.0, 60.0


class Call:
    """One call of the server. ``succeeded`` stays None for a call that says nothing about the server's health."""

    __slots__ = ("succeeded",)

    def __init__(self) -> None:
        self.succeeded: bool | None = None


class CircuitBreaker:
    """Counts failures in a row and says when the server may be called.

    - *Closed*: all calls are allowed.
    - *Open*: no call is allowed until the pause is over.
    - *Half open*: the pause is over, and one call is allowed, the probe. If it succeeds the circuit closes; if it fails
      the circuit opens for twice as long.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._pause = 0.0
        self._open_until = 0.0
        self._probing = False
        renew_after_fork(self)

    def renew(self) -> None:
        """Forget a probe that is under way: a forked child never hears of its end."""
        self._probing = False

    @property
    def open(self) -> bool:
        """Whether the circuit is open or half open."""
        return self._pause > 0

    @property
    def failures(self) -> int:
        """The number of failures in a row."""
        return self._failures

    def wait(self) -> float:
        """Seconds until the next call is allowed; 0 if it is allowed now."""
        if not self.open:
            return 0.0
        return max(self._open_until - self._clock(), 1.0 if self._probing else 0.0)

    @contextmanager
    def call(self) -> Iterator[Call]:
        """Make one call, after ``wait()`` was 0. The caller sets ``succeeded``."""
        call, is_probe = Call(), self.open
        self._probing = self._probing or is_probe
        try:
            yield call
        finally:
            if is_probe:
                self._probing = False
            if call.succeeded:
                self._failures, self._pause = 0, 0.0
            elif call.succeeded is False:
                self._failed(is_probe)

    def _failed(self, is_probe: bool) -> None:
        self._failures += 1
        # Calls that were under way when the circuit opened must not make the pause longer.
        if is_probe or (not self.open and self._failures >= FAILURE_THRESHOLD):
            self._pause = min(max(self._pause * 2, FIRST_PAUSE), MAX_PAUSE)
            self._open_until = self._clock() + self._pause
