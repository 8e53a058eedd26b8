"""How the tests of schemes ask one, without ASGI and without a guard."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from authguard import Accepted, AuthRequest, Bearer, Credentials, Moment, Principal, Rejected
from authguard.model import Outcome
from tests.minting import NOW, claims, raw_token, rsa_key
from tests.security.peers import settled


def signed(header: Mapping[str, Any] | None = None, payload: Any = None) -> str:
    """A token with this header and payload and a right signature."""
    stated = {"alg": "RS256", **(header or {})}
    return raw_token(stated, claims() if payload is None else payload, rsa_key())


def request(*headers: tuple[bytes, bytes], now: float = NOW, leeway: float = 60) -> AuthRequest:
    """A request at a moment."""
    return AuthRequest({"type": "http", "headers": list(headers)}, path="/", moment=Moment(now, leeway))


def presented(token: str | bytes) -> Credentials:
    """Credentials for the Bearer scheme."""
    return Credentials("bearer", token.encode() if isinstance(token, str) else token)


def outcome(scheme: Bearer, token: str | bytes, *, now: float = NOW, leeway: float = 60) -> Outcome:
    """What the scheme says to a token, where its keys are at hand."""
    return settled(scheme.authenticate(request(now=now, leeway=leeway), presented(token)))


def accepted(scheme: Bearer, token: str | bytes, **moment: float) -> Principal:
    """Whom the scheme takes the bearer for."""
    said = outcome(scheme, token, **moment)
    assert isinstance(said, Accepted), said
    return said.principal


def refused(scheme: Bearer, token: str | bytes, **moment: float) -> tuple[str, Mapping[str, object]]:
    """The code and the facts of a refusal, less the name of the token, which is checked here."""
    said = outcome(scheme, token, **moment)
    assert isinstance(said, Rejected), said
    facts: dict[str, Any] = dict(said.facts)
    octets = token.encode() if isinstance(token, str) else token
    assert facts.pop("token", sha256(octets).hexdigest()[:8]) == sha256(octets).hexdigest()[:8]
    return said.reason.code, facts
