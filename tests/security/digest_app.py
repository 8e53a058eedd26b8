"""An app behind Digest, driven over ASGI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message

from authguard.core.guard import Guard
from authguard.middleware import AuthGuardMiddleware
from authguard.model import Header
from authguard.records.record import Record
from authguard.schemes.digest.scheme import Digest
from authguard.testing import ManualClock
from authguard.wire.challenge import Challenge
from tests.support.asgi import Echo, Exchange, drive, http
from tests.support.clock import NOW
from tests.support.schemes.digest import Cards, Told, digest, written


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, and the code that was recorded of it, None where the request was granted."""

    exchange: Exchange
    reason: str | None

    @property
    def status(self) -> int:
        return self.exchange.status

    @property
    def challenge(self) -> Challenge:
        """The only one."""
        (line,) = self.exchange.lines(b"www-authenticate")
        return Challenge.from_header(line.encode("latin-1"))

    @property
    def info(self) -> str:
        """What ``Authentication-Info`` says."""
        (line,) = self.exchange.lines(b"authentication-info")
        return line


class GuardLayer:
    """An app whose every path asks for Digest. ``clock`` is its clock."""

    def __init__(self, scheme: Digest | None = None, *, app: ASGIApp | None = None, **options: Any) -> None:
        self.clock = ManualClock(NOW)
        self.scheme = scheme or digest(Cards(), throttle=None)
        self.behind = Echo()
        self.records: list[Record] = []
        guard = Guard(self.scheme, clock=self.clock, hooks=[self.records.append], **options)
        self.app = AuthGuardMiddleware(app or self.behind, guard=guard)

    async def reach(
        self, field: bytes | None, *messages: Message, headers: Sequence[Header] = (), **scope: Any
    ) -> Exchange:
        """One request with this ``Authorization``; ``scope`` is what is another than GET / over HTTP."""
        lines = [(b"host", b"testserver"), *headers, *([] if field is None else [(b"authorization", field)])]
        given = {**http(), **scope, "headers": lines}
        if given["type"] == "websocket":
            del given["method"]
        return await drive(self.app, given, *messages)

    async def send(self, field: bytes | None, *messages: Message, **scope: Any) -> Answer:
        """The same, with the one record of it."""
        self.records.clear()
        exchange = await self.reach(field, *messages, **scope)
        (record,) = self.records
        return Answer(exchange, record.reason)

    async def present(self, told: Told, *messages: Message, **scope: Any) -> Answer:
        """The same of what a client tells."""
        return await self.send(b"Digest " + written(told), *messages, **scope)

    async def challenge(self, **scope: Any) -> Challenge:
        """What a stranger is asked for."""
        return (await self.send(None, **scope)).challenge
