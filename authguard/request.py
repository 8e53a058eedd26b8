"""A request as carriers and schemes see it: less than ASGI has, and nothing that can be sent."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from authguard.errors import RequestBodyError
from authguard.model import Header, Moment
from authguard.reasons import BODY_TOO_LARGE

#: What was read so far and more, until it is whole or longer than the limit. It can be asked again.
BodyReader: TypeAlias = Callable[[int], Awaitable[bytes]]


class AuthRequest:
    """All that a carrier or a scheme may see of a request.

    ``path`` is decoded and below ``root_path``: exactly what the router matches. ``target`` is what was sent, as near
    as ASGI tells it. ``headers`` is ASGI's own list of ``(lower-case name, value)``. ``scopes_asked`` are those that
    the route names, known where challenges are drawn up: what a client without a token should ask for.
    """

    __slots__ = ("_body", "_reader", "body_readable", "headers", "moment", "path", "scope", "scopes_asked")

    def __init__(
        self,
        scope: Mapping[str, Any],
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
        """The method as sent: HEAD stays HEAD. A WebSocket handshake is ``GET`` on the wire (RFC 6455 section 4.1)."""
        method: str = self.scope.get("method", "GET")
        return method

    @property
    def secure(self) -> bool:
        """Whether the server took the request over TLS, or was told so by a proxy that it trusts."""
        return self.scope.get("scheme") in {"https", "wss"}

    @property
    def target(self) -> bytes:
        """The request target as sent. ASGI loses a final ``?`` with nothing behind it."""
        raw: bytes = self.scope.get("raw_path") or str(self.scope["path"]).encode()
        query: bytes = self.scope.get("query_string", b"")
        return raw + b"?" + query if query else raw

    @property
    def client(self) -> str | None:
        """The peer's address as the server gives it; no forwarded field is read."""
        client = self.scope.get("client")
        return str(client[0]) if client else None

    def lines(self, name: bytes) -> list[bytes]:
        """Every field line of this lower-case name, unjoined and in order."""
        return [value for key, value in self.headers if key == name]

    async def body(self, limit: int) -> bytes:
        """The whole body, at most ``limit`` octets; the app receives it again.

        Only for a scheme with ``reads_body``. Raises ``RequestBodyError`` where it is larger (413) or the client left.
        """
        if not self.body_readable:
            msg = "only a scheme with reads_body = True may ask for the body"
            raise RuntimeError(msg)
        if self._reader is None:  # a WebSocket handshake has none
            raise RequestBodyError
        body = self._body
        if body is None:
            body = await self._reader(limit)
        if len(body) > limit:
            raise RequestBodyError(BODY_TOO_LARGE)
        self._body = body
        return body


@lru_cache(4096)
def network_of(client: str | None) -> str | None:
    """What counts as one client: an IPv4 address, or an IPv6 /64, which one client has the whole of."""
    try:
        address = ipaddress.ip_address(client or "")
    except ValueError:
        return client
    if address.version == 4:
        return str(address)
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))
