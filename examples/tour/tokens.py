"""The tokens of the tour: valid ones, and those that an attacker would try."""

from __future__ import annotations

import hmac
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.utils import base64url_encode

HOUR = 3600


def new_key() -> rsa.RSAPrivateKey:
    """Generate a key for the issuer of the tour."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_pem(key: rsa.RSAPrivateKey) -> str:
    """Return the public key that the issuer publishes."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def tokens(key: rsa.RSAPrivateKey, expired_by: float) -> dict[str, str]:
    """Return all tokens by name. They are valid for an hour; ``EXPIRED`` expired ``expired_by`` seconds ago."""
    attackers_key = new_key()
    now = time.time()
    claims: dict[str, Any] = {"iss": "https://login.example/", "aud": "orders", "sub": "alice", "roles": ["admin"]}
    claims |= {"iat": int(now) - 60, "exp": int(now) + HOUR}

    def signed(**changes: object) -> str:
        return jwt.encode(claims | changes, key, algorithm="RS256")

    return {
        "ALICE": signed(),
        "BOB": signed(sub="bob", roles=[]),
        "EXPIRED": signed(iat=now - expired_by - HOUR, exp=now - expired_by),
        "EARLY": signed(nbf=int(now) + HOUR),
        "BILLING": signed(aud="billing"),
        "UNSIGNED": jwt.encode(claims, "", algorithm="none"),
        "CONFUSED": _signed_with_secret(claims, public_pem(key)),
        "FORGED": jwt.encode(claims, attackers_key, algorithm="RS256"),
    }


def _signed_with_secret(claims: dict[str, Any], secret: str) -> str:
    # PyJWT refuses to use a PEM key as a secret. An attacker can sign without PyJWT.
    signing_input, _, _ = jwt.encode(claims, bytes(32), algorithm="HS256").rpartition(".")
    signature = hmac.digest(secret.encode(), signing_input.encode(), "sha256")
    return f"{signing_input}.{base64url_encode(signature).decode()}"
