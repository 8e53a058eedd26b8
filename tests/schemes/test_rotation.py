"""A key that was replaced without a new ``kid``: after a wrong signature, the key set is fetched again."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from authguard import RemoteJWKS
from authguard.keys.fetch_budget import FETCH_BURST
from authguard.keys.source import RefetchableKeys
from tests.support.coroutines import run_together, wait_until
from tests.support.guards import Answer, GuardedApp
from tests.support.key_source import StubbedSource
from tests.support.schemes.bearer import bearer, issuer
from tests.support.tokens import ec_key, key_set, mint, published_jwk, rsa_key


def guarded_app(source: StubbedSource, **changes: Any) -> GuardedApp:
    """An app whose keys come from this source."""
    return GuardedApp(bearer(issuer(source.keys), **changes))


def token(kid: str | None = "a", which: int = 0, **changes: Any) -> str:
    """A token that is signed with this key and names that one."""
    return mint(
        key=rsa_key(which=which) if which else rsa_key(), headers={} if kid is None else {"kid": kid}, **changes
    )


def summary(answer: Answer) -> tuple[int, str | None]:
    """The status and the reason."""
    return answer.status, answer.reason


FORGED = (401, "token.signature_invalid")


@pytest.mark.parametrize(("before", "after", "named"), [("a", "a", "a"), (None, None, None), ("a", "b", None)])
async def test_a_rotation_without_a_new_kid_is_noticed(
    before: str | None, after: str | None, named: str | None
) -> None:
    """If a kid is reused, or tokens have none, the first token with the new key causes one fetch."""
    source = StubbedSource()
    source.server.answer = key_set(published_jwk(before, rsa_key()))
    app = guarded_app(source)
    assert (await app.get_with_token(token(named))).status == 200
    source.server.answer = key_set(published_jwk(after, rsa_key(which=1)))

    assert (await app.get_with_token(token(named, which=1))).status == 200
    assert (await app.get_with_token(token(named, which=1))).status == 200
    assert source.server.count == 2
    assert summary(await app.get_with_token(token(named))) == FORGED


async def test_a_forged_signature_costs_one_fetch_in_a_cooldown() -> None:
    """A forged signature causes one fetch for each key and cooldown. A rotation is noticed after the cooldown."""
    source = StubbedSource("a")
    app = guarded_app(source)
    assert (await app.get_with_token(token())).status == 200

    assert [summary(await app.get_with_token(token(which=1, jti=str(n)))) for n in range(20)] == [FORGED] * 20
    assert source.server.count == 2
    source.server.answer = key_set(a=rsa_key(which=1))
    source.clock.move(29.9)
    assert summary(await app.get_with_token(token(which=1))) == FORGED
    source.clock.move(0.1)

    assert (await app.get_with_token(token(which=1))).status == 200
    assert source.server.count == 3


async def test_forged_signatures_leave_the_fetches_for_new_keys() -> None:
    """Fetches after wrong signatures have a budget of their own, however many keys the forgeries name."""
    source = StubbedSource()
    kids = [f"k{number}" for number in range(10)]
    source.server.answer = key_set(**{kid: rsa_key() for kid in kids})
    app = guarded_app(source)
    for kid in kids * 3:
        assert summary(await app.get_with_token(token(kid, which=1))) == FORGED
    assert source.server.count == 1 + FETCH_BURST

    source.server.answer = key_set(new=rsa_key(), **{kid: rsa_key() for kid in kids})
    assert (await app.get_with_token(token("new"))).status == 200
    assert source.server.count == 2 + FETCH_BURST


async def test_many_at_once_are_one_fetch() -> None:
    """A rotation under load causes one fetch, and all waiting requests are decided by the new key set."""
    source = StubbedSource("a")
    app = guarded_app(source)
    assert (await app.get_with_token(token())).status == 200
    source.server.answer = key_set(a=rsa_key(which=1))
    source.server.released.clear()

    async def release() -> None:
        await wait_until(lambda: source.server.count == 2)
        source.server.released.set()

    answers = await run_together([partial(app.get_with_token, token(which=1))] * 50, release)

    assert [answer.status for answer in answers] == [200] * 50
    assert source.server.count == 2


async def test_a_forged_signature_is_a_401_during_an_outage() -> None:
    """A forged signature under a known key is a 401 during an outage, and the number of fetches stays bounded."""
    source = StubbedSource("a")
    app = guarded_app(source)
    assert (await app.get_with_token(token())).status == 200
    source.server.answer = OSError()

    for _ in range(3):
        assert summary(await app.get_with_token(token(which=1))) == FORGED
        assert (await app.get_with_token(token())).status == 200
    assert source.server.count == 2
    source.clock.move(700)
    assert summary(await app.get_with_token(token(which=1))) == FORGED


async def test_a_withdrawn_key_is_reported_as_unknown() -> None:
    """If the new fetch shows that the key was withdrawn, the reason is an unknown key."""
    source = StubbedSource("a")
    app = guarded_app(source)
    assert (await app.get_with_token(token())).status == 200
    source.server.answer = key_set(b=rsa_key())

    assert summary(await app.get_with_token(token(which=1))) == (401, "key.unknown")


async def test_a_key_without_an_id_serves_on_during_an_outage() -> None:
    """During an outage, a token is accepted if the key without an id fits. Else it is a 503, as its key may be
    unavailable."""
    source = StubbedSource()
    source.server.answer = key_set(published_jwk(None, rsa_key()))
    app = guarded_app(source)
    assert (await app.get_with_token(token("x"))).status == 200
    source.server.answer = OSError()
    source.clock.move(700)

    assert (await app.get_with_token(token("x"))).status == 200
    assert summary(await app.get_with_token(token("x", which=1))) == (503, "keys.unavailable")
    expired = await app.get_with_token(token("x", which=1, exp=1))
    assert (summary(expired), expired.record.facts["signature"]) == ((401, "token.expired"), "unchecked")
    assert summary(await app.get_with_token(token(None, which=1))) == FORGED


async def test_without_a_key_set_nothing_is_fetched_again() -> None:
    """Without a key set, a wrong signature causes no fetch."""
    source = StubbedSource("a")

    assert await source.keys.refetch((), kid="a", algorithm="RS256") is None
    assert source.server.count == 0


async def test_a_key_set_that_changed_meanwhile_is_used_without_a_fetch() -> None:
    """If another request fetched a new key set meanwhile, the signature is checked against it without a fetch."""
    source = StubbedSource("a")
    tried = await source.keys.keys_for(kid="a", algorithm="RS256")
    source.server.answer = key_set(a=rsa_key(which=1))
    await source.keys.warm()

    again = await source.keys.refetch(tried, kid="a", algorithm="RS256")

    assert again == source.keys.held(kid="a", algorithm="RS256")
    assert source.server.count == 2


def test_static_keys_are_never_fetched_again() -> None:
    """Only an issuer with fetched keys tries again after a wrong signature."""
    fetched = RemoteJWKS("https://login.example/jwks")

    assert isinstance(fetched, RefetchableKeys)
    assert issuer(fetched).refetchable is fetched
    assert issuer().refetchable is None


async def test_a_key_for_other_algorithms_is_recorded() -> None:
    """The record says for which algorithms the key is held, because the issuer's ``algorithms`` may be wrong."""
    source = StubbedSource()
    source.server.answer = key_set(a=ec_key())
    app = guarded_app(source)
    assert source.keys.algorithms_of("a") == ()

    answer = await app.get_with_token(token())

    assert (summary(answer), answer.record.facts["held"]) == ((401, "key.unknown"), ("ES256",))
    assert "held" not in (await app.get_with_token(token("b"))).record.facts
