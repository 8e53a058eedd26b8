"""How logins by Basic wait for their hash: who goes first, who is refused at once, and what a refusal costs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest

from authguard.accounts.account import Account
from authguard.concurrency.thread_pool import Caller
from authguard.errors import BackendUnavailable
from authguard.model import Accepted, Outcome, Rejected
from authguard.reasons import HASHING_BUSY
from authguard.schemes.throttle import AttemptKeys, LoginThrottle
from authguard.testing import ManualClock
from tests.support.coroutines import run_together, wait_until
from tests.support.schemes.basic import ALICE, MALLORY, HeldUsers, SpyHasher, Users, basic_scheme, log_in, log_in_now

HOME, AWAY, FLOOD = "192.0.2.7", "203.0.113.9", "198.51.100.9"
BOB = Account("bob", "$fast$builder")


class Queue:
    """A scheme with one thread, and logins that wait behind one that does not end before the test lets it."""

    def __init__(self, *accounts: Account, **options: Any) -> None:
        self.hasher = SpyHasher()
        self.users = HeldUsers(*accounts or (ALICE, BOB, MALLORY), hasher=self.hasher)
        self.scheme = basic_scheme(self.users, **{"deadline": 60, "remember": None, **options})
        self.outcomes: dict[str, Outcome | BackendUnavailable] = {}
        self.accepted = 0

    async def log_in(self, password: str, username: str = "alice", client: str = HOME) -> None:
        """One login. Its outcome is kept by the password."""
        try:
            self.outcomes[password] = await log_in(self.scheme, username, password, client)
            self.accepted += isinstance(self.outcomes[password], Accepted)
        except BackendUnavailable as error:
            self.outcomes[password] = error

    @asynccontextmanager
    async def held(self) -> AsyncIterator[Callable[..., Any]]:
        """The only thread is busy with a login from elsewhere. Yields a function that lets logins wait."""
        self.hasher.released.clear()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.log_in, "first", "carol", "192.0.2.250")
            await wait_until(lambda: self.scheme.health()["working"] == 1)

            async def add(password: str, username: str = "alice", client: str = HOME) -> None:
                tasks.start_soon(self.log_in, password, username, client)
                await anyio.wait_all_tasks_blocked()

            try:
                yield add
            finally:
                self.hasher.released.set()

    @property
    def order(self) -> list[str]:
        """The passwords in the order in which they were verified, without the first."""
        passwords = [password for password, _ in self.hasher.verified]
        return passwords[passwords.index("first") + 1 :]

    @property
    def refused(self) -> list[str]:
        """The passwords that the queue refused."""
        return [name for name, outcome in self.outcomes.items() if isinstance(outcome, BackendUnavailable)]


async def test_an_owner_goes_before_strangers() -> None:
    """Sixty-four invented names wait, from as many networks. Who has logged in from home before is next."""
    queue = Queue(waiting=64)
    await queue.log_in("wonderland")

    async with queue.held() as add:
        for number in range(70):
            await add(f"guess{number}", f"user{number}", f"198.51.100.{number}")
        await add("wonderland")

    assert queue.order[0] == "wonderland"
    assert isinstance(queue.outcomes["wonderland"], Accepted)
    assert len(queue.refused) == 6


async def test_one_network_keeps_no_new_owner_out() -> None:
    """One address sends invented names until the queue is full. Who logs in for the first time, from another address,
    is next but one."""
    queue = Queue(waiting=8)

    async with queue.held() as add:
        for number in range(20):
            await add(f"guess{number}", f"user{number}", FLOOD)
        await add("builder", "bob", HOME)

    assert queue.order.index("builder") == 1
    assert isinstance(queue.outcomes["builder"], Accepted)
    assert queue.refused == [*[f"guess{number}" for number in range(8, 20)], "guess7"]


async def test_new_owners_are_served_while_known_ones_wait() -> None:
    """Every fourth hash at least is for somebody who has not logged in from there before."""
    queue = Queue(*[Account(f"user{number}", f"$fast$pw{number}") for number in range(8)], BOB)
    for number in range(8):
        await queue.log_in(f"pw{number}", f"user{number}")

    async with queue.held() as add:
        for number in range(8):
            await add(f"pw{number}", f"user{number}")
        await add("builder", "bob")

    assert queue.order.index("builder") == 3


async def test_an_account_is_known_in_its_network_alone() -> None:
    """A login from home does not let guesses at the account go first from elsewhere, nor guesses at others at home."""
    queue = Queue()
    await queue.log_in("wonderland")

    async with queue.held() as add:
        await add("guess", "alice", AWAY)
        await add("another", "bob", HOME)
        waiting = queue.scheme.health()["waiting_known"]
        await add("known", "alice", HOME)

    assert waiting == 0
    assert queue.order == ["known", "guess", "another"]


@pytest.mark.parametrize("wrong", ["wonderland ", "secret"])
async def test_a_login_that_failed_makes_nobody_known(wrong: str) -> None:
    """Neither a wrong password nor the right one of a disabled account."""
    queue = Queue()
    await queue.log_in(wrong, "mallory" if wrong == "secret" else "alice")

    async with queue.held() as add:
        await add("again", "mallory" if wrong == "secret" else "alice")
        waiting = queue.scheme.health()["waiting_known"]

    assert waiting == 0


async def test_an_unknown_name_waits_as_a_wrong_password_does() -> None:
    """In the same lane and by the same turns, so that the wait does not tell which names exist."""
    orders = []
    for name in ("nobody", "bob"):
        queue = Queue()
        await queue.log_in("wonderland")
        async with queue.held() as add:
            await add("one", "user1", FLOOD)
            await add("guess", name, FLOOD)
            await add("two", "user2", AWAY)
            await add("wonderland")
        orders.append(queue.order)

    assert orders == [["wonderland", "one", "two", "guess"]] * 2


@pytest.mark.parametrize("remember", [60.0, None])
async def test_without_a_throttle_the_queue_knows_owners_too(remember: float | None) -> None:
    """``throttle=None`` counts nothing, but the scheme remembers who has logged in from where."""
    queue = Queue(throttle=None, remember=remember)
    await queue.log_in("wonderland")

    async with queue.held() as add:
        await add("guess", "nobody", FLOOD)
        await add("known")

    assert queue.order == ["known", "guess"]


async def test_a_cached_login_makes_its_network_known() -> None:
    """A password that is not hashed again is right there too."""
    queue = Queue(remember=60.0)
    await queue.log_in("wonderland")
    await queue.log_in("wonderland", "alice", AWAY)

    async with queue.held() as add:
        await add("guess", "nobody", FLOOD)
        await add("known", "alice", AWAY)

    assert queue.order == ["known", "guess"]


async def test_a_client_with_another_port_is_the_same_client() -> None:
    """Some proxies write ``address:port``. The pair is known with any port, and equal logins share one hash."""
    queue = Queue()
    await queue.log_in("wonderland", "alice", f"{HOME}:40001")

    async with queue.held() as add:
        await add("guess", "nobody", FLOOD)
        await add("known", "alice", f"{HOME}:40002")
        await add("known", "alice", f"{HOME}:40003")

    assert queue.order == ["known", "guess"]


async def test_an_outdated_hash_is_renewed_in_the_lane_of_owners(monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner has just logged in, so the new hash does not wait for strangers."""
    renewed: list[str] = []

    async def save(account: Account, new_hash: str) -> None:
        renewed.append(new_hash)

    queue = Queue(Account("alice", "$old$wonderland"), on_rehash=save)
    callers: list[Caller] = []
    run = queue.scheme._pool.run

    async def recorded(work: Callable[[], Any], caller: Caller) -> Any:
        callers.append(caller)
        return await run(work, caller)

    monkeypatch.setattr(queue.scheme._pool, "run", recorded)
    await queue.log_in("wonderland")

    assert callers == [Caller(HOME, "alice", known=False), Caller(HOME, "alice", known=True)]
    assert renewed == ["$new$wonderland"]


# --- What a refusal costs ---------------------------------------------------------------------------------------------


class CountingThrottle(LoginThrottle):
    """A throttle that keeps the names for which it was asked for an attempt."""

    def __init__(self) -> None:
        super().__init__(clock=ManualClock(1000))
        self.asked: list[str] = []

    async def acquire(
        self, account: str, client: str | None, sent: str | None = None, *, keys: AttemptKeys | None = None
    ) -> Any:
        self.asked.append(account)
        return await super().acquire(account, client, sent, keys=keys)


async def test_a_thousand_logins_at_once_cost_what_the_queue_can_do() -> None:
    """Of a thousand names in one turn of the event loop, the queue takes nine. The others are refused before an attempt
    is counted or anything is hashed."""
    throttle = CountingThrottle()
    queue = Queue(waiting=8, throttle=throttle)

    async def let_go() -> None:
        queue.hasher.released.set()

    queue.hasher.released.clear()
    await run_together([partial(queue.log_in, f"guess{n}", f"user{n}", FLOOD) for n in range(1000)], let_go)

    assert len(queue.refused) == 991
    assert (len(throttle.asked), queue.hasher.count) == (9, 9)


async def test_a_full_queue_refuses_at_once() -> None:
    """Before anything is counted or awaited: the refusal needs no coroutine."""
    throttle = CountingThrottle()
    queue = Queue(waiting=1, throttle=throttle)

    async with queue.held() as add:
        await add("guess", "user0", FLOOD)
        asked = list(throttle.asked)
        for name in ("user1", "nobody"):
            with pytest.raises(BackendUnavailable) as caught:
                log_in_now(queue.scheme, name, "guess", FLOOD)
            assert (caught.value.reason, caught.value.detail) == (HASHING_BUSY, "the queue is full, with 1 waiting")

    assert throttle.asked == asked == ["carol", "user0"]


async def test_a_login_that_waits_for_an_equal_one_needs_no_place_in_the_queue() -> None:
    """A page that sends several requests with one password gets all of them, although the queue is full."""
    queue = Queue(waiting=1)

    async with queue.held() as add:
        await add("wonderland")
        for _ in range(5):
            await add("wonderland")
        await add("looking-glass")

    assert queue.refused == ["looking-glass"]
    assert (queue.accepted, queue.order) == (6, ["wonderland"])


@pytest.mark.parametrize("is_known", [True, False])
async def test_after_an_equal_login_has_failed_the_next_one_takes_its_own_place(*, is_known: bool) -> None:
    """It is the first one's turn that is lost when its client has gone, and not its lane."""
    queue = Queue()
    if is_known:
        await queue.log_in("wonderland")

    health: Mapping[str, object] = {}
    async with queue.held() as add, anyio.create_task_group() as tasks:
        tasks.start_soon(queue.log_in, "wonderland")
        await wait_until(lambda: queue.scheme.health()["waiting"] == 1)
        await add("wonderland")
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.wait_all_tasks_blocked()
        health = queue.scheme.health()

    assert (health["waiting"], health["waiting_known"]) == (1, is_known)
    assert queue.order == ["wonderland"]
    assert isinstance(queue.outcomes["wonderland"], Accepted)


async def test_a_login_that_has_to_leave_the_queue_costs_no_attempt() -> None:
    """The last login of the network with the most is refused as busy, and its attempt is refunded."""
    queue = Queue(waiting=2)

    async with queue.held() as add:
        await add("guess0", "user0", FLOOD)
        await add("guess1", "alice", FLOOD)
        await add("builder", "bob", HOME)

    assert queue.refused == ["guess1"]
    verified = []
    for number in range(12):
        await queue.log_in(f"later{number}", "alice", FLOOD)
        outcome = queue.outcomes[f"later{number}"]
        verified.append(isinstance(outcome, Rejected) and outcome.reason.code == "password.wrong")
    assert verified == [True] * 10 + [False] * 2


@pytest.mark.parametrize("known", [True, False])
async def test_a_login_whose_client_has_gone_is_not_hashed(*, known: bool) -> None:
    """A cancelled login leaves its lane at once, and the next one takes its place."""
    queue = Queue(waiting=1)
    if known:
        await queue.log_in("wonderland")

    async with queue.held() as add:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(queue.log_in, "gone")
            await wait_until(lambda: queue.scheme.health()["waiting"] == 1)
            tasks.cancel_scope.cancel()
        await add("next")

    assert queue.order == ["next"]


async def test_a_login_that_would_end_after_the_deadline_is_refused_at_once() -> None:
    """If a hash takes 2.1 seconds and the deadline is five, one login may wait. The next one learns when it may try
    again."""
    clock = ManualClock(1000)
    queue = Queue(clock=clock, deadline=5)
    queue.scheme._pool._queue.average = 2.1

    async with queue.held() as add:
        await add("one", "user1", FLOOD)
        await add("two", "user2", FLOOD)

    error = queue.outcomes["two"]
    assert isinstance(error, BackendUnavailable)
    assert (queue.refused, error.reason, error.retry_after) == (["two"], HASHING_BUSY, 6)


async def test_the_pool_measures_by_the_clock_of_the_scheme() -> None:
    """So that a test with a clock of its own decides how long a hash takes."""
    clock = ManualClock(1000)

    class Slow(SpyHasher):
        def verify(self, password: str, stored: str) -> Any:
            clock.move(0.25)
            return super().verify(password, stored)

    scheme = basic_scheme(Users(ALICE, hasher=Slow()), clock=clock)
    await log_in(scheme)

    assert scheme.health()["average_seconds"] == 0.25
