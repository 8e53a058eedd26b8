"""Signals between threads and tasks: any thread sets one, and one task waits for it on its own event loop."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import Any, Protocol

import anyio


class Signal(Protocol):
    """What one task waits for. ``make_signal`` makes one for the event loop on which it is called."""

    def set(self) -> None:
        """Let the task go on. Any thread may call this, also after the event loop has ended."""
        ...

    async def wait(self, seconds: float | None = None) -> bool:
        """Whether it was set within so many seconds (None: however long it takes). Awaited once, by one task."""
        ...


class _AsyncioSignal:
    """For asyncio. It is one future, because an event and a cancel scope of anyio cost ten times as much."""

    __slots__ = ("_future", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[bool] = loop.create_future()

    def set(self) -> None:
        with suppress(RuntimeError):  # the loop is closed, and the task that waited is gone
            self._loop.call_soon_threadsafe(self.end, True)

    def end(self, is_set: bool) -> None:
        """End the waiting, if it has not ended: the time may be over, or the task cancelled."""
        if not self._future.done():
            self._future.set_result(is_set)

    @property
    def has_ended(self) -> bool:
        """Whether nobody waits any more."""
        return self._future.done()

    async def wait(self, seconds: float | None = None) -> bool:
        if seconds is not None:
            _deadlines(self._loop, seconds).add(self)
        return await self._future


class _Deadlines:
    """Ends the waiting of signals after so many seconds, with one timer for all of them.

    A timer for each would cost more than all the rest of its waiting. Those that wait end in the order in which they
    came, because all may wait equally long.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop, self._seconds = loop, seconds
        #: The signals that wait, and when they end. One that was set stays here until its time is over.
        self._waiting: deque[tuple[float, _AsyncioSignal]] = deque()

    def add(self, signal: _AsyncioSignal) -> None:
        """End the waiting of this signal in so many seconds."""
        ends_at = self._loop.time() + self._seconds
        if not self._waiting:
            self._loop.call_at(ends_at, self._end)
        self._waiting.append((ends_at, signal))

    def _end(self) -> None:
        waiting, now = self._waiting, self._loop.time()
        while waiting and (waiting[0][0] <= now or waiting[0][1].has_ended):
            waiting.popleft()[1].end(False)
        if waiting:
            self._loop.call_at(waiting[0][0], self._end)


class _OfThread(threading.local):
    """The deadlines of the event loop that runs in this thread, by their seconds. A thread runs one loop at a time."""

    loop: asyncio.AbstractEventLoop | None = None
    deadlines: dict[float, _Deadlines]


_of_thread = _OfThread()
#: For how many different numbers of seconds the deadlines of a loop are kept.
_MOST_DEADLINES = 64


def _deadlines(loop: asyncio.AbstractEventLoop, seconds: float) -> _Deadlines:
    if _of_thread.loop is not loop:
        _of_thread.loop, _of_thread.deadlines = loop, {}
    deadlines = _of_thread.deadlines.get(seconds)
    if deadlines is None:
        if len(_of_thread.deadlines) >= _MOST_DEADLINES:
            _of_thread.deadlines.clear()  # those that wait are held by their timers
        deadlines = _of_thread.deadlines[seconds] = _Deadlines(loop, seconds)
    return deadlines


class _TrioSignal:
    """For trio."""

    __slots__ = ("_event", "_finished", "_token")

    def __init__(self, trio: Any) -> None:
        self._event = anyio.Event()
        self._token: Any = trio.lowlevel.current_trio_token()
        self._finished: type[Exception] = trio.RunFinishedError

    def set(self) -> None:
        with suppress(self._finished):  # the loop has ended, and so has the task that waited
            self._token.run_sync_soon(self._event.set)

    async def wait(self, seconds: float | None = None) -> bool:
        with anyio.move_on_after(seconds):
            await self._event.wait()
        return self._event.is_set()


def make_signal() -> Signal:
    """A signal for a task of the event loop that is running in this thread."""
    if "trio" in sys.modules:
        trio: Any = sys.modules["trio"]
        # Another thread may be in the middle of importing trio: then its attributes are missing, and this is no trio
        # task.
        in_trio_task = getattr(getattr(trio, "lowlevel", None), "in_trio_task", None)
        if in_trio_task is not None and in_trio_task():
            return _TrioSignal(trio)
    return _AsyncioSignal(asyncio.get_running_loop())
