"""Long work in slices, between which other threads run: above all that of the event loop.

A thread that computes keeps the interpreter to itself for five milliseconds at a time, and for as long as one call of a
function written in C takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import TypeAlias, TypeVar

T = TypeVar("T")

#: A generator that yields after each slice of at most a few milliseconds, and returns the result.
Slices: TypeAlias = Generator[None, None, T]

#: About how many short steps, such as a line or a name, make one slice.
STEPS = 500
#: In seconds. A pause of 0 often ends before another thread has woken up.
PAUSE = 1e-4


def at_once(work: Slices[T]) -> T:
    """The result, without pauses: for a constructor, which has to wait for it anyway."""
    return _run(work, lambda: None)


def with_pauses(work: Slices[T]) -> T:
    """The result, for a thread: it pauses after each slice."""
    return _run(work, lambda: time.sleep(PAUSE))


def _run(work: Slices[T], between: Callable[[], None]) -> T:
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        between()
