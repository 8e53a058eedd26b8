"""Make credentials for tests that the schemes verify as they verify real ones."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from authguard.keys.static import PEM
from authguard.model import Clock, wall_clock
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
    """The header that a client sends for Basic, in UTF-8 (RFC 7617).

    Raises ``ValueError`` for a username with a colon, and for control characters.
    """
    return _field(Credentials("Basic", UserPass(username, password).to_token68()))


class TestIssuer:
    """An issuer with its own key, for tests: ``Bearer(issuer.as_issuer(), realm="orders")``.

    The guard verifies its tokens as it verifies any others, so it must be built with this issuer in place of the real
    one: build it in a function that takes the issuer. ``clock`` dates the tokens; pass the guard's clock. Raises
    ``ConfigurationError``.
    """

    #: pytest would collect the class by its name.
    __test__ = False

    def __init__(
        self, issuer: str = "https://issuer.test/", *, audience: str = "tests", clock: Clock = wall_clock
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
        """The ``Issuer`` for a ``Bearer``, with the options of ``Issuer``."""
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
        """An access token with all claims of RFC 9068, valid for ``expires_in`` seconds; expired if that is negative.

        ``claims`` are added, and replace claims of the same name; the value ``...`` removes a claim.
        """
        now = self._clock()
        valid = {
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
        payload = {name: value for name, value in {**valid, **claims}.items() if value is not ...}
        header = {"typ": ACCESS_TOKEN, "kid": self._kid}
        return jwt.encode(payload, self._key, algorithm=_ALGORITHM, headers=header)

    def headers(
        self,
        subject: str,
        *,
        roles: Iterable[str] = (),
        scopes: Iterable[str] = (),
        expires_in: float = 600.0,
        **claims: Any,
    ) -> dict[str, str]:
        """The header that a client sends with such a token; the arguments are those of ``token``."""
        token = self.token(subject, roles=roles, scopes=scopes, expires_in=expires_in, **claims)
        return _field(Credentials("Bearer", token.encode()))


def _field(credentials: Credentials) -> dict[str, str]:
    return {"Authorization": credentials.to_header().decode("ascii")}


# Takes the place of the response until it is computed.
_NO_RESPONSE = b"0" * 64


def digest_auth(
    challenge: str | Sequence[str], username: str, password: str, *, method: str = "GET", uri: str = "/", count: int = 1
) -> dict[str, str]:
    """The header that a client answers a challenge with.

    ``digest_auth(response.headers["www-authenticate"], "alice", "s3cret")``. ``uri`` is the path and the query as they
    are sent; ``count`` is the number of requests made with this challenge, this one included. Of a list of challenges,
    ``response.headers.get_list("www-authenticate")``, the first is answered. A client can do the same:
    ``client.get("/", auth=httpx2.DigestAuth("alice", "s3cret"))``. Raises ``ValueError`` for anything but a challenge
    of Digest with ``qop=auth``.
    """
    line = challenge if isinstance(challenge, str) else next(iter(challenge), "")
    parsed = Challenge.from_header(line.encode("latin-1"))
    realm, nonce, opaque, algorithm_name = map(parsed.get, ("realm", "nonce", "opaque", "algorithm"))
    offers_auth = parsed.scheme.lower() == "digest" and "auth" in (parsed.get("qop") or "").replace(",", " ").split()
    if not offers_auth or realm is None or nonce is None or opaque is None or algorithm_name is None:
        msg = "this is not a challenge of Digest with qop=auth"
        raise ValueError(msg)
    (algorithm,) = parse_algorithms([algorithm_name])
    unanswered = DigestCredentials(
        username,
        realm.encode(),
        nonce.encode(),
        uri.encode(),
        _NO_RESPONSE,
        b"auth",
        secrets.token_hex(8).encode(),
        b"%08x" % count,
        algorithm.name,
        opaque.encode(),
    )
    a1 = ha1(algorithm.hashed, username, realm, password)
    if algorithm.session:
        a1 = session(algorithm.hashed, a1, unanswered.nonce, unanswered.cnonce)
    answer = replace(unanswered, response=expected_response(algorithm.hashed, a1, unanswered, method.encode()))
    return {"Authorization": Credentials("Digest", answer.to_auth_params()).to_header().decode("latin-1")}
