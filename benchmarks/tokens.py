"""Keys, tokens, and the one signature check that no token can do without."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ISSUER, AUDIENCE = "https://login.example/", "orders"

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
SECRET = secrets.token_bytes(64)
#: The name of the key that signed.
RSA_KID = "2027-01"


def mint(key: Any, algorithm: str) -> bytes:
    """A token such as identity providers issue, good for an hour."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "248289761001",
        "iat": now,
        "exp": now + 3600,
        "jti": "0f8fad5b-d9cb-469f-a165-70867728950e",
        "scope": "read write",
        "roles": ["clerk"],
    }
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": RSA_KID}).encode()


TOKEN = mint(RSA, "RS256")


def bare_verify() -> Callable[[], None]:
    """The signature of ``TOKEN``, verified by ``cryptography`` and nothing around it."""
    signed, _, signature = TOKEN.rpartition(b".")
    octets, key = base64.urlsafe_b64decode(signature + b"=="), RSA.public_key()

    def verify() -> None:
        key.verify(octets, signed, padding.PKCS1v15(), SHA256())

    return verify


def public_pem(key: Any) -> bytes:
    """The public half, as SubjectPublicKeyInfo."""
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem
