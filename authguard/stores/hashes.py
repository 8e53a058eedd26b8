"""The hashes of Digest. RFC 7616 section 6.1."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType

from cryptography.hazmat.primitives import hashes

from authguard.errors import ConfigurationError
from authguard.wire.digest import Hash

#: How many hexadecimal digits the hash of an algorithm has. A ``-sess`` form has no hash, and no stored digest, of its
#: own: section 3.4.2 makes it of that of its algorithm.
DIGITS: Mapping[str, int] = MappingProxyType({"SHA-256": 64, "SHA-512-256": 64, "MD5": 32})


def hash_of(algorithm: str, argument: str = "algorithms") -> Hash:
    """The hash of an algorithm: ``MD5``, ``SHA-256`` or ``SHA-512-256``.

    Raises ``ConfigurationError``, about the argument named, for any other, and for one that this platform forbids.
    """
    if check_algorithm(algorithm, argument) == "SHA-256":
        return _sha256
    if algorithm == "SHA-512-256":
        return _sha512_256 if _works(_sha512_256) else _sha512_256_without_openssl
    if not _works(_md5):
        raise ConfigurationError(argument, 'this platform forbids MD5 (FIPS): use "SHA-256"')
    return _md5


def check_algorithm(algorithm: str, argument: str) -> str:
    """The algorithm; ``ConfigurationError`` for what is none."""
    if not isinstance(algorithm, str) or algorithm not in DIGITS:
        raise ConfigurationError(argument, f"{algorithm!r} is none; there are {', '.join(DIGITS)}")
    return algorithm


def _works(digest: Hash) -> bool:
    try:
        digest(b"")
    except ValueError:  # what hashlib raises for what OpenSSL lacks or refuses
        return False
    return True


def _sha256(octets: bytes) -> bytes:
    return hashlib.sha256(octets).digest()


def _sha512_256(octets: bytes) -> bytes:
    return hashlib.new("sha512_256", octets).digest()


def _sha512_256_without_openssl(octets: bytes) -> bytes:
    # Not SHA-512 cut short: its initial values are others (FIPS 180-4 section 5.3.6.2).
    digest = hashes.Hash(hashes.SHA512_256())
    digest.update(octets)
    return digest.finalize()


def _md5(octets: bytes) -> bytes:
    # It is here because an app named it for clients that know nothing better. Platforms that forbid MD5 for security
    # alone have it for that.
    return hashlib.md5(octets, usedforsecurity=False).digest()
