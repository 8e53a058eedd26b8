"""When each API key was last used, collected in memory and written to the store in batches."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import anyio

from authguard.accounts.api_key import LastUseStore
from authguard.concurrency.deadline import ask
from authguard.fork import ForkSafeLock, renew_after_fork
from authguard.model import Clock

_log = logging.getLogger("authguard")

#: The least time between two batches, in seconds.
BATCH_EVERY = 5.0
#: The least time between two uses of one key that are noted, in seconds by the clock of the guard. Each is written at
#: most ``BATCH_EVERY`` later, so a key is written at most once a minute.
NOTED_EVERY = 60.0 + BATCH_EVERY
#: How many keys are remembered as noted. Only keys that were accepted count, so a stranger adds none.
MOST_NOTED = 1_000_000


class LastUses:
    """The last uses of the keys of one store, which are written while no request waits for it.

    While the app runs, a task of the lifespan writes. An app without a lifespan starts a thread for each batch, with an
    event loop of its own. What was not written when the process ended, of the last five seconds, is lost; an app with a
    lifespan writes it at its end. ``clock`` is monotonic; ``deadline`` is how many seconds a batch may take.
    """

    def __init__(self, store: LastUseStore, *, deadline: float, clock: Clock = time.monotonic) -> None:
        self._store, self._deadline, self._clock = store, deadline, clock
        self._lock = ForkSafeLock()
        self._noted: dict[str, float] = {}
        self._failed = False
        self._written = 0
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Leave what was noted so far to the parent, which writes it."""
        self._pending: dict[str, float] = {}
        self._tasks = 0
        self._thread: threading.Thread | None = None
        self._next_batch = self._clock() + BATCH_EVERY

    def note(self, key_id: str, now: float) -> None:
        """Note that the key was used ``now``, in seconds since the epoch, unless that was noted a moment ago."""
        noted = self._noted.get(key_id)
        if noted is None or not 0 <= now - noted < NOTED_EVERY:
            with self._lock:
                if len(self._noted) >= MOST_NOTED:
                    self._noted.clear()
                self._noted[key_id] = self._pending[key_id] = now
        if not self._tasks and self._pending and self._clock() >= self._next_batch:
            self._write_in_thread()

    async def write(self) -> None:
        """Write what was noted since the last batch. A failure is logged once, and its uses go into the next batch."""
        with self._lock:
            batch, self._pending = self._pending, {}
            self._next_batch = self._clock() + BATCH_EVERY
        if not batch:
            return
        try:
            await ask(self._store.write_last_uses(batch), self._deadline)
        except BaseException as error:  # whatever fails, the keys are good
            with self._lock:
                self._pending = {**batch, **self._pending}
            if not isinstance(error, Exception):
                raise  # cancelled, at the end of the app, which writes once more
            if not self._failed:
                with suppress(Exception):  # a logging filter or handler of the app may raise
                    _log.error("the last uses of API keys cannot be written: %s", type(error).__qualname__)
            self._failed = True
        else:
            self._written += len(batch)
            if self._failed:
                with suppress(Exception):
                    _log.warning("the last uses of API keys are written again")
            self._failed = False

    def _write_in_thread(self) -> None:
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            self._next_batch = self._clock() + BATCH_EVERY
            thread = self._thread = threading.Thread(
                target=anyio.run, args=(self.write,), name="authguard-last-uses", daemon=True
            )
            with suppress(RuntimeError):  # the system has no thread left; the key is good, and the next use tries again
                thread.start()

    @asynccontextmanager
    async def running(self, clock: Clock) -> AsyncIterator[None]:
        """Write a batch every five seconds, and what is left at the end."""
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._write_regularly)
            self._tasks += 1
            try:
                yield
            except Exception as error:  # noqa: BLE001 - raised below, because the task group would put it into a group
                failure = error
            finally:
                self._tasks -= 1
                tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await self.write()
        if failure is not None:
            raise failure

    async def _write_regularly(self) -> None:
        while True:
            await anyio.sleep(BATCH_EVERY)
            await self.write()

    def health(self) -> Mapping[str, object]:
        """How many last uses were written, how many wait, and whether the last batch failed."""
        return {"last_uses_written": self._written, "last_uses_waiting": len(self._pending), "failed": self._failed}
