"""Aggregation: keep a flood of refused requests from becoming a flood of log records.

Denials of one reason, client and rule are counted together; those of an authenticated subject apart from all others,
and so are outages with different details. The first twenty within a minute get a record each. After these there is one
record whenever their number reaches a power of two, and a last one when the minute is over.
"""

from __future__ import annotations

import threading
from bisect import insort
from collections import OrderedDict
from dataclasses import field
from typing import NamedTuple

from authguard.fork import renew_after_fork
from authguard.value_types import mutable

#: How many denials of one key get a record each, within how many seconds.
FULL_RECORDS, WINDOW = 20, 60.0
#: How many keys are counted at the same time.
MAX_AGGREGATES = 1024
#: With this many, a new key is counted by its reason alone. Otherwise a client with many addresses could use them all.
MAX_SEPARATE_KEYS = 960
#: How many subjects an aggregate lists, and up to which number it counts them exactly.
MAX_SAMPLES, EXACT_SUBJECTS = 3, 64

_HASH_RANGE = 2**61 - 1


class AggregateKey(NamedTuple):
    """What is counted together.

    The client is an IPv4 address or an IPv6 /64. ``about`` is the subject of an authenticated principal, or the detail
    of an outage. Client and rule are both ``*`` for everything of this reason that is not counted separately.
    """

    reason: str
    client: str | None
    rule: str | None
    about: str | None = None


@mutable
class Aggregate:
    """The denials of one key within one window.

    ``opened`` is when the window began, in seconds by a monotonic clock. ``first`` and ``last`` are in seconds since
    the epoch. ``recorded`` is the ``count`` at the last record.
    """

    key: AggregateKey
    level: int
    opened: float
    first: float
    last: float
    count: int = 0
    recorded: int = 0
    samples: list[str] = field(default_factory=list)
    _smallest_hashes: list[int] = field(default_factory=list)

    def add(self, now: float, subject: str | None) -> None:
        """Count one denial."""
        self.count += 1
        self.last = now
        if subject is None:
            return
        if len(self.samples) < MAX_SAMPLES and subject not in self.samples:
            self.samples.append(subject)
        hashed, smallest = hash(subject) % _HASH_RANGE, self._smallest_hashes
        if hashed not in smallest and (len(smallest) < EXACT_SUBJECTS or hashed < smallest[-1]):
            insort(smallest, hashed)
            del smallest[EXACT_SUBJECTS:]

    @property
    def subjects(self) -> int:
        """How many different subjects: exact below 64, and an estimate from there on."""
        # Hashes are spread evenly, so the 64th smallest one says how many there are in all (a k-minimum-values sketch).
        smallest = self._smallest_hashes
        if len(smallest) < EXACT_SUBJECTS:
            return len(smallest)
        return round((EXACT_SUBJECTS - 1) * _HASH_RANGE / max(smallest[-1], 1))

    @property
    def is_record_due(self) -> bool:
        """Whether the count is a power of two."""
        return self.count & (self.count - 1) == 0


class Aggregator:
    """The aggregates of the windows that are open now, oldest first.

    A forked child begins without any, because its parent records those of before the fork.
    """

    def __init__(self) -> None:
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Begin without aggregates, and with a lock that nobody holds."""
        self._aggregates: OrderedDict[AggregateKey, Aggregate] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._aggregates)

    def count(
        self, key: AggregateKey, level: int, *, ticks: float, now: float, subject: str | None
    ) -> Aggregate | None:
        """Count one denial. None if it gets a record of its own; otherwise its aggregate, whose record may be due.

        ``ticks`` is the time by a monotonic clock, and ``now`` by the clock of the guard.
        """
        with self._lock:
            if key not in self._aggregates and len(self._aggregates) >= MAX_SEPARATE_KEYS:
                key = AggregateKey(key.reason, "*", "*")
            aggregate = self._aggregates.get(key)
            if aggregate is None:
                aggregate = self._aggregates[key] = Aggregate(key, level, ticks, now, now)
            aggregate.add(now, subject)
            if aggregate.count <= FULL_RECORDS or aggregate.is_record_due:
                aggregate.recorded = aggregate.count
            return None if aggregate.count <= FULL_RECORDS else aggregate

    def pop_expired(self, ticks: float) -> list[Aggregate]:
        """Remove the aggregates whose window is over, and the oldest one if there is no room for another.

        Returns those of them that have counted denials since their last record.
        """
        with self._lock:
            removed: list[Aggregate] = []
            while self._aggregates:
                oldest = next(iter(self._aggregates.values()))
                if ticks - oldest.opened < WINDOW and len(self._aggregates) < MAX_AGGREGATES:
                    break
                removed.append(self._aggregates.popitem(last=False)[1])
            return [aggregate for aggregate in removed if aggregate.count > aggregate.recorded]

    def pop_all(self) -> list[Aggregate]:
        """Remove all aggregates. Returns those that have counted denials since their last record."""
        return self.pop_expired(float("inf"))
