"""Signals: any thread sets one, its task goes on, and nobody waits longer than it wants to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import pytest

from authguard.concurrency.signal import _MOST_DEADLINES, Signal, _of_thread, make_signal
from tests.support.coroutines import run_together


async def test_a_signal_that_another_thread_sets_lets_its_task_go_on() -> None:
    """Whether the task waits for a limited time or not."""
    for seconds in (60, None):
        signal = make_signal()
        thread = threading.Thread(target=signal.set)
        thread.start()

        assert await signal.wait(seconds)
        thread.join(30)


async def test_nobody_waits_longer_than_it_wants() -> None:
    """A signal that is not set in time is not set, and to set it later does nothing."""
    signals = [make_signal() for _ in range(3)]

    async def nothing() -> None:
        """Set none of them."""

    answers = await run_together([partial(signal.wait, 0.01) for signal in signals], nothing)
    signals[0].set()
    await anyio.lowlevel.checkpoint()

    assert answers == [False] * 3


async def test_a_task_that_is_cancelled_does_not_wait() -> None:
    """To set its signal then does nothing."""
    signal, waited = make_signal(), list[bool]()

    async def wait() -> None:
        waited.append(await signal.wait(60))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    signal.set()
    await anyio.lowlevel.checkpoint()

    assert waited == []


class TimedLoop:
    """An asyncio event loop with a clock that a test moves. It counts the timers that are made."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers = 0
        self.ended: list[tuple[str, bool]] = []
        self.signals: dict[str, Signal] = {}

    def run(self, steps: Callable[[TimedLoop], Any]) -> TimedLoop:
        """Run the steps of a test."""

        async def main() -> None:
            loop: Any = asyncio.get_running_loop()
            call_at = loop.call_at

            def counted(*arguments: Any, **options: Any) -> Any:
                self.timers += 1
                return call_at(*arguments, **options)

            loop.time, loop.call_at = (lambda: self.now), counted
            tasks = await steps(self)
            for task in tasks:
                task.cancel()

        asyncio.run(main())
        return self

    def wait(self, name: str, seconds: float) -> asyncio.Task[None]:
        """Let a task wait for a signal. Its answer is kept by the name."""

        async def one() -> None:
            self.signals[name] = make_signal()
            is_set = await self.signals[name].wait(seconds)
            self.ended.append((name, is_set))

        return asyncio.get_running_loop().create_task(one())

    async def move(self, seconds: float = 0.0) -> list[tuple[str, bool]]:
        """Move the clock, and return what has ended since the last call."""
        self.now += seconds
        for _ in range(4):
            await asyncio.sleep(0)
        ended, self.ended = self.ended, []
        return ended


def test_each_task_waits_for_its_own_time_by_one_timer() -> None:
    """Tasks that come later end later. While any of them waits there is one timer, whatever their number."""
    first, seen = list[tuple[str, bool]](), list[list[tuple[str, bool]]]()

    async def steps(loop: TimedLoop) -> list[Any]:
        tasks = []
        for number in range(5):  # they end after 5, 6, 7, 8 and 9 seconds
            tasks.append(loop.wait(f"{number}", 5.0))
            await loop.move()
            first.extend(await loop.move(1.0))
        loop.signals["1"].set()
        seen.extend([await loop.move(seconds) for seconds in (0.0, 1.5, 0.5, 10.0)])
        tasks.append(loop.wait("new", 5.0))
        await loop.move()
        seen.extend([await loop.move(seconds) for seconds in (4.5, 0.5)])
        return tasks

    loop = TimedLoop().run(steps)

    assert first == [("0", False)]
    assert seen == [[("1", True)], [], [("2", False)], [("3", False), ("4", False)], [], [("new", False)]]
    assert loop.timers == 5


def test_tasks_that_do_not_wait_any_more_cost_no_timer() -> None:
    """After the time of the first one, nothing is left of all that were set, and the next task makes the next timer."""

    async def steps(loop: TimedLoop) -> list[Any]:
        tasks = []
        for number in range(100):
            tasks.append(loop.wait(f"{number}", 5.0))
            await loop.move(2**-6)
            loop.signals[f"{number}"].set()
        await loop.move(4.0)
        assert len(_of_thread.deadlines[5.0]._waiting) == 0
        return tasks

    assert TimedLoop().run(steps).timers == 1


def test_a_shorter_time_ends_before_a_longer_one_that_began_earlier() -> None:
    """Tasks with different times do not wait for each other."""
    seen = []

    async def steps(loop: TimedLoop) -> list[Any]:
        tasks = [loop.wait("long", 60.0), loop.wait("short", 1.0)]
        await loop.move()
        seen.extend([await loop.move(1.0), await loop.move(59.0)])
        return tasks

    TimedLoop().run(steps)

    assert seen == [[("short", False)], [("long", False)]]


def test_any_number_of_different_times_ends() -> None:
    """However many there are, each task waits for its own, though the timers of 64 of them are remembered."""
    seen = []

    async def steps(loop: TimedLoop) -> list[Any]:
        tasks = [loop.wait(f"{number}", 1.0 + number) for number in range(3 * _MOST_DEADLINES)]
        await loop.move()
        assert len(_of_thread.deadlines) <= _MOST_DEADLINES
        seen.extend([await loop.move(1.0) for _ in tasks])
        return tasks

    TimedLoop().run(steps)

    assert seen == [[(f"{number}", False)] for number in range(3 * _MOST_DEADLINES)]


def test_an_event_loop_after_another_one_has_timers_of_its_own() -> None:
    """Loops come and go in one thread, such as those of tests. What waited on the last one disturbs nobody."""

    async def leave(loop: TimedLoop) -> list[Any]:
        tasks = [loop.wait("left", 5.0)]
        await loop.move()
        return tasks

    seen = []

    async def steps(loop: TimedLoop) -> list[Any]:
        tasks = [loop.wait("next", 5.0)]
        await loop.move()
        seen.append(await loop.move(5.0))
        return tasks

    left, following = TimedLoop().run(leave), TimedLoop().run(steps)

    assert seen == [[("next", False)]]
    assert (left.ended, following.timers) == ([], 1)


def test_there_is_no_signal_without_an_event_loop() -> None:
    """It is a mistake that shows at once."""
    with pytest.raises(RuntimeError, match="no running event loop"):
        make_signal()
