"""``H(A1)``: what is kept of a password for Digest. RFC 7616 section 3.4.2."""

from __future__ import annotations

import re

from authguard.errors import ConfigurationError
from authguard.stores.hashes import hash_of
from authguard.wire.challenge import Challenge
from authguard.wire.digest import ha1
from authguard.wire.grammar import CONTROL
from authguard.wire.text import nfc

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
