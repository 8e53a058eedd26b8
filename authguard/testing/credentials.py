"""Credentials that a scheme really verifies."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from authguard.keys.static import PEM
from authguard.model import Clock
from authguard.schemes.bearer.claim_mapping import ClaimPath, Source, claim
from authguard.schemes.bearer.claims import ACCESS_TOKEN
from authguard.schemes.bearer.issuer import Issuer
from authguard.schemes.digest.options import parse_algorithms
from authguard.validation import functions, names
from authguard.wire.authorization import Credentials
from authguard.wire.basic import UserPass
from authguard.wire.challenge import Challenge
from authguard.wire.digest import DigestCredentials, expected_response, ha1, session

_ALGORITHM = "ES256"
_ROLES, _SCOPES, _SUBJECT = claim("roles"), claim("scope"), claim("sub")


def basic_auth(username: str, password: str) -> dict[str, str]:
    """The header that a client sends for Basic, in UTF-8 (RFC 7617). ``ValueError`` for what cannot be sent."""
    return _field(Credentials("Basic", UserPass(username, password).to_token68()))


class TestIssuer:
    """An issuer with a key of its own, made for the test: ``Bearer(minting.as_issuer(), realm="orders")``.

    Its tokens are verified as any others are, so that a guard is built with it in place of the real issuer: build the
    guard in a function that takes the issuer. ``clock`` dates the tokens; give it the guard's. Raises
    ``ConfigurationError``.
    """

    #: pytest collects classes by this prefix, and this one is not a test.
    __test__ = False

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
        location = {name: value for name, value in {**good, **claims}.items() if value is not ...}
        header = {"typ": ACCESS_TOKEN, "kid": self._kid}
        return jwt.encode(location, self._key, algorithm=_ALGORITHM, headers=header)

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


_UNKNOWN = b"0" * 64


def digest_auth(
    challenge: str | Sequence[str], username: str, password: str, *, method: str = "GET", uri: str = "/", count: int = 1
) -> dict[str, str]:
    """What a client answers to a challenge: ``digest_auth(response.headers["www-authenticate"], "alice", "s3cret")``.

    ``uri`` is the path and the query as they are sent; ``count`` says how many requests were made with this challenge.
    Of several challenges give all, ``response.headers.get_list("www-authenticate")``: the first is answered. Or have a
    client do the same: ``client.get("/", auth=httpx2.DigestAuth("alice", "s3cret"))``. Raises ``ValueError`` for
    what is no challenge of ``Digest``.
    """
    first = challenge if isinstance(challenge, str) else next(iter(challenge), "")
    read = Challenge.from_header(first.encode("latin-1"))
    asked = {name: read.get(name) for name in ("realm", "nonce", "opaque", "algorithm")}
    realm, nonce, opaque, algorithm = asked.values()
    offers_auth = read.scheme.lower() == "digest" and "auth" in (read.get("qop") or "").replace(",", " ").split()
    if not offers_auth or realm is None or nonce is None or opaque is None or algorithm is None:
        msg = "this is no challenge of Digest with qop=auth"
        raise ValueError(msg)
    (one,) = parse_algorithms([algorithm])
    unanswered = DigestCredentials(
        username,
        realm.encode(),
        nonce.encode(),
        uri.encode(),
        _UNKNOWN,
        b"auth",
        secrets.token_hex(8).encode(),
        b"%08x" % count,
        one.name,
        opaque.encode(),
    )
    a1 = ha1(one.hashed, username, realm, password)
    if one.session:
        a1 = session(one.hashed, a1, unanswered.nonce, unanswered.cnonce)
    answer_denial = replace(unanswered, response=expected_response(one.hashed, a1, unanswered, method.encode()))
    return {"Authorization": Credentials("Digest", answer_denial.to_auth_params()).to_header().decode("latin-1")}
