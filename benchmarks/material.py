"""What the requests of the benchmarks present: keys, distinct tokens, a password. It is made once, and can be saved.

Making it takes most of the time of a short measurement, and under valgrind ten times as long. So the process that
measures loads what another one has made.
"""

from __future__ import annotations

import pickle
import secrets
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ISSUER, AUDIENCE, KID = "https://login.example/", "orders", "2027-01"
USER, PASSWORD = "alice", "correct horse battery staple"
#: Seconds for which the tokens are valid, and seconds since which the expired ones are not.
LIFETIME = 3600


@dataclass(frozen=True, slots=True)
class Material:
    """Keys as PEM text (HS256: bytes), tokens by kind, and a cheap bcrypt hash of ``PASSWORD``.

    A kind of token is an algorithm, or ``expired`` or ``forged``; those are RS256. All tokens of a kind are distinct.
    """

    keys: dict[str, bytes]
    tokens: dict[str, list[bytes]]
    stored: str

    def save(self, path: Path) -> None:
        """Write everything into a file, for ``load``."""
        path.write_bytes(pickle.dumps((self.keys, self.tokens, self.stored)))

    @classmethod
    def load(cls, path: Path) -> Material:
        """Read what ``save`` has written."""
        return cls(*pickle.loads(path.read_bytes()))  # noqa: S301 - written a moment ago by the process that started this


def make_material(tokens: int) -> Material:
    """New keys, and this many tokens of each kind."""
    private: dict[str, Any] = {
        "HS256": secrets.token_bytes(64),
        "RS256": rsa.generate_private_key(65537, 2048),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    }
    keys = {
        name: key
        if isinstance(key, bytes)
        else key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        for name, key in private.items()
    }
    now = int(time.time())
    kinds = {name: [_mint(key, name, now) for _ in range(tokens)] for name, key in private.items()}
    kinds["expired"] = [_mint(private["RS256"], "RS256", now - 2 * LIFETIME) for _ in range(tokens)]
    kinds["forged"] = [_forge(token) for token in kinds["RS256"]]
    stored = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    return Material(keys, kinds, stored)


def _mint(key: Any, algorithm: str, issued: int) -> bytes:
    """A token like those of identity providers."""
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "248289761001",
        "iat": issued,
        "exp": issued + LIFETIME,
        "jti": str(uuid.uuid4()),
        "scope": "read write",
        "roles": ["clerk"],
    }
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": KID}).encode()


def _forge(token: bytes) -> bytes:
    """The token with another signature of the same length."""
    signed, _, signature = token.rpartition(b".")
    return b".".join((signed, signature[:8][::-1] + signature[8:]))
