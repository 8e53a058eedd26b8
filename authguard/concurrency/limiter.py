"""Few at a time: the others wait for their turn, in a queue that is bounded."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import anyio

from authguard.concurrency.thread_pool import waker


class Admission(Enum):
    """What became of somebody who asked for a turn."""

    ACQUIRED = "it is his, until he gives it back"
    FULL = "too many wait already"
    TIMED_OUT = "it did not come in time"


@dataclass(slots=True, eq=False)
class _Waiting:
    """Somebody in the queue: for as long as his turn is ``LATE``, and no longer."""

    wake: Callable[[], None] = field(repr=False)
    turn: Admission = Admission.TIMED_OUT


class ConcurrencyLimiter:
    """At most ``at_once`` at the same time, and at most ``most`` who wait for that, in the order in which they came.

    It belongs to no event loop: callers on asyncio and on trio, on one loop or on several, share it.
    """

    def __init__(self, *, at_once: int, most: int) -> None:
        self._lock = threading.Lock()
        self._free, self._most = at_once, most
        self._queue: deque[_Waiting] = deque()

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._queue)

    async def acquire(self, deadline: float) -> Admission:
        """Takes a turn, or waits for one for ``deadline`` seconds. Who is told ``TAKEN`` must ``refund``.

        Who is cancelled has no turn and waits no more.
        """
        with self._lock:
            if self._free:
                self._free -= 1
                return Admission.ACQUIRED
            if len(self._queue) >= self._most:
                return Admission.FULL
            done = anyio.Event()
            mine = _Waiting(waker(done))
            self._queue.append(mine)
        stayed = False
        try:
            with anyio.move_on_after(deadline):
                await done.wait()
            stayed = True
        finally:
            with self._lock:
                if mine.turn is Admission.TIMED_OUT:
                    self._queue.remove(mine)
            if mine.turn is Admission.ACQUIRED and not stayed:
                self.refund()
        return mine.turn

    def refund(self) -> None:
        """It is the turn of the one who has waited longest."""
        with self._lock:
            if not self._queue:
                self._free += 1
                return
            following = self._queue.popleft()
            following.turn = Admission.ACQUIRED
        following.wake()
