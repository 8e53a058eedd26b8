"""Keys, key sets and tokens, made by libraries that are not authguard's, each key once in a test run."""

from __future__ import annotations

import base64
import hashlib
import json
from base64 import urlsafe_b64decode
from functools import cache
from typing import Any

import jwt
import jwt.api_jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.support.clock import NOW

ISSUER = "https://login.example/"
AUDIENCE = "orders"


@cache
def rsa_key(bits: int = 2048, which: int = 0) -> rsa.RSAPrivateKey:
    """An RSA key. ``which`` tells several keys apart."""
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key(curve: str = "P-256", which: int = 0) -> ec.EllipticCurvePrivateKey:
    """An elliptic-curve key. ``which`` tells several keys apart."""
    curves: dict[str, ec.EllipticCurve] = {
        "P-256": ec.SECP256R1(),
        "P-384": ec.SECP384R1(),
        "P-521": ec.SECP521R1(),
        "secp256k1": ec.SECP256K1(),
    }
    return ec.generate_private_key(curves[curve])


@cache
def ed_key(which: int = 0) -> ed25519.Ed25519PrivateKey:
    """An Ed25519 key. ``which`` tells several keys apart."""
    return ed25519.Ed25519PrivateKey.generate()


def public_pem(key: Any) -> bytes:
    """The public half of a key, as SubjectPublicKeyInfo in PEM."""
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def private_pem(key: Any) -> bytes:
    """The private half of a key, as PKCS #8 in PEM."""
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


def claims(**changes: Any) -> dict[str, Any]:
    """Valid claims at NOW, with these changes. A change to ``...`` removes the claim."""
    good: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice",
        "iat": NOW - 60,
        "exp": NOW + 600,
        "roles": ["admin"],
        "scope": "read write",
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not ...}


def mint(key: Any = None, algorithm: str = "RS256", headers: dict[str, Any] | None = None, **changes: Any) -> str:
    """A token that PyJWT signed."""
    return jwt.encode(claims(**changes), key or rsa_key(), algorithm=algorithm, headers=headers)


def b64url(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw_token(
    header: bytes | dict[str, Any], payload: bytes | dict[str, Any], key: Any, algorithm: str = "RS256"
) -> str:
    """A token with exactly this header and payload, and a valid signature over them."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    signing_input = ".".join(map(b64url, parts))
    signer = jwt.get_algorithm_by_name(algorithm)
    return f"{signing_input}.{b64url(signer.sign(signing_input.encode(), signer.prepare_key(key)))}"


#: A secret for HMAC that is published nowhere.
HMAC_SECRET = hashlib.sha512(b"a secret of these tests").digest()


def unsigned_token(header: dict[str, Any], payload: dict[str, Any] | None = None) -> bytes:
    """The bytes that a signature would cover."""
    return ".".join(b64url(json.dumps(part).encode()) for part in (header, payload or claims())).encode()


def with_signature(signing_input: bytes, signature: bytes) -> bytes:
    """A token with this signature."""
    return signing_input + b"." + b64url(signature).encode()


def split_signature(token: bytes) -> tuple[bytes, bytes]:
    """The signed bytes of a token, and its signature."""
    signing_input, _, signature = token.rpartition(b".")
    return signing_input, urlsafe_b64decode(signature + b"=" * (-len(signature) % 4))


def public_jwk(key: Any) -> dict[str, Any]:
    """The public half of a key as a JWK."""
    names = {"RSAPrivateKey": "RS256", "Ed25519PrivateKey": "EdDSA"}
    algorithm = jwt.get_algorithm_by_name(names.get(type(key).__name__, "ES256"))
    jwk: dict[str, Any] = algorithm.to_jwk(key.public_key(), as_dict=True)
    return jwk


def published_jwk(kid: str | None, key: Any, **members: Any) -> dict[str, Any]:
    """The public half of a key as a key server publishes it."""
    return {**public_jwk(key), **({} if kid is None else {"kid": kid}), **members}


def key_set(*members: Any, **keys: Any) -> bytes:
    """A JWK Set of these members, and of these keys by their ids."""
    return json.dumps({"keys": [*members, *(published_jwk(kid, key) for kid, key in keys.items())]}).encode()
