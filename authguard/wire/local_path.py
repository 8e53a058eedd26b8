"""Paths of this site in a URL: what a redirect may lead to when a client has named the target."""

from __future__ import annotations

import re

#: The longest path that a redirect may lead to, in bytes. Servers refuse a longer request line.
MAX_LOCAL_PATH = 2048

# path-absolute [ "?" query ] of RFC 3986 section 4.2, and less: no second slash, which would begin a host; no backslash
# anywhere, which browsers read as a slash; no space and no control character, which browsers drop from a URL before
# they read it (https://url.spec.whatwg.org/#concept-basic-url-parser); no fragment, which a server never sees.
_LOCAL_PATH = re.compile(r"/(?:[\x21-\x22\x24-\x2e\x30-\x5b\x5d-\x7e][\x21-\x22\x24-\x5b\x5d-\x7e]*+)?+")


def is_local_path(text: str) -> bool:
    """Whether a URL reference is a path of the same site, with or without a query, however a browser reads it.

    ``//evil.example``, ``/\\evil.example``, a path with a tab in it, and ``https://evil.example`` are not.
    """
    return len(text) <= MAX_LOCAL_PATH and _LOCAL_PATH.fullmatch(text) is not None
