"""The audit at start-up warns of unintended openings; a strict app does not start with a finding."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import anyio
import anyio.to_thread
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Host, Match, Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from authguard import AUTHENTICATED, PUBLIC, AuthGuardMiddleware, ConfigurationError, Guard, Record, Rule, role
from authguard.audit.endpoint import Endpoint
from authguard.audit.route_discovery import discover_endpoints
from authguard.fastapi import install
from tests.support.asgi import header_list, http_scope, run_app, websocket_scope
from tests.support.coroutines import run_without_waiting
from tests.support.forks import needs_fork, run_in_child
from tests.support.schemes.badge import Badge

CLOSED = Rule("/**", AUTHENTICATED)
WIDE = [Rule("/a/**", PUBLIC), Rule("/b/**", PUBLIC)]


async def page(request: Request) -> PlainTextResponse:
    """An endpoint."""
    return PlainTextResponse("in")


async def talk(socket: WebSocket) -> None:
    """An endpoint over a WebSocket."""
    await socket.accept()


def routes(*paths: str) -> Starlette:
    """An app of pages and a WebSocket."""
    return Starlette(routes=[*(Route(path, page) for path in paths), WebSocketRoute("/a/socket", talk)])


def guarded(app: ASGIApp, *rules: Rule, records: list[Record] | None = None, **options: Any) -> AuthGuardMiddleware:
    """The app behind a guard."""
    hooks = [] if records is None else [records.append]
    return AuthGuardMiddleware(app, guard=Guard(Badge(), rules=rules, hooks=hooks, log=False), **options)


async def lifespan(app: ASGIApp) -> list[Message]:
    """The messages that an app sends at its start and its end."""
    sent, waiting = list[Message](), [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    # A failed start also raises, as in Starlette: a test client sees nothing else.
    try:
        await app({"type": "lifespan"}, receive, send)
    except ConfigurationError as error:
        assert str(error) == sent[-1]["message"]  # noqa: PT017
    return sent


async def test_wide_openings_are_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """It names the routes that each rule reaches.

    It is logged when the app has started, and not again with a request.
    """
    app = guarded(routes("/a", "/a/b", "/b/c"), *WIDE)

    await lifespan(app)
    statuses = [(await run_app(app, http_scope(path))).status for path in ("/a", "/a/b")]

    (record,) = caplog.records
    first, second = record.getMessage().split("\n  ")
    assert statuses == [200, 200]
    assert record.levelno == logging.WARNING
    assert first.startswith("open.wide /a/**: PUBLIC reaches GET /a, GET /a/b, WEBSOCKET /a/socket (")
    assert second.startswith("open.wide /b/**: PUBLIC reaches GET /b/c (")


async def test_without_a_lifespan_the_first_request_logs_the_warning(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once."""
    app = guarded(routes("/a/b"), Rule("/a/b", AUTHENTICATED), WIDE[0])

    for _ in range(3):
        await run_app(app, websocket_scope("/a/b", header_list()))

    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_each_code_has_a_warning_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """Open rules above hosts have another fix than wide openings."""
    inner = routes("/a", "/b/c")
    app = guarded(Starlette(routes=[Host("one.example", inner), Host("two.example", inner)]), Rule("/a", PUBLIC), *WIDE)

    await lifespan(app)

    assert [record.getMessage().split()[0] for record in caplog.records] == ["open.hosts", "open.wide"]
    assert "Put a guard inside each host" in caplog.messages[0]


async def test_other_and_accepted_findings_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The audit reports the others."""
    await lifespan(guarded(routes("/a", "/unnamed"), Rule("/gone", PUBLIC)))
    await lifespan(guarded(routes("/a", "/b/c"), *WIDE, ignore=["open.wide"]))
    await lifespan(guarded(routes("/a", "/b/c"), *WIDE, ignore={"open.wide /a/**", "open.wide /b/**"}))

    assert caplog.records == []


UNMET = [
    ("/admn/**", ["/a", "/admin/users"], "and the nearest is /admin/users", "Write /admin/**."),
    (
        "/orders/{id}",
        ["/api/orders/{number:int}"],
        "and the nearest is /api/orders/{number:int}",
        "Write /api/orders/{number:int}: a rule names the whole path, with every prefix.",
    ),
    (
        "/orders/**",
        ["/api/v1/orders"],
        "and the nearest is /api/v1/orders",
        "Write /api/v1/orders/**: a rule names the whole path, with every prefix.",
    ),
    (
        "/base/items",
        ["/items"],
        "and the nearest is /items",
        "Write /items: a rule names the path below root_path and mounts.",
    ),
    ("/Items", ["/items", "/item/{id}"], "and the nearest is /items", "Write /items."),
    ("/x/{name}", ["/orders"], "", "Correct the path or the methods, or remove the rule."),
    ("/{a}/{b}/{c}", ["/orders"], "", "Correct the path or the methods, or remove the rule."),
]


@pytest.mark.parametrize(("pattern", "paths", "nearest", "fix"), UNMET)
async def test_a_closed_rule_that_matches_no_route_is_a_warning(
    pattern: str, paths: list[str], nearest: str, fix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """N02: every token would pass where the rule was meant to be. The nearest route shows what to write."""
    rule = Rule(pattern, role("admin"))

    await lifespan(guarded(routes(*paths), rule))

    text = f"rule.unmet {pattern}: it matches no route{', ' if nearest else ''}{nearest} ({rule.location}). {fix}"
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [("WARNING", text)]


async def test_a_closed_rule_that_leaves_nothing_open_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Its path is right, so it closes the path to every method; or nothing is served yet."""
    await lifespan(guarded(routes("/items"), Rule("/items", role("admin"), methods={"PUT"})))
    await lifespan(guarded(Starlette(), Rule("/items", role("admin"))))

    assert caplog.records == []


async def test_a_strict_app_without_findings_starts() -> None:
    """It serves requests."""
    app = guarded(routes("/a"), CLOSED, Rule("/a", PUBLIC), strict=True)

    sent = await lifespan(app)

    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert (await run_app(app, http_scope("/a"))).status == 200


async def test_a_strict_app_with_a_finding_does_not_start() -> None:
    """The server gets the finding. The app had started, so it is ended; the server gets no message about that."""
    events: list[str] = []

    @asynccontextmanager
    async def living(app: Starlette) -> AsyncIterator[None]:
        app.add_route("/late", page)
        events.append("started")
        yield
        events.append("ended")

    app = guarded(Starlette(lifespan=living), Rule("/late/**", PUBLIC), strict=True)

    sent = await lifespan(app)

    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    first, finding, last = sent[0]["message"].split("\n  ")
    assert first == "authguard: strict=True, and the audit has 1 finding:"
    assert finding.startswith("open.wide /late/**: PUBLIC reaches")
    assert last == 'To accept a finding, pass ignore=["open.wide /late/**"].'
    assert events == ["started", "ended"]


async def test_a_strict_app_with_accepted_findings_starts() -> None:
    """They may be accepted by code, or one by one."""
    app = guarded(routes("/a", "/b/c"), *WIDE, strict=True, ignore=["open.wide /a/**", "open.wide /b/**"])

    assert (await lifespan(app))[0]["type"] == "lifespan.startup.complete"


async def test_a_strict_app_with_findings_and_no_lifespan_denies_every_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The rules do not matter. One ERROR has all findings; each request has its record."""
    records: list[Record] = []
    app = guarded(routes("/a", "/b/c"), *WIDE, strict=True, records=records)

    statuses = [
        (await run_app(app, http_scope(path, headers=header_list("Badge alice")))).status
        for path in ("/a", "/b/c", "/x/..")
    ]
    socket = await run_app(app, websocket_scope("/a/socket", header_list()), {"type": "websocket.connect"})

    assert statuses == [503, 503, 503]
    assert [message["type"] for message in socket.sent] == ["websocket.close"]
    (record,) = caplog.records
    assert (record.levelname, record.getMessage().count("\n  open.wide")) == ("ERROR", 2)
    assert {record.reason for record in records} == {"backend.failed"}
    assert {record.facts["problem"] for record in records} == {"strict=True, and the audit has findings"}


async def test_a_server_that_ignores_the_failed_start_gets_denials() -> None:
    """It may not know what a failed start-up means."""
    app = guarded(routes("/a/b"), WIDE[0], strict=True)

    assert (await lifespan(app))[0]["type"] == "lifespan.startup.failed"
    assert (await run_app(app, http_scope("/a/b"))).status == 503


def broken(app: object) -> object:
    """An audit that fails."""
    raise RuntimeError("a secret")


async def test_an_audit_that_fails_refuses_a_strict_app(caplog: pytest.LogCaptureFixture) -> None:
    """An app that is not strict starts, and logs what failed without the text of the error."""
    with patch("authguard.audit.audit.discover_endpoints", broken):
        strict = await lifespan(guarded(routes("/a"), CLOSED, strict=True))
        lax = guarded(routes("/a"), CLOSED)
        started = await lifespan(lax)

    assert strict[0]["type"] == "lifespan.startup.failed"
    assert strict[0]["message"].startswith("strict: the audit failed: error=builtins.RuntimeError frames=[")
    assert started[0]["type"] == "lifespan.startup.complete"
    assert (await run_app(lax, http_scope("/a", headers=header_list("Badge alice")))).status == 200
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "a secret" not in caplog.text + strict[0]["message"]


async def test_an_app_that_fails_to_start_by_itself_is_not_audited() -> None:
    """Its own message reaches the server unchanged."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with patch("authguard.audit.audit.discover_endpoints", broken):
        sent = await lifespan(guarded(app, strict=True))

    assert sent == [{"type": "lifespan.startup.failed", "message": "no database"}]


@pytest.mark.parametrize(
    "options", [{"strict": "yes"}, {"strict": ["open.wide"]}, {"ignore": ["open.wild"]}, {"ignore": "open.wide"}]
)
@pytest.mark.parametrize("add", [AuthGuardMiddleware, install])
def test_wrong_options_are_an_error_while_the_app_is_built(add: Callable[..., object], options: dict[str, Any]) -> None:
    """The message names the argument."""
    with pytest.raises(ConfigurationError, match=f"^{next(iter(options))}: "):
        add(FastAPI(), guard=Guard(Badge()), **options)


def test_install_passes_strict_and_ignore_on() -> None:
    """A test client learns, as a server does, that the app does not start."""
    app = FastAPI(openapi_url=None)
    app.add_api_route("/a/b", page)
    install(app, Guard(Badge(), rules=[WIDE[0]], log=False), strict=True)
    accepted = FastAPI(openapi_url=None)
    accepted.add_api_route("/a/b", page)
    install(accepted, Guard(Badge(), rules=[WIDE[0]], log=False), strict=True, ignore=["open.wide"])

    with TestClient(accepted) as client:
        assert client.get("/a/b").text == "in"
    with pytest.raises(ConfigurationError, match=r"open\.wide /a/\*\*: PUBLIC reaches"), TestClient(app):
        pass


async def test_a_strict_app_with_an_unmet_ignore_entry_starts() -> None:
    """Only the audit from a shell or a test reports that the accepted finding is gone."""
    app = guarded(routes("/a"), CLOSED, strict=True, ignore=["open.wide /a/**"])

    assert (await lifespan(app))[0]["type"] == "lifespan.startup.complete"


# --- The thread of the audit ------------------------------------------------------------------------------------------


class SlowAudit:
    """An audit that goes on until it is released. It counts how often it was begun."""

    def __init__(self) -> None:
        self.begun, self.released, self.count = threading.Event(), threading.Event(), 0

    def __call__(self, app: object) -> tuple[Endpoint, ...]:
        self.count += 1
        self.begun.set()
        assert self.released.wait(30)
        return discover_endpoints(app)

    async def until_begun(self) -> None:
        """Return when the audit is under way."""
        # A thread of its own: those that anyio shares may all wait for the audit.
        assert await anyio.to_thread.run_sync(self.begun.wait, 30, limiter=anyio.CapacityLimiter(1))


@pytest.fixture(name="slow")
def _slow() -> Iterator[SlowAudit]:
    """Every audit is slow."""
    slow = SlowAudit()
    with patch("authguard.audit.audit.discover_endpoints", slow):
        yield slow
    slow.released.set()


BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])


async def ask(app: ASGIApp, statuses: list[int], path: str = "/a") -> None:
    """One request."""
    statuses.append((await run_app(app, http_scope(path))).status)


@BACKENDS
def test_the_event_loop_goes_on_during_the_audit(backend: str, slow: SlowAudit) -> None:
    """An app that is not strict answers the other requests meanwhile; the first request waits for the warning."""
    app, statuses = guarded(routes("/a"), CLOSED, Rule("/a", PUBLIC)), list[int]()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, app, statuses)
            await slow.until_begun()
            await ask(app, statuses)
            await ask(app, statuses, "/other")
            assert statuses == [200, 401]
            slow.released.set()

    anyio.run(main, backend=backend)

    assert (statuses, slow.count) == ([200, 401, 200], 1)


@BACKENDS
@pytest.mark.parametrize(("rule", "status"), [(Rule("/a", PUBLIC), 200), (WIDE[0], 503)])
def test_a_strict_app_answers_when_the_audit_is_done(backend: str, rule: Rule, status: int, slow: SlowAudit) -> None:
    """Requests that come before wait for the same audit, more of them than there are threads."""
    app, statuses = guarded(routes("/a", "/a/b"), CLOSED, rule, strict=True, ignore=["rule.hidden"]), list[int]()
    app = app if status == 503 else guarded(routes("/a"), CLOSED, rule, strict=True)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(60):
                tasks.start_soon(ask, app, statuses)
            await slow.until_begun()
            await anyio.wait_all_tasks_blocked()
            assert statuses == []
            slow.released.set()

    anyio.run(main, backend=backend)

    assert (statuses, slow.count) == ([status] * 60, 1)


@BACKENDS
@pytest.mark.parametrize("strict", [True, False])
def test_a_cancelled_request_does_not_stop_the_audit(backend: str, strict: bool, slow: SlowAudit) -> None:
    """The request ends at once, and the next one gets the result of the same audit."""
    app, statuses = guarded(routes("/a/b"), CLOSED, WIDE[0], strict=strict), list[int]()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, app, statuses, "/a/b")
            await slow.until_begun()
            tasks.cancel_scope.cancel()
        slow.released.set()
        await ask(app, statuses, "/a/b")

    anyio.run(main, backend=backend)

    assert (statuses, slow.count) == ([503 if strict else 200], 1)


def test_loops_in_several_threads_share_one_audit(slow: SlowAudit) -> None:
    """A test client makes a loop for each request."""
    app, statuses = guarded(routes("/a/b"), CLOSED, WIDE[0], strict=True), list[int]()
    threads = [
        threading.Thread(target=partial(anyio.run, partial(ask, app, statuses, "/a/b"), backend=backend), daemon=True)
        for backend in ("asyncio", "trio") * 3
    ]

    for thread in threads:
        thread.start()
    assert slow.begun.wait(30)
    slow.released.set()
    for thread in threads:
        thread.join(30)

    assert (statuses, slow.count) == ([503] * 6, 1)


@pytest.mark.parametrize("strict", [True, False])
def test_without_a_thread_the_audit_is_made_all_the_same(strict: bool) -> None:
    """The system may have none left. And something else than asyncio or trio may run the app."""
    broken = patch("anyio.to_thread.run_sync", side_effect=RuntimeError("can't start new thread"))
    app, statuses = guarded(routes("/a/b"), CLOSED, WIDE[0], strict=strict), list[int]()
    by_hand = guarded(routes("/a/b"), CLOSED, WIDE[0], strict=strict)

    with broken:
        anyio.run(ask, app, statuses, "/a/b")
    run_without_waiting(ask(by_hand, statuses, "/a/b"))

    assert statuses == [503 if strict else 200] * 2


@needs_fork
def test_a_forked_child_makes_the_audit_itself(slow: SlowAudit) -> None:
    """The thread of its parent does not exist there, so the lock that it holds is renewed."""
    app, statuses = guarded(routes("/a"), CLOSED, Rule("/a", PUBLIC), strict=True), list[int]()
    thread = threading.Thread(target=partial(anyio.run, partial(ask, app, statuses)), daemon=True)
    thread.start()
    assert slow.begun.wait(30)

    def child() -> list[int]:
        slow.released.set()
        anyio.run(ask, app, statuses)
        return statuses

    assert run_in_child(child) == "[200]"
    slow.released.set()
    thread.join(30)
    assert statuses == [200]


@BACKENDS
def test_the_event_loop_goes_on_while_the_lifespan_starts(backend: str, slow: SlowAudit) -> None:
    """What the app has started may run already."""
    app, types = guarded(routes("/a/b"), CLOSED, WIDE[0], strict=True), list[str]()

    async def start() -> None:
        types.extend(message["type"] for message in await lifespan(app))

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(start)
            await slow.until_begun()
            assert types == []
            slow.released.set()

    anyio.run(main, backend=backend)

    assert types == ["lifespan.startup.failed"]


# --- What is in front of the guard ------------------------------------------------------------------------------------


class Answering:
    """A middleware that may answer by itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class OwnApp(Starlette):
    """An app that may answer by itself."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().__call__(scope, receive, send)


class Anything(BaseRoute):
    """A route that may match anything."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return Match.NONE, {}


def strict_app(*ignore: str, kind: type[Starlette] = Starlette, outside: Any = None) -> Starlette:
    """A strict app, with a middleware outside of the guard."""
    front = Guard(Badge(), rules=[CLOSED], log=False)
    ours = Middleware(AuthGuardMiddleware, guard=front, strict=True, ignore=ignore)
    return kind(routes=[Route("/a", page)], middleware=[*([Middleware(outside)] if outside else []), ours])


async def keys_of(app: ASGIApp) -> list[str]:
    """The findings with which an app refuses to start; without a lifespan it refuses its requests."""
    sent = await lifespan(app)
    if sent[0]["type"] == "lifespan.startup.complete":
        return []
    return [line.partition(": ")[0] for line in sent[0]["message"].split("\n  ")[1:-1]]


async def test_a_strict_app_sees_the_middleware_outside_of_the_guard() -> None:
    """A07: the app that holds the guard is in the scope. A middleware that is known or accepted is no finding."""
    assert await keys_of(strict_app(outside=Answering)) == ["middleware.outside Answering"]
    assert await keys_of(strict_app("middleware.outside Answering", outside=Answering)) == []
    assert await keys_of(strict_app()) == []
    assert (await run_app(strict_app(outside=Answering), http_scope("/a"))).status == 503


async def test_a_strict_app_sees_an_app_that_answers_in_front_of_the_guard() -> None:
    """Its own ``__call__`` cannot be inspected."""
    assert await keys_of(strict_app(kind=OwnApp)) == ["opaque * /**"]
    assert await keys_of(strict_app("opaque", kind=OwnApp)) == []


@pytest.mark.parametrize(
    ("first", "found"),
    [
        (Anything(), ["opaque * /**"]),
        (Mount("/in/deep", Anything()), ["opaque * /in/deep/**"]),
        (Mount("/out", Anything()), []),
        (Route("/in/b", page), []),
        (Mount("/out", Starlette(routes=[Route("/x", page)], middleware=[Middleware(Answering)])), []),
    ],
    ids=["route", "below", "beside", "known", "other"],
)
async def test_a_strict_guard_on_a_mount_sees_what_answers_in_front_of_it(first: BaseRoute, found: list[str]) -> None:
    """It has no lifespan, so its first request is refused. Routes that are not behind it are not its business."""
    front = Guard(Badge(), rules=[CLOSED], log=False)
    inner = AuthGuardMiddleware(Starlette(routes=[Route("/a", page)]), guard=front, strict=True)
    app = Starlette(routes=[first, Mount("/in", inner), Route("/bare", page)])

    with patch("authguard.audit.startup.log.error") as error:
        status = (await run_app(app, http_scope("/in/a"))).status

    assert status == (503 if found else 401)
    logged = [str(call.args[1]).split("\n  ")[1:-1] for call in error.call_args_list]
    assert [line.partition(": ")[0] for lines in logged for line in lines] == found


async def test_a_strict_guard_around_an_app_does_not_see_what_is_around_it() -> None:
    """Nothing in the scope tells. ``assert_closed`` and ``routes`` see it, if they get the outermost object."""
    front = Guard(Badge(), rules=[CLOSED], log=False)
    app = Answering(AuthGuardMiddleware(routes("/a"), guard=front, strict=True))

    assert await keys_of(app) == []


async def test_a_strict_app_sees_a_way_in_for_preflights() -> None:
    """``preflight="pass"`` opens each route that answers OPTIONS."""
    app = Starlette(routes=[Route("/a", page, methods=["OPTIONS"])])

    assert await keys_of(guarded(app, CLOSED, strict=True, preflight="pass")) == ["open.preflight OPTIONS /a"]
    assert await keys_of(guarded(app, CLOSED, strict=True)) == []
