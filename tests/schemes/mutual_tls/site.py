"""A guard whose tokens may be bound to client certificates, a client with one, and a thief with another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from authguard import AUTHENTICATED, Bearer, ForwardedCertificate, Guard, Record, Scheme
from authguard.middleware import AuthGuardMiddleware
from authguard.testing import ClientCertificate, ManualClock, TestIssuer
from tests.support.asgi import Exchange, http_scope, run_app

#: The proxy, and somebody else.
PROXY, STRANGER = ("10.0.0.7", 40000), ("203.0.113.9", 40000)
#: Made once: a key takes a while.
ALICE, THIEF = ClientCertificate("alice"), ClientCertificate("thief")


def forwarded(**options: Any) -> ForwardedCertificate:
    """A header that is believed from the proxies."""
    return ForwardedCertificate(**{"header": "Client-Cert", "trusted": ["10.0.0.0/8"], **options})


async def _app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["user"].identity.encode()})


class Site:
    """An app that believes ``Client-Cert`` of 10.0.0.0/8, and the token of alice, which is bound to her certificate."""

    def __init__(self, *others: Scheme, issuers: Sequence[Any] = (), **options: Any) -> None:
        self.clock = ManualClock()
        self.issuer = TestIssuer(clock=self.clock)
        self.records: list[Record] = []
        given = {"client_certificate": forwarded(), "realm": "orders", "clock": self.clock, **options}
        self.bearer = Bearer(*(issuers or [self.issuer.as_issuer()]), **given)
        self.guard = Guard(
            self.bearer,
            *others,
            default=AUTHENTICATED,
            clock=self.clock,
            monotonic=self.clock,
            hooks=[self.records.append],
        )
        self.app = AuthGuardMiddleware(_app, guard=self.guard)
        self.token = self.issuer.token("alice", cnf=ALICE.cnf)

    async def send(
        self, *fields: tuple[bytes, bytes], token: str | None = None, client: Any = PROXY, **scope: Any
    ) -> Exchange:
        """The answer to a request with the token and these fields."""
        headers = [(b"authorization", f"Bearer {token or self.token}".encode()), *fields]
        return await run_app(self.app, http_scope("/orders", headers=headers, client=client, **scope))

    async def said(self, *fields: tuple[bytes, bytes], **options: Any) -> str | None:
        """The reason of the refusal; None if the request was granted."""
        answer = await self.send(*fields, **options)
        record = self.records[-1]
        assert (answer.status == 200) == (record.reason is None)
        return record.reason

    @property
    def facts(self) -> Mapping[str, object]:
        """The facts of the last record."""
        return self.records[-1].facts


def field(value: str | bytes, name: bytes = b"client-cert") -> tuple[bytes, bytes]:
    """One field line."""
    return name, value.encode("latin-1") if isinstance(value, str) else value


#: What the proxy sends for the two.
HERS, HIS = field(ALICE.rfc9440), field(THIEF.rfc9440)
