"""Cross-site request forgery: whether a page of another origin made a browser send this request.

Browsers send Basic, Digest and cookies by themselves, so credentials do not show that the user wanted the request. The
check follows Fetch Metadata (https://www.w3.org/TR/fetch-metadata/). It compares ``Origin`` with ``Host`` if a browser
sends no ``Sec-Fetch-Site``: old browsers, all browsers over plain HTTP, and some in a WebSocket handshake.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeAlias

from authguard.errors import ConfigurationError
from authguard.request import AuthRequest

#: Other origins whose pages may make a browser send the credentials that it sends by itself.
Origins: TypeAlias = frozenset[bytes]

#: The methods that change nothing. RFC 9110 section 9.2.1.
SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
# "same-site" is not among them: other hosts of a domain often belong to somebody else.
_OWN_SITES = frozenset({b"same-origin", b"none"})

#: Not an origin: what a browser sends for a page that hides its own, by sandboxing or by ``Referrer-Policy``.
NULL = b"null"

# Browsers leave these out of `Origin` and `Host`, and some proxies add them to `Host`.
_DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}

# RFC 6454 section 6.2, as browsers write it: in lower case, and with names outside ASCII in Punycode.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*+://(?:[a-z0-9._-]++|\[[0-9a-f:.]++\])(?::[0-9]++)?")


def check_origins(origins: Iterable[str]) -> Origins:
    """The origins as bytes. Raises ``ConfigurationError`` for one that is not written as browsers write it.

    ``"null"`` is one of them: see ``is_cross_origin``.
    """
    if isinstance(origins, str) or not isinstance(origins, Iterable):
        raise ConfigurationError("origins", f"{origins!r} is not a list of origins, such as ['https://app.example']")
    checked: set[bytes] = set()
    for origin in origins:
        if origin == "null":
            checked.add(NULL)
            continue
        if not isinstance(origin, str) or not _ORIGIN.fullmatch(origin):
            raise ConfigurationError("origins", f"{origin!r} is not an origin such as https://app.example")
        raw = origin.encode()
        scheme, _, authority = raw.partition(b"://")
        port = _DEFAULT_PORTS.get(scheme)
        if port is not None and authority.endswith(port):
            raise ConfigurationError("origins", f"{origin!r} names the default port; leave it out, as browsers do")
        checked.add(raw)
    return frozenset(checked)


def is_cross_origin(request: AuthRequest, trusted: Origins) -> bool:
    """Whether the request comes from a page of another origin, and may change something or opens a WebSocket.

    A request without ``Sec-Fetch-Site`` and ``Origin`` does not come from a browser, so it is not cross-origin. A
    request with two lines of either is.

    ``Origin: null`` hides the origin: a form of this site has it under ``Referrer-Policy: no-referrer``, and so has one
    in a sandboxed frame of any site. ``Sec-Fetch-Site`` tells them apart, so it decides where the browser sends it.
    Where it does not, ``null`` is accepted only if it is one of ``trusted``. Never for a WebSocket: the policy does not
    hide its origin (https://fetch.spec.whatwg.org/#append-a-request-origin-header), so the page is sandboxed.
    """
    if request.kind == "http" and request.method in SAFE:
        return False
    sites, origins = request.lines(b"sec-fetch-site"), request.lines(b"origin")
    if len(sites) > 1 or len(origins) > 1:
        return True
    if origins and origins[0] in trusted and origins[0] != NULL:
        return False
    if sites:
        return sites[0] not in _OWN_SITES
    if origins == [NULL] and NULL in trusted:
        return request.kind == "websocket"
    return bool(origins) and not _is_own_origin(request, origins[0])


def _is_own_origin(request: AuthRequest, origin: bytes) -> bool:
    scheme, _, authority = origin.partition(b"://")
    if request.secure and scheme == b"http":
        return False  # the reverse, https over plain HTTP, is a proxy that terminates TLS
    hosts = [host.lower() for host in request.lines(b"host")]
    return authority != b"" and hosts in ([authority], [authority + _DEFAULT_PORTS.get(scheme, b"")])


def origin_facts(request: AuthRequest, trusted: Origins) -> dict[str, object]:
    """What a browser says of the origin, and what ``Origin`` was compared with: ``Host``, and the trusted origins."""
    facts: dict[str, object] = {}
    for field, fact in ((b"origin", "origin"), (b"sec-fetch-site", "sec_fetch_site"), (b"host", "host")):
        if lines := request.lines(field):
            facts[fact] = [line.decode("latin-1") for line in lines]
    facts["origins"] = sorted(origin.decode() for origin in trusted)
    if request.kind == "http" and facts.get("origin") == ["null"] and "sec_fetch_site" not in facts:
        facts["hint"] = "a page of this site hides its origin under no-referrer: send Referrer-Policy: same-origin"
    return facts


def is_hidden_origin(request: AuthRequest, trusted: Origins) -> bool:
    """Whether the request is not cross-origin only because ``null`` is one of the trusted origins."""
    return NULL in trusted and is_cross_origin(request, trusted - {NULL}) and not is_cross_origin(request, trusted)
