"""Drive an ASGI app without a server: scopes, requests, and what the app sent back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authguard.model import Header, Moment
from authguard.request import AuthRequest, BodyReader
from tests.support.clock import NOW


def header_list(authorization: str | bytes | None = None, **others: str) -> list[Header]:
    """The header list of a request: names with ``_`` for ``-``."""
    found: list[Header] = [(b"host", b"testserver")]
    if authorization is not None:
        value = authorization.encode("latin-1") if isinstance(authorization, str) else authorization
        found.append((b"authorization", value))
    return [*found, *((name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in others.items())]


def http_scope(path: str = "/", method: str = "GET", headers: Iterable[Header] = (), **more: Any) -> dict[str, Any]:
    """The scope of an HTTP request as a server makes it."""
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
    """The scope of a WebSocket handshake."""
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
        """The status of the answer."""
        status: int = self.sent[0]["status"]
        return status

    @property
    def headers(self) -> list[Header]:
        """The header list of the answer."""
        return list(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        """The whole body of the answer."""
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    def lines(self, name: bytes) -> list[str]:
        """Every field line of this name."""
        return [value.decode("latin-1") for key, value in self.headers if key == name]


async def run_app(app: ASGIApp, scope: Scope, *messages: Message) -> Exchange:
    """One connection to an app, by ASGI alone. After the messages, the client is gone."""
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
    """An app that answers 200 to whatever it is given, accepts every handshake, and keeps the scopes."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(dict(scope))  # as it is now: a guard takes its marker out again
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
    """A request in one line."""
    return AuthRequest(http_scope(path) if scope is None else scope, path=path, moment=MOMENT, reader=reader)


#: What an app sends that is denied, and nobody may see.
LEAK = b"LEAK"


async def send_response(send: Send, body: bytes = LEAK, status: int = 200) -> None:
    """A whole answer of the app's own."""
    await send({"type": "http.response.start", "status": status, "headers": [(b"x-app", b"LEAK")]})
    await send({"type": "http.response.body", "body": body})


def function_app(act: Any) -> ASGIApp:
    """An app that is one function of ``(scope, receive, send)``."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await act(scope, receive, send)

    return app


def message_types(answer: Exchange) -> list[str]:
    """The types of what was sent."""
    return [message["type"] for message in answer.sent]


RESPONSE_MESSAGES = ["http.response.start", "http.response.body"]


def response_start(status: int = 200) -> Message:
    """How an answer of the app's own begins."""
    return {"type": "http.response.start", "status": status, "headers": []}


class EchoApp(RecordingApp):
    """An app that answers with the body that it was sent."""

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
    """The messages of a body."""
    last = len(parts) - 1
    return [
        {"type": "http.request", "body": part, "more_body": more or index < last} for index, part in enumerate(parts)
    ]
