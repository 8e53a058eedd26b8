"""A server on loopback that answers every request with the same bytes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import SocketAttribute, SocketStream

EMPTY_JSON_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class RawServer:
    """Answers each request with the same bytes, and keeps the requests."""

    def __init__(self, response: bytes) -> None:
        self.response = response
        self.requests: list[bytes] = []
        self.connections = 0
        self.url = ""
        #: Sent after the response, again and again, until the client disconnects.
        self.endless = b""
        #: After this many answers, the connection is closed when the next request arrives.
        self.answers_per_connection = 1000

    async def serve(self, stream: SocketStream) -> None:
        self.connections += 1
        async with stream:
            try:
                for _ in range(self.answers_per_connection):
                    if not await self._read_request(stream):
                        return
                    await stream.send(self.response)
                    while self.endless:
                        await stream.send(self.endless)
                    if b"Connection: close" in self.response:
                        return
                await self._read_request(stream)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass

    async def _read_request(self, stream: SocketStream) -> bool:
        request, whole = b"", False
        while not whole:
            try:
                request += await stream.receive()
            except anyio.EndOfStream:
                return False
            head, _, body = request.partition(b"\r\n\r\n")
            length = re.search(rb"\r\ncontent-length: (\d+)", head.lower())
            whole = length is not None and len(body) == int(length[1])
        self.requests.append(request)
        return True


@asynccontextmanager
async def running_raw_server(response: bytes) -> AsyncIterator[RawServer]:
    """A server on a port that the system chose, until the end of the block."""
    server = RawServer(response)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, server.serve)
        server.url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/introspect"
        with anyio.fail_after(60):
            yield server
        tasks.cancel_scope.cancel()
