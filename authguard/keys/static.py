"""Keys given directly: PEM, JWK, JWK Set, HMAC secret. All are checked and bound while the app is built."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

from authguard.errors import ConfigurationError
from authguard.keys.jwk import bound_key, bound_secret, from_jwk
from authguard.keys.source import KeyMaterial, VerificationKey

_log = logging.getLogger("authguard")


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
        return (bound_key(public, self.kid, self.algorithm, algorithms),)


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
        return (bound_secret(octets, self.kid, self.algorithm, algorithms),)


@dataclass(frozen=True, slots=True)
class JWK(KeyMaterial):
    """One JSON Web Key (RFC 7517), as a mapping or as JSON. ``alg``, ``use`` and ``key_ops`` are honoured."""

    jwk: Mapping[str, Any] | str | bytes = field(repr=False)

    def bind(self, algorithms: frozenset[str]) -> Sequence[VerificationKey]:
        return (from_jwk(_mapping(self.jwk, "JWK"), algorithms),)


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
                keys.append(from_jwk(_mapping(member, "JWK"), algorithms))
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
            found = "an address; for a key server write RemoteJWKS(...)" if _is_address(value) else "no JSON"
            raise ConfigurationError("keys", f"this {what} is {found}") from None
    if not isinstance(value, Mapping):
        raise ConfigurationError("keys", f"a {what} is a JSON object")
    return value


def _is_address(value: object) -> bool:
    return isinstance(value, str) and value.lower().startswith(("http://", "https://"))
