"""A denial after the app began to respond: it is sent once and completely, or the server gets the exception."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from authguard import AccessDenied
from tests.support.asgi import (
    LEAK,
    RESPONSE_MESSAGES,
    Exchange,
    function_app,
    header_list,
    http_scope,
    message_types,
    response_start,
    send_response,
)
from tests.support.guards import RecordingGuard, denial


async def _once_begun(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"piece"
        raise denial()

    return StreamingResponse(pieces())


async def _in_the_background(request: Request) -> Response:
    def work() -> None:
        raise denial()

    return PlainTextResponse("piece", background=BackgroundTask(work))


@pytest.mark.parametrize("endpoint", [_once_begun, _in_the_background])
async def test_a_response_that_has_begun_is_not_replaced(endpoint: Any) -> None:
    """After the start of a response the server gets the exception and can break off. There is one record and no second
    start."""
    guard, sent = RecordingGuard(), list[Message]()
    app = guard.wrap(Starlette(routes=[Route("/", endpoint)]))

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever the framework makes of it
        await app(http_scope(headers=header_list("Badge alice")), receive, send)

    assert isinstance(caught.value, AccessDenied) or isinstance(caught.value.__cause__, AccessDenied)
    assert sent[0] == {"type": "http.response.start", "status": 200, "headers": sent[0]["headers"]}
    assert b"".join(message.get("body", b"") for message in sent[1:]) == b"piece"
    assert guard.outcomes == ["granted", "order.not_owner"]


async def test_a_response_goes_on_if_the_app_catches_the_denial() -> None:
    """If the app catches the denial after the start of its response, it completes that response."""

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        await send(response_start())
        denial()
        await send({"type": "http.response.body", "body": b"whole"})

    guard = RecordingGuard()

    answer = await guard.request(function_app(act))

    assert (answer.status, answer.body, guard.denial_reasons) == (200, b"whole", ["order.not_owner"])


@pytest.mark.parametrize("what", ["http.response.early_hint", "http.response.push", "http.response.debug"])
async def test_a_message_before_the_start_begins_no_response(what: str) -> None:
    """A message before ``http.response.start``, such as a debug message, is sent, and a denial after it is answered in
    full."""

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": what})
        raise denial()

    answer = await RecordingGuard().request(function_app(act))

    assert message_types(answer) == [what, *RESPONSE_MESSAGES]


@pytest.mark.parametrize(
    "what",
    [*RESPONSE_MESSAGES, "http.response.pathsend", "http.response.zerocopysend", "http.response.trailers", "http.odd"],
)
async def test_after_a_denial_only_its_response_is_sent(what: str) -> None:
    """After a denial nothing that the app sends goes out, whatever it sends and however often."""

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        denial()
        for _ in range(3):
            await send({"type": what, "status": 200, "path": "/LEAK", "body": LEAK})

    answer = await RecordingGuard().request(function_app(act))

    assert (message_types(answer), answer.status, LEAK in answer.body) == (RESPONSE_MESSAGES, 403, False)


async def test_the_response_is_sent_when_the_app_sends_next() -> None:
    """The response to a denial is sent with the app's next message, so an endless stream does not delay it."""
    guard, seen = RecordingGuard(), list[int]()

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        denial()
        await send(response_start())
        seen.append(answered.status)

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        answered.sent.append(message)

    answered = Exchange()
    await guard.wrap(function_app(act))(http_scope(headers=header_list("Badge alice")), _none, send)

    assert seen == [403]
    assert len(sent) == 2


async def _none() -> Message:
    raise AssertionError


# --- A server that is slow, or gone ----------------------------------------------------------------------------------


class SlowSend:
    """A server's ``send`` that waits before each message, so that a task can be cancelled in it."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.entered = 0

    async def __call__(self, message: Message) -> None:
        self.entered += 1
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        self.sent.append(message)


@pytest.mark.parametrize("after", [0, 1, 2])
async def test_a_response_survives_the_task_that_sends_it(after: int) -> None:
    """If a task group cancels the task that sends the response to a denial, the response is still completed."""
    slow, guard = SlowSend(), RecordingGuard()

    async def stream(send: Send) -> None:
        await send(response_start())

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        error = denial()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stream, send)
            while slow.entered < after:
                await anyio.lowlevel.checkpoint()
            raise error

    await guard.wrap(function_app(act))(http_scope(headers=header_list("Badge alice")), _none, slow)

    assert [message["type"] for message in slow.sent] == RESPONSE_MESSAGES
    assert slow.sent[0]["status"] == 403


async def test_two_tasks_that_send_at_once_answer_once() -> None:
    """While one task sends the response to a denial, messages of other tasks are dropped."""
    slow, guard = SlowSend(), RecordingGuard()

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        denial()
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(send_response, send)

    await guard.wrap(function_app(act))(http_scope(headers=header_list("Badge alice")), _none, slow)

    assert [message["type"] for message in slow.sent] == RESPONSE_MESSAGES


@pytest.mark.parametrize("failing", [0, 1])
@pytest.mark.parametrize("sends", [True, False])
async def test_a_send_that_fails_is_not_tried_again(failing: int, sends: bool) -> None:
    """If the client is gone, the error of ``send`` reaches the app or the server as usual, and there is one record."""
    guard, tried = RecordingGuard(), list[Message]()

    async def send(message: Message) -> None:
        tried.append(message)
        if len(tried) == failing + 1:
            raise OSError

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        denial()
        if sends:
            await send_response(send)

    app = guard.wrap(function_app(act))
    scope = http_scope(headers=header_list("Badge alice"))
    if sends:
        await app(scope, _none, send)
    else:
        with pytest.raises(OSError):  # noqa: PT011 - the server's own
            await app(scope, _none, send)

    assert [message["type"] for message in tried] == RESPONSE_MESSAGES[: failing + 1]
    assert guard.denial_reasons == ["order.not_owner"]


async def test_a_denial_of_a_cancelled_request_is_recorded() -> None:
    """If the client disconnects after the denial, there is one record and no response."""
    guard = RecordingGuard()
    denied = anyio.Event()

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        denial()
        denied.set()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(guard.request, function_app(act))
        await denied.wait()
        tasks.cancel_scope.cancel()

    assert guard.denial_reasons == ["order.not_owner"]
