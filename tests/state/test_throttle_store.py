"""The throttle store in memory: when nothing has to be looked up, and what a hint of success changes."""

from __future__ import annotations

from authguard.concurrency.token_bucket import Rate
from authguard.state.throttle_store import Bucket, Exceeded, MemoryThrottleStore
from authguard.testing import ManualClock
from tests.state.counted_keys import CountedKey

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
