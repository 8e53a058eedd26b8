"""The user-pass of Basic, after RFC 7617."""

from __future__ import annotations

import binascii
from dataclasses import dataclass, field

from authguard.wire.grammar import CONTROL, WireError
from authguard.wire.text import nfc


@dataclass(frozen=True, slots=True)
class UserPass:
    """A user-id and a password, in the normal form NFC that RFC 7617 section 2.1 expects of both."""

    username: str
    password: str = field(repr=False)

    def to_token68(self) -> bytes:
        """What a client sends after ``Basic``. This is the reverse of ``from_token68``."""
        if ":" in self.username:
            msg = "a user-id with a colon cannot be sent: the first colon ends it"
            raise ValueError(msg)
        text = f"{nfc(self.username)}:{nfc(self.password)}"
        if CONTROL.search(text):
            msg = "user-id and password must not hold control characters"
            raise ValueError(msg)
        return binascii.b2a_base64(text.encode("utf-8"), newline=False)

    @classmethod
    def from_token68(cls, octets: bytes) -> UserPass:
        """Read what a client sent after ``Basic``. This is the reverse of ``to_token68``.

        https://www.rfc-editor.org/rfc/rfc7617.html#section-2

            user-pass   = user-id ":" password
            user-id     = *<TEXT excluding ":">
            password    = *TEXT
        """
        text = _decode(octets)
        username, colon, password = text.partition(":")
        if not colon:
            raise WireError("no colon in the user-pass")
        if CONTROL.search(text):
            raise WireError("a control character in the user-pass")
        return cls(nfc(username), nfc(password))


def _decode(octets: bytes) -> str:
    # binascii reads more than one spelling of the same octets and writes exactly one: that of RFC 4648 section 4, with
    # its padding and with the unused bits zero. Only that one is taken. The errors are raised outside the handlers,
    # because those of binascii and of the codec would stay on as context, and the latter holds the password.
    try:
        decoded = binascii.a2b_base64(octets)
    except binascii.Error:
        decoded = None
    if decoded is None or binascii.b2a_base64(decoded, newline=False) != octets:
        raise WireError("not base64 as of RFC 4648 section 4")
    try:
        text = decoded.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    if text is None:
        raise WireError("the user-pass is not UTF-8")
    return text
