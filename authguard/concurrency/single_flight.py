"""One answer for all who ask the same at the same time."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import anyio

from authguard.errors import BackendUnavailable
from authguard.reasons import HASHING_BUSY, Reason

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Flight(Generic[T]):
    finished: anyio.Event = field(default_factory=anyio.Event)
    answer: T | None = field(default=None, repr=False)


class SingleFlight(Generic[T]):
    """Who asks what is being asked gets the same answer.

    So fifty requests of a page that has just logged in are one attempt and one hash, and fifty times the same wrong
    password too. Where the one who went ahead fails or leaves, the next one goes. Who waits for another for over
    ``deadline`` seconds is refused with ``reason``.
    """

    def __init__(self, *, deadline: float, reason: Reason = HASHING_BUSY) -> None:
        self._deadline, self._reason = deadline, reason
        self._under_way: dict[Hashable, _Flight[T]] = {}

    async def share(self, question: Hashable, work: Callable[[], Awaitable[T]]) -> tuple[T, bool]:
        """What ``work`` answers, which is never None, and whether it was this caller's own."""
        key = threading.get_ident(), question  # another thread has an event loop of its own
        if key in self._under_way:
            with anyio.move_on_after(self._deadline):
                while (ahead := self._under_way.get(key)) is not None:
                    await ahead.finished.wait()
                    if ahead.answer is not None:
                        return ahead.answer, False
            if key in self._under_way:
                raise BackendUnavailable(f"no answer within {self._deadline:g} s", reason=self._reason)
        flight = self._under_way[key] = _Flight[T]()
        try:
            flight.answer = await work()
            return flight.answer, True
        finally:
            del self._under_way[key]
            flight.finished.set()
