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
from authguard.keys import cache
from authguard.keys.source import StaticKeys, VerificationKey
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

    for _ in range(100):
        assert await source.key_ids("gone") == []
    assert source.server.count == 2
    source.clock.move(30)
    for _ in range(100):
        assert await source.key_ids("gone") == []

    assert source.server.count == 3


async def test_a_key_that_is_known_to_be_missing_does_not_wait() -> None:
    """A token with a key that is known to be missing does not wait for the fetch of other requests."""
    source = StubbedSource("a")
    await source.key_ids("gone")
    source.server.released.clear()

    async def meanwhile() -> None:
        with anyio.fail_after(30):
            assert await source.key_ids("gone") == []
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

    await run_together([partial(source.key_ids, f"random-{number}") for number in range(20)], release)
    for number in range(20, 40):
        await source.key_ids(f"random-{number}")

    assert source.server.count == 2 + cache.FETCH_BURST


@pytest.mark.rfc("limits-6")
async def test_a_flood_of_random_kids_costs_a_few_fetches() -> None:
    """A thousand random kids cause the first fetch and three more. Known keys stay held, and little is remembered."""
    source = StubbedSource("a")
    await source.key_ids("a")

    for number in range(1000):
        assert await source.key_ids(f"random-{number}") == []
        assert source.held_key_ids("a") == ["a"]

    assert source.server.count == 1 + cache.FETCH_BURST
    assert len(source.keys._not_found) <= 1024


async def test_a_flood_all_at_once_costs_no_more() -> None:
    """A thousand random kids at the same time cause no more fetches, even before the first fetch."""
    source = StubbedSource("a")
    source.server.released.clear()

    async def release() -> None:
        source.server.released.set()

    answers = await run_together([partial(source.key_ids, f"random-{number}") for number in range(1000)], release)

    assert answers == [[]] * 1000
    assert source.server.count <= 1 + cache.FETCH_BURST


async def test_a_rotation_during_a_flood_is_noticed_within_one_cooldown() -> None:
    """Whichever request uses the regained fetch, it brings the new key for all of them."""
    source = StubbedSource("old")
    await source.key_ids("old")
    for number in range(1000):
        await source.key_ids(f"random-{number}")
    assert source.server.count == 4
    source.server.publish("old", "new")

    assert await source.key_ids("new") == []
    source.clock.move(29.9)
    assert await source.key_ids("new") == []
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
