"""A POST of a form to a server of the operator's: over httpx2, with a cap on size, and without redirects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from anyio.lowlevel import RunVar

from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.keys.client import ClientFactory, check_httpx2, plain

if TYPE_CHECKING:
    import httpx2

#: ``(url, headers, body) -> (status, body)``. It follows no redirect, and raises whatever it likes where it fails.
Post: TypeAlias = Callable[[str, Mapping[str, str], bytes], Awaitable[tuple[int, bytes]]]

#: The longest answer that is read, in octets.
MOST = 64 * 1024

_NUMBERS = count()


class HttpPost:
    """POST over httpx2 (the extra ``oidc``).

    ``client`` makes a client: for a proxy, or a certificate authority of one's own. While the app's lifespan runs there
    is one for the loop, which keeps its connections; without one each call has its own, for a client belongs to the
    event loop that it was first used in. Raises ``ConfigurationError`` where httpx2 lacks.
    """

    def __init__(self, client: ClientFactory | None = None) -> None:
        check_httpx2("post")
        self._make = client or plain()
        # anyio 4.7 tells them apart by their names: one would send its credentials by the client of another.
        self._kept: RunVar[httpx2.AsyncClient] = RunVar(f"authguard.posting.{next(_NUMBERS)}")

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Status and body. Raises ``BackendUnavailable`` for a body that is too large or encoded, else httpx2's own."""
        kept = self._kept.get(None)
        if kept is not None:
            # A server may hang up on a connection that rests as the next request is on its way (RFC 9112 section 9.5).
            # To ask about a token once more does no harm, and a good one is not to suffer for that.
            with suppress(*_broken()):
                return await _post(kept, url, headers, body)
        async with self._make() as client:
            return await _post(client, url, headers, body)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keeps one client for all calls of this event loop."""
        async with self._make() as client:
            token = self._kept.set(client)
            try:
                yield
            finally:
                self._kept.reset(token)


def _broken() -> Sequence[type[Exception]]:
    import httpx2  # noqa: PLC0415 - an extra; here is a client of its

    return httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError


async def _post(client: httpx2.AsyncClient, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
    sent = {**headers, "Accept-Encoding": "identity"}
    async with client.stream("POST", url, headers=sent, content=body, follow_redirects=False) as response:
        if response.headers.get("content-encoding", "identity") != "identity":
            # A few octets may unfold to gigabytes.
            raise BackendUnavailable("an encoded answer, which nobody asked for")
        found = bytearray()
        try:
            async for chunk in response.aiter_raw():
                found += chunk
                if len(found) > MOST:
                    # Not left in the middle: on trio its generators, which nobody else can end, would complain.
                    await response.aclose()
        except Exception:
            if len(found) <= MOST:
                raise
        if len(found) > MOST:
            raise BackendUnavailable(f"an answer of over {MOST} octets")
        return response.status_code, bytes(found)


def check_url(argument: str, url: str, *, insecure_http: bool, example: str = "https://idp.example/introspect") -> str:
    """The URL; ``ConfigurationError`` unless it is https, or http where that is said, and holds no password."""
    try:
        parts = urlsplit(url) if isinstance(url, str) and url.isprintable() and " " not in url else None
        known = parts is not None and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        parts, known = None, False
    if parts is None or not known or parts.scheme not in {"https", "http"}:
        raise ConfigurationError(argument, f"give an absolute URL, {example}")
    if parts.scheme == "http" and not insecure_http:
        told = "http shows whatever is sent to all who are on the way; use https, or say insecure_http=True"
        raise ConfigurationError(argument, told)
    if parts.username is not None or parts.fragment:
        raise ConfigurationError(argument, "no user, no password and no fragment belong into it")
    return url
