"""The account of a Digest login, the port that finds one, and ``H(A1)``, the hash that it holds. RFC 7616.

``H(A1)`` is the hash of ``name:realm:password``. It is bound to the name, the realm and the hash algorithm. The
algorithms are at the end of this module.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import field
from types import MappingProxyType
from typing import Annotated, Any, Protocol, runtime_checkable

from cryptography.hazmat.primitives import hashes

from authguard.accounts.account import KeepsOutcome, set_common_fields
from authguard.errors import ConfigurationError
from authguard.model import NO_CLAIMS
from authguard.server_value import SERVER_ARGUMENT
from authguard.value_types import frozen
from authguard.wire.challenge import Challenge
from authguard.wire.digest import Hash, ha1
from authguard.wire.grammar import CONTROL
from authguard.wire.text import nfc

#: What an ``H(A1)`` of any algorithm of RFC 7616 looks like.
HA1 = re.compile(r"[0-9a-fA-F]{32}(?:[0-9a-fA-F]{32})?")


@frozen
class DigestAccount(KeepsOutcome):
    """A user as a ``DigestStore`` knows it. ``ha1`` is ``H(A1)`` of RFC 7616 section 3.4.2, in hexadecimal digits.

    Keep it as safe as a password: everybody who has it can log in to its realm (section 5.2). A ``disabled`` account is
    refused only after its response was verified. Raises ``ConfigurationError`` for anything but an ``H(A1)``, such as a
    password hash, and for everything else that ``Account`` refuses.
    """

    subject: str
    ha1: str = field(repr=False)
    roles: frozenset[str]
    scopes: frozenset[str]
    claims: Mapping[str, Any] = field(repr=False, compare=False)
    disabled: bool

    def __init__(
        self,
        subject: Annotated[str, SERVER_ARGUMENT],
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
                "give the hash of name:realm:password in 32 (MD5) or 64 (SHA-256) hexadecimal digits; a password hash "
                "cannot serve Digest. `python -m authguard htdigest` makes one",
            )
        object.__setattr__(self, "ha1", ha1.lower())
        set_common_fields(self, subject, roles, scopes, claims, disabled)


@runtime_checkable
class DigestStore(Protocol):
    """Finds accounts by name, realm and algorithm. ``Digest`` verifies the response.

    Write ``find``, and say whether it finds hashed names::

        class Cameras:
            finds_hashed = False

            async def find(self, username: str, *, realm: str, algorithm: str, hashed: bool) -> DigestAccount | None:
                ha1 = await database.fetch_val("select ha1 from cameras where name = :name", {"name": username})
                return None if ha1 is None else DigestAccount(username, ha1)

    A store sees neither a password nor a response. It may also have two methods that are not async. ``find_now``, with
    the same arguments, returns the same answer if it is in memory, and ``NOT_NOW`` if not. ``realms_held()`` returns
    each (realm, algorithm) for which the store has an ``H(A1)`` now, so that a realm in which nobody could log in is
    found while the app is built.
    """

    @property
    def finds_hashed(self) -> bool:
        """Whether ``find`` takes ``H(name:realm)`` in place of a name, so that ``userhash=true`` can be offered."""
        ...

    async def find(self, username: str, *, realm: str, algorithm: str, hashed: bool) -> DigestAccount | None:
        """The account of this name with its ``H(A1)`` for this realm and algorithm; None if there is none.

        ``username`` is in NFC; if ``hashed`` is True, it is ``H(name:realm)`` in lower-case hexadecimal digits.
        ``algorithm`` is ``MD5``, ``SHA-256`` or ``SHA-512-256``, and never a ``-sess`` form. Raises
        ``BackendUnavailable`` if it cannot tell.
        """
        ...


def digest_ha1(username: str, realm: str, password: str, algorithm: str = "SHA-256") -> str:
    """``H(A1)`` in hexadecimal digits, for an app that stores one when a password is set.

    ``algorithm`` is ``SHA-256``, ``SHA-512-256`` or ``MD5``. A ``-sess`` form uses the ``H(A1)`` of its algorithm. Make
    a new one whenever the name or the realm changes. Keep it as safe as a password (section 5.2). Raises
    ``ConfigurationError`` for a realm or an algorithm that cannot be served. Raises ``ValueError`` for a name or a
    password that is empty or contains a control character, and for a name with a colon.
    """
    hash_function = hash_of(algorithm, "algorithm")
    check_realm(realm)
    check_username(username)
    _check_text("password", password)
    return ha1(hash_function, username, realm, password).decode("ascii")


def check_realm(realm: str) -> str:
    """The realm in NFC. Raises ``ConfigurationError`` for one that clients cannot read, or read differently."""
    if not isinstance(realm, str) or not realm or '"' in realm or "\\" in realm:
        raise ConfigurationError(
            "realm",
            f'{realm!r} is not a realm; give a non-empty string without " and \\, which clients read differently',
        )
    try:
        Challenge("Digest", {"realm": realm})
    except ValueError as error:
        raise ConfigurationError("realm", str(error)) from None
    return nfc(realm)


_SURROGATE = re.compile(r"[\ud800-\udfff]")


def check_username(username: str) -> None:
    """Raises ``ValueError`` for a name that no client can send, or whose ``H(A1)`` could be that of another name."""
    _check_text("username", username)
    if ":" in username:
        msg = "the username must not contain a colon: its H(A1) would be that of another name in another realm"
        raise ValueError(msg)


def _check_text(argument: str, text: str) -> None:
    if not isinstance(text, str) or not text:
        msg = f"the {argument} must be a non-empty string"
        raise ValueError(msg)
    # The error of encode() would quote the whole text, so surrogates are refused before.
    if CONTROL.search(text) or _SURROGATE.search(text):
        msg = f"the {argument} must not contain control characters, nor half of a surrogate pair"
        raise ValueError(msg)


#: The number of hexadecimal digits of each algorithm's hash. The ``-sess`` forms are missing, because they use the
#: ``H(A1)`` of their algorithm (section 3.4.2).
DIGITS: Mapping[str, int] = MappingProxyType({"SHA-256": 64, "SHA-512-256": 64, "MD5": 32})


def hash_of(algorithm: str, argument: str = "algorithms") -> Hash:
    """The hash function of an algorithm: ``MD5``, ``SHA-256`` or ``SHA-512-256``.

    Raises ``ConfigurationError`` about ``argument`` for any other, and for one that this platform forbids.
    """
    if check_algorithm(algorithm, argument) == "SHA-256":
        return _sha256
    if algorithm == "SHA-512-256":
        return _sha512_256 if _works(_sha512_256) else _sha512_256_without_openssl
    if not _works(_md5):
        raise ConfigurationError(argument, 'this platform forbids MD5 (FIPS): use "SHA-256"')
    return _md5


def check_algorithm(algorithm: str, argument: str) -> str:
    """The algorithm. Raises ``ConfigurationError`` about ``argument`` for one that is not in ``DIGITS``."""
    if not isinstance(algorithm, str) or algorithm not in DIGITS:
        raise ConfigurationError(argument, f"{algorithm!r} is not one of {', '.join(DIGITS)}")
    return algorithm


def _works(hash_function: Hash) -> bool:
    try:
        hash_function(b"")
    except ValueError:  # hashlib raises it if OpenSSL does not have the algorithm, or refuses it
        return False
    return True


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _sha512_256(data: bytes) -> bytes:
    return hashlib.new("sha512_256", data).digest()


def _sha512_256_without_openssl(data: bytes) -> bytes:
    # This is not SHA-512 cut short: its initial values differ (FIPS 180-4 section 5.3.6.2).
    digest = hashes.Hash(hashes.SHA512_256())
    digest.update(data)
    return digest.finalize()


def _md5(data: bytes) -> bytes:
    # Only for an app that names it, for clients that know nothing better. A platform that forbids MD5 for security
    # still allows it with this argument.
    return hashlib.md5(data, usedforsecurity=False).digest()
