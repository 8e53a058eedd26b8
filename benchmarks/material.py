"""What the requests of the benchmarks present: keys, distinct tokens, a password. It is made once, and can be saved.

Making it takes most of the time of a short measurement, and under valgrind ten times as long. So the process that
measures loads what another one has made.
"""

from __future__ import annotations

import json
import pickle
import secrets
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm

ISSUER, AUDIENCE, KID = "https://login.example/", "orders", "2027-01"
USER, PASSWORD = "alice", "correct horse battery staple"
SUBJECT = "248289761001"
#: Seconds for which tokens are valid, and seconds since which the expired ones are not.
LIFETIME = 3600
#: With so many tokens of a kind, one after the other, each has left a cache of 4,096 entries before it comes again.
MORE_THAN_A_CACHE = 4_500


@dataclass(frozen=True, slots=True)
class Material:
    """Keys as PEM text (HS256: ASCII), tokens by kind, and a cheap bcrypt hash of ``PASSWORD``.

    A kind of token is an algorithm, or ``expired``, ``forged`` or ``audience``; those are RS256. All tokens of a kind
    are distinct. ``many_keys`` is a JWK Set of a thousand P-256 keys, whose last one is that of the ES256 tokens.
    """

    keys: dict[str, bytes]
    tokens: dict[str, list[bytes]]
    stored: str
    many_keys: str

    def save(self, path: Path) -> None:
        """Write everything into a file, for ``load``."""
        path.write_bytes(pickle.dumps((self.keys, self.tokens, self.stored, self.many_keys)))

    @classmethod
    def load(cls, path: Path) -> Material:
        """Read what ``save`` has written."""
        return cls(*pickle.loads(path.read_bytes()))  # noqa: S301 - written a moment ago by the process that started this


def make_material(tokens: int) -> Material:
    """New keys, and this many tokens of each kind."""
    private: dict[str, Any] = {
        # PyJWT and others take a secret as text too, so it is ASCII.
        "HS256": secrets.token_urlsafe(48).encode(),
        "RS256": rsa.generate_private_key(65537, 2048),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    }
    keys = {name: key if isinstance(key, bytes) else public_pem(key) for name, key in private.items()}
    kinds = {name: [mint(key, name) for _ in range(tokens)] for name, key in private.items()}
    rsa_key = private["RS256"]
    kinds["expired"] = [mint(rsa_key, "RS256", age=2 * LIFETIME) for _ in range(tokens)]
    kinds["forged"] = [_forge(token) for token in kinds["RS256"]]
    kinds["audience"] = [mint(rsa_key, "RS256", aud="invoices")]
    stored = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    return Material(
        keys, kinds, stored, _key_set([ec.generate_private_key(ec.SECP256R1()) for _ in range(999)], private["ES256"])
    )


def mint(key: Any, algorithm: str, *, age: int = 0, **claims: Any) -> bytes:
    """A token like those of identity providers, issued ``age`` seconds ago. ``claims`` replace those it has."""
    issued = int(time.time()) - age
    payload = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": SUBJECT,
        "iat": issued,
        "exp": issued + LIFETIME,
        "jti": str(uuid.uuid4()),
        "scope": "read write",
        "roles": ["clerk"],
        **claims,
    }
    return jwt.encode(payload, key, algorithm=algorithm, headers={"kid": KID}).encode()


def public_pem(key: Any) -> bytes:
    """The public key as a SubjectPublicKeyInfo PEM."""
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def _forge(token: bytes) -> bytes:
    """The token with another signature of the same length.

    Its first half is the same: otherwise it may be larger than the modulus, which OpenSSL refuses without any work.
    """
    signed, _, signature = token.rpartition(b".")
    half = len(signature) // 2
    changed = b"AAAA" if signature[half : half + 4] != b"AAAA" else b"BBBB"
    return b".".join((signed, signature[:half] + changed + signature[half + 4 :]))


def _key_set(others: Sequence[ec.EllipticCurvePrivateKey], last: ec.EllipticCurvePrivateKey) -> str:
    to_jwk = ECAlgorithm.to_jwk
    entries = [
        {**to_jwk(key.public_key(), as_dict=True), "kid": f"other-{number}"} for number, key in enumerate(others)
    ]
    return json.dumps({"keys": [*entries, {**to_jwk(last.public_key(), as_dict=True), "kid": KID}]})
