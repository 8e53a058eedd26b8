"""Unknown keys: how many fetches they cause, and which requests wait."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import thread_time
from timeit import repeat

import anyio
import pytest

from authguard.caching import NegativeCache
from authguard.concurrency.token_bucket import Rate, TokenBucket
from authguard.keys import KeysBusy
from authguard.keys.fetch_budget import FETCH_BURST, MAX_NETWORKS, TOTAL_BURST, FetchBudget, Requester
from authguard.keys.source import StaticKeys, VerificationKey
from authguard.reasons import KEYS_BUSY
from tests.support.coroutines import run_together, wait_until
from tests.support.key_source import StubbedSource
from tests.support.tokens import key_set, published_jwk, rsa_key


async def test_an_unknown_key_is_fetched() -> None:
    """After a rotation the first token with the new key causes one fetch, without waiting for a cooldown."""
    source = StubbedSource("old")
    await source.key_ids("old")

    source.server.publish("old", "new")

    assert await source.key_ids("new") == ["new"]
    assert (source.held_key_ids("old"), source.held_key_ids("new")) == (["old"], ["new"])
    assert source.server.count == 2


async def test_a_missing_key_is_fetched_once_in_a_cooldown() -> None:
    """Repeating a token with a missing key does not use up the budget that a rotation will need."""
    source = StubbedSource("a")
    await source.key_ids("a")

    assert [await source.has_fetched("gone") for _ in range(100)] == [True] + [False] * 99
    assert source.server.count == 2
    source.clock.move(30)

    assert [await source.has_fetched("gone") for _ in range(100)] == [True] + [False] * 99


async def test_a_key_that_is_known_to_be_missing_does_not_wait() -> None:
    """A token with a key that was missing a moment ago does not wait for the fetch of other requests."""
    source = StubbedSource("a")
    await source.key_ids("gone")
    source.server.released.clear()

    async def meanwhile() -> None:
        with anyio.fail_after(30):
            assert (await source.busy("gone")).retry_after == 30
        source.server.released.set()

    assert await run_together([partial(source.key_ids, "other")], meanwhile) == [[]]


async def test_joining_a_due_fetch_costs_no_budget() -> None:
    """An unknown key that joins a fetch which was due anyway costs no budget, and fetches again if that did not bring
    it."""
    source = StubbedSource("a")
    await source.key_ids("a")
    source.server.released.clear()
    source.clock.move(480)
    assert source.held_key_ids("a") == ["a"]

    async def release() -> None:
        source.server.released.set()

    await run_together([partial(source.has_fetched, f"random-{number}") for number in range(20)], release)
    for number in range(20, 40):
        await source.has_fetched(f"random-{number}")

    assert source.server.count == 2 + FETCH_BURST


@pytest.mark.rfc("limits-6")
async def test_a_flood_of_random_kids_costs_a_few_fetches() -> None:
    """A thousand random kids cause the first fetch and three more. Known keys stay held, and little is remembered."""
    source = StubbedSource("a")
    await source.key_ids("a")

    for number in range(1000):
        assert await source.has_fetched(f"random-{number}") is (number < FETCH_BURST)
        assert source.held_key_ids("a") == ["a"]

    assert source.server.count == 1 + FETCH_BURST
    assert len(source.keys._not_found) <= 1024


async def test_a_flood_all_at_once_costs_no_more() -> None:
    """A thousand random kids at the same time cause no more fetches, even before the first fetch."""
    source = StubbedSource("a")
    source.server.released.clear()

    async def release() -> None:
        source.server.released.set()

    await run_together([partial(source.has_fetched, f"random-{number}") for number in range(1000)], release)

    assert source.server.count <= 1 + FETCH_BURST


async def test_a_rotation_during_a_flood_is_noticed_within_one_cooldown() -> None:
    """Whichever request uses the regained fetch, it brings the new key for all of them."""
    source = StubbedSource("old")
    await source.key_ids("old")
    for number in range(1000):
        await source.has_fetched(f"random-{number}")
    assert source.server.count == 4
    source.server.publish("old", "new")

    assert (await source.busy("new")).retry_after == 30
    source.clock.move(29.9)
    assert (await source.busy("new")).retry_after == 1
    source.clock.move(0.1)
    assert await source.key_ids("another") == []

    assert source.held_key_ids("new") == ["new"]
    assert source.server.count == 5


async def test_a_request_that_joins_a_running_fetch_fetches_once_more() -> None:
    """A fetch that began before the request may have been answered before the key was published."""
    source = StubbedSource("old")
    await source.key_ids("old")
    source.server.released.clear()

    async def rotated() -> list[str | None]:
        await wait_until(lambda: source.server.count == 2)
        source.server.publish("old", "new")
        return await source.key_ids("new")

    async def release() -> None:
        source.server.released.set()

    answers = await run_together([partial(source.key_ids, "other"), rotated], release)

    assert answers == [[], ["new"]]
    assert source.server.count == 3


async def test_a_key_of_another_algorithm_is_another_key() -> None:
    """Keys are found by kid and algorithm. A combination without a key counts as unknown."""
    source = StubbedSource("a")

    assert await source.key_ids("a", "ES256") == []
    assert await source.key_ids(None, "ES256") == []
    assert await source.key_ids("a", "PS256") == ["a"]
    assert source.server.count == 2  # the first brought the set


async def test_keys_without_an_id_are_tried_where_none_bears_it() -> None:
    """Keys without a kid are tried if no key has the token's kid, and a token without a kid is tried with all keys."""
    source = StubbedSource()
    source.server.answer = key_set(published_jwk(None, rsa_key()), b=rsa_key(which=1))

    assert await source.key_ids("a") == [None]
    assert await source.key_ids("a") == [None]
    assert (source.held_key_ids("b"), source.held_key_ids(None)) == (["b"], [None, "b"])
    assert source.server.count == 1


async def test_what_a_busy_source_says() -> None:
    """The error has the age of the keys, the fetches that are left to the requester, and when to ask again."""
    source = StubbedSource("a")
    await source.key_ids("a")
    for number in range(FETCH_BURST):
        source.clock.move(1)
        await source.key_ids(f"random-{number}")
    source.clock.move(2.5)

    error = await source.busy("new")
    assert (error.reason, error.age, error.fetches_left, error.retry_after) == (KEYS_BUSY, 2.5, 0, 26)
    again = await source.busy("random-2")
    assert (again.age, again.fetches_left, again.retry_after) == (2.5, 0, 28)
    source.clock.move(60)
    await source.key_ids("random-0")
    again = await source.busy("random-0")
    assert (again.age, again.fetches_left, again.retry_after) == (0, 1, 30)


async def test_a_network_leaves_fetches_to_the_others() -> None:
    """A stranger's random kids use up the fetches of the stranger's network. The next network still has one."""
    source = StubbedSource("a")
    await source.key_ids("a")
    stranger, owner = Requester("198.51.100.1"), Requester("192.0.2.7")
    for number in range(100):
        await source.has_fetched(f"random-{number}", requester=stranger)
    assert (source.server.count, (await source.busy("new", requester=stranger)).fetches_left) == (1 + FETCH_BURST, 0)
    source.server.publish("a", "new")

    assert await source.key_ids("new", requester=owner) == ["new"]


async def test_many_networks_leave_fetches_to_known_ones() -> None:
    """Strangers in a hundred networks use up what all networks have together, but not what known networks have."""
    source = StubbedSource("a")
    await source.key_ids("a")
    for number in range(100):
        await source.has_fetched(f"random-{number}", requester=Requester(f"198.51.100.{number}"))
    assert source.server.count == 1 + TOTAL_BURST
    source.server.publish("a", "new")

    await source.busy("new", requester=Requester("192.0.2.7"))
    assert source.keys.health()["fetches_left"] == {"known": TOTAL_BURST, "others": 0}
    assert await source.key_ids("new", requester=Requester("192.0.2.7", known=True)) == ["new"]


async def test_a_kid_that_a_stranger_guessed_is_fetched_for_others() -> None:
    """A stranger who names the next kid before it is published keeps it missing for the stranger's network only."""
    source = StubbedSource("old")
    await source.key_ids("old")
    assert await source.key_ids("new", requester=Requester("198.51.100.1")) == []
    source.server.publish("old", "new")

    await source.busy("new", requester=Requester("198.51.100.1"))
    assert await source.key_ids("new", requester=Requester("192.0.2.7")) == ["new"]


async def test_forged_signatures_of_a_network_leave_fetches_to_the_others() -> None:
    """A key may be replaced under its kid while a stranger forges signatures for many kids."""
    kids = [f"k{number}" for number in range(10)]
    source = StubbedSource(*kids)
    stranger, owner = Requester("198.51.100.1"), Requester("192.0.2.7")
    tried = await source.keys.keys_for(kid="k9", algorithm="RS256")
    for kid in kids * 3:
        keys = await source.keys.keys_for(kid=kid, algorithm="RS256")
        assert await source.keys.refetch(keys, kid=kid, algorithm="RS256", requester=stranger) is None
    assert source.server.count == 1 + FETCH_BURST
    assert source.keys.health()["refetches_left"] == {"known": TOTAL_BURST, "others": TOTAL_BURST - FETCH_BURST}
    source.server.answer = key_set(k9=rsa_key(which=1))

    again = await source.keys.refetch(tried, kid="k9", algorithm="RS256", requester=owner)

    assert again == source.keys.held(kid="k9", algorithm="RS256") != tried


async def test_a_busy_source_gives_the_keys_without_an_id() -> None:
    """A set may have a key without a kid, which may have signed a token with any kid."""
    source = StubbedSource()
    source.server.answer = key_set(published_jwk(None, rsa_key()))
    for number in range(FETCH_BURST + 1):
        assert await source.key_ids(f"random-{number}") == [None]

    with pytest.raises(KeysBusy) as caught:
        await source.keys.keys_for(kid="new", algorithm="RS256")

    assert [key.kid for key in caught.value.keys] == [None]


def test_a_budget_counts_networks_apart_and_remembers_so_many() -> None:
    """Each network has its own fetches, within those of all. The networks that are counted are bounded."""
    budget = FetchBudget(30)

    def taken(requester: Requester, now: float) -> int:
        return sum(budget.acquire(requester, now) for _ in range(10))

    a, b, c = (Requester(name) for name in "abc")
    assert [taken(a, 0), taken(b, 0), taken(c, 0)] == [3, 1, 0]
    assert [budget.wait(requester, 0) for requester in (a, b, c)] == [30, 30, 30]
    assert [budget.left(requester, 0) for requester in (a, b, c)] == [0, 0, 0]
    assert [taken(b, 30), taken(a, 30), taken(b, 59.9), taken(a, 60)] == [1, 0, 0, 1]
    assert [taken(Requester("a", known=True), 1000), budget.left(Requester("a"), 1000)] == [3, 0]
    assert budget.totals(1000) == {"known": 1, "others": 4}
    for number in range(2 * MAX_NETWORKS):
        budget.acquire(Requester(str(number)), 1e6 + 30 * number)
    assert len(budget._networks._full_at) <= MAX_NETWORKS


def test_a_bucket_says_how_many_tokens_it_has_and_when_the_next_one_comes() -> None:
    """Parts of a token do not count."""
    bucket = TokenBucket(Rate(3, 10))
    bucket.acquire(0)
    bucket.acquire(0)

    assert [(bucket.remaining(now), bucket.wait(now)) for now in (0, 9.9, 10, 19.9, 20)] == [
        (1, 0),
        (1, 0),
        (2, 0),
        (2, 0),
        (3, 0),
    ]
    bucket.acquire(0)
    assert (bucket.remaining(0), bucket.wait(0), bucket.wait(4)) == (0, 10, 6)


def test_a_budget_allows_three_fetches_and_regains_one_each_cooldown() -> None:
    """The budget never exceeds three fetches, however long none was used."""
    budget = TokenBucket(Rate(3, 30))

    def taken(now: float) -> int:
        return sum(budget.acquire(now) for _ in range(10))

    assert [taken(now) for now in (0, 29.9, 30, 59.9, 60, 120, 100_000)] == [3, 0, 1, 0, 1, 2, 3]


def test_misses_are_forgotten_after_a_while_and_by_number() -> None:
    """Missing keys are remembered for a cooldown and up to a number, for each algorithm apart."""
    misses = NegativeCache(seconds=30, most=8)
    for kid in (None, "a", "\ud800", "a" * 10_000):
        assert not misses.has(kid, "RS256", now=0)
        misses.add(kid, "RS256", now=0)
        assert misses.has(kid, "RS256", now=29.9)
        assert not misses.has(kid, "RS256", now=30)
        assert not misses.has(kid, "ES256", now=0)
    for number in range(1000):
        misses.add(f"random-{number}", "RS256", now=0)

    assert len(misses) <= 8
    assert misses.has("random-999", "RS256", now=0)


def test_a_look_up_costs_the_same_among_a_thousand_keys() -> None:
    """A look-up by kid costs the same among a thousand keys. A token without a kid is tried with a few of them."""

    def cost(count: int) -> float:
        source = StaticKeys(VerificationKey("RS256", str(number), None) for number in range(count))
        look: Callable[[], object] = partial(source.exact_match, str(count - 1), "RS256")
        return min(repeat(look, timer=thread_time, number=2000, repeat=7))

    assert cost(1000) < 5 * cost(1)
