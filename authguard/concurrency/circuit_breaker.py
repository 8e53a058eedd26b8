"""A circuit breaker: a server in trouble is not asked again and again, and is not waited for by everybody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from authguard.model import Clock

#: After so many failures in a row the circuit is open, for so many seconds at first and so many at the most.
TRIPS, FIRST_PAUSE, LONGEST_PAUSE = 5, 2.0, 60.0


class Probe:
    """One call of the server, and how it went. One that says neither was abandoned, and counts for nothing."""

    __slots__ = ("good",)

    def __init__(self) -> None:
        self.good: bool | None = None


class Breaker:
    """Closed, everybody calls. Open, nobody does until the pause is over; half open, one does, on trial.

    A trial that succeeds closes the circuit; one that fails opens it for twice as long.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._pause = 0.0
        self._until = 0.0
        self._on_trial = False

    @property
    def open(self) -> bool:
        """Whether not everybody may call."""
        return self._pause > 0

    @property
    def failures(self) -> int:
        """How many calls in a row have failed."""
        return self._failures

    def wait(self) -> float:
        """For how many seconds nobody should call; 0 where this caller may."""
        if not self.open:
            return 0.0
        return max(self._until - self._clock(), 1.0 if self._on_trial else 0.0)

    @contextmanager
    def calling(self) -> Iterator[Probe]:
        """One call, by who was told to wait for 0 seconds."""
        trial, mine = Probe(), self.open
        self._on_trial = self._on_trial or mine
        try:
            yield trial
        finally:
            if mine:
                self._on_trial = False
            if trial.good:
                self._failures, self._pause = 0, 0.0
            elif trial.good is False:
                self._failed(mine)

    def _failed(self, on_trial: bool) -> None:
        self._failures += 1
        # Those that were under way when the circuit opened say nothing new.
        if on_trial or (not self.open and self._failures >= TRIPS):
            self._pause = min(max(self._pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
            self._until = self._clock() + self._pause
