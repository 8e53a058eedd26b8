"""Warnings about responses of the app that get in the way of logins: redirects that leave https, unsafe cookies.

The responses go out as the app wrote them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping
from contextlib import suppress
from typing import Any

from starlette.types import Message, Send

from authguard.asgi.messages import STARTS
from authguard.fork import ForkSafeLock
from authguard.records.record import escape, log
from authguard.request import PROXY_FIELDS, network_of, says_https
from authguard.wire.cookie import set_cookie_problems

#: The statuses with which a client repeats the request elsewhere. RFC 9110 section 15.4.
REDIRECTS = frozenset({301, 302, 303, 307, 308})

#: How many networks are warned of. Each causes one warning at most, so that none spends those of others.
MAX_WARNED = 16
_warned: set[str | None] = set()
_lock = ForkSafeLock()


def note_redirect(scope: Mapping[str, Any], message: Mapping[str, Any]) -> None:
    """Log a WARNING, once for each network, if this response leads a client from https to http on the same host.

    A proxy ends TLS, and the server behind it was not told so. Starlette then redirects ``/orders/`` to
    ``http://api.example/orders``. Clients such as curl, httpx and requests leave ``Authorization`` out on the way from
    https to http, so that the next request has no credentials. That the client has used https is what a proxy says in
    ``X-Forwarded-Proto`` or ``Forwarded``.
    """
    headers = dict(scope["headers"])
    if not any(says_https(field, headers[field]) for field in PROXY_FIELDS.intersection(headers)):
        return
    location = next((value for name, value in message.get("headers", ()) if name.lower() == b"location"), b"")
    host = headers.get(b"host", b"").lower()
    own = b"http://" + host
    if not host or not location.lower().startswith((own + b"/", own + b"?")):
        return
    network = network_of((scope.get("client") or (None,))[0])
    with _lock:
        if network in _warned or len(_warned) >= MAX_WARNED:
            return
        _warned.add(network)
    with suppress(Exception):  # a logging filter or handler of the app may raise
        log.warning(
            "%s %s is redirected from https to http, where clients leave Authorization out: the proxy says https, and "
            "the server was not told; let it read X-Forwarded-Proto (uvicorn: --proxy-headers --forwarded-allow-ips)",
            escape(str(scope.get("method"))),
            escape(str(scope["path"])),
        )


class SetCookieCheck:
    """Looks at the ``Set-Cookie`` lines of an app for the cookies with which users log in.

    Each problem of each of the ``names`` is logged once, as a WARNING. Another line in place of the app's could be
    ignored by the browser, which nobody would understand.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        # As many as there are names and kinds of problems.
        self._warned: set[tuple[str, str]] = set()

    def watch(self, send: Send) -> Send:
        """The ``send`` of the app for one request."""

        def checked(message: Message) -> Awaitable[None]:
            if message["type"] in STARTS:
                self._look_at(message)
            return send(message)

        return checked

    def _look_at(self, message: Message) -> None:
        for field, line in message.get("headers", ()):
            if field.lower() == b"set-cookie" and (found := set_cookie_problems(line, self._names)) is not None:
                for problem in found[1]:
                    self._warn(found[0], problem)

    def _warn(self, name: str, problem: str) -> None:
        if (name, problem) not in self._warned:
            self._warned.add((name, problem))
            with suppress(Exception):  # as above
                log.warning("The cookie %s logs users in, and the app does not set it safely: %s.", name, problem)
