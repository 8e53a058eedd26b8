"""The lines of Apache's files."""

from __future__ import annotations

import re
from collections.abc import Iterator

from authguard.stores.watched import BadFile

#: Apache's blanks (isspace in the C locale). Python's own would also strip a no-break space off a password.
BLANKS = " \t\r\v\f"
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def lines(octets: bytes) -> Iterator[tuple[int, str, bool]]:
    """The lines that say something, each with its number and whether a line feed ends it. Raises ``BadFile``."""
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = None
    if text is None:
        raise BadFile("it is not UTF-8")
    # Only a line feed ends a line: str.splitlines would also split at a name's U+2028.
    *ended, last = text.split("\n")
    for number, untrimmed in enumerate([*ended, last], 1):
        line = untrimmed.strip(BLANKS)
        if _CONTROL.search(line):
            raise BadFile(f"line {number} holds a control character")
        if line and not line.startswith("#"):
            yield number, line, number <= len(ended)
