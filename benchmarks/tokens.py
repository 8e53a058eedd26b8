"""Keys and tokens, and the bare signature check that every implementation has to do."""

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
#: The ``kid`` of the key that signs.
RSA_KID = "2027-01"


def mint(key: Any, algorithm: str) -> bytes:
    """A token like those of identity providers, valid for an hour."""
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
    """Return a function that verifies the signature of ``TOKEN`` with ``cryptography``, and does nothing else."""
    signing_input, _, encoded = TOKEN.rpartition(b".")
    signature, key = base64.urlsafe_b64decode(encoded + b"=="), RSA.public_key()

    def verify() -> None:
        key.verify(signature, signing_input, padding.PKCS1v15(), SHA256())

    return verify


def public_pem(key: Any) -> bytes:
    """The public key as a SubjectPublicKeyInfo PEM."""
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem
