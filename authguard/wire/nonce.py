"""A nonce of Digest (RFC 7616 section 3.3) that its server can verify without having kept it.

    nonce    = base64url( time random tag )
    time     = 8 octets, microseconds since the epoch
    random   = 12 octets
    tag      = the first 16 octets of HMAC-SHA256( key, time random )

The key is made of the app's secret and the realm, so that a nonce of one realm is none of another's. Whether a nonce is
too old is not judged here.
"""

from __future__ import annotations

import hmac
import re
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass

#: So many octets of randomness make two nonces of one microsecond different.
RANDOM = 12

_TAG = 16
_MICROSECONDS = 1e6
_TIME = struct.Struct(">Q")
# 36 octets have exactly one spelling in base64, with neither padding nor unused bits.
_SPELLED = re.compile(rb"[A-Za-z0-9_-]{48}")


def nonce_key(secret: bytes, realm: str) -> bytes:
    """The key of a realm's nonces."""
    return hmac.digest(secret, b"authguard nonce\0" + realm.encode("utf-8"), "sha256")


@dataclass(frozen=True, slots=True)
class Nonce:
    """A nonce that was minted with a key of ours.

    ``issued_at`` is in seconds since the epoch, by the clock of the process that minted it. ``identity`` are the 20
    octets that no two nonces share.
    """

    issued_at: float
    identity: bytes

    @classmethod
    def mint(cls, now: float, random: bytes) -> Nonce:
        """A new one; ``random`` are ``RANDOM`` octets that nobody can foresee."""
        stamp = _TIME.pack(max(0, round(now * _MICROSECONDS)))
        return cls(_TIME.unpack(stamp)[0] / _MICROSECONDS, stamp + random)

    def to_text(self, key: bytes) -> str:
        """What goes into a challenge. This is the reverse of ``from_text``."""
        return urlsafe_b64encode(self.identity + _tag(key, self.identity)).decode("ascii")

    @classmethod
    def from_text(cls, octets: bytes, keys: Sequence[bytes]) -> Nonce | None:
        """Read what a client sent back; None unless one of the keys minted it. This is the reverse of ``to_text``."""
        if _SPELLED.fullmatch(octets) is None:
            return None
        decoded = urlsafe_b64decode(octets)
        identity, tag = decoded[:-_TAG], decoded[-_TAG:]
        for key in keys:
            if hmac.compare_digest(_tag(key, identity), tag):
                return cls(_TIME.unpack_from(identity)[0] / _MICROSECONDS, identity)
        return None


def _tag(key: bytes, identity: bytes) -> bytes:
    return hmac.digest(key, identity, "sha256")[:_TAG]
