"""A limit on how much runs at the same time, with a bounded queue in which networks take turns."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import field
from enum import Enum
from typing import NamedTuple, cast

from authguard.concurrency.fair_queue import FairQueue
from authguard.concurrency.signal import make_signal
from authguard.fork import renew_after_fork
from authguard.value_types import mutable


class Admission(Enum):
    """The answer of ``ConcurrencyLimiter.acquire``."""

    ACQUIRED = "the caller has a slot, and must release it"
    FULL = "the queue is full"
    TIMED_OUT = "no slot became free in time"


class _Group(NamedTuple):
    """The callers that take turns with the other groups."""

    network: str | None
    known: bool


@mutable
class _Waiter:
    """A caller in the queue. It is there exactly as long as ``admission`` is ``TIMED_OUT``."""

    group: _Group
    wake: Callable[[], None] = field(repr=False)
    admission: Admission = Admission.TIMED_OUT


class ConcurrencyLimiter:
    """At most ``limit`` callers at the same time, and at most ``max_waiting`` in the queue.

    Networks take turns in the queue. If it is full, a caller whose network has fewer callers there takes the place of
    the last one of the network with the most. A network has no more slots than it leaves free, so that slow calls of
    one network cannot hold up all others. This limit does not apply to callers that are ``known``, which strangers
    cannot make themselves, nor to callers without a network, which cannot be told apart.

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
        #: How many slots each network has. Those of known callers do not count.
        self._held: Counter[str | None] = Counter()
        self._queue: FairQueue[_Waiter] = FairQueue()

    @property
    def waiting(self) -> int:
        """The number of callers in the queue."""
        return len(self._queue)

    async def acquire(self, deadline: float, network: str | None = None, *, known: bool = False) -> Admission:
        """Take a slot, waiting for at most ``deadline`` seconds.

        After ``ACQUIRED`` the caller must ``release`` it, with the same arguments. A caller that is cancelled while it
        waits leaves the queue, and has no slot.
        """
        queue, group = self._queue, _Group(network, known)  # renew() makes a new queue
        with self._lock:
            if self._may_take(group):
                self._take(group)
                return Admission.ACQUIRED
            if len(queue) >= self._max_waiting and not self._displace(group):
                return Admission.FULL
            signal = make_signal()
            waiter = _Waiter(group, signal.set)
            queue.push((group,), waiter)
        cancelled = True
        try:
            await signal.wait(deadline)
            cancelled = False
        finally:
            with self._lock:
                if waiter.admission is Admission.TIMED_OUT:
                    queue.remove((group,), waiter)
            if waiter.admission is Admission.ACQUIRED and cancelled:
                self.release(network, known=known)
        return waiter.admission

    def release(self, network: str | None = None, *, known: bool = False) -> None:
        """Give the slot to the caller in the queue whose turn it is, if there is one that may have it."""
        with self._lock:
            # After a fork a slot that the parent acquired may be released here too.
            self._free = min(self._free + 1, self._limit)
            if not known:
                self._held[network] -= 1
                if self._held[network] <= 0:
                    del self._held[network]
            waiter = self._queue.pop_allowed(self._may_take)
            if waiter is not None:
                self._take(waiter.group)
                waiter.admission = Admission.ACQUIRED
                waiter.wake()

    def _may_take(self, step: Hashable) -> bool:
        """Whether a caller of this group may have one of the free slots."""
        network, known = cast("_Group", step)
        return self._free > 0 and (known or network is None or self._held[network] < self._free)

    def _take(self, group: _Group) -> None:
        self._free -= 1
        if not group.known:
            self._held[group.network] += 1

    def _displace(self, group: _Group) -> bool:
        """Refuse the last caller of the group with the most in the queue, if that has more than this group."""
        displaced = self._queue.displaceable((group,))
        if displaced is None:
            return False
        self._queue.remove((displaced.group,), displaced)
        displaced.admission = Admission.FULL
        displaced.wake()
        return True
