"""Re-create per-process state after ``os.fork()``.

Secrets, held locks and counters must not be shared between a parent and its children.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import suppress
from typing import Protocol


class Renewable(Protocol):
    """An object with per-process state."""

    def renew(self) -> None:
        """Replace the state that was copied from the parent. Called in the child before any other code runs there."""
        ...


_instances: weakref.WeakSet[Renewable] = weakref.WeakSet()


def renew_after_fork(instance: Renewable) -> None:
    """Call ``instance.renew()`` in every forked child. Only a weak reference is kept."""
    _instances.add(instance)


def _renew() -> None:
    for instance in list(_instances):
        instance.renew()


with suppress(AttributeError):  # Windows has no os.fork
    os.register_at_fork(after_in_child=_renew)


class ForkSafeLock:
    """A ``threading.Lock`` that is new in a forked child: a thread of the parent may have held the old one for ever."""

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Start unlocked."""
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()
