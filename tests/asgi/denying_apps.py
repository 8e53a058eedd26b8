"""Every place in an app that can raise ``AccessDenied``: apps that deny each request to ``/``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import anyio
import anyio.to_thread
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from authguard import AccessDenied
from tests.support.asgi import LEAK, function_app, send_response
from tests.support.guards import denial

DENYING_APPS: dict[str, Callable[[], ASGIApp]] = {}


def denying_app(make: Callable[[], ASGIApp]) -> Callable[[], ASGIApp]:
    """Register an app that denies every request to ``/``, under the name of its function."""
    DENYING_APPS[make.__name__.strip("_").replace("_", " ")] = make
    return make


async def _deny(request: Request) -> Response:
    raise denial()


def _deny_in_a_thread(request: Request) -> Response:
    raise denial()


def _answer(request: Request, error: Exception) -> Response:
    return PlainTextResponse(LEAK, 418)


async def _pass(request: Request) -> Response:
    return PlainTextResponse(LEAK)


@denying_app
def a_bare_app() -> ASGIApp:
    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        raise denial()

    return function_app(act)


@denying_app
def a_starlette_endpoint() -> ASGIApp:
    return Starlette(routes=[Route("/", _deny)])


@denying_app
def a_starlette_endpoint_in_a_thread() -> ASGIApp:
    return Starlette(routes=[Route("/", _deny_in_a_thread)])


@denying_app
def a_method_of_an_endpoint_class() -> ASGIApp:
    class Orders(HTTPEndpoint):
        async def get(self, request: Request) -> Response:
            raise denial()

    return Starlette(routes=[Route("/", Orders)])


@denying_app
def a_mounted_starlette() -> ASGIApp:
    return Starlette(routes=[Mount("/", Starlette(debug=True, routes=[Route("/", _deny)]))])


@denying_app
def a_handler_of_all_exceptions() -> ASGIApp:
    return Starlette(routes=[Route("/", _deny)], exception_handlers={Exception: _answer, HTTPException: _answer})


@denying_app
def a_handler_of_its_status() -> ASGIApp:
    return Starlette(routes=[Route("/", _deny)], exception_handlers={403: _answer})


@denying_app
def a_handler_that_fails() -> ASGIApp:
    def fail(request: Request, error: Exception) -> Response:
        raise LookupError("LEAK")

    return Starlette(routes=[Route("/", _deny)], exception_handlers={AccessDenied: fail})


@denying_app
def a_handler_of_other_exceptions() -> ASGIApp:
    async def fail(request: Request) -> Response:
        try:
            raise denial()
        except HTTPException as error:
            raise LookupError("LEAK") from error

    return Starlette(routes=[Route("/", fail)], exception_handlers={Exception: _answer})


class DenyingMiddleware(BaseHTTPMiddleware):
    """A middleware of the app that denies before the endpoint, after it, or never."""

    def __init__(self, app: ASGIApp, when: str) -> None:
        super().__init__(app)
        self.when = when

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        if self.when == "before":
            raise denial()
        try:
            response = await call_next(request)
        except HTTPException:
            return PlainTextResponse(LEAK)
        if self.when == "after":
            raise denial()
        return response


@denying_app
def behind_a_base_http_middleware() -> ASGIApp:
    return Starlette(routes=[Route("/", _deny)], middleware=[Middleware(DenyingMiddleware, when="")])


@denying_app
def in_a_base_http_middleware_before_the_endpoint() -> ASGIApp:
    return Starlette(routes=[Route("/", _pass)], middleware=[Middleware(DenyingMiddleware, when="before")])


@denying_app
def in_a_base_http_middleware_after_the_endpoint() -> ASGIApp:
    return Starlette(routes=[Route("/", _pass)], middleware=[Middleware(DenyingMiddleware, when="after")])


@denying_app
def behind_two_base_http_middlewares_with_one_that_catches() -> ASGIApp:
    async def swallow(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await inner(scope, receive, send)
        except HTTPException:
            await send_response(send)

    inner = Starlette(routes=[Route("/", _deny)], middleware=[Middleware(DenyingMiddleware, when="")] * 2)
    return swallow


@denying_app
def behind_what_holds_the_start_back() -> ASGIApp:
    async def answer_then_deny(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise denial()

    return GZipMiddleware(answer_then_deny)


@denying_app
def a_task_group() -> ASGIApp:
    async def deny() -> None:
        raise denial()

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(deny)
            tasks.start_soon(anyio.sleep_forever)

    return function_app(act)


@denying_app
def a_thread() -> ASGIApp:
    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.to_thread.run_sync(denial)
        await send_response(send)

    return function_app(act)


@denying_app
def a_stream_before_its_start() -> ASGIApp:
    async def act(request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield LEAK

        denial()
        return StreamingResponse(pieces())

    return Starlette(routes=[Route("/", act)])


@denying_app
def what_catches_and_answers() -> ASGIApp:
    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            raise denial()
        except HTTPException:
            await send_response(send)

    return function_app(act)


@denying_app
def what_answers_nothing() -> ASGIApp:
    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        denial()

    return function_app(act)


@denying_app
def what_was_made_once_for_all_requests() -> ASGIApp:
    denied = denial()

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        raise denied

    return function_app(act)


@denying_app
def a_fastapi_endpoint() -> ASGIApp:
    app = FastAPI()

    @app.get("/")
    async def orders() -> None:
        raise denial()

    return app


@denying_app
def a_fastapi_endpoint_in_a_thread() -> ASGIApp:
    app = FastAPI()

    @app.get("/")
    def orders() -> None:
        raise denial()

    return app


@denying_app
def a_mounted_fastapi() -> ASGIApp:
    app = FastAPI()
    app.mount("/", a_fastapi_endpoint())
    return app


@denying_app
def a_dependency() -> ASGIApp:
    app = FastAPI()

    def owner() -> None:
        raise denial()

    @app.get("/", dependencies=[Depends(owner)])
    def orders() -> str:
        return "LEAK"

    return app


@denying_app
def a_dependency_that_swallows_it() -> ASGIApp:
    app = FastAPI()

    def owner() -> None:
        try:
            raise denial()
        except HTTPException:
            return

    @app.get("/", dependencies=[Depends(owner)])
    def orders() -> str:
        return "LEAK"

    return app


@denying_app
def a_yielding_dependency_that_swallows_it() -> ASGIApp:
    app = FastAPI()

    def session() -> Iterator[None]:
        try:
            yield
        except HTTPException:
            return

    @app.get("/", dependencies=[Depends(session)])
    def orders() -> str:
        raise denial()

    return app


@denying_app
def a_yielding_dependency_that_translates_it() -> ASGIApp:
    app = FastAPI()

    async def session() -> AsyncIterator[None]:
        try:
            yield
        except HTTPException as error:
            raise HTTPException(500, "LEAK") from error

    @app.get("/", dependencies=[Depends(session)])
    def orders() -> str:
        raise denial()

    return app
