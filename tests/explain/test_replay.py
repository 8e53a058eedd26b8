"""``replay``: recorded decisions of real apps, judged again under changed rules and locks."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi import Request as FastRequest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, WebSocketRoute

from authguard import (
    AUTHENTICATED,
    OPTIONAL,
    PUBLIC,
    AuthGuardMiddleware,
    ConfigurationError,
    Guard,
    Principal,
    Rule,
    all_of,
    any_of,
    any_role,
    predicate,
    role,
    scopes,
    step_up,
    via,
)
from authguard.explain import replay as module
from authguard.explain.replay import Replay, lines_of, read_line, replay
from authguard.fastapi import CurrentPrincipal, install, requires
from authguard.model import Failure, Moment, Requirement
from authguard.records import DecisionFile
from authguard.records.decision_file import MAX_LINE
from authguard.starlette import requires as lock
from tests.docs.refusals import bearer, token
from tests.support.asgi import RecordingApp, header_list, http_scope, run_app, websocket_scope
from tests.support.clock import NOW

KEY = b"k" * 16


async def _orders(request: Request) -> PlainTextResponse:
    return PlainTextResponse("orders")


async def _socket(socket: Any) -> None:
    await socket.close()


def starlette(*rules: Rule, routes: Sequence[Any] = (Route("/orders/{id}", _orders),), **options: Any) -> Any:
    """A Starlette app behind a guard with these rules, and the guard."""
    guard = Guard(bearer(), rules=rules, clock=lambda: NOW, log=False, **options)
    return Starlette(routes=list(routes), middleware=[Middleware(AuthGuardMiddleware, guard=guard)]), guard


def fastapi(*rules: Rule, needs: Requirement | None = None, **options: Any) -> Any:
    """A FastAPI app with a lock on its route, and its guard."""
    guard = Guard(bearer(), rules=rules, clock=lambda: NOW, log=False, **options)
    app = FastAPI(openapi_url=None)
    install(app, guard)
    locks = [requires(needs)] if needs is not None else []

    @app.get("/orders/{id}", dependencies=locks)
    async def order(request: FastRequest) -> str:
        return "an order"

    @app.get("/me")
    async def me(principal: CurrentPrincipal) -> str:
        return principal.subject

    return app, guard


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    return tmp_path / "decisions.jsonl"


async def record(made: tuple[Any, Guard], path: Path, *requests: Any, **options: Any) -> None:
    """Send requests to the app, and write the decisions. A request is a path and a field, or a scope."""
    app, guard = made
    guard._recorder.hooks = (DecisionFile(path, **options),)
    for request in requests:
        is_scope = isinstance(request, dict)
        await run_app(app, request if is_scope else http_scope(request[0], headers=header_list(request[1])))


def written(path: Path) -> str:
    """What the file holds."""
    return path.read_text(encoding="utf-8")


def rewrite(path: Path, old: str, new: str) -> None:
    """Replace a text in the file."""
    path.write_text(written(path).replace(old, new), encoding="utf-8")


def clear(path: Path) -> None:
    """Begin anew."""
    path.unlink()


def judged(made: tuple[Any, Guard], path: Path) -> Replay:
    """The file, judged by this app."""
    with path.open("rb") as file:
        return replay(*made, lines_of("decisions.jsonl", file))


def changes(found: Replay) -> list[tuple[str, str, str, dict[str, int]]]:
    """What has changed: the change, the requirement, the reason, and the subjects."""
    return [
        (change, group.requirement, group.reason, dict(subjects))
        for change in ("refused", "let in")
        for group, subjects in found.changes(change)
    ]


ALICE, BOB = token(sub="alice", roles=["admin"]), token(sub="bob", roles=[])
MADE: Mapping[str, Callable[..., Any]] = MappingProxyType({"starlette": starlette, "fastapi": fastapi})


@pytest.mark.parametrize("framework", MADE)
async def test_a_rule_that_wants_more_refuses_who_has_it_not(framework: str, path: Path) -> None:
    """Bob is refused by the new rule, twice. Alice has the role, and the request without a token was refused before."""
    make = MADE[framework]
    await record(make(), path, ("/orders/1", ALICE), ("/orders/1", BOB), ("/orders/2", BOB), ("/orders/1", None))

    found = judged(make(Rule("/orders/{id}", role("admin"))), path)

    assert changes(found) == [("refused", "role(admin)", "role.missing", {"bob": 2})]
    assert (found.requests, found.is_changed, found.untold) == (4, True, {})
    (group,) = found.groups
    assert (group.rule, found.samples[group]) == ("/orders/{id}", "GET /orders/1")
    assert "test_replay.py" in group.location


@pytest.mark.parametrize("framework", MADE)
async def test_a_rule_that_wants_less_lets_in(framework: str, path: Path) -> None:
    """The reason is that of the refusal. A bad token still is one, until the path is open for everybody."""
    make = MADE[framework]
    bad = ("/orders/1", token(exp=NOW - 3600))
    await record(make(Rule("/orders/{id}", role("admin"))), path, ("/orders/1", BOB), ("/orders/1", None), bad)

    assert changes(judged(make(), path)) == [("let in", "AUTHENTICATED", "role.missing", {"bob": 1})]
    assert changes(judged(make(Rule("/orders/{id}", OPTIONAL)), path)) == [
        ("let in", "OPTIONAL", "credentials.missing", {"": 1}),
        ("let in", "OPTIONAL", "role.missing", {"bob": 1}),
    ]
    assert judged(make(Rule("/orders/{id}", PUBLIC)), path).count("let in") == 3


async def test_locks_of_fastapi_are_judged(path: Path) -> None:
    """A lock that is added refuses, one that is removed lets in; the two lines of a refusal count as one request."""
    await record(fastapi(needs=role("admin")), path, ("/orders/1", ALICE), ("/orders/1", BOB), ("/me", BOB))

    assert not judged(fastapi(needs=role("admin")), path).is_changed
    assert changes(judged(fastapi(), path)) == [("let in", "AUTHENTICATED", "role.missing", {"bob": 1})]
    found = judged(fastapi(needs=role("owner")), path)
    assert changes(found) == [("refused", "role(owner)", "role.missing", {"alice": 1})]
    assert found.requests == 3


async def test_locks_of_starlette_on_an_open_rule_are_judged(path: Path) -> None:
    """The lock asks for credentials there: those that are missing, and a scheme that it does not accept."""

    def made(needs: Requirement) -> Any:
        return starlette(Rule("/**", PUBLIC), routes=[Route("/orders/{id}", lock(needs)(_orders))])

    await record(made(role("admin")), path, ("/orders/1", ALICE), ("/orders/1", BOB), ("/orders/1", None))

    assert not judged(made(role("admin")), path).is_changed
    assert changes(judged(made(AUTHENTICATED), path)) == [("let in", "PUBLIC", "role.missing", {"bob": 1})]
    assert changes(judged(made(via("nobody")), path)) == [("refused", "via(nobody)", "backend.failed", {"alice": 1})]
    assert changes(judged(made(OPTIONAL), path))[0] == ("let in", "PUBLIC", "credentials.missing", {"": 1})


async def test_what_an_open_rule_refused_by_a_lock_that_is_gone_is_untold(path: Path) -> None:
    """A bad token on a route that has no lock now: whether the endpoint asks is not known."""
    locked = starlette(Rule("/**", PUBLIC), routes=[Route("/orders/{id}", lock(AUTHENTICATED)(_orders))])
    await record(locked, path, ("/orders/1", token(exp=NOW - 3600)))

    assert not judged(locked, path).is_changed
    found = judged(starlette(Rule("/**", PUBLIC)), path)
    assert (found.is_changed, dict(found.untold)) == (False, {"token.expired on an open route": 1})


async def test_roles_are_expanded_by_the_hierarchy_of_now(path: Path) -> None:
    """The file has the roles that the token names, so an implication that is taken away refuses."""
    rule = Rule("/orders/{id}", role("editor"))
    with_hierarchy = starlette(rule, role_hierarchy={"admin": {"editor"}})
    await record(with_hierarchy, path, ("/orders/1", ALICE))

    assert json.loads(written(path))["roles"] == ["admin"]
    assert not judged(with_hierarchy, path).is_changed
    assert changes(judged(starlette(rule), path)) == [("refused", "role(editor)", "role.missing", {"alice": 1})]


async def test_a_step_up_is_judged_by_the_time_of_the_request(path: Path) -> None:
    """``auth_time`` and ``acr`` are in the file."""
    old = token(sub="old", auth_time=NOW - 1000, acr="silver")
    fresh = token(sub="fresh", auth_time=NOW - 5, acr="gold")
    await record(starlette(), path, ("/orders/1", old), ("/orders/1", fresh))

    by_age = starlette(Rule("/orders/{id}", step_up(max_age=60)))
    by_acr = starlette(Rule("/orders/{id}", step_up(acr="gold")))
    assert changes(judged(by_age, path))[0][2:] == ("step_up.required", {"old": 1})
    assert changes(judged(by_acr, path))[0][2:] == ("step_up.required", {"old": 1})


def _owns(principal: Principal, params: Mapping[str, str]) -> bool:
    return principal.subject == params["id"]


def _department(principal: Principal, params: Mapping[str, str]) -> bool:
    return bool(principal.claims["department"] == "sales")


@pytest.mark.parametrize(
    ("reads", "what"),
    [
        (lambda principal: principal.claims["department"], "the claim 'department'"),
        (lambda principal: principal.claims.get("department"), "the claim 'department'"),
        (lambda principal: "department" in principal.claims, "the claim 'department'"),
        (lambda principal: list(principal.claims), "all claims"),
        (lambda principal: dict(**principal.claims), "all claims"),
        (lambda principal: principal.display_name, "the subject, which is hashed"),
    ],
    ids=["item", "get", "in", "list", "stars", "name"],
)
async def test_a_predicate_that_reads_more_is_untold(reads: Any, what: str, path: Path) -> None:
    """It is named, with what it reads; an ``except Exception`` of its own does not hide that."""

    def reading(principal: Principal, params: Mapping[str, str]) -> bool:
        try:
            return bool(reads(principal))
        except Exception:  # noqa: BLE001 - as an app may write it
            return False

    await record(starlette(), path, ("/orders/1", ALICE), hash_subjects=KEY)

    found = judged(starlette(Rule("/orders/{id}", predicate("reading", reading))), path)
    assert (found.is_changed, dict(found.untold)) == (False, {f"check(reading) reads {what}": 1})


async def test_a_predicate_is_judged_by_what_the_file_holds(path: Path) -> None:
    """The subject in clear, the parameters of the path, and the two claims."""

    def knows(principal: Principal, params: Mapping[str, str]) -> bool:
        claims = principal.claims
        return "acr" in claims and claims["acr"] == "gold" and claims.get("auth_time", "none") == "none"

    await record(starlette(), path, ("/orders/alice", ALICE), ("/orders/bob", token(sub="alice", acr="gold")))

    assert changes(judged(starlette(Rule("/orders/{id}", predicate("owns", _owns))), path)) == [
        ("refused", "check(owns)", "check.refused", {"alice": 1})
    ]
    assert judged(starlette(Rule("/orders/{id}", predicate("knows", knows))), path).count("refused") == 1


@pytest.mark.parametrize(
    ("requirement", "outcome"),
    [
        (all_of(role("owner"), predicate("d", _department)), "refused"),
        (all_of(role("admin"), predicate("d", _department)), "untold"),
        (any_of(role("admin"), predicate("d", _department)), "same"),
        (any_of(predicate("d", _department), role("owner")), "untold"),
        (any_of(predicate("d", _department), role("admin")), "same"),
        (
            any_of(all_of(predicate("d", _department), role("x")), all_of(predicate("d", _department), scopes("y"))),
            "refused",
        ),
    ],
    ids=str,
)
async def test_what_is_certain_without_the_predicate_is_told(
    requirement: Requirement, outcome: str, path: Path
) -> None:
    """A part that fails decides ``all_of``, and a part that is met decides ``any_of``."""
    await record(starlette(), path, ("/orders/1", ALICE))
    found = judged(starlette(Rule("/orders/{id}", requirement)), path)
    assert (found.count("refused"), found.untold.total()) == {"refused": (1, 0), "untold": (0, 1), "same": (0, 0)}[
        outcome
    ]


async def test_a_requirement_of_the_app_that_raises_refuses(path: Path) -> None:
    """The guard refuses then, too."""

    class Broken:
        def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
            raise LookupError

        def schemes(self, every: frozenset[str]) -> frozenset[str]:
            return every

        def scopes_named(self) -> tuple[str, ...]:
            return ()

    await record(starlette(), path, ("/orders/1", ALICE))
    assert changes(judged(starlette(Rule("/orders/{id}", Broken())), path))[0][2] == "backend.failed"


PLAIN = ("/orders/5", None), ("/orders/5", token()), ("/orders/5", token(exp=NOW - 64, iat=NOW - 3664))


@pytest.mark.parametrize(
    ("rules", "options"),
    [
        ([Rule("/orders/{id}", role("staff"), report_only=True)], {}),
        ([Rule("/orders/{id}", role("staff"))], {"report_only": True}),
    ],
    ids=["rule", "guard"],
)
async def test_what_passed_because_it_was_report_only_would_be_refused(
    rules: list[Rule], options: dict[str, Any], path: Path
) -> None:
    """The same app changes nothing. Without report-only each of the requests is refused, for its reason."""
    tried = starlette(*rules, **options)
    await record(tried, path, *PLAIN)
    assert written(path).count('"outcome":"would_deny"') == 3
    assert changes(judged(tried, path)) == []

    assert changes(judged(starlette(Rule("/orders/{id}", role("staff"))), path)) == [
        ("refused", "role(staff)", "credentials.missing", {"": 1}),
        ("refused", "role(staff)", "role.missing", {"alice": 1}),
        ("refused", "role(staff)", "token.expired", {"alice": 1}),
    ]


async def test_a_rule_that_becomes_report_only_lets_in_but_not_in_an_outage(path: Path) -> None:
    """An outage is refused then, too."""

    async def down(request: object, principal: Principal) -> Principal:
        raise RuntimeError

    enforced = starlette(Rule("/orders/{id}", role("staff")))
    await record(enforced, path, *PLAIN)
    await record(starlette(Rule("/orders/{id}", role("staff")), checks=[down]), path, ("/orders/5", token()))

    found = judged(starlette(Rule("/orders/{id}", role("staff"), report_only=True)), path)

    assert (found.count("refused"), found.count("let in"), found.requests) == (0, 3, 4)


@pytest.mark.parametrize("rule", [PUBLIC, AUTHENTICATED])
async def test_a_lock_that_was_report_only_would_refuse(rule: Requirement, path: Path) -> None:
    """Behind a rule, and on an open route, where it has the credentials verified."""
    rules = [Rule("/orders/{id}", rule)]
    routes = {
        is_reported: [Route("/orders/{id}", lock(role("staff"), report_only=is_reported)(_orders))]
        for is_reported in (True, False)
    }
    tried = starlette(*rules, routes=routes[True])
    await record(tried, path, *PLAIN)
    assert changes(judged(tried, path)) == []

    found = judged(starlette(*rules, routes=routes[False]), path)

    assert found.count("refused") == (3 if rule is PUBLIC else 1)
    assert found.count("let in") == 0


async def test_names_that_were_cut_off_are_untold(path: Path) -> None:
    """A line has a bounded length: very many roles do not fit, nor do a long path, subject and ``acr``."""
    many = token(sub="s" * 300, roles=[f"group-{number:04}" for number in range(350)], acr="a" * 300)
    await record(starlette(), path, ("/orders/1", many), ("/" + "x" * 3000, many))

    assert max(map(len, written(path).splitlines())) < MAX_LINE
    found = judged(starlette(Rule("/orders/{id}", any_role("admin", "x"))), path)
    assert found.untold["any_role(admin, x) reads the roles, which the line has cut off"] == 1
    assert found.untold["a line whose path or method is cut off"] == 1
    assert judged(starlette(Rule("/orders/{id}", step_up(acr="x"))), path).untold.total() == 2
    assert judged(starlette(role_hierarchy={"admin": {"editor"}}), path).untold.total() == 1


async def test_methods_and_paths_that_no_rule_decides(path: Path) -> None:
    """A handshake is one; a method that rules do not list is refused; a path with two readings too, now or then."""
    routes = [Route("/orders/{id}", _orders, methods=["GET", "POST"]), WebSocketRoute("/live", _socket)]
    handshake = websocket_scope("/live", header_list(ALICE))
    posted = http_scope("/orders/1", "POST", header_list(ALICE))
    named = http_scope("/orders/1", "WEBSOCKET", header_list(ALICE))
    await record(starlette(routes=routes), path, handshake, posted, named, ("/a//b", ALICE), ("/orders/1", ALICE))

    only = Rule("/orders/{id}", AUTHENTICATED, methods={"GET"})
    found = judged(starlette(only, Rule("/live", role("x"), methods={"WEBSOCKET"}), routes=routes), path)
    assert sorted(change[2] for change in changes(found)) == ["method.unlisted", "path.ambiguous", "role.missing"]
    assert found.count("refused") == 4

    clear(path)
    await record(starlette(only), path, ("/a//b", ALICE))
    assert dict(judged(starlette(), path).untold) == {"path.ambiguous, because the credentials were not read": 1}


async def test_credentials_of_another_scheme_are_untold_where_the_rule_has_changed(path: Path) -> None:
    """What was not accepted may be accepted by another requirement; by the same one it is not."""
    await record(starlette(), path, ("/orders/1", "Basic YTpi"))

    assert judged(starlette(), path).untold.total() == 0
    assert judged(starlette(Rule("/orders/{id}", role("x"))), path).untold.total() == 1


async def test_a_scheme_that_is_gone_refuses(path: Path) -> None:
    """Its principals cannot come in any more."""
    await record(starlette(), path, ("/orders/1", ALICE))
    rewrite(path, '"scheme":"bearer"', '"scheme":"basic"')
    assert changes(judged(starlette(), path))[0][2] == "scheme.unsupported"


async def test_an_endpoint_that_denies_is_untold(path: Path) -> None:
    """What comes from behind the rule and the locks is not judged, and neither is a lock that cannot be seen."""
    from authguard import AccessDenied
    from tests.support.guards import NOT_OWNER

    async def denies(request: Request) -> PlainTextResponse:
        raise AccessDenied(NOT_OWNER)

    made = starlette(routes=[Route("/orders/{id}", denies)])
    await record(made, path, ("/orders/1", ALICE))
    assert dict(judged(made, path).untold) == {"order.not_owner, which came from behind the rule and the locks": 1}

    clear(path)
    await record(fastapi(needs=role("x")), path, ("/orders/1", ALICE))
    for routes in ([Route("/other", _orders)], [Mount("/orders", RecordingApp())]):
        elsewhere = starlette(routes=routes)
        assert dict(judged(elsewhere, path).untold) == {"role(x) on a route that cannot be inspected": 1}


async def test_what_is_never_judged_is_named(path: Path) -> None:
    """Checks of the guard, a guard further in, and locks on paths or hosts that a line cannot tell."""

    async def on_every_request(request: Any, principal: Principal) -> Principal:
        return principal

    inner = AuthGuardMiddleware(Starlette(routes=[Route("/x", _orders)]), guard=Guard(bearer()))
    locked = lock(role("admin"))(_orders)
    routes = [
        Route("/{name}.json", locked),
        Host("api.example", Starlette(routes=[Route("/hosted", locked)])),
        Mount("/inner", inner),
        Route("/{rest:path}", locked, methods=["POST"]),
    ]
    await record(starlette(), path, ("/inner/x", ALICE))

    made = starlette(routes=routes, checks=[on_every_request])
    notes = list(judged(made, path).notes)
    assert "the check test_what_is_never_judged_is_named.<locals>.on_every_request of the guard" in notes or any(
        note.startswith("the check ") for note in notes
    )
    assert "the guard on /inner, which is inside of the first one" in notes
    assert [note.rpartition(" ")[2] for note in notes if note.startswith("the lock at")] == ["/{name}.json", "/hosted"]


async def test_a_guard_on_a_part_of_the_app_judges_that_part() -> None:
    """Its paths begin behind the mount, and routes outside of it are none of its own."""
    guard = Guard(bearer(), rules=[Rule("/orders", AUTHENTICATED)])
    part = AuthGuardMiddleware(Starlette(routes=[Route("/orders", lock(role("x"))(_orders))]), guard=guard)
    app = Starlette(routes=[Route("/orders", _orders), Mount("/shop", part)])
    found = replay(app, guard, lines_of("-", io.BytesIO(json.dumps(LINE).encode())))
    assert changes(found) == [("refused", "role(x)", "role.missing", {"alice": 1})]


# --- lines ------------------------------------------------------------------------------------------------------------

LINE: dict[str, Any] = {
    "v": 1,
    "at": NOW,
    "method": "GET",
    "path": "/orders",
    "outcome": "granted",
    "stage": "rule",
    "scheme": "bearer",
    "subject": "alice",
    "roles": [],
    "scopes": [],
}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"{", "it is not JSON"),
        (b"[" * 50_000, "it is not JSON"),
        (b"[]", "it is not a line of a DecisionFile"),
        (b'{"v": 2}', "it is not a line of a DecisionFile"),
        ({"outcome": "maybe"}, "its outcome or its stage is unknown"),
        ({"stage": "x"}, "its outcome or its stage is unknown"),
        ({"path": 1}, "its path is not a text"),
        ({"at": None}, "its at is not a number"),
        ({"at": True}, "its at is not a number"),
        ({"at": float("nan")}, "its at is not a number"),
        ({"roles": "admin"}, "its roles is not a list of texts"),
        ({"roles": [" "]}, "its roles: ' ' is not a name"),
        ({"subject": None}, "its subject: give a non-empty string"),
        (b" " * 70_000, "it is too long"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_line_is_named(text: bytes | dict[str, Any], problem: str) -> None:
    """By its number, after lines that are right and one that is empty."""
    wrong = text if isinstance(text, bytes) else json.dumps({**LINE, **text}).encode()
    file = io.BytesIO(json.dumps(LINE).encode() + b"\n\n" + wrong)
    with pytest.raises(ConfigurationError) as raised:
        list(lines_of("decisions.jsonl", file))
    assert str(raised.value).startswith(f"decisions.jsonl:3: {problem}")


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limits, groups, subjects and what is untold are counted together, and nothing is lost."""
    monkeypatch.setattr(module, "MAX_GROUPS", 3)
    monkeypatch.setattr(module, "MAX_SUBJECTS", 5)
    found = Replay()
    for number in range(20):
        line = read_line(json.dumps({**LINE, "subject": f"user{number}"}).encode())
        for judgement in (
            module.Judgement(False, f"/rule{number}", "role(x)", "", "role.missing"),
            module.Judgement(None, "/", "", "", problem=f"problem {number}"),
        ):
            found.add(line, judgement, judgement)
    assert (found.count("refused"), len(found.groups), sum(map(len, found.groups.values()))) == (20, 4, 6)
    assert (found.untold.total(), len(found.untold), found.untold["*"]) == (20, 4, 17)
