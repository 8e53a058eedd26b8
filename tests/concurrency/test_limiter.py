"""The concurrency limiter: few at a time, the others wait in turn, up to a deadline, on any event loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import anyio
import pytest

from authguard.concurrency.limiter import Admission, ConcurrencyLimiter
from tests.support.coroutines import run_together, wait_until
from tests.support.forks import held_by_another_thread, needs_fork, run_in_child


class Peak:
    """Counts how many tasks hold a slot now, and the highest number so far. No task finishes before ``released`` is
    set."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.current = self.most = self.served = 0
        self.released = threading.Event()

    async def work(self, turns: ConcurrencyLimiter) -> Admission:
        """Acquire a slot, and release it again."""
        turn = await turns.acquire(30)
        if turn is Admission.ACQUIRED:
            try:
                with self.lock:
                    self.current += 1
                    self.most = max(self.most, self.current)
                with anyio.fail_after(120):
                    while not self.released.is_set():  # noqa: ASYNC110 - it is set in another thread
                        await anyio.sleep(0.001)
                await anyio.lowlevel.checkpoint()
                with self.lock:
                    self.current -= 1
                    self.served += 1
            finally:
                turns.release()
        return turn


async def free(turns: ConcurrencyLimiter) -> int:
    """The number of free slots."""
    taken = await acquire_all(turns, None)
    for _ in range(taken):
        turns.release()
    return taken


async def test_slots_are_given_in_the_order_of_arrival() -> None:
    """Few tasks hold a slot at a time, and all others get one in the order of their arrival."""
    turns, order = ConcurrencyLimiter(limit=2, max_waiting=100), list[int]()

    async def one(number: int) -> None:
        assert await turns.acquire(30) is Admission.ACQUIRED
        order.append(number)
        await anyio.lowlevel.checkpoint()
        turns.release()

    async with anyio.create_task_group() as tasks:
        assert [await turns.acquire(0), await turns.acquire(0)] == [Admission.ACQUIRED] * 2
        for number in range(20):
            tasks.start_soon(one, number)
            await wait_until(lambda: turns.waiting == number + 1)  # noqa: B023 - it is called here and now
        assert order == []
        turns.release()
        await wait_until(lambda: len(order) == 20)
        turns.release()

    assert order == list(range(20))
    assert (turns.waiting, await free(turns)) == (0, 2)


async def test_a_full_queue_refuses_at_once() -> None:
    """A task that finds the queue full is refused at once."""
    turns = ConcurrencyLimiter(limit=1, max_waiting=2)
    await turns.acquire(0)

    async def full() -> None:
        assert await turns.acquire(30) is Admission.FULL
        turns.release()

    async def taken() -> Admission:
        turn = await turns.acquire(30)
        turns.release()
        return turn

    assert await run_together([taken, taken], full) == [Admission.ACQUIRED] * 2


async def test_nobody_waits_for_ever() -> None:
    """A task that waited beyond the deadline is refused, and leaves the queue."""
    turns = ConcurrencyLimiter(limit=1, max_waiting=1)
    await turns.acquire(0)

    assert [await turns.acquire(0.01), await turns.acquire(0.01)] == [Admission.TIMED_OUT] * 2
    assert turns.waiting == 0
    turns.release()
    assert await free(turns) == 1


async def test_a_cancelled_waiter_leaves_the_queue() -> None:
    """A cancelled waiter is skipped, and the next one in the queue goes first."""
    turns, leaving = ConcurrencyLimiter(limit=1, max_waiting=100), list[anyio.CancelScope]()
    await turns.acquire(0)

    async def impatient() -> None:
        with anyio.CancelScope() as scope:
            leaving.append(scope)
            await turns.acquire(30)

    async def leave() -> None:
        assert turns.waiting == 51
        for scope in leaving:
            scope.cancel()
        await wait_until(lambda: turns.waiting == 1)
        turns.release()

    answers = await run_together([*[impatient] * 50, partial(turns.acquire, 30)], leave)

    assert answers[-1] is Admission.ACQUIRED
    turns.release()
    assert await free(turns) == 1


async def test_a_waiter_that_is_cancelled_with_its_slot_passes_it_on() -> None:
    """A waiter that is cancelled at the moment it gets a slot passes the slot to the next one."""
    turns, leaving = ConcurrencyLimiter(limit=1, max_waiting=100), anyio.CancelScope()
    await turns.acquire(0)

    async def impatient() -> None:
        with leaving:
            await turns.acquire(30)

    async def leave() -> None:
        leaving.cancel()
        turns.release()  # before the waiter can run

    assert await run_together([impatient, partial(turns.acquire, 30)], leave) == [None, Admission.ACQUIRED]
    turns.release()
    assert await free(turns) == 1


# --- networks ---------------------------------------------------------------------------------------------------------


async def acquire_all(limiter: ConcurrencyLimiter, network: str | None, *, known: bool = False) -> int:
    """Take as many slots as this network gets without waiting."""
    taken = 0
    while await limiter.acquire(0, network, known=known) is Admission.ACQUIRED:
        taken += 1
    return taken


@pytest.mark.parametrize(
    ("networks", "taken"),
    [
        (["a"], [32]),
        (["a", "b", "c"], [32, 16, 8]),
        (["a", "a"], [32, 0]),
        ([None], [64]),
        (["a", None], [32, 32]),
    ],
)
async def test_a_network_has_no_more_slots_than_it_leaves_free(networks: list[str | None], taken: list[int]) -> None:
    """However many slow calls a network makes, the next network finds free slots. Callers without a network cannot be
    told apart, and get all slots."""
    limiter = ConcurrencyLimiter(limit=64, max_waiting=1)

    assert [await acquire_all(limiter, network) for network in networks] == taken


async def test_known_callers_get_the_slots_that_a_network_leaves_free() -> None:
    """Behind one proxy all clients have one network. Slow calls of strangers leave half of the slots to the callers
    that are known."""
    limiter = ConcurrencyLimiter(limit=64, max_waiting=1)

    assert await acquire_all(limiter, "proxy") == 32
    assert await acquire_all(limiter, "proxy", known=True) == 32
    limiter.release("proxy", known=True)
    assert (await acquire_all(limiter, "proxy"), await acquire_all(limiter, "home")) == (0, 1)


async def test_a_network_gets_slots_again_when_it_releases_some() -> None:
    """A slot that is released is counted back, for its network and for all."""
    limiter = ConcurrencyLimiter(limit=8, max_waiting=1)

    for _ in range(3):
        assert (await acquire_all(limiter, "a"), await acquire_all(limiter, "b")) == (4, 2)
        for network in "aaaabb":
            limiter.release(network)

    assert (await free(limiter), limiter._held) == (8, {})


async def test_a_network_that_waits_for_its_own_slots_holds_nobody_up() -> None:
    """The first in the queue may not have a free slot: its network has as many as are free. The next network has it."""
    limiter, order = ConcurrencyLimiter(limit=4, max_waiting=10), list[str]()
    assert await acquire_all(limiter, "flood") == 2
    assert [await limiter.acquire(0, "b"), await limiter.acquire(0, "c", known=True)] == [Admission.ACQUIRED] * 2

    async def wait(network: str) -> None:
        assert await limiter.acquire(30, network) is Admission.ACQUIRED
        order.append(network)

    async with anyio.create_task_group() as tasks:
        for number, network in enumerate(["flood", "flood", "home"]):
            tasks.start_soon(wait, network)
            await wait_until(lambda: limiter.waiting == number + 1)  # noqa: B023 - it is called here and now
        limiter.release("b")
        await wait_until(lambda: order == ["home"])
        limiter.release("flood")
        limiter.release("flood")
        await wait_until(lambda: order == ["home", "flood"])
        limiter.release("home")
        await wait_until(lambda: order == ["home", "flood", "flood"])


async def test_networks_take_turns_in_the_queue() -> None:
    """A network with one caller in the queue does not wait for all callers of a network that came before it."""
    limiter, order = ConcurrencyLimiter(limit=1, max_waiting=100), list[str]()
    await limiter.acquire(0, "flood")

    async def wait(network: str, known: bool) -> None:
        assert await limiter.acquire(30, network, known=known) is Admission.ACQUIRED
        order.append(network + " known" * known)
        limiter.release(network, known=known)

    async with anyio.create_task_group() as tasks:
        for number, (network, known) in enumerate([*[("flood", False)] * 20, ("home", False), ("flood", True)]):
            tasks.start_soon(wait, network, known)
            await wait_until(lambda: limiter.waiting == number + 1)  # noqa: B023 - it is called here and now
        limiter.release("flood")

    assert order == ["flood", "home", "flood known", *["flood"] * 19]


async def test_a_full_queue_makes_room_for_a_network_with_fewer_callers() -> None:
    """The last caller of the network with the most callers is refused, so that nobody fills the queue for others."""
    limiter, answers = ConcurrencyLimiter(limit=1, max_waiting=4), list[tuple[str, Admission]]()
    await limiter.acquire(0, "flood")

    async def wait(network: str) -> None:
        answers.append((network, await limiter.acquire(30, network)))

    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(wait, "flood")
            await wait_until(lambda: limiter.waiting == number + 1)  # noqa: B023 - it is called here and now
        assert await limiter.acquire(30, "flood") is Admission.FULL
        tasks.start_soon(wait, "home")
        await wait_until(lambda: bool(answers))
        assert (answers, limiter.waiting) == ([("flood", Admission.FULL)], 4)
        limiter.release("flood")
        await wait_until(lambda: len(answers) == 2)
        limiter.release("flood")
        await wait_until(lambda: len(answers) == 3)
        tasks.cancel_scope.cancel()

    assert answers[1:3] == [("flood", Admission.ACQUIRED), ("home", Admission.ACQUIRED)]


# --- threads and forks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backends", [["asyncio"], ["trio"], ["asyncio", "trio"]])
def test_loops_in_several_threads_share_the_slots(backends: list[str]) -> None:
    """Event loops in several threads never hold more slots than there are, and pass slots to each other."""
    turns, peak, answers = ConcurrencyLimiter(limit=3, max_waiting=100), Peak(), list[Admission]()

    async def several() -> None:
        async def one() -> None:
            answers.append(await peak.work(turns))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(one)

    threads = [
        threading.Thread(target=partial(anyio.run, several, backend=backend), daemon=True) for backend in backends * 4
    ]
    for thread in threads:
        thread.start()
    _until_in_thread(lambda: turns.waiting == 5 * len(threads) - 3)
    peak.released.set()
    for thread in threads:
        thread.join(30)

    assert answers == [Admission.ACQUIRED] * 5 * len(threads)
    assert (peak.most, peak.served, turns.waiting) == (3, len(answers), 0)
    assert anyio.run(free, turns) == 3


def _until_in_thread(holds: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(30_000):
        if holds():
            return
        pause.wait(0.001)
    pytest.fail("it never held")


@needs_fork
def test_a_forked_child_has_all_slots_and_an_empty_queue() -> None:
    """The callers of its parent, one of which held the lock, release nothing in the child."""
    limiter = ConcurrencyLimiter(limit=2, max_waiting=1)

    async def fill() -> None:
        assert [await limiter.acquire(0), await limiter.acquire(0)] == [Admission.ACQUIRED] * 2
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(limiter.acquire, 30)
            await anyio.wait_all_tasks_blocked()
            await anyio.to_thread.run_sync(forked)
            tasks.cancel_scope.cancel()

    answers: list[str] = []

    def forked() -> None:
        with held_by_another_thread(limiter._lock):
            answers.append(run_in_child(lambda: (limiter.waiting, anyio.run(free, limiter))))

    anyio.run(fill)

    assert answers == ["(0, 2)"]
    limiter.release()
    limiter.release()
    assert anyio.run(free, limiter) == 2


async def test_a_slot_that_was_acquired_before_the_fork_is_not_counted_twice() -> None:
    """If the task that forked goes on in the child it releases a slot there that is free already."""
    limiter = ConcurrencyLimiter(limit=2, max_waiting=1)
    await limiter.acquire(0)

    limiter.renew()
    limiter.release()

    assert await free(limiter) == 2
