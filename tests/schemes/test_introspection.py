"""Opaque tokens: which of them are asked about, what is made of the answer, and for how long it is kept."""

from __future__ import annotations

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
    Principal,
    Rejected,
    claim,
)
from authguard.model import Outcome
from authguard.schemes.bearer.introspection import INACTIVE_FOR
from authguard.testing import ManualClock
from tests.support.clock import NOW
from tests.support.coroutines import run_together
from tests.support.schemes.bearer import bearer, bearer_credentials, bearer_request, issuer
from tests.support.schemes.introspection import (
    INTROSPECTION_URL,
    OPAQUE_TOKEN,
    IntrospectionServer,
    active_response,
    introspection,
)
from tests.support.tokens import ISSUER, b64url, claims, mint, rsa_key

FOREIGN = "https://elsewhere.example/"


def scheme(server: IntrospectionServer, *others: Any, **changes: Any) -> Bearer:
    """A Bearer scheme that asks this server."""
    return Bearer(*others, introspection(server, **changes), realm="orders")


async def said(of: Bearer, token: str = OPAQUE_TOKEN, **moment: float) -> Outcome:
    """What the scheme says to a token."""
    return await of.authenticate(bearer_request(**moment), bearer_credentials(token))


async def taken(of: Bearer, token: str = OPAQUE_TOKEN, **moment: float) -> Principal:
    """Whom it takes the bearer for."""
    outcome = await said(of, token, **moment)
    assert isinstance(outcome, Accepted), outcome
    return outcome.principal


async def refused(of: Bearer, token: str = OPAQUE_TOKEN, **moment: float) -> tuple[str, Mapping[str, object]]:
    """Why it refuses, and the facts, less the name of the token, which is checked here."""
    outcome = await said(of, token, **moment)
    assert isinstance(outcome, Rejected), outcome
    facts = dict(outcome.facts)
    assert facts.pop("token") == sha256(token.encode()).hexdigest()[:8]
    return outcome.reason.code, facts


# --- whom a token makes -----------------------------------------------------------------------------------------------


@pytest.mark.rfc("7662-2")
async def test_an_active_token_makes_a_principal() -> None:
    """7662-2: by the members of the answer, as by the claims of a JWT."""
    principal = await taken(scheme(IntrospectionServer()))

    assert principal == Principal(
        "alice", roles={"admin"}, scopes={"read", "write"}, expires_at=NOW + 600, scheme="bearer"
    )
    assert principal.claims == active_response()


@pytest.mark.rfc("7662-1")
async def test_the_server_is_asked_as_the_rfc_writes_it() -> None:
    """7662-1: a POST of a form, by somebody who says who it is."""
    server = IntrospectionServer()

    await said(scheme(server))

    ((url, headers, form),) = server.requests
    assert (url, form) == (INTROSPECTION_URL, {"token": [OPAQUE_TOKEN], "token_type_hint": ["access_token"]})
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert headers["Accept"] == "application/json"
    assert headers["Authorization"].startswith("Basic ")


async def test_roles_scopes_and_the_subject_come_from_where_the_app_says() -> None:
    """As for an issuer."""
    members = active_response(realm_access={"roles": ["clerk"]}, scp="a b", username="bob")
    options = {"roles": claim("realm_access", "roles"), "scopes": claim("scp"), "subject": claim("username")}

    principal = await taken(scheme(IntrospectionServer(members), **options))

    assert principal == Principal("bob", roles={"clerk"}, scopes={"a", "b"}, expires_at=NOW + 600, scheme="bearer")


async def test_an_answer_needs_no_end() -> None:
    """RFC 7662 section 2.2: ``exp`` is optional, for it is the server that says whether the token is over."""
    assert (await taken(scheme(IntrospectionServer(active_response(exp=..., iat=...))))).expires_at is None


async def test_what_is_not_checked_is_said_in_words() -> None:
    """Neither who issued it nor for whom."""
    options = {"issuer": ANY_ISSUER, "audience": ANY_AUDIENCE}

    principal = await taken(scheme(IntrospectionServer(active_response(iss=..., aud=...)), **options))

    assert principal.subject == "alice"


@pytest.mark.parametrize("kind", [..., "bearer", "Bearer", "BEARER"])
async def test_a_bearer_token_may_say_so(kind: Any) -> None:
    """RFC 6749 section 5.1: without case."""
    assert (await taken(scheme(IntrospectionServer(active_response(token_type=kind))))).subject == "alice"


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.rfc("7662-2")
async def test_a_token_that_is_not_active_is_refused() -> None:
    """Whatever else the answer says."""
    assert await refused(scheme(IntrospectionServer(active_response(active=False)))) == ("token.inactive", {})


@pytest.mark.parametrize(
    ("changes", "code", "facts"),
    [
        ({"iss": FOREIGN}, "token.issuer_unknown", {"issuer": FOREIGN, "wanted": ISSUER}),
        ({"iss": ...}, "token.issuer_unknown", {"issuer": None, "wanted": ISSUER}),
        ({"iss": [ISSUER]}, "token.issuer_unknown", {"issuer": None, "wanted": ISSUER}),
        ({"aud": "bills"}, "token.audience_mismatch", {"audience": ("bills",), "wanted": ("orders",)}),
        ({"aud": ...}, "token.claim_missing", {"claim": "aud"}),
        ({"exp": NOW - 61}, "token.expired", {"expired_by": 61.0, "leeway": 60}),
        ({"exp": "soon"}, "token.claim_invalid", {"claim": "exp"}),
        ({"nbf": NOW + 61}, "token.not_yet_valid", {"valid_in": 61.0, "leeway": 60}),
        ({"iat": NOW + 61}, "token.issued_in_future", {"issued_in": 61.0, "leeway": 60}),
        ({"sub": ...}, "token.claim_missing", {"claim": "sub"}),
        ({"sub": ""}, "token.claim_invalid", {"claim": "sub"}),
        ({"cnf": {"jkt": "x"}}, "token.bound", {}),
        ({"token_type": "DPoP"}, "token.type_refused", {"typ": "DPoP", "wanted": "Bearer"}),
        ({"token_type": 5}, "token.type_refused", {"typ": None, "wanted": "Bearer"}),
    ],
    ids=str,
)
@pytest.mark.rfc("7662-5")
async def test_an_active_token_is_judged_here_too(changes: Any, code: str, facts: Any) -> None:
    """7662-5: aud, iss, exp, nbf, cnf and token_type, by the request's moment."""
    assert await refused(scheme(IntrospectionServer(active_response(**changes)))) == (code, facts)


async def test_the_leeway_is_that_of_the_guard() -> None:
    """A token that the server still calls active holds thanks to it, and that is noted."""
    outcome = await said(scheme(IntrospectionServer(active_response(exp=NOW - 3))))

    assert isinstance(outcome, Accepted)
    assert outcome.facts == {"tolerated": {"exp": 3.0}}


# --- which tokens are asked about -------------------------------------------------------------------------------------


async def test_a_jwt_of_a_known_issuer_is_judged_by_its_keys() -> None:
    """The server never sees it."""
    server = IntrospectionServer()
    both = scheme(server, issuer())

    assert (await taken(both, mint(sub="bob"))).subject == "bob"
    assert (await taken(both)).subject == "alice"
    assert (await refused(both, mint(rsa_key(which=1))))[0] == "token.signature_invalid"
    assert len(server.requests) == 1


async def test_a_jwt_of_another_issuer_is_sent_nowhere() -> None:
    """It is a secret between others."""
    server = IntrospectionServer()

    for of in (scheme(server, issuer()), scheme(server), scheme(server, issuer=ANY_ISSUER)):
        assert (await refused(of, mint(iss=FOREIGN)))[0] == "token.issuer_unknown"
        assert (await refused(of, mint(iss="")))[0] == "token.issuer_unknown"

    assert server.requests == []


async def test_a_jwt_of_the_very_issuer_is_asked_about() -> None:
    """Where no ``Issuer`` is called so: an app may want to hear of each revocation."""
    server = IntrospectionServer()

    assert (await taken(scheme(server), mint())).subject == "alice"

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
async def test_what_was_meant_for_a_jwt_is_no_opaque_token(token: str) -> None:
    """A slip of whoever sent it must not show it to somebody else."""
    server = IntrospectionServer()
    outcome = await said(scheme(server), token)

    assert isinstance(outcome, Rejected)
    assert outcome.reason.code in {"token.malformed", "credentials.malformed"}
    assert server.requests == []


@pytest.mark.parametrize("token", ["x", "eyJ", "v4.public.payload", b64url(b'{"u":5}') + ".time.mac", "a.b.c.d.e=="])
async def test_whatever_else_is_a_token_is_opaque(token: str) -> None:
    """RFC 6750 section 2.1, also where others sign tokens in their own way."""
    server = IntrospectionServer()

    await taken(scheme(server), token)

    assert server.requests[0][2]["token"] == [token]


async def test_without_an_introspection_an_opaque_token_is_malformed() -> None:
    """As before."""
    outcome = await said(bearer())

    assert (await refused(bearer()))[0] == "token.malformed"
    assert isinstance(outcome, Rejected)


# --- what is kept -----------------------------------------------------------------------------------------------------


@pytest.mark.rfc("7662-3")
async def test_an_answer_is_kept_for_a_while() -> None:
    """By the second, on our own clock; another token has another answer."""
    server, ticks = IntrospectionServer(), ManualClock(1000)
    of = scheme(server, remember=10, clock=ticks)

    for token in (OPAQUE_TOKEN, OPAQUE_TOKEN, "other"):
        await taken(of, token)
    assert len(server.requests) == 2
    ticks.move(9.9)
    await taken(of)
    assert len(server.requests) == 2
    ticks.move(0.1)
    await taken(of)

    assert len(server.requests) == 3


@pytest.mark.rfc("7662-3")
async def test_no_answer_is_kept_beyond_its_end() -> None:
    """7662-3: by the clock alone, without leeway; then the server has the word again."""
    server = IntrospectionServer(active_response(exp=NOW + 5))
    of = scheme(server, clock=ManualClock(1000))
    await taken(of)

    await taken(of, now=NOW + 4.9)
    assert len(server.requests) == 1
    server.answer = active_response(active=False)

    assert (await refused(of, now=NOW + 5))[0] == "token.inactive"


@pytest.mark.rfc("7662-5")
async def test_a_kept_answer_is_judged_anew() -> None:
    """By the moment of each request."""
    of = scheme(IntrospectionServer(active_response(nbf=NOW)), clock=ManualClock(1000))
    await taken(of)

    assert (await refused(of, now=NOW - 61))[0] == "token.not_yet_valid"


async def test_nothing_is_kept_where_the_app_says_so() -> None:
    """Each request asks, so that a revocation is noticed at once."""
    server = IntrospectionServer()
    of = scheme(server, remember=None)

    await taken(of)
    await taken(of)

    assert len(server.requests) == 2


async def test_nothing_is_kept_of_what_is_not_active_either() -> None:
    """A token that has become active counts at once."""
    server = IntrospectionServer(active_response(active=False))
    of = scheme(server, remember=None)

    await refused(of)
    server.answer = active_response()

    assert (await taken(of)).subject == "alice"


async def test_that_a_token_is_not_active_is_kept_no_longer_than_the_rest() -> None:
    """Where an answer is remembered for less."""
    server, ticks = IntrospectionServer(active_response(active=False)), ManualClock(1000)
    of = scheme(server, remember=1, clock=ticks)

    await refused(of)
    ticks.move(1)
    server.answer = active_response()

    assert (await taken(of)).subject == "alice"


async def test_what_an_app_does_to_its_claims_is_its_own() -> None:
    """The next request gets them as the server said."""
    of = scheme(IntrospectionServer(), clock=ManualClock(1000))
    first: Any = (await taken(of)).claims
    first["roles"].append("root")
    first["sub"] = "mallory"

    again = await taken(of)

    assert again.subject == "alice"
    assert again.roles == {"admin"}


async def test_that_a_token_is_not_active_is_kept_for_moments() -> None:
    """So that one who tries it again and again does not ask the server each time."""
    server, ticks = IntrospectionServer(active_response(active=False)), ManualClock(1000)
    of = scheme(server, clock=ticks)

    for _ in range(3):
        await refused(of)
    assert len(server.requests) == 1
    ticks.move(INACTIVE_FOR)
    await refused(of)

    assert len(server.requests) == 2


@pytest.mark.rfc("7662-3")
async def test_who_invents_tokens_drives_out_nobody() -> None:
    """What is not active is kept apart, and both are bounded."""
    server = IntrospectionServer()
    of = scheme(server, most=64, clock=ManualClock(1000))
    await taken(of)
    server.answer = active_response(active=False)
    for number in range(10_000):
        await refused(of, f"invented-{number}")
    asked = len(server.requests)

    await taken(of)

    asker = of._issuers.introspection
    assert asker is not None
    assert len(server.requests) == asked
    assert len(asker._inactive._young) + len(asker._inactive._old) <= 4096
    server.answer = active_response()
    for number in range(200):
        await taken(of, f"good-{number}")
    assert len(asker._active._young) + len(asker._active._old) <= 64


@pytest.mark.rfc("7662-3")
async def test_no_token_is_kept() -> None:
    """A cache that somebody gets to see holds keyed hashes alone."""
    of = scheme(IntrospectionServer())
    await taken(of)
    asker = of._issuers.introspection
    assert asker is not None

    assert OPAQUE_TOKEN.encode() not in b"".join([*asker._active._young, *asker._active._old])
    assert OPAQUE_TOKEN not in repr([asker, asker._active._young, asker._active._old])
    assert repr(asker) == f"Introspection({INTROSPECTION_URL!r}, issuer={ISSUER!r})"


async def test_who_asks_the_same_at_the_same_time_asks_once() -> None:
    """Five hundred requests of one token, though the first of them leaves."""
    server = IntrospectionServer()
    server.hold = anyio.Event()
    of = scheme(server)
    leaving = anyio.CancelScope()

    async def first() -> None:
        with leaving:
            await said(of)

    async def let_go() -> None:
        assert len(server.requests) == 1
        leaving.cancel()
        await anyio.wait_all_tasks_blocked()
        assert server.hold is not None
        server.hold.set()

    answers = await run_together([first, *[partial(taken, of)] * 500], let_go)

    assert answers[0] is None
    assert {principal.subject for principal in answers[1:]} == {"alice"}
    assert len(server.requests) == 2


async def test_who_waits_together_hears_of_the_same_trouble() -> None:
    """One call that failed, and not one for each of them."""
    server = IntrospectionServer(OSError())
    server.hold = anyio.Event()
    of = scheme(server)

    async def failing() -> BackendUnavailable:
        with pytest.raises(BackendUnavailable) as caught:
            await said(of)
        return caught.value

    async def let_go() -> None:
        assert server.hold is not None
        server.hold.set()

    errors = await run_together([failing] * 20, let_go)

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
        ("subject", "is not a claim", {"subject": "sub"}),
        ("remember", "is not a number of seconds", {"remember": 0}),
        ("remember", "is not a number of seconds", {"remember": 3601}),
        ("most", "is not a whole number", {"most": 1}),
        ("most", "is not a whole number", {"most": True}),
        ("most", "is not a whole number", {"most": 5.0}),
        ("deadline", "is not a number of seconds", {"deadline": 61}),
        ("post", "give functions", {"post": INTROSPECTION_URL}),
        ("client", "give functions", {"client": 5, "post": None}),
        ("client", "give either client= or post=", {"client": lambda: None}),
    ],
)
def test_a_mistake_is_told_by_the_name_of_the_argument(argument: str, problem: str, changes: dict[str, Any]) -> None:
    """While the app is built."""
    with pytest.raises(ConfigurationError, match=problem) as caught:
        introspection(**changes)

    assert caught.value.argument == argument


def test_one_introspection_is_enough_for_a_scheme() -> None:
    """An opaque token does not say whom to ask; and an introspection alone makes a scheme."""
    with pytest.raises(ConfigurationError, match="one Introspection"):
        Bearer(introspection(), introspection(), realm="orders")

    assert Bearer(introspection(), realm="orders").name == "bearer"
    assert Bearer(issuer(name=ANY_ISSUER), introspection(), realm="orders").name == "bearer"


def test_a_document_does_not_call_them_all_jwts() -> None:
    """In OpenAPI, where the format of a token is a hint."""
    assert bearer().openapi["bearerFormat"] == "JWT"
    assert Bearer(issuer(), introspection(), realm="orders").openapi == {"type": "http", "scheme": "bearer"}


def test_the_scheme_tells_of_its_health() -> None:
    """And says nothing of an introspection that it has not got."""
    assert "introspection" not in bearer().health()
    assert Bearer(introspection(), realm="orders").health()["introspection"] == {
        "url": INTROSPECTION_URL,
        "asked": 0,
        "waiting": 0,
        "open": False,
        "failures": 0,
        "last_error": None,
        "clock": {"tokens": 0, "smallest": None, "typical": None, "tolerated": 0},
    }


async def test_the_clock_of_the_server_is_watched_too(caplog: pytest.LogCaptureFixture) -> None:
    """By the ``iat`` of what it says of its tokens, whether they are taken or not."""
    server = IntrospectionServer(active_response(iat=NOW + 45))
    of = scheme(server, remember=None)
    await taken(of)
    server.answer = active_response(exp=NOW - 5)
    await taken(of)

    health: Any = of.health()["introspection"]

    assert health["clock"] == {"tokens": 2, "smallest": -45.0, "typical": 0.0, "tolerated": 2}
    assert caplog.messages == [f"issuer {ISSUER} is about 45 s ahead; leeway is 60 s"]


def test_the_secret_is_not_shown() -> None:
    """Not by what a debugger shows of its parts; and an address with a key in its query is told without that."""
    made = Introspection(
        INTROSPECTION_URL, client_id="a", client_secret="CANARY", issuer="x", audience="y", post=IntrospectionServer()
    )
    keyed = introspection(url=f"{INTROSPECTION_URL}?key=CANARY")

    assert "CANARY" not in repr([vars(made), vars(vars(made)["_client"])])
    assert "CANARY" not in repr([keyed, keyed.health()])


async def test_claims_and_members_are_one_to_a_scheme() -> None:
    """The same token, once as a JWT and once as its introspection, makes the same principal."""
    of = scheme(IntrospectionServer({"active": True, **claims()}), issuer())

    assert await taken(of) == await taken(of, mint())
