"""The thread pool: its queue, its deadline, cancellation, forks, and that it keeps no passwords."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import traceback
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from types import ModuleType
from typing import Any

import anyio
import pytest

from authguard.concurrency import thread_pool as pool_module
from authguard.concurrency.thread_pool import ThreadPool, spare_cores
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.reasons import HASHING_BUSY
from tests.support.forks import held_by_another_thread, needs_fork, run_in_child

PASSWORD = "correct horse battery"


class BlockingJob:
    """A job that does not end before it is released."""

    def __init__(self) -> None:
        self.runs = 0
        self._released = threading.Event()

    def __call__(self) -> int:
        self.runs += 1
        assert self._released.wait(30)
        return self.runs

    def release(self) -> None:
        self._released.set()


@pytest.fixture(name="blocking_job")
def _blocking_job() -> Iterator[BlockingJob]:
    blocking_job = BlockingJob()
    yield blocking_job
    blocking_job.release()


async def _until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(120):
        while not holds():
            await anyio.lowlevel.checkpoint()


def _waiting(pool: ThreadPool) -> object:
    return pool.health()["waiting"]


@asynccontextmanager
async def _held(pool: ThreadPool, blocking_job: BlockingJob) -> AsyncIterator[None]:
    """Keep the pool's only thread busy with this job, and release it at the end."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pool.run, blocking_job)
        await _until(lambda: blocking_job.runs == 1)
        yield
        blocking_job.release()


async def test_what_the_job_returns_is_returned() -> None:
    """The caller gets the job's value, and the job ran in a thread of the pool."""
    thread = await ThreadPool(threads=1, deadline=60).run(threading.current_thread)

    assert thread is not threading.current_thread()
    assert thread.name == "authguard-0"
    assert thread.daemon


@pytest.mark.parametrize("error", [ValueError("odd"), TimeoutError("its own"), SystemExit(3)])
async def test_what_the_job_raises_is_raised_at_the_caller(error: BaseException) -> None:
    """An error of any kind in the job is raised at the caller, and the thread goes on."""
    pool = ThreadPool(threads=1, deadline=60)

    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await pool.run(fail)

    assert caught.value is error
    assert await pool.run(lambda: 1) == 1


async def test_so_many_jobs_run_at_once_as_there_are_threads() -> None:
    """Two threads run two jobs at the same time, and a third job waits."""
    pool = ThreadPool(threads=2)
    jobs = [BlockingJob(), BlockingJob(), BlockingJob()]
    health = {}

    async with anyio.create_task_group() as tasks:
        for blocking_job in jobs:
            tasks.start_soon(pool.run, blocking_job)
        await _until(lambda: pool.working == 2)
        health = pool.health()
        for blocking_job in jobs:
            blocking_job.release()

    figures = ("threads", "working", "waiting", "waiting_known", "most_waiting")
    assert [health[name] for name in figures] == [2, 2, 1, 0, 64]
    assert [pool.health()[name] for name in figures] == [2, 0, 0, 0, 64]


async def test_a_full_queue_refuses_at_once(blocking_job: BlockingJob) -> None:
    """A caller that finds the queue full is refused, and those that wait keep their places."""
    pool = ThreadPool(threads=1, deadline=60, waiting=2)
    results: list[int] = []

    async def add(number: int) -> None:
        results.append(await pool.run(lambda: number))

    async with _held(pool, blocking_job), anyio.create_task_group() as tasks:
        tasks.start_soon(add, 1)
        tasks.start_soon(add, 2)
        await _until(lambda: _waiting(pool) == 2)

        with pytest.raises(BackendUnavailable) as caught:
            await pool.run(lambda: 3)
        assert caught.value.reason is HASHING_BUSY
        blocking_job.release()

    assert sorted(results) == [1, 2]


async def test_waiting_beyond_the_deadline_is_refused(blocking_job: BlockingJob) -> None:
    """At the deadline the caller learns that the pool is busy, and its place in the queue is free again."""
    pool = ThreadPool(threads=1, deadline=60)
    job = BlockingJob()

    async with _held(pool, blocking_job):
        pool._deadline = 0.01
        with pytest.raises(BackendUnavailable) as caught:
            await pool.run(job)
        left = _waiting(pool)
    await _until(lambda: not pool.working)

    assert caught.value.reason is HASHING_BUSY
    assert left == 0
    assert job.runs == 0


async def test_cancelling_a_caller_removes_its_waiting_job(blocking_job: BlockingJob) -> None:
    """A cancelled caller frees its place in the queue, and its password is never hashed."""
    pool = ThreadPool(threads=1, deadline=60, waiting=1)
    job = BlockingJob()

    async with _held(pool, blocking_job):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.run, job)
            await _until(lambda: _waiting(pool) == 1)
            tasks.cancel_scope.cancel()
        left = _waiting(pool)
    await _until(lambda: not pool.working)

    assert left == 0
    assert job.runs == 0


async def test_a_caller_that_is_cancelled_does_not_wait_for_its_job(blocking_job: BlockingJob) -> None:
    """A job that has begun runs to its end, and its cancelled caller does not wait for it."""
    pool = ThreadPool(threads=1, deadline=60)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pool.run, blocking_job)
        await _until(lambda: blocking_job.runs == 1)
        tasks.cancel_scope.cancel()
    working = pool.working
    blocking_job.release()

    assert working == 1
    assert await pool.run(lambda: 1) == 1


def test_loops_of_both_kinds_share_a_pool() -> None:
    """Callers on asyncio and on trio, in two threads, each get their own results."""
    pool = ThreadPool(threads=2)
    results: dict[str, list[int]] = {"asyncio": [], "trio": []}
    together = threading.Barrier(2)

    async def ask(backend: str, number: int) -> None:
        results[backend].append(await pool.run(lambda: number))

    async def burst(backend: str) -> None:
        together.wait(30)
        async with anyio.create_task_group() as tasks:
            for number in range(30):
                tasks.start_soon(ask, backend, number)

    threads = [threading.Thread(target=anyio.run, args=(burst, name), kwargs={"backend": name}) for name in results]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert {name: sorted(numbers) for name, numbers in results.items()} == {
        "asyncio": list(range(30)),
        "trio": list(range(30)),
    }


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_job_may_outlive_the_loop_of_its_caller(backend: str, blocking_job: BlockingJob) -> None:
    """A job whose event loop has ended does not harm the thread, which serves the next loop."""
    pool = ThreadPool(threads=1, deadline=60)

    async def leave() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.run, blocking_job)
            await _until(lambda: blocking_job.runs == 1)
            tasks.cancel_scope.cancel()

    anyio.run(leave, backend=backend)
    blocking_job.release()

    assert anyio.run(pool.run, lambda: 1, backend=backend) == 1


def test_trio_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """An app on asyncio does not need trio."""
    monkeypatch.delitem(sys.modules, "trio")

    assert anyio.run(ThreadPool(threads=1, deadline=60).run, lambda: 1) == 1


def _ours() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("authguard-")}


def test_the_threads_start_once() -> None:
    """``start`` starts the missing threads, and no more when it is called again or a job arrives."""
    before = _ours()
    pool = ThreadPool(threads=3)

    pool.start()
    started = _ours() - before
    pool.start()
    anyio.run(pool.run, lambda: 1)

    assert len(started) == 3
    assert _ours() - before == started


def test_the_threads_end_with_the_pool() -> None:
    """A pool without references leaves no thread behind."""
    before = _ours()
    pool = ThreadPool(threads=2)
    pool.start()
    started = _ours() - before

    del pool
    gc.collect()
    for thread in started:
        thread.join(30)

    assert len(started) == 2
    assert [thread for thread in started if thread.is_alive()] == []


@contextmanager
def _refcounts_alone() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Password:
    def fits(self) -> bool:
        return True

    def raises(self) -> None:
        raise ValueError


def _asking(ask: str, made: list[weakref.ref[Password]]) -> Callable[[], object]:
    password = Password()
    made.append(weakref.ref(password))
    work: Callable[[], object] = getattr(password, ask)
    return work


async def _run(pool: ThreadPool, ask: str) -> weakref.ref[Password]:
    references: list[weakref.ref[Password]] = []
    with suppress(ValueError, BackendUnavailable):
        await pool.run(_asking(ask, references))
    return references[0]


@pytest.mark.parametrize("ask", ["fits", "raises"])
async def test_an_idle_thread_holds_nothing_of_a_job(ask: str) -> None:
    """After the caller has its result or error, nothing references the password, not even a reference cycle."""
    with _refcounts_alone():
        password = await _run(ThreadPool(threads=1, deadline=60), ask)

        assert password() is None


def test_a_thread_drops_a_job_before_its_caller_continues() -> None:
    """When the caller wakes up, neither the thread nor the job still references the work."""
    pool = ThreadPool(threads=1)
    queue = pool._queue
    queue.close()
    references: list[weakref.ref[Password]] = []
    held: list[bool] = []
    job = pool_module._Job(_asking("fits", references), lambda: held.append(references[0]() is not None))
    with queue.changed:
        queue.admit(job)

    with _refcounts_alone():
        queue.run_jobs()

    assert job.result is True
    assert held == [False]


async def test_a_job_whose_caller_was_cancelled_is_not_held(blocking_job: BlockingJob) -> None:
    """The frames of a cancellation do not reference the password."""
    pool = ThreadPool(threads=1, deadline=60)
    references: list[weakref.ref[Password]] = []
    held: list[bool] = []

    async def leave() -> None:
        try:
            await pool.run(_asking("fits", references))
        except anyio.get_cancelled_exc_class():
            held.append(references[0]() is not None)
            raise

    async with _held(pool, blocking_job), anyio.create_task_group() as tasks:
        tasks.start_soon(leave)
        await _until(lambda: _waiting(pool) == 1)
        with _refcounts_alone():
            tasks.cancel_scope.cancel()
            await _until(lambda: held != [])

    assert held == [False]


async def test_a_job_that_was_refused_is_not_held(blocking_job: BlockingJob) -> None:
    """The password of a refused job is not referenced after its request."""
    pool = ThreadPool(threads=1, deadline=60)

    async with _held(pool, blocking_job):
        pool._deadline = 0.01
        with _refcounts_alone():
            password = await _run(pool, "fits")

            assert password() is None


async def test_a_traceback_with_locals_shows_no_password(blocking_job: BlockingJob) -> None:
    """A traceback with local variables shows neither the job nor its arguments."""
    pool = ThreadPool(threads=1, deadline=60)
    shown = ""

    async with _held(pool, blocking_job):
        pool._deadline = 0.01
        try:
            await pool.run(partial(str, PASSWORD))
        except BackendUnavailable as error:
            shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())

    assert "queue = " in shown
    assert PASSWORD not in shown


@needs_fork
def test_a_fork_has_a_pool_of_its_own(blocking_job: BlockingJob) -> None:
    """A forked child has threads of its own, even if its parent's were busy and one of them held the lock."""
    pool = ThreadPool(threads=1, deadline=60)
    parent = threading.Thread(target=anyio.run, args=(pool.run, blocking_job))
    parent.start()
    anyio.run(_until, lambda: blocking_job.runs == 1)

    with held_by_another_thread(pool._queue.changed):
        answer = run_in_child(lambda: (anyio.run(pool.run, os.getpid) == os.getpid(), _waiting(pool)))
    blocking_job.release()
    parent.join(30)

    assert answer == "(True, 0)"


def test_a_renewed_pool_has_an_empty_queue_and_new_threads() -> None:
    """A forked child calls ``renew``: neither the queue nor its end is shared with the parent."""
    pool = ThreadPool(threads=1, deadline=60)
    pool.start()
    queue = pool._queue

    pool.renew()
    another = pool._queue
    answer = anyio.run(pool.run, lambda: 1)
    del pool
    gc.collect()

    assert answer == 1
    assert another is not queue
    assert (queue.closed, another.closed) == (False, True)
    queue.close()


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("threads", 0),
        ("threads", 65),
        ("threads", 1.5),
        ("threads", True),
        ("waiting", 0),
        ("waiting", 10_001),
        ("waiting", "64"),
        ("deadline", 0),
        ("deadline", 61),
        ("deadline", float("nan")),
        ("deadline", True),
        ("deadline", None),
    ],
)
def test_an_invalid_number_raises_while_the_app_is_built(argument: str, value: Any) -> None:
    """An invalid number of threads or places raises, and the error names the argument."""
    with pytest.raises(ConfigurationError) as caught:
        ThreadPool(**{argument: value})

    assert caught.value.argument == argument


def test_a_processor_is_left_to_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default is one thread less than the processors that the process may use, and at least one."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 2, 5}, raising=False)
    some = spare_cores()
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {2})
    one = spare_cores()
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    everywhere = spare_cores()

    assert (some, one, everywhere) == (2, 1, 7)
    assert ThreadPool().threads == 7


@pytest.mark.parametrize("half", [None, "lowlevel"])
def test_a_half_imported_trio_is_not_used(half: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another thread imports trio, ``sys.modules`` has an empty module, which a job on asyncio must not use."""
    trio = ModuleType("trio")
    if half is not None:
        setattr(trio, half, ModuleType(half))
    monkeypatch.setitem(sys.modules, "trio", trio)

    assert asyncio.run(ThreadPool(threads=1).run(lambda: 7)) == 7
