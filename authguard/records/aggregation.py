"""What keeps a flood of refused requests from becoming a flood of records.

Of one kind (reason, client, rule) the first twenty a minute are told in full. Of those that follow one row is kept,
which is told whenever their number is a power of two, and once more when the minute is over.
"""

from __future__ import annotations

import threading
from bisect import insort
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple

#: How many of a kind are told in full, within how many seconds, and how many kinds are counted at the same time.
IN_FULL, WINDOW, MOST_ROWS = 20, 60.0, 1024
#: With so many rows, a new kind is counted by its reason alone: else who has many addresses would have as many rows.
OWN_ROWS = 960
#: How many subjects are shown, and from how many on their number is an estimate.
SAMPLES, EXACT = 3, 64

_HASHES = 2**61 - 1


class AggregateKey(NamedTuple):
    """What is counted together. The client is an IPv4 address or an IPv6 /64; where it and the rule are ``*``, they
    stand for all that had no row of their own.
    """

    reason: str
    client: str | None
    rule: str | None


@dataclass(slots=True)
class Aggregate:
    """What happened to one kind within one window. ``first`` and ``last`` are in seconds since the epoch."""

    kind: AggregateKey
    level: int
    opened: float
    first: float
    last: float
    count: int = 0
    told: int = 0
    samples: list[str] = field(default_factory=list)
    _smallest: list[int] = field(default_factory=list)

    def add(self, now: float, subject: str | None) -> None:
        """One more."""
        self.count += 1
        self.last = now
        if subject is None:
            return
        if len(self.samples) < SAMPLES and subject not in self.samples:
            self.samples.append(subject)
        place = hash(subject) % _HASHES
        if place not in self._smallest and (len(self._smallest) < EXACT or place < self._smallest[-1]):
            insort(self._smallest, place)
            del self._smallest[EXACT:]

    @property
    def subjects(self) -> int:
        """How many different subjects: exact below 64, and about right above, by how dense the smallest hashes lie."""
        found = self._smallest
        return len(found) if len(found) < EXACT else round((EXACT - 1) * _HASHES / max(found[-1], 1))

    @property
    def due(self) -> bool:
        """Whether the count is a power of two."""
        return self.count & (self.count - 1) == 0


class Aggregator:
    """The kinds that are counted now, oldest first."""

    def __init__(self) -> None:
        self._rows: OrderedDict[AggregateKey, Aggregate] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._rows)

    def count(
        self, kind: AggregateKey, level: int, *, ticks: float, now: float, subject: str | None
    ) -> Aggregate | None:
        """One more of this kind. None where it is to be told in full, else its fold, which may be ``due``.

        ``ticks`` is a monotonic clock, ``now`` the time of day.
        """
        with self._lock:
            if kind not in self._rows and len(self._rows) >= OWN_ROWS:
                kind = AggregateKey(kind.reason, "*", "*")
            row = self._rows.get(kind)
            if row is None:
                row = self._rows[kind] = Aggregate(kind, level, ticks, now, now)
            row.add(now, subject)
            if row.count <= IN_FULL or row.due:
                row.told = row.count
            return None if row.count <= IN_FULL else row

    def over(self, ticks: float) -> list[Aggregate]:
        """The folds whose minute is over, or which make room for the next, where they have something to tell."""
        with self._lock:
            gone: list[Aggregate] = []
            while self._rows:
                oldest = next(iter(self._rows.values()))
                if ticks - oldest.opened < WINDOW and len(self._rows) < MOST_ROWS:
                    break
                gone.append(self._rows.popitem(last=False)[1])
            return [row for row in gone if row.count > row.told]

    def rest(self) -> list[Aggregate]:
        """All that is still to be told, at the end."""
        return self.over(float("inf"))
