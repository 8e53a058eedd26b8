"""Report-only: what a guard, a rule or a lock would deny is recorded, and passes; with nobody invented."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from authguard import (
    OPTIONAL,
    PUBLIC,
    AccessDenied,
    AuthRequest,
    ConfigurationError,
    Guard,
    Principal,
    Reason,
    Record,
    Rule,
    allows,
    predicate,
    role,
)
from authguard import starlette as on_starlette
from authguard.asgi.locks import Lock
from authguard.audit.audit import assert_closed, audit
from authguard.explain import Explanation, explain
from authguard.explain.recorded import read_record
from authguard.fastapi import CurrentPrincipal, MaybePrincipal, install, requires
from authguard.middleware import AuthGuardMiddleware
from authguard.model import Failure
from authguard.records.counts import CountKey
from tests.docs.refusals import bearer, token
from tests.support.asgi import Exchange, header_list, http_scope, run_app, websocket_scope
from tests.support.clock import NOW

EXPIRED = {"exp": NOW - 64, "iat": NOW - 3664}
NOT_YOURS = Reason("order.not_yours", 403)
Staff = Annotated[Principal, requires(role("staff"), report_only=True)]


def name_of(who: Staff) -> str:
    """A dependency that takes the principal."""
    return who.subject


def _fails(principal: Principal, params: object) -> bool:
    raise RuntimeError


class Tried:
    """A FastAPI app behind a guard, and the records of its requests."""

    def __init__(self, *rules: Rule, **options: Any) -> None:
        self.records: list[Record] = []
        options = {"clock": lambda: NOW, "log": False, "hooks": [self.records.append], **options}
        self.guard = Guard(bearer(), rules=rules, **options)
        self.app = FastAPI(openapi_url=None)
        install(self.app, self.guard, ignore=["report_only"])
        _add_routes(self.app)
        _add_locked_routes(self.app)

    async def get(self, path: str, field: str | None = None) -> Exchange:
        """One request."""
        return await run_app(self.app, http_scope(path, headers=header_list(field)))

    @property
    def told(self) -> list[str]:
        """The event and the reason of each record."""
        return [f"{record.event} {record.reason or ''}".strip() for record in self.records]


def _add_routes(app: FastAPI) -> None:
    @app.get("/plain")
    @app.get("/plain/{rest}")
    async def plain(request: Request) -> str:
        return str(getattr(request.user, "subject", "nobody"))

    @app.get("/mine")
    async def mine(who: CurrentPrincipal) -> str:
        return who.subject

    @app.get("/maybe")
    async def maybe(who: MaybePrincipal) -> str:
        return "nobody" if who is None else who.subject

    @app.get("/asks")
    async def asks(request: Request) -> bool:
        return await allows(request, role("staff"))

    @app.get("/denies")
    async def denies() -> None:
        raise AccessDenied(NOT_YOURS)

    @app.websocket("/socket")
    async def socket(connection: WebSocket) -> None:
        await connection.accept()
        await connection.close()


def _add_locked_routes(app: FastAPI) -> None:
    @app.get("/locked", dependencies=[requires(role("staff"), report_only=True)])
    async def locked(request: Request) -> str:
        return str(getattr(request.user, "subject", "nobody"))

    @app.get("/twice", dependencies=[requires(role("staff"), report_only=True), requires(role("boss"))])
    async def twice() -> str:
        return "both"

    @app.get("/taken")
    async def taken(who: Staff) -> str:
        return who.subject

    @app.get("/below")
    async def below(name: Annotated[str, Depends(name_of)]) -> str:
        return name

    inner = APIRouter(prefix="/inner", dependencies=[requires(role("staff"), report_only=True)])

    @inner.get("/locked")
    async def inner_locked() -> str:
        return "inner"

    app.include_router(inner)


TRIED: dict[str, Callable[[], Tried]] = {
    "a rule": lambda: Tried(Rule("/**", role("staff"), report_only=True)),
    "a guard": lambda: Tried(Rule("/**", role("staff")), report_only=True),
}


@pytest.mark.parametrize("kind", TRIED)
@pytest.mark.parametrize(
    ("field", "who", "reason"),
    [
        (None, "nobody", "credentials.missing"),
        (token(**EXPIRED), "nobody", "token.expired"),
        ("Bearer x", "nobody", "token.malformed"),
        ("Other x", "nobody", "scheme.unsupported"),
        (token(), "alice", "role.missing"),
    ],
    ids=["nothing", "expired", "malformed", "other scheme", "no role"],
)
async def test_what_a_rule_would_deny_passes(kind: str, field: str | None, who: str, reason: str) -> None:
    """The app answers. The user is the principal that was authenticated; else nobody."""
    tried = TRIED[kind]()

    exchange = await tried.get("/plain", field)

    assert (exchange.status, exchange.body) == (200, f'"{who}"'.encode())
    assert tried.told == [f"would_deny {reason}"]
    assert exchange.lines(b"www-authenticate") == []


@pytest.mark.parametrize("kind", TRIED)
async def test_the_record_has_all_that_a_denial_has(kind: str) -> None:
    """Reason, status, scheme, subject and what is missing; and the counts have an event of their own."""
    tried = TRIED[kind]()

    await tried.get("/plain", token(roles=["editor"]))

    (record,) = tried.records
    line = str(record)
    assert line.startswith("would_deny role.missing: GET /plain 403 bearer alice requirement=role(staff)")
    assert (record.status, record.missing, record.offered) == (403, ("staff",), ("editor",))
    assert tried.guard.counts() == {CountKey("would_deny", "role.missing", "bearer", "/**"): 1}
    assert read_record(line).event == "would_deny"


@pytest.mark.parametrize("kind", TRIED)
async def test_who_has_the_role_is_granted(kind: str) -> None:
    """Report-only changes nothing of a grant."""
    tried = TRIED[kind]()

    assert (await tried.get("/plain", token(roles=["staff"]))).body == b'"alice"'
    assert tried.told == ["granted"]


@pytest.mark.parametrize("kind", TRIED)
@pytest.mark.parametrize(
    ("path", "field", "answer", "reason"),
    [
        ("/mine", None, 401, "credentials.missing"),
        ("/mine", token(**EXPIRED), 401, "token.expired"),
        ("/mine", token(), b'"alice"', None),
        ("/maybe", None, b'"nobody"', None),
        ("/maybe", token(**EXPIRED), 401, "token.expired"),
        ("/maybe", token(), b'"alice"', None),
        ("/taken", None, 401, "credentials.missing"),
        ("/taken", token(), 403, "role.missing"),
        ("/below", token(), 403, "role.missing"),
        ("/denies", None, 403, "order.not_yours"),
    ],
    ids=lambda value: str(value)[:18],
)
async def test_nobody_is_invented(kind: str, path: str, field: str | None, answer: int | bytes, reason: str) -> None:
    """Where a function takes the principal, who has none is refused, for the reason that was reported. So is what an
    endpoint denies itself."""
    tried = TRIED[kind]()

    exchange = await tried.get(path, field)

    assert answer in {exchange.status, exchange.body}
    assert tried.told[1:] == ([f"denied {reason}"] if reason else [])


@pytest.mark.parametrize("field", [None, token(**EXPIRED)], ids=["nothing", "expired"])
@pytest.mark.parametrize("kind", TRIED)
async def test_a_question_has_no_for_an_answer(kind: str, field: str | None) -> None:
    """``allows`` refuses nobody there: credentials that are no good are those of an anonymous request."""
    tried = TRIED[kind]()

    assert (await tried.get("/asks", field)).body == b"false"
    assert len(tried.told) == 1


async def test_a_question_on_an_open_route_of_a_report_only_guard() -> None:
    """Bad credentials would be denied there, so that is reported."""
    tried = Tried(Rule("/**", PUBLIC), report_only=True)

    assert (await tried.get("/asks", token(**EXPIRED))).body == b"false"
    assert tried.told == ["would_deny token.expired"]


@pytest.mark.parametrize("path", ["/locked", "/inner/locked"])
@pytest.mark.parametrize("rule", [PUBLIC, OPTIONAL], ids=["public", "optional"])
@pytest.mark.parametrize(
    ("field", "reason"),
    [(None, "credentials.missing"), (token(), "role.missing")],
    ids=["nothing", "no role"],
)
async def test_a_lock_reports_on_open_routes(path: str, rule: Any, field: str | None, reason: str) -> None:
    """It is recorded once, whether the rule or the lock has the credentials verified."""
    tried = Tried(Rule("/**", rule))

    assert (await tried.get(path, field)).status == 200
    assert [one for one in tried.told if one != "granted"] == [f"would_deny {reason}"]


async def test_bad_credentials_pass_a_lock_only_where_the_rule_has_not_refused_them() -> None:
    """The rule OPTIONAL refuses them; PUBLIC leaves them to the lock."""
    assert (await Tried(Rule("/**", OPTIONAL)).get("/locked", token(**EXPIRED))).status == 401
    assert (await Tried(Rule("/**", PUBLIC)).get("/locked", token(**EXPIRED))).body == b'"nobody"'


async def test_a_lock_reports_behind_a_rule_that_is_enforced() -> None:
    """The rule refuses strangers; the lock says which users it would refuse."""
    tried = Tried()

    assert (await tried.get("/locked")).status == 401
    assert (await tried.get("/locked", token())).body == b'"alice"'
    assert tried.told == ["denied credentials.missing", "granted", "would_deny role.missing"]


@pytest.mark.parametrize("field", [None, token(**EXPIRED), token()], ids=["nothing", "expired", "no role"])
async def test_the_next_lock_is_enforced(field: str | None) -> None:
    """A lock that reports opens no other lock."""
    tried = Tried(Rule("/**", PUBLIC))

    exchange = await tried.get("/twice", field)

    assert exchange.status == (403 if field == token() else 401)
    assert tried.told[0].partition(" ")[0] == "would_deny"
    assert tried.told[1].partition(" ")[0] == "denied"


async def test_what_is_refused_for_all_locks_of_a_guard_is_recorded_once() -> None:
    """The locks of a report-only guard add no record for a request without a principal."""
    tried = Tried(report_only=True)

    assert (await tried.get("/twice", token(**EXPIRED))).status == 200
    assert tried.told == ["would_deny token.expired"]


async def test_locks_of_a_report_only_guard_are_reported_each() -> None:
    """Each says what it would refuse to a principal."""
    tried = Tried(report_only=True)

    assert (await tried.get("/twice", token())).status == 200
    assert [record.missing for record in tried.records] == [(), ("staff",), ("boss",)]


async def test_a_denial_that_was_decided_holds() -> None:
    """A lock that reports does not take back what the endpoint has denied before it asks."""
    tried = Tried(Rule("/**", PUBLIC))

    @tried.app.get("/late")
    async def late(request: Request) -> str:
        AccessDenied(NOT_YOURS)  # to make one denies the request
        passed: str = await locked(request)
        return passed

    @on_starlette.requires(role("staff"), report_only=True)
    async def locked(request: Request) -> str:
        return "passed"

    assert (await tried.get("/late")).status == 403
    assert tried.told == ["denied order.not_yours"]


async def test_a_decorator_of_starlette_reports() -> None:
    """Its endpoint takes no value from it, so everybody passes."""
    records: list[Record] = []
    guard = Guard(bearer(), clock=lambda: NOW, log=False, hooks=[records.append], rules=[Rule("/**", PUBLIC)])

    @on_starlette.requires(role("staff"), report_only=True)
    def endpoint(request: Request) -> PlainTextResponse:
        return PlainTextResponse("passed")

    app = AuthGuardMiddleware(Starlette(routes=[Route("/", endpoint)]), guard=guard)

    assert (await run_app(app, http_scope("/"))).body == b"passed"
    assert [record.event for record in records] == ["would_deny"]


# --- what is refused all the same -------------------------------------------------------------------------------------


class _Raises:
    """A requirement of the app that raises."""

    def unmet(self, principal: Principal, params: object, moment: object) -> Failure | None:
        raise RuntimeError

    def schemes(self, every: frozenset[str]) -> frozenset[str]:
        return every

    def scopes_named(self) -> tuple[str, ...]:
        return ()


async def _down(request: AuthRequest, principal: Principal) -> Principal:
    raise RuntimeError


@pytest.mark.parametrize("kind", ["rule", "guard"])
@pytest.mark.parametrize(
    ("requirement", "options", "status"),
    [
        (_Raises(), {}, 503),
        (predicate("owner", _fails), {}, 403),
        (role("staff"), {"checks": [_down]}, 503),
    ],
    ids=["requirement", "predicate", "check"],
)
async def test_what_cannot_be_decided_is_refused(
    kind: str, requirement: Any, options: dict[str, Any], status: int
) -> None:
    """Nobody has judged the request then, so nobody is let in by accident."""
    tried = Tried(Rule("/**", requirement, report_only=kind == "rule"), report_only=kind == "guard", **options)

    assert (await tried.get("/plain", token())).status == status
    assert [record.event for record in tried.records] == ["denied"]


async def test_a_rule_enforces_methods_that_it_does_not_list() -> None:
    """No report-only rule covers them. A report-only guard reports them, too."""
    rule = Rule("/plain", role("staff"), methods={"POST"}, report_only=True)

    assert (await Tried(rule).get("/plain", token())).status == 403
    assert (await Tried(rule, report_only=True).get("/plain", token())).status == 200


async def test_an_ambiguous_path_is_reported_by_a_guard_alone() -> None:
    """No rule can be found for it, and its credentials are not read."""
    for_all = Tried(Rule("/plain/{rest}", PUBLIC), report_only=True)

    assert (await Tried(Rule("/**", role("staff"), report_only=True)).get("/plain/a\\b")).status == 400
    assert (await for_all.get("/plain/a\\b", token())).body == b'"nobody"'
    assert for_all.told == ["would_deny path.ambiguous"]


def test_a_lock_is_enforced_where_no_route_can_be_read() -> None:
    """Nobody knows then whether a function takes its value."""
    own = Lock(role("staff"), report_only=True, is_dependency=True)

    assert own.value_is_taken({})
    assert own.value_is_taken({"route": Route("/", lambda request: None)})


async def test_a_handshake_passes() -> None:
    """A WebSocket opens that would be denied."""
    tried = Tried(Rule("/**", role("staff"), report_only=True))

    exchange = await run_app(tried.app, websocket_scope("/socket"), {"type": "websocket.connect"})

    assert exchange.sent[0]["type"] == "websocket.accept"
    assert tried.told == ["would_deny credentials.missing"]


def test_open_connections_of_a_report_only_guard_do_not_end() -> None:
    """To end them would refuse something."""
    assert Guard(bearer(), end_with_credentials=True).ends_connections
    assert not Guard(bearer(), end_with_credentials=True, report_only=True).ends_connections


# --- configuration and audit ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Rule("/a", role("staff"), report_only="yes"),  # type: ignore[arg-type]
        lambda: Rule("/a", PUBLIC, report_only=True),
        lambda: Guard(bearer(), report_only=1),  # type: ignore[arg-type]
        lambda: requires(role("staff"), report_only=None),  # type: ignore[arg-type]
        lambda: on_starlette.requires(role("staff"), report_only="no"),  # type: ignore[arg-type]
    ],
    ids=["rule", "public", "guard", "dependency", "decorator"],
)
def test_a_wrong_option_is_refused(wrong: Callable[[], object]) -> None:
    """By its name, while the app is built."""
    with pytest.raises(ConfigurationError, match=r"^report_only: "):
        wrong()


def test_rules_that_cross_must_both_enforce() -> None:
    """Which of them applies would be an accident otherwise."""
    crossing = [Rule("/a/{x}", role("staff")), Rule("/{x}/b", role("staff"), report_only=True)]

    with pytest.raises(ConfigurationError, match="/a/b"):
        Guard(bearer(), rules=crossing)
    Guard(bearer(), rules=[Rule("/a/{x}", role("staff"), report_only=True), crossing[1]])


def test_a_rule_says_in_words_that_it_is_report_only() -> None:
    """In messages and in findings."""
    assert str(Rule("/a", role("staff"), report_only=True)) == "/a role(staff) report-only"


@pytest.mark.parametrize(
    ("made", "about"),
    [
        (lambda: Tried(report_only=True), "report_only guard"),
        (lambda: Tried(Rule("/plain", role("staff"), report_only=True)), "report_only /plain"),
    ],
    ids=["guard", "rule"],
)
def test_an_app_with_report_only_is_not_closed(made: Callable[[], Tried], about: str) -> None:
    """Unless that is named."""
    tried = made()
    others = ["report_only GET /locked", "report_only GET /twice", "report_only GET /inner/locked"]
    others += ["lock.report_only", "route.unnamed", "opaque", "open.wide"]

    with pytest.raises(AssertionError, match="it refuses nobody"):
        assert_closed(tried.app, tried.guard, ignore=others)
    problems = [str(finding) for finding in audit(tried.app, tried.guard, ignore=[*others, about]).findings]
    assert [problem for problem in problems if problem.startswith("report_only")] == []


def test_the_audit_says_which_locks_refuse_all_the_same() -> None:
    """A lock that reports, and one whose value a function takes, directly or further down."""
    tried = Tried()

    findings = audit(tried.app, tried.guard).findings
    rows = {row.path: row for row in audit(tried.app, tried.guard).rows}

    assert {finding.about for finding in findings if finding.code == "report_only"} == {
        "GET /locked",
        "GET /twice",
        "GET /inner/locked",
    }
    assert {finding.about for finding in findings if finding.code == "lock.report_only"} == {"GET /taken", "GET /below"}
    assert rows["/locked"].report_only
    assert not rows["/taken"].report_only
    assert "  report-only" in str(audit(tried.app, tried.guard))


async def test_start_up_warns(caplog: pytest.LogCaptureFixture) -> None:
    """An app that is not strict says what refuses nobody, and where. A strict app does not start."""
    rules = [Rule("/plain", role("staff"), report_only=True), Rule("/**", role("staff"))]
    app = Starlette(routes=[Route("/plain", lambda request: PlainTextResponse("passed"))])

    passed = await run_app(AuthGuardMiddleware(app, guard=Guard(bearer(), rules=rules)), http_scope("/plain"))
    refused = await run_app(
        AuthGuardMiddleware(app, guard=Guard(bearer(), rules=rules), strict=True), http_scope("/plain")
    )

    assert (passed.status, refused.status) == (200, 503)
    told = [record.getMessage() for record in caplog.records if "report_only /plain" in record.getMessage()]
    assert len(told) == 2
    assert all("the rule is report-only, so it refuses nobody" in text for text in told)
    assert all(f"{Path(__file__).name}:" in text for text in told)


# --- explain ----------------------------------------------------------------------------------------------------------


async def explained(tried: Tried, path: str, field: str | None = None) -> Explanation:
    """What ``explain`` says of a request."""
    tried.app.middleware_stack = tried.app.build_middleware_stack()
    link: Any = tried.app.middleware_stack
    while not isinstance(link, AuthGuardMiddleware):
        link = link.app
    return await explain(link, http_scope(path, headers=header_list(field)))


@pytest.mark.parametrize(
    ("made", "path", "field", "outcome", "reason", "what"),
    [
        (TRIED["a rule"], "/plain", None, "would_deny", "credentials.missing", "rule"),
        (TRIED["a guard"], "/plain", token(), "would_deny", "role.missing", "guard"),
        (TRIED["a rule"], "/mine", token(**EXPIRED), "denied", "token.expired", "rule"),
        (lambda: Tried(Rule("/**", PUBLIC)), "/locked", token(**EXPIRED), "would_deny", "token.expired", "lock"),
        (lambda: Tried(Rule("/**", PUBLIC)), "/twice", token(), "denied", "role.missing", "lock"),
        (Tried, "/locked", token(), "would_deny", "role.missing", "lock"),
        (Tried, "/taken", token(), "denied", "role.missing", None),
    ],
    ids=["rule", "guard", "taken after a rule", "open lock", "next lock", "lock", "taken"],
)
async def test_explain_agrees_with_the_live_guard(
    made: Callable[[], Tried], path: str, field: str | None, outcome: str, reason: str, what: str | None
) -> None:
    """It says that the request passes, what is report-only, and what would be the answer."""
    told = await explained(made(), path, field)
    live = made()
    exchange = await live.get(path, field)

    assert (told.outcome, told.reason) == (outcome, reason)
    assert (exchange.status == 200) == (outcome == "would_deny")
    assert live.told[-1] == f"{outcome} {reason}"
    steps = [step.found for step in told.steps if step.title == "report-only"]
    assert steps == ([] if what is None else [f"the {what} is report-only, so the request passes"])
    assert ("passes, report-only: " in str(told)) == (outcome == "would_deny")
