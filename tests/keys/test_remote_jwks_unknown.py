"""Keys that are not in the set: what looking for them costs, and who pays."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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


async def test_a_key_that_is_not_known_is_fetched() -> None:
    """Rotated: the first token with the new key costs one fetch, and no token waits for a cooldown."""
    source = StubbedSource("old")
    await source.key_ids("old")

    source.server.publish("old", "new")

    assert await source.key_ids("new") == ["new"]
    assert (source.at_hand("old"), source.at_hand("new")) == (["old"], ["new"])
    assert source.server.count == 2


async def test_a_key_that_is_nowhere_is_looked_for_once_in_a_cooldown() -> None:
    """The same stale token does not eat up the budget that a rotation will need."""
    source = StubbedSource("a")
    await source.key_ids("a")

    for _ in range(100):
        assert await source.key_ids("gone") == []
    assert source.server.count == 2
    source.clock.move(30)
    for _ in range(100):
        assert await source.key_ids("gone") == []

    assert source.server.count == 3


async def test_who_is_known_to_be_nowhere_does_not_wait_for_a_fetch() -> None:
    """While one is under way that others wait for."""
    source = StubbedSource("a")
    await source.key_ids("gone")
    source.server.released.clear()

    async def meanwhile() -> None:
        with anyio.fail_after(1):
            assert await source.key_ids("gone") == []
        source.server.released.set()

    assert await run_together([partial(source.key_ids, "other")], meanwhile) == [[]]


async def test_who_joins_a_fetch_that_was_due_spends_nothing_of_the_budget() -> None:
    """A refresh is no answer to an unknown key, and costs none of the three that are."""
    source = StubbedSource("a")
    await source.key_ids("a")
    source.server.released.clear()
    source.clock.move(480)
    assert source.at_hand("a") == ["a"]

    async def let_go() -> None:
        source.server.released.set()

    await run_together([partial(source.key_ids, f"random-{number}") for number in range(20)], let_go)
    for number in range(20, 40):
        await source.key_ids(f"random-{number}")

    assert source.server.count == 2 + cache.IN_HAND


@pytest.mark.rfc("limits-6")
async def test_a_flood_of_random_kids_costs_a_few_fetches() -> None:
    """1,000 of them: the first fetch and three more; known keys stay at hand throughout, and little is remembered."""
    source = StubbedSource("a")
    await source.key_ids("a")

    for number in range(1000):
        assert await source.key_ids(f"random-{number}") == []
        assert source.at_hand("a") == ["a"]

    assert source.server.count == 1 + cache.IN_HAND
    assert len(source.keys._not_found) <= 1024


async def test_a_flood_all_at_once_costs_no_more() -> None:
    """1,000 on one loop at one time, and the first look-up still to come."""
    source = StubbedSource("a")
    source.server.released.clear()

    async def let_go() -> None:
        source.server.released.set()

    answers = await run_together([partial(source.key_ids, f"random-{number}") for number in range(1000)], let_go)

    assert answers == [[]] * 1000
    assert source.server.count <= 1 + cache.IN_HAND


async def test_a_rotation_under_a_flood_is_seen_within_one_cooldown() -> None:
    """Whoever spends the one fetch that was regained, it brings the new key for all."""
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

    assert source.at_hand("new") == ["new"]
    assert source.server.count == 5


async def test_who_joins_a_fetch_that_began_before_he_asked_looks_once_more() -> None:
    """It may have been answered before the key was published."""
    source = StubbedSource("old")
    await source.key_ids("old")
    source.server.released.clear()

    async def rotated() -> list[str | None]:
        await wait_until(lambda: source.server.count == 2)
        source.server.publish("old", "new")
        return await source.key_ids("new")

    async def let_go() -> None:
        source.server.released.set()

    answers = await run_together([partial(source.key_ids, "other"), rotated], let_go)

    assert answers == [[], ["new"]]
    assert source.server.count == 3


async def test_a_key_of_another_algorithm_is_another_key() -> None:
    """By its id and its algorithm; what no key is there for is looked up as an unknown one."""
    source = StubbedSource("a")

    assert await source.key_ids("a", "ES256") == []
    assert await source.key_ids(None, "ES256") == []
    assert await source.key_ids("a", "PS256") == ["a"]
    assert source.server.count == 2  # the first brought the set


async def test_keys_without_an_id_are_tried_where_none_bears_it() -> None:
    """And a token that names no key is tried with all."""
    source = StubbedSource()
    source.server.answer = key_set(published_jwk(None, rsa_key()), b=rsa_key(which=1))

    assert await source.key_ids("a") == [None]
    assert await source.key_ids("a") == [None]
    assert (source.at_hand("b"), source.at_hand(None)) == (["b"], [None, "b"])
    assert source.server.count == 1


def test_a_budget_has_three_in_hand_and_regains_one_each_cooldown() -> None:
    """However long nobody spent, there are never more."""
    budget = TokenBucket(Rate(3, 30))

    def taken(now: float) -> int:
        return sum(budget.acquire(now) for _ in range(10))

    assert [taken(now) for now in (0, 29.9, 30, 59.9, 60, 120, 100_000)] == [3, 0, 1, 0, 1, 2, 3]


def test_misses_are_forgotten_after_a_while_and_by_number() -> None:
    """Whatever a kid looks like; one algorithm's is not another's."""
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
    """By id; a token that names none is tried with a few."""

    def cost(count: int) -> float:
        source = StaticKeys(VerificationKey("RS256", str(number), None) for number in range(count))
        look: Callable[[], object] = partial(source.named, str(count - 1), "RS256")
        return min(repeat(look, number=2000, repeat=7))

    assert cost(1000) < 5 * cost(1)
