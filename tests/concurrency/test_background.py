"""A fetch in a thread of its own: who waits for it, and what a forked child sees of it."""

from __future__ import annotations

import threading

import anyio

from authguard import fork
from authguard.concurrency.background import BackgroundFetch
from tests.support.forks import held_by_another_thread, needs_fork, run_in_child


def blocked_fetch() -> tuple[BackgroundFetch, threading.Event]:
    """A fetch that is under way, and the event that lets it finish."""
    fetch, released = BackgroundFetch(1, 0.0), threading.Event()

    async def work() -> None:
        released.wait(30)

    fetch.start(work)
    return fetch, released


async def test_a_fetch_that_is_over_is_not_waited_for() -> None:
    """``wait`` returns at once after ``finish``."""
    fetch = BackgroundFetch(1, 0.0)
    fetch.finish()

    with anyio.fail_after(120):
        await fetch.wait()


async def test_a_renewed_fetch_is_not_waited_for() -> None:
    """A forked child has no thread that could finish it."""
    fetch, released = blocked_fetch()

    fork._renew()
    with anyio.fail_after(120):
        await fetch.wait()
    released.set()


@needs_fork
def test_a_forked_child_waits_neither_for_the_fetch_nor_for_its_lock() -> None:
    """The thread that runs the fetch and the thread that held the lock exist in the parent alone."""
    fetch, released = blocked_fetch()

    with held_by_another_thread(fetch._lock):
        answer = run_in_child(lambda: anyio.run(fetch.wait))
    released.set()

    assert answer == "None"
