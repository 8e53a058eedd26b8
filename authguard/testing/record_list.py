"""Collect what guards record while a test runs."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, TypeVar

from authguard.core.guard import Guard
from authguard.errors import ConfigurationError
from authguard.fork import ForkSafeLock
from authguard.records.record import Record

T_co = TypeVar("T_co", covariant=True)

#: Threads share guards and the list below, and changing either takes more than one step.
LOCK = ForkSafeLock(threading.RLock)
#: The listeners that are open, the oldest first.
OPEN_LISTENERS: list[GuardListener[object]] = []


class GuardListener(AbstractContextManager[T_co]):
    """Collects the records of some guards from ``open`` to ``close``. ``with listener as value`` gives ``value``."""

    def __init__(self, guards: tuple[Guard, ...], value: T_co) -> None:
        for guard in guards:
            if not isinstance(guard, Guard):
                raise ConfigurationError("guard", f"{guard!r} is not a Guard")
        self.guards, self.value = guards, value
        self.records: list[Record] = []
        self._stops: list[Callable[[], None]] = []
        self.is_open = False
        self.is_unused = True

    #: Whether it was made and never opened.
    is_unused = False

    def __del__(self) -> None:
        if self.is_unused:
            # As Python does for a coroutine that nobody awaits.
            warnings.warn(f"{self.written} was never entered: write with {self.written}:", RuntimeWarning, stacklevel=2)

    #: How the app writes it.
    written = "recording(guard)"

    def open(self) -> None:
        """Start to listen. A second call changes nothing."""
        with LOCK:
            self.is_unused = False
            if not self.is_open:
                self.is_open = True
                OPEN_LISTENERS.append(self)
                self._stops = [guard.add_hook(self.note) for guard in self.guards]

    def close(self) -> None:
        """Stop, and restore the hooks of the guards. A second call changes nothing."""
        with LOCK:
            if self.is_open:
                self.is_open = False
                OPEN_LISTENERS.remove(self)
                for stop in self._stops:
                    stop()

    def note(self, record: Record) -> None:
        """The hook that the guards call."""
        self.records.append(record)

    def __enter__(self) -> T_co:
        self.open()
        return self.value

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class RecordList(GuardListener[list[Record]]):
    """Collects the records of every request to its guards, into the list that ``with`` gives."""

    def __init__(self, guards: tuple[Guard, ...]) -> None:
        if not guards:
            raise ConfigurationError("guards", "there is none; pass the guard whose decisions are to be listed")
        super().__init__(guards, [])
        self.records = self.value


def recording(*guards: Guard) -> AbstractContextManager[list[Record]]:
    """``with recording(guard) as records:`` lists each decision of the guard inside the block, for every request.

    ``assert_denied`` finds the reason of a response there. On PUBLIC a guard decides nothing and records nothing.
    Raises ``ConfigurationError``.
    """
    return RecordList(guards)


class Recording(Protocol):
    """The fixture: ``records = recording(guard)`` lists the guard's decisions until the test ends."""

    def __call__(self, *guards: Guard) -> list[Record]: ...
