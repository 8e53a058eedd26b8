"""Run an ASGI app without a server: build scopes and requests, and read what the app sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authguard.model import Header, Moment
from authguard.request import AuthRequest, BodyReader
from tests.support.clock import NOW


def header_list(authorization: str | bytes | None = None, **others: str) -> list[Header]:
    """The header list of a request. Keyword names are written with ``_`` for ``-``."""
    headers: list[Header] = [(b"host", b"testserver")]
    if authorization is not None:
        value = authorization.encode("latin-1") if isinstance(authorization, str) else authorization
        headers.append((b"authorization", value))
    return [*headers, *((name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in others.items())]


def http_scope(path: str = "/", method: str = "GET", headers: Iterable[Header] = (), **more: Any) -> dict[str, Any]:
    """The scope of an HTTP request, as a server builds it."""
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "query_string": b"",
        "root_path": "",
        "headers": list(headers),
        "client": ("192.0.2.7", 40000),
        "server": ("testserver", 443),
    }
    return {**scope, **more}


def websocket_scope(path: str = "/", headers: Iterable[Header] = (), **more: Any) -> dict[str, Any]:
    """The scope of a WebSocket handshake, as a server builds it."""
    scope = http_scope(path, "GET", headers, type="websocket", scheme="wss", subprotocols=[])
    del scope["method"]
    return {**scope, **more}


@dataclass
class Exchange:
    """What an app sent, and how often it called ``receive``."""

    sent: list[Message] = field(default_factory=list)
    received: int = 0

    @property
    def status(self) -> int:
        """The status of the response."""
        status: int = self.sent[0]["status"]
        return status

    @property
    def headers(self) -> list[Header]:
        """The header list of the response."""
        return list(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        """The whole body of the response."""
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    def lines(self, name: bytes) -> list[str]:
        """The value of every field line with this name."""
        return [value.decode("latin-1") for key, value in self.headers if key == name]


async def run_app(app: ASGIApp, scope: Scope, *messages: Message) -> Exchange:
    """Run an app for one connection. After the given messages, ``receive`` reports that the client disconnected."""
    exchange, waiting = Exchange(), list(messages)
    if scope["type"] == "http" and not messages:
        waiting = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        exchange.received += 1
        return waiting.pop(0) if waiting else {"type": f"{scope['type']}.disconnect", "code": 1006}

    async def send(message: Message) -> None:
        exchange.sent.append(message)

    await app(scope, receive, send)
    return exchange


class RecordingApp:
    """An app that answers 200 to every request, accepts every handshake, and keeps the scopes."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(dict(scope))  # a copy: the guard removes its marker afterwards
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": 1000})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"passed"})


MOMENT = Moment(NOW, 60.0)


def auth_request(
    scope: Mapping[str, Any] | None = None, reader: BodyReader | None = None, path: str = "/"
) -> AuthRequest:
    """An ``AuthRequest`` for this scope, at NOW."""
    return AuthRequest(http_scope(path) if scope is None else scope, path=path, moment=MOMENT, reader=reader)


#: The body of a response that must not reach the client.
LEAK = b"LEAK"


async def send_response(send: Send, body: bytes = LEAK, status: int = 200) -> None:
    """Send a whole response of the app's own."""
    await send({"type": "http.response.start", "status": status, "headers": [(b"x-app", b"LEAK")]})
    await send({"type": "http.response.body", "body": body})


def function_app(act: Any) -> ASGIApp:
    """An app made of one function ``(scope, receive, send)``."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await act(scope, receive, send)

    return app


def message_types(answer: Exchange) -> list[str]:
    """The types of the messages that the app sent."""
    return [message["type"] for message in answer.sent]


RESPONSE_MESSAGES = ["http.response.start", "http.response.body"]


def response_start(status: int = 200) -> Message:
    """The message that begins a response of the app's own."""
    return {"type": "http.response.start", "status": status, "headers": []}


class EchoApp(RecordingApp):
    """An app that answers with the request body."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await super().__call__(scope, receive, send)
            return
        self.scopes.append(dict(scope))
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


def body_messages(*parts: bytes, more: bool = False) -> list[Message]:
    """The ``http.request`` messages that carry a body in these parts."""
    last = len(parts) - 1
    return [
        {"type": "http.request", "body": part, "more_body": more or index < last} for index, part in enumerate(parts)
    ]
