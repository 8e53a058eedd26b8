"""Run coroutines in a fixed order: without waiting, side by side, and until a condition holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


def run_without_waiting(call: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits, without an event loop, and return its result."""
    try:
        call.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    msg = "it waits for something"
    raise AssertionError(msg)


async def wait_until(holds: Callable[[], bool]) -> None:
    """Let the other tasks run until the condition holds. Fails after 30 seconds."""
    with anyio.fail_after(120):
        while not holds():
            await anyio.lowlevel.checkpoint()


async def run_together(
    works: Sequence[Callable[[], Awaitable[Any]]], meanwhile: Callable[[], Awaitable[Any]]
) -> list[Any]:
    """Run these functions at the same time, the first one first, and return their results. ``meanwhile`` runs once all
    of them are waiting."""
    answers: list[Any] = [None] * len(works)

    async def one(number: int) -> None:
        answers[number] = await works[number]()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one, 0)
        await anyio.wait_all_tasks_blocked()
        for number in range(1, len(works)):
            tasks.start_soon(one, number)
        await anyio.wait_all_tasks_blocked()
        await meanwhile()
    return answers
