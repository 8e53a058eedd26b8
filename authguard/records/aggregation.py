"""Aggregation: keep a flood of refused requests from becoming a flood of log records.

Denials of one reason, client and rule are counted together; those of an authenticated subject apart from all others,
and so are outages with different details. The first twenty within a minute get a record each. After these there is one
record whenever their number reaches a power of two, and a last one when the minute is over.
"""

from __future__ import annotations

import math
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

#: ``Aggregator.due`` where nothing is aggregated.
NEVER = math.inf

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
    _last_subject: str | None = None

    def add(self, now: float, subject: str | None) -> int:
        """Count one denial. Returns the count."""
        number = self.count = self.count + 1
        self.last = now
        if subject is not None and subject != self._last_subject:
            self._last_subject = subject
            self._add_subject(subject)
        return number

    def _add_subject(self, subject: str) -> None:
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
        """Whether the last denial makes a record due: its number is a power of two."""
        return self.recorded == self.count


class Aggregator:
    """The aggregates of the windows that are open now, oldest first.

    A forked child begins without any, because its parent records those of before the fork.
    """

    def __init__(self) -> None:
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Begin without aggregates, and with a lock that nobody holds."""
        self._aggregates: OrderedDict[tuple[str, str | None, str | None, str | None], Aggregate] = OrderedDict()
        self._lock = threading.Lock()
        #: From when on ``pop_expired`` has something to do, by the monotonic clock. It can be read without the lock.
        self.due = NEVER

    def __len__(self) -> int:
        return len(self._aggregates)

    def count(
        self,
        key: tuple[str, str | None, str | None, str | None],
        level: int,
        *,
        ticks: float,
        now: float,
        subject: str | None,
    ) -> Aggregate | None:
        """Count one denial. None if it gets a record of its own; otherwise its aggregate, whose record may be due.

        ``key`` has the fields of an ``AggregateKey``. ``ticks`` is the time by a monotonic clock, and ``now`` by the
        clock of the guard.
        """
        with self._lock:
            aggregate = self._aggregates.get(key) or self._new_aggregate(key, level, ticks, now)
            number = aggregate.add(now, subject)
            if number <= FULL_RECORDS:
                aggregate.recorded = number
                return None
            if number & (number - 1) == 0:
                aggregate.recorded = number
            return aggregate

    def _new_aggregate(
        self, key: tuple[str, str | None, str | None, str | None], level: int, ticks: float, now: float
    ) -> Aggregate:
        """The aggregate of a key that is not counted yet: a new one, or that of all others of its reason."""
        if len(self._aggregates) >= MAX_SEPARATE_KEYS:
            key = key[0], "*", "*", None
            aggregate = self._aggregates.get(key)
            if aggregate is not None:
                return aggregate
        aggregate = self._aggregates[key] = Aggregate(AggregateKey(*key), level, ticks, now, now)
        self._find_due()
        return aggregate

    def _find_due(self) -> None:
        """Note when the oldest window ends. Aggregates that leave no room for another are due at once."""
        oldest = next(iter(self._aggregates.values()), None)
        if oldest is None:
            self.due = NEVER
        else:
            self.due = oldest.opened + WINDOW if len(self._aggregates) < MAX_AGGREGATES else -math.inf

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
            self._find_due()
            return [aggregate for aggregate in removed if aggregate.count > aggregate.recorded]

    def pop_all(self) -> list[Aggregate]:
        """Remove all aggregates. Returns those that have counted denials since their last record."""
        return self.pop_expired(float("inf"))
