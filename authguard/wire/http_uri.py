"""Compare the URIs of HTTP requests by their normal form (RFC 3986 section 6.2, RFC 9110 section 4.2.3).

Two URIs are equivalent if they differ in no more than the case of the scheme and the host, a default port, an empty
path, the spelling of percent-encoded bytes, and segments ``.`` and ``..``.
"""

from __future__ import annotations

import re

from authguard.wire.grammar import WireError

# https://www.rfc-editor.org/rfc/rfc3986.html#section-3
#
#   URI         = scheme ":" hier-part [ "?" query ] [ "#" fragment ]
#   hier-part   = "//" authority path-abempty / ...
#   authority   = [ userinfo "@" ] host [ ":" port ]
#
# RFC 9110 section 4.2.4: `http` and `https` have no userinfo, and a host that is not empty.
_URI = re.compile(
    r"(?P<scheme>[Hh][Tt][Tt][Pp][Ss]?+)://"
    r"(?P<host>\[[0-9A-Fa-f:.]++\]|[A-Za-z0-9\-._~!$&'()*+,;=%]++)"
    r"(?::(?P<port>[0-9]*+))?+"
    r"(?P<path>/[^?#]*+)?+"
    r"(?P<rest>[?#].*+)?+",
    re.DOTALL,
)
_DEFAULT_PORTS = {"http": 80, "https": 443}

# https://www.rfc-editor.org/rfc/rfc3986.html#section-2.3
#
#   unreserved    = ALPHA / DIGIT / "-" / "." / "_" / "~"
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# What else may stand in a path as it is: the rest of pchar, and the slash.
_ENCODED_OR_NOT_ALLOWED = re.compile(rb"%[0-9A-Fa-f]{2}|[^A-Za-z0-9\-._~!$&'()*+,;=:@/]", re.DOTALL)


def normal_uri(uri: str) -> str:
    """The normal form of an ``http`` or ``https`` URI, without its query and fragment. Raises ``WireError``."""
    match = _URI.fullmatch(uri) if uri.isascii() and uri.isprintable() else None
    if match is None:
        raise WireError("not an absolute http or https URI without userinfo")
    scheme, port = match["scheme"].lower(), match["port"]
    host = match["host"]
    # The escapes of a name become lower-case with it. That does not matter, because both sides are compared so.
    host = (host if host.startswith("[") else _normal(host.encode("ascii"))).lower()
    if port and len(port) <= 5 and int(port) != _DEFAULT_PORTS[scheme]:
        host = f"{host}:{int(port)}"
    elif port and len(port) > 5:
        raise WireError("a port with more than five digits")
    return f"{scheme}://{host}{normal_path((match['path'] or '/').encode('ascii'))}"


def normal_path(path: bytes) -> str:
    """The normal form of a path as it was sent, without the query. Raises ``WireError`` for a ``%`` that escapes
    nothing.
    """
    return _without_dot_segments(_normal(path) or "/")


def _normal(text: bytes) -> str:
    return _ENCODED_OR_NOT_ALLOWED.sub(_normal_byte, text).decode("ascii")


def _normal_byte(match: re.Match[bytes]) -> bytes:
    """RFC 3986 sections 6.2.2.1 and 6.2.2.2: escapes in upper case, and none for what needs none."""
    found = match[0]
    if found == b"%":
        raise WireError("a % that is not followed by two hexadecimal digits")
    byte = int(found[1:], 16) if len(found) == 3 else found[0]
    return bytes((byte,)) if byte in _UNRESERVED else b"%%%02X" % byte


def _without_dot_segments(path: str) -> str:
    """RFC 3986 section 5.2.4, for a path that begins with a slash."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            if kept:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)
