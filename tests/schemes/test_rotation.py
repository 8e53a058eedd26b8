"""A key that was replaced without a new ``kid``: a signature that does not fit is looked at again."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from authguard import RemoteJWKS
from authguard.keys import cache
from authguard.keys.source import RefetchableKeys
from tests.support.coroutines import run_together, wait_until
from tests.support.guards import Answer, GuardedApp
from tests.support.key_source import StubbedSource
from tests.support.schemes.bearer import bearer, issuer
from tests.support.tokens import ec_key, key_set, mint, published_jwk, rsa_key


def door(source: StubbedSource, **changes: Any) -> GuardedApp:
    """An app whose keys come from this source."""
    return GuardedApp(bearer(issuer(source.keys), **changes))


def token(kid: str | None = "a", which: int = 0, **changes: Any) -> str:
    """A token signed with this key, that names that one."""
    return mint(
        key=rsa_key(which=which) if which else rsa_key(), headers={} if kid is None else {"kid": kid}, **changes
    )


def told(answer: Answer) -> tuple[int, str | None]:
    """Its status and its reason."""
    return answer.status, answer.reason


FORGED = (401, "token.signature_invalid")


@pytest.mark.parametrize(("before", "after", "named"), [("a", "a", "a"), (None, None, None), ("a", "b", None)])
async def test_a_rotation_that_shows_in_no_kid_is_seen(
    before: str | None, after: str | None, named: str | None
) -> None:
    """Where the kid is used again, and where tokens bear none: the first new token costs one fetch."""
    source = StubbedSource()
    source.server.answer = key_set(published_jwk(before, rsa_key()))
    asked = door(source)
    assert (await asked.get_with_token(token(named))).status == 200
    source.server.answer = key_set(published_jwk(after, rsa_key(which=1)))

    assert (await asked.get_with_token(token(named, which=1))).status == 200
    assert (await asked.get_with_token(token(named, which=1))).status == 200
    assert source.server.count == 2
    assert told(await asked.get_with_token(token(named))) == FORGED


async def test_a_forged_signature_costs_one_fetch_in_a_cooldown() -> None:
    """For each key that is there, and stays what it is; a rotation is seen when the cooldown is over."""
    source = StubbedSource("a")
    asked = door(source)
    assert (await asked.get_with_token(token())).status == 200

    assert [told(await asked.get_with_token(token(which=1, jti=str(n)))) for n in range(20)] == [FORGED] * 20
    assert source.server.count == 2
    source.server.answer = key_set(a=rsa_key(which=1))
    source.clock.move(29.9)
    assert told(await asked.get_with_token(token(which=1))) == FORGED
    source.clock.move(0.1)

    assert (await asked.get_with_token(token(which=1))).status == 200
    assert source.server.count == 3


async def test_forged_signatures_leave_the_fetches_for_new_keys() -> None:
    """They have a budget of their own, however many keys they name."""
    source = StubbedSource()
    kids = [f"k{number}" for number in range(10)]
    source.server.answer = key_set(**{kid: rsa_key() for kid in kids})
    asked = door(source)
    for kid in kids * 3:
        assert told(await asked.get_with_token(token(kid, which=1))) == FORGED
    assert source.server.count == 1 + cache.IN_HAND

    source.server.answer = key_set(new=rsa_key(), **{kid: rsa_key() for kid in kids})
    assert (await asked.get_with_token(token("new"))).status == 200
    assert source.server.count == 2 + cache.IN_HAND


async def test_many_at_once_are_one_fetch() -> None:
    """A rotation under load: all wait for the same, and all are judged by the new set."""
    source = StubbedSource("a")
    asked = door(source)
    assert (await asked.get_with_token(token())).status == 200
    source.server.answer = key_set(a=rsa_key(which=1))
    source.server.released.clear()

    async def let_go() -> None:
        await wait_until(lambda: source.server.count == 2)
        source.server.released.set()

    answers = await run_together([partial(asked.get_with_token, token(which=1))] * 50, let_go)

    assert [answer.status for answer in answers] == [200] * 50
    assert source.server.count == 2


async def test_a_forged_signature_under_a_known_key_stays_one_during_an_outage() -> None:
    """The key is known, so the server need not be asked; the budget bounds how often it is."""
    source = StubbedSource("a")
    asked = door(source)
    assert (await asked.get_with_token(token())).status == 200
    source.server.answer = OSError()

    for _ in range(3):
        assert told(await asked.get_with_token(token(which=1))) == FORGED
        assert (await asked.get_with_token(token())).status == 200
    assert source.server.count == 2
    source.clock.move(700)
    assert told(await asked.get_with_token(token(which=1))) == FORGED


async def test_a_key_that_went_meanwhile_is_told_as_unknown() -> None:
    """The look shows that it was withdrawn."""
    source = StubbedSource("a")
    asked = door(source)
    assert (await asked.get_with_token(token())).status == 200
    source.server.answer = key_set(b=rsa_key())

    assert told(await asked.get_with_token(token(which=1))) == (401, "key.unknown")


async def test_a_key_without_an_id_serves_on_during_an_outage() -> None:
    """200 where it fits, and else 503: the key that the token names may be one of those that cannot be had."""
    source = StubbedSource()
    source.server.answer = key_set(published_jwk(None, rsa_key()))
    asked = door(source)
    assert (await asked.get_with_token(token("x"))).status == 200
    source.server.answer = OSError()
    source.clock.move(700)

    assert (await asked.get_with_token(token("x"))).status == 200
    assert told(await asked.get_with_token(token("x", which=1))) == (503, "keys.unavailable")
    expired = await asked.get_with_token(token("x", which=1, exp=1))
    assert (told(expired), expired.record.facts["signature"]) == ((401, "token.expired"), "unchecked")
    assert told(await asked.get_with_token(token(None, which=1))) == FORGED


async def test_where_no_set_is_held_there_is_nothing_to_look_at_again() -> None:
    """Nor is anything fetched."""
    source = StubbedSource("a")

    assert await source.keys.refetch((), kid="a", algorithm="RS256") is None
    assert source.server.count == 0


async def test_a_set_that_another_has_brought_is_judged_without_a_fetch() -> None:
    """Between the answer and the signature."""
    source = StubbedSource("a")
    tried = await source.keys.keys_for(kid="a", algorithm="RS256")
    source.server.answer = key_set(a=rsa_key(which=1))
    await source.keys.warm()

    again = await source.keys.refetch(tried, kid="a", algorithm="RS256")

    assert again == source.keys.held(kid="a", algorithm="RS256")
    assert source.server.count == 2


def test_only_keys_that_are_fetched_are_looked_at_again() -> None:
    """Known when the issuer is built."""
    fetched = RemoteJWKS("https://login.example/jwks")

    assert isinstance(fetched, RefetchableKeys)
    assert issuer(fetched).refetchable is fetched
    assert issuer().refetchable is None


async def test_a_key_that_is_there_for_other_algorithms_is_told() -> None:
    """In the record, with what it is held for: the issuer's ``algorithms`` may be wrong."""
    source = StubbedSource()
    source.server.answer = key_set(a=ec_key())
    asked = door(source)
    assert source.keys.algorithms_of("a") == ()

    answer = await asked.get_with_token(token())

    assert (told(answer), answer.record.facts["held"]) == ((401, "key.unknown"), ("ES256",))
    assert "held" not in (await asked.get_with_token(token("b"))).record.facts
