"""A clock that a test moves."""

from __future__ import annotations

import math


class ManualClock:
    """``clock = ManualClock()``, ``Guard(..., clock=clock, monotonic=clock)``, ``clock.move(61)``.

    It stays at ``now``, in seconds since the epoch, until it is moved. It may be moved back, as a wall clock may be set
    back, unless it is passed as ``monotonic``.
    """

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = _seconds(now)

    def __call__(self) -> float:
        return self.now

    def __repr__(self) -> str:
        return f"ManualClock({self.now!r})"

    def move(self, seconds: float) -> None:
        """Move it by so many seconds. Raises ``ValueError`` for infinity and nan."""
        self.now += _seconds(seconds)


def _seconds(seconds: float) -> float:
    if not math.isfinite(seconds):
        msg = f"{seconds!r} is not a finite number of seconds"
        raise ValueError(msg)
    return seconds
