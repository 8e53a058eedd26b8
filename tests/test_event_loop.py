"""One task for each event loop: it is started in its loop, and those of loops that have ended are forgotten."""

from __future__ import annotations

import asyncio

from authguard.event_loop import LoopTasks, start_in_loop


async def _wait_for_ever() -> None:
    await asyncio.Event().wait()


async def _end() -> None:
    """End at once."""


def test_only_tasks_of_loops_that_run_are_kept() -> None:
    """A loop that is still open keeps its task; that of a closed loop, and one that is done, are forgotten."""
    tasks: LoopTasks = {}
    running, closed, done, own = (asyncio.new_event_loop() for _ in range(4))
    kept = start_in_loop(tasks, running, _wait_for_ever())
    left = start_in_loop(tasks, closed, _end())
    closed.run_until_complete(left)
    closed.close()
    done.run_until_complete(start_in_loop(tasks, done, _end()))

    last = start_in_loop(tasks, own, _end())

    assert tasks == {running: kept, own: last}
    own.run_until_complete(last)
    kept.cancel()
    running.run_until_complete(asyncio.gather(kept, return_exceptions=True))
    for loop in (running, done, own):
        loop.close()
