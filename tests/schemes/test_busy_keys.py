"""Tokens whose key is unknown while no fetch is left: which are 503 ``keys.busy``, which are 401, and how many."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pytest

from authguard import Issuer, VerificationKey
from authguard.keys import KeysBusy, Requester
from authguard.keys.fetch_budget import FETCH_BURST
from authguard.reasons import KEYS_BUSY
from authguard.records.record import level_of
from authguard.schemes.bearer import signature_verifier
from authguard.schemes.bearer.signature_verifier import BUSY_RATE, BUSY_RATE_KNOWN, MAX_SKEW
from authguard.testing import ManualClock
from tests.support.asgi import Exchange, RecordingApp
from tests.support.clock import NOW
from tests.support.guards import RecordingGuard
from tests.support.key_source import StubbedSource
from tests.support.schemes.bearer import bearer, essential, issuer
from tests.support.tokens import claims, key_set, mint, published_jwk, rsa_key, unsigned_token, with_signature

STRANGER, OWNER = "198.51.100.1", "192.0.2.7"
LEEWAY = 60.0


class BusyApp:
    """An app whose keys come from a key server. The last fetch was ``age`` seconds ago, and none is left."""

    def __init__(self, source: Any = None, *, leeway: float = LEEWAY, age: float = 0, **changes: Any) -> None:
        self.source = StubbedSource("a") if source is None else source
        self.clock = ManualClock(1000)
        keys = self.source.keys if isinstance(self.source, StubbedSource) else self.source
        self.issuer: Issuer = issuer(keys, **changes)
        self.guard = RecordingGuard(bearer(self.issuer, clock=self.clock), leeway=leeway)
        self.app = RecordingApp()
        self.age = age

    async def exhaust(self) -> BusyApp:
        """Use up the fetches of the stranger's network, some time after the keys were fetched."""
        for number in range(FETCH_BURST + 1):
            await self.send(f"invented-{number}", iat=NOW - 3600)
        assert self.source.server.count == 1 + FETCH_BURST
        self.source.clock.move(self.age)
        self.guard.records.clear()
        return self

    async def send(self, kid: str | None, client: str = STRANGER, **changes: Any) -> Exchange:
        """Send a token that names this key, with a signature that nothing verifies."""
        header = {"alg": "RS256"} if kid is None else {"alg": "RS256", "kid": kid}
        token = with_signature(unsigned_token(header, claims(**changes)), bytes(256)).decode()
        return await self.guard.request(self.app, field=f"Bearer {token}", client=(client, 40000))

    @property
    def facts(self) -> dict[str, Any]:
        """The facts of the last record, without the fingerprint of the token and without what explains the refusal."""
        record = self.guard.records[-1]
        facts = essential(record.reason or "", record.facts)[1]
        return {name: fact for name, fact in facts.items() if name != "token"}


async def test_a_token_that_may_be_newer_than_the_keys_is_a_503() -> None:
    """The response has Retry-After and no challenge. The record has the age of the keys, and that no fetch is left."""
    app = await BusyApp(age=12.5).exhaust()

    answer = await app.send("new", iat=NOW)

    assert (answer.status, app.guard.denial_reasons) == (503, ["keys.busy"])
    assert (answer.lines(b"retry-after"), answer.lines(b"www-authenticate")) == (["18"], [])
    assert app.facts == {"kid": "new", "algorithm": "RS256", "fetches_left": 0, "keys_age": 12.5, "retry_after": 18}
    assert (app.guard.records[0].subject, app.guard.records[0].subject_proven) == ("alice", False)


def test_it_is_a_warning() -> None:
    """A client can cause it, so that an ERROR would be an alarm that a stranger can raise."""
    assert (KEYS_BUSY.status, level_of(KEYS_BUSY)) == (503, logging.WARNING)


@pytest.mark.parametrize("age", [20, 25.5])
@pytest.mark.parametrize(
    ("leeway", "issued", "status"),
    [
        (60, 0, 503),
        (60, 20, 503),
        (60, -MAX_SKEW - 1, 503),
        (60, -MAX_SKEW - 1.001, 401),
        (60, -3600, 401),
        (2, -3, 503),
        (2, -3.001, 401),
        (0, -1, 503),
        (0, -1.001, 401),
    ],
)
async def test_a_token_that_is_older_than_the_keys_is_a_401(
    age: float, leeway: float, issued: float, status: int
) -> None:
    """Its key would have been in the set when that was fetched. ``issued``: when, counted from that fetch. The second
    that ``iat`` may have been rounded down by, and a little of the leeway, are granted."""
    app = await BusyApp(leeway=leeway, age=age).exhaust()

    answer = await app.send("new", iat=NOW - age + issued)

    assert answer.status == status
    assert app.guard.denial_reasons == ["keys.busy" if status == 503 else "key.unknown"]
    assert (app.facts["keys_age"], app.facts["fetches_left"]) == (age, 0)


async def test_a_token_that_does_not_say_when_it_was_issued_may_be_new() -> None:
    """``iat`` is optional, and nothing shows that the token is older than the keys."""
    assert (await (await BusyApp(age=5).exhaust()).send("new", iat=...)).status == 503


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": NOW - 600},
        {"aud": "billing"},
        {"exp": ...},
        {"sub": ...},
        {"sub": ""},
        {"nbf": NOW + 600},
        {"iat": NOW + 600},
        {"iat": None},
        {"iat": "now"},
        {"cnf": {"jkt": "x"}},
    ],
    ids=str,
)
async def test_a_token_that_no_key_could_make_valid_is_a_401(changes: dict[str, Any]) -> None:
    """A retry with such a token would be useless. The reason stays that of an unknown key."""
    app = await BusyApp(age=5).exhaust()

    answer = await app.send("new", **{"iat": NOW, **changes})

    assert (answer.status, app.guard.denial_reasons) == (401, ["key.unknown"])
    assert app.facts == {"kid": "new", "algorithm": "RS256", "fetches_left": 0, "keys_age": 5.0}


async def test_a_token_that_was_refused_stays_refused() -> None:
    """If a fetch did not bring the key of a token, the token is older than that fetch, whatever its ``iat`` says. A
    client that repeats it gets 401 each time."""
    app = BusyApp()
    for _ in range(5):
        answer = await app.send("b", iat=NOW)
        assert (answer.status, app.guard.denial_reasons[-1]) == (401, "key.unknown")

    assert app.facts == {"kid": "b", "algorithm": "RS256", "fetches_left": 3, "keys_age": 0.0}
    assert app.source.server.count == 1
    app.clock.move(signature_verifier.REFUSED_FOR)
    assert (await app.send("b", iat=NOW)).status == 503


async def test_another_token_with_a_missing_key_may_be_newer() -> None:
    """A key id that was missing a moment ago may have been published since, for a token that was issued since."""
    app = BusyApp()
    assert (await app.send("b", iat=NOW)).status == 401

    assert (await app.send("b", iat=NOW, jti="another")).status == 503
    assert (await app.send("b", iat=NOW - 60, jti="older")).status == 401
    assert app.source.server.count == 1


# --- how many ---------------------------------------------------------------------------------------------------------


async def statuses(app: BusyApp, number: int, client: str = STRANGER) -> list[int]:
    """The statuses of so many tokens with keys that nobody knows."""
    return [(await app.send(f"new-{each}", client, iat=NOW)).status for each in range(number)]


async def test_a_network_gets_few_of_them() -> None:
    """Ten at once and then one every six seconds are 503. The others are 401, so that no stranger raises an alarm."""
    app = await BusyApp().exhaust()

    assert await statuses(app, 100) == [503] * BUSY_RATE.burst + [401] * 90
    app.clock.move(BUSY_RATE.seconds)
    assert await statuses(app, 10) == [503] + [401] * 9


async def test_networks_are_counted_apart() -> None:
    """What a stranger uses up is that of the stranger's network. Addresses of one IPv6 /64 are one network."""
    app = await BusyApp().exhaust()
    await statuses(app, 100)
    for network in range(10):  # no network has a fetch left
        await app.send(f"x-{network}", f"203.0.113.{network}", iat=NOW - 3600)

    assert await statuses(app, 1, OWNER) == [503]
    assert await statuses(app, 10, "2001:db8::1") == [503] * 10
    assert await statuses(app, 1, "2001:db8::2") == [401]
    assert await statuses(app, 1, "2001:db8:0:1::1") == [503]


async def test_a_network_from_which_tokens_were_accepted_gets_more() -> None:
    """Many owners may have one address, together with a stranger who uses up its fetches. Strangers cannot get a token
    accepted, and one that has expired or has a wrong signature does not help them."""
    app = BusyApp()
    good = mint(headers={"kid": "a"})
    assert (await app.guard.request(app.app, field=f"Bearer {good}", client=(OWNER, 1))).status == 200
    for field in (f"Bearer {mint(headers={'kid': 'a'}, exp=NOW - 600)}", f"Bearer {good[:-8]}AAAAAAAA"):
        assert (await app.guard.request(app.app, field=field, client=(STRANGER, 1))).status == 401
    for client in (OWNER, STRANGER):
        for number in range(FETCH_BURST):
            await app.send(f"invented-{client}-{number}", client, iat=NOW - 3600)

    assert (await statuses(app, 200, OWNER)).count(503) == BUSY_RATE_KNOWN.burst
    assert (await statuses(app, 200, STRANGER)).count(503) == BUSY_RATE.burst


async def test_the_networks_that_are_remembered_are_bounded() -> None:
    """A client may come from any number of networks."""
    app = BusyApp()
    good = mint(headers={"kid": "a"})
    verifier = app.guard.guard.schemes[0]._signatures  # type: ignore[attr-defined]
    for number in range(5000):
        client = f"10.0.{number // 256}.{number % 256}"
        verifier.note_accepted(client)
        verifier._busy_answers.acquire(client, 0)

    assert (await app.guard.request(app.app, field=f"Bearer {good}", client=(OWNER, 1))).status == 200
    assert len(verifier._known) <= signature_verifier.MAX_NETWORKS
    assert len(verifier._busy_answers._full_at) <= signature_verifier.MAX_NETWORKS


# --- keys without an id, forged signatures, sources of one's own ------------------------------------------------------


async def test_a_key_without_an_id_is_tried_before_that() -> None:
    """A set may have a key without a kid. It verifies its tokens although no fetch is left, and what it does not
    verify may have a newer key."""
    source = StubbedSource()
    source.server.answer = key_set(published_jwk(None, rsa_key()))
    app = BusyApp(source)
    for number in range(1 + FETCH_BURST):
        assert (await app.send(f"invented-{number}", iat=NOW - 3600)).status == 401
    fetches = source.server.count

    good = mint(headers={"kid": "new"}, iat=NOW)
    assert (await app.guard.request(app.app, field=f"Bearer {good}", client=(STRANGER, 1))).status == 200
    assert (await app.send("new", iat=NOW)).status == 503
    assert (await app.send("new", iat=NOW - 3600)).status == 401
    assert app.guard.denial_reasons[-2:] == ["keys.busy", "token.signature_invalid"]
    assert source.server.count == fetches == 1 + FETCH_BURST


async def test_a_forged_signature_under_a_known_key_stays_a_401() -> None:
    """A key may be replaced under its kid, but a wrong signature is a forgery nearly always."""
    app = await BusyApp(age=5).exhaust()

    answers = [(await app.send("a", iat=NOW, jti=str(number))).status for number in range(20)]
    without_kid = [(await app.send(None, iat=NOW, jti=str(number))).status for number in range(20)]

    assert set(answers + without_kid) == {401}
    assert set(app.guard.denial_reasons) == {"token.signature_invalid"}


class OwnSource:
    """A source of an app's own, around another one. It knows for whom keys are needed."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.requesters: list[Requester] = []

    async def keys_for(self, *, kid: str | None, algorithm: str, requester: Requester) -> Sequence[VerificationKey]:
        self.requesters.append(requester)
        keys: Sequence[VerificationKey] = await self.inner.keys_for(kid=kid, algorithm=algorithm)
        return keys


class PlainSource:
    """A source of an app's own that knows nothing of requesters."""

    def __init__(self, error: KeysBusy) -> None:
        self.error = error

    async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        raise self.error


class RefetchingSource(PlainSource):
    """A source whose keys never match, and which may not fetch again."""

    async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        return [VerificationKey("RS256", kid, rsa_key(which=1).public_key())]

    async def refetch(
        self, tried: Sequence[VerificationKey], *, kid: str | None, algorithm: str
    ) -> Sequence[VerificationKey] | None:
        raise self.error

    def algorithms_of(self, kid: str | None) -> Sequence[str]:
        return ()


@pytest.mark.parametrize("make", [PlainSource, RefetchingSource])
async def test_a_source_of_ones_own_may_be_busy(make: Any) -> None:
    """A source raises ``KeysBusy`` if it may not fetch now, also where it is asked for other keys."""
    app = BusyApp(make(KeysBusy(age=30, fetches_left=0, retry_after=7)))

    assert (await app.send("new", iat=NOW)).lines(b"retry-after") == ["7"]
    assert (await app.send("new", iat=NOW - 60)).status == 401


async def test_a_source_of_ones_own_may_ask_for_whom() -> None:
    """A parameter ``requester`` is all that it needs. An IPv6 /64 is one network."""
    source = OwnSource(StubbedSource("a").keys)
    app = BusyApp(source)

    await app.send("a", "2001:db8::1")

    assert source.requesters == [Requester("2001:db8::/64")]
    assert app.issuer.takes_requester == {"keys_for"}


def test_a_method_without_a_signature_takes_no_requester() -> None:
    """A source may be written in another language."""

    class Native:
        __signature__ = 5

        async def __call__(self, *, kid: str | None, algorithm: str) -> Any:
            raise AssertionError("it is not called")

    class NativeSource:
        keys_for = Native()

    assert issuer(NativeSource()).takes_requester == frozenset()
    assert issuer().takes_requester == frozenset()
    assert issuer(StubbedSource("a").keys).takes_requester == {"keys_for", "refetch"}
