"""Run coroutines in a known order: at once, together, and until something holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


def run_without_waiting(call: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that has nothing to wait for, without an event loop."""
    try:
        call.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    msg = "it waits for something"
    raise AssertionError(msg)


async def wait_until(holds: Callable[[], bool]) -> None:
    """Lets the others go on until it holds."""
    with anyio.fail_after(30):
        while not holds():
            await anyio.lowlevel.checkpoint()


async def run_together(
    works: Sequence[Callable[[], Awaitable[Any]]], meanwhile: Callable[[], Awaitable[Any]]
) -> list[Any]:
    """What each answers, where all are asked at the same time and the first goes first; then ``meanwhile`` runs."""
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
