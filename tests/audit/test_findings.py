"""Each kind of finding: what makes it, what does not, where it points, and what it tells to do."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.authentication import AuthenticationBackend
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.routing import Host, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from authguard import (
    AUTHENTICATED,
    OPTIONAL,
    PUBLIC,
    Account,
    AuthGuardMiddleware,
    AuthRequest,
    Basic,
    ConfigurationError,
    Guard,
    HtpasswdFile,
    MemoryUsers,
    Principal,
    Requirement,
    Rule,
    UserLookup,
    all_of,
    any_of,
    any_role,
    role,
    via,
)
from authguard import starlette as on_starlette
from authguard.audit import audit as auditing
from authguard.audit.findings import CODES, Finding
from authguard.fastapi import install, requires
from tests.audit.installed import audit
from tests.support.schemes.badge import Badge

CLOSED = Rule("/**", AUTHENTICATED)


async def page(request: Request) -> None:
    """An endpoint."""


async def opaque(scope: Scope, receive: Receive, send: Send) -> None:
    """An app of which nothing can be seen."""


def guard(*rules: Rule, **options: Any) -> Guard:
    """A guard of one scheme, whose roles nobody knows."""
    return Guard(Badge(), rules=rules, log=False, **options)


def app(*routes: Any) -> Starlette:
    """An app of these routes; a text is the path of a page."""
    return Starlette(routes=[Route(one, page) if isinstance(one, str) else one for one in routes])


def found(served: object, front: Guard) -> list[tuple[str, str]]:
    """Code and what it is about, of each finding."""
    return [(one.code, one.about) for one in audit(served, front).findings]


def only(served: object, front: Guard) -> Finding:
    """The one finding."""
    (finding,) = audit(served, front).findings
    return finding


def test_an_app_whose_rules_fit_has_no_finding() -> None:
    """Exact openings, closed nets, a lock, a method that is opened by its name, files below a rule of their own."""
    served = app(
        "/health",
        "/items/{id}",
        Route("/login", page, methods=["POST"]),
        Mount("/static", StaticFiles(directory=".")),
        WebSocketRoute("/live", page),
        Route("/locked", on_starlette.requires(role("any"))(page)),
        Mount("/in", opaque),
    )
    front = guard(
        Rule("/health", PUBLIC),
        Rule("/items/{name}", OPTIONAL),
        Rule("/login", PUBLIC, methods={"POST"}),
        Rule("/static/**", PUBLIC),
        Rule("/live", PUBLIC, methods={"WEBSOCKET"}),
        Rule("/in/**", role("any")),
    )

    assert found(served, front) == []
    assert found(served, guard(CLOSED)) == []


def test_a_route_without_a_rule_or_a_lock_is_found() -> None:
    """Whatever the default is, with the place of its endpoint."""
    for default in (AUTHENTICATED, OPTIONAL, role("any")):
        finding = only(app("/a"), guard(default=default))

        assert (finding.code, finding.about) == ("route.unnamed", "GET /a")
        assert finding.fix.startswith('Give it a rule or a lock; Rule("/**", AUTHENTICATED) names')
        assert finding.where == f"{__file__}:{page.__code__.co_firstlineno}"


def test_a_narrower_rule_does_not_name_a_route() -> None:
    """It speaks for some of its paths only, and so does a lock that lets the anonymous by for none."""
    served = app("/{x}", Route("/b/c", on_starlette.requires(OPTIONAL)(page)))

    assert found(served, guard(Rule("/a", role("any")))) == [
        ("route.unnamed", "GET /{x}"),
        ("route.unnamed", "GET /b/c"),
    ]


def added(kind: str, *locks: Any) -> FastAPI:
    """An app with one more route, far inside."""
    served = FastAPI(openapi_url=None)
    inner, outer = APIRouter(), APIRouter()
    if kind == "included":

        @inner.post("/late", dependencies=locks)
        def late() -> None: ...

    elif kind == "websocket":

        @inner.websocket("/late", dependencies=locks)
        async def late_socket(socket: WebSocket) -> None: ...

    outer.include_router(inner, prefix="/in")
    served.include_router(outer, prefix="/out")
    if kind == "mounted":
        mounted = FastAPI(openapi_url=None, dependencies=locks)
        mounted.add_api_route("/late", page)
        served.mount("/out/in", mounted)
    return served


@pytest.mark.parametrize(
    ("kind", "about"), [("included", "POST"), ("websocket", "WEBSOCKET"), ("mounted", "GET")], ids=str
)
def test_a_route_that_is_added_far_inside_is_found(kind: str, about: str) -> None:
    """In routers in routers, in mounts, and as a WebSocket; a lock or a rule mends it."""
    late = f"{about} /out/in/late"

    assert found(added(kind), guard()) == [("route.unnamed", late)]
    assert found(added(kind, requires(role("any"))), guard()) == []
    assert found(added(kind), guard(CLOSED)) == []


def test_a_rule_that_no_route_meets_is_found() -> None:
    """By its path or by its methods."""
    served = app("/a", Route("/b", page, methods=["GET", "HEAD"]), Route("/h", page, methods=["HEAD"]))
    unmet = [
        Rule("/amdin/**", role("any")),
        Rule("/a/b", PUBLIC),
        Rule("/b", role("any"), methods={"PUT", "WEBSOCKET"}),
    ]
    met = [Rule("/b", role("any"), methods={"GET", "POST"}), Rule("/h", role("any"), methods={"GET"})]

    findings = audit(served, guard(CLOSED, *unmet, *met)).findings

    assert [(one.code, one.about) for one in findings] == [
        ("rule.unmet", "/amdin/**"),
        ("rule.unmet", "/a/b"),
        ("rule.unmet", "PUT WEBSOCKET /b"),
    ]
    assert [one.where for one in findings] == [rule.location for rule in unmet]
    assert findings[0].fix == "Mend the path or the methods, or leave it out"


def test_what_cannot_be_seen_into_meets_every_rule() -> None:
    """Nobody can tell."""
    assert found(opaque, guard(CLOSED, Rule("/a", role("any")), Rule("/b", role("any"), methods={"PUT"}))) == []


def test_a_rule_that_others_hide_is_found() -> None:
    """On every route that it matches another applies. A net that closes is none of those, one that opens is."""
    served = app("/a", "/b/c")
    hidden = Rule("/a", role("any"))
    others = [Rule("/a", role("any"), methods={"GET"}), Rule("/b/c", role("any"))]

    findings = audit(served, guard(hidden, *others, Rule("/b/**", PUBLIC), CLOSED)).findings

    assert [(one.code, one.about) for one in findings] == [("rule.hidden", "/a"), ("rule.hidden", "/b/**")]
    assert (findings[0].what, findings[0].where) == ("on GET /a other rules apply", hidden.location)


@pytest.mark.parametrize("requirement", [PUBLIC, OPTIONAL])
def test_an_open_rule_that_reaches_further_is_found(requirement: Requirement) -> None:
    """Once, with each route that it opens without being that very path; those with a lock are not open."""
    wide = Rule("/a/**", requirement)
    served = app("/a", "/a/{x}", "/a/b/c", Route("/a/l", on_starlette.requires(role("any"))(page)))

    finding = only(served, guard(wide, Rule("/a/b/c", role("any"))))

    assert (finding.code, finding.about, finding.where) == ("open.wide", "/a/**", wide.location)
    assert finding.what == f"{requirement} reaches GET /a, GET /a/{{x}}"
    assert finding.fix == "Open each path by a rule of its own"


def test_an_open_rule_that_opens_some_paths_of_a_route_is_found() -> None:
    """The endpoint may not know that it is open for one of them."""
    finding = only(app("/{x}"), guard(CLOSED, Rule("/health", PUBLIC)))

    assert (finding.code, finding.what) == ("open.wide", "PUBLIC reaches GET /{x}")


def test_what_a_guard_further_in_opens_is_not_the_outer_ones_doing() -> None:
    """Above a guard with other schemes the outer rule is PUBLIC; a rule that is too wide is told of where it stands."""
    outer = guard(Rule("/in/**", PUBLIC))
    exact, wide = guard(Rule("/a", PUBLIC), CLOSED), guard(Rule("/**", PUBLIC))

    def served(inner: Guard) -> Starlette:
        return app(Mount("/in", AuthGuardMiddleware(app("/a"), guard=inner)))

    assert found(served(exact), outer) == []
    assert [one.where for one in audit(served(wide), outer).findings] == [wide.table.rules[0].location]


def test_files_may_be_opened_one_by_one() -> None:
    """A rule below a mount of files names some of them; one above opens them all."""
    files = Mount("/static", StaticFiles(directory="."))

    assert found(app(files), guard(CLOSED, Rule("/static/logo.png", PUBLIC))) == []
    assert found(app(files), guard(Rule("/**", PUBLIC))) == [("open.wide", "/**")]


def test_many_routes_are_told_by_some() -> None:
    """The rest are counted."""
    finding = only(app(*(f"/a/{number}" for number in range(10))), guard(Rule("/a/**", PUBLIC)))

    assert finding.what.endswith("GET /a/7 and 2 more")


def test_an_open_route_that_changes_state_is_found() -> None:
    """Unless the rule names the method: then somebody has said it."""
    served = app(Route("/a", page, methods=["GET", "POST"]))
    rule = Rule("/a", PUBLIC)

    finding = only(served, guard(rule))

    assert (finding.code, finding.about, finding.where) == ("open.unsafe", "POST /a", rule.location)
    assert finding.fix == "Close it, or say so: Rule(..., methods={'POST'})"
    assert found(served, guard(Rule("/a", PUBLIC, methods={"GET", "POST"}))) == []
    assert found(served, guard(Rule("/a", PUBLIC, methods={"GET"}), Rule("/a", role("any")))) == []
    assert found(app(Route("/a", opaque.__class__)), guard(rule))[0] == ("open.unsafe", "* /a")


def test_what_a_default_opens_is_found_too() -> None:
    """There is no rule to name it."""
    served = app(Route("/a", page, methods=["POST"]))

    findings = audit(served, guard(default=OPTIONAL)).findings

    assert [(one.code, one.about) for one in findings] == [("route.unnamed", "POST /a"), ("open.unsafe", "POST /a")]
    assert findings[1].where == f"{__file__}:{page.__code__.co_firstlineno}"


def test_an_open_rule_above_hosts_is_found() -> None:
    """One rule would govern every host's handler; a guard inside each governs its own."""
    rule, inner = Rule("/a", PUBLIC), guard(Rule("/a", PUBLIC))
    bare = app(Host("a.example", app("/a")), Host("b.example", app("/a")))
    guarded = app(Host("a.example", AuthGuardMiddleware(app("/a"), guard=inner)))

    finding = only(app(Host("a.example", app("/a"))), guard(rule))

    assert (finding.code, finding.about, finding.where) == ("open.hosts", "GET /a", rule.location)
    assert (finding.what, finding.fix) == (
        "it is open by /a PUBLIC, for every host alike (a.example)",
        "Put a guard inside each host",
    )
    assert len(audit(bare, guard(rule)).findings) == 2
    assert found(guarded, guard(rule)) == []
    assert found(bare, guard(CLOSED)) == []


def test_what_is_open_and_cannot_be_seen_into_is_found() -> None:
    """By a rule for all of it, or for a part."""
    served = app(Mount("/in", opaque))

    finding = only(served, guard(Rule("/in/**", PUBLIC)))

    assert (finding.code, finding.about) == ("unseen", "* /in/**")
    assert finding.fix == "Open only what you know, path by path"
    assert found(served, guard(CLOSED, Rule("/in/health", PUBLIC))) == [("unseen", "* /in/health")]


def basic(*roles: str, **options: Any) -> Guard:
    """A guard whose accounts have these roles."""
    scheme = Basic(MemoryUsers([Account(name, "", roles={name}) for name in roles]), realm="r")
    return Guard(
        scheme, rules=[Rule("/a", any_of(role("admin"), all_of(any_role("clerk")))), CLOSED], log=False, **options
    )


def test_a_role_that_nobody_can_have_is_found() -> None:
    """Once for each place that asks for it: in a rule, in a part of one, or in a lock."""
    here = on_starlette.requires(role("locksmith"))
    served = app("/a", Route("/b", here(page)), Route("/c", here(page)))

    findings = audit(served, basic("admin")).findings

    assert [(one.code, one.about) for one in findings] == [("role.unknown", "clerk"), ("role.unknown", "locksmith")]
    assert findings[0].where == basic().table.rules[0].location
    assert findings[1].where.startswith(f"{__file__}:")
    assert found(served, basic("admin", "clerk", "locksmith")) == []


def test_a_role_may_be_implied() -> None:
    """By one that somebody has."""
    assert found(app("/a"), basic("root", role_hierarchy={"root": {"admin"}, "admin": {"clerk"}})) == []
    assert found(app("/a"), basic("admin", role_hierarchy={"root": {"clerk"}})) == [("role.unknown", "clerk")]


async def anybody(request: AuthRequest, principal: Principal) -> Principal:
    """A check, which may give any role."""
    return principal


async def nobody(name: str) -> Account | None:
    """A look-up in a database."""
    return None


class DirectoryVerifier:
    """A directory that lists no role."""

    async def check(self, username: str, password: str) -> Account:
        return Account(username, "")


def test_where_roles_may_come_from_anywhere_none_is_unknown() -> None:
    """Out of a check, another scheme, a database or a directory."""
    rules = [Rule("/a", role("admin"))]

    assert found(app("/a"), basic(checks=[anybody])) == []
    for schemes in ([Basic(UserLookup(nobody), realm="r")], [Basic(DirectoryVerifier(), realm="r")], [Badge()]):
        assert found(app("/a"), Guard(*schemes, rules=rules)) == []
    assert found(app("/a"), Guard(Basic(MemoryUsers([]), realm="r"), Badge(), rules=rules)) == []


@pytest.mark.parametrize("as_file", [True, False])
def test_the_groups_of_a_password_file_are_its_roles(tmp_path: Path, as_file: bool) -> None:
    """Those with a member, from a file or a mapping."""
    (tmp_path / "users").write_text("alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n")
    (tmp_path / "groups").write_text("admin: alice\nempty:\n")
    groups: Any = tmp_path / "groups" if as_file else {"admin": ["alice"], "empty": []}
    scheme = Basic(HtpasswdFile(tmp_path / "users", groups=groups), realm="r")

    assert found(app("/a"), Guard(scheme, rules=[Rule("/a", any_role("admin", "empty"))])) == [
        ("role.unknown", "empty")
    ]


def test_roles_come_from_outer_guards_too() -> None:
    """An inner guard takes over whom the outer one proved, and adds what its own roles imply."""
    inner = Guard(Badge("other"), rules=[Rule("/a", role("admin"))], role_hierarchy={"clerk": {"admin"}})
    served = app(Mount("/in", AuthGuardMiddleware(app("/a"), guard=inner)))

    assert found(served, basic("x"))[0] == ("rule.unmet", "/a")
    assert ("role.unknown", "admin") not in found(served, basic("clerk"))


def test_a_lock_that_no_scheme_can_meet_is_found() -> None:
    """None of the guard's, or none that the rule lets so far."""
    lock = on_starlette.requires(via("bearer"))
    served = app(Route("/a", lock(page)))

    of_two = Guard(Badge(), Badge("bearer"), rules=[Rule("/a", via("badge"))], log=False)
    for front in (guard(), guard(Rule("/a", PUBLIC)), of_two):
        finding = only(served, front)
        assert (finding.code, finding.about) == ("lock.impossible", "GET /a")
        assert finding.where == audit(served, front).rows[0].locks[0].location
    assert found(served, Guard(Badge("bearer"), rules=[Rule("/a", PUBLIC)], log=False)) == []


class Odd:
    """A middleware of the app's own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


def odd_factory(app: ASGIApp) -> ASGIApp:
    """As Starlette takes one too."""
    return app


class Backend(AuthenticationBackend):
    """Starlette's own way."""


@pytest.mark.parametrize(
    ("inside", "name", "what"),
    [
        (Middleware(CORSMiddleware), "CORSMiddleware", "denials lack its headers"),
        (Middleware(Odd), "Odd", "what it does to path and method is not known"),
        (Middleware(odd_factory), "odd_factory", "what it does to path and method is not known"),
        (
            Middleware(AuthenticationMiddleware, backend=Backend()),
            "AuthenticationMiddleware",
            "what it does to path and method is not known",
        ),
    ],
)
def test_a_middleware_inside_the_guard_is_found(inside: Middleware, name: str, what: str) -> None:
    """Where it may answer by itself, or show the router another path; outside of the guard it is where it belongs."""
    ours = Middleware(AuthGuardMiddleware, guard=(front := guard(CLOSED)))
    routes = [Route("/a", page), Route("/b", page)]

    finding = only(Starlette(routes=routes, middleware=[ours, inside]), front)

    assert (finding.code, finding.about) == ("middleware.inside", name)
    assert finding.what == f"it sits inside the guard; {what}"
    assert finding.where.startswith(__file__) == (name.lower().startswith("odd"))
    assert found(Starlette(routes=routes, middleware=[inside, ours]), front) == []
    assert found(Starlette(routes=routes, middleware=[inside]), front) == [("middleware.inside", name)]


def test_middleware_that_is_known_to_do_no_harm_is_no_finding() -> None:
    """Nor what stands before every guard that is there, on a way of its own."""
    harmless = [Middleware(GZipMiddleware), Middleware(SessionMiddleware, secret_key="s")]
    inner = guard(CLOSED)
    served = Starlette(routes=[Mount("/in", AuthGuardMiddleware(app("/a"), guard=inner))], middleware=[Middleware(Odd)])

    assert found(Starlette(routes=[Route("/a", page)], middleware=harmless), guard(CLOSED)) == []
    assert found(served, inner) == []


def test_an_app_as_it_runs_is_read_as_it_was_built() -> None:
    """What Starlette puts round the router is no finding."""
    served = FastAPI(openapi_url=None)
    served.add_api_route("/a", page)
    install(served, front := guard(CLOSED))

    assert found(served.build_middleware_stack(), front) == found(served, front) == []


@pytest.mark.parametrize(
    "ignore", [["route.unnamed"], ["route.unnamed GET /b", "route.unnamed GET /a"], {"route.unnamed"}]
)
def test_findings_may_be_accepted(ignore: Sequence[str]) -> None:
    """By their code, or one by one."""
    assert audit(app("/a", "/b"), guard(), ignore=ignore).findings == ()
    assert len(audit(app("/a", "/b"), guard(), ignore=["route.unnamed GET /a"]).findings) == 1


@pytest.mark.parametrize(
    ("ignore", "problem"), [(["open.wild"], "open.wild"), ("open.wide", "ignore"), ([3], "ignore")]
)
def test_what_is_no_code_cannot_be_accepted(ignore: Any, problem: str) -> None:
    """A slip of the pen would hide nothing, and look as if it did."""
    with pytest.raises(ConfigurationError, match=problem):
        audit(app("/a"), guard(), ignore=ignore)


def test_without_a_guard_there_is_nothing_to_audit() -> None:
    """The arguments are told apart."""
    with pytest.raises(ConfigurationError, match="guard: "):
        auditing.audit(guard(), app())  # type: ignore[arg-type]


def test_every_code_is_made_by_some_test_here() -> None:
    """And is told with its place and its mend."""
    text = Path(__file__).read_text(encoding="utf-8")

    assert [code for code in CODES if f'"{code}"' not in text] == []
    assert str(Finding("a.b", "GET /x", "it is", "f.py:3", "Mend it")) == "a.b GET /x: it is (f.py:3). Mend it."
    assert str(Finding("a.b", "GET /x", "it is", "", "Mend it")) == "a.b GET /x: it is. Mend it."


def test_a_lock_that_stands_above_what_made_the_route_is_found() -> None:
    """The route has the bare function, so that nobody asks the lock; right above ``def`` it is asked."""
    fast = FastAPI(openapi_url=None)
    lock = on_starlette.requires(role("any"))

    @lock
    @fast.delete("/bypassed")
    async def bypassed(request: Request) -> None:
        """Served without its lock."""

    @fast.delete("/locked")
    @lock
    async def locked(request: Request) -> None:
        """Served with its lock."""

    finding = only(fast, guard(CLOSED))

    assert (finding.code, finding.about) == ("lock.bypassed", "DELETE /bypassed")
    assert finding.where.startswith(f"{__file__}:")
    assert "below the route's decorator" in finding.fix
    assert bypassed is not locked


def test_an_app_without_its_guard_is_found() -> None:
    """Nobody has installed one, and the rows tell what would be; or another is there, and the rows tell what is."""
    served, front, other = app("/a"), guard(CLOSED), guard(Rule("/a", OPTIONAL))
    held = AuthGuardMiddleware(served, guard=other)

    absent, there = auditing.audit(served, front), auditing.audit(held, front)

    assert [(one.code, one.about) for one in absent.findings] == [("guard.absent", "Starlette")]
    assert "install(app, guard)" in absent.findings[0].fix
    assert (there.findings[0].code, there.findings[0].about) == ("guard.other", "AuthGuardMiddleware")
    assert [row.open for row in (*absent.rows, *there.rows)] == [False, True]
    assert auditing.audit(app(), guard()).findings == ()


@pytest.mark.parametrize("what", [None, "shop:app", 3])
def test_what_nothing_can_call_is_no_app(what: Any) -> None:
    """It serves nothing, and that is no good news."""
    with pytest.raises(ConfigurationError, match=r"app: .* is no app"):
        auditing.audit(what, guard())


def test_a_guard_in_front_and_further_in_is_asked_twice() -> None:
    """The same guard may do both, and is not taken for one of the two."""
    front = guard(CLOSED)
    served = app("/x", Mount("/sub", AuthGuardMiddleware(app("/y"), guard=front)))

    rows = auditing.audit_behind(served, front).rows

    assert [(row.about, len(row.guard_layers), row.open) for row in rows] == [
        ("GET /x", 1, False),
        ("GET /sub/y", 2, False),
    ]
    assert [row.open for row in auditing.audit(served, front).rows] == [True, False]


def test_a_lock_below_a_decorator_is_found() -> None:
    """The decorator may answer from a cache, or for everybody."""

    def cached(function: Any) -> Any:
        @functools.wraps(function)
        async def answer(request: Request) -> None: ...

        return answer

    lock = on_starlette.requires(role("any"))

    finding = only(app(Route("/a", cached(lock(page)))), guard(CLOSED))

    assert (finding.code, finding.about) == ("lock.covered", "GET /a")
    assert finding.where.startswith(f"{__file__}:")
    assert found(app(Route("/a", lock(cached(page)))), guard(CLOSED)) == []


def test_what_an_outer_guard_opens_and_an_inner_one_leaves_to_its_default_is_found() -> None:
    """Nobody has said of that very route that it is open; where the inner guard says it, or asks, somebody has."""
    outer = guard(Rule("/in/**", PUBLIC))

    def served(*rules: Rule, default: Requirement = OPTIONAL) -> ASGIApp:
        inner = Guard(Badge(), rules=rules, default=default, log=False)
        return app(Mount("/in", AuthGuardMiddleware(app("/a"), guard=inner)))

    assert found(served(), outer) == [("route.unnamed", "GET /in/a"), ("open.wide", "/in/**")]
    assert found(served(Rule("/a", OPTIONAL)), outer) == []
    assert found(served(default=AUTHENTICATED), outer) == []


@pytest.mark.parametrize("install_it", [True, False])
def test_what_a_preflight_gets_to_is_found(install_it: bool) -> None:
    """Where the guard lets all of them by, and what answers is not a CORSMiddleware; a lock is asked all the same."""

    def served(*routes: Any, preflight: Any = "pass") -> tuple[Any, Guard]:
        front, inner = guard(CLOSED), app(*routes)
        if install_it:
            inner.add_middleware(AuthGuardMiddleware, guard=front, preflight=preflight)
            return inner, front
        return AuthGuardMiddleware(inner, guard=front, preflight=preflight), front

    answering = Route("/a", page, methods=["OPTIONS"])
    locked = Route("/l", on_starlette.requires(role("any"))(page), methods=["OPTIONS"])

    assert found(*served("/x", answering, locked, Mount("/in", opaque))) == [
        ("open.preflight", "OPTIONS /a"),
        ("open.preflight", "* /in/**"),
    ]
    assert found(*served(answering, preflight="auto")) == []


def test_the_pages_of_fastapi_are_found_once() -> None:
    """With what names them all; those that a rule opens are told as any other."""
    served = FastAPI()
    installed, opened = guard(), guard(Rule("/{page}", PUBLIC), Rule("/docs/oauth2-redirect", PUBLIC))

    finding = only(served, installed)

    assert (finding.code, finding.about) == ("route.unnamed", "FastAPI's own pages")
    assert "GET /openapi.json, GET /docs, GET /docs/oauth2-redirect, GET /redoc" in finding.what
    assert "*docs(app, AUTHENTICATED)" in finding.fix
    assert found(served, opened) == [("open.wide", "/{page}")]
    assert found(served, guard(default=OPTIONAL)) == [("route.unnamed", "FastAPI's own pages")]


def test_what_accepts_nothing_is_found() -> None:
    """It was mended, or misspelt."""
    accepted = ["route.unnamed GET /a", "route.unnamed GET /gone", "open.wide"]

    findings = audit(app("/a"), guard(), ignore=accepted).findings

    assert [(one.code, one.about) for one in findings] == [
        ("ignore.unmet", "open.wide"),
        ("ignore.unmet", "route.unnamed GET /gone"),
    ]
    assert audit(app("/a"), guard(), ignore=[*accepted, "ignore.unmet"]).findings == ()
