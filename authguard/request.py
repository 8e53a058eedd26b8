"""The request as carriers and schemes see it. It is read-only: a scheme cannot send a response."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeAlias

from authguard.errors import RequestBodyError
from authguard.model import Header, Moment
from authguard.reasons import BODY_TOO_LARGE
from authguard.server_value import SERVER_ARGUMENT, ServerValue

#: Reads the body until it is complete or longer than the limit (in bytes), and returns it. It can be called again with
#: a higher limit.
BodyReader: TypeAlias = Callable[[int], Awaitable[bytes]]


class AuthRequest(ServerValue):
    """The parts of a request that a carrier or a scheme may use.

    ``path`` is decoded and relative to ``root_path``, exactly as the router matches it. ``target`` is the request
    target as it was sent. ``headers`` is ASGI's own list of ``(lower-case name, value)``. ``moment`` is the time of the
    request. ``scopes_asked`` are the scopes that the route requires; they are set only while challenges are built, for
    a client that has no token yet. ``unchecked`` names what could not be looked up, such as ``"revocations"``, where
    the app lets requests pass all the same; each record of the request has it.
    """

    __slots__ = ("_body", "_reader", "body_readable", "headers", "moment", "path", "scope", "scopes_asked", "unchecked")

    def __init__(
        self,
        scope: Annotated[Mapping[str, Any], SERVER_ARGUMENT],
        path: str,
        moment: Moment,
        reader: BodyReader | None = None,
    ) -> None:
        self.scope = scope
        self.headers: Sequence[Header] = scope["headers"]
        self.path = path
        self.moment = moment
        self.body_readable = True
        self.scopes_asked: Sequence[str] = ()
        self.unchecked: tuple[str, ...] = ()
        self._reader = reader
        self._body: bytes | None = None

    def __repr__(self) -> str:
        return f"<AuthRequest {self.method} {self.path!r}>"

    @property
    def kind(self) -> Literal["http", "websocket"]:
        """``"http"`` or ``"websocket"``."""
        kind: Literal["http", "websocket"] = self.scope["type"]
        return kind

    @property
    def method(self) -> str:
        """The method as sent; HEAD stays HEAD. A WebSocket handshake is a ``GET`` (RFC 6455 section 4.1)."""
        method: str = self.scope.get("method", "GET")
        return method

    @property
    def secure(self) -> bool:
        """Whether the server received the request over TLS, or a trusted proxy told the server so."""
        return self.scope.get("scheme") in {"https", "wss"}

    @property
    def target(self) -> bytes:
        """The request target as sent, except that ASGI loses a ``?`` without a query."""
        raw: bytes = self.scope.get("raw_path") or str(self.scope["path"]).encode()
        query: bytes = self.scope.get("query_string", b"")
        return raw + b"?" + query if query else raw

    @property
    def client(self) -> str | None:
        """The address of the client, as the server reports it. ``X-Forwarded-For`` and ``Forwarded`` are not read."""
        client = self.scope.get("client")
        return str(client[0]) if client else None

    def pass_unchecked(self, what: str, store: object) -> bool:
        """Whether the request passes although this store is away, because it has ``on_outage = "allow"``.

        Its records then say that ``what`` is ``unchecked``.
        """
        if getattr(store, "on_outage", "deny") != "allow":
            return False
        if what not in self.unchecked:
            self.unchecked += (what,)
        return True

    def lines(self, name: bytes) -> list[bytes]:
        """Return the values of all header lines with this lower-case name, in order and not joined."""
        return [value for key, value in self.headers if key == name]

    async def body(self, limit: int) -> bytes:
        """Return the whole body, of at most ``limit`` bytes. The app receives it again afterwards.

        Only a scheme with ``reads_body`` may call this. Raises ``RequestBodyError`` if the body is larger (413), or if
        the client disconnected before it was complete.
        """
        if not self.body_readable:
            msg = "a scheme must set reads_body = True before it can read the body"
            raise RuntimeError(msg)
        if self._reader is None:  # a WebSocket handshake has no body
            raise RequestBodyError(problem="a WebSocket handshake has no body")
        body = self._body
        if body is None:
            body = await self._reader(limit)
        if len(body) > limit:
            raise RequestBodyError(BODY_TOO_LARGE, octets=len(body), limit=limit)
        self._body = body
        return body


#: The fields in which a proxy says whether its client used TLS.
PROXY_FIELDS = frozenset({b"x-forwarded-proto", b"forwarded"})


def says_https(field: bytes, value: bytes) -> bool:
    """Whether one of ``PROXY_FIELDS`` says that the client of the first proxy used ``https``. RFC 7239 section 5.4.

    Any client can write it. It is a hint for the log, and nothing is decided by it.
    """
    value = value[:256].lower()
    if field == b"forwarded":
        value = value.partition(b",")[0].partition(b"proto=")[2].lstrip(b'"')
    return value.startswith((b"https", b"wss"))


@lru_cache(4096)
def network_of(client: str | None) -> str | None:
    """The network that counts as one client: an IPv4 address, or an IPv6 /64, which one client controls.

    A port, brackets and a zone are dropped: some proxies write ``203.0.113.7:40001``, with another port each time.
    """
    # Digits and dots are an IPv4 address in its only spelling, or no address: to read it would change nothing.
    if client is None or not client.strip("0123456789."):
        return client
    address = address_of(client)
    if address is None:
        return client
    return str(address) if address.version == 4 else f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"


def address_of(client: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address of a client; None if the text is none. An IPv4 address that is mapped into IPv6 is the former.

    A port, brackets and a zone are dropped, as ``network_of`` does.
    """
    text = client.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return address if address.version == 4 else address.ipv4_mapped or address
