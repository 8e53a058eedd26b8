"""A guard with the scheme DPoP, and a client with a key of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from authguard import AUTHENTICATED, Bearer, Dpop, Guard, MemoryProofs, Record
from authguard.middleware import AuthGuardMiddleware
from authguard.testing import DpopKey, ManualClock, TestIssuer
from tests.support.asgi import Exchange, header_list, http_scope, run_app

SECRET = "k" * 32
URL = "https://api.example"


async def _app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["user"].identity.encode()})


class Site:
    """An app that asks for a token of DPoP or Bearer, and the token of alice, which is bound to the key of ``client``.

    The app has been there for a quarter of an hour, so that no proof is forgotten.
    """

    def __init__(self, *, kind: type[Guard] = Guard, leeway: float = 60.0, **options: Any) -> None:
        self.clock = ManualClock()
        self.issuer = TestIssuer(clock=self.clock)
        self.client, self.thief = DpopKey(clock=self.clock), DpopKey(clock=self.clock)
        self.records: list[Record] = []
        given = {"public_url": URL, "secret": SECRET, "proofs": MemoryProofs(clock=self.clock), **options}
        self.dpop = Dpop(self.issuer.as_issuer(), realm="orders", clock=self.clock, **given)
        self.guard = kind(
            self.dpop,
            Bearer(self.issuer.as_issuer(), realm="orders", clock=self.clock),
            default=AUTHENTICATED,
            leeway=leeway,
            clock=self.clock,
            monotonic=self.clock,
            hooks=[self.records.append],
        )
        self.app = AuthGuardMiddleware(_app, guard=self.guard)
        self.clock.move(900)
        self.token = self.bound_token()

    def bound_token(self, **claims: Any) -> str:
        """A token of alice that is bound to the key of the client."""
        return self.issuer.token("alice", **{"cnf": self.client.cnf, **claims})

    def headers(self, path: str = "/orders", method: str = "GET", **proof: Any) -> dict[str, str]:
        """The token, and a new proof of the client for this request."""
        return self.client.headers(self.token, method, URL + path, **proof)

    async def send(self, headers: Mapping[str, str], path: str = "/orders", **scope: Any) -> Exchange:
        """The answer to one request with these fields."""
        fields = header_list(**{name.lower().replace("-", "_"): value for name, value in headers.items()})
        return await run_app(self.app, http_scope(path, headers=fields, **scope))

    async def reason(self, headers: Mapping[str, str], path: str = "/orders", **scope: Any) -> str | None:
        """The reason of the refusal; None if the request was granted."""
        answer = await self.send(headers, path, **scope)
        reason = self.records[-1].reason
        assert (answer.status == 200) == (reason is None)
        return reason
