"""An introspection endpoint that is a function, and the answers that it gives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import anyio

from authguard import Introspection
from tests.support.clock import NOW
from tests.support.tokens import AUDIENCE, ISSUER

INTROSPECTION_URL = "https://login.example/introspect"
CLIENT_OPTIONS: dict[str, Any] = {"client_id": "orders", "client_secret": "a secret of the API's"}
OPAQUE_TOKEN = "2YotnFZFEjr1zCsicMWpAA"


def active_response(**changes: Any) -> dict[str, Any]:
    """A valid answer at NOW, with these changes. A change to ``...`` removes the member."""
    good: dict[str, Any] = {
        "active": True,
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice",
        "scope": "read write",
        "token_type": "Bearer",
        "client_id": "web",
        "iat": NOW - 60,
        "exp": NOW + 600,
        "roles": ["admin"],
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not ...}


class IntrospectionServer:
    """A function in the place of HTTP, which keeps its requests and waits for ``hold``.

    ``answer`` is a set of members, a status and a body, or an exception to raise.
    """

    def __init__(self, answer: object = None) -> None:
        self.answer: object = active_response() if answer is None else answer
        self.requests: list[tuple[str, Mapping[str, str], dict[str, list[str]]]] = []
        self.hold: anyio.Event | None = None

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        self.requests.append((url, headers, parse_qs(body.decode("ascii"), strict_parsing=True)))
        if self.hold is not None:
            await self.hold.wait()
        answer = self.answer
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, tuple):
            return answer
        return 200, json.dumps(answer).encode()


def introspection(server: IntrospectionServer | None = None, **changes: Any) -> Introspection:
    """An ``Introspection`` that asks this server."""
    options = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "post": server or IntrospectionServer(),
        **CLIENT_OPTIONS,
        **changes,
    }
    return Introspection(**{"url": INTROSPECTION_URL, **options})
