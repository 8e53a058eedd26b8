"""Close connections when the event loop ends to which they belong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from typing import Any, TypeAlias

#: The background task of each event loop.
LoopTasks: TypeAlias = dict[asyncio.AbstractEventLoop, asyncio.Task[None]]

# What closes at the end of each loop. It is held here, because the garbage collector would not wait until all is
# closed.
_endings: dict[object, tuple[asyncio.AbstractEventLoop, AsyncGenerator[None, None]]] = {}


def close_with_loop(loop: asyncio.AbstractEventLoop, close: Callable[[], Awaitable[object]]) -> None:
    """Have ``close`` called when this loop ends, which is the running one. What it raises is dropped.

    That is the end of ``asyncio.run``, of a server and of a ``TestClient``. A loop that ends without closing its async
    generators closes nothing.
    """
    for other, (its_loop, _) in list(_endings.items()):  # a copy, because loops of other threads add theirs
        if its_loop.is_closed():
            _endings.pop(other, None)  # that loop ended otherwise than asyncio.run and the servers end one
    # A loop closes its async generators when it ends.
    key = object()
    ending = _close_at_end(close, key)
    with suppress(StopIteration):
        ending.__anext__().send(None)
    _endings[key] = loop, ending


async def _close_at_end(close: Callable[[], Awaitable[object]], key: object) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        with suppress(Exception):  # a server that is away has no connection to close
            await close()
        _endings.pop(key, None)


def start_in_loop(
    tasks: LoopTasks, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None]
) -> asyncio.Task[None]:
    """Start the task of the running loop. Those that have ended are forgotten, because a task holds its loop."""
    for other, task in list(tasks.items()):
        if task.done() or other.is_closed():
            tasks.pop(other, None)
    # It belongs to no request, and has none of its context variables.
    started = tasks[loop] = loop.create_task(coroutine, context=Context())
    return started


def is_task_cancelled() -> bool:
    """Whether this task was cancelled, and a call has gone on all the same, as ``asyncio.wait_for`` may before 3.12."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
