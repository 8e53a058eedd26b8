"""What a part of the benchmarks finds: a table, how its goals fared, and drawings."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio that should be at most ``limit``; with ``at_least``, at least ``limit``."""

    what: str
    measured: float
    limit: float
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the measured ratio is good enough, at the two digits that are printed."""
        measured = round(self.measured, 2)
        return measured >= self.limit if self.at_least else measured <= self.limit


@dataclass(frozen=True, slots=True)
class PartResult:
    """The table of a part, its goals, and its drawings as SVG by file name.

    ``floor`` has the microseconds of the bare route in each round, where that was measured. The work is always the
    same, so it shows how steady the machine was.
    """

    text: str
    goals: Sequence[Goal] = ()
    plots: Mapping[str, str] = field(default_factory=dict)
    floor: Sequence[float] = ()


def goal_table(goals: Iterable[Goal]) -> str:
    """Each goal with what was measured."""
    rows = list(goals)
    width = max(len(goal.what) for goal in rows)
    lines = [f"{'goal':{width}}  measured     wanted"]
    for goal in rows:
        wanted = f"{'>=' if goal.at_least else '<='} {goal.limit:.2f}"
        lines.append(f"{goal.what:{width}}  {goal.measured:8.2f}  {wanted:>9}  {'met' if goal.is_met else 'MISSED'}")
    met = sum(goal.is_met for goal in rows)
    return "\n".join([*lines, f"{met} of {len(rows)} goals are met."])


class Progress:
    """A bar on standard error for something that takes long; lines where that is no terminal."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done, self._shown = what, max(total, 1), 0, -1
        self._is_terminal = sys.stderr.isatty()

    def step(self, count: int = 1) -> None:
        """So much more is done."""
        self._done += count
        tenth = self._done * (50 if self._is_terminal else 5) // self._total
        if tenth == self._shown:
            return
        self._shown = tenth
        if self._is_terminal:
            end = "\n" if self._done >= self._total else ""
            print(f"\r{self._what:24} [{'#' * tenth:50}]", end=end, file=sys.stderr, flush=True)
        else:
            print(f"{self._what}: {self._done * 100 // self._total} %", file=sys.stderr, flush=True)
