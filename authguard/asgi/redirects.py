"""Redirects of the app that leave https, where clients do not send ``Authorization`` again.

A proxy ends TLS, and the server behind it was not told so. Starlette then redirects ``/orders/`` to
``http://api.example/orders``. Clients such as curl, httpx and requests drop ``Authorization`` on the way from https to
http, so that the next request has no credentials.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from authguard.fork import ForkSafeLock
from authguard.records.record import escape, log
from authguard.request import PROXY_FIELDS, says_https

#: The statuses with which a client repeats the request elsewhere. RFC 9110 section 15.4.
REDIRECTS = frozenset({301, 302, 303, 307, 308})

#: How many hosts are warned of: the client chooses the name of a host.
MAX_WARNED = 16
_warned: set[bytes] = set()
_lock = ForkSafeLock()


def note_redirect(scope: Mapping[str, Any], message: Mapping[str, Any]) -> None:
    """Log a WARNING, once for each host, if this response leads a client from https to http on the same host.

    That the client has used https is what a proxy says in ``X-Forwarded-Proto`` or ``Forwarded``.
    """
    headers = dict(scope["headers"])
    if not any(says_https(field, headers[field]) for field in PROXY_FIELDS.intersection(headers)):
        return
    location = next((value for name, value in message.get("headers", ()) if name.lower() == b"location"), b"")
    host = headers.get(b"host", b"").lower()
    own = b"http://" + host
    if not host or not location.lower().startswith((own + b"/", own + b"?")):
        return
    with _lock:
        if host in _warned or len(_warned) >= MAX_WARNED:
            return
        _warned.add(host)
    with suppress(Exception):  # a logging filter or handler of the app may raise
        log.warning(
            "%s %s is redirected from https to http, where clients leave Authorization out: the proxy says https, and "
            "the server was not told; let it read X-Forwarded-Proto (uvicorn: --proxy-headers --forwarded-allow-ips)",
            escape(str(scope.get("method"))),
            escape(str(scope["path"])),
        )
