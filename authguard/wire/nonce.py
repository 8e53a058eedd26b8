"""Digest nonces (RFC 7616 section 3.3) that the server can verify without storing them.

    nonce    = base64url( time random tag )
    time     = 8 bytes, microseconds since the epoch
    random   = 12 bytes
    tag      = the first 16 bytes of HMAC-SHA256( key, time random )

The key is derived from the app's secret and the realm, so that a nonce is valid in one realm only. This module does not
check the age of a nonce.
"""

from __future__ import annotations

import hmac
import re
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence

from authguard.value_types import value

#: The number of random bytes in a nonce. They make two nonces of the same microsecond different.
RANDOM = 12

_TAG = 16
_MICROSECONDS = 1e6
_TIME = struct.Struct(">Q")
# 36 bytes have exactly one spelling in base64: no padding and no unused bits.
_TEXT = re.compile(rb"[A-Za-z0-9_-]{48}")


def nonce_key(secret: bytes, realm: str) -> bytes:
    """Derive the key that signs the nonces of a realm."""
    return hmac.digest(secret, b"authguard nonce\0" + realm.encode("utf-8"), "sha256")


@value
class Nonce:
    """A nonce that this server, or another one with the same secret, has issued.

    ``issued_at`` is in seconds since the epoch, by the clock of the issuing process. ``identity`` is 20 bytes that are
    unique to the nonce.
    """

    issued_at: float
    identity: bytes

    @classmethod
    def mint(cls, now: float, random: bytes) -> Nonce:
        """Create a nonce. ``random`` must be ``RANDOM`` unpredictable bytes."""
        stamp = _TIME.pack(max(0, round(now * _MICROSECONDS)))
        return cls(_TIME.unpack(stamp)[0] / _MICROSECONDS, stamp + random)

    def to_text(self, key: bytes) -> str:
        """Return the nonce as it is sent in a challenge. This is the reverse of ``from_text``."""
        return urlsafe_b64encode(self.identity + _tag(key, self.identity)).decode("ascii")

    @staticmethod
    def has_form(text: bytes) -> bool:
        """Whether a text has the form of such a nonce, whoever has signed it."""
        return _TEXT.fullmatch(text) is not None

    @classmethod
    def from_text(cls, text: bytes, keys: Sequence[bytes]) -> Nonce | None:
        """Parse the nonce that a client sent, or return None if none of the keys signed it. Reverses ``to_text``."""
        if _TEXT.fullmatch(text) is None:
            return None
        decoded = urlsafe_b64decode(text)
        identity, tag = decoded[:-_TAG], decoded[-_TAG:]
        for key in keys:
            if hmac.compare_digest(_tag(key, identity), tag):
                return cls(_TIME.unpack_from(identity)[0] / _MICROSECONDS, identity)
        return None


def _tag(key: bytes, identity: bytes) -> bytes:
    return hmac.digest(key, identity, "sha256")[:_TAG]
