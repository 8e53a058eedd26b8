"""An introspection endpoint on loopback that answers about each token as the test says."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias
from urllib.parse import parse_qs

import anyio
from anyio.abc import SocketAttribute, SocketStream

#: The status and the members of the answer about a token.
AnswerAbout: TypeAlias = Callable[[str], tuple[int, dict[str, object]]]


class IntrospectionEndpoint:
    """Speaks HTTP/1.1, and counts the calls about each token."""

    def __init__(self, answer_about: AnswerAbout) -> None:
        self.answer_about = answer_about
        self.calls: dict[str, int] = {}
        self.url = ""

    async def serve(self, stream: SocketStream) -> None:
        """Answer the requests of one connection."""
        received = b""
        async with stream:
            try:
                while True:
                    head, separator, rest = received.partition(b"\r\n\r\n")
                    length = re.search(rb"\r\ncontent-length: (\d+)", head.lower())
                    if separator and length is not None and len(rest) >= int(length[1]):
                        body, received = rest[: int(length[1])], rest[int(length[1]) :]
                        await stream.send(self._respond(body))
                    else:
                        received += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass

    def _respond(self, form: bytes) -> bytes:
        (token,) = parse_qs(form.decode("ascii"), strict_parsing=True)["token"]
        self.calls[token] = self.calls.get(token, 0) + 1
        status, members = self.answer_about(token)
        body = json.dumps(members).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


@asynccontextmanager
async def running_introspection_endpoint(answer_about: AnswerAbout) -> AsyncIterator[IntrospectionEndpoint]:
    """An endpoint on a port that the system chose, until the end of the block."""
    endpoint = IntrospectionEndpoint(answer_about)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, endpoint.serve)
        endpoint.url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/introspect"
        yield endpoint
        tasks.cancel_scope.cancel()
