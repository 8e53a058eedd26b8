"""A thread pool for work that takes long, such as password hashing, with fair and bounded queues and a deadline.

The worker threads that anyio shares would not do: forty hashes at once leave no processor to the event loop, and the
blocking calls of the app would queue behind passwords.
"""

from __future__ import annotations

import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Hashable, Sequence
from dataclasses import field
from typing import Any, Generic, TypeVar, cast

from authguard.concurrency.fair_queue import FairQueue
from authguard.concurrency.signal import make_signal
from authguard.errors import BackendUnavailable
from authguard.fork import renew_after_fork
from authguard.model import Clock
from authguard.reasons import HASHING_BUSY
from authguard.validation import check_int, check_seconds
from authguard.value_types import mutable, value

T = TypeVar("T")


def spare_cores() -> int:
    """The number of processors that this process may use, less one for the event loop; at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return max(1, cores - 1)


#: While calls wait in both lanes, so many of known callers begin in a row, and then one of the others.
KNOWN_IN_A_ROW = 3
#: How much one call changes the average duration of a call.
WEIGHT = 1 / 8
#: The longest ``Retry-After`` of a refused call, in seconds.
LONGEST_RETRY = 60


@value
class Caller:
    """For whom a ``ThreadPool`` runs a call. It decides when the call has its turn.

    ``known``: whether somebody has logged in to the account from the network before. Names can be invented and networks
    can be many, but only an owner can make this true.
    """

    network: str | None = None
    account: str | None = None
    known: bool = False


ANYBODY = Caller()


@mutable
class _Job(Generic[T]):
    """One call for a thread, and its result or its error. ``end_by`` is when its caller stops waiting."""

    work: Callable[[], T] = field(repr=False)
    wake: Callable[[], None] = field(repr=False)
    caller: Caller = ANYBODY
    end_by: float = math.inf
    waiting: bool = False
    result: T | None = field(default=None, repr=False)
    error: BaseException | None = field(default=None, repr=False)

    def take_work(self) -> Callable[[], T]:
        """The work, which the job forgets: a traceback that outlives the request may hold the job."""
        work = self.work
        del self.work
        return work

    def refuse(self, error: BackendUnavailable) -> None:
        """End with this error and without a call. The job is in no queue any more."""
        self.take_work()
        self.error = error
        self.wake()


@mutable
class _Lane:
    """Jobs that wait, at most ``most``. Networks take turns, and in each network its accounts do."""

    most: int
    jobs: FairQueue[_Job[Any]] = field(default_factory=FairQueue)

    def __len__(self) -> int:
        return len(self.jobs)

    def ahead(self, caller: Caller) -> int:
        """How many jobs of this lane would begin before a new one."""
        return self.jobs.ahead(_path(caller))

    def displaceable(self, caller: Caller) -> _Job[Any] | None:
        """The job that has to leave a full lane for one of this caller, because its network or account has more."""
        return self.jobs.displaceable(_path(caller))

    def push(self, job: _Job[Any]) -> None:
        """Let the job wait."""
        caller = job.caller
        self.jobs.push((caller.network, caller.account), job)
        job.waiting = True

    def pop(self) -> _Job[Any]:
        """Take the job whose turn it is."""
        job = self.jobs.pop()
        job.waiting = False
        return job

    def remove(self, job: _Job[Any]) -> None:
        """Take out this job."""
        self.jobs.remove(_path(job.caller), job)
        job.waiting = False


def _path(caller: Caller) -> Sequence[Hashable]:
    return caller.network, caller.account


@mutable
class _Queue:
    """State that a pool shares with its threads. They do not hold the pool, so that they end when it is collected.

    ``changed`` is the lock of all of it.
    """

    threads: int
    known: _Lane
    strangers: _Lane
    deadline: float
    clock: Clock
    changed: threading.Condition = field(default_factory=threading.Condition)
    working: int = 0
    closed: bool = False
    #: How many jobs of known callers began in a row while strangers waited.
    known_in_a_row: int = 0
    #: The exponentially weighted average duration of a job in seconds; None before the first one has ended.
    average: float | None = None

    def lane(self, caller: Caller) -> _Lane:
        """The lane in which this caller waits."""
        return self.known if caller.known else self.strangers

    @property
    def waiting(self) -> int:
        """The number of jobs that wait in both lanes."""
        return self.known.jobs.size + self.strangers.jobs.size

    def full(self, lane: _Lane) -> bool:
        """Whether a job has to leave this lane before another one can come. What a thread is about to take is gone."""
        return lane.jobs.size >= lane.most + self.threads - self.working

    def expected(self, caller: Caller) -> float:
        """In how many seconds a new job of this caller would end, as far as is known now."""
        if self.average is None or self.waiting < self.threads - self.working:
            return 0.0
        ahead = self.lane(caller).ahead(caller)
        if caller.known:
            ahead += min(self.strangers.jobs.size, (ahead + self.known_in_a_row) // KNOWN_IN_A_ROW)
        else:
            ahead += min(self.known.jobs.size, (ahead + 1) * KNOWN_IN_A_ROW - self.known_in_a_row)
        # Threads that are about to take their next job do not have to end one first. Of those that work, one ends
        # after half a job, on average.
        ahead -= self.threads - self.working
        return self.average * (1 + max(ahead + 0.5, 0.0) / self.threads)

    def has_room(self, lane: _Lane) -> bool:
        """Whether a new job may wait in this lane, whoever is its caller: it would end in time as the last of all.

        So it need not be counted how many come before it, which takes long in a long queue.
        """
        if lane.jobs.size >= lane.most:
            return False
        average, waiting = self.average, self.known.jobs.size + self.strangers.jobs.size
        return average is None or average * (1 + (waiting + 0.5) / self.threads) <= self.deadline

    def refusal(self, caller: Caller) -> BackendUnavailable | None:
        """Why a new job of this caller is refused; None if it may wait."""
        lane, expected = self.lane(caller), self.expected(caller)
        if expected > self.deadline:
            return _busy(f"it would take {expected:.1f} s, which is longer than the deadline", expected)
        if self.full(lane) and lane.displaceable(caller) is None:
            return _busy(f"the queue is full, with {lane.jobs.size} waiting", expected)
        return None

    def admit(self, job: _Job[Any]) -> None:
        """Let the job wait, or give it the error with which it is refused."""
        caller = job.caller
        lane = self.lane(caller)
        if not self.has_room(lane):
            job.error = self.refusal(caller)
            if job.error is not None:
                job.take_work()
                return
            if self.full(lane) and (displaced := lane.displaceable(caller)) is not None:
                lane.remove(displaced)
                displaced.refuse(_busy("the queue is full, and others have fewer calls in it", self.average or 0.0))
        lane.push(job)
        if self.working < self.threads:  # otherwise no thread waits for it
            if self.waiting <= self.threads - self.working:
                job.end_by = math.inf  # it begins now, however long such jobs took before
            self.changed.notify()

    def next_job(self) -> _Job[Any] | None:
        """The next job that can end in time; None if none waits. A job that would end too late is refused."""
        while self.known or self.strangers:
            in_turn = self.known_in_a_row < KNOWN_IN_A_ROW or not self.strangers
            lane = self.known if self.known and in_turn else self.strangers
            job = lane.pop()
            if self.average is not None and self.clock() + self.average > job.end_by:
                job.refuse(_busy("too little time is left to verify the password", self.average))
                continue
            self.known_in_a_row = self.known_in_a_row + 1 if lane is self.known and self.strangers else 0
            return job
        return None

    def measured(self, seconds: float) -> None:
        """Count the duration of a job in the average. Longer than the deadline makes no difference."""
        seconds = min(seconds, self.deadline)
        self.average = seconds if self.average is None else self.average + (seconds - self.average) * WEIGHT

    def run_jobs(self) -> None:
        """The main loop of a thread: run jobs until the queue is closed and empty."""
        while True:
            with self.changed:
                while (job := self.next_job()) is None:
                    if self.closed:
                        return
                    self.changed.wait()
                work = job.take_work()
                self.working += 1
            began = self.clock()
            try:
                job.result = work()
            except BaseException as error:  # noqa: BLE001 - run() raises it for the caller
                job.error = error
            with self.changed:
                self.measured(self.clock() - began)
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


def _busy(detail: str, expected: float) -> BackendUnavailable:
    """The refusal of a job that might be done in so many seconds (0: nobody knows)."""
    retry_after = min(math.ceil(expected), LONGEST_RETRY) if expected > 0 else None
    return BackendUnavailable(detail, reason=HASHING_BUSY, retry_after=retry_after)


class ThreadPool:
    """Runs calls in ``threads`` threads. Each call waits for at most ``deadline`` seconds.

    The calls of *known* callers wait in one lane, those of all others in a second one, at most ``waiting`` in each. The
    first lane goes before the second, which still gives every fourth call. In both lanes the networks take turns, and
    in each network its accounts do, so that nobody is served later for the sake of somebody who asks for more.

    A call is refused at once if it would end after its deadline, judged by the average duration of a call, or if its
    lane is full; but a caller whose network has fewer calls in the lane takes the place of the last call of the network
    with the most. A call that could not end in time any more is refused and not begun.

    It belongs to no event loop: callers on asyncio and on trio, on one loop or on several, share it. The daemon threads
    start with ``start()`` or the first call, and end with the pool. Raises ``ConfigurationError``.
    """

    def __init__(
        self,
        *,
        threads: int | None = None,
        waiting: int = 64,
        deadline: float = 5.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self.threads = check_int("threads", spare_cores() if threads is None else threads, least=1, most=64)
        self.waiting = check_int("waiting", waiting, least=1, most=10_000)
        self._deadline = check_seconds("deadline", deadline, most=60)
        self._clock = clock
        self._reset()
        renew_after_fork(self)

    def _reset(self) -> None:
        lanes = _Lane(self.waiting), _Lane(self.waiting)
        self._queue = _Queue(self.threads, *lanes, self._deadline, self._clock)
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
        """Figures for an operator.

        ``threads``, of which so many are ``working``; how many calls are ``waiting``, and how many of these are of
        known callers (``waiting_known``); how many may wait in each lane (``most_waiting``); and the average duration
        of a call (``average_seconds``; None before the first).
        """
        queue = self._queue
        with queue.changed:
            known, strangers, average = len(queue.known), len(queue.strangers), queue.average
        return {
            "threads": self.threads,
            "working": self.working,
            "waiting": known + strangers,
            "waiting_known": known,
            "most_waiting": self.waiting,
            "average_seconds": None if average is None else round(average, 4),
        }

    def check(self, caller: Caller) -> None:
        """Raise ``BackendUnavailable`` if ``run`` would refuse a call of this caller at once."""
        queue = self._queue
        if queue.has_room(queue.lane(caller)):  # without the lock: the answer is only about this moment
            return
        with queue.changed:
            refusal = queue.refusal(caller)
        if refusal is not None:
            raise refusal

    async def run(self, work: Callable[[], T], caller: Caller = ANYBODY) -> T:
        """What ``work`` returns or raises. Raises ``BackendUnavailable`` if it is refused or its deadline is over.

        If the caller is cancelled it does not wait for the thread. Work that has not begun is then dropped.
        """
        if self._started < self.threads:
            self.start()
        signal = make_signal()
        job: _Job[T] = _Job(work, signal.set, caller, self._clock() + self._deadline)
        del work  # a traceback that shows locals would show the repr of a partial, with a password
        queue = self._queue
        with queue.changed:
            queue.admit(job)
        is_refused, is_done = job.error is not None, False
        try:
            is_done = not is_refused and await signal.wait(self._deadline)
        finally:
            if not (is_refused or is_done):
                with queue.changed:
                    if job.waiting:
                        queue.lane(caller).remove(job)
                        job.take_work()
        try:
            if job.error is not None:
                raise job.error
            if not is_done:
                raise BackendUnavailable(f"no answer within {self._deadline:g} s", reason=HASHING_BUSY)
            return cast("T", job.result)
        finally:
            del job  # it holds the error, whose traceback holds this frame: this cycle would keep a password in memory
