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
from tests.support.asgi import EchoApp, Exchange, http_scope, run_app
from tests.support.clock import NOW
from tests.support.schemes.digest import DigestAccounts, DigestParams, digest_scheme, serialize


@dataclass(frozen=True, slots=True)
class Answer:
    """One response, and the reason code of its record; None for a granted request."""

    exchange: Exchange
    reason: str | None

    @property
    def status(self) -> int:
        return self.exchange.status

    @property
    def challenge(self) -> Challenge:
        """The only challenge."""
        (line,) = self.exchange.lines(b"www-authenticate")
        return Challenge.from_header(line.encode("latin-1"))

    @property
    def info(self) -> str:
        """The value of ``Authentication-Info``."""
        (line,) = self.exchange.lines(b"authentication-info")
        return line


class DigestApp:
    """An app behind Digest that echoes the body of every request. ``clock`` is the clock of its guard."""

    def __init__(self, scheme: Digest | None = None, *, app: ASGIApp | None = None, **options: Any) -> None:
        self.clock = ManualClock(NOW)
        self.scheme = scheme or digest_scheme(DigestAccounts(), throttle=None)
        self.inner = EchoApp()
        self.records: list[Record] = []
        guard = Guard(self.scheme, clock=self.clock, hooks=[self.records.append], **options)
        self.app = AuthGuardMiddleware(app or self.inner, guard=guard)

    async def exchange(
        self, field: bytes | None, *messages: Message, headers: Sequence[Header] = (), **scope: Any
    ) -> Exchange:
        """Send one request with this ``Authorization``. ``scope`` overrides the scope of GET / over HTTP."""
        lines = [(b"host", b"testserver"), *headers, *([] if field is None else [(b"authorization", field)])]
        settings = {**http_scope(), **scope, "headers": lines}
        if settings["type"] == "websocket":
            del settings["method"]
        return await run_app(self.app, settings, *messages)

    async def request(self, field: bytes | None, *messages: Message, **scope: Any) -> Answer:
        """Send one request, and return the response with its only record."""
        self.records.clear()
        exchange = await self.exchange(field, *messages, **scope)
        (record,) = self.records
        return Answer(exchange, record.reason)

    async def request_with(self, told: DigestParams, *messages: Message, **scope: Any) -> Answer:
        """Send one request with these Digest parameters."""
        return await self.request(b"Digest " + serialize(told), *messages, **scope)

    async def challenge(self, **scope: Any) -> Challenge:
        """The challenge for an anonymous request."""
        return (await self.request(None, **scope)).challenge
