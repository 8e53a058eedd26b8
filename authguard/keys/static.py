"""Keys given directly: PEM, JWK, JWK Set, HMAC secret. All are checked and bound while the app is built."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate
from jwt.exceptions import PyJWTError

from authguard.errors import ConfigurationError
from authguard.keys.base import ALGORITHMS, KeyMaterial, VerificationKey

_log = logging.getLogger("authguard")

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 16384  # OpenSSL verifies with none that is longer
_HMAC_OCTETS = {"HS256": 32, "HS384": 48, "HS512": 64}  # RFC 7518 section 3.2
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512", "secp256k1": "ES256K"}
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})

# Secrets that stand in documentation and so in attackers' lists, and what they are put together from; compared without
# case and punctuation. The two long ones are those of jwt.io and of FastAPI's tutorial.
_PUBLISHED = (
    "secret",
    "changeme",
    "password",
    "your256bitsecret",
    "supersecret",
    "yoursecretkey",
    "mysecretkey",
    "astringsecretatleast256bitslong",
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
)


@dataclass(frozen=True, slots=True)
class PEM(KeyMaterial):
    """A public key (SubjectPublicKeyInfo) or an X.509 certificate in PEM form.

    A certificate stands for its key: its dates and its chain are not looked at. ``algorithm`` is needed only where an
    RSA key could serve several that the issuer allows. Raises ``ConfigurationError``, for a private key too.
    """

    pem: str | bytes = field(repr=False)
    kid: str | None = None
    algorithm: str | None = None

    def bind(self, algorithms: frozenset[str]) -> Sequence[VerificationKey]:
        octets = _octets(self.pem, "PEM", self.kid)
        if not octets.strip():
            raise ConfigurationError("keys", "this PEM is empty")
        if b"-----BEGIN " not in octets:
            raise ConfigurationError("keys", "this is no PEM; PEM(...) takes the text of the file, not its path")
        if b"PRIVATE KEY-----" in octets:
            raise ConfigurationError("keys", "this PEM holds a private key; verifying takes the public one alone")
        try:
            if b"-----BEGIN CERTIFICATE-----" in octets:
                public: object = load_pem_x509_certificate(octets).public_key()
            else:
                public = load_pem_public_key(octets)
        except (ValueError, UnsupportedAlgorithm):
            raise ConfigurationError("keys", "this PEM holds no public key and no certificate") from None
        return (_bound(public, self.kid, self.algorithm, algorithms),)


@dataclass(frozen=True, slots=True)
class Secret(KeyMaterial):
    """An HMAC secret of at least the hash's size: 32, 48 or 64 octets (RFC 7518 section 3.2), random.

    Raises ``ConfigurationError`` for a short one, a key of another kind, or a phrase out of documentation.
    """

    secret: str | bytes = field(repr=False)
    kid: str | None = None
    algorithm: str | None = None

    def bind(self, algorithms: frozenset[str]) -> Sequence[VerificationKey]:
        octets = _octets(self.secret, "Secret", self.kid)
        return (_secret(octets, self.kid, self.algorithm, algorithms),)


@dataclass(frozen=True, slots=True)
class JWK(KeyMaterial):
    """One JSON Web Key (RFC 7517), as a mapping or as JSON. ``alg``, ``use`` and ``key_ops`` are honoured."""

    jwk: Mapping[str, Any] | str | bytes = field(repr=False)

    def bind(self, algorithms: frozenset[str]) -> Sequence[VerificationKey]:
        return (_from_jwk(_mapping(self.jwk, "JWK"), algorithms),)


@dataclass(frozen=True, slots=True)
class JWKSet(KeyMaterial):
    """A JSON Web Key Set (RFC 7517 section 5), as a mapping or as JSON.

    A key that cannot be used here (for encryption, of an unknown type, too short) is left out and told in one WARNING.
    Raises ``ConfigurationError`` where none is left.
    """

    jwks: Mapping[str, Any] | str | bytes = field(repr=False)

    def bind(self, algorithms: frozenset[str]) -> Sequence[VerificationKey]:
        members = _mapping(self.jwks, "JWK Set").get("keys")
        if not isinstance(members, list):
            raise ConfigurationError("keys", 'a JWK Set has a list under "keys"')
        keys: list[VerificationKey] = []
        problems: list[str] = []
        for index, member in enumerate(members):
            try:
                keys.append(_from_jwk(_mapping(member, "JWK"), algorithms))
            except ConfigurationError as error:
                problems.append(f"key {index}: {error}")
        if not keys:
            raise ConfigurationError("keys", f"no key of this set can be used; {'; '.join(problems) or 'it is empty'}")
        if problems:
            _log.warning("keys left out of a JWK Set: %s", "; ".join(problems))
        return keys


def _octets(value: object, what: str, kid: object) -> bytes:
    if kid is not None and not isinstance(kid, str):
        raise ConfigurationError("keys", f"the kid {kid!r} is no string")
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ConfigurationError("keys", f"{what}(...) takes text or octets, and not {type(value).__name__}")
    try:
        return value.encode()
    except UnicodeEncodeError:
        pass
    raise ConfigurationError("keys", f"the text of {what}(...) cannot be encoded")


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if isinstance(value, str | bytes):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            found = "an address; key servers are not in this release" if _is_address(value) else "no JSON"
            raise ConfigurationError("keys", f"this {what} is {found}") from None
    if not isinstance(value, Mapping):
        raise ConfigurationError("keys", f"a {what} is a JSON object")
    return value


def _is_address(value: object) -> bool:
    return isinstance(value, str) and value.lower().startswith(("http://", "https://"))


def _from_jwk(jwk: Mapping[str, Any], algorithms: frozenset[str]) -> VerificationKey:
    kid, use, operations, alg = (jwk.get(name) for name in ("kid", "use", "key_ops", "alg"))
    if kid is not None and not isinstance(kid, str):
        raise ConfigurationError("keys", "kid is no string")
    if use is not None and use != "sig":  # RFC 7517 section 4.2
        raise ConfigurationError("keys", "its use is not sig")
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):  # section 4.3
        raise ConfigurationError("keys", "its key_ops do not hold verify")
    if alg is not None and not (isinstance(alg, str) and alg in ALGORITHMS):  # section 4.4
        raise ConfigurationError("keys", "its alg is no signature algorithm that is known here")
    if jwk.get("kty") != "oct" and "d" in jwk:
        raise ConfigurationError("keys", "it holds a private key; verifying takes the public one alone")
    by_type = {"oct": "HS256", "RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}
    kty = jwk.get("kty")
    if not isinstance(kty, str) or kty not in by_type:
        raise ConfigurationError("keys", f"its kty is none of {', '.join(by_type)}")
    try:
        # The parser of a JWK goes by its type alone; which algorithm it is bound to is decided below.
        material = ALGORITHMS[by_type[kty]].from_jwk(dict(jwk))
    except (PyJWTError, ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm):
        raise ConfigurationError("keys", f"its members make no {kty} key") from None
    if isinstance(material, bytes):
        return _secret(material, kid, alg, algorithms)
    return _bound(material, kid, alg, algorithms)


def _fitting(key: object) -> frozenset[str]:
    match key:
        case rsa.RSAPublicKey():
            if key.key_size < MIN_RSA_BITS:
                raise ConfigurationError("keys", f"an RSA key of {key.key_size} bits; {MIN_RSA_BITS} is the least")
            if key.key_size > MAX_RSA_BITS:
                raise ConfigurationError("keys", f"an RSA key of {key.key_size} bits; {MAX_RSA_BITS} is the most")
            return _RSA
        case ec.EllipticCurvePublicKey():
            return frozenset({_CURVES.get(key.curve.name, "")})
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            return frozenset({"EdDSA"})
        case _:
            return frozenset()


def _bound(key: object, kid: str | None, algorithm: str | None, algorithms: frozenset[str]) -> VerificationKey:
    return VerificationKey(_one(_fitting(key), algorithm, algorithms), kid, key)


def _secret(octets: bytes, kid: str | None, algorithm: str | None, algorithms: frozenset[str]) -> VerificationKey:
    name = _one(frozenset(_HMAC_OCTETS), algorithm, algorithms)
    if len(octets) < _HMAC_OCTETS[name]:
        raise ConfigurationError(
            "keys",
            f"a secret of {len(octets)} octets; {name} takes {_HMAC_OCTETS[name]} or more: "
            f"python -c 'import secrets; print(secrets.token_urlsafe(64))'",
        )
    plain = "".join(filter(str.isalnum, octets.decode("latin-1").lower()))
    if len(set(octets)) < 8 or any(
        plain == (phrase * (len(plain) // len(phrase) + 1))[: len(plain)] for phrase in _PUBLISHED
    ):
        raise ConfigurationError("keys", "this secret can be guessed; make one with secrets.token_urlsafe(64)")
    try:
        material = ALGORITHMS[name].prepare_key(octets)
    except PyJWTError:
        raise ConfigurationError(
            "keys", "this is a key or a certificate, no secret; give PEM(...) or JWK(...)"
        ) from None
    return VerificationKey(name, kid, material)


def _one(fitting: frozenset[str], stated: str | None, allowed: frozenset[str]) -> str:
    """The one algorithm that a key is bound to (RFC 8725 section 3.1)."""
    candidates = sorted(fitting & allowed & (frozenset({stated}) if stated is not None else fitting))
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise ConfigurationError(
            "keys", f"this key could serve {' and '.join(candidates)}; say algorithm= (or alg in the JWK)"
        )
    if stated is not None:
        raise ConfigurationError("keys", f"{stated} is not allowed by algorithms= and fit for this key")
    raise ConfigurationError("keys", f"this is {_kind(fitting)}; algorithms= names {', '.join(sorted(allowed))} only")


def _kind(fitting: frozenset[str]) -> str:
    if fitting == _RSA:
        return "an RSA key (RS256, PS256, ...)"
    if fitting == frozenset(_HMAC_OCTETS):
        return "a secret (HS256, HS384, HS512)"
    return f"a key for {', '.join(fitting)}" if all(fitting) and fitting else "a key of a kind that is not known here"
