"""One fetch under way, for whoever waits for it, on whatever event loop."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable

import anyio

from authguard.concurrency.thread_pool import waker


class BackgroundFetch:
    """A fetch in a thread of its own, with a small event loop of its own.

    So it belongs to no request and to no loop of the app's: whoever began it may be cancelled, his loop may close (that
    of a ``TestClient`` does so after each request), and those who wait on other loops, or on trio, wait on. Names are
    looked up, TLS is set up and a thousand keys are read without a loop of the app's standing still. Not a synchronous
    client in the thread: that knows how long one read may take, and not how long the whole, so that a server that sends
    an octet every few seconds would hold it for ever.

    ``number`` tells flights of one source apart, ``began`` is when it did.
    """

    def __init__(self, number: int, began: float) -> None:
        self.number, self.began = number, began
        self._lock = threading.Lock()
        self._over = False
        self._waiting: set[Callable[[], None]] = set()

    def start(self, work: Callable[[], Awaitable[None]]) -> None:
        """Begins. ``work`` must raise nothing. Raises ``RuntimeError`` where the system has no thread left."""

        async def fly() -> None:
            try:
                await work()
            finally:
                # Before the loop is closed: a name server that does not answer holds a thread of its pool for longer
                # than anybody should wait.
                self.finish()

        # asyncio, whatever the app runs on: it is in the standard library, and httpx2 runs on it.
        threading.Thread(target=anyio.run, args=(fly,), name=f"authguard-keys-{self.number}", daemon=True).start()

    def finish(self) -> None:
        """Wakes all who wait."""
        with self._lock:
            self._over = True
            waiting, self._waiting = self._waiting, set()
        for wake in waiting:
            wake()

    async def wait(self) -> None:
        """Waits for the end, whatever it is. Who is cancelled takes nobody along."""
        done = anyio.Event()
        wake = waker(done)
        with self._lock:
            if self._over:
                return
            self._waiting.add(wake)
        try:
            await done.wait()
        finally:
            with self._lock:
                self._waiting.discard(wake)
