"""The ``Cookie`` field (RFC 6265): find a cookie among those of a request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from authguard.wire.grammar import WireError

#: The longest ``Cookie`` field that is searched, in bytes. Its lines are counted together.
MAX_COOKIES = 64 * 1024

# https://www.rfc-editor.org/rfc/rfc6265.html#section-4.1.1
#
#   cookie-value   = *cookie-octet / ( DQUOTE *cookie-octet DQUOTE )
#   cookie-octet   = %x21 / %x23-2B / %x2D-3A / %x3C-5B / %x5D-7E
#
# A semicolon ends a cookie even between quotes, as in browsers. A server that reads it as part of the value can be made
# to see other cookies than this one.
_VALUE = re.compile(rb'("?)([\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*+)\1')


def cookie_values(lines: Sequence[bytes], name: str) -> list[bytes]:
    """The values of all cookies of a name, in order, as they were sent. HTTP/2 may send several field lines.

    https://www.rfc-editor.org/rfc/rfc6265.html#section-4.2.1

        cookie-string = cookie-pair *( ";" SP cookie-pair )

    Names are compared as they are. Spaces and tabs around a name and a value are left out.
    """
    find = _cookie_of(name).findall
    return [value.strip(b" \t") for line in lines for value in find(line)]


def cookie_value(value: bytes) -> bytes:
    """The value without the quotes around it, which some libraries write. Raises ``WireError`` for anything else."""
    match = _VALUE.fullmatch(value)
    if match is None:
        raise WireError("a character that no cookie has")
    return match[2]


@lru_cache(64)
def _cookie_of(name: str) -> re.Pattern[bytes]:
    return re.compile(rb"(?:\A|;)[ \t]*+%b[ \t]*+=([^;]*+)" % re.escape(name.encode("ascii")))
