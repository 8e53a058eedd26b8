"""A limit on how much runs at the same time, with a bounded queue."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import anyio

from authguard.concurrency.thread_pool import waker
from authguard.fork import renew_after_fork


class Admission(Enum):
    """The answer of ``ConcurrencyLimiter.acquire``."""

    ACQUIRED = "the caller has a slot, and must release it"
    FULL = "the queue is full"
    TIMED_OUT = "no slot became free in time"


@dataclass(slots=True, eq=False)
class _Waiter:
    """A caller in the queue. It is there exactly as long as ``admission`` is ``TIMED_OUT``."""

    wake: Callable[[], None] = field(repr=False)
    admission: Admission = Admission.TIMED_OUT


class ConcurrencyLimiter:
    """At most ``limit`` callers at the same time, and at most ``max_waiting`` in the queue, first come, first served.

    It belongs to no event loop: callers on asyncio and on trio, on one loop or on several, share it.
    """

    def __init__(self, *, limit: int, max_waiting: int) -> None:
        self._limit, self._max_waiting = limit, max_waiting
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Start with all slots free: a forked child never hears that a caller of its parent releases one."""
        self._lock = threading.Lock()
        self._free = self._limit
        self._queue: deque[_Waiter] = deque()

    @property
    def waiting(self) -> int:
        """The number of callers in the queue."""
        return len(self._queue)

    async def acquire(self, deadline: float) -> Admission:
        """Take a slot, waiting for at most ``deadline`` seconds. After ``ACQUIRED`` the caller must ``release`` it.

        A caller that is cancelled while it waits leaves the queue, and has no slot.
        """
        queue = self._queue  # renew() makes a new one
        with self._lock:
            if self._free:
                self._free -= 1
                return Admission.ACQUIRED
            if len(queue) >= self._max_waiting:
                return Admission.FULL
            done = anyio.Event()
            waiter = _Waiter(waker(done))
            queue.append(waiter)
        cancelled = True
        try:
            with anyio.move_on_after(deadline):
                await done.wait()
            cancelled = False
        finally:
            with self._lock:
                if waiter.admission is Admission.TIMED_OUT:
                    queue.remove(waiter)
            if waiter.admission is Admission.ACQUIRED and cancelled:
                self.release()
        return waiter.admission

    def release(self) -> None:
        """Give the slot to the caller that has waited longest, if there is one."""
        with self._lock:
            if not self._queue:
                # After a fork a slot that the parent acquired may be released here too.
                self._free = min(self._free + 1, self._limit)
                return
            waiter = self._queue.popleft()
            waiter.admission = Admission.ACQUIRED
        waiter.wake()
