"""Credentials that a scheme really verifies."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from authguard.keys.static import PEM
from authguard.model import Clock, functions, names
from authguard.schemes.claims import ACCESS_TOKEN, ClaimPath, Source, claim
from authguard.schemes.issuer import Issuer
from authguard.wire.authorization import Credentials
from authguard.wire.basic import UserPass

_ALGORITHM = "ES256"
_ROLES, _SCOPES, _SUBJECT = claim("roles"), claim("scope"), claim("sub")


def basic_auth(username: str, password: str) -> dict[str, str]:
    """The header that a client sends for Basic, in UTF-8 (RFC 7617). ``ValueError`` for what cannot be sent."""
    return _field(Credentials("Basic", UserPass(username, password).to_token68()))


class MintingIssuer:
    """An issuer with a key of its own, made for the test: ``Bearer(minting.as_issuer(), realm="orders")``.

    Its tokens are verified as any others are, so that a guard is built with it in place of the real issuer: build the
    guard in a function that takes the issuer. ``clock`` dates the tokens; give it the guard's. Raises
    ``ConfigurationError``.
    """

    def __init__(
        self, issuer: str = "https://issuer.test/", *, audience: str = "tests", clock: Clock = time.time
    ) -> None:
        self.issuer, self.audience = issuer, audience
        (self._clock,) = functions("clock", [clock])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._kid = uuid.uuid4().hex

    def as_issuer(
        self,
        *,
        roles: Source | Sequence[Source] = _ROLES,
        scopes: Source | Sequence[Source] = _SCOPES,
        subject: ClaimPath = _SUBJECT,
        typ: str | None = None,
    ) -> Issuer:
        """What goes under a ``Bearer``; the options are those of ``Issuer``."""
        pem = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return Issuer(
            self.issuer,
            audience=self.audience,
            algorithms=[_ALGORITHM],
            keys=PEM(pem, kid=self._kid),
            roles=roles,
            scopes=scopes,
            subject=subject,
            typ=typ,
        )

    def token(
        self,
        subject: str,
        *,
        roles: Iterable[str] = (),
        scopes: Iterable[str] = (),
        expires_in: float = 600.0,
        **claims: Any,
    ) -> str:
        """An access token with all the claims of RFC 9068, good for so many seconds; below 0 it expired before.

        ``claims`` are added, and stand in the place of those of the same name; ``...`` takes a claim away.
        """
        now = self._clock()
        good = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": subject,
            "client_id": "tests",
            "jti": uuid.uuid4().hex,
            "iat": min(now, now + expires_in),
            "exp": now + expires_in,
            "roles": sorted(names("roles", roles)),
            "scope": " ".join(sorted(names("scopes", scopes))),
        }
        said = {name: value for name, value in {**good, **claims}.items() if value is not ...}
        header = {"typ": ACCESS_TOKEN, "kid": self._kid}
        return jwt.encode(said, self._key, algorithm=_ALGORITHM, headers=header)

    def headers(
        self,
        subject: str,
        *,
        roles: Iterable[str] = (),
        scopes: Iterable[str] = (),
        expires_in: float = 600.0,
        **claims: Any,
    ) -> dict[str, str]:
        """The header that a client sends with such a token."""
        token = self.token(subject, roles=roles, scopes=scopes, expires_in=expires_in, **claims)
        return _field(Credentials("Bearer", token.encode()))


def _field(credentials: Credentials) -> dict[str, str]:
    return {"Authorization": credentials.to_header().decode("ascii")}
