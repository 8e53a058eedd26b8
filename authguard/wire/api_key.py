"""The text of an API key: ``PREFIX_ID_SECRET``, with a checksum at its end.

The prefix says whose key it is, so that people and secret scanners recognise one: ``acme_live_...``. The checksum tells
a key from a typing mistake or from garbage without a look-up.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import field

from authguard.value_types import value
from authguard.wire.grammar import WireError

#: The digits of base62, in the order of ASCII.
ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#: How many characters the parts have. An id has 71 bits, a secret 160 bits, a checksum the 32 bits of a CRC-32.
ID_LENGTH, SECRET_LENGTH, CHECKSUM_LENGTH = 12, 27, 6
#: The longest prefix with its environment, in characters.
MAX_LABEL = 40
#: The length of everything after the label: an underscore, the id, an underscore, the secret and the checksum.
TAIL_LENGTH = 1 + ID_LENGTH + 1 + SECRET_LENGTH + CHECKSUM_LENGTH
#: The longest key, in bytes.
MAX_KEY = MAX_LABEL + TAIL_LENGTH

# Of our own, there is no RFC:
#
#   api-key      = label "_" id "_" secret checksum
#   label        = prefix [ "_" environment ]
#   prefix       = word *( "_" word )
#   environment  = word
#   word         = 1*( %x61-7A / DIGIT )      ; lower case, and a prefix begins with a letter
#   id           = 12base62
#   secret       = 27base62
#   checksum     = 6base62                    ; the CRC-32 of everything before it
#
# The label is whatever comes before the last 47 characters, so nothing has to be searched for.
_TAIL = re.compile(rb"_([0-9A-Za-z]{12})_[0-9A-Za-z]{33}")
LABEL = re.compile(rb"[a-z][a-z0-9]*+(?:_[a-z0-9]++)*+")


@value
class ApiKeyText:
    """A key as a client sends it: the ``label`` (the prefix and the environment), the ``id``, and the whole ``text``.

    Only ``text`` holds the secret.
    """

    label: str
    id: str
    text: bytes = field(repr=False)

    @classmethod
    def parse(cls, raw: bytes) -> ApiKeyText:
        """Parse what a client sent. This is the reverse of ``write``.

        Raises ``WireError`` for anything else than a key with the right checksum, after at most one pass over 87 bytes.
        """
        begin = len(raw) - TAIL_LENGTH
        if not 0 < begin <= MAX_LABEL:
            raise WireError("too long for a key" if begin > 0 else "too short for a key" if raw else "empty")
        tail = _TAIL.fullmatch(raw, begin)
        if tail is None or LABEL.fullmatch(raw, 0, begin) is None:
            raise WireError("not PREFIX_ID_SECRET; it may be cut off")
        if _checksum(raw[:-CHECKSUM_LENGTH]) != raw[-CHECKSUM_LENGTH:]:
            raise WireError("the checksum differs: a character is wrong or missing")
        return cls(raw[:begin].decode("ascii"), tail[1].decode("ascii"), raw)

    @classmethod
    def write(cls, label: str, key_id: str, secret: str) -> ApiKeyText:
        """The text of a key of these parts. This is the reverse of ``parse``.

        Raises ``WireError`` for parts that no key has.
        """
        text = f"{label}_{key_id}_{secret}".encode()
        return cls.parse(text + _checksum(text))


def is_label(text: str) -> bool:
    """Whether a key can begin with this prefix, or prefix and environment: words of ``a-z0-9`` with underscores."""
    return text.isascii() and len(text) <= MAX_LABEL and LABEL.fullmatch(text.encode()) is not None


def is_key_id(text: str) -> bool:
    """Whether it is the id of a key."""
    return len(text) == ID_LENGTH and text.isascii() and text.isalnum()


def _checksum(text: bytes) -> bytes:
    """The CRC-32 of the text, in six digits of base62."""
    # In pairs of digits, because six steps of one digit would cost more than the hash of the key.
    rest, low = divmod(zlib.crc32(text), 3844)
    high, middle = divmod(rest, 3844)
    return _PAIRS[high] + _PAIRS[middle] + _PAIRS[low]


_PAIRS = tuple(bytes((high, low)) for high in ALPHABET for low in ALPHABET)
