"""Re-create per-process state after ``os.fork()``.

Secrets, held locks and counters must not be shared between a parent and its children.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any, Protocol


class Renewable(Protocol):
    """An object with per-process state."""

    def renew(self) -> None:
        """Replace the state that was copied from the parent. Called in the child before any other code runs there."""
        ...


_instances: weakref.WeakSet[Renewable] = weakref.WeakSet()
#: The process that has imported authguard.
_importer = os.getpid()


def is_forked() -> bool:
    """Whether this process was forked since authguard was imported, as servers with a preloaded app do."""
    return os.getpid() != _importer


def renew_after_fork(instance: Renewable) -> None:
    """Call ``instance.renew()`` in every forked child. Only a weak reference is kept."""
    _instances.add(instance)


def _renew() -> None:
    failure: Exception | None = None
    for instance in list(_instances):
        try:
            instance.renew()
        except Exception as error:  # noqa: BLE001 - the others must be renewed whatever happens to one
            failure = error
    if failure is not None:
        raise failure


with suppress(AttributeError):  # Windows has no os.fork
    os.register_at_fork(after_in_child=_renew)


class ForkSafeLock:
    """A lock that is new in a forked child: a thread of the parent may have held the old one for ever.

    ``make`` is ``threading.Lock``, or ``threading.RLock`` for a lock that its holder may take again.
    """

    __slots__ = ("__weakref__", "_lock", "_make")

    def __init__(self, make: Callable[[], AbstractContextManager[Any]] = threading.Lock) -> None:
        self._make = make
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Start unlocked."""
        self._lock = self._make()

    def __enter__(self) -> None:
        self._lock.__enter__()

    def __exit__(self, *error: object) -> None:
        self._lock.__exit__(None, None, None)
