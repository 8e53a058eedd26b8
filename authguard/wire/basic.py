"""The username and password of ``Basic`` credentials (RFC 7617)."""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64
from dataclasses import field

from authguard.value_types import value
from authguard.wire.grammar import CONTROL, WireError
from authguard.wire.text import nfc


class NotBase64Error(WireError):
    """The token is not written as an encoder of RFC 4648 section 4 writes it. It may be in another spelling."""


class NotUtf8Error(WireError):
    """The user-pass is not UTF-8. It may be in another encoding."""


@value
class UserPass:
    """A user-id and a password, both in the Unicode normal form NFC (RFC 7617 section 2.1).

    ``unnormalized`` is the password as the client sent it, if that was in another form than NFC.
    """

    username: str
    password: str = field(repr=False)
    unnormalized: str | None = field(default=None, repr=False, compare=False)

    def to_token68(self) -> bytes:
        """Return what a client sends after ``Basic``. This is the reverse of ``from_token68``.

        Raises ``ValueError`` for a user-id with a colon, and for control characters.
        """
        if ":" in self.username:
            msg = "a user-id with a colon cannot be sent: the first colon ends the user-id"
            raise ValueError(msg)
        text = f"{nfc(self.username)}:{nfc(self.password)}"
        if CONTROL.search(text):
            msg = "user-id and password must not contain control characters"
            raise ValueError(msg)
        return b2a_base64(text.encode("utf-8"), newline=False)

    @classmethod
    def from_token68(cls, token: bytes, *, latin1: bool = False) -> UserPass:
        """Parse what a client sent after ``Basic``. This is the reverse of ``to_token68``.

        https://www.rfc-editor.org/rfc/rfc7617.html#section-2

            user-pass   = user-id ":" password
            user-id     = *<TEXT excluding ":">
            password    = *TEXT

        ``latin1``: whether the text is read as ISO-8859-1, and not as UTF-8. Raises ``WireError`` for anything that is
        not canonical base64 of such a text: ``NotBase64Error`` and ``NotUtf8Error`` if another spelling or encoding
        may help.
        """
        # binascii decodes several spellings of the same bytes but encodes only one: that of RFC 4648 section 4, padded
        # and with the unused bits zero. Only that spelling is accepted. The errors are raised outside the handlers,
        # because the errors of binascii and of the codec would otherwise stay attached as context, and the latter holds
        # the password.
        try:
            decoded = a2b_base64(token)
        except Error:
            decoded = None
        if decoded is None or b2a_base64(decoded, newline=False) != token:
            raise NotBase64Error("not base64 as of RFC 4648 section 4")
        try:
            text = decoded.decode("latin-1" if latin1 else "utf-8")
        except UnicodeDecodeError:
            text = None
        if text is None:
            raise NotUtf8Error("the user-pass is not UTF-8")
        username, colon, password = text.partition(":")
        if not colon:
            raise WireError("no colon in the user-pass")
        if text.isascii() and text.isprintable():  # nearly always, and then there is nothing to normalise
            return cls(username, password)
        if CONTROL.search(text):
            raise WireError("a control character in the user-pass")
        normalized = nfc(password)
        return cls(nfc(username), normalized, None if normalized == password else password)


# RFC 4648 section 5: the alphabet for URLs.
_TO_USUAL = bytes.maketrans(b"-_", b"+/")


def usual_base64(token: bytes) -> bytes:
    """Return base64 of RFC 4648 section 5, or without its padding, as section 4 writes it. It may still be invalid."""
    translated = token.translate(_TO_USUAL)
    return translated if b"=" in translated else translated + b"=" * (-len(translated) % 4)
