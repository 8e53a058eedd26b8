"""Single flight: one result for all that ask the same at the same time, even if the first one is cancelled."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import anyio
import pytest

from authguard.concurrency.single_flight import SingleFlight
from authguard.errors import BackendUnavailable
from authguard.reasons import HASHING_BUSY
from tests.support.coroutines import run_together, wait_until
from tests.support.forks import needs_fork, run_in_child


class Work:
    """A function that waits until it is released, and counts its calls."""

    def __init__(self) -> None:
        self.begun = 0
        self.open = anyio.Event()

    async def __call__(self) -> int:
        self.begun += 1
        begun = self.begun
        await self.open.wait()
        return begun


def flights(deadline: float = 60) -> SingleFlight[int]:
    """A single flight whose deadline no passing test reaches."""
    return SingleFlight(deadline=deadline)


async def test_parallel_calls_with_one_key_share_a_result() -> None:
    """The work is done once, and only the call that did it is told so."""
    shared, work = flights(), Work()

    async def release() -> None:
        work.open.set()

    answers = await run_together([partial(shared.share, "q", work)] * 20, release)

    assert answers == [(1, True)] + [(1, False)] * 19


async def test_calls_with_different_keys_do_not_wait_for_each_other() -> None:
    """Calls with different keys run side by side."""
    shared, work = flights(), Work()

    async def release() -> None:
        assert work.begun == 2
        work.open.set()

    answers = await run_together([partial(shared.share, question, work) for question in "ab"], release)

    assert answers == [(1, True), (2, True)]


async def test_no_result_is_kept() -> None:
    """A later call does the work again."""
    shared, work = flights(), Work()
    work.open.set()

    assert [await shared.share("q", work), await shared.share("q", work)] == [(1, True), (2, True)]
    assert shared._flights == {}


async def test_after_a_failure_the_next_call_does_the_work() -> None:
    """The error goes to the first call only. One of the waiting calls tries again, and the others wait for it."""
    shared, good = flights(), Work()
    failed = anyio.Event()

    async def bad() -> int:
        await failed.wait()
        raise LookupError

    async def first() -> str:
        with pytest.raises(LookupError):
            await shared.share("q", bad)
        return "failed"

    async def release() -> None:
        failed.set()
        await wait_until(lambda: good.begun == 1)
        good.open.set()

    answers = await run_together([first, *[partial(shared.share, "q", good)] * 3], release)

    assert answers[0] == "failed"
    assert sorted(answers[1:]) == [(1, False), (1, False), (1, True)]


async def test_after_a_cancellation_the_next_call_does_the_work() -> None:
    """Cancelling the first call does not cancel the others: one of them does the work."""
    shared, abandoned, good = flights(), Work(), Work()
    good.open.set()
    leaving = anyio.CancelScope()

    async def first() -> None:
        with leaving:
            await shared.share("q", abandoned)

    async def leave() -> None:
        assert (abandoned.begun, good.begun) == (1, 0)
        leaving.cancel()

    answers = await run_together([first, partial(shared.share, "q", good)], leave)

    assert answers == [None, (1, True)]
    assert shared._flights == {}


async def test_a_cancelled_waiter_disturbs_nobody() -> None:
    """If a waiting call is cancelled, the work goes on for the others."""
    shared, work = flights(), Work()
    leaving = anyio.CancelScope()

    async def impatient() -> None:
        with leaving:
            await shared.share("q", work)

    async def leave() -> None:
        leaving.cancel()
        await anyio.wait_all_tasks_blocked()
        work.open.set()

    answers = await run_together([partial(shared.share, "q", work), impatient, partial(shared.share, "q", work)], leave)

    assert answers == [(1, True), None, (1, False)]


async def test_nobody_waits_for_ever() -> None:
    """A call that waits beyond the deadline fails, and the work goes on."""
    shared, work = flights(deadline=0.01), Work()

    async def late() -> BackendUnavailable:
        with pytest.raises(BackendUnavailable) as caught:
            await shared.share("q", work)
        work.open.set()
        return caught.value

    async def nothing() -> None:
        """The late call releases the work itself."""

    answers = await run_together([partial(shared.share, "q", work), late], nothing)

    assert answers[0] == (1, True)
    assert answers[1].reason is HASHING_BUSY
    assert str(answers[1]) == "no answer within 0.01 s"


async def test_another_event_loop_is_not_waited_for() -> None:
    """A call on another event loop does its own work, because events cannot be shared between loops."""
    shared, work = flights(), Work()
    answers: list[tuple[int, bool]] = []

    async def seven() -> int:
        return 7

    def other_loop() -> None:
        answers.append(anyio.run(shared.share, "q", seven))

    async def meanwhile() -> None:
        thread = threading.Thread(target=other_loop)
        thread.start()
        thread.join(30)
        work.open.set()

    here = await run_together([partial(shared.share, "q", work)], meanwhile)

    assert (answers, here) == ([(7, True)], [(1, True)])


@needs_fork
def test_a_forked_child_does_not_wait_for_the_work_of_its_parent() -> None:
    """That work never ends there, although the thread that forked has the same identifier."""
    shared, work = flights(), Work()
    loop = asyncio.new_event_loop()
    task = loop.create_task(shared.share("q", work))
    loop.run_until_complete(asyncio.sleep(0))

    async def seven() -> int:
        return 7

    answer = run_in_child(lambda: anyio.run(shared.share, "q", seven))
    work.open.set()

    assert (work.begun, answer, loop.run_until_complete(task)) == (1, "(7, True)", (1, True))
    loop.close()
