"""Whose call has its turn in the thread pool, which calls are refused at once, and which are never begun."""

from __future__ import annotations

import gc
import math
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from authguard.concurrency.thread_pool import ANYBODY, LONGEST_RETRY, Caller, ThreadPool, _Job, _Lane, _Queue
from authguard.errors import BackendUnavailable
from authguard.reasons import HASHING_BUSY
from authguard.testing import ManualClock
from tests.support.call_count import count_calls
from tests.support.coroutines import wait_until

FLOOD, HOME, OFFICE = Caller("198.51.100.9", "x"), Caller("192.0.2.7", "alice"), Caller("203.0.113.1", "bob")
LANES = [pytest.param(True, id="known"), pytest.param(False, id="others")]


def known(caller: Caller) -> Caller:
    """The same caller, whose account has logged in from its network before."""
    return Caller(caller.network, caller.account, known=True)


class Crowd:
    """A pool of one thread, and calls that wait behind one that does not end before the test lets it.

    ``begun`` are the names of the calls in the order in which the thread ran them, each of which takes ``duration``
    seconds by the clock of the pool. ``refused`` are the errors of the others.
    """

    def __init__(self, duration: float = 1.0, **options: Any) -> None:
        self.clock = ManualClock(1000)
        self.duration = duration
        self.pool = ThreadPool(**{"threads": 1, "deadline": 60, "clock": self.clock, **options})
        self.begun: list[str] = []
        self.refused: dict[str, BackendUnavailable] = {}
        self._released = threading.Event()

    def work(self, name: str) -> Callable[[], None]:
        def run() -> None:
            self.begun.append(name)
            self.clock.move(self.duration)

        return run

    async def measure(self, *durations: float) -> None:
        """Let the pool learn how long its calls take."""
        for seconds in durations:
            await self.pool.run(lambda seconds=seconds: self.clock.move(seconds))  # type: ignore[misc]

    async def call(self, name: str, caller: Caller) -> None:
        """One call, whose end or refusal is kept."""
        try:
            await self.pool.run(self.work(name), caller)
        except BackendUnavailable as error:
            self.refused[name] = error

    @asynccontextmanager
    async def held(self, by: Caller = ANYBODY) -> AsyncIterator[Callable[..., Any]]:
        """The only thread is busy. Yields a function that lets calls wait: ``await add(caller, "name", ...)``."""
        self._released.clear()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.pool.run, lambda: self._released.wait(30), by)
            await wait_until(lambda: self.pool.working == 1)

            async def add(caller: Caller, *names: str) -> None:
                for name in names:
                    tasks.start_soon(self.call, name, caller)
                    await anyio.wait_all_tasks_blocked()

            try:
                yield add
            finally:
                self._released.set()
        await wait_until(lambda: not self.pool.working)

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        waiting: Any = self.pool.health()["waiting"]
        return int(waiting)


def _nothing() -> None:
    """Do nothing."""


def numbered(name: str, count: int) -> list[str]:
    """So many names."""
    return [f"{name}{number}" for number in range(count)]


# --- Turns ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known_pair", LANES)
async def test_networks_take_turns(*, known_pair: bool) -> None:
    """In both lanes, a network with one call waits for one call of a network that has ten in the queue, not for ten."""
    crowd = Crowd()
    flood, home = (known(FLOOD), known(HOME)) if known_pair else (FLOOD, HOME)

    async with crowd.held() as add:
        await add(flood, *numbered("flood", 10))
        await add(home, "alice")

    assert crowd.begun[:2] == ["flood0", "alice"]
    assert crowd.begun[2:] == numbered("flood", 10)[1:]


async def test_accounts_of_one_network_take_turns() -> None:
    """Behind an address that all clients share, guesses at bob's account do not hold up alice."""
    crowd = Crowd()

    async with crowd.held() as add:
        await add(known(Caller("shared", "bob")), *numbered("guess", 10))
        await add(known(Caller("shared", "alice")), "alice")

    assert crowd.begun.index("alice") == 1


async def test_who_has_logged_in_before_goes_first() -> None:
    """A known caller waits for no stranger but one in four, however many networks the strangers have."""
    crowd = Crowd()

    async with crowd.held() as add:
        for number in range(30):
            await add(Caller(f"network{number}", "x"), f"stranger{number}")
        await add(known(HOME), *numbered("alice", 5))

    assert crowd.begun[:7] == ["alice0", "alice1", "alice2", "stranger0", "alice3", "alice4", "stranger1"]


async def test_every_fourth_call_is_a_strangers() -> None:
    """A new owner is served, however many calls of known owners wait."""
    crowd = Crowd()

    async with crowd.held() as add:
        await add(known(OFFICE), *numbered("bob", 12))
        await add(HOME, "alice0", "alice1")

    assert [crowd.begun.index(name) for name in ("alice0", "alice1")] == [3, 7]


async def test_calls_that_kept_nobody_waiting_use_up_no_turn() -> None:
    """Only calls of known callers that began while strangers waited count for the turn of the strangers."""
    crowd = Crowd()
    async with crowd.held() as add:
        await add(known(OFFICE), *numbered("early", 5))

    async with crowd.held(known(OFFICE)) as add:
        await add(known(OFFICE), *numbered("bob", 4))
        await add(HOME, "alice")

    assert crowd.begun[5:] == ["bob0", "bob1", "bob2", "alice", "bob3"]


# --- Admission --------------------------------------------------------------------------------------------------------


async def test_a_call_that_would_end_too_late_is_refused_at_once() -> None:
    """If a call takes one second and the deadline is five, four may wait behind the one that runs. The next one learns
    when it might have its turn, and is never run."""
    crowd = Crowd(deadline=5)
    await crowd.measure(1.0)

    async with crowd.held() as add:
        await add(FLOOD, *numbered("flood", 6))
        waiting = crowd.waiting

    assert (waiting, list(crowd.refused)) == (4, ["flood4", "flood5"])
    error = crowd.refused["flood4"]
    assert (error.reason, error.retry_after) == (HASHING_BUSY, 6)
    assert error.detail == "it would take 5.5 s, which is longer than the deadline"
    assert not {"flood4", "flood5"} & set(crowd.begun)


async def test_a_long_queue_of_one_network_refuses_nobody_else() -> None:
    """The expected wait of a call depends on its turn, and not on the length of the queue. Only the last calls of the
    network that fills the queue are then too late."""
    crowd = Crowd(deadline=5)
    await crowd.measure(1.0)

    async with crowd.held() as add:
        await add(FLOOD, *numbered("flood", 9))
        await add(HOME, "alice")
        await add(known(OFFICE), "bob")

    assert crowd.begun == ["bob", "flood0", "alice", "flood1", "flood2"]
    assert set(crowd.refused) == {"flood3", "flood4", "flood5", "flood6", "flood7", "flood8"}


async def test_before_the_first_measurement_nobody_is_refused_for_the_time() -> None:
    """A pool that has not run any call admits as many as may wait."""
    crowd = Crowd(duration=0, deadline=5)

    async with crowd.held() as add:
        await add(FLOOD, *numbered("flood", 40))

    assert (crowd.refused, len(crowd.begun)) == ({}, 40)


async def test_an_idle_thread_takes_any_call() -> None:
    """However long the calls before took, a call for which a thread is free is run, even if the thread needs a moment
    to take it. So the pool finds out that it is fast again."""
    time = ManualClock(1000)

    def clock() -> float:
        time.move(2**-10)
        return time()

    crowd = Crowd(deadline=2, clock=clock)
    await crowd.pool.run(lambda: time.move(3600))
    stuck = crowd.pool.health()["average_seconds"]

    for _ in range(5):
        await crowd.pool.run(_nothing)

    average = 2.0
    for _ in range(5):
        average += (2**-10 - average) / 8
    assert (stuck, crowd.pool.health()["average_seconds"]) == (2, round(average, 4))


async def test_more_threads_mean_a_shorter_wait() -> None:
    """With two threads twice as many calls may wait."""
    crowd = Crowd(threads=2, deadline=5)
    await crowd.measure(1.0)
    released = threading.Event()
    waiting = refused = 0

    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(crowd.pool.run, lambda: released.wait(30))
        await wait_until(lambda: crowd.pool.working == 2)
        for name in numbered("flood", 12):
            tasks.start_soon(crowd.call, name, FLOOD)
        await anyio.wait_all_tasks_blocked()
        waiting, refused = crowd.waiting, len(crowd.refused)
        released.set()

    assert (waiting, refused) == (8, 4)


@pytest.mark.parametrize("known_pair", LANES)
async def test_a_full_lane_refuses_nobody_in_the_other(*, known_pair: bool) -> None:
    """Each lane has a bound of its own."""
    crowd = Crowd(waiting=3)
    flood, home = (known(FLOOD), HOME) if known_pair else (FLOOD, known(HOME))

    async with crowd.held() as add:
        await add(flood, *numbered("flood", 4))
        await add(home, "alice")

    assert list(crowd.refused) == ["flood3"]
    assert "alice" in crowd.begun


@pytest.mark.parametrize("known_pair", LANES)
async def test_one_network_cannot_fill_a_lane(*, known_pair: bool) -> None:
    """A caller of a network with fewer calls takes the place of the last call of the network with the most."""
    crowd = Crowd(waiting=4)
    flood, home = (known(FLOOD), known(HOME)) if known_pair else (FLOOD, HOME)

    async with crowd.held() as add:
        await add(flood, *numbered("flood", 4))
        await add(home, "alice0", "alice1", "alice2")

    assert list(crowd.refused) == ["flood3", "flood2", "alice2"]
    error = crowd.refused["flood3"]
    assert (error.reason, error.detail) == (HASHING_BUSY, "the queue is full, and others have fewer calls in it")
    assert sorted(crowd.begun) == ["alice0", "alice1", "flood0", "flood1"]


async def test_networks_that_ask_for_one_call_keep_their_places() -> None:
    """A lane that many networks fill refuses the next one. If it took somebody's place, nobody would be served."""
    crowd = Crowd(waiting=4)

    async with crowd.held() as add:
        for number in range(6):
            await add(Caller(f"network{number}", "x"), f"stranger{number}")

    assert crowd.begun == numbered("stranger", 4)
    assert [error.detail for error in crowd.refused.values()] == ["the queue is full, with 4 waiting"] * 2


async def test_what_a_free_thread_is_about_to_take_fills_no_place() -> None:
    """Of calls that come in one turn of the event loop, the first does not count as waiting."""
    released = threading.Event()

    class Held(Crowd):
        """A crowd whose calls end when the test lets them, so that the thread cannot take a second one too early."""

        def work(self, name: str) -> Callable[[], None]:
            run = super().work(name)
            return lambda: run() if released.wait(30) else None

    crowd = Held(waiting=1)

    async with anyio.create_task_group() as tasks:
        for name in ("first", "second", "third"):
            tasks.start_soon(crowd.call, name, HOME)
        await anyio.wait_all_tasks_blocked()
        released.set()

    assert (len(crowd.begun), len(crowd.refused)) == (2, 1)


async def test_check_says_what_run_would_say() -> None:
    """``check`` raises where ``run`` would refuse the call at once, and does nothing else."""
    crowd = Crowd(deadline=5)
    await crowd.measure(1.0)

    async with crowd.held() as add:
        await add(FLOOD, *numbered("flood", 4))
        crowd.pool.check(HOME)
        with pytest.raises(BackendUnavailable) as caught:
            crowd.pool.check(FLOOD)
        assert crowd.waiting == 4

    assert (caught.value.reason, caught.value.retry_after) == (HASHING_BUSY, 6)


async def test_nobody_is_told_to_come_back_after_more_than_a_minute() -> None:
    """``Retry-After`` is bounded."""
    crowd = Crowd(deadline=60)
    await crowd.measure(59.0)

    async with crowd.held() as add:
        await add(FLOOD, "first", "second")

    assert (crowd.refused["second"].retry_after, LONGEST_RETRY) == (60, 60)


# --- Calls that are not run any more ----------------------------------------------------------------------------------


@pytest.mark.parametrize("known_pair", LANES)
async def test_a_call_that_cannot_end_in_time_is_not_begun(*, known_pair: bool) -> None:
    """A thread drops the calls whose callers would have given up before the end, and takes the next one. Otherwise a
    machine that becomes slow would work on such calls alone."""
    crowd = Crowd(duration=0, deadline=5)
    await crowd.measure(1.0)
    flood, home = (known(FLOOD), known(HOME)) if known_pair else (FLOOD, HOME)

    async with crowd.held() as add:
        await add(flood, "old0", "old1")
        crowd.clock.move(4.5)
        await add(home, "new")

    assert crowd.begun == ["new"]
    assert [error.detail for error in crowd.refused.values()] == ["too little time is left to verify the password"] * 2
    assert {error.reason for error in crowd.refused.values()} == {HASHING_BUSY}


async def test_a_dropped_call_does_not_use_up_the_turn_of_strangers() -> None:
    """While known callers wait, every fourth call that is run is a stranger's, and not one that is only dropped."""
    crowd = Crowd(duration=0, deadline=5)
    await crowd.measure(0.5)

    async with crowd.held() as add:
        await add(FLOOD, *numbered("old", 3))
        crowd.clock.move(4.6)
        await add(known(OFFICE), *numbered("bob", 4))
        await add(HOME, "alice")

    assert crowd.begun == ["bob0", "bob1", "bob2", "alice", "bob3"]


@pytest.mark.parametrize("known_pair", LANES)
async def test_a_caller_that_gives_up_leaves_either_lane(*, known_pair: bool) -> None:
    """A call whose task is cancelled, or whose deadline is over, is gone from its lane and never run."""
    crowd = Crowd(duration=0)
    caller = known(HOME) if known_pair else HOME

    async with crowd.held() as add:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(crowd.call, "cancelled", caller)
            await wait_until(lambda: crowd.waiting == 1)
            tasks.cancel_scope.cancel()
        left = [crowd.waiting]
        crowd.pool._deadline = 0.01
        await crowd.call("late", caller)
        left.append(crowd.waiting)
        crowd.pool._deadline = 60
        await add(caller, "next")

    assert (left, crowd.begun, list(crowd.refused)) == ([0, 0], ["next"], ["late"])


class Password:
    """Something of which no reference must be left."""

    def hash(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize("refusal", ["at once", "displaced", "too late"])
async def test_a_refused_call_is_not_held(refusal: str) -> None:
    """Of a call that is refused in any way, nothing references the password once the caller goes on."""
    crowd = Crowd(duration=0, waiting=2, deadline=5)
    held: list[bool] = []

    async def refused() -> None:
        password = Password()
        made, work = weakref.ref(password), password.hash
        del password
        with pytest.raises(BackendUnavailable) as caught:
            await crowd.pool.run(work, FLOOD)
        del work
        assert caught.tb is not None
        held.append(made() is not None)

    gc.disable()
    try:
        async with crowd.held() as add, anyio.create_task_group() as tasks:
            await add(FLOOD, "first", *(["second"] if refusal == "at once" else []))
            tasks.start_soon(refused)
            await anyio.wait_all_tasks_blocked()
            if refusal == "displaced":
                await add(HOME, "alice")
            if refusal == "too late":
                crowd.clock.move(4.5)
                crowd.pool._queue.average = 1.0
                crowd._released.set()
            await wait_until(lambda: held != [])
    finally:
        gc.enable()

    assert held == [False]


# --- What a flood costs -----------------------------------------------------------------------------------------------


def busy_queue(waiting: int, **options: Any) -> _Queue:
    """The queue of one thread that works, with calls of so many networks."""
    queue = _Queue(1, _Lane(10_000), _Lane(options.pop("most", 10_000)), 1e6, ManualClock(0), working=1, **options)
    with queue.changed:
        for number in range(waiting):
            queue.admit(_Job[Any](_nothing, _nothing, Caller(f"network{number}", "x")))
    assert queue.waiting == waiting
    return queue


@pytest.mark.parametrize("average", [None, 0.25])
def test_a_call_that_may_wait_costs_the_same_however_many_wait(average: float | None) -> None:
    """How many come before it is not counted while even the last of all would end in time: a thousand calls in one turn
    of the event loop would count each other."""
    costs = []
    for waiting in (10, 1000):
        queue = busy_queue(waiting, average=average)
        job = _Job[Any](_nothing, _nothing, Caller("network3", "y"))
        costs.append(count_calls(partial(queue.admit, job)))
        assert job.waiting

    assert costs[0] == costs[1]


def test_a_refusal_costs_the_same_however_many_wait() -> None:
    """Of a flood from as many networks, each refusal of a full queue costs as much as one of a short queue."""
    costs = []
    for waiting in (10, 1000):
        queue = busy_queue(waiting, most=waiting, average=0.25)
        assert queue.refusal(HOME) is not None
        costs.append(count_calls(partial(queue.refusal, HOME)))

    assert costs[0] == costs[1]


# --- Figures ----------------------------------------------------------------------------------------------------------


async def test_health_has_the_figures_of_both_lanes() -> None:
    """How many wait, how many of these are known, and how long a call takes on average."""
    crowd = Crowd(duration=0)
    await crowd.measure(1.0, 2.0)

    async with crowd.held() as add:
        await add(FLOOD, "a", "b")
        await add(known(HOME), "c")
        health = crowd.pool.health()

    assert health == {
        "threads": 1,
        "working": 1,
        "waiting": 3,
        "waiting_known": 1,
        "most_waiting": 64,
        "average_seconds": 1.125,
    }


callers = st.builds(Caller, st.sampled_from("abc"), st.sampled_from("xy"), st.booleans())


@given(st.lists(callers, max_size=12), st.integers(0, 3), st.integers(0, 2), callers)
def test_the_expected_wait_is_that_of_the_real_order(
    came: list[Caller], in_a_row: int, working: int, caller: Caller
) -> None:
    """For any queue and two threads, the expected wait counts exactly the calls that begin before a new one. It is zero
    if a thread is free, and half a call shorter than that of a call that is being run."""
    lanes = _Lane(64), _Lane(64)
    queue = _Queue(2, *lanes, 1000.0, ManualClock(0), working=working, average=1.0, known_in_a_row=in_a_row)
    new = _Job[Any](_nothing, _nothing, caller, math.inf)
    with queue.changed:
        for each in came:
            queue.admit(_Job(_nothing, _nothing, each))
        expected = queue.expected(caller)
        queue.admit(new)
    order = [queue.next_job() for _ in range(len(came) + 1)]

    if working + len(came) < 2:
        assert expected == 0
    else:
        # A thread that is free takes a job at once.
        ends_before = order.index(new) - (2 - working)
        assert expected == 1 + max(ends_before + 0.5, 0) / 2
    assert queue.next_job() is None
