"""Verified tokens that are remembered: what a repeated token is asked again, what is forgotten, and what is kept.

Of a token, the cache keeps the SHA-256 as its key, the payload as bytes, the key id, the algorithm and the times; of
one that was accepted also the subject, the roles and the scopes. It keeps no signature, so no token can be read from
it.
"""

from __future__ import annotations

import base64
import copy
import gc
import hashlib
import hmac
import pickle
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import FunctionType, ModuleType
from typing import Any

import anyio
import pytest
from starlette.types import Receive, Scope, Send

from authguard import (
    ANY_AUDIENCE,
    ANY_ISSUER,
    PEM,
    Accepted,
    AuthRequest,
    Bearer,
    ConfigurationError,
    Issuer,
    Principal,
    Reason,
    Rejected,
    Rule,
    Secret,
    VerificationKey,
    claim,
    role,
    step_up,
)
from authguard.model import Outcome
from authguard.schemes.bearer import claim_mapping
from authguard.schemes.bearer.issuer_registry import IssuerRegistry
from authguard.schemes.bearer.token_cache import MAX_BYTES, VerifiedToken
from authguard.testing import ManualClock
from tests.support.asgi import RecordingApp
from tests.support.clock import NOW
from tests.support.coroutines import run_without_waiting, wait_until
from tests.support.forks import needs_fork, run_in_child
from tests.support.guards import GuardedApp, RecordingGuard
from tests.support.key_source import StubbedSource
from tests.support.schemes.bearer import (
    accepted_principal,
    bearer,
    bearer_credentials,
    bearer_request,
    issuer,
    outcome,
    rejection,
)
from tests.support.schemes.introspection import OPAQUE_TOKEN, IntrospectionServer, active_response, introspection
from tests.support.tokens import (
    HMAC_SECRET,
    ISSUER,
    claims,
    key_set,
    mint,
    public_pem,
    rsa_key,
    unsigned_token,
    with_signature,
)

OTHER = "https://other.example/"
SUSPENDED = Reason("account.suspended", 401)


class CountingKey(VerificationKey):
    """A key that counts its verifications."""

    count = 0

    def verify(self, signing_input: bytes, signature: bytes) -> None:
        self.count += 1
        super().verify(signing_input, signature)


def counting_key(which: int = 0, kid: str | None = None) -> CountingKey:
    """An RSA key. ``which`` tells several keys apart."""
    return CountingKey("RS256", kid, (rsa_key(which=which) if which else rsa_key()).public_key())


class HeldKeys:
    """A source of keys in memory. ``held`` returns the list itself, and calls ``before`` first."""

    def __init__(self, *keys: VerificationKey) -> None:
        self.keys: Any = list(keys)
        self.before: Callable[[], object] = lambda: None

    def held(self, *, kid: str | None, algorithm: str) -> Any:
        self.before()
        return self.keys

    async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        return self.keys or ()


def cached(scheme: Bearer) -> Mapping[bytes, VerifiedToken]:
    """What the scheme remembers, by the SHA-256 of the token."""
    cache = scheme._verified
    return {} if cache is None else {**cache._old, **cache._young}


def described(result: Outcome) -> object:
    """All that an outcome says, with the claims."""
    return result, result.principal.claims if isinstance(result, Accepted) else None


def hmac_token(number: int = 0, **changes: Any) -> bytes:
    """A token of HS256. Many of them take little time."""
    signing_input = unsigned_token({"alg": "HS256"}, claims(jti=str(number), **changes))
    return with_signature(signing_input, hmac.digest(HMAC_SECRET, signing_input, "sha256"))


def hmac_bearer(**options: Any) -> Bearer:
    """A Bearer scheme for these tokens."""
    return bearer(issuer(Secret(HMAC_SECRET), algorithms=["HS256"]), **options)


# --- What a hit spares, and what it asks again ------------------------------------------------------------------------


def test_the_signature_of_a_repeated_token_is_verified_once() -> None:
    """The second request with a token gets the outcome of the first one, and its signature is not verified again."""
    key = counting_key()
    scheme, token = bearer(issuer(HeldKeys(key))), mint()

    first, second = outcome(scheme, token), outcome(scheme, token)

    assert described(first) == described(second) == (first, claims())
    assert key.count == 1


def test_its_health_counts_the_signatures_that_were_verified() -> None:
    """A hit is not counted, and a forged token is: its signature was tried, and nothing is remembered of it."""
    scheme = hmac_bearer()
    for token in (hmac_token(), hmac_token(), hmac_token(1), hmac_token()[:-4] + b"AAAA", b"no token"):
        outcome(scheme, token)

    assert scheme.health()["tokens"] == {"verified": 3, "remembered": 2, "most": 4096}
    assert hmac_bearer(cache=0).health()["tokens"] == {"verified": 0, "remembered": 0, "most": 0}


def test_a_token_that_is_refused_for_its_claims_is_verified_once_too() -> None:
    """Expired tokens are sent again and again. The claims are checked each time, the signature is not."""
    key = counting_key()
    scheme, token = bearer(issuer(HeldKeys(key))), mint(exp=NOW - 600, aud="bills")

    reasons = [rejection(scheme, token, now=now) for now in (NOW, NOW + 1, NOW - 3600)]

    assert [reason for reason, _ in reasons] == ["token.expired", "token.expired", "token.issued_in_future"]
    assert reasons[1][1]["expired_by"] == 601.0
    assert key.count == 1


BORDERS = [-61, -60, -1, 0, 1, 99, 100, 159, 160, 1000]
TIMES = {
    "exp": {"exp": NOW + 100},
    "nbf": {"nbf": NOW, "exp": NOW + 100},
    "nbf later than iat": {"iat": NOW - 50, "nbf": NOW + 60, "exp": NOW + 100},
    "iat later than nbf": {"iat": NOW + 60, "nbf": NOW - 50, "exp": NOW + 100},
    "fractions": {"iat": NOW - 0.5, "exp": NOW + 99.5},
    "no iat": {"iat": ..., "exp": NOW + 100},
    "never valid": {"nbf": NOW + 100, "exp": NOW},
}


@pytest.mark.parametrize("stated", TIMES.values(), ids=TIMES)
@pytest.mark.parametrize("leeway", [0, 60])
def test_a_remembered_token_is_asked_for_its_times_at_each_request(stated: dict[str, Any], leeway: float) -> None:
    """At any time, in any order, the outcome is the one of a scheme that remembers nothing: within the leeway it is
    accepted and says so, and beyond it is refused."""
    warm, cold, token = bearer(), bearer(cache=0), mint(**stated)

    for first in (NOW + 50, NOW - 60, NOW + 150):
        outcome(warm, token, now=first, leeway=leeway)
        for offset in (*BORDERS, *reversed(BORDERS)):
            moment = {"now": NOW + offset, "leeway": leeway}
            assert described(outcome(warm, token, **moment)) == described(outcome(cold, token, **moment))
        warm.replace(*(registered.issuer for registered in warm._issuers))


def test_what_holds_by_the_leeway_is_not_kept_as_accepted() -> None:
    """A token that was late the first time is judged each time: in time, it is accepted without a fact, later it is
    refused."""
    scheme, token = bearer(), mint(exp=NOW)

    late = outcome(scheme, token, now=NOW + 30)
    ((entry,),) = [cached(scheme).values()]
    in_time = outcome(scheme, token, now=NOW - 30)

    assert isinstance(late, Accepted)
    assert late.facts == {"tolerated": {"exp": 30.0}}
    assert entry.accepted is None
    assert isinstance(in_time, Accepted)
    assert in_time.facts == {}
    assert rejection(scheme, token, now=NOW + 60)[0] == "token.expired"


async def test_the_rule_is_asked_at_each_request() -> None:
    """A token that one route accepts is refused by another one, whichever comes first."""
    app = RecordingGuard(bearer(), rules=[Rule("/admin", role("admin")), Rule("/owner", role("owner"))])
    field = f"Bearer {mint()}"

    statuses = [
        (await app.request(RecordingApp(), path, field=field)).status
        for path in ("/owner", "/admin", "/owner", "/admin")
    ]

    assert statuses == [403, 200, 403, 200]
    assert app.denial_reasons == ["role.missing"] * 2


async def test_the_age_of_the_login_is_asked_at_each_request() -> None:
    """``step_up`` refuses a remembered token once its login is too long ago."""
    clock = ManualClock()
    app = RecordingGuard(bearer(), rules=[Rule("/**", step_up(max_age=30))], clock=clock)
    field, statuses = f"Bearer {mint(auth_time=NOW)}", []

    for _ in range(3):
        statuses.append((await app.request(RecordingApp(), field=field)).status)
        clock.move(60)

    assert statuses == [200, 200, 401]
    assert app.denial_reasons == ["step_up.required"]


async def test_the_checks_are_asked_at_each_request() -> None:
    """A check that finds the account suspended refuses the token that was accepted a moment ago."""
    suspended: set[str] = set()

    async def check(request: AuthRequest, principal: Principal) -> Principal | Rejected:
        return Rejected(SUSPENDED) if principal.subject in suspended else principal

    app, token = GuardedApp(bearer(), checks=[check]), mint()

    before = [(await app.get_with_token(token)).status for _ in range(2)]
    suspended.add("alice")
    refused = await app.get_with_token(token)
    suspended.clear()

    assert before == [200, 200]
    assert (refused.status, refused.reason, refused.record.subject) == (401, "account.suspended", "alice")
    assert (await app.get_with_token(token)).status == 200


async def test_what_a_check_adds_is_not_remembered() -> None:
    """The principal is kept as the token says it: neither the roles of a check nor those of the hierarchy are in it."""
    added = {"checked"}

    async def check(request: AuthRequest, principal: Principal) -> Principal:
        return replace(principal, roles=principal.roles | added)

    scheme = bearer()
    app = RecordingGuard(
        scheme,
        rules=[Rule("/checked", role("checked")), Rule("/editor", role("editor"))],
        checks=[check],
        role_hierarchy={"admin": {"editor"}},
    )
    field = f"Bearer {mint()}"

    first = [(await app.request(RecordingApp(), path, field=field)).status for path in ("/checked", "/editor")]
    added.clear()
    second = [(await app.request(RecordingApp(), path, field=field)).status for path in ("/checked", "/editor")]

    assert (first, second) == ([200, 200], [403, 200])
    ((entry,),) = [cached(scheme).values()]
    assert entry.accepted is not None
    assert entry.accepted.principal.roles == {"admin"}


@pytest.mark.parametrize("argument", ["roles", "scopes"])
def test_a_function_for_names_is_asked_at_each_request(argument: str) -> None:
    """A function that gives roles or scopes may look them up. What it takes away is gone at the next request."""
    table = {"alice": {"owner"}}
    key = counting_key()
    options: dict[str, Any] = {argument: lambda stated: table[stated["sub"]]}
    scheme, token = bearer(issuer(HeldKeys(key), **options)), mint()

    before = getattr(accepted_principal(scheme, token), argument)
    table["alice"] = set()
    after = getattr(accepted_principal(scheme, token), argument)
    del table["alice"]

    assert (before, after) == ({"owner"}, set())
    with pytest.raises(KeyError):
        outcome(scheme, token)
    assert key.count == 1


@pytest.mark.parametrize("also", [[], [claim("client_id")]])
def test_a_function_for_the_subject_is_asked_at_each_request(also: list[Any]) -> None:
    """A function that gives the subject may look it up. Somebody whom it no longer knows is nobody."""
    table, key = {"alice": "Alice"}, counting_key()
    scheme = bearer(issuer(HeldKeys(key), subject=[lambda stated: table.get(stated["sub"]), *also]))
    token = mint()

    before = [accepted_principal(scheme, token).subject for _ in range(2)]
    table.clear()

    assert before == ["Alice"] * 2
    assert rejection(scheme, token)[0] == "token.claim_missing"
    assert key.count == 1


def test_the_check_of_an_issuer_is_asked_at_each_request() -> None:
    """A check of the claims may look something up. A token that it refuses is refused although it was accepted."""
    revoked: set[object] = set()
    key = counting_key()
    scheme = bearer(issuer(HeldKeys(key), check=lambda stated: stated["jti"] not in revoked))
    token = mint(jti="1")

    before = [accepted_principal(scheme, token).subject for _ in range(2)]
    revoked.add("1")

    assert before == ["alice"] * 2
    assert rejection(scheme, token)[0] == "token.check_refused"
    assert key.count == 1


def test_a_number_as_the_subject_is_tolerated_each_time() -> None:
    """The record of each request says that the subject was a number."""
    key = counting_key()
    scheme, token = bearer(issuer(HeldKeys(key), numeric_subject=True)), mint(sub=42)

    outcomes = [outcome(scheme, token) for _ in range(3)]

    assert [result.facts for result in outcomes] == [{"tolerated": {"subject": "a number"}}] * 3
    assert key.count == 1


def test_a_hit_counts_in_the_figures_of_the_clock() -> None:
    """The age of a remembered token is observed as that of any other one."""
    scheme, token = bearer(), mint(iat=NOW - 20)

    outcome(scheme, token)
    outcome(scheme, token, now=NOW - 30)
    outcome(scheme, token)

    figures: Any = scheme.health()["clocks"]
    assert (figures[ISSUER]["tokens"], figures[ISSUER]["smallest"]) == (3, -10)


async def test_a_hit_makes_the_network_known() -> None:
    """A network from which a remembered token comes is known to the key source, as with any accepted token."""
    source = StubbedSource("a")
    scheme, token = bearer(issuer(source.keys)), mint(headers={"kid": "a"})
    app = RecordingGuard(scheme)

    for client in ("192.0.2.7", "192.0.2.7"):
        await app.request(RecordingApp(), field=f"Bearer {token}", client=(client, 1))
    before = list(cached(scheme).values())
    await app.request(RecordingApp(), field=f"Bearer {token}", client=("198.51.100.1", 1))

    assert app.outcomes == ["granted"] * 3
    assert list(cached(scheme).values()) == before
    assert b"198.51.100.1" in scheme._signatures._known


def test_no_cache_keeps_nothing() -> None:
    """``cache=0`` verifies each token each time."""
    key = counting_key()
    scheme, token = bearer(issuer(HeldKeys(key)), cache=0), mint()

    principals = [accepted_principal(scheme, token) for _ in range(3)]

    assert [principal.claims for principal in principals] == [claims()] * 3
    assert (key.count, cached(scheme)) == (3, {})


@pytest.mark.parametrize("size", [-1, 1_000_001, 1.5, True, None, "4096"])
def test_an_invalid_size_raises(size: Any) -> None:
    """The number of tokens is a whole number from 0 to 1,000,000."""
    with pytest.raises(ConfigurationError) as caught:
        bearer(cache=size)

    assert caught.value.argument == "cache"


# --- Keys and issuers that go -----------------------------------------------------------------------------------------


async def test_a_key_that_leaves_a_fetched_set_takes_its_tokens_along() -> None:
    """After a rotation to another kid, a remembered token of the old key is refused."""
    source = StubbedSource("old")
    app, token = GuardedApp(bearer(issuer(source.keys))), mint(headers={"kid": "old"})
    assert [(await app.get_with_token(token)).status for _ in range(2)] == [200, 200]

    source.server.publish("new")
    await source.keys.warm()
    refused = await app.get_with_token(token)

    assert (refused.status, refused.reason) == (401, "key.unknown")
    assert (await app.get_with_token(mint(headers={"kid": "new"}))).status == 200


async def test_another_key_under_the_same_kid_takes_the_tokens_of_the_old_one_along() -> None:
    """A kid may be used again for another key. A remembered token of the old key is refused."""
    source = StubbedSource("a")
    app, token = GuardedApp(bearer(issuer(source.keys))), mint(headers={"kid": "a"})
    assert [(await app.get_with_token(token)).status for _ in range(2)] == [200, 200]

    source.server.answer = key_set(a=rsa_key(which=1))
    await source.keys.warm()
    refused = await app.get_with_token(token)

    assert (refused.status, refused.reason) == (401, "token.signature_invalid")


async def test_a_set_that_is_fetched_again_unchanged_costs_one_verification() -> None:
    """If the keys are the same after a fetch, the token is accepted, verified once more, and remembered again."""
    source = StubbedSource("a")
    scheme, token = bearer(issuer(source.keys)), mint(headers={"kid": "a"})
    app = GuardedApp(scheme)
    for _ in range(2):
        await app.get_with_token(token)
    ((before,),) = [cached(scheme).values()]

    await source.keys.warm()
    statuses = [(await app.get_with_token(token)).status for _ in range(2)]

    assert statuses == [200, 200]
    ((after,),) = [cached(scheme).values()]
    assert after is not before


async def test_keys_that_are_too_old_are_not_used_for_a_remembered_token() -> None:
    """Beyond ``stale_if_error`` a remembered token needs a fetch, as any other token does."""
    source = StubbedSource("a", max_age=60, stale_if_error=600)
    app, token = GuardedApp(bearer(issuer(source.keys))), mint(headers={"kid": "a"})
    assert [(await app.get_with_token(token)).status for _ in range(2)] == [200, 200]

    source.server.answer = OSError()
    source.clock.move(100_000)
    refused = await app.get_with_token(token)

    assert (refused.status, refused.reason) == (503, "keys.unavailable")


CHANGES: Mapping[str, Callable[[HeldKeys], object]] = {
    "another list": lambda source: setattr(source, "keys", [counting_key(1)]),
    "the list is cleared": lambda source: source.keys.clear(),
    "the key is replaced in the list": lambda source: source.keys.__setitem__(0, counting_key(1)),
    "other keys are in the list": lambda source: source.keys.__setitem__(
        slice(None), [counting_key(1), counting_key(2)]
    ),
    "nothing is held": lambda source: setattr(source, "keys", None),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_key_that_leaves_the_list_of_a_source_takes_its_tokens_along(
    change: Callable[[HeldKeys], object],
) -> None:
    """A source of the app may return another list, or change the one that it returned before."""
    source = HeldKeys(counting_key())
    app, token = GuardedApp(bearer(issuer(source))), mint()
    assert [(await app.get_with_token(token)).status for _ in range(2)] == [200, 200]

    change(source)
    refused = await app.get_with_token(token)

    assert refused.status == 401
    assert refused.reason in {"token.signature_invalid", "key.unknown"}


def test_a_key_that_moves_in_the_list_is_verified_with_again() -> None:
    """If the list of the source changes and still has the key, the token is accepted, and verified once more."""
    key = counting_key()
    source = HeldKeys(counting_key(1), key)
    scheme, token = bearer(issuer(source)), mint()
    for _ in range(2):
        outcome(scheme, token)
    assert key.count == 1

    source.keys = [key, *source.keys[:1]]
    accepted_principal(scheme, token)
    source.keys.reverse()
    accepted_principal(scheme, token)
    accepted_principal(scheme, token)

    assert key.count == 3


def test_a_source_that_fails_to_say_what_it_holds_lets_no_remembered_token_in() -> None:
    """What ``held`` raises is raised for a remembered token too."""
    source = HeldKeys(counting_key())
    scheme, token = bearer(issuer(source)), mint()
    outcome(scheme, token)

    def fail() -> None:
        raise OSError

    source.before = fail

    with pytest.raises(OSError):  # noqa: PT011 - the type is what is asked
        outcome(scheme, token)


def test_keys_that_are_replaced_take_their_tokens_along() -> None:
    """``replace`` with another key refuses a remembered token at once, and accepts it again with the old key."""
    scheme, token = bearer(), mint()
    for _ in range(2):
        accepted_principal(scheme, token)

    scheme.replace(issuer(PEM(public_pem(rsa_key(which=1)))))
    refused = rejection(scheme, token)[0]
    scheme.replace(issuer())

    assert refused == "token.signature_invalid"
    assert accepted_principal(scheme, token).subject == "alice"


def test_an_issuer_that_is_closed_takes_its_tokens_along() -> None:
    """The tokens of an issuer that is no longer listed are refused, and nothing of them is in memory any more."""
    scheme, token = bearer(issuer(), issuer(PEM(public_pem(rsa_key(which=1))), name=OTHER)), mint(sub="forgotten")
    for _ in range(2):
        accepted_principal(scheme, token)

    scheme.replace(issuer(PEM(public_pem(rsa_key(which=1))), name=OTHER))

    assert cached(scheme) == {}
    assert rejection(scheme, token) == ("token.issuer_unknown", {"issuer": ISSUER})
    gc.collect()
    assert not [
        entry for entry in gc.get_objects() if isinstance(entry, VerifiedToken) and "forgotten" in repr(entry.accepted)
    ]


def test_the_same_issuer_given_again_is_a_new_one() -> None:
    """``replace`` forgets all tokens, also those of an issuer that stays."""
    key = counting_key()
    source = HeldKeys(key)
    same = issuer(source)
    scheme, token = bearer(same), mint()
    outcome(scheme, token)

    scheme.replace(same)

    assert cached(scheme) == {}
    assert accepted_principal(scheme, token).subject == "alice"
    assert key.count == 2


def test_rules_that_are_replaced_hold_for_a_remembered_token() -> None:
    """An issuer that comes back with another audience or subject judges a remembered token anew."""
    source = HeldKeys(counting_key())
    scheme, token = bearer(issuer(source)), mint()
    outcome(scheme, token)

    scheme.replace(issuer(source, audience="bills"))

    assert rejection(scheme, token)[0] == "token.audience_mismatch"


async def test_a_token_in_flight_during_a_replacement_is_not_remembered() -> None:
    """A token that waits for a key while the issuers are replaced is decided by the old ones, and then forgotten."""
    source = StubbedSource("a")
    source.server.released.clear()
    scheme, token = bearer(issuer(source.keys)), mint(headers={"kid": "a"})
    outcomes: list[Outcome] = []

    async def ask() -> None:
        outcomes.append(await scheme.authenticate(bearer_request(), bearer_credentials(token)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await wait_until(lambda: source.server.count > 0)
        scheme.replace(issuer(PEM(public_pem(rsa_key(which=1)))))
        source.server.released.set()

    assert [type(result) for result in outcomes] == [Accepted]
    assert cached(scheme) == {}
    assert rejection(scheme, token)[0] == "token.signature_invalid"


def test_a_replacement_in_the_middle_of_a_verification_leaves_nothing_of_the_old_issuer() -> None:
    """Another thread may replace the issuers between two steps. The new cache then has no token of the old ones."""
    source = HeldKeys(counting_key())
    scheme, token = bearer(issuer(source)), mint()
    source.before = lambda: scheme.replace(issuer(PEM(public_pem(rsa_key(which=1)))))

    assert accepted_principal(scheme, token).subject == "alice"
    assert cached(scheme) == {}
    assert rejection(scheme, token)[0] == "token.signature_invalid"


def test_a_cache_of_other_issuers_answers_nothing() -> None:
    """Another thread may replace the issuers after the old cache was read, and before it is used."""
    scheme, token = bearer(), mint()
    accepted_principal(scheme, token)
    old = scheme._verified

    scheme.replace(issuer(PEM(public_pem(rsa_key(which=1)))))
    scheme._verified = old

    assert rejection(scheme, token)[0] == "token.signature_invalid"


# --- Who may be confused with whom ------------------------------------------------------------------------------------


def test_two_schemes_share_nothing() -> None:
    """What one scheme has accepted says nothing to another one, with another audience, issuer, key or limit."""
    token = mint()
    accepting = bearer()
    others = {
        "token.audience_mismatch": bearer(issuer(audience="bills")),
        "token.issuer_unknown": bearer(issuer(name=OTHER)),
        "token.signature_invalid": bearer(issuer(PEM(public_pem(rsa_key(which=1))))),
        "token.algorithm_refused": bearer(issuer(algorithms=["PS256"])),
        "token.type_refused": bearer(issuer(typ="at+jwt")),
        "token.too_long": bearer(limit=len(token) - 1),
    }

    for _ in range(2):
        assert accepted_principal(accepting, token).subject == "alice"
        assert {reason: rejection(scheme, token)[0] for reason, scheme in others.items()} == {
            reason: reason for reason in others
        }


def test_any_issuer_and_any_audience_are_remembered_for_what_they_are() -> None:
    """Where neither is checked, tokens of several issuers are remembered, each as its own."""
    scheme = bearer(issuer(name=ANY_ISSUER, audience=ANY_AUDIENCE))
    tokens = {name: mint(iss=name, sub=name, aud=name) for name in ("a", "b", "c")}

    for _ in range(3):
        assert {name: accepted_principal(scheme, token).subject for name, token in tokens.items()} == {
            name: name for name in tokens
        }
    assert [accepted_principal(scheme, token).claims["iss"] for token in tokens.values()] == ["a", "b", "c"]


def test_a_token_without_an_end_is_remembered_without_one() -> None:
    """With ``require_exp=False`` such a token is accepted at any time, as long as its key is there."""
    key = counting_key()
    scheme, token = bearer(issuer(HeldKeys(key), require_exp=False)), mint(exp=...)

    times = [NOW, NOW + 10**9, NOW - 60, NOW - 61]
    outcomes = [outcome(scheme, token, now=now) for now in times]

    assert [type(result) for result in outcomes] == [Accepted] * 4
    assert isinstance(outcomes[3], Accepted)
    assert outcomes[3].facts == {"tolerated": {"iat": 1.0}}
    assert outcomes[1] == outcomes[0]
    assert key.count == 1


def test_each_bit_of_a_token_counts() -> None:
    """A remembered token with another signature, header or payload is another token, and is refused."""
    scheme, token = bearer(), mint()
    accepted_principal(scheme, token)
    head, payload, signature = token.split(".")
    flipped = "A" if signature[5] != "A" else "B"
    changed = [
        f"{head}.{payload}.{signature[:5]}{flipped}{signature[6:]}",
        f"{head}.{payload}.",
        f"{head}.{payload}.{signature[:-2]}",
        f"{head}.{payload}.{signature}=",
        f"{head}.{payload}.{signature}.",
        f"{head}.{payload[:-4]}.{signature}",
        f"{mint(headers={'kid': 'x'}).split('.')[0]}.{payload}.{signature}",
        f" {token}",
        f"{token} ",
    ]

    for other in changed:
        assert isinstance(outcome(scheme, other), Rejected), other
    assert accepted_principal(scheme, token).subject == "alice"


# --- Claims -----------------------------------------------------------------------------------------------------------

NESTED: dict[str, Any] = {"teams": [{"name": "a", "members": ["alice"]}], "tenant": {"id": 7}}


async def test_no_request_sees_what_another_one_does_to_its_claims() -> None:
    """Neither a cold nor a warm request leaves a trace in the claims of a later one, however deep its changes are."""
    found: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        stated: Any = scope["user"].claims
        found.append(copy.deepcopy(stated))
        stated["teams"][0]["members"].append("mallory")
        stated["tenant"]["id"] = 8
        stated["roles"].append("owner")
        stated["added"] = True
        await RecordingApp()(scope, receive, send)

    guard = RecordingGuard(bearer())
    field = f"Bearer {mint(**NESTED)}"
    for _ in range(4):
        await guard.request(app, field=field)

    assert found == [claims(**NESTED)] * 4


def test_who_calls_the_scheme_may_change_what_it_gets() -> None:
    """A scheme that wraps ``Bearer`` and awaits ``authenticate`` gets a principal of its own each time, cold or
    warm."""
    scheme, token = bearer(), mint(**NESTED)

    for _ in range(4):
        stated: Any = accepted_principal(scheme, token).claims
        assert stated == claims(**NESTED)
        stated["teams"][0]["members"].append("mallory")
        stated["added"] = True


COPIES: Mapping[str, Callable[[Principal], Principal]] = {
    "pickle": lambda principal: pickle.loads(pickle.dumps(principal)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "replace": replace,
}


@pytest.mark.parametrize("make_copy", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("warm", [False, True])
async def test_the_principal_of_a_remembered_token_can_be_copied(
    make_copy: Callable[[Principal], Principal], warm: bool
) -> None:
    """A copy has all that the principal has, whether or not its claims have been read, and no token in it."""
    guard, app, token = RecordingGuard(bearer()), RecordingApp(), mint(**NESTED)
    for _ in range(1 + warm):
        await guard.request(app, field=f"Bearer {token}")
    principal: Principal = app.scopes[-1]["user"]

    copied = make_copy(principal)

    assert type(copied) is Principal
    assert (
        copied
        == principal
        == Principal("alice", roles={"admin"}, scopes={"read", "write"}, expires_at=NOW + 600, scheme="bearer")
    )
    assert copied.claims == principal.claims == claims(**NESTED)
    signature = token.rpartition(".")[2].encode()
    assert signature not in pickle.dumps(principal)
    assert b"read_payload" not in pickle.dumps(principal)


async def test_a_principal_outlives_the_cache() -> None:
    """A request that reads its claims late gets them, although its token has been forgotten meanwhile."""
    scheme, app = bearer(), RecordingApp()
    guard = RecordingGuard(scheme)
    for _ in range(2):
        await guard.request(app, field=f"Bearer {mint(**NESTED)}")

    scheme.replace(issuer(name=OTHER))
    gc.collect()

    assert [scope["user"].claims for scope in app.scopes] == [claims(**NESTED)] * 2


# --- Bounds, and what is in memory ------------------------------------------------------------------------------------


def test_it_keeps_4096_tokens() -> None:
    """A flood of different good tokens is kept up to the bound. The half that came last stays, and all are accepted."""
    scheme = hmac_bearer()
    tokens = [hmac_token(number) for number in range(5000)]

    for token in tokens:
        accepted_principal(scheme, token)

    assert scheme._verified is not None
    assert 2048 <= len(scheme._verified) <= 4096
    known = cached(scheme)
    assert all(hashlib.sha256(token).digest() in known for token in tokens[-2048:])
    assert accepted_principal(scheme, tokens[0]).claims["jti"] == "0"


@pytest.mark.parametrize("most", [1, 2, 3, 10])
def test_it_keeps_as_many_as_the_app_says(most: int) -> None:
    """``cache=`` is the number of tokens, and the last one is always kept."""
    scheme = hmac_bearer(cache=most)

    for number in range(50):
        accepted_principal(scheme, hmac_token(number))
        assert hashlib.sha256(hmac_token(number)).digest() in cached(scheme)
        assert len(cached(scheme)) <= most


def test_it_keeps_16_mebibytes() -> None:
    """Long tokens displace others before their number does, and the last ones stay."""
    scheme = hmac_bearer()
    tokens = [hmac_token(number, more="x" * 5800) for number in range(2400)]

    for token in tokens:
        accepted_principal(scheme, token)

    known = cached(scheme)
    assert sum(entry.size for entry in known.values()) <= MAX_BYTES
    assert 800 <= len(known) < 2400
    assert all(hashlib.sha256(token).digest() in known for token in tokens[-800:])


def test_forged_tokens_displace_nothing() -> None:
    """A flood of tokens that nobody has signed is not remembered, nor is anything that is no token."""
    scheme, token = bearer(cache=10), mint()
    accepted_principal(scheme, token)
    forged = [with_signature(unsigned_token({"alg": "RS256"}, claims(jti=str(n))), bytes(256)) for n in range(100)]
    odd = [b"", b"x", b"a.b.c", b"eyJ.eyJ.eyJ", b"ey" + b"A" * 8000, *(b"opaque-%d" % n for n in range(100))]

    for raw in (*forged, *odd):
        assert isinstance(run_without_waiting(scheme.authenticate(bearer_request(), bearer_credentials(raw))), Rejected)

    assert list(cached(scheme)) == [hashlib.sha256(token.encode()).digest()]


SIZES: Mapping[str, dict[str, Any]] = {
    "plain": {},
    "a long text": {"more": "x" * 5000},
    "many claims": {"more": {f"name-{n}": [n, {"a": None}] for n in range(150)}},
    "thirty roles": {"roles": [f"role-{n}" for n in range(30)]},
    "two hundred roles": {"roles": [f"a-longer-role-{n}" for n in range(200)]},
    "many scopes": {"scope": " ".join(f"scope:{n}" for n in range(300))},
    "one long role": {"roles": ["r" * 5000]},
    "an emoji in a long role": {"roles": ["r" * 5000 + "\U0001f511"]},
    "a long subject": {"sub": "s" * 5000},
    "a long key id": {},
    "an iat of many lists": {"iat": [[] for _ in range(1000)]},
}


@pytest.mark.parametrize("kind", SIZES)
def test_an_entry_takes_no_more_bytes_than_are_counted_for_it(kind: str) -> None:
    """So 16 MiB are 16 MiB, whatever the tokens say, whether they are accepted or not."""
    scheme, number, tokens = hmac_bearer(), 200, []
    for count in range(number):
        header = {"alg": "HS256"} | ({"kid": f"{count}" + "k" * 3000} if kind == "a long key id" else {})
        stated = {name: _with_number(value, count) for name, value in SIZES[kind].items()}
        signing_input = unsigned_token(header, claims(jti=str(count), **stated))
        tokens.append(with_signature(signing_input, hmac.digest(HMAC_SECRET, signing_input, "sha256")))
    gc.collect()

    tracemalloc.start()
    try:
        for token in tokens:
            outcome(scheme, token)
        # The memory of sets of names is one for all schemes, and has a bound of its own.
        claim_mapping._cached_distinct.cache_clear()
        claim_mapping._cached_words.cache_clear()
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    counted = [entry.size for entry in cached(scheme).values()]
    assert len(counted) == number
    assert taken <= sum(counted) <= 3 * taken


def _with_number(value: Any, number: int) -> Any:
    """The value with a number in each text, so that no two tokens share one."""
    if isinstance(value, str):
        return " ".join(f"{word}-{number}" for word in value.split(" "))
    if isinstance(value, list):
        return [_with_number(item, number) for item in value]
    return value


def test_the_cache_holds_no_token() -> None:
    """All that the cache refers to is searched: the payload is there, and neither a signature nor a token is."""
    scheme, tokens = bearer(), [mint(**NESTED), mint(exp=NOW - 3600, sub="late")]
    for token in tokens * 2:
        outcome(scheme, token)

    texts = list(_texts_reachable_from(scheme._verified))

    for token in tokens:
        head, payload, signature = (part.encode() for part in token.split("."))
        assert sum(payload in text for text in texts) >= 1
        assert not [
            text for text in texts if signature[:16] in text or base64.urlsafe_b64decode(signature + b"==")[:16] in text
        ]
        assert not [text for text in texts if head + b"." in text]
    assert set(cached(scheme)) == {hashlib.sha256(token.encode()).digest() for token in tokens}


def _texts_reachable_from(root: object) -> Iterator[bytes]:
    """All bytes and strings that can be reached, but not through the code and the issuers, which are of the app."""
    seen: set[int] = set()
    waiting: list[object] = [root]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, FunctionType | ModuleType | type | IssuerRegistry | Issuer):
            continue
        seen.add(id(thing))
        if isinstance(thing, bytes | bytearray):
            yield bytes(thing)
        elif isinstance(thing, str):
            yield thing.encode("utf-8", "surrogatepass")
        waiting += gc.get_referents(thing)


def test_an_entry_shows_nothing_in_a_log() -> None:
    """The repr of an entry has neither the payload nor a claim."""
    scheme, token = bearer(), mint(secret="CANARY")
    outcome(scheme, token)

    ((entry,),) = [cached(scheme).values()]

    assert "CANARY" not in repr(entry)
    assert token.split(".")[1] not in repr(entry)


async def test_opaque_tokens_are_not_remembered_here() -> None:
    """The endpoint is asked about opaque tokens, and about JWTs of its issuer; their answers have a memory of their
    own."""
    server = IntrospectionServer(active_response(iss=OTHER))
    scheme = Bearer(issuer(), introspection(server, issuer=OTHER), realm="orders")
    app = GuardedApp(scheme)

    answers = [await app.get_with_token(token) for token in (OPAQUE_TOKEN, mint(iss=OTHER), mint()) for _ in range(2)]

    assert [answer.status for answer in answers] == [200] * 6
    assert list(cached(scheme)) == [hashlib.sha256(mint().encode()).digest()]


@needs_fork
def test_a_forked_child_knows_what_its_parent_has_verified() -> None:
    """The child goes on with the tokens and the keys of its parent. What is replaced in it is not replaced there."""
    key = counting_key()
    scheme, token = bearer(issuer(HeldKeys(key))), mint()
    outcome(scheme, token)

    def in_child() -> object:
        subject, count = accepted_principal(scheme, token).subject, key.count
        scheme.replace(issuer(name=OTHER))
        return subject, count, rejection(scheme, token)[0]

    assert run_in_child(in_child) == "('alice', 1, 'token.issuer_unknown')"
    assert accepted_principal(scheme, token).subject == "alice"
    assert key.count == 1
