"""JSON Web Keys and JSON Web Key Sets (RFC 7517): parsing, and which algorithms a key is good for.

The module reads in this order: binding a key or a secret to one algorithm; parsing a JWK that the app gives or that a
key server publishes; parsing the key set of a key server.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import field
from typing import Any, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509 import load_der_x509_certificate
from jwt.exceptions import PyJWTError
from jwt.utils import base64url_decode, base64url_encode, from_base64url_uint

from authguard.concurrency.slices import Slices
from authguard.errors import ConfigurationError
from authguard.http_client import FetchFailed
from authguard.keys.key_mistakes import private_members
from authguard.keys.signatures import ALGORITHMS, ED448, ED25519
from authguard.keys.source import VerificationKey
from authguard.keys.weak_keys import check_edwards_key, check_exponent, check_rsa_key
from authguard.validation import names
from authguard.value_types import frozen

_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512", "secp256k1": "ES256K"}
_HMAC_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}  # RFC 7518 section 3.2
_DISTINCT_BYTES = 8

# Secrets of documentation, and what such secrets are put together from: attackers try these first. Case and punctuation
# do not count. The two long ones are those of jwt.io and of FastAPI's tutorial.
_KNOWN_SECRETS = (
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

# --- binding a key to an algorithm ------------------------------------------------------------------------------------


def bound_keys(
    key: object, kid: str | None, algorithm: str | None, allowed: frozenset[str]
) -> Sequence[VerificationKey]:
    """A public key, bound to the one allowed algorithm that fits, under each of its names.

    Raises ``ConfigurationError`` if none fits, and if several do.
    """
    fitting = _fitting(_algorithms_of(key), algorithm, allowed)
    if not (fitting <= ED25519 or fitting <= ED448):
        fitting = frozenset({_only(fitting)})
    return [VerificationKey(name, kid, key) for name in sorted(fitting)]


def bound_secret(secret: bytes, kid: str | None, algorithm: str | None, allowed: frozenset[str]) -> VerificationKey:
    """An HMAC secret, bound to one of the allowed algorithms.

    Raises ``ConfigurationError`` if none fits, and if the secret is too short or easy to guess.
    """
    name = _only(_fitting(frozenset(_HMAC_BYTES), algorithm, allowed))
    if len(secret) < _HMAC_BYTES[name]:
        raise ConfigurationError(
            "keys",
            f"this secret has {len(secret)} bytes; {name} needs {_HMAC_BYTES[name]} or more. "
            "Make one with: authguard secret",
        )
    if _is_guessable(secret):
        raise ConfigurationError("keys", "this secret can be guessed; make one with: authguard secret")
    try:
        material = ALGORITHMS[name].prepare_key(secret)
    except PyJWTError:
        raise ConfigurationError(
            "keys", "this is a key or a certificate and not a secret; give PEM(...) or JWK(...)"
        ) from None
    return VerificationKey(name, kid, material)


def _is_guessable(secret: bytes) -> bool:
    """Whether it has very few different bytes, or repeats a secret that is published."""
    text = "".join(filter(str.isalnum, secret.decode("latin-1").lower()))
    return len(set(secret)) < _DISTINCT_BYTES or any(
        text == (known * (len(text) // len(known) + 1))[: len(text)] for known in _KNOWN_SECRETS
    )


def _algorithms_of(key: object) -> frozenset[str]:
    """The algorithms that a public key can verify, by its type and curve.

    Raises ``ConfigurationError`` for a key that is too weak or too slow.
    """
    match key:
        case rsa.RSAPublicKey():
            check_rsa_key(key)
            return _RSA
        case ec.EllipticCurvePublicKey():
            return frozenset({_CURVES.get(key.curve.name, "")})
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            check_edwards_key(key)
            return ED25519 if isinstance(key, ed25519.Ed25519PublicKey) else ED448
        case _:
            return frozenset()


def _fitting(possible: frozenset[str], stated: str | None, allowed: frozenset[str]) -> frozenset[str]:
    """The allowed algorithms that a key is good for, or the stated one. Raises ``ConfigurationError`` if none is."""
    fitting = possible & allowed & (frozenset({stated}) if stated is not None else possible)
    if fitting:
        return fitting
    if stated is not None:
        raise ConfigurationError("keys", f"{stated} is not in algorithms=, or does not fit this key")
    raise ConfigurationError("keys", f"this is {_kind(possible)}; algorithms= has only {', '.join(sorted(allowed))}")


def _only(fitting: frozenset[str]) -> str:
    """The one algorithm that a key is bound to (RFC 8725 section 3.1)."""
    if len(fitting) > 1:
        raise ConfigurationError(
            "keys", f"this key fits {' and '.join(sorted(fitting))}; give algorithm=, or alg in the JWK"
        )
    return next(iter(fitting))


def _kind(algorithms: frozenset[str]) -> str:
    if algorithms == _RSA:
        return "an RSA key (RS256, PS256, ...)"
    if algorithms == frozenset(_HMAC_BYTES):
        return "a secret (HS256, HS384, HS512)"
    return (
        f"a key for {', '.join(sorted(algorithms))}" if all(algorithms) and algorithms else "a key of an unknown kind"
    )


# --- JWK --------------------------------------------------------------------------------------------------------------


#: The ``use`` of keys for signatures (RFC 7517 section 4.2).
SIGNATURE_USE = frozenset({"sig"})


def check_uses(use: str | Collection[str]) -> frozenset[str]:
    """The argument ``use``. Raises ``ConfigurationError``."""
    uses = names("use", (use,) if isinstance(use, str) else use)
    if not uses or "enc" in uses:
        raise ConfigurationError("use", "a key for encryption must not verify; name another use, such as jwt-svid")
    return uses


class _ParsedJWK(NamedTuple):
    kid: str | None
    alg: str | None
    material: Any
    issuer: str | None = None


def from_jwk(
    jwk: Mapping[str, Any],
    allowed: frozenset[str],
    algorithm: str | None = None,
    uses: frozenset[str] = SIGNATURE_USE,
) -> Sequence[VerificationKey]:
    """A JWK that the app gives, once for each allowed algorithm that it can verify.

    Its ``alg``, or ``algorithm``, names one. A secret is bound to one. Raises ``ConfigurationError`` if none fits.
    """
    kid, alg, material, issuer = _parse_jwk(jwk, uses)
    if alg is not None and algorithm is not None and alg != algorithm:
        raise ConfigurationError("keys", f"the alg of this JWK is {alg}, and algorithm= is {algorithm}")
    stated = alg if algorithm is None else algorithm
    if isinstance(material, bytes):
        return [bound_secret(material, kid, stated, allowed)]
    fitting = _fitting(_algorithms_of(material), stated, allowed)
    return [VerificationKey(name, kid, material, issuer) for name in sorted(fitting)]


def from_published_jwk(jwk: object, uses: frozenset[str] = SIGNATURE_USE) -> list[VerificationKey]:
    """A JWK that a key server publishes, once for each algorithm that it can verify.

    That is its ``alg``, or all that its type and curve allow. The issuer's ``algorithms`` choose among them later.
    Secrets (``oct``) are refused before they are parsed: a key server must not be able to name a secret of the app.
    Raises ``ConfigurationError``.
    """
    if not isinstance(jwk, Mapping):
        raise ConfigurationError("keys", "it is not a JSON object")
    if _type_of(jwk) == "oct":
        raise ConfigurationError("keys", "it is a secret, which a key server must not publish")
    kid, alg, material, issuer = _parse_jwk(jwk, uses)
    algorithms = _algorithms_of(material)
    if alg is not None and alg not in algorithms:
        raise ConfigurationError("keys", f"its alg is {alg}, which does not fit the key")
    return [VerificationKey(name, kid, material, issuer) for name in sorted(algorithms if alg is None else {alg})]


_KEY_TYPES = {"oct": "HS256", "RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}
_TYPES_BY_LOWER_CASE = {kty.lower(): kty for kty in _KEY_TYPES}


def _type_of(jwk: Mapping[str, Any]) -> str | None:
    """Its ``kty``. Some servers write it in another case."""
    kty = jwk.get("kty")
    return _TYPES_BY_LOWER_CASE.get(kty.lower()) if isinstance(kty, str) else None


def _parse_jwk(jwk: Mapping[str, Any], uses: frozenset[str]) -> _ParsedJWK:
    """The members of RFC 7517 section 4. Raises ``ConfigurationError`` if the key cannot be used.

    What servers write otherwise than the RFC says is read if it can only mean one thing: members that are null or
    empty, a ``kid`` that is a number, one operation in place of a list, another case of ``kty``, coordinates of another
    length, and a certificate in place of the key.
    """
    jwk = {name: member for name, member in jwk.items() if member not in (None, "", [])}
    kid, alg = _checked_use(jwk, uses)
    kty = _type_of(jwk)
    if kty != "oct" and "d" in jwk:
        raise ConfigurationError(
            "keys", f"it contains a private key; give only the public key, without {private_members(jwk)}"
        )
    if kty in {None, "RSA", "EC"} and "x5c" in jwk and jwk.keys().isdisjoint({"n", "e", "x", "y"}):
        return _ParsedJWK(kid, alg, _key_of_certificate(jwk, kty))
    if kty is None:
        raise ConfigurationError("keys", f"its kty is not one of {', '.join(_KEY_TYPES)}")
    if kty == "RSA":
        _check_exponent_of(jwk)
    try:
        # PyJWT parses by type alone. The algorithm that the key is bound to is chosen later.
        material = ALGORITHMS[_KEY_TYPES[kty]].from_jwk({**jwk, "kty": kty, **_full_coordinates(jwk)})
    except (PyJWTError, ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm):
        raise ConfigurationError("keys", f"its members are not those of a valid {kty} key") from None
    issuer = jwk.get("issuer")  # of Entra ID
    return _ParsedJWK(kid, alg, material, issuer if isinstance(issuer, str) else None)


def _checked_use(jwk: Mapping[str, Any], uses: frozenset[str]) -> tuple[str | None, str | None]:
    """Its ``kid`` and ``alg``, if it is a key for signatures. Raises ``ConfigurationError`` if it is not."""
    kid, use, operations, alg = (jwk.get(name) for name in ("kid", "use", "key_ops", "alg"))
    if type(kid) is int:
        kid = str(kid)
    if kid is not None and not isinstance(kid, str):
        raise ConfigurationError("keys", "its kid is not a string")
    if use is not None and not (isinstance(use, str) and use in uses):  # RFC 7517 section 4.2
        raise ConfigurationError("keys", f"its use is not {' or '.join(sorted(uses))}")
    operations = [operations] if isinstance(operations, str) else operations
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):  # section 4.3
        raise ConfigurationError("keys", "its key_ops do not contain verify")
    if alg is not None and not (isinstance(alg, str) and alg in ALGORITHMS):  # section 4.4
        raise ConfigurationError("keys", "its alg is not a supported signature algorithm")
    return kid, alg


_COORDINATE_BYTES = {"P-256": 32, "P-384": 48, "P-521": 66, "secp256k1": 32}


def _full_coordinates(jwk: Mapping[str, Any]) -> Mapping[str, str]:
    """The coordinates of a key on a curve, as long as the curve asks for (RFC 7518 section 6.2.1.2).

    Libraries that write them as numbers leave out leading zeros, or add one.
    """
    crv = jwk.get("crv")
    length = _COORDINATE_BYTES.get(crv) if isinstance(crv, str) else None
    full: dict[str, str] = {}
    for name in ("x", "y"):
        member = jwk.get(name)
        if length is None or not isinstance(member, str) or len(member) > 2 * _COORDINATE_BYTES["P-521"]:
            continue
        number = int.from_bytes(base64url_decode(member))
        if number.bit_length() <= 8 * length:
            full[name] = base64url_encode(number.to_bytes(length)).decode()
    return full


def _key_of_certificate(jwk: Mapping[str, Any], kty: str | None) -> Any:
    """The public key of the first certificate in ``x5c`` (RFC 7517 section 4.7), for a JWK without the key itself."""
    chain = jwk["x5c"]
    try:
        certificate = load_der_x509_certificate(b64decode("".join(chain[0].split()), validate=True))
        material = certificate.public_key()
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, UnsupportedAlgorithm):
        raise ConfigurationError("keys", "its x5c is not a list of certificates") from None
    kinds = {"RSA": rsa.RSAPublicKey, "EC": ec.EllipticCurvePublicKey}
    if kty is not None and not isinstance(material, kinds[kty]):
        raise ConfigurationError("keys", f"its x5c is not the certificate of an {kty} key")
    return material


def _check_exponent_of(jwk: Mapping[str, Any]) -> None:
    """Say what is wrong with a public exponent. cryptography refuses some too, without a reason that can be shown."""
    try:
        exponent = from_base64url_uint(jwk["e"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return
    check_exponent(exponent)


# --- the key set of a key server --------------------------------------------------------------------------------------

#: Larger sets are refused: no issuer has so many keys, and each skipped key is remembered, so that it is logged once.
MAX_KEYS = 2000
# To parse so many keys takes about a millisecond.
_KEYS = 40
_MAX_KID_SHOWN = 64


@frozen
class KeyWarning:
    """A log message about one key of a set. ``identity`` tells keys apart, so that each is logged once."""

    text: str
    identity: bytes = field(repr=False)


@frozen
class KeySet:
    """The keys of a set, once for each algorithm; how many members are ``usable`` and how many were ``skipped``."""

    keys: Sequence[VerificationKey]
    usable: int
    skipped: int
    warnings: Sequence[KeyWarning]


class NoUsableKey(FetchFailed):
    """A set without a usable key. ``warnings`` say why each key was skipped."""

    def __init__(self, warnings: Sequence[KeyWarning]) -> None:
        # Not only in the log: a key set that never worked is first noticed by the token that it refuses.
        unusable = tuple(warning.text for warning in warnings)
        super().__init__("no key of its key set can be used", {"unusable": unusable} if unusable else None)
        self.warnings = warnings


def parse_json_object(body: bytes) -> Mapping[str, Any]:
    """The JSON object that a server answered with. Raises ``FetchFailed`` if it is not one."""
    document = _parse_json(body)
    if not isinstance(document, Mapping):
        raise FetchFailed("what it answers is no JSON object")
    return document


def _parse_json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def parse_key_set(body: bytes, uses: frozenset[str] = SIGNATURE_USE) -> Slices[KeySet]:
    """The JWK Set that a key server answered with (RFC 7517 section 5).

    A key that cannot be used is skipped, and the others are used. Raises ``FetchFailed`` if the answer is not a JWK
    Set, and ``NoUsableKey`` if no key is left.
    """
    keys: list[VerificationKey] = []
    kids: Counter[tuple[str | None, type]] = Counter()
    warnings: list[KeyWarning] = []
    members = _members(body)
    for index, member in enumerate(members):
        if index % _KEYS == 0:
            yield
        try:
            bound = from_published_jwk(member, uses)
        except Exception as error:  # noqa: BLE001 - PyJWT and cryptography may raise anything for odd numbers
            problem = str(error).removeprefix("keys: ") if isinstance(error, ConfigurationError) else "it is unreadable"
            warnings.append(KeyWarning(f"key {index}{_kid_of(member)} is skipped: {problem}", _digest(member)))
        else:
            keys += bound
            kids[bound[0].kid, type(bound[0].material)] += 1
    if not keys:
        raise NoUsableKey(warnings)
    usable = kids.total()
    for (kid, _), number in kids.items():
        if kid is not None and number > 1:
            text = f"{number} keys have the kid {_shown_kid(kid)}; each is tried"
            warnings.append(KeyWarning(text, ascii(kid).encode()))
    return KeySet(keys, usable, len(members) - usable, warnings)


def _members(body: bytes) -> Sequence[Any]:
    document = _parse_json(body)
    if not isinstance(document, Mapping) and not (isinstance(document, list) and document):
        raise FetchFailed("what it answers is no JSON object")
    members = members_of(document)
    if members is None:
        raise FetchFailed("what it answers is no JWK Set")
    if not members:
        raise FetchFailed("its key set is empty")
    if len(members) > MAX_KEYS:
        raise FetchFailed(f"its key set holds more than {MAX_KEYS} keys")
    return members


def members_of(document: Mapping[Any, Any] | list[Any]) -> Sequence[Any] | None:
    """The keys of a key set; None if it is none.

    Besides the form of RFC 7517 section 5, that is a list of keys, one key, or certificates by their key ids, as Google
    publishes them.
    """
    if isinstance(document, list):
        return document
    if "keys" in document:
        return document["keys"] if isinstance(document["keys"], list) else None
    if "kty" in document:
        return [document]
    if document and all(isinstance(text, str) and _CERTIFICATE.fullmatch(text) for text in document.values()):
        return [{"kid": kid, "x5c": [text.replace(_BEGIN, "").replace(_END, "")]} for kid, text in document.items()]
    return None


_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_CERTIFICATE = re.compile(rf"\s*{_BEGIN}[A-Za-z0-9+/=\s]++{_END}\s*")


def _kid_of(member: object) -> str:
    kid = member.get("kid") if isinstance(member, Mapping) else None
    return f" (kid {_shown_kid(kid)})" if isinstance(kid, str) else ""


def _shown_kid(kid: str) -> str:
    return ascii(kid[:_MAX_KID_SHOWN])


def _digest(member: object) -> bytes:
    # Only strings: a nested value may be nested too deeply for repr().
    texts = [item for item in member.items() if isinstance(item[1], str)] if isinstance(member, Mapping) else []
    return hashlib.sha256(repr((type(member), sorted(texts))).encode()).digest()
