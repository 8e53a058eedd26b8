"""One answer for all tasks that ask the same at the same time."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import field
from typing import Generic, TypeVar

import anyio

from authguard.errors import BackendUnavailable
from authguard.fork import renew_after_fork
from authguard.reasons import HASHING_BUSY, Reason
from authguard.value_types import mutable

T = TypeVar("T")


@mutable
class _Flight(Generic[T]):
    """Work that one task does. ``finished`` is what others wait for; the first of them makes it."""

    finished: anyio.Event | None = None
    answer: T | None = field(default=None, repr=False)


class SingleFlight(Generic[T]):
    """Does the same work once for all tasks that want it at the same time.

    A page that sends fifty requests at once after a login then costs one attempt and one hash; so does the same wrong
    password, sent fifty times. If the task that does the work fails or is cancelled, the next one does it. A task that
    has waited for ``deadline`` seconds raises ``BackendUnavailable`` with ``reason``.
    """

    def __init__(self, *, deadline: float, reason: Reason = HASHING_BUSY) -> None:
        self._deadline, self._reason = deadline, reason
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Forget the work under way: in a forked child nobody finishes the work of its parent."""
        self._flights: dict[Hashable, _Flight[T]] = {}

    def is_running(self, question: Hashable) -> bool:
        """Whether another task does the work at the moment, so that ``share`` would wait for it."""
        return (threading.get_ident(), question) in self._flights

    async def share(self, question: Hashable, work: Callable[[], Awaitable[T]]) -> tuple[T, bool]:
        """The answer of ``work``, which must not be None, and whether this caller did the work."""
        key = threading.get_ident(), question  # each thread has its own event loop, and an Event belongs to one loop
        flights = self._flights  # renew() makes a new dict
        if key in flights:
            with anyio.move_on_after(self._deadline):
                while (other := flights.get(key)) is not None:
                    if other.finished is None:
                        other.finished = anyio.Event()
                    await other.finished.wait()
                    if other.answer is not None:
                        return other.answer, False
            if key in flights:
                raise BackendUnavailable(f"no answer within {self._deadline:g} s", reason=self._reason)
        own: _Flight[T] = _Flight()
        flights[key] = own
        try:
            own.answer = await work()
            return own.answer, True
        finally:
            del flights[key]
            if own.finished is not None:
                own.finished.set()
