"""What stands in front of a guard: known middleware lets it decide, and everything else is a finding."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from hypercorn.middleware import ProxyFixMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.httpsredirect import HTTPSRedirectMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, Router
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from authguard import AUTHENTICATED, PUBLIC, AuthGuardMiddleware, Guard, Rule
from authguard.audit.audit import assert_closed, audit
from authguard.fastapi import install
from tests.support.opentelemetry_patch import instrument_app
from tests.support.schemes.badge import Badge

CLOSED = Rule("/**", AUTHENTICATED)


async def page(request: Request) -> PlainTextResponse:
    """An endpoint."""
    return PlainTextResponse("in")


class Answering:
    """A middleware that answers by itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await PlainTextResponse("for anybody")(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class AnsweringGZip(GZipMiddleware):
    """A subclass of a middleware that is known."""


class AnsweringToo(BaseHTTPMiddleware):
    """The same by way of Starlette's base class."""

    async def dispatch(self, request: Request, call_next: Any) -> Response:
        return PlainTextResponse("for anybody")


def answering_factory(app: ASGIApp) -> ASGIApp:
    """A function in place of a class."""
    return Answering(app)


def guarded() -> tuple[FastAPI, Guard]:
    """An app behind its guard."""
    app = FastAPI(openapi_url=None, routes=[Route("/a", page)])
    install(app, guard := Guard(Badge(), rules=[CLOSED], log=False))
    return app, guard


def findings(app: Any, guard: Guard) -> list[str]:
    """The keys of the findings, which are the same before and after the app has started."""
    before = [finding.key for finding in audit(app, guard).findings]
    with TestClient(app) as client:
        client.get("/a")
    assert [finding.key for finding in audit(app, guard).findings] == before
    return before


@pytest.mark.parametrize(
    ("middleware", "name"),
    [
        (Middleware(Answering), "Answering"),
        (Middleware(AnsweringToo), "AnsweringToo"),
        (Middleware(AnsweringGZip), "AnsweringGZip"),
        (Middleware(answering_factory), "answering_factory"),
        (Middleware(functools.partial(Answering)), "Answering"),
    ],
    ids=["class", "base", "subclass", "factory", "partial"],
)
def test_middleware_outside_the_guard_may_answer(middleware: Middleware, name: str) -> None:
    """A07: it is added after the guard, so it is asked first."""
    app, guard = guarded()
    app.user_middleware.insert(0, middleware)

    assert findings(app, guard) == [f"middleware.outside {name}"]
    (finding,) = audit(app, guard).findings
    assert finding.location.startswith(f"{__file__}:")
    assert finding.problem == "it is outside the guard, and what it answers by itself goes to anybody"
    if name != "AnsweringGZip":
        assert TestClient(app).get("/a").text == "for anybody"


@pytest.mark.parametrize("positional", [True, False])
def test_a_middleware_function_outside_the_guard_may_answer(positional: bool) -> None:
    """A07: ``@app.middleware("http")`` below ``install``. The finding has its name, file and line."""
    app, guard = guarded()

    async def answer(request: Request, call_next: Any) -> Response:
        return PlainTextResponse("for anybody")

    if positional:
        app.add_middleware(BaseHTTPMiddleware, answer)
    else:
        app.middleware("http")(answer)

    (key,) = findings(app, guard)
    assert key.startswith("middleware.outside test_a_middleware_function")
    assert key.endswith(".answer")
    with pytest.raises(AssertionError, match=r"\.answer: it is outside the guard"):
        assert_closed(app, guard)
    assert_closed(app, guard, ignore=[key])
    assert TestClient(app).get("/a").text == "for anybody"


def test_a_middleware_function_inside_the_guard_has_the_same_name_once_it_runs() -> None:
    """Starlette has wrapped it in ``BaseHTTPMiddleware`` then."""
    app = FastAPI(openapi_url=None, routes=[Route("/a", page)])

    @app.middleware("http")
    async def timed(request: Request, call_next: Any) -> Response:
        return PlainTextResponse("")

    guard = Guard(Badge(), rules=[CLOSED], log=False)
    install(app, guard, strict=True, ignore=[f"middleware.inside {timed.__qualname__}"])

    assert findings(app, guard) == [f"middleware.inside {timed.__qualname__}"]


def test_each_middleware_outside_is_one_finding() -> None:
    """However many routes are behind it."""
    app, guard = guarded()
    app.add_api_route("/b", page)
    app.add_middleware(Answering)
    app.add_middleware(AnsweringToo)

    assert findings(app, guard) == ["middleware.outside AnsweringToo", "middleware.outside Answering"]


KNOWN: list[tuple[Any, dict[str, Any]]] = [
    (CORSMiddleware, {"allow_origins": ["*"]}),
    (GZipMiddleware, {}),
    (SessionMiddleware, {"secret_key": "s"}),
    (TrustedHostMiddleware, {"allowed_hosts": ["*"]}),
    (HTTPSRedirectMiddleware, {}),
    (ProxyHeadersMiddleware, {}),
    (ProxyFixMiddleware, {}),
]


@pytest.mark.parametrize(("known", "options"), KNOWN)
def test_known_middleware_may_be_outside(known: Any, options: dict[str, Any]) -> None:
    """In the list of the app or around the app, together with others of its kind."""
    app, guard = guarded()
    app.add_middleware(known, **options)
    app.add_middleware(GZipMiddleware)
    around, its_guard = guarded()

    assert audit(app, guard).findings == ()
    assert findings(GZipMiddleware(known(around, **options)), its_guard) == []
    assert_closed(app, guard)


@pytest.mark.parametrize(
    "path",
    [
        "asgi_correlation_id.middleware.CorrelationIdMiddleware",
        "ddtrace.contrib.internal.asgi.middleware.TraceMiddleware",
        "elasticapm.contrib.starlette.ElasticAPM",
        "opentelemetry.instrumentation.asgi.OpenTelemetryMiddleware",
        "prometheus_fastapi_instrumentator.middleware.PrometheusInstrumentatorMiddleware",
        "sentry_sdk.integrations.asgi.SentryAsgiMiddleware",
        "starlette.middleware.opentelemetry.OpenTelemetryMiddleware",
        "starlette_exporter.middleware.PrometheusMiddleware",
    ],
)
def test_tracing_and_metrics_may_be_outside(path: str) -> None:
    """They are known by the module and the name of the class; another class of that name is not."""
    module, _, name = path.rpartition(".")
    known: Any
    other: Any
    known, other = (
        type(name, (Answering,), {"__module__": where, "__qualname__": name}) for where in (module, "shop.middleware")
    )

    for implementation, found in ((known, []), (other, [f"middleware.outside {name}"])):
        app, guard = guarded()
        app.add_middleware(implementation)
        assert findings(app, guard) == found


@pytest.mark.parametrize("known", [ProxyHeadersMiddleware, ProxyFixMiddleware, CORSMiddleware])
def test_what_belongs_outside_is_a_finding_inside(known: Any) -> None:
    """The guard would see the proxy and not the client."""
    app = FastAPI(openapi_url=None, routes=[Route("/a", page)])
    app.add_middleware(known)
    install(app, guard := Guard(Badge(), rules=[CLOSED], log=False))

    assert findings(app, guard) == [f"middleware.inside {known.__name__}"]
    assert audit(app, guard).findings[0].fix == "Put it outermost: add it after the guard"


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("strict", [True, False])
def test_the_guard_is_found_behind_opentelemetry(order: str, strict: bool) -> None:
    """R003: ``instrument_app`` replaces the method that builds the middleware of this one app."""
    app, guard = FastAPI(openapi_url=None, routes=[Route("/a", page)]), Guard(Badge(), rules=[CLOSED], log=False)
    if order == "before":
        instrument_app(app)
    install(app, guard, strict=strict)
    if order == "after":
        instrument_app(app)

    assert findings(app, guard) == []
    assert_closed(app, guard)
    assert TestClient(app).get("/a").status_code == 401


def test_a_middleware_between_opentelemetry_and_the_guard_is_found() -> None:
    """The patch is known; what the app adds is not."""
    app, guard = guarded()
    app.add_middleware(Answering)
    instrument_app(app)

    assert findings(app, guard) == ["middleware.outside Answering"]


def patch_with_wraps(app: Starlette) -> None:
    """Another patch of the same method, which ``functools.wraps`` makes look like the framework's."""
    original = app.build_middleware_stack

    @functools.wraps(original)
    def build_middleware_stack() -> ASGIApp:
        original()
        return app.router

    app.build_middleware_stack = build_middleware_stack  # type: ignore[method-assign]


def patch_twice(app: Starlette) -> None:
    """OpenTelemetry's patch around another one."""
    patch_with_wraps(app)
    instrument_app(app)


@pytest.mark.parametrize(
    "patch",
    [patch_with_wraps, patch_twice, functools.partial(instrument_app, module="shop.telemetry")],
    ids=["wraps", "twice", "elsewhere"],
)
def test_any_other_patch_makes_the_app_opaque(patch: Callable[[Starlette], None]) -> None:
    """It may leave the guard out."""
    app, guard = guarded()
    patch(app)

    assert [finding.key for finding in audit(app, guard).findings][:2] == ["route.unnamed * /**", "opaque * /**"]


def test_the_middleware_that_runs_counts_once_the_app_has_started() -> None:
    """Not the list from which it was to be built, nor an unknown method that has built it."""
    app, guard = guarded()
    patch_with_wraps(app)
    TestClient(app).get("/a")

    assert TestClient(app).get("/a").text == "in"
    assert next(finding.code for finding in audit(app, guard).findings) == "guard.absent"

    listed_late = FastAPI(openapi_url=None, routes=[Route("/a", page)])
    TestClient(listed_late).get("/a")
    listed_late.user_middleware.insert(0, Middleware(AuthGuardMiddleware, guard=guard))
    assert next(finding.code for finding in audit(listed_late, guard).findings) == "guard.absent"
    listed_late.middleware_stack = listed_late.build_middleware_stack()
    assert audit(listed_late, guard).findings == ()


class Hiding:
    """A middleware that holds the next one under another name than ``.app``."""

    def __init__(self, inner: ASGIApp) -> None:
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.inner(scope, receive, send)


def test_a_middleware_that_replaced_the_running_ones_is_found() -> None:
    """It is not in the app's list. If it shows the next one it is named, else the app is opaque."""
    shown, guard = guarded()
    hidden, its_guard = guarded()
    for app, wrap in ((shown, Answering), (hidden, Hiding)):
        TestClient(app).get("/a")
        assert app.middleware_stack is not None
        app.middleware_stack = wrap(app.middleware_stack)

    assert [finding.key for finding in audit(shown, guard).findings] == ["middleware.outside Answering"]
    assert [finding.key for finding in audit(hidden, its_guard).findings] == ["route.unnamed * /**", "opaque * /**"]


def test_a_middleware_that_hides_the_guard_does_not_hide_it_from_the_audit() -> None:
    """The app lists both, so the audit says the same before and after the app has started."""
    app, guard = guarded()
    app.add_middleware(Hiding)

    assert findings(app, guard) == ["middleware.outside Hiding"]


def test_what_the_framework_adds_by_itself_is_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later release may add a middleware of its own that nobody here has heard of."""
    new: Any = type("NewMiddleware", (Answering,), {"__module__": "fastapi.new"})
    original = FastAPI.build_middleware_stack

    def build_middleware_stack(self: FastAPI) -> ASGIApp:
        stack: ASGIApp = new(original(self))
        return stack

    monkeypatch.setattr(build_middleware_stack, "__module__", "fastapi.applications")
    monkeypatch.setattr(FastAPI, "build_middleware_stack", build_middleware_stack)
    app, guard = guarded()
    listed, its_guard = guarded()
    listed.add_middleware(new)

    assert findings(app, guard) == []
    assert findings(listed, its_guard) == ["middleware.outside NewMiddleware"]


def test_middleware_of_routers_and_mounts_in_front_of_a_guard_is_found() -> None:
    """So is that of an app around them; what is in front of other routes only is not."""
    guard = Guard(Badge(), rules=[CLOSED], log=False)
    inner = AuthGuardMiddleware(Starlette(routes=[Route("/a", page)]), guard=guard)
    mounts = [Mount("/in", inner, middleware=[Middleware(Answering)]), Mount("/out", Answering(Router()))]
    app = Starlette(
        routes=[Mount("/x", Router(mounts, middleware=[Middleware(AnsweringGZip)]))], middleware=[Middleware(Hiding)]
    )

    outside = [finding.about for finding in audit(app, guard).findings if finding.code == "middleware.outside"]

    assert outside == ["Hiding", "AnsweringGZip", "Answering"]


def test_a_middleware_between_two_guards_is_inside() -> None:
    """The outer guard has decided before."""
    outer = Guard(Badge(), rules=[Rule("/**", PUBLIC)], log=False)
    inner = Guard(Badge(), rules=[CLOSED], log=False)
    app = AuthGuardMiddleware(
        Answering(AuthGuardMiddleware(Starlette(routes=[Route("/a", page)]), guard=inner)), guard=outer
    )

    assert [finding.key for finding in audit(app, outer).findings if finding.code.startswith("middleware")] == [
        "middleware.inside Answering"
    ]


class Flask:
    """An app that speaks WSGI. It may have attributes of these names, as an adapter has."""

    routes: tuple[object, ...] = ()


@pytest.mark.parametrize(
    "path",
    [
        "a2wsgi.wsgi.WSGIMiddleware",
        "starlette.middleware.wsgi.WSGIMiddleware",
        "uvicorn.middleware.wsgi._WSGIMiddleware",
    ],
)
def test_an_app_that_speaks_wsgi_cannot_be_inspected(path: str) -> None:
    """The adapter is called a middleware and is none: it is a part of the app, on a mount or on a route."""
    module, _, name = path.rpartition(".")
    adapter_class: Any = type(name, (Answering,), {"__module__": module, "__qualname__": name})
    adapter = adapter_class(Flask())
    app = FastAPI(openapi_url=None, routes=[Mount("/old", adapter), Route("/older", adapter)])
    install(app, guard := Guard(Badge(), rules=[CLOSED], log=False))

    result = audit(app, guard)

    assert [(row.about, row.endpoint.kind, row.endpoint.name) for row in result.rows] == [
        ("* /old/**", "opaque", "Flask"),
        ("* /older", "http", name),
    ]
    assert result.findings == ()
