"""Keys that sign tokens: private keys, made, written as PEM or JWK and read again, and secrets, which are only read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from jwt.exceptions import PyJWTError
from jwt.utils import base64url_encode

from authguard.cli.private_file import read_file
from authguard.errors import ConfigurationError
from authguard.keys.jwk import bound_keys, bound_secret
from authguard.keys.signatures import ALGORITHMS
from authguard.value_types import frozen

#: The algorithms that a new key may be for, and how a key is made for each.
MAKES: Mapping[str, Callable[[], Any]] = MappingProxyType(
    {
        "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate,
    }
)

# No key is so long, not even one of RSA with 16,384 bits.
_MAX_BYTES = 65_536
_MAKE_ONE = "make a key pair with: authguard keygen --public public.pem"
_BY_TYPE = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA", "oct": "HS256"}
_BY_CURVE = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512", "secp256k1": "ES256K"}
_HMAC = ("HS256", "HS384", "HS512")
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


@frozen
class SigningKey:
    """A private key or a secret, the one algorithm that it signs with, and its key id if it has one."""

    algorithm: str
    material: Any = field(repr=False)
    kid: str | None = None

    @classmethod
    def generate(cls, algorithm: str) -> SigningKey:
        """A new key. Its key id is its thumbprint, which no other key has (RFC 7638)."""
        material = MAKES[algorithm]()
        return cls(algorithm, material, _thumbprint(_members(algorithm, material.public_key())))

    def sign(self, claims: Mapping[str, Any], typ: str) -> str:
        """A JWT with these claims (RFC 7519). The header has the key id if the key has one."""
        header = {"alg": self.algorithm, "typ": typ} | ({} if self.kid is None else {"kid": self.kid})
        text = b".".join(base64url_encode(_compact(part)) for part in (header, claims))
        signature = ALGORITHMS[self.algorithm].sign(text, self.material)
        return b".".join((text, base64url_encode(signature))).decode()

    def private_pem(self) -> bytes:
        """The key in PEM (PKCS #8), not encrypted."""
        pem: bytes = self.material.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return pem

    def public_pem(self) -> bytes:
        """The public key in PEM, as ``PEM(...)`` reads it."""
        pem: bytes = self.material.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return pem

    def private_jwk(self) -> bytes:
        """The key as a JWK (RFC 7517)."""
        return _json(self._jwk(self.material))

    def public_jwks(self) -> bytes:
        """A JWK Set with the public key, as ``JWKSet(...)`` reads it and a key server serves it."""
        return _json({"keys": [self._jwk(self.material.public_key())]})

    def _jwk(self, key: object) -> Mapping[str, Any]:
        return {**_members(self.algorithm, key), "use": "sig", "alg": self.algorithm, "kid": self.kid}


def load_signing_key(argument: str, path: Path, algorithm: str | None = None, kid: str | None = None) -> SigningKey:
    """The private key in a file, in PEM or as a JWK, or a secret: as it is, for an ``algorithm`` of HMAC, or as a JWK.

    ``algorithm`` and ``kid`` replace those of the key. Raises ``ConfigurationError`` about ``argument``.
    """
    content = read_file(argument, path, most=_MAX_BYTES, fix=_MAKE_ONE).strip()
    try:
        return _loaded(content, algorithm, kid)
    except ConfigurationError as error:
        raise ConfigurationError(argument, f"{path}: {str(error).removeprefix('keys: ')}") from None


def _loaded(content: bytes, algorithm: str | None, kid: str | None) -> SigningKey:
    if content.startswith(b"{"):
        found = _from_jwk(content)
    else:
        found = SigningKey("", content if content and algorithm in _HMAC else _from_pem(content))
    fitting = _algorithms_of(found.material)
    key = SigningKey(algorithm or found.algorithm or fitting[0], found.material, kid or found.kid)
    if key.algorithm not in fitting:
        raise ConfigurationError("keys", f"its key is not for {key.algorithm}, but for {' or '.join(fitting)}")
    # A key that authguard refuses would sign tokens that no app accepts.
    if isinstance(key.material, bytes):
        bound_secret(key.material, key.kid, key.algorithm, frozenset({key.algorithm}))
    else:
        bound_keys(key.material.public_key(), key.kid, key.algorithm, frozenset({key.algorithm}))
    return key


def _from_pem(content: bytes) -> Any:
    problem = None
    if not content:
        problem = f"it is empty; {_MAKE_ONE}"
    elif b"-----BEGIN OPENSSH PRIVATE KEY-----" in content:
        problem = "it is a key in the format of OpenSSH; convert a copy of it: ssh-keygen -p -m PKCS8 -f COPY"
    elif b"PRIVATE KEY-----" not in content and b"-----BEGIN " in content:
        problem = "it contains no private key; give the file that was written with this one"
    elif b"\\n" in content and b"-----BEGIN " in content:
        problem = (
            "it has \\n as two characters in place of line feeds, as environment files keep them; write it anew: "
            'printf %b "$(cat FILE)" > COPY'
        )
    if problem is not None:
        raise ConfigurationError("keys", problem)
    try:
        material = load_pem_private_key(content, password=None)
    except TypeError:
        problem = "it is encrypted; decrypt a copy for development: openssl pkey -in FILE -out COPY"
    except (ValueError, UnsupportedAlgorithm):
        problem = f"it is not a private key in PEM, nor a private JWK; {_MAKE_ONE}"
    else:
        return material
    raise ConfigurationError("keys", problem)


def _from_jwk(content: bytes) -> SigningKey:
    try:
        jwk = json.loads(content)
    except (ValueError, RecursionError):
        raise ConfigurationError("keys", f"it is not valid JSON; {_MAKE_ONE}") from None
    if "keys" in jwk:
        raise ConfigurationError("keys", "it is a JWK Set; give a file with one private key of it")
    kty, algorithm, kid = jwk.get("kty"), jwk.get("alg", ""), jwk.get("kid")
    if not isinstance(kty, str) or kty not in _BY_TYPE:
        raise ConfigurationError("keys", f"its kty is not one of {', '.join(_BY_TYPE)}; {_MAKE_ONE}")
    if kty != "oct" and "d" not in jwk:
        raise ConfigurationError("keys", "it is a public JWK; give the private one, which has a member d")
    if not isinstance(algorithm, str) or not isinstance(kid, str | None):
        raise ConfigurationError("keys", "its alg or kid is not a text")
    try:
        material = ALGORITHMS[_BY_TYPE[kty]].from_jwk(jwk)
        # PyJWT compares the two halves of an Edwards key only from 2.15 on.
        fits = kty != "OKP" or _members("EdDSA", material.public_key())["x"] == jwk["x"].rstrip("=")
    except (PyJWTError, ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm):
        fits, material = False, None
    if not fits:
        raise ConfigurationError("keys", f"its {kty} key is damaged; {_MAKE_ONE}")
    return SigningKey(algorithm, material, kid)


def _algorithms_of(material: object) -> Sequence[str]:
    """The algorithms that a key can sign with, the usual one first. Raises ``ConfigurationError``."""
    match material:
        case bytes():
            return _HMAC
        case rsa.RSAPrivateKey():
            return _RSA
        case ec.EllipticCurvePrivateKey() if material.curve.name in _BY_CURVE:
            return (_BY_CURVE[material.curve.name],)
        case ed25519.Ed25519PrivateKey():
            return ("EdDSA", "Ed25519")
        case ed448.Ed448PrivateKey():
            return ("EdDSA", "Ed448")
        case _:
            raise ConfigurationError("keys", f"no algorithm signs tokens with such a key; {_MAKE_ONE}")


def _members(algorithm: str, key: object) -> Mapping[str, Any]:
    """The members of a JWK that are the key itself."""
    jwk = ALGORITHMS[algorithm].to_jwk(key, as_dict=True)
    return {name: member for name, member in jwk.items() if name != "key_ops"}  # `use` says it


def _thumbprint(members: Mapping[str, Any]) -> str:
    """RFC 7638. The members of a public key are exactly those that it is computed of."""
    text = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return base64url_encode(hashlib.sha256(text.encode()).digest()).decode()


def _compact(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"
