"""Issuers and Bearer schemes, and what such a scheme decides about one token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from authguard import (
    PEM,
    Accepted,
    AuthRequest,
    Bearer,
    Credentials,
    Issuer,
    Moment,
    Principal,
    Rejected,
    VerificationKey,
)
from authguard.model import Outcome
from authguard.schemes.bearer.issuer import Keys
from authguard.schemes.bearer.issuer_names import IssuerArgument
from tests.support.clock import NOW
from tests.support.coroutines import run_without_waiting
from tests.support.tokens import AUDIENCE, ISSUER, claims, public_pem, raw_token, rsa_key


class CountingKeySource:
    """A key source that keeps the calls of ``keys_for``."""

    def __init__(self, *keys: VerificationKey) -> None:
        self.keys = keys
        self.calls: list[tuple[str | None, str]] = []

    async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        self.calls.append((kid, algorithm))
        return [key for key in self.keys if kid is None or key.kid in {None, kid}]


def issuer(keys: Keys | Mapping[Any, Keys] | None = None, name: IssuerArgument = ISSUER, **changes: Any) -> Issuer:
    """An issuer of RS256 tokens, with these changes."""
    options = {"audience": AUDIENCE, "algorithms": ["RS256"], **changes}
    return Issuer(name, keys=PEM(public_pem(rsa_key())) if keys is None else keys, **options)


def bearer(*issuers: Issuer, **options: Any) -> Bearer:
    """A Bearer scheme with these issuers, or with one issuer of RS256 tokens."""
    return Bearer(*issuers or (issuer(),), **{"realm": "orders", **options})


def signed_token(header: Mapping[str, Any] | None = None, payload: Any = None) -> str:
    """A token with this header and payload and a valid signature."""
    stated = {"alg": "RS256", **(header or {})}
    return raw_token(stated, claims() if payload is None else payload, rsa_key())


def bearer_request(*headers: tuple[bytes, bytes], now: float = NOW, leeway: float = 60) -> AuthRequest:
    """A request at this moment."""
    return AuthRequest({"type": "http", "headers": list(headers)}, path="/", moment=Moment(now, leeway))


def bearer_credentials(token: str | bytes) -> Credentials:
    """The credentials of this token."""
    return Credentials("bearer", token.encode() if isinstance(token, str) else token)


def outcome(scheme: Bearer, token: str | bytes, *, now: float = NOW, leeway: float = 60) -> Outcome:
    """What the scheme decides about a token, if it need not wait for a key."""
    return run_without_waiting(scheme.authenticate(bearer_request(now=now, leeway=leeway), bearer_credentials(token)))


def accepted_principal(scheme: Bearer, token: str | bytes, **moment: float) -> Principal:
    """The principal of a token that is accepted."""
    result = outcome(scheme, token, **moment)
    assert isinstance(result, Accepted), result
    return result.principal


# Facts that tell a person what was found, what was wanted and what to do. tests/schemes/test_refusal_facts.py has them.
_EXPLAINING = frozenset(
    {"found", "differs_by", "token_has", "header_has", "header", "source", "known", "iss?", "aud?", "endpoint"}
    | {"tried", "not_used", "cnf", "check"}
)
_WANTED_EXPLAINS = frozenset(
    {"token.claim_missing", "token.claim_invalid", "token.bound", "token.critical_unknown", "token.issuer_unknown"}
)


def essential(code: str, facts: Mapping[str, object]) -> tuple[str, Mapping[str, object]]:
    """A reason and its facts, without those that only explain it to a person."""
    left_out = _EXPLAINING | ({"wanted", "signature"} if code in _WANTED_EXPLAINS else {"signature"})
    return code, {name: fact for name, fact in facts.items() if name not in left_out}


def rejection(scheme: Bearer, token: str | bytes, **moment: float) -> tuple[str, Mapping[str, object]]:
    """The reason code and the facts with which a token is rejected, without its fingerprint and without those that only
    explain it to a person."""
    return essential(*explained_rejection(scheme, token, **moment))


def explained_rejection(scheme: Bearer, token: str | bytes, **moment: float) -> tuple[str, Mapping[str, object]]:
    """The reason code and the facts with which a token is rejected. The fingerprint of the token is checked and left
    out."""
    result = outcome(scheme, token, **moment)
    assert isinstance(result, Rejected), result
    facts: dict[str, Any] = dict(result.facts)
    data = token.encode() if isinstance(token, str) else token
    assert facts.pop("token", sha256(data).hexdigest()[:8]) == sha256(data).hexdigest()[:8]
    return result.reason.code, facts
