"""Time several functions in rounds: each round times all of them, so that they can be compared within a round."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from statistics import median, quantiles
from time import perf_counter_ns
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from benchmarks.paths import Target

#: Performs the operation once, and returns how many nanoseconds it took.
Sample: TypeAlias = Callable[[], Awaitable[int]]

#: Untimed calls before the timed ones: they load the code and the data of the row into the caches of the processor.
WARM_UP_CALLS = 3


@dataclass(frozen=True, slots=True)
class Spread:
    """The median and the quartiles of a series of figures."""

    low: float
    median: float
    high: float


def spread(figures: Sequence[float]) -> Spread:
    """Compute the quartiles of at least two figures."""
    return Spread(*quantiles(figures, n=4, method="inclusive"))


def target_sample(target: Target, after: Callable[[int], Callable[[], object]] | None = None) -> Sample:
    """Time the next request to this target. Each has a number of its own, and is made before the clock starts.

    ``after`` makes, from the number, something that is called and timed after the request.
    """
    numbers = count()

    async def sample() -> int:
        number = next(numbers)
        call, then = target.call(number), None if after is None else after(number)
        start = perf_counter_ns()
        await call()
        if then is not None:
            then()
        return perf_counter_ns() - start

    return sample


async def measure(
    samples: Mapping[str, Sample], *, rounds: int, calls: int, progress: Callable[[], None] = lambda: None
) -> Mapping[str, Sequence[float]]:
    """Return the microseconds of each row, one figure per round. ``progress`` is called after each round."""
    figures: dict[str, list[float]] = {name: [] for name in samples}
    with _without_garbage_collection():
        for number in range(rounds):
            # The order alternates. If the machine gets slower, the first row of a round has an advantage; over two
            # rounds, each row is early once and late once. Ratios are computed within a round for the same reason.
            for name in samples if number % 2 == 0 else reversed(list(samples)):
                figures[name].append(await _median_call(samples[name], calls))
            gc.collect()
            progress()
    return figures


async def _median_call(sample: Sample, calls: int) -> float:
    # Each call is timed separately, and the median counts. On a machine that is not idle, a call that is interrupted
    # takes milliseconds longer, and a mean would charge them to the row that happened to be interrupted.
    for _ in range(WARM_UP_CALLS):
        await sample()
    return median([await sample() for _ in range(calls)]) / 1000


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    # An automatic collection would hit the call that happens to cross the threshold, and its duration depends on all
    # other objects of the process. Existing objects are therefore frozen, and each round ends with an untimed
    # collection. It finds nothing, because a request is freed by reference counting, which is part of the figures.
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
