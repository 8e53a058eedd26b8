"""Counts of decisions, for metrics: they cost little, because no record is made for them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import count
from typing import Literal, NamedTuple, TypeAlias

from authguard.fork import renew_after_fork

#: How many keys are counted apart. Beyond that, those of other rules are counted under the rule ``*``; and with so many
#: more, everything else under the reason ``*``, because a scheme of the app may invent reasons without end.
MAX_COUNTS, MAX_OTHER_RULES = 8192, 1024

OTHER = "*"

#: What happened to a request.
Event: TypeAlias = Literal["denied", "granted", "would_deny"]
#: The fields of a ``CountKey``.
_Key: TypeAlias = tuple[Event, str | None, str | None, str | None]


class CountKey(NamedTuple):
    """What is counted together. The fields are those of ``Record``.

    ``event`` is ``"granted"``, ``"denied"``, or ``"would_deny"`` for a denial that is not enforced. ``reason`` is None
    for a grant; ``scheme`` is None if none was tried; ``rule`` is None for the default. Where there are too many keys,
    ``*`` stands for all others.
    """

    event: Event
    reason: str | None
    scheme: str | None
    rule: str | None


class DecisionCounts:
    """How many decisions there were since the process began. A forked child begins at zero."""

    __slots__ = ("__weakref__", "_counters", "_lock", "_readings")

    def __init__(self) -> None:
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Begin at zero, and with a lock that nobody holds."""
        # Each counter is a function that returns how often it was called before. That is one step for the interpreter,
        # so that no call of another thread is lost, and takes a third of the time of a number behind a lock.
        self._counters: dict[_Key, Callable[[], int]] = {}
        self._readings: Counter[_Key] = Counter()
        self._lock = threading.Lock()

    def add(self, event: Event, reason: str | None, scheme: str | None, rule: str | None) -> None:
        """Count one decision."""
        try:
            self._counters[event, reason, scheme, rule]()
        except KeyError:
            self._counter_of_new((event, reason, scheme, rule))()

    def _counter_of_new(self, key: _Key) -> Callable[[], int]:
        """The counter of a key that has none: a new one, or that of all others."""
        counters = self._counters
        with self._lock:
            if key not in counters and len(counters) >= MAX_COUNTS:
                key = (*key[:3], OTHER)
                if key not in counters and len(counters) >= MAX_COUNTS + MAX_OTHER_RULES:
                    key = (key[0], OTHER, OTHER, OTHER)
            return counters.setdefault(key, count().__next__)

    def snapshot(self) -> Mapping[CountKey, int]:
        """The counts of now."""
        with self._lock:
            numbers: dict[CountKey, int] = {}
            for key, counter in self._counters.items():
                numbers[CountKey(*key)] = counter() - self._readings[key]
                self._readings[key] += 1
            return numbers
