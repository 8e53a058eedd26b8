"""The port to a key server: a function that fetches, and how it says that it could not."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from itertools import count
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from anyio.lowlevel import RunVar

from authguard.errors import AuthGuardError, BackendUnavailable, ConfigurationError

if TYPE_CHECKING:
    import httpx2

_MAX_AGE = re.compile(r'(?:^|[,\s])max-age="?([0-9]{1,9})"?(?:$|[,\s])', re.IGNORECASE)
_AT_ONCE = re.compile(r"(?:^|[,\s])(?:no-store|no-cache)(?:$|[,\s=])", re.IGNORECASE)
_AGE = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a server answered with status 200. ``max_age``: for how many seconds it holds, where the server says so."""

    body: bytes = field(repr=False)
    max_age: float | None = None


#: Fetches what is at an address: its octets, or ``Fetched``. It runs in a thread and an asyncio loop of its own, and
#: whatever it raises is an outage. Nothing of it may be bound to a loop of the app's.
Fetch: TypeAlias = Callable[[str], Awaitable[bytes | Fetched]]


class FetchFailed(AuthGuardError):
    """A server could not be asked, or its answer is of no use.

    ``problem`` is a constant phrase for the log, and quotes nothing that the server wrote.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


def too_long(limit: int) -> FetchFailed:
    """What to raise for an answer of more than ``limit`` octets."""
    return FetchFailed(f"its answer is longer than {limit} octets")


def max_age(cache_control: str, age: str) -> float | None:
    """For how many seconds an answer holds (RFC 9111 sections 4.2.1 and 5.2.2), None where it says nothing of that."""
    if _AT_ONCE.search(cache_control):
        return 0.0
    stated = _MAX_AGE.search(cache_control)
    if stated is None:
        return None
    spent = int(age) if _AGE.fullmatch(age) else 0
    return float(max(0, int(stated[1]) - spent))


def address_fault(url: object, *, insecure_http: bool) -> str | None:
    """What is wrong with the address of a key server; None where nothing is."""
    if not isinstance(url, str):
        return "it is no string"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "it holds a character that no address has"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "it is no address"
    if parts.scheme not in {"https", "http"} or not host:
        return 'it is no address; write "https://login.example/jwks.json"'
    if parts.username is not None or parts.password is not None:
        return "it holds credentials, which are sent to no key server"
    if parts.fragment:
        return "it has a fragment, which is sent to no server"
    if parts.scheme == "http" and not insecure_http:
        return "keys that come over http may be anybody's; use https, or say insecure_http=True"
    return None


def check_address(argument: str, url: str, *, insecure_http: bool) -> str:
    """The address; ``ConfigurationError`` where it is none that keys may come from."""
    fault = address_fault(url, insecure_http=insecure_http)
    if fault is not None:
        raise ConfigurationError(argument, fault)
    return url


def shown(url: str) -> str:
    """The address without its query, which may hold a key of another kind."""
    return url.partition("?")[0]


#: Makes a client, in the thread and on the loop that use it.
ClientFactory: TypeAlias = "Callable[[], httpx2.AsyncClient]"


def check_httpx2(argument: str) -> None:
    """Raises ``ConfigurationError`` where httpx2 lacks; ``argument`` takes its place."""
    try:
        import httpx2  # noqa: F401, PLC0415 - an extra, which only those need who fetch or ask
    except ImportError:
        lacks = True
    else:
        lacks = False
    if lacks:
        problem = 'asking a server needs httpx2: pip install "authguard[oidc]"'
        raise ConfigurationError(argument, f"{problem}, or give {argument}=...")


def plain() -> ClientFactory:
    """Makes clients that do as the app says, and as nothing in the environment says.

    Neither proxies nor certificates nor passwords are taken from variables or files of the user's, which nobody passed
    in: who needs a proxy, or a certificate authority of his own, gives ``client=``. Servers are verified as httpx2
    does it by default, redirects are not followed, and there is no time-out beside that of whoever asks.
    """
    import httpx2  # noqa: PLC0415 - an extra

    trusted = _trusted()
    return lambda: httpx2.AsyncClient(verify=trusted, trust_env=False, follow_redirects=False, timeout=None)


@cache
def _trusted() -> ssl.SSLContext:
    """httpx2's own, read once while the app is built: that takes longer than a request should wait."""
    import httpx2  # noqa: PLC0415 - an extra

    return httpx2.create_ssl_context(trust_env=False)


# RFC 7517 section 8.5.2. `identity`: a compressed answer has no bound before it is unpacked.
_ASKED = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}


def over_httpx2(client: ClientFactory | None, *, limit: int) -> Fetch:
    """A ``Fetch`` that makes a client each time, that of ``plain`` or one by ``client``.

    At most ``limit`` octets are read. Redirects are not followed: where keys come from is said in the app. How long all
    may take is the business of whoever asks. Raises ``ConfigurationError`` where httpx2 lacks.
    """
    check_httpx2("fetch")
    import httpx2  # noqa: PLC0415 - an extra

    make = client or plain()

    async def fetch(url: str) -> Fetched:
        try:
            async with make() as each, each.stream("GET", url, headers=_ASKED, follow_redirects=False) as answer:
                return await _read(answer, limit)
        except httpx2.TimeoutException:
            problem = "it did not answer in time"
        except httpx2.ConnectError as error:
            problem = "its TLS is at fault" if _is_tls(error) else "it cannot be reached"
        except httpx2.RemoteProtocolError:
            problem = "its answer broke off, or is no HTTP"
        except httpx2.TransportError:
            problem = "the connection to it failed"
        raise FetchFailed(problem)

    return fetch


async def _read(answer: httpx2.Response, limit: int) -> Fetched:
    if answer.is_redirect:
        raise FetchFailed("it redirects, which is not followed")
    if answer.status_code != HTTPStatus.OK:
        raise FetchFailed(f"it answers with status {answer.status_code}")
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise FetchFailed("its answer is compressed, which was not asked for")
    body = bytearray()
    async for octets in answer.aiter_bytes():
        body += octets
        if len(body) > limit:
            raise too_long(limit)
    return Fetched(bytes(body), max_age(answer.headers.get("cache-control", ""), answer.headers.get("age", "")))


def _is_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


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
