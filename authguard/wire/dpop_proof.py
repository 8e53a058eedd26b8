"""Parse the proofs of DPoP (RFC 9449 section 4.2): signed tokens that carry their own public key.

The parser is as strict as that of other tokens. It verifies no signature, and reads no clock.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import field
from hashlib import sha256
from typing import Final

from authguard.value_types import value
from authguard.wire.grammar import WireError
from authguard.wire.jws import base64url_decode, read_object

#: The longest proof that is parsed, in bytes: an RSA key of 4,096 bits and its signature take about 2,500.
MAX_PROOF = 8 * 1024

TYP: Final = "dpop+jwt"

# https://www.rfc-editor.org/rfc/rfc7638.html#section-3.2, https://www.rfc-editor.org/rfc/rfc8037.html#section-2: the
# members that a public key must have. They stand in the order of their names, as a thumbprint needs them.
_PUBLIC_MEMBERS: Mapping[str, tuple[str, ...]] = {
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
    "RSA": ("e", "kty", "n"),
}
#: The members of a JWK that no public key has (RFC 7518 section 6).
_SECRET_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


@value
class DpopProof:
    """A well-formed proof. It is not verified yet: ``signature`` may be wrong or empty.

    - ``alg`` and ``jwk``: with what to verify it. ``jwk`` has the members of a public key, and no other. ``thumbprint``
      is that of the key (RFC 7638), in base64url: what ``cnf.jkt`` of a token must be.
    - ``htm`` and ``htu``: the method and the URI of the request that it was made for.
    - ``ath``: the SHA-256 of the access token, in base64url. ``nonce``: that of the server. None if they are not there.
    - ``iat``: when it was made, by the clock of the client, in seconds since the epoch. ``jti``: its id.
    """

    alg: str
    jwk: Mapping[str, str] = field(repr=False)
    thumbprint: str
    jti: str = field(repr=False)
    htm: str
    htu: str
    iat: float
    ath: str | None = field(repr=False)
    nonce: str | None = field(repr=False)
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def parse_proof(raw: bytes, limit: int = MAX_PROOF) -> DpopProof:
    """Parse the value of a ``DPoP`` field. ``WireError`` is the only exception that the input can cause.

    Its ``part`` says which check of RFC 9449 section 4.3 has failed: ``"form"`` (the first three), ``"typ"``, ``"alg"``
    or ``"jwk"``.
    """
    try:
        return _parse(raw, limit)
    except WireError as error:
        if error.part is None:
            error.part = "form"
        raise


def _parse(raw: bytes, limit: int) -> DpopProof:
    if len(raw) > limit:
        raise WireError("too long")
    parts = raw.split(b".", 3)
    if len(parts) != 3:
        raise WireError("not three parts, as a signed JWT has")
    header, claims = read_object(base64url_decode(parts[0])), read_object(base64url_decode(parts[1]))
    signature = base64url_decode(parts[2])
    if header.get("typ") != TYP:
        raise WireError("the header member typ is not dpop+jwt", part="typ")
    alg = header.get("alg")
    if not isinstance(alg, str):
        raise WireError("the header has no alg", part="alg")
    if "crit" in header or header.get("b64", True) is not True:  # RFC 7515 section 4.1.11: none is understood here
        raise WireError("the header has crit or b64")
    jwk = _public_key(header.get("jwk"))
    return DpopProof(
        alg,
        jwk,
        thumbprint(jwk),
        _text(claims, "jti"),
        _text(claims, "htm"),
        _text(claims, "htu"),
        _time(claims.get("iat")),
        _optional_text(claims, "ath"),
        _optional_text(claims, "nonce"),
        raw[: -len(parts[2]) - 1],
        signature,
    )


def thumbprint(jwk: Mapping[str, str]) -> str:
    """The SHA-256 thumbprint of a public key (RFC 7638), in base64url. ``jwk`` has the required members alone."""
    members = {name: jwk[name] for name in _PUBLIC_MEMBERS[jwk["kty"]]}
    return base64url(sha256(json.dumps(members, separators=(",", ":")).encode("ascii")).digest())


def base64url(data: bytes) -> str:
    """Base64url without padding (RFC 7515 section 2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _public_key(jwk: object) -> Mapping[str, str]:
    """The required members of a public key; the others say nothing that is used."""
    if not isinstance(jwk, dict):
        raise WireError("the header has no jwk", part="jwk")
    if not _SECRET_MEMBERS.isdisjoint(jwk):
        raise WireError("the jwk holds a private or a symmetric key", part="jwk")
    kty = jwk.get("kty")
    names = _PUBLIC_MEMBERS.get(kty) if isinstance(kty, str) else None
    if names is None:
        raise WireError("the kty of the jwk is none of EC, OKP and RSA", part="jwk")
    members = {name: jwk.get(name) for name in names}
    key: dict[str, str] = {name: member for name, member in members.items() if isinstance(member, str) and member}
    if len(key) < len(names):
        raise WireError("the jwk lacks a member of its kind of key", part="jwk")
    try:
        for name in key.keys() - {"kty", "crv"}:
            base64url_decode(key[name].encode("ascii", "replace"))
    except WireError:
        raise WireError("a member of the jwk is not base64url", part="jwk") from None
    if not key.get("crv", "").isascii():
        raise WireError("the crv of the jwk is not ASCII", part="jwk")
    return key


def _text(claims: dict[str, object], name: str) -> str:
    text = claims.get(name)
    if not isinstance(text, str) or not text:
        raise WireError(_NO_TEXT[name])
    return text


_NO_TEXT = {name: f"{name} is not a string that is not empty" for name in ("jti", "htm", "htu")}


def _optional_text(claims: dict[str, object], name: str) -> str | None:
    if name not in claims:
        return None
    text = claims[name]
    if not isinstance(text, str):
        raise WireError(_NOT_TEXT[name])
    return text


_NOT_TEXT = {name: f"{name} is not a string" for name in ("ath", "nonce")}


def _time(iat: object) -> float:
    if isinstance(iat, bool) or not isinstance(iat, int | float) or not abs(iat) < _NO_TIME:
        raise WireError("iat is not a number of seconds since 1970")
    return iat


# Later than any clock. Neither infinity nor NaN is less, and a longer integer would fail where it is subtracted from a
# time.
_NO_TIME = 2**53
