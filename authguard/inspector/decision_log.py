"""The last decisions of a guard in this process, and the counts of its refusals by cause and minute."""

from __future__ import annotations

import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from heapq import merge
from itertools import count
from typing import NamedTuple

from authguard.core.guard import Guard
from authguard.fork import ForkSafeLock, renew_after_fork
from authguard.records.patterns import DenialWindow, Sighting, Tally
from authguard.records.record import Record

#: How many refusals of strangers are kept, how many of principals that were authenticated, and how many grants.
MAX_DECISIONS = 1000
#: How many pages may be open at a time. One more takes the place of the oldest.
MAX_VIEWERS = 16

# Pages open and close in several threads, and whether one of them asks for grants takes more than one step.
_VIEWERS = ForkSafeLock()


class Decision(NamedTuple):
    """One decision: its number in this process, its time in seconds since the epoch, and its record."""

    number: int
    at: float
    record: Record


class Worker(NamedTuple):
    """The process that the figures are of, and since when."""

    pid: int
    host: str
    since: float

    @property
    def id(self) -> str:
        """Tells this process from every other one, also from one that had the same number before."""
        return f"{self.pid}-{self.since:.0f}-{self.host}"


class Viewer:
    """One open page. It is ``displaced`` when another one has taken its place."""

    __slots__ = ("displaced", "with_grants")

    def __init__(self, *, with_grants: bool) -> None:
        self.with_grants = with_grants
        self.displaced = False


class DecisionLog:
    """A hook that keeps the last refusals of a guard, and counts them.

    Grants are kept only while a page is open that asks for them: otherwise a granted request does not even get a
    record. Nothing runs in the background, so a guard that nobody looks at pays for its refusals alone. All of it is
    of bounded size. A forked child begins with nothing.
    """

    wants_grants = False

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self.monotonic = guard.monotonic
        # Takes away the hook that the guard has while a page asks for grants; None while it has none.
        self._stop_grants: Callable[[], None] | None = None
        #: Called after each refusal, if decisions are shared.
        self.on_refusal: Callable[[], None] | None = None
        self.renew()
        renew_after_fork(self)
        guard.add_hook(self)

    def __repr__(self) -> str:
        return "the inspector"

    def renew(self) -> None:
        """Begin with nothing, in this process."""
        self._lock = threading.Lock()
        self.worker = Worker(os.getpid(), socket.gethostname(), self._now())
        self._next_number = count(1).__next__
        # Apart, so that a flood of strangers cannot crowd out what authenticated principals do.
        self._strangers: deque[Decision] = deque(maxlen=MAX_DECISIONS)
        self._principals: deque[Decision] = deque(maxlen=MAX_DECISIONS)
        self._grants: deque[Decision] = deque(maxlen=MAX_DECISIONS)
        self._window = DenialWindow()
        self._viewers: list[Viewer] = []
        self._is_sharing_grants = False

    def __call__(self, record: Record) -> None:
        """Keep a decision: the guard calls this with each refusal."""
        at = self._now()
        with self._lock:
            denials = self._principals if record.subject_proven else self._strangers
            denials.append(Decision(self._next_number(), at, record))
            self._window.add(record, at)
        if self.on_refusal is not None:
            self.on_refusal()

    def note_grant(self, record: Record) -> None:
        """The hook that the guard has while a page asks for grants."""
        if self._stop_grants is not None and not self._are_grants_wanted():
            with _VIEWERS:  # the process was forked while the parent had a page open
                self._set_grant_hook()
        elif record.event == "granted":
            at = self._now()
            with self._lock:
                self._grants.append(Decision(self._next_number(), at, record))

    @contextmanager
    def viewing(self, *, with_grants: bool) -> Iterator[Viewer]:
        """A page is open in this block."""
        viewer = Viewer(with_grants=with_grants)
        with _VIEWERS:
            self._viewers.append(viewer)
            if len(self._viewers) > MAX_VIEWERS:
                self._viewers.pop(0).displaced = True
            self._set_grant_hook()
        try:
            yield viewer
        finally:
            with _VIEWERS:
                self._viewers = [other for other in self._viewers if other is not viewer]
                self._set_grant_hook()

    def share_grants(self, is_wanted: bool) -> None:
        """Keep grants, or no longer, because a page of another process asks for them."""
        if is_wanted != self._is_sharing_grants:
            with _VIEWERS:
                self._is_sharing_grants = is_wanted
                self._set_grant_hook()

    def _set_grant_hook(self) -> None:
        """Have the guard call ``note_grant`` if a page asks for grants, and not otherwise."""
        is_wanted = self._are_grants_wanted()
        if is_wanted and self._stop_grants is None:
            self._stop_grants = self._guard.add_hook(self.note_grant)
        elif not is_wanted and self._stop_grants is not None:
            self._stop_grants()
            self._stop_grants = None

    def _are_grants_wanted(self) -> bool:
        return self._is_sharing_grants or any(viewer.with_grants for viewer in self._viewers)

    def _now(self) -> float:
        """The time by the clock of the guard."""
        return self._guard.moment().now

    @property
    def viewers(self) -> int:
        """How many pages are open."""
        return len(self._viewers)

    def since(self, number: int, *, with_grants: bool = False) -> Sequence[Decision]:
        """The decisions after the one with this number, the oldest first; of those that are kept."""
        with self._lock:
            kept = [list(self._strangers), list(self._principals), list(self._grants) if with_grants else []]
        new = ([decision for decision in decisions if decision.number > number] for decisions in kept)
        return list(merge(*new, key=lambda decision: decision.number))

    def sightings(self) -> Sequence[Sighting]:
        """The refusals that are kept, with their times."""
        return [(decision.at, decision.record) for decision in self.since(0)]

    def tallies(self) -> Sequence[Tally]:
        """What is counted of the refusals of the last hour. Only for reading, and not to be kept."""
        with self._lock:
            return self._window.snapshot()
