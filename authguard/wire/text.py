"""Unicode normalisation of names, realms and passwords."""

from __future__ import annotations

import unicodedata

from authguard.wire.grammar import WireError

# Normalisation sorts the combining marks of a letter in quadratic time, and the client chooses their number. No
# language needs more than 30 (https://www.unicode.org/reports/tr15/#Stream_Safe_Text_Format). The limit is higher,
# because a password may consist of a whole Unicode block of marks; the longest block has 112.
_MAX_MARKS = 128


def nfc(text: str) -> str:
    """Normalise a name, realm or password to NFC (RFC 7617 section 2.1, RFC 7616 section 4).

    Raises ``WireError`` for more than 128 combining marks in a row.
    """
    if text.isascii():
        return text
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks > _MAX_MARKS:
            raise WireError("more than 128 combining marks in a row")
    return unicodedata.normalize("NFC", text)
