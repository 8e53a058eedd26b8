"""One JSON Web Key (RFC 7517), or a public key by itself: whether it can verify here, and with what."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.exceptions import PyJWTError

from authguard.errors import ConfigurationError
from authguard.http_client import FetchFailed
from authguard.keys.source import ALGORITHMS, VerificationKey

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


class _Read(NamedTuple):
    kid: str | None
    alg: str | None
    material: Any


def from_jwk(jwk: Mapping[str, Any], algorithms: frozenset[str]) -> VerificationKey:
    """The key, bound to one of the algorithms (RFC 8725 section 3.1); ``ConfigurationError`` where none fits."""
    kid, alg, material = _read(jwk)
    if isinstance(material, bytes):
        return bound_secret(material, kid, alg, algorithms)
    return bound_key(material, kid, alg, algorithms)


def published(jwk: object) -> list[VerificationKey]:
    """The key of a key server: public, one value for each algorithm that it may serve.

    That is its ``alg``, or what its type and curve allow; of these an issuer's ``algorithms`` choose. A key server that
    knows no shared secret cannot make one ours: ``oct`` is refused before it is read. Raises ``ConfigurationError``.
    """
    if not isinstance(jwk, Mapping):
        raise ConfigurationError("keys", "it is no JSON object")
    if jwk.get("kty") == "oct":
        raise ConfigurationError("keys", "it is a secret, and a key server has none to publish")
    kid, alg, material = _read(jwk)
    fitting = _fitting(material)
    if alg is not None and alg not in fitting:
        raise ConfigurationError("keys", f"its alg is {alg}, and it does not fit the key")
    return [VerificationKey(name, kid, material) for name in sorted(fitting if alg is None else {alg})]


def _read(jwk: Mapping[str, Any]) -> _Read:
    """The key as far as its own members tell (RFC 7517 section 4); ``ConfigurationError`` where it cannot be used."""
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
    return _Read(kid, alg, material)


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


def bound_key(key: object, kid: str | None, algorithm: str | None, algorithms: frozenset[str]) -> VerificationKey:
    """A public key, bound to one of the algorithms."""
    return VerificationKey(_one(_fitting(key), algorithm, algorithms), kid, key)


def bound_secret(octets: bytes, kid: str | None, algorithm: str | None, algorithms: frozenset[str]) -> VerificationKey:
    """An HMAC secret, bound to one of the algorithms, long enough for it and none that is published."""
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


#: No issuer has more at once, and each that is left out is remembered, so that it is told once.
MOST_KEYS = 2000
_SHOWN = 64


@dataclass(frozen=True, slots=True)
class KeyWarning:
    """What is to be told of one key, once. ``of`` tells the key from others, so that it is not told again."""

    text: str
    of: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of a set that can be used, how many members they are, how many were left out, and what is to be told."""

    keys: Sequence[VerificationKey]
    held: int
    skipped: int
    remarks: Sequence[KeyWarning]


def read_json(octets: bytes) -> Mapping[str, Any]:
    """The JSON object of a server's answer; ``FetchFailed`` where it is none."""
    try:
        found = json.loads(octets)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, Mapping):
        raise FetchFailed("what it answers is no JSON object")
    return found


def read_keys(octets: bytes) -> KeySet:
    """The set in these octets.

    A key that cannot be used spoils no other. ``FetchFailed`` where it is no set or no key of it can be used.
    """
    keys: list[VerificationKey] = []
    kids: Counter[tuple[str | None, type]] = Counter()
    remarks: list[KeyWarning] = []
    members = _members(octets)
    for index, member in enumerate(members):
        try:
            found = published(member)
        except Exception as error:  # noqa: BLE001 - what reads its numbers is not ours
            told = str(error).removeprefix("keys: ") if isinstance(error, ConfigurationError) else "it cannot be read"
            remarks.append(KeyWarning(f"key {index}{_named(member)} is left out: {told}", _digest(member)))
        else:
            keys += found
            kids[found[0].kid, type(found[0].material)] += 1
    if not keys:
        raise NoUsableKey(remarks)
    held = kids.total()
    for (kid, _), count in kids.items():
        if kid is not None and count > 1:
            remarks.append(KeyWarning(f"{count} keys have the kid {_shown(kid)}; each is tried", ascii(kid).encode()))
    return KeySet(keys, held, len(members) - held, remarks)


def _members(octets: bytes) -> list[Any]:
    members = read_json(octets).get("keys")
    if not isinstance(members, list):
        raise FetchFailed("what it answers is no JWK Set")
    if not members:
        raise FetchFailed("its key set is empty")
    if len(members) > MOST_KEYS:
        raise FetchFailed(f"its key set holds more than {MOST_KEYS} keys")
    return members


class NoUsableKey(FetchFailed):
    """A set in which no key can be used, and why each cannot."""

    def __init__(self, remarks: Sequence[KeyWarning]) -> None:
        super().__init__("no key of its key set can be used")
        self.remarks = remarks


def _named(member: object) -> str:
    kid = member.get("kid") if isinstance(member, Mapping) else None
    return f" (kid {_shown(kid)})" if isinstance(kid, str) else ""


def _shown(kid: str) -> str:
    return ascii(kid[:_SHOWN])


def _digest(member: object) -> bytes:
    # Of its strings alone: what is nested may be nested too deep to be written.
    texts = [item for item in member.items() if isinstance(item[1], str)] if isinstance(member, Mapping) else []
    return hashlib.sha256(repr((type(member), sorted(texts))).encode()).digest()
