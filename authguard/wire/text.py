"""Names and passwords as text."""

from __future__ import annotations

import unicodedata

from authguard.wire.grammar import WireError

# To put the marks of a letter in order takes time in proportion to the square of their number, which a stranger would
# choose. No language has more than 30 (https://www.unicode.org/reports/tr15/#Stream_Safe_Text_Format); a password may
# be all of a block of theirs, the longest of which has 112.
_MOST_MARKS = 128


def nfc(text: str) -> str:
    """The form NFC of names, realms and passwords (RFC 7617 section 2.1, RFC 7616 section 4).

    Raises ``WireError`` for more than 128 combining marks in a row.
    """
    if text.isascii():
        return text
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks > _MOST_MARKS:
            raise WireError("more than 128 combining marks in a row")
    return unicodedata.normalize("NFC", text)
