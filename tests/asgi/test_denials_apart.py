"""A denial belongs to one request: no other request sees it, and nothing of it is left afterwards."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authguard import OPTIONAL, AccessDenied, AuthGuardMiddleware, Guard, Rule, role
from authguard.asgi.request_context import _MAX_FRAMES, CURRENT, RequestContext
from tests.support.asgi import RecordingApp, function_app, header_list, http_scope, run_app, send_response
from tests.support.guards import NO_SESSION, PUBLIC_RULES, RecordingGuard, denial
from tests.support.schemes.badge import Badge


async def _none() -> Message:
    raise AssertionError


async def test_a_denial_is_that_requests_alone() -> None:
    """Requests that follow each other in one task, or run at the same time, do not see each other's denials."""
    guard = RecordingGuard()

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.lowlevel.checkpoint()
        if scope["path"] == "/deny":
            denial()
            await anyio.lowlevel.checkpoint()
        await send_response(send)

    app = function_app(act)
    inside = [(await guard.request(app, path)).status for path in ("/deny", "/", "/deny", "/")]
    statuses: dict[int, int] = {}

    async def one(number: int) -> None:
        statuses[number] = (await guard.request(app, "/deny" if number % 2 else "/")).status

    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(one, number)

    assert inside == [403, 200, 403, 200]
    assert statuses == {number: 403 if number % 2 else 200 for number in range(50)}
    assert CURRENT.get() is None


async def test_a_task_that_outlives_its_request_denies_nothing() -> None:
    """An ``AccessDenied`` made after the response is an ordinary exception, and is not recorded."""
    guard, instances = RecordingGuard(), list[AccessDenied]()
    done, finished = anyio.Event(), anyio.Event()

    async def later() -> None:
        await done.wait()
        instances.extend([denial(), AccessDenied(NO_SESSION)])
        finished.set()

    async with anyio.create_task_group() as tasks:

        async def act(scope: Scope, receive: Receive, send: Send) -> None:
            tasks.start_soon(later)
            await send_response(send, b"fine")

        answer = await guard.request(function_app(act))
        done.set()
        await finished.wait()

        assert (answer.status, answer.body, guard.outcomes) == (200, b"fine", ["granted"])
        assert [one.status_code for one in instances] == [403, 401]


async def test_a_task_of_the_request_that_outlives_it_has_its_context() -> None:
    """A task that outlives its request still has the request's context, which is closed."""
    guard, seen = RecordingGuard(), list[RequestContext | None]()
    context: list[contextvars.Context] = []

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        context.append(contextvars.copy_context())
        await send_response(send, b"fine")

    await guard.request(function_app(act))
    denied = context[0].run(denial)
    seen.append(context[0].run(CURRENT.get))

    assert isinstance(seen[0], RequestContext)
    assert (denied.status_code, seen[0].pending, guard.outcomes) == (403, None, ["granted"])


def test_an_abandoned_request_is_collected_without_an_error() -> None:
    """The garbage collector ends an abandoned request in another context, where its variable cannot be reset."""

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/wait":
            await asyncio.Event().wait()
        await send_response(send)

    app, scope = RecordingGuard(rules=PUBLIC_RULES).wrap(function_app(act)), http_scope("/wait")

    async def begin() -> Any:
        await run_app(app, http_scope("/"))  # the audit is made during the first request
        running = app(scope, _none, _none)  # type: ignore[arg-type]
        contextvars.copy_context().run(running.send, None)
        return running

    running = asyncio.run(begin())
    assert "authguard" in scope
    contextvars.copy_context().run(running.close)
    assert "authguard" not in scope


async def test_a_request_leaves_nothing_to_the_collector() -> None:
    """No reference cycle keeps the scope or its content alive after the server has dropped them."""

    class Kept(dict[str, Any]):
        pass

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        await send_response(send, b"fine")

    app = RecordingGuard(rules=[Rule("/**", role("admin"))]).wrap(function_app(act))
    scope = Kept(http_scope(headers=header_list("Badge alice")))
    gone = weakref.ref(scope)
    gc.disable()
    try:
        await run_app(app, scope)
        del scope
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("path", ["/", "/open"])
async def test_the_marker_of_an_outer_guard_is_put_back(path: str) -> None:
    """After the inner guard is done, code of the outer app is decided by the outer guard again."""
    inner, outer, seen = RecordingGuard(), RecordingGuard(), list[bool]()
    wrapped = inner.wrap(RecordingApp())

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        before = scope["authguard"]
        await wrapped(scope, receive, send)
        seen.append(scope["authguard"] is before is CURRENT.get())

    app: ASGIApp = outer.wrap(function_app(act))
    scope = http_scope(path, headers=header_list("Badge alice"))
    await run_app(app, scope)

    assert seen == [True]
    assert "authguard" not in scope


# --- What a request leaves behind -------------------------------------------------------------------------------------


async def test_a_task_that_outlives_its_request_keeps_none_of_its_credentials() -> None:
    """The context that a task inherited is empty once the request is answered, below two guards too."""
    guard, kept = RecordingGuard(rules=[Rule("/**", OPTIONAL)]), list[contextvars.Context]()

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        kept.append(contextvars.copy_context())
        await send_response(send)

    inner = AuthGuardMiddleware(function_app(act), guard=Guard(Badge(), default=OPTIONAL, log=False))
    answer = await guard.request(inner)
    context = kept[0].run(CURRENT.get)

    assert answer.status == 200
    assert isinstance(context, RequestContext)
    assert context.over
    assert b"alice" not in repr((context.scope, context.headers)).encode()
    assert (context.scope, context.headers, context._request) == ({}, (), None)


CALLS: dict[str, Callable[[ASGIApp], ASGIApp]] = {
    "by hand": lambda inner: inner,
    "behind a framework that answers the exception": lambda inner: Starlette(routes=[Mount("/", inner)]),
}


@pytest.mark.parametrize("call", CALLS)
async def test_a_denial_of_an_app_called_in_process_stays_inside(call: str) -> None:
    """An endpoint may call another app in the same process. A 403 of that app does not deny the outer request."""
    guard, inside = RecordingGuard(), list[int]()

    async def unguarded(scope: Scope, receive: Receive, send: Send) -> None:
        raise denial()

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            inside.append((await run_app(CALLS[call](unguarded), http_scope("/"))).status)
        except AccessDenied as error:
            inside.append(error.status_code)
        await send_response(send, b"fine")

    answer = await guard.request(function_app(act))

    assert (answer.status, answer.body, inside) == (200, b"fine", [403])
    assert guard.denial_reasons == []


async def test_a_denial_behind_a_middleware_that_copies_the_scope_is_the_requests_own() -> None:
    """Behind a middleware that copies the scope, a denial still denies the request."""
    guard = RecordingGuard()

    async def deny(scope: Scope, receive: Receive, send: Send) -> None:
        raise denial()

    async def copying(scope: Scope, receive: Receive, send: Send) -> None:
        await deny({**scope, "headers": list(scope["headers"])}, receive, send)

    assert (await guard.request(function_app(copying))).status == 403


async def test_a_denial_below_many_calls_is_the_requests_own() -> None:
    """A denial that a deep recursion of the app makes counts, although no call of an app is near on the stack."""
    guard = RecordingGuard()

    def deny_below(calls: int) -> None:
        if calls:
            deny_below(calls - 1)
        else:
            denial()

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        deny_below(_MAX_FRAMES)
        await send_response(send)

    assert (await guard.request(function_app(act))).status == 403
    assert len(guard.denial_reasons) == 1


async def test_the_scope_of_an_inner_guard_is_the_outer_ones_too() -> None:
    """Of two guards of one request, the outer one knows the scope that the inner one has marked, and a copy of it."""
    inner, outer, owned = RecordingGuard(), RecordingGuard(), list[bool]()

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        context = scope["authguard"].outer
        copied = {**scope, "headers": list(scope["headers"])}
        owned.extend([context.owns(copied), context.owns({**copied, "authguard": None})])
        await send_response(send)

    await outer.request(inner.wrap(function_app(act)))

    assert owned == [True, False]
