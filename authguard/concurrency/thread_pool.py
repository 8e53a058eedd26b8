"""A thread pool for work that takes long, such as password hashing, with a bounded queue and a deadline.

The worker threads that anyio shares would not do: forty hashes at once leave no processor to the event loop, and the
blocking calls of the app would queue behind passwords.
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
    """The number of processors that this process may use, less one for the event loop; at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return max(1, cores - 1)


@dataclass(slots=True, eq=False)
class _Job(Generic[T]):
    """One call for a thread, and its result or its error."""

    work: Callable[[], T] = field(repr=False)
    wake: Callable[[], None] = field(repr=False)
    result: T | None = field(default=None, repr=False)
    error: BaseException | None = field(default=None, repr=False)

    def take_work(self) -> Callable[[], T]:
        """The work, which the job forgets: a traceback that outlives the request may hold the job."""
        work = self.work
        del self.work
        return work


@dataclass(slots=True, eq=False)
class _Queue:
    """State that a pool shares with its threads. They do not hold the pool, so that they end when it is collected."""

    jobs: deque[_Job[Any]] = field(default_factory=deque)
    changed: threading.Condition = field(default_factory=threading.Condition)
    working: int = 0
    closed: bool = False

    def run_jobs(self) -> None:
        """The main loop of a thread: run jobs until the queue is closed and empty."""
        while True:
            with self.changed:
                while not self.jobs:
                    if self.closed:
                        return
                    self.changed.wait()
                job = self.jobs.popleft()
                work = job.take_work()
                self.working += 1
            try:
                job.result = work()
            except BaseException as error:  # noqa: BLE001 - run() raises it for the caller
                job.error = error
            with self.changed:
                self.working -= 1
            # Drop the job before the caller goes on, and before waiting for the next one: it may hold a password.
            wake = job.wake
            del job, work
            wake()
            del wake

    def close(self) -> None:
        """Let the threads end."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()


class ThreadPool:
    """Runs calls in ``threads`` threads, with a queue of ``waiting``. A caller waits ``deadline`` seconds at most.

    It belongs to no event loop: callers on asyncio and on trio, on one loop or on several, share it. The daemon threads
    start with ``start()`` or the first call, and end with the pool. Raises ``ConfigurationError``.
    """

    def __init__(self, *, threads: int | None = None, waiting: int = 64, deadline: float = 5.0) -> None:
        self.threads = check_int("threads", spare_cores() if threads is None else threads, least=1, most=64)
        self.waiting = check_int("waiting", waiting, least=1, most=10_000)
        self._deadline = check_seconds("deadline", deadline, most=60)
        self._reset()
        renew_after_fork(self)

    def _reset(self) -> None:
        self._queue = _Queue()
        self._started = 0
        self._close = weakref.finalize(self, self._queue.close)

    def renew(self) -> None:
        """Start with an empty queue, a new lock and no threads: a forked child has no copy of its parent's threads."""
        self._close.detach()
        self._reset()

    def start(self) -> None:
        """Start the threads that are not running yet."""
        queue = self._queue
        with queue.changed:
            while self._started < self.threads:
                threading.Thread(target=queue.run_jobs, name=f"authguard-{self._started}", daemon=True).start()
                self._started += 1

    @property
    def working(self) -> int:
        """The number of threads that are running a call."""
        return self._queue.working

    def health(self) -> dict[str, object]:
        """``threads``, of which so many are ``working``; ``waiting`` calls, of at most ``most_waiting``."""
        waiting = len(self._queue.jobs)
        return {"threads": self.threads, "working": self.working, "waiting": waiting, "most_waiting": self.waiting}

    async def run(self, work: Callable[[], T]) -> T:
        """What ``work`` returns or raises. Raises ``BackendUnavailable`` if the queue is full or the deadline is over.

        If the caller is cancelled it does not wait for the thread. Work that has not begun is then dropped.
        """
        self.start()
        done = anyio.Event()
        job: _Job[T] = _Job(work, waker(done))
        del work  # a traceback that shows locals would show the repr of a partial, with a password
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
            if not done.is_set():  # a job that is done is no longer in the queue: do not search it
                with queue.changed, suppress(ValueError):
                    queue.jobs.remove(job)
                    job.take_work()
        try:
            if job.error is not None:
                raise job.error
            if not done.is_set():
                raise BackendUnavailable(f"no answer within {self._deadline:g} s", reason=HASHING_BUSY)
            return cast("T", job.result)
        finally:
            del job  # it holds the error, whose traceback holds this frame: this cycle would keep a password in memory


def waker(done: anyio.Event) -> Callable[[], None]:
    """A function that sets ``done`` from any thread. Call ``waker`` on the event loop that waits for ``done``."""
    trio: Any = sys.modules.get("trio")
    # Another thread may be in the middle of importing trio: then its attributes are missing, and this is no trio task.
    in_trio_task = getattr(getattr(trio, "lowlevel", None), "in_trio_task", None)
    if in_trio_task is not None and in_trio_task():
        token = trio.lowlevel.current_trio_token()

        def wake_trio() -> None:
            with suppress(trio.RunFinishedError):  # the loop has ended, and so has the task that waited
                token.run_sync_soon(done.set)

        return wake_trio
    loop = asyncio.get_running_loop()

    def wake_loop() -> None:
        with suppress(RuntimeError):  # the loop is closed, and the task that waited is gone
            loop.call_soon_threadsafe(done.set)

    return wake_loop
