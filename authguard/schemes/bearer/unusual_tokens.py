"""What stands in the place of a token, for the record: a client's mistakes in how it writes the field.

The phrases are constant. None of them quotes what the client has sent, which may be a secret.
"""

from __future__ import annotations

import re

# What programs write where they have no token, and the names of a place for one; `undefined` and `null` are those of
# JavaScript. A word that somebody could take for a password is not among them.
_WORDS = {
    word.encode(): f"the word {word}"
    for word in (
        *("undefined", "null", "none", "nil", "nan", "true", "false"),
        *("token", "access_token", "your_token", "your-token", "yourtoken", "jwt"),
    )
}
_LONGEST_WORD = max(map(len, _WORDS))

# How the text begins. Each group is one mistake. `core/diagnosis` has those that clients of any scheme make: the scheme
# twice, quotes, and several credentials that were joined on the way.
_START = re.compile(
    rb"""
    (b['"])
    | (\{["'])
    | (\[(?:object|function))
    | ((?:basic|digest|token|jwt)[ \t])
    | (\{\{|\$\{|\$[a-z_(]|<|%7b%7b|%s|\{token|\{access)
    | ([a-z_-]{1,32}+=[^=])
    """,
    re.IGNORECASE | re.VERBOSE,
)
_STARTS = (
    "a bytes literal of Python, b'...'",
    "JSON, and not the token in it",
    "an object of JavaScript, as a string",
    "another auth-scheme after Bearer",
    "a placeholder that nothing has replaced",
    "a name and an equals sign before the token",
)
# The first character that no token has.
_FOREIGN = re.compile(rb"[^A-Za-z0-9\-._~+/=]")
_FOREIGN_PHRASES = {
    b"\\": "a backslash inside, perhaps an escaped line break",
    b"%": "percent-encoding",
}


def word_in_place_of_token(raw: bytes) -> str | None:
    """Which word of a program stands in the place of a token; None for any other text, which may be a secret."""
    return _WORDS.get(raw.lower()) if len(raw) <= _LONGEST_WORD else None


def unusual_token(raw: bytes) -> str | None:
    """What the text after ``Bearer`` is, if it is one of the common mistakes; None if it is not.

    For a text that has a character which no token has.
    """
    start = _START.match(raw)
    if start is not None:
        return _STARTS[(start.lastindex or 1) - 1]
    foreign = _FOREIGN.search(raw)
    if foreign is None:
        return None
    return _FOREIGN_PHRASES.get(foreign[0]) or (None if foreign[0].isascii() else "a character outside ASCII")
