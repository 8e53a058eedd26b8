"""The moment at which the tests take place. A clock that a test moves is ``authguard.testing.ManualClock``."""

from __future__ import annotations

from authguard.accounts.watched_file import EVERY

#: The clock of tests. Nothing reads the real one.
NOW = 1_800_000_000.0


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Ticks:
    """A monotonic clock that stands still."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


class Hands:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds

    def next_look(self) -> None:
        self.move(EVERY)
