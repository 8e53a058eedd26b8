"""The hashes of Digest. RFC 7616 section 6.1."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

from cryptography.hazmat.primitives import hashes

from authguard.accounts.account import fill
from authguard.errors import ConfigurationError
from authguard.model import NO_CLAIMS
from authguard.wire.challenge import Challenge
from authguard.wire.digest import Hash, ha1
from authguard.wire.grammar import CONTROL
from authguard.wire.text import nfc

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


#: What can be an ``H(A1)`` of an algorithm of RFC 7616.
HA1 = re.compile(r"[0-9a-fA-F]{32}(?:[0-9a-fA-F]{32})?")


@dataclass(frozen=True, slots=True, init=False)
class DigestAccount:
    """A user as a store of Digest's knows it. ``ha1`` is ``H(A1)`` of RFC 7616 section 3.4.2, in hexadecimal digits.

    It is bound to a name, a realm and an algorithm, and whoever has it can log in: it is to be kept like a password
    (section 5.2). A ``disabled`` account is refused after its response was verified. Raises ``ConfigurationError`` for
    what can be no ``H(A1)``, a password hash above all, and for what ``Account`` refuses.
    """

    subject: str
    ha1: str = field(repr=False)
    roles: frozenset[str]
    scopes: frozenset[str]
    claims: Mapping[str, Any] = field(repr=False, compare=False)
    disabled: bool

    def __init__(
        self,
        subject: str,
        ha1: str,
        *,
        roles: AbstractSet[str] | Sequence[str] = frozenset(),
        scopes: AbstractSet[str] | Sequence[str] = frozenset(),
        claims: Mapping[str, Any] = NO_CLAIMS,
        disabled: bool = False,
    ) -> None:
        if not isinstance(ha1, str) or HA1.fullmatch(ha1) is None:
            raise ConfigurationError(
                "ha1",
                "give the 32 (MD5) or 64 (SHA-256) hexadecimal digits of name:realm:password; a password hash cannot "
                "serve Digest. `python -m authguard htdigest` makes one",
            )
        object.__setattr__(self, "ha1", ha1.lower())
        fill(self, subject, roles, scopes, claims, disabled)


@runtime_checkable
class DigestStore(Protocol):
    """Finds accounts for ``Digest``, which verifies the response.

    Write ``find``::

        class Cameras:
            finds_hashed = False

            async def find(self, username: str, *, realm: str, algorithm: str, hashed: bool) -> DigestAccount | None:
                ha1 = await database.fetch_val("select ha1 from cameras where name = :name", {"name": username})
                return None if ha1 is None else DigestAccount(username, ha1)

    A store sees neither a password nor a response. It may also have ``find_now`` with the same arguments, not async:
    the same answer if it is in memory, ``NOT_NOW`` if it must be waited for. And ``realms_held()``: each (realm,
    algorithm) in which it has an ``H(A1)`` now, so that a realm in which nobody could log in is found while the app is
    built.
    """

    @property
    def finds_hashed(self) -> bool:
        """Whether it can find an account by ``H(name:realm)``, so that ``userhash=true`` can be offered."""
        ...

    async def find(self, username: str, *, realm: str, algorithm: str, hashed: bool) -> DigestAccount | None:
        """The account of this name with its ``H(A1)`` of this realm and algorithm, None where there is none.

        ``username`` is in the form NFC; with ``hashed`` it is the hexadecimal digits of ``H(name:realm)``, in lower
        case. ``algorithm`` is ``MD5``, ``SHA-256`` or ``SHA-512-256``, never a ``-sess`` form. Raises
        ``BackendUnavailable`` where it cannot be told.
        """
        ...


_SURROGATE = re.compile(r"[\ud800-\udfff]")


def digest_ha1(username: str, realm: str, password: str, algorithm: str = "SHA-256") -> str:
    """``H(A1)`` in hexadecimal digits, for an app that keeps one with an account when a password is set.

    ``algorithm`` is ``SHA-256``, ``SHA-512-256`` or ``MD5``; a ``-sess`` form uses that of its algorithm. It is bound
    to the name and the realm: where either changes, it is to be made anew. Keep it like a password (section 5.2).
    Raises ``ConfigurationError`` for a realm or an algorithm that cannot be served, ``ValueError`` for a name or a
    password: one that is empty or holds a control character, and a name with a colon.
    """
    hashed = hash_of(algorithm, "algorithm")
    check_realm(realm)
    check_username(username)
    _check_text("password", password)
    return ha1(hashed, username, realm, password).decode("ascii")


def check_realm(realm: str) -> str:
    """The realm in the form NFC; ``ConfigurationError`` for one that clients could not read, or not all alike."""
    if not isinstance(realm, str) or not realm or '"' in realm or "\\" in realm:
        raise ConfigurationError("realm", f'{realm!r}: give a string without " and \\, for clients differ on those')
    try:
        Challenge("Digest", {"realm": realm})
    except ValueError as error:
        raise ConfigurationError("realm", str(error)) from None
    return nfc(realm)


def check_username(username: str) -> None:
    """``ValueError`` for a name that cannot be presented, or that could be another's."""
    _check_text("username", username)
    if ":" in username:
        msg = "the username must not hold a colon: what is hashed would be another name's in another realm"
        raise ValueError(msg)


def _check_text(what: str, text: str) -> None:
    if not isinstance(text, str) or not text:
        msg = f"the {what} must be a non-empty string"
        raise ValueError(msg)
    # The codec's own error would hold the whole of it.
    if CONTROL.search(text) or _SURROGATE.search(text):
        msg = f"the {what} must not hold control characters, nor half of a surrogate pair"
        raise ValueError(msg)
