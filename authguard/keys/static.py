"""Keys that the app gives directly: ``PEM``, ``Secret``, ``JWK``, ``JWKSet``. They are checked while it is built."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import field
from os import PathLike
from typing import Any, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

from authguard.errors import ConfigurationError
from authguard.keys.jwk import SIGNATURE_USE, bound_keys, bound_secret, check_uses, from_jwk, members_of
from authguard.keys.key_mistakes import document_problem, json_problem, pem_problem
from authguard.keys.source import KeyMaterial, VerificationKey
from authguard.value_types import frozen

_log = logging.getLogger("authguard")


@frozen
class PEM(KeyMaterial):
    """A public key (SubjectPublicKeyInfo) or an X.509 certificate in PEM form.

    Of a certificate only the key is used; its dates and its chain are not checked. ``algorithm`` is needed only if the
    issuer allows several that fit the key, such as RS256 and PS256. Raises ``ConfigurationError``, for a private key
    too.
    """

    pem: str | bytes = field(repr=False)
    kid: str | None = None
    algorithm: str | None = None

    def bind(self, algorithms: frozenset[str]) -> Sequence[VerificationKey]:
        pem = _as_bytes(self.pem, "PEM", self.kid)
        if (problem := pem_problem(pem)) is not None:
            raise ConfigurationError("keys", problem)
        try:
            if b"-----BEGIN CERTIFICATE-----" in pem:
                public: object = load_pem_x509_certificate(pem).public_key()
            else:
                public = load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm) as error:
            problem = "neither a public key nor a certificate"
            if str(error).startswith("e must be"):  # cryptography refuses some public exponents itself
                problem = "an RSA key whose public exponent is even, less than 3 or too large"
            raise ConfigurationError("keys", f"this PEM contains {problem}") from None
        return bound_keys(public, self.kid, self.algorithm, algorithms)


@frozen
class Secret(KeyMaterial):
    """A random HMAC secret, at least as long as the hash: 32, 48 or 64 bytes (RFC 7518 section 3.2).

    Raises ``ConfigurationError`` for a secret that is too short, that is a public key or a certificate, or that is
    copied from documentation.
    """

    secret: str | bytes = field(repr=False)
    kid: str | None = None
    algorithm: str | None = None

    def bind(self, algorithms: frozenset[str]) -> Sequence[VerificationKey]:
        secret = _as_bytes(self.secret, "Secret", self.kid)
        return (bound_secret(secret, self.kid, self.algorithm, algorithms),)


@frozen
class JWK(KeyMaterial):
    """One JSON Web Key (RFC 7517), as a mapping or as JSON.

    A key without ``alg`` verifies each of the issuer's ``algorithms`` that its type allows; ``algorithm`` names one of
    them. ``use``: the values of the member ``use`` that are accepted, such as ``"jwt-svid"`` for SPIFFE; a key without
    ``use`` always is. Raises ``ConfigurationError``, also if its ``alg``, ``use`` or ``key_ops`` forbid what the issuer
    needs.
    """

    jwk: Mapping[str, Any] | str | bytes = field(repr=False)
    algorithm: str | None = None
    use: str | Collection[str] = field(default=SIGNATURE_USE, repr=False)

    def bind(self, algorithms: frozenset[str]) -> Sequence[VerificationKey]:
        return from_jwk(_mapping(self.jwk, "JWK"), algorithms, self.algorithm, check_uses(self.use))


@frozen
class JWKSet(KeyMaterial):
    """A JSON Web Key Set (RFC 7517 section 5), as a mapping or as JSON.

    Its keys are read as those of a key server are. A key without ``alg`` verifies each of the issuer's ``algorithms``
    that its type allows. A key that cannot be used here (for encryption, of an unknown type, too short) is skipped,
    with one WARNING. ``use`` is as for ``JWK``. Raises ``ConfigurationError`` if no key is left.
    """

    jwks: Mapping[str, Any] | Sequence[Mapping[str, Any]] | str | bytes = field(repr=False)
    use: str | Collection[str] = field(default=SIGNATURE_USE, repr=False)

    def bind(self, algorithms: frozenset[str]) -> Sequence[VerificationKey]:
        uses = check_uses(self.use)
        document: Any = self.jwks if isinstance(self.jwks, list) else _parsed(self.jwks, "JWK Set")
        members = members_of(document)
        if members is None:
            raise ConfigurationError("keys", 'a JWK Set must have a list under "keys"')
        keys: list[VerificationKey] = []
        problems: list[str] = []
        for index, member in enumerate(members):
            try:
                keys += from_jwk(_mapping(member, "JWK"), algorithms, uses=uses)
            except ConfigurationError as error:
                problems.append(f"key {index}: {str(error).removeprefix('keys: ')}")
        if not keys:
            raise ConfigurationError("keys", f"no key of this set can be used; {'; '.join(problems) or 'it is empty'}")
        if problems:
            _log.warning("keys of a JWK Set are skipped: %s", "; ".join(problems))
        return keys


def _as_bytes(value: object, material: str, kid: object) -> bytes:
    if kid is not None and not isinstance(kid, str):
        raise ConfigurationError("keys", f"the kid {kid!r} is not a string")
    if isinstance(value, bytes):
        return value
    if isinstance(value, PathLike):
        raise ConfigurationError("keys", f"{material}(...) takes the text of the file; write path.read_bytes()")
    if not isinstance(value, str):
        raise ConfigurationError("keys", f"{material}(...) takes a string or bytes, and not {type(value).__name__}")
    try:
        return value.encode()
    except UnicodeEncodeError:
        pass
    # Outside of the except block: the UnicodeEncodeError holds the text, and a traceback would show it.
    raise ConfigurationError("keys", f"the text of {material}(...) cannot be encoded in UTF-8")


def _parsed(value: object, kind: str) -> object:
    """The value, or what its JSON says: an object or, in place of a set, a list."""
    if isinstance(value, str | bytes):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ConfigurationError("keys", json_problem(value, kind)) from None
        if isinstance(value, list) and value and kind == "JWK Set":
            return value
    if not isinstance(value, Mapping):
        raise ConfigurationError("keys", f"a {kind} must be a JSON object")
    if (problem := document_problem(value, kind)) is not None:
        raise ConfigurationError("keys", problem)
    return value


def _mapping(value: object, kind: str) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", _parsed(value, kind))
