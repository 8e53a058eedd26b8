"""A few threads of our own for work that takes long, with a queue that is bounded and a wait that ends.

anyio's shared threads would not do: forty hashes at once leave the event loop no processor, and an app's own blocking
calls would queue behind passwords.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

import anyio

from authguard.errors import BackendUnavailable
from authguard.fork import renew_after_fork
from authguard.reasons import HASHING_BUSY
from authguard.validation import check_int, check_seconds

T = TypeVar("T")


def spare_cores() -> int:
    """As many threads as processors that this process may use, less the one that the event loop needs."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return max(1, cores - 1)


@dataclass(slots=True, eq=False)
class _Job(Generic[T]):
    work: Callable[[], T] = field(repr=False)
    wake: Callable[[], None] = field(repr=False)
    result: T | None = field(default=None, repr=False)
    error: BaseException | None = field(default=None, repr=False)

    def taken(self) -> Callable[[], T]:
        """The work, which the job forgets: a traceback that outlives the request may hold the job."""
        work = self.work
        del self.work
        return work


@dataclass(slots=True, eq=False)
class _Queue:
    """What a pool and its threads share. The threads do not know the pool, so that they end when it is gone."""

    jobs: deque[_Job[Any]] = field(default_factory=deque)
    changed: threading.Condition = field(default_factory=threading.Condition)
    working: int = 0
    over: bool = False

    def serve(self) -> None:
        while True:
            with self.changed:
                while not self.jobs:
                    if self.over:
                        return
                    self.changed.wait()
                job = self.jobs.popleft()
                work = job.taken()
                self.working += 1
            try:
                job.result = work()
            except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits for it
                job.error = error
            with self.changed:
                self.working -= 1
            # A thread that waits holds nothing of a password, and lets go of it before the caller goes on.
            wake = job.wake
            del job, work
            wake()
            del wake

    def end(self) -> None:
        with self.changed:
            self.over = True
            self.changed.notify_all()


class Pool:
    """``threads`` that take jobs off a queue of at most ``waiting``; who waits over ``deadline`` seconds is refused.

    It belongs to no event loop: callers on asyncio and on trio, on one loop or on several, share it. The threads start
    with ``start()`` or the first job, are daemons, and end with the pool. Raises ``ConfigurationError``.
    """

    def __init__(self, *, threads: int | None = None, waiting: int = 64, deadline: float = 5.0) -> None:
        self.threads = check_int("threads", spare_cores() if threads is None else threads, least=1, most=64)
        self.waiting = check_int("waiting", waiting, least=1, most=10_000)
        self._deadline = check_seconds("deadline", deadline, most=60)
        self._begin()
        renew_after_fork(self)

    def _begin(self) -> None:
        self._queue = _Queue()
        self._started = 0
        self._end = weakref.finalize(self, self._queue.end)

    def renew(self) -> None:
        """Begins with an empty queue and no threads, as a fork must: its parent's threads and locks are not its own."""
        self._end.detach()
        self._begin()

    def start(self) -> None:
        """Starts the threads that do not run yet."""
        queue = self._queue
        with queue.changed:
            while self._started < self.threads:
                threading.Thread(target=queue.serve, name=f"authguard-{self._started}", daemon=True).start()
                self._started += 1

    @property
    def working(self) -> int:
        """How many threads are at work."""
        return self._queue.working

    def health(self) -> dict[str, object]:
        """How many threads there are and work, and how many jobs wait for one."""
        waiting = len(self._queue.jobs)
        return {"threads": self.threads, "working": self.working, "waiting": waiting, "most_waiting": self.waiting}

    async def run(self, work: Callable[[], T]) -> T:
        """What ``work`` returns or raises. ``BackendUnavailable`` where the queue is full or the wait too long.

        A caller that is cancelled leaves at once, and takes its job along if that has not begun.
        """
        self.start()
        done = anyio.Event()
        job: _Job[T] = _Job(work, waker(done))
        del work  # the repr of a partial shows its arguments, to whoever shows the locals of a traceback
        queue = self._queue
        with queue.changed:
            if len(queue.jobs) >= self.waiting:
                raise BackendUnavailable("the queue is full", reason=HASHING_BUSY)
            queue.jobs.append(job)
            queue.changed.notify()
        try:
            with anyio.move_on_after(self._deadline):
                await done.wait()
        finally:
            if not done.is_set():  # what was served is in no queue, however long it would be searched
                with queue.changed, suppress(ValueError):
                    queue.jobs.remove(job)
                    job.taken()
        try:
            if job.error is not None:
                raise job.error
            if not done.is_set():
                raise BackendUnavailable(f"no answer within {self._deadline:g} s", reason=HASHING_BUSY)
            return cast("T", job.result)
        finally:
            del job  # it holds the error, whose traceback holds this frame: a ring that would keep a password


def waker(done: anyio.Event) -> Callable[[], None]:
    """Sets the event from another thread, in the event loop that waits for it. Called where one runs."""
    trio: Any = sys.modules.get("trio")
    # Another thread may be importing it at this moment; who runs on it has it whole.
    in_trio_task = getattr(getattr(trio, "lowlevel", None), "in_trio_task", None)
    if in_trio_task is not None and in_trio_task():
        token = trio.lowlevel.current_trio_token()

        def wake_trio() -> None:
            with suppress(trio.RunFinishedError):  # the loop is over, and with it whoever waited
                token.run_sync_soon(done.set)

        return wake_trio
    loop = asyncio.get_running_loop()

    def wake_loop() -> None:
        with suppress(RuntimeError):  # the loop is closed, and with it whoever waited
            loop.call_soon_threadsafe(done.set)

    return wake_loop
