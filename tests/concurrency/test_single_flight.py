"""One answer for all who ask the same at the same time, whatever becomes of the one who went ahead."""

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
    """Something that takes until it is let go, and counts who does it."""

    def __init__(self) -> None:
        self.begun = 0
        self.open = anyio.Event()

    async def __call__(self) -> int:
        self.begun += 1
        begun = self.begun
        await self.open.wait()
        return begun


def flights(deadline: float = 60) -> SingleFlight[int]:
    """Nobody waits for long in a test that goes well."""
    return SingleFlight(deadline=deadline)


async def test_who_asks_the_same_at_the_same_time_gets_the_same_answer() -> None:
    """The work is done once; one of them knows that it was his."""
    shared, work = flights(), Work()

    async def let_go() -> None:
        work.open.set()

    answers = await run_together([partial(shared.share, "q", work)] * 20, let_go)

    assert answers == [(1, True)] + [(1, False)] * 19


async def test_another_question_is_other_work() -> None:
    """They do not wait for one another."""
    shared, work = flights(), Work()

    async def let_go() -> None:
        assert work.begun == 2
        work.open.set()

    answers = await run_together([partial(shared.share, question, work) for question in "ab"], let_go)

    assert answers == [(1, True), (2, True)]


async def test_who_asks_later_is_answered_anew() -> None:
    """Nothing is kept of an answer."""
    shared, work = flights(), Work()
    work.open.set()

    assert [await shared.share("q", work), await shared.share("q", work)] == [(1, True), (2, True)]
    assert shared._flights == {}


async def test_where_the_first_fails_the_next_one_goes() -> None:
    """An error is its own; who waited tries himself, and the others wait for him."""
    shared, good = flights(), Work()
    failed = anyio.Event()

    async def bad() -> int:
        await failed.wait()
        raise LookupError

    async def first() -> str:
        with pytest.raises(LookupError):
            await shared.share("q", bad)
        return "failed"

    async def let_go() -> None:
        failed.set()
        await wait_until(lambda: good.begun == 1)
        good.open.set()

    answers = await run_together([first, *[partial(shared.share, "q", good)] * 3], let_go)

    assert answers[0] == "failed"
    assert sorted(answers[1:]) == [(1, False), (1, False), (1, True)]


async def test_where_the_first_leaves_the_next_one_goes() -> None:
    """Cancelled, he takes nobody along."""
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


async def test_who_waits_and_leaves_disturbs_nobody() -> None:
    """The work goes on for the others."""
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
    """After the deadline who waited is refused, while the work goes on."""
    shared, work = flights(deadline=0.01), Work()

    async def late() -> BackendUnavailable:
        with pytest.raises(BackendUnavailable) as caught:
            await shared.share("q", work)
        work.open.set()
        return caught.value

    async def nothing() -> None:
        """The one who is late lets go himself."""

    answers = await run_together([partial(shared.share, "q", work), late], nothing)

    assert answers[0] == (1, True)
    assert answers[1].reason is HASHING_BUSY
    assert str(answers[1]) == "no answer within 0.01 s"


async def test_another_event_loop_is_not_waited_for() -> None:
    """A guard may serve several loops, each in a thread; what one waits with, the other cannot set."""
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
