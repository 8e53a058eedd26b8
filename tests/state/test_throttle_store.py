"""The throttle store in memory: when nothing has to be looked up, and what a hint of success changes."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from authguard.concurrency.token_bucket import Rate
from authguard.state.throttle_store import Bucket, Exceeded, MemoryThrottleStore
from authguard.testing import ManualClock
from tests.state.counted_keys import CountedKey
from tests.support.coroutines import run_without_waiting

PAIR, OTHER = b"pair", b"other"
STRICT = Bucket(b"strict", Rate(2, 30.0), "strict")
WIDE = Bucket(b"wide", Rate(3, 20.0), "wide", known_only=True)
ACCOUNT = Bucket(b"account", Rate(1, 10.0), "account", strangers_only=True)
BUCKETS = [STRICT, WIDE, ACCOUNT]


def throttle_store() -> tuple[MemoryThrottleStore, ManualClock]:
    """A store, and its clock."""
    clock = ManualClock(1000)
    return MemoryThrottleStore(clock=clock), clock


async def test_it_is_idle_until_an_attempt_is_counted() -> None:
    """A store that has counted nothing is idle, whatever it remembers, and so is one whose attempts were refunded."""
    store, _ = throttle_store()
    await store.remember(PAIR)
    before = store.is_idle
    counted = await store.acquire(PAIR, [STRICT])
    assert not isinstance(counted, Exceeded)
    meanwhile = store.is_idle
    await store.refund(counted)

    assert (before, meanwhile, store.is_idle) == (True, False, True)


async def test_it_is_idle_again_when_all_buckets_are_full_again() -> None:
    """One wrong password does not cost every later login a look-up: the store is idle once the last bucket is full."""
    store, clock = throttle_store()
    await store.acquire(OTHER, [STRICT, ACCOUNT])
    clock.move(10)
    await store.acquire(PAIR, [ACCOUNT])

    idle = []
    for _ in range(4):
        idle.append(store.is_idle)
        clock.move(10)

    assert idle == [False, False, True, True]


async def test_its_health_says_how_many_buckets_are_kept() -> None:
    """Those that are full again are not kept for anybody, even before they are freed."""
    store, clock = throttle_store()
    await store.acquire(PAIR, BUCKETS)
    kept = store.health()
    clock.move(60)

    assert (kept, store.health()) == ({"buckets": 2, "most": 100_000}, {"buckets": 0, "most": 100_000})


async def test_when_it_is_idle_it_forgets_the_buckets() -> None:
    """Full buckets are dropped with the next attempt, so that its refund makes the store idle at once."""
    store, clock = throttle_store()
    await store.acquire(OTHER, [STRICT, ACCOUNT])
    clock.move(60)
    counted = await store.acquire(PAIR, [ACCOUNT])
    assert not isinstance(counted, Exceeded)
    await store.refund(counted)

    assert (len(store._full_at), store.is_idle) == (0, True)


async def test_buckets_count_those_that_they_are_for() -> None:
    """A bucket for strangers does not count a pair that has logged in, and one for known pairs counts no other."""
    store, _ = throttle_store()
    await store.remember(PAIR)

    counted = [await store.acquire(pair, BUCKETS) for pair in (PAIR, OTHER)]

    assert counted == [[STRICT, WIDE], [STRICT, ACCOUNT]]


async def test_a_refused_attempt_takes_a_token_of_the_buckets_for_known_pairs_alone() -> None:
    """And of these only if they have one."""
    store, clock = throttle_store()
    await store.remember(PAIR)
    answers = [await store.acquire(PAIR, BUCKETS) for _ in range(6)]

    refused = [answer for answer in answers if isinstance(answer, Exceeded)]
    clock.move(20)

    assert refused == [Exceeded(30, "strict")] * 4
    assert await store.remaining(PAIR, [WIDE]) is None
    assert await store.remaining(PAIR, [STRICT]) == Exceeded(10, "strict")


async def test_a_right_password_needs_the_buckets_for_known_pairs_alone() -> None:
    """For a pair that is remembered; any other one needs all that count it. Nothing is taken."""
    store, _ = throttle_store()
    await store.remember(PAIR)
    for _ in range(2):
        await store.acquire(PAIR, BUCKETS)

    assert [await store.remaining(PAIR, BUCKETS, authenticated=flag) for flag in (False, True, True)] == [
        Exceeded(30, "strict"),
        None,
        None,
    ]
    assert await store.remaining(OTHER, BUCKETS, authenticated=True) == Exceeded(30, "strict")
    assert await store.remaining(PAIR, [STRICT], authenticated=True) == Exceeded(30, "strict")


async def test_when_the_bucket_for_known_pairs_is_empty_right_is_answered_as_wrong() -> None:
    """With the same seconds and the same bucket."""
    store, _ = throttle_store()
    await store.remember(PAIR)
    for _ in range(3):
        await store.acquire(PAIR, BUCKETS)

    answers = [await store.remaining(PAIR, BUCKETS, authenticated=flag) for flag in (True, False)]

    assert answers == [Exceeded(30, "strict")] * 2


async def test_it_knows_the_pairs_that_it_remembers() -> None:
    """No other pair is known."""
    store, _ = throttle_store()
    await store.remember(PAIR)

    assert [await store.knows(pair) for pair in (PAIR, OTHER)] == [True, False]


async def test_buckets_that_are_full_again_are_freed_two_at_a_time() -> None:
    """To free the buckets of a flood at once would hold up all requests, when the flood is over."""
    store, clock = throttle_store()
    CountedKey.alive = 0
    for number in range(1_000):
        await store.acquire(PAIR, [Bucket(CountedKey(b"%d" % number), STRICT.rate, "strict")])
    clock.move(3600)
    idle, most_freed = store.is_idle, 0

    for number in range(600):
        before = CountedKey.alive
        await store.acquire(PAIR, [Bucket(CountedKey(b"new%d" % number), STRICT.rate, "strict")])
        most_freed = max(most_freed, before + 1 - CountedKey.alive)

    assert (idle, most_freed, CountedKey.alive) == (True, 2, 600)


# --- Without a coroutine ----------------------------------------------------------------------------------------------

METHODS = ("acquire", "remaining", "allow", "knows")
MORE_BUCKETS = [Bucket(b"known", Rate(2, 15.0), "known", known_only=True), *BUCKETS]


def _answer(store: MemoryThrottleStore, method: str, pair: bytes) -> Any:
    """What the store answers to ``acquire_now`` and so on."""
    call: Any = getattr(store, f"{method}_now")
    return call(pair) if method == "knows" else call(pair, MORE_BUCKETS)


async def _answer_async(store: MemoryThrottleStore, method: str, pair: bytes) -> Any:
    """What it answers to ``acquire`` and so on. ``allow`` is two of them."""
    if method == "allow":
        exceeded = await store.remaining(pair, MORE_BUCKETS, authenticated=True)
        if exceeded is None:
            await store.remember(pair)
        return exceeded
    call: Any = getattr(store, method)
    return await (call(pair) if method == "knows" else call(pair, MORE_BUCKETS))


steps = st.tuples(st.sampled_from(METHODS), st.sampled_from([PAIR, OTHER]), st.sampled_from([0.0, 1.0, 10.0, 25.0]))


@given(st.lists(steps, max_size=40))
@example([("allow", PAIR, 0.0), ("acquire", PAIR, 0.0), ("acquire", PAIR, 0.0), ("allow", PAIR, 0.0)])
def test_the_answers_without_a_coroutine_are_the_same(history: list[tuple[str, bytes, float]]) -> None:
    """Whatever came before, and however much time passes in between."""
    (now, clock), (later, other_clock) = throttle_store(), throttle_store()

    for method, pair, seconds in history:
        assert _answer(now, method, pair) == run_without_waiting(_answer_async(later, method, pair))
        clock.move(seconds)
        other_clock.move(seconds)


class CountingLock:
    """A lock that counts how often it is taken."""

    def __init__(self) -> None:
        self.taken = 0

    def __enter__(self) -> None:
        self.taken += 1

    def __exit__(self, *error: object) -> None:
        """Release it."""


async def test_a_pair_that_has_logged_in_takes_no_lock_while_it_has_a_token() -> None:
    """A right password of such a pair is allowed at once, however much is guessed elsewhere or at the pair itself,
    until its own bucket is empty; and then again once it has a token."""
    store, clock = throttle_store()
    await store.remember(PAIR)
    await store.acquire(OTHER, [Bucket(b"strict 2", Rate(2, 3600.0), "strict"), ACCOUNT])
    store._lock = lock = CountingLock()  # type: ignore[assignment]
    answers = []

    for seconds in (0, 0, 0, 0, 20):
        clock.move(seconds)
        before = lock.taken
        answers.append((store.allow_now(PAIR, BUCKETS), lock.taken > before))
        await store.acquire(PAIR, BUCKETS)

    assert answers == [(None, False)] * 3 + [(Exceeded(30, "strict"), True), (None, False)]


async def test_without_a_bucket_for_known_pairs_every_bucket_is_asked() -> None:
    """Also for a pair that has logged in."""
    store, _ = throttle_store()
    await store.remember(PAIR)
    for _ in range(2):
        await store.acquire(PAIR, [STRICT])

    assert store.allow_now(PAIR, [STRICT]) == Exceeded(30, "strict")
