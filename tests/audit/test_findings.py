"""Each finding: what causes it, what does not, where it points, and which fix it gives."""

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
    """An app that cannot be inspected."""


def guard(*rules: Rule, **options: Any) -> Guard:
    """A guard with one scheme, whose roles cannot be listed."""
    return Guard(Badge(), rules=rules, log=False, **options)


def app(*routes: Any) -> Starlette:
    """An app of these routes; a string is the path of a page."""
    return Starlette(routes=[Route(route, page) if isinstance(route, str) else route for route in routes])


def findings_of(served: object, front: Guard) -> list[tuple[str, str]]:
    """Code and subject of each finding."""
    return [(finding.code, finding.about) for finding in audit(served, front).findings]


def only_finding(served: object, front: Guard) -> Finding:
    """The only finding."""
    (finding,) = audit(served, front).findings
    return finding


def test_an_app_whose_rules_fit_has_no_finding() -> None:
    """Exact openings, closed ``/**`` rules, a lock, an open method that its rule names, files below their own rule."""
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

    assert findings_of(served, front) == []
    assert findings_of(served, guard(CLOSED)) == []


def test_a_route_without_a_rule_or_a_lock_is_found() -> None:
    """The default does not matter. The location is that of the endpoint."""
    for default in (AUTHENTICATED, OPTIONAL, role("any")):
        finding = only_finding(app("/a"), guard(default=default))

        assert (finding.code, finding.about) == ("route.unnamed", "GET /a")
        assert finding.fix.startswith('Give it a rule or a lock; Rule("/**", AUTHENTICATED) names every route')
        assert finding.location == f"{__file__}:{page.__code__.co_firstlineno}"


def test_a_narrower_rule_does_not_name_a_route() -> None:
    """A rule for some of its paths says nothing about the others, and a lock with OPTIONAL closes nothing."""
    served = app("/{x}", Route("/b/c", on_starlette.requires(OPTIONAL)(page)))

    assert findings_of(served, guard(Rule("/a", role("any")))) == [
        ("route.unnamed", "GET /{x}"),
        ("route.unnamed", "GET /b/c"),
    ]


def app_with_late_route(kind: str, *locks: Any) -> FastAPI:
    """An app with one more route in a router in a router, in a mount, or as a WebSocket."""
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
def test_a_route_in_a_nested_router_or_mount_is_found(kind: str, about: str) -> None:
    """A lock or a rule fixes it."""
    late = f"{about} /out/in/late"

    assert findings_of(app_with_late_route(kind), guard()) == [("route.unnamed", late)]
    assert findings_of(app_with_late_route(kind, requires(role("any"))), guard()) == []
    assert findings_of(app_with_late_route(kind), guard(CLOSED)) == []


def test_a_rule_that_matches_no_route_is_found() -> None:
    """Its path or its methods may be wrong."""
    served = app("/a", Route("/b", page, methods=["GET", "HEAD"]), Route("/h", page, methods=["HEAD"]))
    unmet = [
        Rule("/amdin/**", role("any")),
        Rule("/a/b", PUBLIC),
        Rule("/b", role("any"), methods={"PUT", "WEBSOCKET"}),
    ]
    met = [Rule("/b", role("any"), methods={"GET", "POST"}), Rule("/h", role("any"), methods={"GET"})]

    findings = audit(served, guard(CLOSED, *unmet, *met)).findings

    assert [(finding.code, finding.about) for finding in findings] == [
        ("rule.unmet", "/amdin/**"),
        ("rule.unmet", "/a/b"),
        ("rule.unmet", "PUT WEBSOCKET /b"),
    ]
    assert [finding.location for finding in findings] == [rule.location for rule in unmet]
    assert [(finding.problem, finding.fix) for finding in findings[1:]] == [
        (
            "it matches no route, and the nearest is /b",
            "Write /b: a rule names the path below root_path and mounts",
        ),
        ("it matches no route: the path serves GET", "Correct the methods, or remove the rule"),
    ]


def test_every_rule_may_match_an_opaque_app() -> None:
    """It may serve any path and method, so no rule is reported as unmet."""
    assert findings_of(opaque, guard(CLOSED, Rule("/a", role("any")), Rule("/b", role("any"), methods={"PUT"}))) == []


def test_a_rule_that_other_rules_hide_is_found() -> None:
    """Another rule applies on every route that it matches. A closed ``/**`` rule is not reported, an open one is."""
    served = app("/a", "/b/c")
    hidden = Rule("/a", role("any"))
    others = [Rule("/a", role("any"), methods={"GET"}), Rule("/b/c", role("any"))]

    findings = audit(served, guard(hidden, *others, Rule("/b/**", PUBLIC), CLOSED)).findings

    assert [(finding.code, finding.about) for finding in findings] == [("rule.hidden", "/a"), ("rule.hidden", "/b/**")]
    assert (findings[0].problem, findings[0].location) == ("other rules apply on GET /a", hidden.location)


@pytest.mark.parametrize("requirement", [PUBLIC, OPTIONAL])
def test_an_open_rule_that_reaches_further_is_found(requirement: Requirement) -> None:
    """It is reported once, with each route that it opens under another path than its own.

    Routes with a lock are not open.
    """
    wide = Rule("/a/**", requirement)
    served = app("/a", "/a/{x}", "/a/b/c", Route("/a/l", on_starlette.requires(role("any"))(page)))

    finding = only_finding(served, guard(wide, Rule("/a/b/c", role("any"))))

    assert (finding.code, finding.about, finding.location) == ("open.wide", "/a/**", wide.location)
    assert finding.problem == f"{requirement} reaches GET /a, GET /a/{{x}}"
    assert finding.fix == "Open each path with its own rule"


def test_an_open_rule_that_opens_some_paths_of_a_route_is_found() -> None:
    """The endpoint may not expect that one of its paths is open."""
    finding = only_finding(app("/{x}"), guard(CLOSED, Rule("/health", PUBLIC)))

    assert (finding.code, finding.problem) == ("open.wide", "PUBLIC reaches GET /{x}")


def test_an_opening_is_reported_at_the_inner_guard() -> None:
    """An outer rule must be PUBLIC above a guard with other schemes; the inner rule that is too wide is reported."""
    outer = guard(Rule("/in/**", PUBLIC))
    exact, wide = guard(Rule("/a", PUBLIC), CLOSED), guard(Rule("/**", PUBLIC))

    def served(inner: Guard) -> Starlette:
        return app(Mount("/in", AuthGuardMiddleware(app("/a"), guard=inner)))

    assert findings_of(served(exact), outer) == []
    assert [finding.location for finding in audit(served(wide), outer).findings] == [wide.table.rules[0].location]


def test_files_may_be_opened_one_by_one() -> None:
    """A rule below a mount of files names some of them; a rule above it opens all of them."""
    files = Mount("/static", StaticFiles(directory="."))

    assert findings_of(app(files), guard(CLOSED, Rule("/static/logo.png", PUBLIC))) == []
    assert findings_of(app(files), guard(Rule("/**", PUBLIC))) == [("open.wide", "/**")]


def test_a_finding_about_many_routes_names_eight_of_them() -> None:
    """It counts the rest."""
    finding = only_finding(app(*(f"/a/{number}" for number in range(10))), guard(Rule("/a/**", PUBLIC)))

    assert finding.problem.endswith("GET /a/7 and 2 more")


def test_an_open_route_that_changes_state_is_found() -> None:
    """A rule that names the method shows that the opening is intended."""
    served = app(Route("/a", page, methods=["GET", "POST"]))
    rule = Rule("/a", PUBLIC)

    finding = only_finding(served, guard(rule))

    assert (finding.code, finding.about, finding.location) == ("open.unsafe", "POST /a", rule.location)
    assert finding.fix == "Close it, or name the method: Rule(..., methods={'POST'})"
    assert findings_of(served, guard(Rule("/a", PUBLIC, methods={"GET", "POST"}))) == []
    assert findings_of(served, guard(Rule("/a", PUBLIC, methods={"GET"}), Rule("/a", role("any")))) == []
    assert findings_of(app(Route("/a", opaque.__class__)), guard(rule))[0] == ("open.unsafe", "* /a")


def test_a_route_that_a_default_opens_is_found() -> None:
    """The location is that of the endpoint, because there is no rule."""
    served = app(Route("/a", page, methods=["POST"]))

    findings = audit(served, guard(default=OPTIONAL)).findings

    assert [(finding.code, finding.about) for finding in findings] == [
        ("route.unnamed", "POST /a"),
        ("open.unsafe", "POST /a"),
    ]
    assert findings[1].location == f"{__file__}:{page.__code__.co_firstlineno}"


def test_an_open_rule_above_hosts_is_found() -> None:
    """One rule applies to the handlers of every host; a guard inside each host has its own rules."""
    rule, inner = Rule("/a", PUBLIC), guard(Rule("/a", PUBLIC))
    bare = app(Host("a.example", app("/a")), Host("b.example", app("/a")))
    guarded = app(Host("a.example", AuthGuardMiddleware(app("/a"), guard=inner)))

    finding = only_finding(app(Host("a.example", app("/a"))), guard(rule))

    assert (finding.code, finding.about, finding.location) == ("open.hosts", "GET /a", rule.location)
    assert (finding.problem, finding.fix) == (
        "it is open by /a PUBLIC, on every host and not only on a.example",
        "Put a guard inside each host",
    )
    assert len(audit(bare, guard(rule)).findings) == 2
    assert findings_of(guarded, guard(rule)) == []
    assert findings_of(bare, guard(CLOSED)) == []


def test_an_open_opaque_app_is_found() -> None:
    """A rule may open all of it, or a part."""
    served = app(Mount("/in", opaque))

    finding = only_finding(served, guard(Rule("/in/**", PUBLIC)))

    assert (finding.code, finding.about) == ("opaque", "* /in/**")
    assert finding.fix == "Open only paths that you know, one by one"
    assert findings_of(served, guard(CLOSED, Rule("/in/health", PUBLIC))) == [("opaque", "* /in/health")]


def guard_with_roles(*roles: str, **options: Any) -> Guard:
    """A guard whose accounts have these roles."""
    scheme = Basic(MemoryUsers([Account(name, "", roles={name}) for name in roles]), realm="r")
    return Guard(
        scheme, rules=[Rule("/a", any_of(role("admin"), all_of(any_role("clerk")))), CLOSED], log=False, **options
    )


def test_a_role_that_nobody_can_have_is_found() -> None:
    """It is reported once for each place that requires it: in a rule, in a part of a requirement, or in a lock."""
    here = on_starlette.requires(role("locksmith"))
    served = app("/a", Route("/b", here(page)), Route("/c", here(page)))

    findings = audit(served, guard_with_roles("admin")).findings

    assert [(finding.code, finding.about) for finding in findings] == [
        ("role.unknown", "clerk"),
        ("role.unknown", "locksmith"),
    ]
    assert findings[0].location == guard_with_roles().table.rules[0].location
    assert findings[1].location.startswith(f"{__file__}:")
    assert findings_of(served, guard_with_roles("admin", "clerk", "locksmith")) == []


def test_a_role_may_be_implied() -> None:
    """Another role that somebody has can imply it."""
    assert (
        findings_of(app("/a"), guard_with_roles("root", role_hierarchy={"root": {"admin"}, "admin": {"clerk"}})) == []
    )
    assert findings_of(app("/a"), guard_with_roles("admin", role_hierarchy={"root": {"clerk"}})) == [
        ("role.unknown", "clerk")
    ]


async def anybody(request: AuthRequest, principal: Principal) -> Principal:
    """A check of the guard, which could add any role."""
    return principal


async def nobody(name: str) -> Account | None:
    """A look-up in a database."""
    return None


class DirectoryVerifier:
    """A directory that does not list its roles."""

    async def check(self, username: str, password: str) -> Account:
        return Account(username, "")


def test_no_role_is_unknown_where_roles_cannot_be_listed() -> None:
    """Roles may come from a check, from another scheme, from a database or from a directory."""
    rules = [Rule("/a", role("admin"))]

    assert findings_of(app("/a"), guard_with_roles(checks=[anybody])) == []
    for schemes in ([Basic(UserLookup(nobody), realm="r")], [Basic(DirectoryVerifier(), realm="r")], [Badge()]):
        assert findings_of(app("/a"), Guard(*schemes, rules=rules)) == []
    assert findings_of(app("/a"), Guard(Basic(MemoryUsers([]), realm="r"), Badge(), rules=rules)) == []


@pytest.mark.parametrize("as_file", [True, False])
def test_the_groups_of_a_password_file_are_its_roles(tmp_path: Path, as_file: bool) -> None:
    """A group with a member is a role that somebody has, in a file or in a mapping."""
    (tmp_path / "users").write_text("alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n")
    (tmp_path / "groups").write_text("admin: alice\nempty:\n")
    groups: Any = tmp_path / "groups" if as_file else {"admin": ["alice"], "empty": []}
    scheme = Basic(HtpasswdFile(tmp_path / "users", groups=groups), realm="r")

    assert findings_of(app("/a"), Guard(scheme, rules=[Rule("/a", any_role("admin", "empty"))])) == [
        ("role.unknown", "empty")
    ]


def test_roles_come_from_outer_guards_too() -> None:
    """An inner guard takes over the principal of the outer one, and adds what its own hierarchy implies."""
    inner = Guard(Badge("other"), rules=[Rule("/a", role("admin"))], role_hierarchy={"clerk": {"admin"}})
    served = app(Mount("/in", AuthGuardMiddleware(app("/a"), guard=inner)))

    assert findings_of(served, guard_with_roles("x"))[0] == ("rule.unmet", "/a")
    assert ("role.unknown", "admin") not in findings_of(served, guard_with_roles("clerk"))


def test_a_lock_that_no_scheme_can_satisfy_is_found() -> None:
    """The guard may not have the scheme, or the rule may not accept it."""
    lock = on_starlette.requires(via("bearer"))
    served = app(Route("/a", lock(page)))

    of_two = Guard(Badge(), Badge("bearer"), rules=[Rule("/a", via("badge"))], log=False)
    for front in (guard(), guard(Rule("/a", PUBLIC)), of_two):
        finding = only_finding(served, front)
        assert (finding.code, finding.about) == ("lock.impossible", "GET /a")
        assert finding.location == audit(served, front).rows[0].locks[0].location
    assert findings_of(served, Guard(Badge("bearer"), rules=[Rule("/a", PUBLIC)], log=False)) == []


class Unknown:
    """A middleware of the app."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


def unknown_factory(app: ASGIApp) -> ASGIApp:
    """Starlette accepts a function in place of a class."""
    return app


class Backend(AuthenticationBackend):
    """A backend of Starlette's own authentication."""


@pytest.mark.parametrize(
    ("inside", "name", "effect"),
    [
        (Middleware(CORSMiddleware), "CORSMiddleware", "denials get none of its headers"),
        (Middleware(Unknown), "Unknown", "what it does to path and method is not known"),
        (Middleware(unknown_factory), "unknown_factory", "what it does to path and method is not known"),
        (
            Middleware(AuthenticationMiddleware, backend=Backend()),
            "AuthenticationMiddleware",
            "what it does to path and method is not known",
        ),
    ],
)
def test_a_middleware_inside_the_guard_is_found(inside: Middleware, name: str, effect: str) -> None:
    """It may answer by itself, or show the router another path. ``CORSMiddleware`` may be outside."""
    ours = Middleware(AuthGuardMiddleware, guard=(front := guard(CLOSED)))
    routes = [Route("/a", page), Route("/b", page)]

    finding = only_finding(Starlette(routes=routes, middleware=[ours, inside]), front)

    assert (finding.code, finding.about) == ("middleware.inside", name)
    assert finding.problem == f"it is inside the guard; {effect}"
    assert finding.location.startswith(__file__) == (name.lower().startswith("unknown"))
    outside = [] if name == "CORSMiddleware" else [("middleware.outside", name)]
    assert findings_of(Starlette(routes=routes, middleware=[inside, ours]), front) == outside
    assert findings_of(Starlette(routes=routes, middleware=[inside]), front) == [("middleware.inside", name)]


def test_harmless_middleware_is_not_a_finding() -> None:
    """Neither inside nor outside of the guard."""
    harmless = [Middleware(GZipMiddleware), Middleware(SessionMiddleware, secret_key="s")]
    ours = Middleware(AuthGuardMiddleware, guard=(front := guard(CLOSED)))

    assert findings_of(Starlette(routes=[Route("/a", page)], middleware=harmless), guard(CLOSED)) == []
    assert findings_of(Starlette(routes=[Route("/a", page)], middleware=[*harmless, ours]), front) == []


def test_a_running_app_has_the_findings_of_the_app_as_built() -> None:
    """The middleware that Starlette puts around the router is not a finding."""
    served = FastAPI(openapi_url=None)
    served.add_api_route("/a", page)
    install(served, front := guard(CLOSED))

    assert findings_of(served.build_middleware_stack(), front) == findings_of(served, front) == []


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
def test_an_unknown_code_cannot_be_ignored(ignore: Any, problem: str) -> None:
    """A typing error would accept nothing, and look as if it did."""
    with pytest.raises(ConfigurationError, match=problem):
        audit(app("/a"), guard(), ignore=ignore)


def test_arguments_in_the_wrong_order_are_an_error() -> None:
    """The message names the argument."""
    with pytest.raises(ConfigurationError, match="guard: "):
        auditing.audit(guard(), app())  # type: ignore[arg-type]


def test_these_tests_have_every_code() -> None:
    """The text of a finding has its location and its fix."""
    tests = [*Path(__file__).parent.glob("test_*.py"), Path(__file__).parents[1] / "asgi" / "test_report_only.py"]
    text = "".join(path.read_text(encoding="utf-8") for path in tests)

    assert [code for code in CODES if f'"{code}"' not in text] == []
    assert str(Finding("a.b", "GET /x", "it is", "f.py:3", "Fix it")) == "a.b GET /x: it is (f.py:3). Fix it."
    assert str(Finding("a.b", "GET /x", "it is", "", "Fix it")) == "a.b GET /x: it is. Fix it."


def test_a_lock_above_the_decorator_of_the_route_is_found() -> None:
    """The route holds the bare function, so the lock never runs. Right above ``def`` it does."""
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

    finding = only_finding(fast, guard(CLOSED))

    assert (finding.code, finding.about) == ("lock.bypassed", "DELETE /bypassed")
    assert finding.location.startswith(f"{__file__}:")
    assert "below the route's decorator" in finding.fix
    assert bypassed is not locked


def test_an_app_without_its_guard_is_found() -> None:
    """Without a guard the rows show what would apply; with another guard they show what does apply."""
    served, front, other = app("/a"), guard(CLOSED), guard(Rule("/a", OPTIONAL))
    behind_other = AuthGuardMiddleware(served, guard=other)

    absent, other_guard = auditing.audit(served, front), auditing.audit(behind_other, front)

    assert [(finding.code, finding.about) for finding in absent.findings] == [("guard.absent", "Starlette")]
    assert "install(app, guard)" in absent.findings[0].fix
    assert (other_guard.findings[0].code, other_guard.findings[0].about) == ("guard.other", "AuthGuardMiddleware")
    assert [row.open for row in (*absent.rows, *other_guard.rows)] == [False, True]
    assert auditing.audit(app(), guard()).findings == ()


@pytest.mark.parametrize("value", [None, "shop:app", 3])
def test_an_app_must_be_callable(value: Any) -> None:
    """An audit of something else would find nothing, and look like success."""
    with pytest.raises(ConfigurationError, match=r"app: .* is not an app"):
        auditing.audit(value, guard())


def test_one_guard_may_be_in_front_and_further_in() -> None:
    """Its rules then apply twice to the inner app."""
    front = guard(CLOSED)
    served = app("/x", Mount("/sub", AuthGuardMiddleware(app("/y"), guard=front)))

    rows = auditing.audit_inner(served, front).rows

    assert [(row.about, len(row.guard_layers), row.open) for row in rows] == [
        ("GET /x", 1, False),
        ("GET /sub/y", 2, False),
    ]
    assert [row.open for row in auditing.audit(served, front).rows] == [True, False]


def test_a_lock_below_another_decorator_is_found() -> None:
    """The decorator may answer from a cache, or for everybody."""

    def cached(function: Any) -> Any:
        @functools.wraps(function)
        async def answer(request: Request) -> None: ...

        return answer

    lock = on_starlette.requires(role("any"))

    finding = only_finding(app(Route("/a", cached(lock(page)))), guard(CLOSED))

    assert (finding.code, finding.about) == ("lock.covered", "GET /a")
    assert finding.location.startswith(f"{__file__}:")
    assert findings_of(app(Route("/a", lock(cached(page)))), guard(CLOSED)) == []


def test_an_outer_opening_that_an_inner_default_keeps_open_is_found() -> None:
    """No rule says that this very route is open.

    It is no finding if the inner guard has a rule for it, or is closed by default.
    """
    outer = guard(Rule("/in/**", PUBLIC))

    def served(*rules: Rule, default: Requirement = OPTIONAL) -> ASGIApp:
        inner = Guard(Badge(), rules=rules, default=default, log=False)
        return app(Mount("/in", AuthGuardMiddleware(app("/a"), guard=inner)))

    assert findings_of(served(), outer) == [("route.unnamed", "GET /in/a"), ("open.wide", "/in/**")]
    assert findings_of(served(Rule("/a", OPTIONAL)), outer) == []
    assert findings_of(served(default=AUTHENTICATED), outer) == []


@pytest.mark.parametrize("as_middleware", [True, False])
def test_a_route_that_any_preflight_reaches_is_found(as_middleware: bool) -> None:
    """With ``preflight="pass"`` the guard lets every preflight through to the app. A lock still runs."""

    def served(*routes: Any, preflight: Any = "pass") -> tuple[Any, Guard]:
        front, inner = guard(CLOSED), app(*routes)
        if as_middleware:
            inner.add_middleware(AuthGuardMiddleware, guard=front, preflight=preflight)
            return inner, front
        return AuthGuardMiddleware(inner, guard=front, preflight=preflight), front

    answering = Route("/a", page, methods=["OPTIONS"])
    locked = Route("/l", on_starlette.requires(role("any"))(page), methods=["OPTIONS"])

    assert findings_of(*served("/x", answering, locked, Mount("/in", opaque))) == [
        ("open.preflight", "OPTIONS /a"),
        ("open.preflight", "* /in/**"),
    ]
    assert findings_of(*served(answering, preflight="auto")) == []


def test_the_pages_of_fastapi_are_one_finding() -> None:
    """Its fix names them all. Pages that a rule opens are reported as any other route."""
    served = FastAPI()
    closed, opened = guard(), guard(Rule("/{page}", PUBLIC), Rule("/docs/oauth2-redirect", PUBLIC))

    finding = only_finding(served, closed)

    assert (finding.code, finding.about) == ("route.unnamed", "FastAPI's own pages")
    assert "GET /openapi.json, GET /docs, GET /docs/oauth2-redirect, GET /redoc" in finding.problem
    assert "*docs(app, AUTHENTICATED)" in finding.fix
    assert findings_of(served, opened) == [("open.wide", "/{page}")]
    assert findings_of(served, guard(default=OPTIONAL)) == [("route.unnamed", "FastAPI's own pages")]


def test_an_ignore_entry_without_a_finding_is_found() -> None:
    """The finding was fixed, or the entry is misspelt."""
    accepted = ["route.unnamed GET /a", "route.unnamed GET /gone", "open.wide"]

    findings = audit(app("/a"), guard(), ignore=accepted).findings

    assert [(finding.code, finding.about) for finding in findings] == [
        ("ignore.unmet", "open.wide"),
        ("ignore.unmet", "route.unnamed GET /gone"),
    ]
    assert audit(app("/a"), guard(), ignore=[*accepted, "ignore.unmet"]).findings == ()
