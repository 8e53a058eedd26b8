"""A whole app behind a guard, asked over raw ASGI: what goes out, and what was told of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Message

from authguard import (
    PEM,
    AuthGuardMiddleware,
    Bearer,
    Guard,
    Issuer,
    KeySource,
    Record,
    VerificationKey,
    reasons,
)
from authguard.keys.source import KeyMaterial
from authguard.schemes.bearer.claims import Unchecked
from tests.minting import AUDIENCE, ISSUER, NOW, public_pem, rsa_key

#: Every code that a record may bear.
KNOWN_CODES = {value.code for value in vars(reasons).values() if isinstance(value, reasons.Reason)}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, and the records of it. ``reason`` is that of the only one."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    records: Sequence[Record]

    @property
    def record(self) -> Record:
        (only,) = self.records
        return only

    @property
    def reason(self) -> str | None:
        return self.record.reason


class Door:
    """An app whose every path answers with the name of the caller."""

    def __init__(self, *schemes: Any, **options: Any) -> None:
        self.records: list[Record] = []
        guard = Guard(*schemes or (bearer(),), clock=lambda: NOW, hooks=[self.records.append], **options)
        app = Starlette(routes=[Route("/{rest:path}", _who)])
        self.app = AuthGuardMiddleware(app, guard=guard)

    async def answer(self, authorization: bytes | None = None, *more: tuple[bytes, bytes]) -> Answer:
        """The answer to one GET with this ``Authorization`` field."""
        told = len(self.records)
        headers = [*more] if authorization is None else [(b"authorization", authorization), *more]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "method": "GET",
            "path": "/",
            "raw_path": b"/",
            "query_string": b"",
            "scheme": "https",
            "headers": headers,
            "client": ("192.0.2.1", 50000),
            "server": ("api.example", 443),
        }
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        start, body = sent[0], b"".join(message.get("body", b"") for message in sent[1:])
        return Answer(start["status"], start["headers"], body, self.records[told:])

    async def bearer(self, token: bytes | str) -> Answer:
        """The answer to one GET with this token."""
        return await self.answer(b"Bearer " + (token.encode() if isinstance(token, str) else token))


async def _who(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.user.display_name)


class Counted:
    """A key source that counts how often it is asked."""

    def __init__(self, *keys: VerificationKey) -> None:
        self.keys = keys
        self.asked: list[tuple[str | None, str]] = []

    async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        self.asked.append((kid, algorithm))
        return [key for key in self.keys if kid is None or key.kid in {None, kid}]


def issuer(
    keys: KeySource | KeyMaterial | Sequence[KeyMaterial] | None = None, name: str | Unchecked = ISSUER, **changes: Any
) -> Issuer:
    """An issuer of RS256 tokens, unless the changes say otherwise."""
    options = {"audience": AUDIENCE, "algorithms": ["RS256"], **changes}
    return Issuer(name, keys=PEM(public_pem(rsa_key())) if keys is None else keys, **options)


def bearer(*issuers: Issuer, **options: Any) -> Bearer:
    """A Bearer scheme of these issuers, or of the one of RS256 tokens."""
    return Bearer(*issuers or (issuer(),), **{"realm": "orders", **options})
