"""What guards record while a test listens."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, TypeVar

from authguard.core.guard import Guard
from authguard.errors import ConfigurationError
from authguard.records.record import Record

T_co = TypeVar("T_co", covariant=True)

#: Guards are shared by threads, and what is put into one is put together from what it has.
LOCK = threading.RLock()
#: What listens now, oldest first.
OPEN: list[GuardListener[object]] = []


class GuardListener(AbstractContextManager[T_co]):
    """Keeps what guards record, from ``open`` to ``close``; ``with`` gives ``value``."""

    def __init__(self, guards: tuple[Guard, ...], value: T_co) -> None:
        for guard in guards:
            if not isinstance(guard, Guard):
                raise ConfigurationError("guard", f"{guard!r} is no Guard(...)")
        self.guards, self.value = guards, value
        self.records: list[Record] = []
        self.is_open = False

    def open(self) -> None:
        """Begins. What is open stays so."""
        with LOCK:
            if not self.is_open:
                self.is_open = True
                OPEN.append(self)
                for guard in self.guards:
                    recorder = guard._recorder  # noqa: SLF001 - a friend
                    recorder.hooks = (*recorder.hooks, self.note)

    def close(self) -> None:
        """Ends, and leaves nothing behind. What is closed stays so."""
        with LOCK:
            if self.is_open:
                self.is_open = False
                OPEN.remove(self)
                for guard in self.guards:
                    recorder = guard._recorder  # noqa: SLF001 - a friend
                    recorder.hooks = tuple(hook for hook in recorder.hooks if hook != self.note)

    def note(self, record: Record) -> None:
        """A hook of the guards."""
        self.records.append(record)

    def __enter__(self) -> T_co:
        self.open()
        return self.value

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class RecordList(GuardListener[list[Record]]):
    """Listens to whoever asks."""

    def __init__(self, guards: tuple[Guard, ...]) -> None:
        if not guards:
            raise ConfigurationError("guards", "give the guard that is to be recorded")
        super().__init__(guards, [])
        self.records = self.value


def recording(*guards: Guard) -> AbstractContextManager[list[Record]]:
    """``with recording(guard) as records:`` lists each decision that the guard takes meanwhile, whoever asks.

    ``assert_denied`` looks there for the reason of a response. Nothing is decided on PUBLIC, and nothing recorded.
    Raises ``ConfigurationError``.
    """
    return RecordList(guards)


class Recording(Protocol):
    """``records = recording(guard)``: what it decides from here until the test ends."""

    def __call__(self, *guards: Guard) -> list[Record]: ...
