"""Introspection of opaque tokens: which tokens are sent, how the answer is checked, and how long it is kept."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from typing import Any

import anyio
import pytest

from authguard import (
    ANY_AUDIENCE,
    ANY_ISSUER,
    Accepted,
    BackendUnavailable,
    Bearer,
    ConfigurationError,
    Introspection,
    Moment,
    Principal,
    Rejected,
    claim,
)
from authguard.http_client import MAX_RESPONSE
from authguard.model import Outcome
from authguard.schemes.bearer.introspection import INACTIVE_FOR
from authguard.state import MemoryCache
from authguard.state.shared_cache import LookAside
from authguard.testing import ManualClock
from tests.support.clock import NOW
from tests.support.coroutines import run_together
from tests.support.schemes.bearer import bearer, bearer_credentials, bearer_request, essential, issuer
from tests.support.schemes.introspection import (
    INTROSPECTION_URL,
    OPAQUE_TOKEN,
    IntrospectionServer,
    active_response,
    introspection,
)
from tests.support.tokens import ISSUER, b64url, claims, mint, rsa_key

FOREIGN = "https://elsewhere.example/"
MOMENT = Moment(NOW, 60)


def scheme(server: IntrospectionServer, *others: Any, **changes: Any) -> Bearer:
    """A Bearer scheme that introspects at this server."""
    return Bearer(*others, introspection(server, **changes), realm="orders")


async def outcome_of(of: Bearer, token: str = OPAQUE_TOKEN, **moment: float) -> Outcome:
    """The outcome of a token."""
    return await of.authenticate(bearer_request(**moment), bearer_credentials(token))


async def accepted_principal(of: Bearer, token: str = OPAQUE_TOKEN, **moment: float) -> Principal:
    """The principal of a token that is accepted."""
    outcome = await outcome_of(of, token, **moment)
    assert isinstance(outcome, Accepted), outcome
    return outcome.principal


async def rejection(of: Bearer, token: str = OPAQUE_TOKEN, **moment: float) -> tuple[str, Mapping[str, object]]:
    """The reason code and the facts with which a token is rejected. Its fingerprint is checked and left out."""
    outcome = await outcome_of(of, token, **moment)
    assert isinstance(outcome, Rejected), outcome
    facts = dict(outcome.facts)
    assert facts.pop("token") == sha256(token.encode()).hexdigest()[:8]
    return essential(outcome.reason.code, facts)


# --- whom a token makes -----------------------------------------------------------------------------------------------


@pytest.mark.rfc("7662-2")
async def test_an_active_token_makes_a_principal() -> None:
    """7662-2: the members of the answer make the principal, like the claims of a JWT."""
    principal = await accepted_principal(scheme(IntrospectionServer()))

    assert principal == Principal(
        "alice", roles={"admin"}, scopes={"read", "write"}, expires_at=NOW + 600, scheme="bearer"
    )
    assert principal.claims == active_response()


@pytest.mark.rfc("7662-1")
async def test_the_request_is_the_one_of_rfc_7662() -> None:
    """7662-1: the request is a POST of a form by an authenticated client."""
    server = IntrospectionServer()

    await outcome_of(scheme(server))

    ((url, headers, form),) = server.requests
    assert (url, form) == (INTROSPECTION_URL, {"token": [OPAQUE_TOKEN], "token_type_hint": ["access_token"]})
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert headers["Accept"] == "application/json"
    assert headers["Authorization"].startswith("Basic ")


async def test_roles_scopes_and_the_subject_come_from_where_the_app_says() -> None:
    """Roles, scopes and the subject may come from other members, as they do for an issuer."""
    members = active_response(realm_access={"roles": ["clerk"]}, scp="a b", username="bob")
    options = {"roles": claim("realm_access", "roles"), "scopes": claim("scp"), "subject": claim("username")}

    principal = await accepted_principal(scheme(IntrospectionServer(members), **options))

    assert principal == Principal("bob", roles={"clerk"}, scopes={"a", "b"}, expires_at=NOW + 600, scheme="bearer")


async def test_an_answer_needs_no_end() -> None:
    """``exp`` is optional in an answer (RFC 7662 section 2.2), because the server says whether the token is still
    active."""
    assert (await accepted_principal(scheme(IntrospectionServer(active_response(exp=..., iat=...))))).expires_at is None


async def test_unchecked_issuer_and_audience_are_accepted() -> None:
    """With ANY_ISSUER and ANY_AUDIENCE, neither ``iss`` nor ``aud`` of the answer is checked."""
    options = {"issuer": ANY_ISSUER, "audience": ANY_AUDIENCE}

    principal = await accepted_principal(scheme(IntrospectionServer(active_response(iss=..., aud=...)), **options))

    assert principal.subject == "alice"


@pytest.mark.parametrize("kind", [..., "bearer", "Bearer", "BEARER"])
async def test_token_type_bearer_is_accepted(kind: Any) -> None:
    """A ``token_type`` of bearer is accepted in any case (RFC 6749 section 5.1)."""
    assert (await accepted_principal(scheme(IntrospectionServer(active_response(token_type=kind))))).subject == "alice"


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.rfc("7662-2")
async def test_an_inactive_token_is_rejected() -> None:
    """A token that is not active is rejected, whatever else the answer says."""
    assert await rejection(scheme(IntrospectionServer(active_response(active=False)))) == ("token.inactive", {})


@pytest.mark.parametrize(
    ("changes", "code", "facts"),
    [
        ({"iss": FOREIGN}, "token.issuer_unknown", {"issuer": FOREIGN}),
        ({"iss": ...}, "token.claim_missing", {"claim": "iss"}),
        ({"iss": [ISSUER]}, "token.claim_invalid", {"claim": "iss"}),
        (
            {"aud": "bills"},
            "token.audience_mismatch",
            {"audience": ("bills",), "wanted": ("orders",), "issuer": ISSUER},
        ),
        ({"aud": ...}, "token.claim_missing", {"claim": "aud"}),
        ({"exp": NOW - 61}, "token.expired", {"expired_by": 61.0, "leeway": 60, "issuer": ISSUER}),
        ({"exp": "soon"}, "token.claim_invalid", {"claim": "exp"}),
        ({"nbf": NOW + 61}, "token.not_yet_valid", {"valid_in": 61.0, "leeway": 60, "issuer": ISSUER}),
        ({"iat": NOW + 61}, "token.issued_in_future", {"issued_in": 61.0, "leeway": 60, "issuer": ISSUER}),
        ({"sub": ...}, "token.claim_missing", {"claim": "sub"}),
        ({"sub": ""}, "token.claim_invalid", {"claim": "sub"}),
        ({"cnf": {"jkt": "x"}}, "token.bound", {}),
        ({"token_type": "DPoP"}, "token.type_refused", {"claim": "token_type", "typ": "DPoP", "wanted": "Bearer"}),
        ({"token_type": 5}, "token.type_refused", {"claim": "token_type", "typ": None, "wanted": "Bearer"}),
    ],
    ids=str,
)
@pytest.mark.rfc("7662-5")
async def test_an_active_token_is_checked_locally_too(changes: Any, code: str, facts: Any) -> None:
    """7662-5: aud, iss, exp, nbf, cnf and token_type of an active token are checked at the moment of the request."""
    assert await rejection(scheme(IntrospectionServer(active_response(**changes)))) == (code, facts)


async def test_the_leeway_is_that_of_the_guard() -> None:
    """The leeway of the guard applies to an active token that has just expired, and the facts say how much was used."""
    outcome = await outcome_of(scheme(IntrospectionServer(active_response(exp=NOW - 3))))

    assert isinstance(outcome, Accepted)
    assert outcome.facts == {"tolerated": {"exp": 3.0}}


# --- which tokens are asked about -------------------------------------------------------------------------------------


async def test_a_jwt_of_a_known_issuer_is_verified_locally() -> None:
    """A JWT of an issuer with keys is never sent to the introspection server."""
    server = IntrospectionServer()
    both = scheme(server, issuer())

    assert (await accepted_principal(both, mint(sub="bob"))).subject == "bob"
    assert (await accepted_principal(both)).subject == "alice"
    assert (await rejection(both, mint(rsa_key(which=1))))[0] == "token.signature_invalid"
    assert len(server.requests) == 1


async def test_a_jwt_of_another_issuer_is_sent_nowhere() -> None:
    """A JWT of an unknown issuer is not introspected, because it is a secret of others."""
    server = IntrospectionServer()

    for of in (scheme(server, issuer()), scheme(server), scheme(server, issuer=ANY_ISSUER)):
        assert (await rejection(of, mint(iss=FOREIGN)))[0] == "token.issuer_unknown"
        assert (await rejection(of, mint(iss="")))[0] == "token.issuer_unknown"

    assert server.requests == []


async def test_a_jwt_of_the_introspecting_issuer_is_introspected() -> None:
    """A JWT of the introspection's own issuer is introspected if that issuer has no keys here, to notice each
    revocation."""
    server = IntrospectionServer()

    assert (await accepted_principal(scheme(server), mint())).subject == "alice"

    assert server.requests[0][2]["token"] == [mint()]


@pytest.mark.parametrize(
    "token",
    [
        mint().rpartition(".")[0],
        mint() + ".AA",
        b64url(b'{"alg":"dir","enc":"A256GCM"}') + "..AA.BB.CC",
        b64url(b'{"alg":5}') + ".e30.AA",
        b64url(b'{"alg":"RS256"') + ".e30.AA",
        b64url(b'{"alg":"RS256"}') + ".??.AA",
    ],
    ids=["two parts", "four parts", "JWE", "alg", "broken header", "no token68"],
)
async def test_a_malformed_jwt_is_not_introspected(token: str) -> None:
    """A token that looks like a JWT and is malformed is not sent to the server."""
    server = IntrospectionServer()
    outcome = await outcome_of(scheme(server), token)

    assert isinstance(outcome, Rejected)
    assert outcome.reason.code in {"token.malformed", "credentials.malformed"}
    assert server.requests == []


@pytest.mark.parametrize("token", ["x", "eyJ", "v4.public.payload", b64url(b'{"u":5}') + ".time.mac", "a.b.c.d.e=="])
async def test_every_other_token_is_opaque(token: str) -> None:
    """Every other token68 is introspected (RFC 6750 section 2.1), tokens of other signed formats included."""
    server = IntrospectionServer()

    await accepted_principal(scheme(server), token)

    assert server.requests[0][2]["token"] == [token]


async def test_without_an_introspection_an_opaque_token_is_malformed() -> None:
    """Without an ``Introspection`` an opaque token is rejected as malformed."""
    outcome = await outcome_of(bearer())

    assert (await rejection(bearer()))[0] == "token.malformed"
    assert isinstance(outcome, Rejected)


# --- what is kept -----------------------------------------------------------------------------------------------------


@pytest.mark.rfc("7662-3")
async def test_an_answer_is_cached() -> None:
    """An answer is cached for ``remember`` seconds by the monotonic clock, for that token alone."""
    server, ticks = IntrospectionServer(), ManualClock(1000)
    of = scheme(server, remember=10, clock=ticks)

    for token in (OPAQUE_TOKEN, OPAQUE_TOKEN, "other"):
        await accepted_principal(of, token)
    assert len(server.requests) == 2
    ticks.move(9.9)
    await accepted_principal(of)
    assert len(server.requests) == 2
    ticks.move(0.1)
    await accepted_principal(of)

    assert len(server.requests) == 3


@pytest.mark.rfc("7662-3")
async def test_no_answer_is_cached_beyond_its_expiry() -> None:
    """7662-3: a cached answer ends at ``exp`` without leeway. Then the server is asked again."""
    server = IntrospectionServer(active_response(exp=NOW + 5))
    of = scheme(server, clock=ManualClock(1000))
    await accepted_principal(of)

    await accepted_principal(of, now=NOW + 4.9)
    assert len(server.requests) == 1
    server.answer = active_response(active=False)

    assert (await rejection(of, now=NOW + 5))[0] == "token.inactive"


@pytest.mark.rfc("7662-5")
async def test_a_cached_answer_is_checked_at_each_request() -> None:
    """The claims of a cached answer are checked at the moment of each request."""
    of = scheme(IntrospectionServer(active_response(nbf=NOW)), clock=ManualClock(1000))
    await accepted_principal(of)

    assert (await rejection(of, now=NOW - 61))[0] == "token.not_yet_valid"


async def test_the_cache_can_be_switched_off() -> None:
    """Without a cache every request asks the server, so a revocation takes effect at once."""
    server = IntrospectionServer()
    of = scheme(server, remember=None)

    await accepted_principal(of)
    await accepted_principal(of)

    assert len(server.requests) == 2


async def test_without_a_cache_an_inactive_answer_is_not_kept() -> None:
    """Without a cache a token that becomes active is accepted at once."""
    server = IntrospectionServer(active_response(active=False))
    of = scheme(server, remember=None)

    await rejection(of)
    server.answer = active_response()

    assert (await accepted_principal(of)).subject == "alice"


async def test_an_inactive_answer_is_cached_no_longer_than_an_active_one() -> None:
    """A shorter cache time applies to inactive answers too."""
    server, ticks = IntrospectionServer(active_response(active=False)), ManualClock(1000)
    of = scheme(server, remember=1, clock=ticks)

    await rejection(of)
    ticks.move(1)
    server.answer = active_response()

    assert (await accepted_principal(of)).subject == "alice"


async def test_a_cached_answer_cannot_be_changed_by_the_app() -> None:
    """If the app changes the claims of a principal, the next request still gets those of the server."""
    of = scheme(IntrospectionServer(), clock=ManualClock(1000))
    first: Any = (await accepted_principal(of)).claims
    first["roles"].append("root")
    first["sub"] = "mallory"

    again = await accepted_principal(of)

    assert again.subject == "alice"
    assert again.roles == {"admin"}


async def test_an_inactive_answer_is_cached_for_a_moment() -> None:
    """A client that retries an inactive token does not reach the server each time."""
    server, ticks = IntrospectionServer(active_response(active=False)), ManualClock(1000)
    of = scheme(server, clock=ticks)

    for _ in range(3):
        await rejection(of)
    assert len(server.requests) == 1
    ticks.move(INACTIVE_FOR)
    await rejection(of)

    assert len(server.requests) == 2


@pytest.mark.rfc("7662-3")
async def test_invented_tokens_do_not_displace_active_ones() -> None:
    """Inactive answers are cached apart from active ones, and both caches are bounded."""
    server = IntrospectionServer()
    of = scheme(server, most=64, clock=ManualClock(1000))
    await accepted_principal(of)
    server.answer = active_response(active=False)
    for number in range(10_000):
        await rejection(of, f"invented-{number}")
    asked = len(server.requests)

    await accepted_principal(of)

    asker = of._issuers.introspection
    assert asker is not None
    assert len(server.requests) == asked
    assert len(asker._inactive._young) + len(asker._inactive._old) <= 4096
    server.answer = active_response()
    for number in range(200):
        await accepted_principal(of, f"good-{number}")
    assert len(asker._active._young) + len(asker._active._old) <= 64


@pytest.mark.rfc("7662-3")
async def test_cached_answers_are_bounded_in_bytes() -> None:
    """Long answers displace older ones before their number does. Those of the last half are always there."""
    server = IntrospectionServer(active_response(note="x" * 50_000))
    of = scheme(server, most_bytes=2 * MAX_RESPONSE, clock=ManualClock(1000))
    asker = of._issuers.introspection
    assert asker is not None

    for number in range(100):
        await accepted_principal(of, f"token-{number}")
        kept = [*asker._active._young.values(), *asker._active._old.values()]
        assert sum(len(cached.answer.body or b"") for cached in kept) <= 2 * MAX_RESPONSE
    await accepted_principal(of, "token-99")
    assert len(server.requests) == 100
    await accepted_principal(of, "token-0")

    assert len(server.requests) == 101


def test_sixteen_megabytes_of_answers_are_cached_by_default() -> None:
    """Ten thousand of the longest answers would be 640 MB."""
    assert introspection()._active._half_bytes * 2 == 16 * 1024 * 1024


async def test_active_tokens_of_others_do_not_displace_known_ones() -> None:
    """A token that is active but not accepted here, such as one for another API, does not become known."""
    server = IntrospectionServer()
    of = introspection(server, most=64, clock=ManualClock(1000))
    await of.authenticate(b"owner", MOMENT)
    server.answer = active_response(aud="bills")

    for number in range(1000):
        await of.authenticate(b"other-%d" % number, MOMENT)

    assert len(of._known) == 1


@pytest.mark.rfc("7662-3")
async def test_no_token_is_kept() -> None:
    """The cache holds keyed hashes and no tokens."""
    of = scheme(IntrospectionServer())
    await accepted_principal(of)
    asker = of._issuers.introspection
    assert asker is not None

    assert OPAQUE_TOKEN.encode() not in b"".join([*asker._active._young, *asker._active._old])
    assert OPAQUE_TOKEN not in repr([asker, asker._active._young, asker._active._old])
    assert repr(asker) == f"Introspection({INTROSPECTION_URL!r}, issuer={ISSUER!r})"


async def test_parallel_requests_with_one_token_ask_once() -> None:
    """Five hundred requests with one token ask the server once, even if the first of them is cancelled."""
    server = IntrospectionServer()
    server.hold = anyio.Event()
    of = scheme(server)
    leaving = anyio.CancelScope()

    async def first() -> None:
        with leaving:
            await outcome_of(of)

    async def release() -> None:
        assert len(server.requests) == 1
        leaving.cancel()
        await anyio.wait_all_tasks_blocked()
        assert server.hold is not None
        server.hold.set()

    answers = await run_together([first, *[partial(accepted_principal, of)] * 500], release)

    assert answers[0] is None
    assert {principal.subject for principal in answers[1:]} == {"alice"}
    assert len(server.requests) == 2


async def test_parallel_requests_share_a_failure() -> None:
    """A failed call is reported to all requests that waited for it, and counts as one failure."""
    server = IntrospectionServer(OSError())
    server.hold = anyio.Event()
    of = scheme(server)

    async def failing() -> BackendUnavailable:
        with pytest.raises(BackendUnavailable) as caught:
            await outcome_of(of)
        return caught.value

    async def release() -> None:
        assert server.hold is not None
        server.hold.set()

    errors = await run_together([failing] * 20, release)

    assert {str(error) for error in errors} == {f"{INTROSPECTION_URL}: OSError"}
    assert len(server.requests) == 1


# --- how it is set up -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "problem", "changes"),
    [
        ("client_id", "the server must know which client asks", {"client_id": None}),
        ("client_secret", "the server must know which client asks", {"client_secret": ""}),
        ("auth", "give either auth=, or client_id=", {"auth": lambda headers, form: None}),
        ("auth", "give functions", {"auth": "token", "client_id": None, "client_secret": None}),
        ("issuer", "give the exact `iss`", {"issuer": ""}),
        ("audience", "give the name of this API", {"audience": []}),
        ("roles", "is not a source", {"roles": "roles"}),
        ("scopes", "is not a source", {"scopes": ["scope"]}),
        ("subject", "is not a source", {"subject": "sub"}),
        ("remember", "is not a number of seconds", {"remember": 0}),
        ("remember", "is not a number of seconds", {"remember": 3601}),
        ("most", "is not a whole number", {"most": 1}),
        ("most", "is not a whole number", {"most": True}),
        ("most", "is not a whole number", {"most": 5.0}),
        ("most_bytes", "is not a whole number of bytes from 131072", {"most_bytes": 2 * MAX_RESPONSE - 1}),
        ("unknown_token_statuses", "400 is one status; write", {"unknown_token_statuses": 400}),
        ("unknown_token_statuses", "a str is not a set of statuses", {"unknown_token_statuses": "400"}),
        ("unknown_token_statuses", "a NoneType is not a set of statuses", {"unknown_token_statuses": None}),
        ("unknown_token_statuses", "is not a whole number from 400 to 499", {"unknown_token_statuses": {200}}),
        ("unknown_token_statuses", "is not a whole number from 400 to 499", {"unknown_token_statuses": {503}}),
        ("unknown_token_statuses", "is not a whole number from 400 to 499", {"unknown_token_statuses": ["400"]}),
        ("unknown_token_statuses", "429 is an answer about the server", {"unknown_token_statuses": {400, 429}}),
        ("unknown_token_statuses", "407 is an answer about the server", {"unknown_token_statuses": {407}}),
        ("unknown_token_statuses", "408 is an answer about the server", {"unknown_token_statuses": {408}}),
        ("deadline", "is not a number of seconds", {"deadline": 61}),
        ("post", "give functions", {"post": INTROSPECTION_URL}),
        ("client", "give functions", {"client": 5, "post": None}),
        ("client", "give either client= or post=", {"client": lambda: None}),
    ],
)
def test_an_invalid_argument_raises(argument: str, problem: str, changes: dict[str, Any]) -> None:
    """An invalid argument raises while the app is built, and the error names the argument."""
    with pytest.raises(ConfigurationError, match=problem) as caught:
        introspection(**changes)

    assert caught.value.argument == argument


def test_one_introspection_is_enough_for_a_scheme() -> None:
    """A scheme takes at most one introspection, since an opaque token does not name its issuer. It needs no issuer
    beside it."""
    with pytest.raises(ConfigurationError, match="one Introspection"):
        Bearer(introspection(), introspection(), realm="orders")

    assert Bearer(introspection(), realm="orders").name == "bearer"
    assert Bearer(issuer(name=ANY_ISSUER), introspection(), realm="orders").name == "bearer"


def test_openapi_does_not_call_opaque_tokens_jwts() -> None:
    """OpenAPI has no ``bearerFormat`` of JWT for a scheme with an introspection."""
    assert bearer().openapi["bearerFormat"] == "JWT"
    assert Bearer(issuer(), introspection(), realm="orders").openapi == {"type": "http", "scheme": "bearer"}


def test_health_reports_the_introspection() -> None:
    """The health of the scheme has figures of its introspection, if there is one."""
    assert "introspection" not in bearer().health()
    assert Bearer(introspection(), realm="orders").health()["introspection"] == {
        "url": INTROSPECTION_URL,
        "asked": 0,
        "waiting": 0,
        "open": False,
        "open_for_known": False,
        "failures": 0,
        "last_error": None,
        "clock": {"tokens": 0, "smallest": None, "typical": None, "tolerated": 0},
    }


async def test_the_clock_of_the_server_is_watched_too(caplog: pytest.LogCaptureFixture) -> None:
    """``iat`` of every answer about an active token counts for the clock skew, whether the token is accepted or not."""
    server = IntrospectionServer(active_response(iat=NOW + 45))
    of = scheme(server, remember=None)
    await accepted_principal(of)
    server.answer = active_response(exp=NOW - 5)
    await accepted_principal(of)

    health: Any = of.health()["introspection"]

    assert health["clock"] == {"tokens": 2, "smallest": -45.0, "typical": 0.0, "tolerated": 2}
    assert caplog.messages == [f"issuer {ISSUER} is about 45 s ahead; leeway is 60 s"]


def test_the_secret_is_not_shown() -> None:
    """The repr of an introspection has no client secret, and its URL is shown without the query."""
    built = Introspection(
        INTROSPECTION_URL, client_id="a", client_secret="CANARY", issuer="x", audience="y", post=IntrospectionServer()
    )
    keyed = introspection(url=f"{INTROSPECTION_URL}?key=CANARY")

    assert "CANARY" not in repr([vars(built), vars(vars(built)["_client"])])
    assert "CANARY" not in repr([keyed, keyed.health()])


async def test_a_jwt_and_an_introspection_make_the_same_principal() -> None:
    """A token makes the same principal as a JWT and as an answer of introspection."""
    of = scheme(IntrospectionServer({"active": True, **claims()}), issuer())

    assert await accepted_principal(of) == await accepted_principal(of, mint())


# --- a cache that processes share -------------------------------------------------------------------------------------


async def test_what_another_process_was_told_is_not_asked_again() -> None:
    """The answer makes the same principal, and ends with the time of the first one."""
    cache, ticks = MemoryCache(clock=lambda: 0.0), ManualClock(1000)
    first, second = IntrospectionServer(), IntrospectionServer()
    principal = await accepted_principal(scheme(first, shared_cache=cache))
    other = scheme(second, shared_cache=cache, clock=ticks)

    assert await accepted_principal(other) == principal
    assert (len(first.requests), len(second.requests)) == (1, 0)
    ticks.move(31)
    (stored,) = cache._values._young.values()
    await cache.put(next(iter(cache._values._young)), bytes(8) + stored[0][8:], 60)  # its time is over
    await accepted_principal(other)
    assert len(second.requests) == 1


async def test_an_answer_is_shared_until_exp_at_most() -> None:
    """Also by the clock of the other process."""
    cache = MemoryCache()
    first, second = IntrospectionServer(active_response(exp=NOW + 5)), IntrospectionServer()
    await accepted_principal(scheme(first, shared_cache=cache))
    (stored,) = cache._values._young.values()
    other = scheme(second, shared_cache=cache)
    await accepted_principal(other, now=NOW + 6)

    assert stored[1] - time.monotonic() <= 5
    assert len(second.requests) == 1


async def test_only_active_tokens_are_shared() -> None:
    """Invented tokens cannot fill the cache. What is there of another kind is not believed."""
    cache = MemoryCache()
    server = IntrospectionServer({"active": False})
    await outcome_of(scheme(server, shared_cache=cache))
    empty = len(cache._values)
    aside = LookAside(cache)
    await accepted_principal(scheme(IntrospectionServer(), shared_cache=cache))
    await aside.put(next(iter(cache._values._young)), b'{"active": 1}', 60)
    again = IntrospectionServer()
    await accepted_principal(scheme(again, shared_cache=cache))

    assert empty == 0
    assert len(again.requests) == 1


async def test_another_client_or_server_has_answers_of_its_own() -> None:
    """A server may tell one client more than another."""
    cache = MemoryCache()
    await accepted_principal(scheme(IntrospectionServer(), shared_cache=cache))
    for changes in ({"client_id": "other"}, {"url": f"{INTROSPECTION_URL}/2"}):
        server = IntrospectionServer()
        await accepted_principal(scheme(server, shared_cache=cache, **changes))
        assert len(server.requests) == 1


async def test_a_cache_that_is_away_means_asking_the_server() -> None:
    """Never a refusal."""

    class Away(MemoryCache):
        async def get(self, key: bytes) -> bytes | None:
            raise BackendUnavailable("away")

    server = IntrospectionServer()
    await accepted_principal(scheme(server, shared_cache=Away()))

    assert len(server.requests) == 1


def test_a_shared_cache_without_remembering_raises() -> None:
    """Nothing would be put into it."""
    with pytest.raises(ConfigurationError, match="shared_cache"):
        introspection(shared_cache=MemoryCache(), remember=None)
