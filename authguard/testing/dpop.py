"""Make the proofs of a DPoP client for tests (RFC 9449): they are really signed."""

from __future__ import annotations

import json
import uuid
from hashlib import sha256
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from authguard.model import Clock, wall_clock
from authguard.validation import functions
from authguard.wire.dpop_proof import TYP, base64url, thumbprint

_ALGORITHM = "ES256"


class DpopKey:
    """The key of a client, to which tokens are bound: ``issuer.token("alice", cnf=key.cnf)``.

    ``clock`` dates the proofs; pass the guard's clock. Raises ``ConfigurationError``.
    """

    def __init__(self, *, clock: Clock = wall_clock) -> None:
        (self._clock,) = functions("clock", [clock])
        self._algorithm = _ALGORITHM
        self._key: Any = ec.generate_private_key(ec.SECP256R1())
        self._jwk: dict[str, str] = json.loads(ECAlgorithm.to_jwk(self._key.public_key()))

    @property
    def cnf(self) -> dict[str, str]:
        """The claim ``cnf`` of a token that is bound to this key (RFC 9449 section 6.1)."""
        return {"jkt": thumbprint(self._jwk)}

    def proof(self, method: str, url: str, *, token: str | None = None, nonce: str | None = None, **claims: Any) -> str:
        """A proof for a request with this method and URL, and with this token.

        ``claims`` are added, and replace claims of the same name; the value ``...`` removes a claim.
        """
        valid: dict[str, Any] = {"jti": uuid.uuid4().hex, "htm": method, "htu": url, "iat": self._clock()}
        if token is not None:
            valid["ath"] = base64url(sha256(token.encode()).digest())
        if nonce is not None:
            valid["nonce"] = nonce
        payload = {name: value for name, value in {**valid, **claims}.items() if value is not ...}
        return jwt.encode(payload, self._key, algorithm=self._algorithm, headers={"typ": TYP, "jwk": self._jwk})

    def headers(self, token: str, method: str, url: str, *, nonce: str | None = None, **claims: Any) -> dict[str, str]:
        """The fields that a client sends with a request: the token, and a new proof. The arguments are those of
        ``proof``.
        """
        proof = self.proof(method, url, token=token, nonce=nonce, **claims)
        return {"Authorization": f"DPoP {token}", "DPoP": proof}
