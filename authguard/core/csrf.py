"""Whether a page of another origin made a browser send this request.

Browsers send Basic, Digest and cookies by themselves, so that credentials alone do not show who wanted a request. The
test is that of Fetch Metadata (https://www.w3.org/TR/fetch-metadata/), and ``Origin`` against ``Host`` where a browser
does not send that: old ones, all over plain HTTP, some in a WebSocket handshake.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeAlias

from authguard.errors import ConfigurationError
from authguard.request import AuthRequest

#: Other origins that may make browsers send what they send by themselves.
Origins: TypeAlias = frozenset[bytes]

# RFC 9110 section 9.2.1.
SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
# "same-site" is not among them: what else runs under a domain is seldom all one's own.
_OURS = frozenset({b"same-origin", b"none"})

# What a browser leaves out, and some proxies put in.
_PORTS = {b"http": b":80", b"https": b":443"}

# As a browser writes it (RFC 6454 section 6.2): in lower case, a name outside ASCII in Punycode.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*+://(?:[a-z0-9._-]++|\[[0-9a-f:.]++\])(?::[0-9]++)?")


def check_origins(origins: Iterable[str]) -> Origins:
    """The origins as octets; ``ConfigurationError`` for what is none, as a browser writes it."""
    if isinstance(origins, str) or not isinstance(origins, Iterable):
        raise ConfigurationError("origins", f"{origins!r} is no list of origins")
    found: set[bytes] = set()
    for origin in origins:
        if not isinstance(origin, str) or not _ORIGIN.fullmatch(origin):
            raise ConfigurationError("origins", f"{origin!r} is no origin such as https://app.example")
        octets = origin.encode()
        scheme, _, authority = octets.partition(b"://")
        port = _PORTS.get(scheme)
        if port is not None and authority.endswith(port):
            raise ConfigurationError("origins", f"browsers leave the port of {origin!r} out")
        found.add(octets)
    return frozenset(found)


def is_cross_origin(request: AuthRequest, trusted: Origins) -> bool:
    """Whether the request may change something, or opens a WebSocket, and comes from another origin.

    Requests without ``Sec-Fetch-Site`` and ``Origin`` are not browsers' and pass. Two lines of either are foreign.
    """
    if request.kind == "http" and request.method in SAFE:
        return False
    sites, origins = request.lines(b"sec-fetch-site"), request.lines(b"origin")
    if len(sites) > 1 or len(origins) > 1:
        return True
    if origins and origins[0] in trusted:
        return False
    if sites:
        return sites[0] not in _OURS
    return bool(origins) and not _is_ours(request, origins[0])


def _is_ours(request: AuthRequest, origin: bytes) -> bool:
    scheme, _, authority = origin.partition(b"://")
    if request.secure and scheme == b"http":
        return False  # the reverse is a proxy that takes TLS off
    hosts = [host.lower() for host in request.lines(b"host")]
    return authority != b"" and hosts in ([authority], [authority + _PORTS.get(scheme, b"")])


def origin_facts(request: AuthRequest) -> dict[str, object]:
    """What the record tells of where the request came from."""
    told: dict[str, object] = {}
    for name, fact in ((b"origin", "origin"), (b"sec-fetch-site", "sec_fetch_site")):
        if lines := request.lines(name):
            told[fact] = [line.decode("latin-1") for line in lines]
    return told
