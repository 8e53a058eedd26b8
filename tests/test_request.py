"""What a scheme may see of a request; and the driver and the small schemes that the tests of the core share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authguard.errors import RequestBodyError
from authguard.model import Accepted, Denied, Header, Moment, Outcome, Principal, Rejected
from authguard.reasons import BODY_INCOMPLETE, BODY_TOO_LARGE, TOKEN_EXPIRED, Reason
from authguard.request import AuthRequest, BodyReader
from authguard.schemes.carriers import AUTHORIZATION
from authguard.schemes.scheme import Carrier, Scheme, Service
from authguard.wire.authorization import Credentials
from authguard.wire.challenge import Challenge
from tests.minting import NOW

WRONG = Reason("badge.wrong", 401, "invalid_token")

#: What the schemes below make of what follows their name.
TABLE: Mapping[str, object] = {
    "alice": Accepted(Principal("alice", roles={"admin"}, scopes={"read"})),
    "bob": Accepted(Principal("bob")),
    "expired": Rejected(TOKEN_EXPIRED, "alice", {"expired_by": 4.2}, authenticated=True),
}


class Badge(Scheme):
    """A scheme that judges by a table, and counts. An exception in the table is raised."""

    challenges_on_403 = True

    def __init__(
        self,
        name: str = "badge",
        table: Mapping[str, object] = TABLE,
        *,
        carrier: Carrier = AUTHORIZATION,
        services: Sequence[Service] = (),
        reads_body: bool = False,
        reports_login_time: bool = False,
    ) -> None:
        self.name, self.carrier, self.services = name, carrier, services
        self.reads_body, self.reports_login_time = reads_body, reports_login_time
        self.table = table
        self.presented: list[str] = []

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        self.presented.append(credentials.rest.decode("latin-1"))
        found = self.table.get(self.presented[-1], Rejected(WRONG))
        if isinstance(found, BaseException):
            raise found
        return cast("Outcome", found)

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        error = {} if why is None or why.reason.error is None else {"error": why.reason.error}
        return (Challenge(self.name.title(), {"realm": "tests", **error}),)


class Plain(Badge):
    """As Basic: it has no way to say what was wrong, so that a 403 takes no challenge."""

    challenges_on_403 = False

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        return (Challenge(self.name.title(), {"realm": "tests"}),)


@dataclass(frozen=True)
class Field(Carrier):
    """Credentials in a field of their own, one set a line, for one scheme."""

    scheme: str
    name: bytes
    sent_by_browsers: bool = False

    def find(self, request: AuthRequest) -> Sequence[Credentials] | Rejected:
        return [Credentials(self.scheme, line) for line in request.lines(self.name)]


def fields(authorization: str | bytes | None = None, **others: str) -> list[Header]:
    """The header list of a request: names with ``_`` for ``-``."""
    found: list[Header] = [(b"host", b"testserver")]
    if authorization is not None:
        value = authorization.encode("latin-1") if isinstance(authorization, str) else authorization
        found.append((b"authorization", value))
    return [*found, *((name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in others.items())]


def http(path: str = "/", method: str = "GET", headers: Iterable[Header] = (), **more: Any) -> dict[str, Any]:
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


def websocket(path: str = "/", headers: Iterable[Header] = (), **more: Any) -> dict[str, Any]:
    """The scope of a WebSocket handshake."""
    scope = http(path, "GET", headers, type="websocket", scheme="wss", subprotocols=[])
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


async def drive(app: ASGIApp, scope: Scope, *messages: Message) -> Exchange:
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


class Endpoint:
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


def made(scope: Mapping[str, Any] | None = None, reader: BodyReader | None = None, path: str = "/") -> AuthRequest:
    """A request in one line."""
    return AuthRequest(http(path) if scope is None else scope, path=path, moment=MOMENT, reader=reader)


def test_the_method_is_told_as_it_was_sent() -> None:
    """HEAD stays HEAD, which Digest needs; a handshake is GET, for it is GET on the wire."""
    told = [made(http(method="HEAD")).method, made(http(method="get")).method, made(websocket()).method]

    assert told == ["HEAD", "get", "GET"]


def test_the_kind_is_that_of_the_connection() -> None:
    """HTTP and WebSocket are told apart."""
    assert [made(http()).kind, made(websocket()).kind] == ["http", "websocket"]


@pytest.mark.parametrize(("scheme", "secure"), [("https", True), ("wss", True), ("http", False), ("ws", False)])
def test_a_request_is_secure_where_the_server_says_so(scheme: str, secure: bool) -> None:
    """Only the server's own word counts, not a forwarded field."""
    forged = fields(x_forwarded_proto="https")

    assert made(http(headers=forged, scheme=scheme)).secure is secure


def test_the_target_is_the_raw_path_and_the_query() -> None:
    """Escapes stay as they were sent; a server without raw_path gives the path."""
    sent = made(http("/a b", raw_path=b"/a%20b", query_string=b"x=%31"))
    without_query = made(http("/a b", raw_path=b"/a%20b"))
    without_raw = made(http("/ä", raw_path=None, query_string=b"x=1"))

    targets = [sent.target, without_query.target, without_raw.target]

    assert targets == [b"/a%20b?x=%31", b"/a%20b", b"/\xc3\xa4?x=1"]


def test_the_client_is_the_peer_that_the_server_names() -> None:
    """No forwarded field is read, and a server that does not know the peer says None."""
    forged = fields(x_forwarded_for="203.0.113.9", forwarded="for=203.0.113.9")

    assert made(http(headers=forged)).client == "192.0.2.7"
    assert made(http(headers=forged, client=None)).client is None


def test_field_lines_are_not_joined() -> None:
    """Each line of a name is told by itself, in order, and names are compared as ASGI gives them: in lower case."""
    request = made(http(headers=[(b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3, 4")]))

    assert request.lines(b"x-a") == [b"1", b"3, 4"]
    assert request.lines(b"x-c") == []


def test_the_header_list_is_the_servers_own() -> None:
    """No copy is made of it."""
    scope = http()

    assert made(scope).headers is scope["headers"]


def test_a_request_shows_neither_headers_nor_query() -> None:
    """Its repr is the method and the path."""
    request = made(http("/a", headers=fields("Bearer s3cr3t"), query_string=b"key=s3cr3t"), path="/a\n")

    assert repr(request) == "<AuthRequest GET '/a\\n'>"


async def test_the_body_is_read_once() -> None:
    """Who asks again gets the same octets."""
    limits: list[int] = []

    async def read(limit: int) -> bytes:
        limits.append(limit)
        return b"abcd"

    request = made(reader=read)

    assert [await request.body(10), await request.body(4)] == [b"abcd", b"abcd"]
    assert limits == [10]


async def test_a_body_over_the_limit_is_an_error_and_no_part_of_it_is_given() -> None:
    """The limit is the greatest length that passes."""

    async def read(limit: int) -> bytes:
        return b"abcd"

    with pytest.raises(RequestBodyError) as caught:
        await made(reader=read).body(3)

    assert caught.value.reason is BODY_TOO_LARGE


async def test_who_declared_nothing_gets_no_body() -> None:
    """A scheme without ``reads_body`` asks in vain: a mistake of its author's, not the client's."""

    async def read(limit: int) -> bytes:
        raise AssertionError("the body was read")

    request = made(reader=read)
    request.body_readable = False

    with pytest.raises(RuntimeError, match="reads_body"):
        await request.body(10)


async def test_a_handshake_has_no_body() -> None:
    """Who asks for it there is told that it is not whole."""
    with pytest.raises(RequestBodyError) as caught:
        await made(websocket()).body(10)

    assert caught.value.reason is BODY_INCOMPLETE
