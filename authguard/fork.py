"""What must not go on in a fork as it was: secrets of one process, locks that somebody held, what others now count."""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from typing import Protocol


class Renewable(Protocol):
    """Something of one process."""

    def renew(self) -> None:
        """Called in a fork, before anything else runs there."""
        ...


_all: weakref.WeakSet[Renewable] = weakref.WeakSet()


def renew_after_fork(one: Renewable) -> None:
    """Has it renewed in each fork, for as long as it lives."""
    _all.add(one)


def _renew() -> None:
    for one in list(_all):
        one.renew()


with suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(after_in_child=_renew)
