"""Denials on WebSockets: a status while the handshake can still be answered, else the close code 1008."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from authguard import AccessDenied, allows, role
from authguard.starlette import requires
from tests.support.asgi import Exchange, function_app, header_list, message_types, run_app, websocket_scope
from tests.support.guards import NO_SESSION, OPTIONAL_RULES, PUBLIC_RULES, RecordingGuard, denial
from tests.support.schemes.badge import InfoBadge

DENIAL: dict[str, Any] = {"extensions": {"websocket.http.response": {}}}
CONNECT: Message = {"type": "websocket.connect"}
SAID: Message = {"type": "websocket.receive", "text": "hello"}
STATUS = ["websocket.http.response.start", "websocket.http.response.body"]
CLOSED = {"type": "websocket.close", "code": 1008}

Act = Callable[[WebSocket], Any]


def starlette(act: Act) -> ASGIApp:
    """A WebSocket route of Starlette."""
    return Starlette(routes=[WebSocketRoute("/", act)])


def fastapi(act: Act) -> ASGIApp:
    """A WebSocket route of FastAPI."""
    app = FastAPI()

    @app.websocket("/")
    async def endpoint(websocket: WebSocket) -> None:
        await act(websocket)

    return app


def bare(act: Act) -> ASGIApp:
    """A WebSocket app without a framework."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        await act(WebSocket(scope, receive, send))

    return function_app(run)


FRAMEWORKS = pytest.mark.parametrize("framework", [starlette, fastapi, bare])


async def connect(guard: RecordingGuard, app: ASGIApp, *messages: Message, **more: Any) -> Exchange:
    """One WebSocket to the app."""
    scope = websocket_scope(headers=header_list("Badge alice"), **more)
    return await run_app(guard.wrap(app), scope, CONNECT, *messages)


async def before_accept(socket: WebSocket) -> None:
    """Deny before accepting."""
    raise denial()


async def closed_instead(socket: WebSocket) -> None:
    """Deny, and close with a code of its own."""
    denial()
    await socket.receive()
    await socket.close(4000)


async def accepted_nonetheless(socket: WebSocket) -> None:
    """Deny, and accept all the same."""
    denial()
    await socket.accept()
    await socket.send_text("LEAK")


async def denied_by_itself(socket: WebSocket) -> None:
    """Deny, and begin a response of its own."""
    denial()
    await socket.send({"type": "websocket.http.response.start", "status": 200, "headers": []})


@FRAMEWORKS
@pytest.mark.parametrize("act", [before_accept, closed_instead, accepted_nonetheless, denied_by_itself])
async def test_before_accept_it_is_a_status_where_the_server_can(framework: Any, act: Act) -> None:
    """Before ``accept`` the denial is a 403 with its challenge and one record, whatever the app does after it."""
    guard = RecordingGuard()

    answer = await connect(guard, framework(act), **DENIAL)

    assert (message_types(answer), answer.status) == (STATUS, 403)
    assert answer.lines(b"www-authenticate") == ['Badge realm="tests", error="insufficient_scope"']
    assert guard.outcomes == ["granted", "order.not_owner"]


@FRAMEWORKS
async def test_before_accept_it_is_1008_where_the_server_cannot(framework: Any) -> None:
    """A server without denial responses gets a close with 1008, which it sends as a 403."""
    assert (await connect(RecordingGuard(), framework(before_accept))).sent == [CLOSED]


async def after_accept(socket: WebSocket) -> None:
    """Accept, and deny."""
    await socket.accept()
    await socket.send_text("first")
    raise denial()


async def after_accept_and_on(socket: WebSocket) -> None:
    """Accept, deny, and go on sending."""
    await socket.accept()
    await socket.send_text("first")
    denial()
    for _ in range(3):
        await socket.send_text("LEAK")
    await socket.close(1000)


async def in_a_task_beside(socket: WebSocket) -> None:
    """Accept, and deny in a task beside one that waits."""

    async def deny() -> None:
        raise denial()

    await socket.accept()
    await socket.send_text("first")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(deny)
        tasks.start_soon(anyio.sleep_forever)


@FRAMEWORKS
@pytest.mark.parametrize("act", [after_accept, after_accept_and_on, in_a_task_beside])
async def test_an_accepted_websocket_is_closed(framework: Any, act: Act) -> None:
    """A denial after ``accept`` closes the WebSocket with 1008 once, and later messages of the app are dropped."""
    guard = RecordingGuard()

    answer = await connect(guard, framework(act), **DENIAL)

    assert message_types(answer) == ["websocket.accept", "websocket.send", "websocket.close"]
    assert (answer.sent[1]["text"], answer.sent[2]) == ("first", CLOSED)
    assert guard.denial_reasons == ["order.not_owner"]


@FRAMEWORKS
async def test_after_its_end_there_is_nothing_to_close(framework: Any) -> None:
    """A denial after the WebSocket has ended is recorded, and nothing is sent."""

    async def act(socket: WebSocket) -> None:
        await socket.accept()
        await socket.close(1000)
        raise denial()

    guard = RecordingGuard()

    answer = await connect(guard, framework(act))

    assert message_types(answer) == ["websocket.accept", "websocket.close"]
    assert guard.denial_reasons == ["order.not_owner"]


async def test_a_refusal_that_the_app_has_begun_is_not_replaced() -> None:
    """If the app has begun a denial response of its own, the server gets the exception."""

    async def act(socket: WebSocket) -> None:
        await socket.send({"type": "websocket.http.response.start", "status": 404, "headers": []})
        raise denial()

    with pytest.raises(AccessDenied):
        await connect(RecordingGuard(), bare(act), **DENIAL)


async def test_a_client_that_disconnects_is_no_denial() -> None:
    """The ``WebSocketDisconnect`` of Starlette passes through the guard unchanged."""

    async def act(socket: WebSocket) -> None:
        await socket.accept()
        await socket.receive_text()

    guard = RecordingGuard()

    with pytest.raises(WebSocketDisconnect):
        await connect(guard, bare(act))

    assert guard.denial_reasons == []


@FRAMEWORKS
async def test_each_message_may_be_checked(framework: Any) -> None:
    """``allows`` and ``AccessDenied`` work for each message of an open WebSocket."""

    async def act(socket: WebSocket) -> None:
        await socket.accept()
        while True:
            text = await socket.receive_text()
            await socket.send_text(f"{text} {await allows(socket, role('admin'))} {await allows(socket, role('boss'))}")
            if text == "enough":
                raise AccessDenied(NO_SESSION)

    guard = RecordingGuard()

    answer = await connect(guard, framework(act), SAID, {"type": "websocket.receive", "text": "enough"})

    texts = [message["text"] for message in answer.sent[1:-1]]
    assert (texts, answer.sent[-1]) == (["hello True False", "enough True False"], CLOSED)
    assert guard.outcomes == ["granted", "session.over"]


@pytest.mark.parametrize("rules", [PUBLIC_RULES, OPTIONAL_RULES, []])
async def test_a_lock_is_asked_before_the_handshake_is_accepted(rules: Any) -> None:
    """A lock on a WebSocket route denies with a 403 before the endpoint is reached."""
    reached: list[str] = []

    @requires(role("boss"))
    async def endpoint(websocket: WebSocket) -> None:
        reached.append("LEAK")

    guard = RecordingGuard(rules=rules)

    answer = await connect(guard, starlette(endpoint), **DENIAL)

    assert (message_types(answer), answer.status, reached) == (STATUS, 403, [])
    assert guard.denial_reasons == ["role.missing"]


async def test_the_headers_of_a_scheme_are_sent_with_an_accepted_handshake() -> None:
    """If a lock verifies the caller behind a public rule, the headers of the scheme are sent with ``accept``."""

    @requires(role("admin"))
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept(headers=[(b"x-app", b"1")])
        await websocket.close()

    answer = await connect(RecordingGuard(InfoBadge(), rules=PUBLIC_RULES), starlette(endpoint))

    assert answer.sent[0]["headers"] == [(b"x-app", b"1"), (b"x-info", b"from badge")]
