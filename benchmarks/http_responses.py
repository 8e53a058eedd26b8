"""Parse HTTP responses from a keep-alive connection, whether they arrive in one chunk or in several."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_RETRY_AFTER = re.compile(rb"\r\nretry-after: (\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """The status of a response, and its ``Retry-After`` in seconds (0 if there is none)."""

    status: int
    retry_after: int


@dataclass(slots=True)
class ResponseReader:
    """Reads the responses of one connection. Every response must have a ``Content-Length``."""

    buffer: bytearray = field(default_factory=bytearray)

    def read(self, connection: socket.socket) -> HttpResponse | None:
        """Receive once, and return the response if it is complete now, or else None."""
        received = connection.recv(65536)
        if not received:
            raise SystemExit("the server closed a connection")
        self.buffer += received
        head, end, body = bytes(self.buffer).partition(b"\r\n\r\n")
        if not end:
            return None
        head += b"\r\n"
        status, length, retry_after = _STATUS.match(head), _LENGTH.search(head), _RETRY_AFTER.search(head)
        if status is None or length is None:
            raise SystemExit(f"this response cannot be parsed: {head!r}")
        if len(body) < int(length[1]):
            return None
        self.buffer.clear()
        return HttpResponse(int(status[1]), 0 if retry_after is None else int(retry_after[1]))
