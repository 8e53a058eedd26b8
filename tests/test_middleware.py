"""The middleware, over ASGI: what the app receives, and what the client gets."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from fastapi import APIRouter, FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette._utils import get_route_path
from starlette.applications import Starlette
from starlette.authentication import AuthenticationBackend, AuthenticationError, UnauthenticatedUser, has_required_scope
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Host, Mount, Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from authguard.asgi.locks import allows
from authguard.asgi.request_context import MiddlewareOptions, RequestContext
from authguard.asgi.router_paths import RouterPaths
from authguard.core.guard import Guard
from authguard.errors import ConfigurationError, RequestBodyError
from authguard.middleware import AuthGuardMiddleware
from authguard.model import Accepted, Clock, Outcome, Principal, Rejected
from authguard.policy.requirements import AUTHENTICATED, OPTIONAL, PUBLIC, all_roles, role, via
from authguard.policy.rules import Rule
from authguard.reasons import Reason
from authguard.records.record import Record
from authguard.request import AuthRequest
from authguard.schemes.scheme import Scheme, Service
from authguard.wire.authorization import Credentials
from tests.support.asgi import Exchange, RecordingApp, body_messages, header_list, http_scope, run_app, websocket_scope
from tests.support.clock import NOW
from tests.support.schemes.badge import BADGE_WRONG, Badge
from tests.support.schemes.webhook import Webhook, body_signature, signed_post

BARE = 'Badge realm="tests"'
ALICE = Principal("alice", roles={"admin"}, scopes={"read"}, scheme="badge")


def guarded(app: ASGIApp, *schemes: Scheme, **options: Any) -> AuthGuardMiddleware:
    """The app behind a guard that does not log."""
    return AuthGuardMiddleware(app, guard=Guard(*(schemes or (Badge(),)), **{"log": False, **options}))


# --- What the app finds ----------------------------------------------------------------------------------------------


async def test_the_principal_is_the_user() -> None:
    """``scope["user"]`` is the principal. ``scope["auth"]`` has its scopes, and its roles with a prefix."""
    endpoint = RecordingApp()

    await run_app(guarded(endpoint), http_scope(headers=header_list("Badge alice")))

    assert endpoint.scopes[0]["user"] == ALICE
    assert sorted(endpoint.scopes[0]["auth"].scopes) == ["authenticated", "read", "role:admin"]


@pytest.mark.parametrize("rules", [[Rule("/**", PUBLIC)], [Rule("/**", OPTIONAL)]])
async def test_an_anonymous_caller_is_starlettes_unauthenticated_user(rules: list[Rule]) -> None:
    """An anonymous caller is Starlette's ``UnauthenticatedUser``, without scopes."""
    endpoint = RecordingApp()

    await run_app(guarded(endpoint, rules=rules), http_scope())

    assert isinstance(endpoint.scopes[0]["user"], UnauthenticatedUser)
    assert endpoint.scopes[0]["auth"].scopes == []


@pytest.mark.parametrize("rules", [[Rule("/**", PUBLIC)], [Rule("/**", OPTIONAL)], []])
async def test_user_and_marker_in_the_scope_are_overwritten(rules: list[Rule]) -> None:
    """A user, scopes or a marker that another middleware put into the scope are replaced."""
    endpoint = RecordingApp()
    forged: dict[str, Any] = {
        "user": Principal("root"),
        "auth": SimpleNamespace(scopes=["role:root"]),
        "authguard": "proven",
    }
    field = None if rules else "Badge alice"

    await run_app(guarded(endpoint, rules=rules), http_scope(headers=header_list(field), **forged))

    scope = endpoint.scopes[0]
    assert (scope["user"].display_name, "role:root" in scope["auth"].scopes) == ("alice" if field else "", False)
    assert isinstance(scope["authguard"], RequestContext)


async def test_no_scope_of_a_token_passes_for_a_role() -> None:
    """Scopes that begin with ``role:``, and ``authenticated``, are not copied to ``scope["auth"]``."""
    endpoint = RecordingApp()
    scopes = {"role:admin", "authenticated", "role:", "roles", "Role:x"}
    table = {"alice": Accepted(Principal("alice", roles={"editor"}, scopes=scopes))}

    await run_app(guarded(endpoint, Badge(table=table)), http_scope(headers=header_list("Badge alice")))

    auth = endpoint.scopes[0]["auth"]
    assert sorted(auth.scopes) == ["Role:x", "authenticated", "role:editor", "roles"]
    assert not has_required_scope(SimpleNamespace(auth=auth), ["role:admin"])  # type: ignore[arg-type]


async def test_public_builds_nothing() -> None:
    """On a PUBLIC path the clock is not read, no scheme runs, and nothing is recorded or received."""
    reads: list[float] = []
    scheme = Badge(reads_body=True)
    records: list[Record] = []
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204})

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    def clock() -> float:
        reads.append(NOW)
        return NOW

    middleware = guarded(app, scheme, rules=[Rule("/**", PUBLIC)], clock=clock, hooks=[records.append])
    await middleware(http_scope(headers=header_list("Badge alice")), receive, send)

    assert (reads, scheme.presented, records) == ([], [], [])
    assert sent == [{"type": "http.response.start", "status": 204}]


async def test_the_clock_is_read_once_a_request() -> None:
    """The clock is read once for each request, however many timestamps are compared with it."""
    reads: list[float] = []

    def clock() -> float:
        reads.append(NOW)
        return NOW

    await run_app(guarded(RecordingApp(), clock=clock), http_scope(headers=header_list("Badge alice")))

    assert reads == [NOW]


async def test_an_unknown_kind_of_connection_is_refused() -> None:
    """A scope of an unknown type raises, and does not reach the app."""
    endpoint = RecordingApp()

    with pytest.raises(RuntimeError, match="'webtransport'"):
        await run_app(guarded(endpoint, rules=[Rule("/**", PUBLIC)]), http_scope(type="webtransport"))

    assert endpoint.scopes == []


# --- WebSockets ------------------------------------------------------------------------------------------------------

DENIAL: dict[str, Any] = {"extensions": {"websocket.http.response": {}}}


async def test_a_handshake_is_refused_with_a_status_where_the_server_can() -> None:
    """6455-1: a denied handshake is a 401 with its challenge, before anything was received."""
    endpoint = RecordingApp()

    answer = await run_app(guarded(endpoint), websocket_scope(**DENIAL))

    assert [message["type"] for message in answer.sent] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert (answer.status, answer.lines(b"www-authenticate"), answer.received) == (401, [BARE], 0)
    assert json.loads(answer.body)["code"] == "unauthenticated"
    assert endpoint.scopes == []


@pytest.mark.parametrize("extensions", [{}, {"extensions": None}, {"extensions": {"tls": {}}}])
async def test_a_handshake_is_closed_where_the_server_cannot(extensions: dict[str, Any]) -> None:
    """6455-1: without denial responses a handshake is closed with 1008, which servers turn into a 403."""
    endpoint = RecordingApp()

    answer = await run_app(guarded(endpoint), websocket_scope(**extensions))

    assert answer.sent == [{"type": "websocket.close", "code": 1008}]
    assert (answer.received, endpoint.scopes) == (0, [])


async def test_a_handshake_with_credentials_is_accepted() -> None:
    """The principal of an accepted handshake is the user of the WebSocket."""
    endpoint = RecordingApp()

    answer = await run_app(
        guarded(endpoint), websocket_scope(headers=header_list("Badge alice")), {"type": "websocket.connect"}
    )

    assert [message["type"] for message in answer.sent] == ["websocket.accept", "websocket.close"]
    assert endpoint.scopes[0]["user"] == ALICE


async def test_a_rule_with_methods_covers_handshakes_only_by_their_name() -> None:
    """A rule for GET does not open WebSockets, and a rule for WEBSOCKET does not open GET."""
    rules = [Rule("/get", PUBLIC, methods={"GET"}), Rule("/socket", PUBLIC, methods={"WEBSOCKET"})]
    app = guarded(RecordingApp(), rules=rules)
    scopes = [
        websocket_scope("/get", **DENIAL),
        http_scope("/socket"),
        http_scope("/socket", "WEBSOCKET"),
        http_scope("/get"),
    ]

    statuses = [(await run_app(app, scope)).status for scope in scopes]
    shaken = await run_app(app, websocket_scope("/socket"), {"type": "websocket.connect"})

    assert statuses == [401, 401, 401, 200]
    assert shaken.sent[0]["type"] == "websocket.accept"


async def _greet(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(socket.user.display_name)
    await socket.close()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_starlettes_client_sees_the_status(backend: Any) -> None:
    """Starlette's test client gets the 401 or 403 with its headers, or the accepted WebSocket."""
    app = Starlette(routes=[WebSocketRoute("/", _greet), WebSocketRoute("/boss", _greet)])
    app.add_middleware(AuthGuardMiddleware, guard=Guard(Badge(), rules=[Rule("/boss", role("boss"))], log=False))
    client = TestClient(app, backend=backend)
    denied = []

    for path, field in (("/", "Badge wrong"), ("/boss", "Badge alice")):
        with (
            pytest.raises(WebSocketDenialResponse) as caught,
            client.websocket_connect(path, headers={"authorization": field}),
        ):
            pass
        denied.append((caught.value.status_code, caught.value.headers["www-authenticate"]))

    with client.websocket_connect("/", headers={"authorization": "Badge alice"}) as socket:
        greeting = socket.receive_text()
    assert denied == [(401, f'{BARE}, error="invalid_token"'), (403, f'{BARE}, error="insufficient_scope"')]
    assert greeting == "alice"


# --- Lifespan --------------------------------------------------------------------------------------------------------


class RecordingService(Service):
    """A service that records its start and its end."""

    def __init__(self, name: str, told: list[str], *, tasks: bool = False) -> None:
        self.name, self.told, self.tasks = name, told, tasks
        self.clock: Clock | None = None

    @asynccontextmanager
    async def running(self, clock: Clock) -> AsyncIterator[None]:
        self.clock = clock
        self.told.append(f"{self.name} runs")
        try:
            if self.tasks:
                async with anyio.create_task_group() as group:
                    group.start_soon(anyio.sleep_forever)
                    yield
                    group.cancel_scope.cancel()
            else:
                yield
        finally:
            self.told.append(f"{self.name} closed")

    def health(self) -> Mapping[str, object]:
        return {}


STARTUP: list[Message] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]


def starting(told: list[str], error: Exception | None = None) -> Starlette:
    """An app that records its start and its end, or fails to start."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, str]]:
        if error is not None:
            raise error
        told.append("app starts")
        yield {"state": "shared"}
        told.append("app stops")

    return Starlette(lifespan=lifespan)


async def test_services_run_round_the_lifespan_of_the_app() -> None:
    """Services start before the app and end after it, in reverse order, with the clock of the guard."""
    events: list[str] = []
    services = [
        RecordingService("one", events),
        RecordingService("two", events),
        RecordingService("three", events, tasks=True),
    ]
    app = guarded(
        starting(events), Badge(services=services[:2]), Badge("other", services=services[2:]), monotonic=_mono
    )

    answer = await run_app(app, {"type": "lifespan", "state": {}}, *STARTUP)

    assert [message["type"] for message in answer.sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert events == [
        "one runs",
        "two runs",
        "three runs",
        "app starts",
        "app stops",
        "three closed",
        "two closed",
        "one closed",
    ]
    assert {service.clock for service in services} == {_mono}


def _mono() -> float:
    return 1.0


@pytest.mark.parametrize("services", [0, 1, 2])
@pytest.mark.parametrize("tasks", [False, True])
async def test_an_apps_own_start_up_error_comes_out_unchanged(services: int, tasks: bool) -> None:
    """The exception of an app that fails to start is raised unchanged, and the services are closed."""
    error, events = LookupError("no database"), list[str]()
    scheme = Badge(services=[RecordingService(str(number), events, tasks=tasks) for number in range(services)])
    app = guarded(starting(events, error), scheme)

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - it may be a group, and that is the question
        await run_app(app, {"type": "lifespan", "state": {}}, *STARTUP)

    assert caught.value is error
    assert events[services:] == [f"{number} closed" for number in reversed(range(services))]


class FailingService(RecordingService):
    """A service that fails to start."""

    @asynccontextmanager
    async def running(self, clock: Clock) -> AsyncIterator[None]:
        raise ConnectionError("s3cr3t")
        yield


async def test_a_service_that_cannot_start_does_not_keep_the_app_from_starting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If a service fails to start, the others are closed, the app starts, and one ERROR has the type and the place."""
    events: list[str] = []
    app = guarded(starting(events), Badge(services=[RecordingService("one", events), FailingService("two", events)]))

    answer = await run_app(app, {"type": "lifespan", "state": {}}, *STARTUP)

    assert [message["type"] for message in answer.sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert events == ["one runs", "one closed", "app starts", "app stops"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "builtins.ConnectionError" in caplog.text
    assert "s3cr3t" not in caplog.text


def test_starlettes_client_gets_the_start_up_error() -> None:
    """Starlette's test client gets the exception of an app that fails to start."""
    app = starting([], LookupError("no database"))
    app.add_middleware(AuthGuardMiddleware, guard=Guard(Badge(), log=False))

    with pytest.raises(LookupError, match="no database"), TestClient(app):
        pass


async def test_everything_works_without_a_lifespan() -> None:
    """Requests work without a lifespan, which a mounted app never gets."""
    events: list[str] = []

    answer = await run_app(
        guarded(RecordingApp(), Badge(services=[RecordingService("one", events)])),
        http_scope(headers=header_list("Badge alice")),
    )

    assert (answer.status, events) == (200, [])


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_nothing_in_a_guard_is_bound_to_an_event_loop(backend: Any) -> None:
    """Two test clients without ``with`` use a new event loop for each request, with one guard."""

    async def look(request: AuthRequest, principal: Principal) -> Principal:
        await anyio.lowlevel.checkpoint()
        return principal

    guard = Guard(Badge(services=[RecordingService("one", [])]), checks=[look], log=False)
    apps = [Starlette(routes=[Route("/", _who)]) for _ in range(2)]
    for app in apps:
        app.add_middleware(AuthGuardMiddleware, guard=guard)
    clients = [TestClient(app, backend=backend) for app in apps]

    answers = [
        client.get("/", headers={"authorization": field})
        for field in ("Badge alice", "Badge bob", "Badge wrong")
        for client in clients
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 401, 401]
    assert [answer.text for answer in answers[:4]] == ["alice", "alice", "bob", "bob"]


async def _who(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.user.display_name)


# --- root_path -------------------------------------------------------------------------------------------------------

roots = st.sampled_from(["", "/", "/v", "/v/", "/adm", "/v/w", "v", "//", "/v/.."])
below = st.lists(st.sampled_from(["", "/", "v", "/v", "w", "adm", "admin", "/admin", "in", ".."]), max_size=5)


@given(root=roots, prefix=roots, parts=below)
def test_the_path_is_what_the_router_matches(root: str, prefix: str, parts: Sequence[str]) -> None:
    """For every root_path and path, the guard matches the path that Starlette's router matches."""
    scope = http_scope(prefix + "".join(parts), root_path=root)

    assert RouterPaths(None).read(scope)[0] == get_route_path(scope)


@given(own=roots, root=roots, prefix=roots, parts=below)
def test_an_apps_own_root_path_is_the_one_that_counts(own: str, root: str, prefix: str, parts: Sequence[str]) -> None:
    """A root_path of the app counts, because the app puts it into the scope before its router runs."""
    path = prefix + "".join(parts)

    app = SimpleNamespace(root_path=own)
    read, _ = RouterPaths(app).read(http_scope(path, root_path=root))

    assert read == get_route_path(http_scope(path, root_path=own or root))


PATHS = [
    "/admin",
    "/v/admin",
    "/w/admin",
    "/w/v/admin",
    "/v/v/admin",
    "/adm/admin",
    "/vadmin",
    "/admin/",
    "/admin/admin",
]


@pytest.mark.parametrize("root_path", ["", "/", "/v", "/v/", "/w", "/adm", "/admin"])
@pytest.mark.parametrize("own", ["", "/v", "/w/v"])
@pytest.mark.parametrize("outside", [True, False])
async def test_no_root_path_evades_a_rule(outside: bool, own: str, root_path: str) -> None:
    """Whatever path the router takes for /admin, the guard requires the role. All other paths are public here.

    An app with a root_path of its own, which is wrapped from outside, is asked for that root_path.
    """
    reached: list[str] = []
    guard = Guard(Badge(), rules=[Rule("/admin/**", role("boss"))], default=OPTIONAL, log=False)

    async def endpoint(request: Request) -> PlainTextResponse:
        reached.append(request.scope["path"])
        return PlainTextResponse("")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bare, inner = (FastAPI(root_path=own, openapi_url=None) for _ in range(2))
    for app in (bare, inner):
        app.router.routes.append(Route("/admin", endpoint))
    asgi: ASGIApp = AuthGuardMiddleware(GZipMiddleware(inner), guard=guard) if outside else inner
    if not outside:
        inner.add_middleware(AuthGuardMiddleware, guard=guard)

    for path in PATHS:
        await run_app(bare, http_scope(path, root_path=root_path))
    unguarded = list(reached)
    statuses = {path: (await run_app(asgi, http_scope(path, root_path=root_path))).status for path in PATHS}

    assert (unguarded != [], reached) == (True, unguarded)
    assert {statuses[path] for path in unguarded} == {401}


class _Wrapped:
    """A middleware of another library between the guard and the app."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


async def test_a_guard_inside_a_mounted_app_sees_the_path_below_the_mount() -> None:
    """The rules of a mounted app's guard match paths below the mount, wherever that is."""
    inner = Starlette(routes=[Route("/x", _who), Route("/y", _who)])
    inner.add_middleware(AuthGuardMiddleware, guard=Guard(Badge(), rules=[Rule("/x", PUBLIC)], log=False))
    outer = Starlette(routes=[Mount("/sub", inner)])

    statuses = [(await run_app(outer, http_scope(path))).status for path in ("/sub/x", "/sub/y", "/x")]

    assert statuses == [200, 401, 404]


def _open(*routes: BaseRoute) -> Starlette:
    return Starlette(routes=[Route("/open", _who), *routes])


def _included() -> FastAPI:
    app, router = FastAPI(openapi_url=None), APIRouter()
    router.mount("/sub", _open())
    app.include_router(router)
    return app


APPS: dict[str, tuple[Callable[[], ASGIApp], bool]] = {
    "no mount": (_open, False),
    "no router to be seen": (RecordingApp, True),
    "a mount": (lambda: _open(Mount("/sub", _open())), True),
    "a mount in a mount": (lambda: _open(Mount("/sub", routes=[Mount("/sub", _open())])), True),
    "a mount in a middleware": (lambda: _Wrapped(_open(Mount("/sub", _open()))), True),
    "a mount behind a host": (lambda: _open(Host("api.example", _open(Mount("/sub", _open())))), True),
    "a mount in an included router": (_included, True),
}


# FastAPI up to 0.136 leaves a mount out when it copies the routes of a router.
NEWEST = pytest.param("a mount in an included router", marks=pytest.mark.newest)


@pytest.mark.parametrize("name", [*sorted(APPS.keys() - {NEWEST.values[0]}), NEWEST])
async def test_a_path_that_a_mount_would_parse_again_is_refused(name: str) -> None:
    """Starlette removes a mount's path only after root_path, so another path would be parsed twice, and is refused.

    Without a mount there is only one way to parse it.
    """
    make, refused = APPS[name]
    app = guarded(make(), rules=[Rule("/boss", role("boss"))], default=OPTIONAL)
    twice, once = [("/sub/open", "/v"), ("/sub/open", "/v")], [("/sub/open", ""), ("/v/sub/open", "/v"), ("/open", "")]

    answers = [await run_app(app, http_scope(path, root_path=root_path)) for path, root_path in twice + once]

    assert [answer.status == 400 for answer in answers[:2]] == [refused] * 2
    assert 400 not in [answer.status for answer in answers[2:]]


async def test_without_rules_no_reading_matters() -> None:
    """Without rules no path is refused as ambiguous."""
    app = guarded(_open(Mount("/sub", _open())), default=OPTIONAL)

    answer = await run_app(app, http_scope("/open", root_path="/v"))

    assert answer.status == 200


async def test_a_chain_of_apps_that_is_a_circle_is_walked_once() -> None:
    """An app whose ``.app`` is itself does not hang the start."""
    app = _Wrapped(RecordingApp())
    app.app = app

    assert isinstance(guarded(app), AuthGuardMiddleware)


# --- Preflight -------------------------------------------------------------------------------------------------------

PREFLIGHT = header_list(origin="https://app.example", access_control_request_method="PUT")
CORS: dict[str, Any] = {"allow_origins": ["https://app.example"], "allow_methods": ["PUT"]}


def cors_inside() -> tuple[Starlette, list[str]]:
    """An app with CORSMiddleware inside of the guard, and the calls of its endpoint."""
    reached: list[str] = []

    async def endpoint(request: Request) -> PlainTextResponse:
        reached.append(request.method)
        return PlainTextResponse("")

    app = Starlette(routes=[Route("/", endpoint, methods=["GET", "OPTIONS"])])
    app.add_middleware(CORSMiddleware, **CORS)
    app.add_middleware(AuthGuardMiddleware, guard=Guard(Badge(), log=False))
    return app, reached


async def test_a_preflight_passes_where_cors_sits_inside(caplog: pytest.LogCaptureFixture) -> None:
    """Fetch-1: CORSMiddleware answers it, no endpoint is reached, and one WARNING explains the cost of this order."""
    app, reached = cors_inside()

    answers = [await run_app(app, http_scope(method="OPTIONS", headers=PREFLIGHT)) for _ in range(3)]

    assert [answer.status for answer in answers] == [200] * 3
    assert answers[0].lines(b"access-control-allow-origin") == ["https://app.example"]
    assert reached == []
    assert [(record.name, record.levelno) for record in caplog.records] == [("authguard", logging.WARNING)]
    assert "outermost" in caplog.text


class _Between:
    """A middleware in front of CORSMiddleware that may respond by itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("between")(scope, receive, send)


class _OwnCors(CORSMiddleware):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class _Refusing(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> None:
        raise AuthenticationError


async def _dispatch(request: Request, call_next: Any) -> Response:
    return PlainTextResponse("dispatched")


@pytest.mark.parametrize(
    "inside",
    [
        _Between,
        lambda cors: GZipMiddleware(_Between(cors)),
        lambda cors: BaseHTTPMiddleware(cors, _dispatch),
        lambda cors: _OwnCors(cors.app),
        lambda cors: AuthenticationMiddleware(cors, backend=_Refusing()),
    ],
)
async def test_a_preflight_is_checked_where_another_middleware_could_answer_it(
    inside: Callable[[Any], ASGIApp],
) -> None:
    """Fetch-1: a middleware before CORSMiddleware, or a subclass of it, may handle OPTIONS differently."""
    app = guarded(inside(CORSMiddleware(RecordingApp(), allow_origins=["https://app.example"])))

    answer = await run_app(app, http_scope(method="OPTIONS", headers=PREFLIGHT))

    assert answer.status == 401


async def test_a_preflight_passes_starlettes_own_middleware() -> None:
    """Starlette's own middleware before CORSMiddleware passes the preflight on to it."""
    cors = CORSMiddleware(RecordingApp(), **CORS)

    answer = await run_app(guarded(GZipMiddleware(cors)), http_scope(method="OPTIONS", headers=PREFLIGHT))

    assert (answer.status, answer.lines(b"access-control-allow-origin")) == (200, ["https://app.example"])


NO_PREFLIGHT = [
    http_scope(method="OPTIONS"),
    http_scope(method="OPTIONS", headers=PREFLIGHT[:2]),
    http_scope(method="OPTIONS", headers=[PREFLIGHT[0], PREFLIGHT[2]]),
    http_scope(method="GET", headers=PREFLIGHT),
    http_scope(method="options", headers=PREFLIGHT),
]


@pytest.mark.parametrize("scope", NO_PREFLIGHT)
async def test_a_request_that_is_no_preflight_is_checked(scope: Scope) -> None:
    """Fetch-1: OPTIONS without both fields, and other methods with them, are not exempt."""
    app, reached = cors_inside()

    answer = await run_app(app, dict(scope))

    assert (answer.status, reached) == (401, [])


async def test_a_preflight_on_an_ambiguous_path_is_refused() -> None:
    """A preflight is exempt from authentication, but an ambiguous path is still refused."""
    app = AuthGuardMiddleware(
        RecordingApp(), guard=Guard(Badge(), rules=[Rule("/a", PUBLIC)], log=False), preflight="pass"
    )

    answer = await run_app(app, http_scope("/a/../b", "OPTIONS", PREFLIGHT))

    assert answer.status == 400


async def test_a_preflight_is_checked_without_cors_middleware() -> None:
    """Without CORSMiddleware a preflight would reach an endpoint."""
    endpoint = RecordingApp()

    answer = await run_app(guarded(endpoint), http_scope(method="OPTIONS", headers=PREFLIGHT))

    assert (answer.status, endpoint.scopes) == (401, [])


async def test_a_preflight_passes_where_the_app_says_so() -> None:
    """With the option, a preflight reaches the app as an anonymous request. A handshake with its fields is not a
    preflight."""
    endpoint = RecordingApp()
    app = AuthGuardMiddleware(endpoint, guard=Guard(Badge(), log=False), preflight="pass")
    headers = [*PREFLIGHT, *header_list("Badge alice")]

    answer = await run_app(app, http_scope(method="OPTIONS", headers=headers, user=ALICE))
    handshake = await run_app(app, websocket_scope(headers=PREFLIGHT, **DENIAL))

    assert (answer.status, endpoint.scopes[0]["user"].is_authenticated) == (200, False)
    assert handshake.status == 401


async def test_with_cors_outside_a_browser_can_read_denials(caplog: pytest.LogCaptureFixture) -> None:
    """Fetch-1: 401 and 403 get Access-Control-Allow-Origin, and a preflight never reaches the guard."""
    app = Starlette(routes=[Route("/", _who)])
    app.add_middleware(AuthGuardMiddleware, guard=Guard(Badge(), rules=[Rule("/", role("boss"))], log=False))
    app.add_middleware(CORSMiddleware, **CORS)
    origin = {"origin": "https://app.example"}

    answers = [
        await run_app(app, http_scope(headers=header_list(**origin))),
        await run_app(app, http_scope(headers=header_list("Badge alice", **origin))),
        await run_app(app, http_scope(method="OPTIONS", headers=PREFLIGHT)),
    ]

    assert [answer.status for answer in answers] == [401, 403, 200]
    assert [answer.lines(b"access-control-allow-origin") for answer in answers] == [["https://app.example"]] * 3
    assert caplog.records == []


# --- The body --------------------------------------------------------------------------------------------------------


class BodyReader:
    """An app that reads the body until it is complete or the client disconnects."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            self.messages.append(message)
            if not message.get("more_body"):
                break
        self.messages.append(await receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    @property
    def body(self) -> bytes:
        """The bytes that were read."""
        return b"".join(message.get("body", b"") for message in self.messages)


@pytest.mark.parametrize("parts", [[b""], [b"abcd"], [b"ab", b"", b"cd"], [b"", b"abcdefgh"], [b"abcdefgh", b""]])
async def test_a_body_that_a_scheme_read_reaches_the_app_again(parts: list[bytes]) -> None:
    """The app gets the whole body, up to the limit, in one message, and the server's own messages after it."""
    reader, body = BodyReader(), b"".join(parts)

    answer = await run_app(guarded(reader, Webhook()), signed_post(body), *body_messages(*parts))

    assert answer.status == 200
    assert reader.messages == [
        {"type": "http.request", "body": body, "more_body": False},
        {"type": "http.disconnect", "code": 1006},
    ]


async def test_a_message_may_leave_out_what_is_empty() -> None:
    """``body`` and ``more_body`` of an ASGI message are optional."""
    reader = BodyReader()

    answer = await run_app(guarded(reader, Webhook()), signed_post(b""), {"type": "http.request"})

    assert (answer.status, reader.body) == (200, b"")


async def test_a_body_over_the_limit_is_413() -> None:
    """The 413 has no challenge, the app is not called, and reading stops as soon as the limit is exceeded."""
    reader = BodyReader()
    messages = body_messages(*[b"abcd"] * 100)

    answer = await run_app(guarded(reader, Webhook()), signed_post(b"abcd" * 100), *messages)

    assert (answer.status, answer.lines(b"www-authenticate"), answer.received) == (413, [], 3)
    assert (json.loads(answer.body)["code"], reader.messages) == ("body_too_large", [])


async def test_an_incomplete_body_is_400() -> None:
    """If the client disconnects, nothing is verified, the response is a 400, and the app is not called."""
    reader, records = BodyReader(), list[Record]()

    answer = await run_app(
        guarded(reader, Webhook(), hooks=[records.append]), signed_post(b"ab"), *body_messages(b"ab", more=True)
    )

    assert (answer.status, reader.messages) == (400, [])
    assert [record.reason for record in records] == ["body.incomplete"]


async def test_a_body_with_another_signature_is_refused() -> None:
    """A body with a wrong signature is denied, and the app gets nothing of it."""
    reader = BodyReader()

    answer = await run_app(guarded(reader, Webhook()), signed_post(b"abcd"), *body_messages(b"abce"))

    assert (answer.status, answer.lines(b"www-authenticate"), reader.messages) == (401, ["Webhook"], [])


class UndeclaredReader(Badge):
    """A scheme that reads the body without declaring it, with the given limits."""

    def __init__(self, *limits: int, reads_body: bool) -> None:
        super().__init__(reads_body=reads_body)
        self.limits = limits
        self.bodies: list[bytes | None] = []

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        for limit in self.limits:
            try:
                self.bodies.append(await request.body(limit))
            except RequestBodyError:
                self.bodies.append(None)
        return await super().authenticate(request, credentials)


@pytest.mark.parametrize("others", [(), (Webhook(),)])
async def test_a_scheme_that_declared_nothing_gets_no_body(others: tuple[Scheme, ...]) -> None:
    """Reading the body without ``reads_body`` is a 503, even if another scheme declares it. The record names the
    attribute."""
    reader, records, scheme = BodyReader(), list[Record](), UndeclaredReader(8, reads_body=False)

    answer = await run_app(
        guarded(reader, scheme, *others, hooks=[records.append]),
        http_scope(headers=header_list("Badge alice")),
        *body_messages(b"s3cr3t"),
    )

    assert (answer.status, answer.received, reader.messages, scheme.bodies) == (503, 0, [], [])
    assert [(record.reason, record.facts["error"]) for record in records] == [
        ("backend.failed", "builtins.RuntimeError")
    ]


async def test_a_handshake_has_no_body() -> None:
    """A scheme that reads the body denies a WebSocket handshake, and nothing is received."""
    endpoint = RecordingApp()

    answer = await run_app(
        guarded(endpoint, Webhook()), websocket_scope(headers=header_list(x_signature=body_signature(b"")), **DENIAL)
    )

    assert (answer.status, answer.received, endpoint.scopes) == (400, 0, [])


async def test_a_body_that_no_scheme_reads_reaches_the_app_message_by_message() -> None:
    """The app receives the server's messages one by one."""
    reader = BodyReader()

    await run_app(
        guarded(reader, Badge(), Webhook()),
        http_scope(headers=header_list("Badge alice")),
        *body_messages(b"ab", b"cd"),
    )

    assert reader.messages[:2] == body_messages(b"ab", b"cd")


async def test_an_app_gets_the_whole_of_a_body_that_was_too_much_for_a_scheme() -> None:
    """A scheme may accept without the body. The part that it read is replayed, and the rest follows."""
    reader, scheme = BodyReader(), UndeclaredReader(4, reads_body=True)

    answer = await run_app(
        guarded(reader, scheme), http_scope(headers=header_list("Badge alice")), *body_messages(b"abc", b"def", b"ghi")
    )

    assert (answer.status, scheme.bodies, reader.body) == (200, [None], b"abcdefghi")


async def test_a_greater_limit_reads_on() -> None:
    """A second read with a greater limit continues, and never returns a part of the body."""
    reader, scheme = BodyReader(), UndeclaredReader(4, 100, reads_body=True)

    await run_app(
        guarded(reader, scheme), http_scope(headers=header_list("Badge alice")), *body_messages(b"abc", b"def", b"ghi")
    )

    assert scheme.bodies == [None, b"abcdefghi"]
    assert reader.body == b"abcdefghi"


# --- Headers of a scheme ---------------------------------------------------------------------------------------------

INFO = [(b"authentication-info", b"nextnonce=x"), (b"dpop-nonce", b"y")]
TALKING: Mapping[str, object] = {
    "alice": Accepted(Principal("alice"), INFO),
    "wrong": Rejected(BADGE_WRONG, response_headers=INFO),
}


async def _with_own_headers(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"x-own", b"1")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body"})
    assert headers == [(b"x-own", b"1")]


async def _without_headers(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})


HEADERED: list[tuple[ASGIApp, str, int, int]] = [
    (_with_own_headers, "Badge alice", 200, 1),
    (_without_headers, "Badge alice", 204, 0),
    (Starlette(), "Badge alice", 404, 2),
]


@pytest.mark.rfc("9110-12")
@pytest.mark.parametrize(("app", "field", "status", "own"), HEADERED)
async def test_the_headers_of_a_scheme_are_sent_with_every_response(
    app: ASGIApp, field: str, status: int, own: int
) -> None:
    """9110-12: the headers of a scheme follow the app's own headers, which stay unchanged, on a 404 too."""
    answer = await run_app(guarded(app, Badge(table=TALKING)), http_scope(headers=header_list(field)))

    assert (answer.status, answer.headers[own:]) == (status, INFO)


@pytest.mark.parametrize(("path", "field", "status"), [("/", "Badge wrong", 401), ("/boss", "Badge alice", 403)])
async def test_the_headers_of_a_scheme_are_sent_with_denials(path: str, field: str, status: int) -> None:
    """The headers of a scheme are sent with a rejection by the scheme itself, and with a denial by a rule."""
    app = guarded(RecordingApp(), Badge(table=TALKING), rules=[Rule("/boss", role("boss"))])

    answer = await run_app(app, http_scope(path, headers=header_list(field)))

    assert (answer.status, answer.headers[-2:]) == (status, INFO)


async def test_the_headers_of_a_scheme_are_sent_with_handshakes() -> None:
    """The headers of a scheme are sent with an accepted handshake, and with one that the app refuses with a status."""

    async def refuses(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.http.response.start", "status": 418, "headers": []})
        await send({"type": "websocket.http.response.body"})

    scope = websocket_scope(headers=header_list("Badge alice"), **DENIAL)

    accepted = await run_app(guarded(RecordingApp(), Badge(table=TALKING)), dict(scope), {"type": "websocket.connect"})
    refused = await run_app(guarded(refuses, Badge(table=TALKING)), dict(scope))

    assert (accepted.sent[0]["type"], accepted.headers) == ("websocket.accept", INFO)
    assert (refused.status, refused.headers) == (418, INFO)
    assert "headers" not in accepted.sent[1]


# --- Guards inside guards --------------------------------------------------------------------------------------------


class Nested:
    """An app behind two guards, which keeps what each of them was presented."""

    def __init__(self, *, outer: Mapping[str, Any] | None = None, inner: Mapping[str, Any] | None = None) -> None:
        self.endpoint, self.outer, self.inner = RecordingApp(), Badge(), Badge()
        within = guarded(self.endpoint, self.inner, Badge("other"), **(inner or {}))
        self.app = guarded(Starlette(routes=[Mount("/sub", within)]), self.outer, Badge("other"), **(outer or {}))

    async def ask(self, field: str | None = "Badge alice", path: str = "/sub/x", **more: Any) -> Exchange:
        """Send one request."""
        return await run_app(self.app, http_scope(path, headers=header_list(field), **more))

    @property
    def counts(self) -> tuple[int, int]:
        """How often the outer and the inner scheme ran."""
        return len(self.outer.presented), len(self.inner.presented)


async def test_an_inner_guard_takes_over_the_outer_principal() -> None:
    """The inner guard does not verify again, because a Digest nonce would count twice. The principal is equal."""
    nested = Nested()

    answer = await nested.ask()

    assert (answer.status, nested.counts, nested.endpoint.scopes[0]["user"]) == (200, (1, 0), ALICE)


@pytest.mark.parametrize("requirement", [role("boss"), via("other"), all_roles("admin", "boss")])
async def test_an_inner_guard_may_tighten(requirement: Any) -> None:
    """A request that the outer guard grants may be a 403 by the rules of the inner guard."""
    nested = Nested(inner={"rules": [Rule("/x", requirement)]})

    answer = await nested.ask()

    assert (answer.status, nested.counts, nested.endpoint.scopes) == (403, (1, 0), [])


@pytest.mark.parametrize("requirement", [PUBLIC, OPTIONAL])
async def test_an_inner_guard_opens_nothing(requirement: Any) -> None:
    """A request that the outer guard denies stays denied. A granted principal is known to the inner app."""
    nested = Nested(inner={"rules": [Rule("/**", requirement)]})

    closed, opened = await nested.ask(None), await nested.ask()

    assert (closed.status, opened.status, nested.counts) == (401, 200, (1, 0))
    assert [scope["user"] for scope in nested.endpoint.scopes] == [ALICE]


@pytest.mark.parametrize("inner", [{"rules": [Rule("/**", PUBLIC)]}, {}])
@pytest.mark.parametrize(("late", "status"), [(159.0, 200), (160.0, 401)])
async def test_an_inner_guard_uses_its_own_clock(inner: dict[str, Any], late: float, status: int) -> None:
    """A principal of the outer guard may have expired by the clock of the inner guard, behind a public rule too."""
    table = {"alice": Accepted(Principal("alice", expires_at=NOW + 100))}

    async def endpoint(request: Request) -> Response:
        return PlainTextResponse(str(await allows(request, AUTHENTICATED)))

    later = Guard(Badge(), clock=lambda: NOW + late, log=False, **inner)
    within = Starlette(routes=[Route("/x", endpoint)])
    app = Starlette(routes=[Mount("/sub", AuthGuardMiddleware(within, guard=later))])

    answer = await run_app(
        guarded(app, Badge(table=table), clock=lambda: NOW), http_scope("/sub/x", headers=header_list("Badge alice"))
    )

    assert answer.status == status


async def test_an_app_called_in_process_does_not_get_the_marker() -> None:
    """An app that is called in process does not get the marker of the calling app's guard."""
    left: list[object] = []
    called = guarded(RecordingApp(), rules=[Rule("/**", PUBLIC)])

    async def calling(scope: Scope, receive: Receive, send: Send) -> None:
        other = http_scope("/other", headers=header_list())
        await run_app(called, other)
        left.append(other.get("authguard"))
        await PlainTextResponse("done")(scope, receive, send)

    answer = await run_app(guarded(calling), http_scope(headers=header_list("Badge alice")))

    assert (answer.status, left) == (200, [None])


@pytest.mark.parametrize("requirement", [PUBLIC, OPTIONAL])
async def test_an_inner_guard_verifies_behind_a_public_outer_rule(requirement: Any) -> None:
    """Behind a public rule of the outer guard, the inner guard verifies the caller."""
    nested = Nested(outer={"rules": [Rule("/sub/**", requirement)]})

    denied, granted = await nested.ask(None), await nested.ask()

    assert (denied.status, granted.status) == (401, 200)
    assert nested.counts == ((0, 1) if requirement is PUBLIC else (1, 0))


async def _pass(request: AuthRequest, principal: Principal) -> Principal:
    return principal


@pytest.mark.parametrize("checks", [[], [_pass]])
async def test_an_inner_guard_uses_its_own_role_hierarchy(checks: list[Any]) -> None:
    """The role hierarchy of the inner guard applies to a principal of the outer guard, with and without checks."""
    rules, role_hierarchy = [Rule("/x", role("editor"))], {"admin": {"editor"}}
    nested = Nested(inner={"rules": rules, "role_hierarchy": role_hierarchy, "checks": checks})

    answer = await nested.ask()

    assert (answer.status, nested.counts) == (200, (1, 0))


DISABLED = Reason("account.disabled", 403)


async def _refuse(request: AuthRequest, principal: Principal) -> Rejected:
    return Rejected(DISABLED)


async def test_the_checks_of_an_inner_guard_run() -> None:
    """The checks of the inner guard run for a principal of the outer guard. Otherwise an outer guard would switch them
    off."""
    nested = Nested(inner={"checks": [_refuse]})

    answer = await nested.ask()

    assert (answer.status, nested.counts, nested.endpoint.scopes) == (403, (1, 0), [])


FORGED: list[Callable[[Scope], object]] = [
    lambda scope: SimpleNamespace(principal=ALICE, headers=scope["headers"]),
    lambda scope: {"principal": ALICE, "headers": scope["headers"]},
    lambda scope: ALICE,
    lambda scope: _of_another_request({**scope, "headers": list(scope["headers"])}),
    lambda scope: _of_another_request({**scope, "headers": None}),
]


def _of_another_request(scope: Scope) -> RequestContext:
    async def send(message: Message) -> None:
        raise AssertionError(message)

    context = RequestContext(MiddlewareOptions(Guard(Badge())), scope, "/", None, send)
    context.principal = ALICE
    return context


@pytest.mark.parametrize("forge", FORGED)
async def test_a_marker_that_no_guard_wrote_in_this_request_is_ignored(forge: Callable[[Scope], object]) -> None:
    """A forged marker, or one of another request, is ignored, and does not reach the app."""
    endpoint = RecordingApp()
    marked = [http_scope(headers=header_list()), http_scope("/open", headers=header_list())]
    for scope in marked:
        scope["authguard"] = forge(scope)
    app = guarded(endpoint, rules=[Rule("/open", PUBLIC)])

    closed, opened = [await run_app(app, scope) for scope in marked]

    assert (closed.status, opened.status) == (401, 200)
    assert endpoint.scopes[0]["user"].is_authenticated is False


# --- As without authguard --------------------------------------------------------------------------------------------

VAR: ContextVar[str] = ContextVar("VAR", default="unset")


async def _in_context(wrap: Callable[[ASGIApp], ASGIApp]) -> list[str]:
    """The value of a context variable inside, and then outside."""
    seen: list[str] = []

    async def endpoint(request: Request) -> PlainTextResponse:
        seen.append(VAR.get())
        VAR.set("endpoint")
        return PlainTextResponse("")

    app = wrap(Starlette(routes=[Route("/", endpoint)]))
    token = VAR.set("outer")
    await run_app(app, http_scope(headers=header_list("Badge alice")))
    seen.append(VAR.get())
    VAR.reset(token)
    return seen


async def test_context_variables_are_as_without_authguard() -> None:
    """Context variables of an outer middleware are seen by the endpoint, and those of the endpoint by the
    middleware."""
    without, guard = await _in_context(_Wrapped), await _in_context(guarded)

    assert guard == without == ["outer", "endpoint"]


async def test_an_exception_of_the_app_passes_through() -> None:
    """An exception of the app passes through the middleware."""
    error = LookupError("of the app")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    with pytest.raises(LookupError) as caught:
        await run_app(guarded(app), http_scope(headers=header_list("Badge alice")))

    assert caught.value is error


class DelayedEcho(Badge):
    """A scheme that accepts everybody by name, after a while."""

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        for _ in range(int(credentials.rest) % 7):
            await anyio.lowlevel.checkpoint()
        if int(credentials.rest) % 5 == 0:
            return Rejected(BADGE_WRONG, credentials.rest.decode())
        return Accepted(Principal(credentials.rest.decode()))


async def test_two_hundred_requests_at_once_are_not_mixed_up() -> None:
    """Each of two hundred parallel requests gets its own principal, response and record."""
    records: list[Record] = []
    answers: dict[int, Exchange] = {}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.lowlevel.checkpoint()
        await JSONResponse({"user": scope["user"].subject})(scope, receive, send)

    async def check(request: AuthRequest, principal: Principal) -> Principal:
        await anyio.lowlevel.checkpoint()
        return principal

    middleware = guarded(app, DelayedEcho(), checks=[check], hooks=[records.append])

    async def one(number: int) -> None:
        answers[number] = await run_app(middleware, http_scope(f"/{number}", headers=header_list(f"Badge {number}")))

    async with anyio.create_task_group() as group:
        for number in range(200):
            group.start_soon(one, number)

    expected = {number: 401 if number % 5 == 0 else 200 for number in range(200)}
    users = {number: json.loads(answer.body).get("user") for number, answer in answers.items()}
    assert {number: answer.status for number, answer in answers.items()} == expected
    assert users == {number: None if number % 5 == 0 else str(number) for number in range(200)}
    assert {(record.path, record.subject) for record in records} == {
        (f"/{number}", str(number)) for number in range(200)
    }


# --- What is refused while it is built -------------------------------------------------------------------------------


async def _async_render(request: AuthRequest, denied: object) -> tuple[str, bytes]:
    """It would never be awaited."""
    raise NotImplementedError


MISTAKES: list[tuple[str, dict[str, Any]]] = [
    ("guard", {"guard": None}),
    ("guard", {"guard": Badge()}),
    ("guard", {"guard": Guard}),
    ("preflight", {"preflight": "never"}),
    ("preflight", {"preflight": None}),
    ("preflight", {"preflight": True}),
    ("render", {"render": "text/plain"}),
    ("render", {"render": _async_render}),
    ("render", {"render": lambda denied: ("text/plain", b"")}),
]


@pytest.mark.parametrize(("argument", "named"), MISTAKES)
def test_invalid_arguments_of_the_middleware_raise(argument: str, named: dict[str, Any]) -> None:
    """Invalid arguments raise while the app is built, and the error names the argument."""
    with pytest.raises(ConfigurationError) as caught:
        AuthGuardMiddleware(RecordingApp(), **{"guard": Guard(Badge()), **named})

    assert caught.value.argument == argument


def test_a_service_runs_as_a_context_manager() -> None:
    """A service is one context manager and a health."""
    service: Service = RecordingService("one", [])

    assert isinstance(service.running(_mono), AbstractAsyncContextManager)
    assert service.health() == {}
