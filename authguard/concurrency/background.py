"""A fetch in a thread of its own, for which tasks on any event loop can wait."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable

import anyio

from authguard.concurrency.signal import Signal, make_signal
from authguard.fork import renew_after_fork


class BackgroundFetch:
    """One fetch, in a thread of its own and on an asyncio event loop of its own.

    It belongs to no request and to no event loop of the app. The request that started it may be cancelled, and its
    event loop may be closed (``TestClient`` does so after each request): tasks on other loops, asyncio or trio, go on
    waiting for the same fetch. Name look-ups, TLS set-up and parsing a thousand keys do not block a loop of the app.

    A synchronous client in the thread would not do: it limits the time of each read and not of the whole fetch, so that
    a server that sends one byte every few seconds could hold it for ever.

    ``number`` counts the fetches of one source. ``started_at`` is the reading of that source's clock at the start.
    """

    def __init__(self, number: int, started_at: float) -> None:
        self.number, self.started_at = number, started_at
        self._finished = False
        self._waiting: set[Signal] = set()
        self._lock = threading.Lock()
        renew_after_fork(self)

    def renew(self) -> None:
        """Count as finished: a forked child has no copy of the thread."""
        self._lock = threading.Lock()
        self._finished = True
        self._waiting = set()

    def start(self, work: Callable[[], Awaitable[None]]) -> None:
        """Start the thread. ``work`` must not raise. Raises ``RuntimeError`` if the system has no thread left."""

        async def run() -> None:
            try:
                await work()
            finally:
                # Before the loop is closed: closing it waits for a name look-up that hangs in a thread of the loop.
                self.finish()

        # asyncio, even if the app runs on trio: it is in the standard library, and httpx2 runs on it.
        threading.Thread(target=anyio.run, args=(run,), name=f"authguard-keys-{self.number}", daemon=True).start()

    def finish(self) -> None:
        """Wake all tasks that wait for the fetch."""
        with self._lock:
            self._finished = True
            waiting, self._waiting = self._waiting, set()
        for signal in waiting:
            signal.set()

    async def wait(self) -> None:
        """Wait for the fetch to finish. Cancelling one waiter does not cancel the fetch for the others."""
        finished = make_signal()
        with self._lock:
            if self._finished:
                return
            self._waiting.add(finished)
        try:
            await finished.wait()
        finally:
            with self._lock:
                self._waiting.discard(finished)
