"""A throttle whose store has to be awaited: what is asked of it, in how many steps, and with which keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from authguard import BackendUnavailable, ConfigurationError
from authguard.concurrency.token_bucket import Rate
from authguard.errors import WrongAnswer
from authguard.model import Accepted
from authguard.reasons import HASHING_BUSY, STORE_TIMEOUT
from authguard.schemes.throttle import AttemptKeys, CountedAttempt, LoginThrottle
from authguard.state.throttle_store import Bucket, Exceeded, MemoryThrottleStore, SeparateSteps
from authguard.testing import ManualClock
from tests.schemes.test_basic_queue import FLOOD, HOME, Queue
from tests.support.schemes.basic import ALICE, Users, basic_scheme, log_in
from tests.support.schemes.digest import answer_challenge, authenticate, challenge, digest_scheme

SECRET = "a secret of thirty-two octets or more"


class PlainStore:
    """A store that others count in too, with the methods that the port asks for. It notes what it is asked."""

    is_idle = False

    def __init__(self, memory: MemoryThrottleStore | None = None) -> None:
        self.memory = memory or MemoryThrottleStore(clock=ManualClock(1000))
        self.asked: list[str] = []
        self.keys: set[bytes] = set()

    def note(self, step: str, pair: bytes | None, buckets: Sequence[Bucket] = ()) -> None:
        self.asked.append(step)
        self.keys |= {bucket.key for bucket in buckets} | ({pair} if pair else set())

    async def acquire(self, pair: bytes, buckets: Sequence[Bucket]) -> Sequence[Bucket] | Exceeded:
        self.note("acquire", pair, buckets)
        return await self.memory.acquire(pair, buckets)

    async def remaining(
        self, pair: bytes, buckets: Sequence[Bucket], *, authenticated: bool = False
    ) -> Exceeded | None:
        self.note("remaining", pair, buckets)
        return await self.memory.remaining(pair, buckets, authenticated=authenticated)

    async def refund(self, buckets: Sequence[Bucket]) -> None:
        self.note("refund", None, buckets)
        await self.memory.refund(buckets)

    async def remember(self, pair: bytes) -> None:
        self.note("remember", pair)
        await self.memory.remember(pair)

    async def knows(self, pair: bytes) -> bool:
        self.note("knows", pair)
        return await self.memory.knows(pair)


class CombiningStore(PlainStore):
    """The same, with the methods that save round trips."""

    def __init__(self, memory: MemoryThrottleStore | None = None) -> None:
        super().__init__(memory)
        self.steps = SeparateSteps(self.memory)

    async def acquire_known(self, pair: bytes, buckets: Sequence[Bucket]) -> tuple[Sequence[Bucket] | Exceeded, bool]:
        self.note("acquire_known", pair, buckets)
        return await self.steps.acquire_known(pair, buckets)

    async def check(self, pair: bytes, buckets: Sequence[Bucket]) -> tuple[Exceeded | None, bool]:
        self.note("check", pair, buckets)
        return await self.steps.check(pair, buckets)

    async def allow(self, pair: bytes, buckets: Sequence[Bucket]) -> Exceeded | None:
        self.note("allow", pair, buckets)
        return await self.steps.allow(pair, buckets)

    async def refund_and_remember(self, pair: bytes, buckets: Sequence[Bucket]) -> None:
        self.note("refund_and_remember", pair, buckets)
        await self.steps.refund_and_remember(pair, buckets)


def asked(store: PlainStore) -> list[str]:
    """What the store was asked since the last call."""
    steps, store.asked = store.asked, []
    return steps


# --- One throttle of several processes --------------------------------------------------------------------------------


async def test_throttles_with_one_store_count_together() -> None:
    """Two processes have a throttle each: attempts at one account from one network are of one bucket."""
    memory = MemoryThrottleStore(clock=ManualClock(1000))
    throttles = [LoginThrottle(store=PlainStore(memory)) for _ in range(2)]

    attempts = [await throttles[number % 2].acquire("alice", HOME) for number in range(30)]

    assert [isinstance(attempt, CountedAttempt) for attempt in attempts] == [True] * 10 + [False] * 20


@pytest.mark.parametrize(("other", "same"), [(SECRET, True), (SECRET.encode(), True), ("x" * 32, False), (None, False)])
def test_keys_go_by_the_secret(other: Any, *, same: bool) -> None:
    """Those of one secret are the same in every process, and nobody else can make them."""
    one, two = (LoginThrottle(store=PlainStore(), secret=secret).keys("alice", HOME) for secret in (SECRET, other))

    assert (one.pair == two.pair) is same


def test_without_a_store_keys_are_those_of_the_process() -> None:
    """They are of a random secret."""
    assert LoginThrottle().keys("alice", HOME).pair != LoginThrottle().keys("alice", HOME).pair


def test_the_keys_of_an_account_begin_with_one_byte() -> None:
    """So a store of several servers keeps them on one, and those of other accounts elsewhere."""
    throttle = LoginThrottle(store=PlainStore())
    of_account = [
        {bucket.key[0] for bucket in throttle.keys(f"user{number}", network).buckets}
        for number in range(50)
        for network in (HOME, FLOOD)
    ]

    assert {len(first) for first in of_account} == {1}
    assert [of_account[i] == of_account[i + 1] for i in range(0, 100, 2)] == [True] * 50
    assert len(set().union(*of_account)) > 20


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"store": PlainStore}, "store"),
        ({"store": object()}, "store"),
        (
            {
                "store": type(
                    "NoIdle", (), dict.fromkeys(["acquire", "remaining", "refund", "remember", "knows"], len)
                )()
            },
            "store",
        ),
        ({"store": PlainStore(), "secret": "short"}, "secret"),
        ({"store": PlainStore(), "secret": 1}, "secret"),
        ({"secret": SECRET}, "secret"),
        ({"store": PlainStore(), "deadline": 0}, "deadline"),
    ],
    ids=["class", "no store", "no is_idle", "short", "number", "memory", "deadline"],
)
def test_bad_options_are_refused(options: dict[str, Any], argument: str) -> None:
    """The message names the argument."""
    with pytest.raises(ConfigurationError) as caught:
        LoginThrottle(**options)
    assert caught.value.argument == argument


def test_a_method_that_is_not_async_is_refused() -> None:
    """While the app is built, with its name."""

    class Wrong(PlainStore):
        def knows(self, pair: bytes) -> bool:  # type: ignore[override]
            return True

    with pytest.raises(ConfigurationError, match="knows"):
        LoginThrottle(store=Wrong())  # type: ignore[arg-type]


async def test_a_store_that_returns_nothing_lets_nobody_guess() -> None:
    """An attempt that nobody has counted is an outage, whose record names the method."""

    class Wrong(PlainStore):
        async def acquire(self, pair: bytes, buckets: Sequence[Bucket]) -> Any:
            return None

    with pytest.raises(WrongAnswer, match="acquire"):
        await LoginThrottle(store=Wrong()).acquire("alice", HOME)


async def test_a_store_has_a_deadline() -> None:
    """A store that does not answer is an outage."""

    class Slow(PlainStore):
        async def acquire(self, pair: bytes, buckets: Sequence[Bucket]) -> Any:
            await anyio.sleep_forever()

    with pytest.raises(BackendUnavailable) as caught:
        await LoginThrottle(store=Slow(), deadline=0.01).acquire("alice", HOME)
    assert caught.value.reason is STORE_TIMEOUT


async def test_a_memory_that_is_given_is_asked_without_waiting() -> None:
    """A store that counts in this process is used as the default one is."""
    store = MemoryThrottleStore(clock=ManualClock(1000))
    throttle = LoginThrottle(store=store)
    attempt = throttle.acquire_now(throttle.keys("alice", HOME))

    assert isinstance(attempt, CountedAttempt)
    assert store.holds_any(attempt.buckets)
    assert throttle.store is store


def test_a_store_that_overrides_a_method_is_awaited() -> None:
    """The methods that are not async would bypass it."""

    class Audited(MemoryThrottleStore):
        async def acquire(self, pair: bytes, buckets: Sequence[Bucket]) -> Sequence[Bucket] | Exceeded:
            raise NotImplementedError

    assert LoginThrottle(store=Audited()).acquire_now is None


# --- Basic ------------------------------------------------------------------------------------------------------------


async def test_a_login_takes_two_round_trips_and_a_guess_one() -> None:
    """Whether somebody has logged in before, for the queue, is told with the attempt; a refund remembers the login."""
    store = CombiningStore()
    scheme = basic_scheme(Users(ALICE), throttle=LoginThrottle(store=store))

    await log_in(scheme, "alice", "wrong")
    guess = asked(store)
    outcome = await log_in(scheme, "alice", "wonderland")
    login = asked(store)
    await log_in(scheme, "alice", "wonderland")

    assert isinstance(outcome, Accepted)
    assert (guess, login, asked(store)) == (["acquire_known"], ["acquire_known", "refund_and_remember"], ["allow"])


async def test_a_guess_too_many_is_not_hashed() -> None:
    """It takes one round trip, too."""
    store, users = CombiningStore(), Users(ALICE)
    scheme = basic_scheme(users, throttle=LoginThrottle(store=store, pair=Rate(2, 30)))

    codes = [(await log_in(scheme, "alice", f"wrong{number}")).reason.code for number in range(4)]  # type: ignore[union-attr]

    assert codes == ["password.wrong"] * 2 + ["attempts.exceeded"] * 2
    assert (users.hasher.count, asked(store)) == (2, ["acquire_known"] * 4)


async def test_a_password_that_was_right_before_takes_one() -> None:
    """It is no guess; and who is remembered need not be remembered again."""
    store, clock = CombiningStore(), ManualClock(1000)
    scheme = basic_scheme(Users(ALICE), throttle=LoginThrottle(store=store), clock=clock)
    await log_in(scheme, "alice", "wonderland")
    asked(store)

    clock.move(120)
    known = await log_in(scheme, "alice", "wonderland"), asked(store)
    clock.move(120)
    elsewhere = await log_in(scheme, "alice", "wonderland", "203.0.113.77"), asked(store)

    assert isinstance(known[0], Accepted)
    assert isinstance(elsewhere[0], Accepted)
    assert (known[1], elsewhere[1]) == (["check"], ["check", "allow"])


async def test_a_password_that_was_right_before_waits_as_others_do() -> None:
    """If the bucket of known pairs is empty, it is not hashed."""
    store, clock = CombiningStore(), ManualClock(1000)
    throttle = LoginThrottle(store=store, known_pair=Rate(1, 3600), pair=Rate(1, 3600))
    scheme = basic_scheme(Users(ALICE), throttle=throttle, clock=clock)
    await log_in(scheme, "alice", "wonderland")
    await log_in(scheme, "alice", "wrong")
    clock.move(120)
    asked(store)

    outcome = await log_in(scheme, "alice", "wonderland")

    assert (outcome.reason.code, asked(store)) == ("attempts.exceeded", ["check"])  # type: ignore[union-attr]


async def test_a_store_without_combined_steps_is_asked_for_each() -> None:
    """The answers are the same."""
    store, clock = PlainStore(), ManualClock(1000)
    scheme = basic_scheme(Users(ALICE), throttle=LoginThrottle(store=store), clock=clock)

    first = await log_in(scheme, "alice", "wonderland"), asked(store)
    second = await log_in(scheme, "alice", "wonderland"), asked(store)
    clock.move(120)
    third = await log_in(scheme, "alice", "wonderland"), asked(store)

    assert [isinstance(outcome, Accepted) for outcome, _ in (first, second, third)] == [True] * 3
    assert first[1] == ["knows", "acquire", "refund", "remember"]
    assert second[1] == ["remaining", "remember"]
    assert third[1] == ["knows", "remaining", "remember"]


async def test_a_throttle_that_overrides_a_step_is_asked_for_it() -> None:
    """A combined step would bypass it."""

    class Audited(LoginThrottle):
        asked = 0

        async def knows(self, account: str, client: str | None) -> bool:
            self.asked += 1
            return await super().knows(account, client)

    throttle = Audited(store=CombiningStore())
    await log_in(basic_scheme(Users(ALICE), throttle=throttle), "alice", "wrong")

    assert throttle.asked == 1


async def test_a_full_queue_is_asked_before_an_attempt_is_counted() -> None:
    """While it refuses strangers, the store is asked who somebody is, and no attempt is counted for who is refused."""
    store = CombiningStore()
    queue = Queue(waiting=1, throttle=LoginThrottle(store=store))

    async with queue.held() as add:
        await add("guess", "user0", FLOOD)
        asked(store)
        await add("guess1", "user1", FLOOD)

    assert (queue.refused, asked(store)[0]) == (["guess1"], "knows")


@pytest.mark.parametrize("was_right", [False, True])
async def test_an_attempt_that_finds_no_place_in_the_queue_is_refunded(*, was_right: bool) -> None:
    """The lane of known accounts may be full while that of strangers is not."""
    store = CombiningStore()
    throttle = LoginThrottle(store=store)
    clock = ManualClock(1000)
    queue = Queue(waiting=1, throttle=throttle, clock=clock, remember=60.0)
    for name, password in (("alice", "wonderland"), ("bob", "builder")):
        await queue.log_in(password, name)
    clock.move(120)
    asked(store)

    async with queue.held() as add:
        await add("wrong", "alice")
        before = store.memory.holds_any(throttle.keys("bob", HOME).buckets)
        await add("builder" if was_right else "guess", "bob")

    assert queue.refused == ["builder" if was_right else "guess"]
    assert (queue.outcomes[queue.refused[0]].reason, before) == (HASHING_BUSY, False)  # type: ignore[union-attr]
    assert not store.memory.holds_any(throttle.keys("bob", HOME).buckets)


# --- Digest -----------------------------------------------------------------------------------------------------------


async def test_a_right_response_takes_one_round_trip_once_its_client_is_known() -> None:
    """The first one is remembered after its nonce was used; until then it may be a replay from anywhere."""
    store = CombiningStore()
    scheme = digest_scheme(throttle=LoginThrottle(store=store))
    offered = challenge(scheme)

    outcomes = [await authenticate(scheme, answer_challenge(offered, nc=nc)) for nc in ("00000001", "00000002")]
    replay = await authenticate(scheme, answer_challenge(offered, nc="00000002"))

    assert [isinstance(outcome, Accepted) for outcome in (*outcomes, replay)] == [True, True, False]
    assert asked(store) == ["check", "allow", "check", "check"]


async def test_a_throttle_of_the_app_is_asked_for_what_it_overrides() -> None:
    """A combined step would bypass it."""

    class Audited(LoginThrottle):
        asked = 0

        async def remaining(
            self,
            account: str,
            client: str | None,
            sent: str | None = None,
            *,
            authenticated: bool = False,
            keys: AttemptKeys | None = None,
        ) -> Exceeded | None:
            self.asked += 1
            return await super().remaining(account, client, sent, authenticated=authenticated, keys=keys)

    throttle = Audited(store=CombiningStore())
    scheme = digest_scheme(throttle=throttle)
    await authenticate(scheme, answer_challenge(challenge(scheme)))

    assert throttle.asked == 1
