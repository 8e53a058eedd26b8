"""A TCP proxy in front of a server, which a test makes slow, silent or broken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """Passes bytes on, as long as ``gate`` is open.

    ``drop_all`` breaks the connections. While ``gate`` is shut, answers are kept back: the connection is open, and
    nothing comes.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.gate = asyncio.Event()
        self.gate.set()
        #: How many seconds later answers are passed on.
        self.delay = 0.0
        #: How many connections were made.
        self.connections = 0
        #: The bytes that the clients have sent.
        self.sent = bytearray()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def silence(self) -> None:
        """Keep back all that comes on the connections that are open now, for ever."""
        self.gate.clear()
        self.gate = asyncio.Event()
        self.gate.set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self.drop_all()

    async def drop_all(self) -> None:
        for writer in list(self._writers):
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            answers, out = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, out}
        both = self._pump(reader, out, None), self._pump(answers, writer, self.gate)
        pumps = [asyncio.create_task(pump) for pump in both]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            for end in (writer, out):
                end.close()
                self._writers.discard(end)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event | None
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if gate is None:
                    self.sent += data
                else:
                    await gate.wait()
                    await asyncio.sleep(self.delay)
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def proxy_to(target: int) -> AsyncIterator[Proxy]:
    """A proxy to this port of the host, which runs until the end of the block."""
    proxy = Proxy(target)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
