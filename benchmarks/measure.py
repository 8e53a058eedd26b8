"""Rounds: every row is timed in every round, and is compared with what was timed beside it."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TypeAlias

#: Does the thing once and says how many nanoseconds it took.
Sample: TypeAlias = Callable[[], Awaitable[int]]

#: Calls at the head of a row's turn that are not counted: they bring its code and its data back into the caches.
WARM = 3


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of many figures, and the middle half of them."""

    low: float
    median: float
    high: float


def spread(figures: Sequence[float]) -> Spread:
    """The quartiles of at least two figures."""
    return Spread(*quantiles(figures, n=4, method="inclusive"))


async def measure(samples: Mapping[str, Sample], *, rounds: int, calls: int) -> Mapping[str, Sequence[float]]:
    """Microseconds by the name of the row, one figure a round."""
    figures: dict[str, list[float]] = {name: [] for name in samples}
    with _collector_at_rest():
        for number in range(rounds):
            # Forth and back: where the machine grows slower, whoever comes first is favoured, and over two rounds each
            # row comes as early as it comes late. A ratio is taken within one round, so that it sees little of it.
            for name in samples if number % 2 == 0 else reversed(list(samples)):
                figures[name].append(await _turn(samples[name], calls))
            gc.collect()
    return figures


async def _turn(sample: Sample, calls: int) -> float:
    # Each call is timed by itself, and the turn is worth the median. On a machine that does other things too, a call
    # that is interrupted loses milliseconds: a mean would charge these to the row that had the bad luck.
    for _ in range(WARM):
        await sample()
    return median([await sample() for _ in range(calls)]) / 1000


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    # A collection falls on whichever call crosses the threshold, and its length goes by what else lives in the process:
    # it would tell of neither. What is alive now is put aside, and each round ends with a collection that nobody is
    # charged for. It finds nothing: a request of any row is freed by its reference counts, and that is in the figures.
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
