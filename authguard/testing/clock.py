"""A clock that goes when a test says so."""

from __future__ import annotations

import math


class ManualClock:
    """``clock = ManualClock()``, ``Guard(..., clock=clock, monotonic=clock)``, ``clock.move(61)``.

    It stands at ``now``, in seconds since the epoch, until it is moved; back too, as a clock that is set does (what is
    given as ``monotonic`` must not).
    """

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = _seconds(now)

    def __call__(self) -> float:
        return self.now

    def __repr__(self) -> str:
        return f"ManualClock({self.now!r})"

    def move(self, seconds: float) -> None:
        """Goes on by so many seconds. Raises ``ValueError`` for what no clock can do."""
        self.now += _seconds(seconds)


def _seconds(seconds: float) -> float:
    if not math.isfinite(seconds):
        msg = f"{seconds!r} is no number of seconds"
        raise ValueError(msg)
    return seconds
