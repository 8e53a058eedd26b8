"""Every kind of response, as a matrix of requests through Starlette: status, headers and body, byte for byte."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from abnf.grammars import rfc9110
from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
from starlette.types import Scope

from authguard import (
    OPTIONAL,
    PEM,
    PUBLIC,
    AuthGuardMiddleware,
    AuthRequest,
    BackendUnavailable,
    Bearer,
    Challenge,
    Denied,
    Guard,
    Issuer,
    Reason,
    Record,
    Rejected,
    Render,
    Rule,
    any_of,
    role,
    scopes,
    step_up,
    via,
)
from authguard.reasons import STORE_UNAVAILABLE
from tests.support.asgi import Exchange, header_list, http_scope, run_app
from tests.support.clock import NOW
from tests.support.schemes.badge import OUTCOMES, Badge, PlainBadge
from tests.support.tokens import AUDIENCE, ISSUER, ec_key, mint, public_pem

BEARER, PLAIN, BADGE = 'Bearer realm="orders"', 'Plain realm="tests"', 'Badge realm="tests"'
BARE = [BEARER, PLAIN, BADGE]
INVALID = 'Bearer realm="orders", error="invalid_token"'
EXPIRED = 'Bearer realm="orders", error="invalid_token", error_description="The access token expired"'
INSUFFICIENT = 'Bearer realm="orders", error="insufficient_scope"'
REQUEST = ['Bearer realm="orders", error="invalid_request"', PLAIN, 'Badge realm="tests", error="invalid_request"']

RULES = [
    Rule("/open", PUBLIC),
    Rule("/maybe", OPTIONAL),
    Rule("/admin/**", role("admin")),
    Rule("/badge", via("badge")),
    Rule("/two", via("badge", "bearer")),
    Rule("/scoped", scopes("read", "write")),
    Rule("/step", step_up(acr=["gold", "silver"], max_age=60)),
    Rule("/ladder", any_of(role("boss"), step_up(max_age=0))),
    Rule("/get", role("admin"), methods={"GET"}),
    Rule("/socket", role("admin"), methods={"WEBSOCKET"}),
]

ODDS: dict[str, object] = {
    **OUTCOMES,
    "down": BackendUnavailable("no route to host", reason=STORE_UNAVAILABLE, retry_after=7),
    "sometime": BackendUnavailable(),
    "broken": ZeroDivisionError("s3cr3t"),
    "often": Rejected(Reason("attempts.exceeded", 429), "alice"),
}


@cache
def token(kind: str) -> str:
    """An Authorization field with a token: valid for an admin, or as the word says."""
    changes: dict[str, dict[str, Any]] = {
        "admin": {},
        "nobody": {"roles": [], "scope": ""},
        "reader": {"roles": [], "scope": "read"},
        "golden": {"acr": "gold", "auth_time": NOW - 30},
        "stale": {"acr": "gold", "auth_time": NOW - 300},
        "expired": {"exp": NOW - 64.2},
        "foreign": {"aud": "others"},
    }
    return f"Bearer {mint(ec_key(), 'ES256', **changes[kind])}"


@cache
def forged() -> str:
    """A token that is signed with an unknown key."""
    return f"Bearer {mint(ec_key(which=1), 'ES256')}"


@dataclass(frozen=True)
class Case:
    """One situation: the request, and the expected response."""

    path: str
    sent: str
    status: int
    challenges: Sequence[str]
    reason: str
    method: str = "GET"

    def __str__(self) -> str:
        return f"{self.method} {self.path!r} {self.sent or 'nothing'}"


# The request has no field, `token NAME`, `forged`, `two LINES`, `long`, or the field itself.
CASES = [
    # No credentials, or none that this route accepts: all accepted schemes, without an error.
    Case("/any", "", 401, BARE, "credentials.missing"),
    Case("/admin/users", "", 401, BARE, "credentials.missing"),
    Case("/scoped", "", 401, [f'{BEARER}, scope="read write"', PLAIN, BADGE], "credentials.missing"),
    Case("/step", "", 401, BARE, "credentials.missing"),
    Case("/badge", "", 401, [BADGE], "credentials.missing"),
    Case("/two", "", 401, [BEARER, BADGE], "credentials.missing"),
    Case("/any", "Negotiate abc", 401, BARE, "scheme.unsupported"),
    Case("/any", "Negotiate\tabc", 401, BARE, "scheme.unsupported"),
    Case("/maybe", "Negotiate abc", 401, BARE, "scheme.unsupported"),
    Case("/badge", "token admin", 401, [BADGE], "scheme.unsupported"),
    Case("/two", "Plain alice", 401, [BEARER, BADGE], "scheme.unsupported"),
    # No auth-scheme: malformed credentials for no scheme.
    Case("/any", '"abc"', 401, BARE, "credentials.malformed"),
    Case("/any", " ", 401, BARE, "credentials.malformed"),
    # Invalid credentials: all accepted schemes, with the error on the one that was tried.
    Case("/any", "Bearer", 401, [INVALID, PLAIN, BADGE], "credentials.malformed"),
    Case("/any", "Bearer\tabc", 401, [INVALID, PLAIN, BADGE], "credentials.malformed"),
    Case("/any", "Bearer a b", 401, [INVALID, PLAIN, BADGE], "credentials.malformed"),
    Case("/any", "Bearer abc", 401, [INVALID, PLAIN, BADGE], "token.malformed"),
    Case("/any", "bEARER abc", 401, [INVALID, PLAIN, BADGE], "token.malformed"),
    Case("/any", "forged", 401, [INVALID, PLAIN, BADGE], "token.signature_invalid"),
    Case("/any", "token foreign", 401, [INVALID, PLAIN, BADGE], "token.audience_mismatch"),
    Case("/any", "token expired", 401, [EXPIRED, PLAIN, BADGE], "token.expired"),
    Case("/maybe", "token expired", 401, [EXPIRED, PLAIN, BADGE], "token.expired"),
    Case("/two", "token expired", 401, [EXPIRED, BADGE], "token.expired"),
    Case("/admin/users", "token expired", 401, [EXPIRED, PLAIN, BADGE], "token.expired"),
    Case("/any", "Plain wrong", 401, BARE, "badge.wrong"),
    Case("/any", "Badge wrong", 401, [BEARER, PLAIN, 'Badge realm="tests", error="invalid_token"'], "badge.wrong"),
    Case("/badge", "Badge wrong", 401, ['Badge realm="tests", error="invalid_token"'], "badge.wrong"),
    # The message itself is ambiguous.
    Case("/any", "two", 400, REQUEST, "credentials.ambiguous"),
    Case("/badge", "two", 400, REQUEST[2:], "credentials.ambiguous"),
    Case("/any", "long", 400, REQUEST, "header.too_long"),
    Case("/maybe", "two", 400, REQUEST, "credentials.ambiguous"),
    # The path is ambiguous: no challenge, because no rule applies.
    Case("/admin/../open", "", 400, [], "path.ambiguous"),
    Case("//open", "token admin", 400, [], "path.ambiguous"),
    Case("/open\n", "", 400, [], "path.ambiguous"),
    # Authenticated, but not allowed: the scheme that was tried, if it sends challenges with a 403.
    Case("/admin/users", "token nobody", 403, [INSUFFICIENT], "role.missing"),
    Case("/admin/users", "Badge bob", 403, ['Badge realm="tests", error="insufficient_scope"'], "role.missing"),
    Case("/admin/users", "Plain bob", 403, [], "role.missing"),
    Case("/scoped", "token reader", 403, [f'{INSUFFICIENT}, scope="read write"'], "scope.missing"),
    Case("/scoped", "Plain alice", 403, [], "scope.missing"),
    Case("/get", "token admin", 403, [INSUFFICIENT], "method.unlisted", method="POST"),
    Case("/get", "token admin", 403, [INSUFFICIENT], "method.unlisted", method="get"),
    Case("/get", "token admin", 403, [INSUFFICIENT], "method.unlisted", method="WEBSOCKET"),
    Case("/socket", "token admin", 403, [INSUFFICIENT], "method.unlisted", method="WEBSOCKET"),
    Case("/socket", "token admin", 403, [INSUFFICIENT], "method.unlisted"),
    Case("/get", "", 401, BARE, "credentials.missing", method="POST"),
    Case("/get", "", 401, BARE, "credentials.missing", method="OPTIONS"),
    Case("/get", "", 401, BARE, "credentials.missing", method="get"),
    Case("/socket", "", 401, BARE, "credentials.missing", method="WEBSOCKET"),
    # A stronger or a more recent login.
    Case(
        "/step",
        "token stale",
        401,
        ['Bearer realm="orders", error="insufficient_user_authentication", max_age="60"', PLAIN, BADGE],
        "step_up.required",
    ),
    Case(
        "/step",
        "token admin",
        401,
        [
            'Bearer realm="orders", error="insufficient_user_authentication", acr_values="gold silver", max_age="60"',
            PLAIN,
            BADGE,
        ],
        "step_up.required",
    ),
    Case(
        "/ladder",
        "token stale",
        401,
        ['Bearer realm="orders", error="insufficient_user_authentication", max_age="0"', PLAIN, BADGE],
        "step_up.required",
    ),
    # Too many attempts, and outages.
    Case("/any", "Badge often", 429, [], "attempts.exceeded"),
    Case("/any", "Badge down", 503, [], "store.unavailable"),
    Case("/maybe", "Badge sometime", 503, [], "store.unavailable"),
    Case("/any", "Plain broken", 503, [], "backend.failed"),
]
every_case = pytest.mark.parametrize("case", CASES, ids=str)


class World:
    """A Starlette app behind a guard with three schemes. It counts calls of its endpoints, and keeps the decisions."""

    def __init__(self, render: Render | None = None, **options: Any) -> None:
        issuer = Issuer(ISSUER, audience=AUDIENCE, algorithms=["ES256"], keys=PEM(public_pem(ec_key())))
        self.plain, self.badge = PlainBadge("plain", ODDS), Badge("badge", ODDS)
        self.told: list[Record] = []
        self.reached: list[str | None] = []
        guard = Guard(
            Bearer(issuer, realm="orders"),
            self.plain,
            self.badge,
            rules=RULES,
            clock=lambda: NOW,
            hooks=[self.told.append],
            log=False,
            **options,
        )
        self.app = Starlette(routes=[Route("/{rest:path}", self._endpoint, methods=["GET", "POST", "OPTIONS"])])
        self.app.add_middleware(AuthGuardMiddleware, guard=guard, render=render)

    async def _endpoint(self, request: HTTPConnection) -> PlainTextResponse:
        self.reached.append(request.user.subject if request.user.is_authenticated else None)
        return PlainTextResponse("passed")

    async def ask(self, case: Case, method: str | None = None) -> Exchange:
        """The response to a case."""
        return await run_app(self.app, sent(case, method or case.method))


def sent(case: Case, method: str) -> Scope:
    """The scope of a case."""
    headers = header_list(case.sent)
    match case.sent.split(" "):
        case [""]:
            headers = header_list()
        case ["token", kind]:
            headers = header_list(token(kind))
        case ["forged"]:
            headers = header_list(forged())
        case ["two"]:
            headers = [*header_list(token("admin")), (b"authorization", b"Badge alice")]
        case ["long"]:
            headers = header_list("Bearer " + "a" * 16 * 1024)
        case _:
            pass
    return http_scope(case.path, method, headers)


@dataclass(frozen=True)
class CaseResult:
    """The response to a case, the recorded reasons, the calls of the endpoint, and the response to HEAD."""

    answer: Exchange
    reasons: Sequence[str | None]
    reached: Sequence[str | None]
    by_head: Exchange


@pytest.fixture(scope="module")
async def answers(anyio_backend: object) -> Mapping[str, CaseResult]:
    """The results of all cases, computed once for each event loop."""
    results: dict[str, CaseResult] = {}
    for case in CASES:
        world = World()
        answer = await world.ask(case)
        reasons = [record.reason for record in world.told]
        reached = list(world.reached)
        results[str(case)] = CaseResult(answer, reasons, reached, await world.ask(case, "HEAD"))
    return results


@pytest.mark.rfc("9110-1", "9110-2", "9110-3", "9110-7", "6750-4", "6750-6", "6750-7", "6750-8")
@every_case
def test_the_status_the_challenges_and_the_reason(answers: Mapping[str, CaseResult], case: Case) -> None:
    """9110-1, 9110-2, 9110-3, 6750-4, 6750-6, 6750-7, 6750-8, 9470-1: each case has its response.

    One field line for each challenge, in the order of the guard (9110-7).
    """
    found = answers[str(case)]

    assert (found.answer.status, found.answer.lines(b"www-authenticate")) == (case.status, list(case.challenges))
    assert found.reasons == [case.reason]


def test_no_two_cases_have_one_name() -> None:
    """The names of the cases are unique, so that no case hides another one."""
    assert len(set(map(str, CASES))) == len(CASES)


def test_nothing_behind_the_guard_runs(answers: Mapping[str, CaseResult]) -> None:
    """A denied request reaches no endpoint, and its body is not read."""
    ran = [name for name, found in answers.items() if found.reached or found.answer.received]

    assert ran == []


def test_the_client_learns_no_more_than_the_status(answers: Mapping[str, CaseResult]) -> None:
    """9457-1, N17: the body is a problem document for the status, whose ``detail`` is a sentence for a person. Its
    ``code`` depends on the status, and tells that a token expired."""
    codes = {
        400: "ambiguous_request",
        401: "unauthenticated",
        403: "forbidden",
        429: "too_many_attempts",
        503: "unavailable",
    }
    documents = [json.loads(answers[str(case)].answer.body) for case in CASES]

    assert {tuple(document) for document in documents} == {("type", "title", "status", "detail", "code")}
    assert [(document["type"], document["status"], document["code"]) for document in documents] == [
        ("about:blank", case.status, "expired" if case.reason == "token.expired" else codes[case.status])
        for case in CASES
    ]


def test_the_reason_stays_in_the_log(answers: Mapping[str, CaseResult]) -> None:
    """No response contains the code of its reason, or the text of an exception."""
    told = [case for case in CASES for what in (case.reason, "s3cr3t") if what in repr(answers[str(case)].answer.sent)]

    assert told == []


@pytest.mark.rfc("9110-13")
def test_no_denial_is_stored(answers: Mapping[str, CaseResult]) -> None:
    """9110-13: each denial has ``no-store``, its type and its length, and an outage has ``Retry-After``."""
    names = (b"cache-control", b"content-type", b"content-length")
    found = {str(case): answers[str(case)].answer for case in CASES}

    assert {name: [answer.lines(field) for field in names] for name, answer in found.items()} == {
        name: [["no-store"], ["application/problem+json"], [str(len(answer.body))]] for name, answer in found.items()
    }
    assert [len(found[str(case)].lines(b"retry-after")) for case in CASES] == [
        case.status in {429, 503} for case in CASES
    ]


@pytest.mark.rfc("9110-11")
def test_head_is_answered_as_get_is(answers: Mapping[str, CaseResult]) -> None:
    """9110-11: the response to HEAD has the status and the headers of GET, and no body."""
    pairs = [(answers[str(case)].answer, answers[str(case)].by_head) for case in CASES if case.method == "GET"]

    assert [(by_head.status, by_head.headers) for _, by_head in pairs] == [
        (by_get.status, by_get.headers) for by_get, _ in pairs
    ]
    assert {(by_get.body != b"", by_head.body) for by_get, by_head in pairs} == {(True, b"")}


@pytest.mark.rfc("9110-5", "9110-6", "6750-4")
@pytest.mark.parametrize("line", sorted({line for case in CASES for line in case.challenges}))
def test_a_field_line_is_one_challenge(line: str) -> None:
    """9110-5, 9110-6: each line matches the grammar of WWW-Authenticate, and has one challenge.

    6750-4: at least one auth-param follows ``Bearer``.
    """
    assert rfc9110.Rule("WWW-Authenticate").parse_all(line).value == line
    assert Challenge.from_header(line.encode()).get("realm") in {"orders", "tests"}


PASSING = [
    ("/any", "token admin", "alice", "GET"),
    ("/any", "bearer", "alice", "GET"),
    ("/any", "Badge bob", "bob", "GET"),
    ("/any", "PLAIN alice", "alice", "GET"),
    ("/admin", "Plain alice", "alice", "GET"),
    ("/admin/", "Badge alice", "alice", "POST"),
    ("/badge", "Badge bob", "bob", "GET"),
    ("/two", "token nobody", "alice", "GET"),
    ("/scoped", "token admin", "alice", "GET"),
    ("/step", "token golden", "alice", "GET"),
    ("/get", "token admin", "alice", "GET"),
    ("/get", "token admin", "alice", "HEAD"),
    ("/maybe", "", None, "GET"),
    ("/maybe", "Badge bob", "bob", "GET"),
]


@pytest.mark.rfc("9110-4", "6750-1")
@pytest.mark.parametrize(("path", "field", "subject", "method"), PASSING)
async def test_a_permitted_request_passes(path: str, field: str, subject: str | None, method: str) -> None:
    """9110-4: scheme names match in any case, GET's rule covers HEAD, and OPTIONAL authenticates a caller with
    credentials."""
    field = token("admin").replace("Bearer", "bEaReR") if field == "bearer" else field
    world = World()

    answer = await world.ask(Case(path, field, 200, [], "", method))

    assert (answer.status, world.reached) == (200, [subject])
    assert [(record.event, record.subject) for record in world.told] == [("granted", subject)]


@pytest.mark.parametrize("field", ["", "Badge alice", "Badge wrong", "Badge broken", "two", "long", '"'])
async def test_public_verifies_nothing(field: str) -> None:
    """On a PUBLIC path no scheme is asked, nobody is authenticated and nothing is recorded."""
    world = World()

    answer = await world.ask(Case("/open", field, 200, [], ""))

    assert (answer.status, world.reached, world.badge.presented, world.told) == (200, [None], [], [])


async def test_a_scheme_that_the_route_does_not_accept_is_never_verified() -> None:
    """Valid credentials of a scheme that the route does not accept are not verified."""
    world = World()

    await world.ask(Case("/badge", "Plain alice", 401, [], ""))

    assert world.plain.presented == []


@pytest.mark.rfc("9110-2")
async def test_a_credential_that_fails_is_final() -> None:
    """After credentials failed in one scheme, no other scheme is tried."""
    world = World()

    await world.ask(Case("/any", "Plain wrong", 401, [], ""))

    assert (world.plain.presented, world.badge.presented) == (["wrong"], [])


@pytest.mark.rfc("9110-13")
@pytest.mark.parametrize(("field", "seconds"), [("Badge down", "7"), ("Badge sometime", "5"), ("Badge often", "5")])
async def test_retry_after_comes_from_the_backend_or_a_default(field: str, seconds: str) -> None:
    """9110-13: ``Retry-After`` is the backend's number of seconds, or the default."""
    answer = await World().ask(Case("/any", field, 503, [], ""))

    assert answer.lines(b"retry-after") == [seconds]


async def test_unknown_user_and_wrong_password_get_the_same_response() -> None:
    """OWASP-1: status, headers and body are the same, and only the log tells them apart."""
    unknown, wrong = Reason("user.unknown", 401), Reason("password.wrong", 401)
    records: list[Record] = []
    scheme = PlainBadge("basic", {"unknown": Rejected(unknown), "wrong": Rejected(wrong, "alice")})
    guard = Guard(scheme, hooks=[records.append], log=False)
    app = AuthGuardMiddleware(World().app, guard=guard)

    answers = [await run_app(app, http_scope(headers=header_list(f"Basic {who}"))) for who in ("unknown", "wrong")]

    assert answers[0].sent == answers[1].sent
    assert [record.reason for record in records] == ["user.unknown", "password.wrong"]


class CountingBadge(PlainBadge):
    """A scheme that counts how often it is asked for challenges."""

    asked = 0

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        self.asked += 1
        return super().challenges(request, why)


@pytest.mark.rfc("9110-8")
async def test_a_scheme_without_403_challenges_is_not_asked_for_one() -> None:
    """9110-8: a challenge on a 403 would only make a browser ask for another password."""
    scheme = CountingBadge("plain")
    app = AuthGuardMiddleware(World().app, guard=Guard(scheme, rules=[Rule("/**", role("boss"))], log=False))

    answer = await run_app(app, http_scope(headers=header_list("Plain alice")))

    assert (answer.status, answer.lines(b"www-authenticate"), scheme.asked) == (403, [], 0)


class TwoChallenges(Badge):
    """A scheme with two challenges, as Digest has one for each algorithm."""

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        return [
            Challenge("Digest", {"realm": 'a "b" \\c', "algorithm": name}, bare={"algorithm"}) for name in ("A", "B")
        ]


@pytest.mark.rfc("9110-7")
async def test_a_scheme_may_have_several_challenges() -> None:
    """7616-2, 9110-6: each challenge has a line of its own, in the scheme's order, and is escaped where needed."""
    app = AuthGuardMiddleware(World().app, guard=Guard(TwoChallenges("digest"), Badge()))

    answer = await run_app(app, http_scope())

    assert answer.lines(b"www-authenticate") == [
        'Digest realm="a \\"b\\" \\\\c", algorithm=A',
        'Digest realm="a \\"b\\" \\\\c", algorithm=B',
        BADGE,
    ]


async def test_render_replaces_the_body_and_nothing_else() -> None:
    """``render`` gets the denial. Status, challenges and ``no-store`` stay."""
    case = CASES[0]
    world = World(render=lambda request, denied: ("text/plain", f"{request.path} {denied.reason.code}".encode()))

    answer = await world.ask(case)

    assert (answer.status, answer.body) == (401, b"/any credentials.missing")
    assert answer.lines(b"www-authenticate") == BARE
    assert answer.lines(b"cache-control") == ["no-store"]
    assert answer.lines(b"content-type") == ["text/plain"]
    assert answer.lines(b"content-length") == ["24"]


def _raises(request: AuthRequest, denied: Denied) -> tuple[str, bytes]:
    raise LookupError("s3cr3t")


def _returns(value: Any) -> Render:
    return lambda request, denied: value


WANTED = 'a media type and bytes: "application/json", b"{}"'
PAIR = 'return (str, bytes): "application/json", b"{}"'
RENDERS: dict[str, tuple[Render, str]] = {
    "raises": (_raises, r"builtins.LookupError at \(.*\)"),
    "None": (_returns(None), f"<lambda> PLACE returned None; return {WANTED}"),
    "bytes alone": (_returns(b"s3cr3t"), f"<lambda> PLACE returned a bytes; return {WANTED}"),
    "a response": (_returns(JSONResponse({})), f"<lambda> PLACE returned a JSONResponse; return {WANTED}"),
    "three": (_returns((403, "text/plain", b"s3cr3t")), f"<lambda> PLACE returned a tuple; return {WANTED}"),
    "a type outside latin-1": (_returns(("text/€", b"")), r"builtins.UnicodeEncodeError at \(.*\)"),
    "a str": (_returns(("text/plain", "a str")), rf"<lambda> PLACE returned \(str, str\); {re.escape(PAIR)}"),
    "a dict": (_returns(("text/plain", {"a": 1})), rf"<lambda> PLACE returned \(str, dict\); {re.escape(PAIR)}"),
    "a type with a line break": (
        _returns(("text/plain\r\nx-evil: 1", b"")),
        "<lambda> PLACE returned a media type with a control character",
    ),
}


@pytest.mark.parametrize("name", RENDERS)
async def test_a_render_that_fails_gets_the_stock_body(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Status, challenges and record stay, the stock body is sent, and the log says what is wanted, or has the type of
    the error, not its text."""
    render, problem = RENDERS[name]
    world, plain = World(render=render), World()

    answer, expected = await world.ask(CASES[0]), await plain.ask(CASES[0])

    assert (answer.sent, world.reached) == (expected.sent, [])
    assert [record.reason for record in world.told] == [record.reason for record in plain.told]
    (failed,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert re.fullmatch("render failed: " + problem.replace("PLACE", r"\(tests/test_answers.py:\d+\)"), failed)
    assert "s3cr3t" not in failed


class FailingChallenges(Badge):
    """A scheme whose ``challenges`` raises."""

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        raise LookupError("s3cr3t")


async def test_a_scheme_that_cannot_name_its_challenges_is_an_outage() -> None:
    """A 503 without a challenge is sent, and the record has the type and the place of the error, not its text."""
    records: list[Record] = []
    app = AuthGuardMiddleware(World().app, guard=Guard(FailingChallenges(), hooks=[records.append], log=False))

    answer = await run_app(app, http_scope())

    assert (answer.status, answer.lines(b"www-authenticate")) == (503, [])
    assert [(record.reason, record.facts["error"]) for record in records] == [
        ("backend.failed", "builtins.LookupError")
    ]
    assert "s3cr3t" not in str(records[0])
