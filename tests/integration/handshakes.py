"""WebSocket handshakes over raw sockets."""

from __future__ import annotations

from tests.support.servers.app_server import Answer, AppServer, request_bytes

SERVER_KINDS = [("websockets", "h11"), ("websockets-sansio", "httptools"), ("wsproto", "h11")]


# The key is the example of RFC 6455 section 1.3.
HANDSHAKE = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")


def handshake(server: AppServer, target: str, *fields: str, method: str = "GET") -> Answer:
    """Send a handshake with these additional fields."""
    data = request_bytes(target, *HANDSHAKE, *fields, method=method)
    return server.send(data.replace(b"Connection: close", b"Connection: Upgrade"))
