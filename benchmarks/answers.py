"""An answer as it comes off a connection that is kept alive, in one piece or in several."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_RETRY_AFTER = re.compile(rb"\r\nretry-after: (\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """The status, and for how many seconds the server asks to be left alone."""

    status: int
    retry_after: int


@dataclass(slots=True)
class Answers:
    """The answers that come over one connection. Both servers' have a length."""

    octets: bytearray = field(default_factory=bytearray)

    def read(self, connection: socket.socket) -> Answer | None:
        """What has come, once it is whole."""
        received = connection.recv(65536)
        if not received:
            raise SystemExit("the server has closed a connection")
        self.octets += received
        head, end, body = bytes(self.octets).partition(b"\r\n\r\n")
        if not end:
            return None
        head += b"\r\n"
        status, length, later = _STATUS.match(head), _LENGTH.search(head), _RETRY_AFTER.search(head)
        if status is None or length is None:
            raise SystemExit(f"no answer that is understood here: {head!r}")
        if len(body) < int(length[1]):
            return None
        self.octets.clear()
        return Answer(int(status[1]), 0 if later is None else int(later[1]))
