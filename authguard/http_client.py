"""Requests that authguard itself sends: GET for keys and metadata, POST for introspection.

The module reads in this order: URLs; ``Fetch``, a function that fetches; the httpx2 client; ``httpx2_fetch``, which is
the default ``Fetch``; ``HttpPost``. httpx2 is an extra, and is imported only where it is used.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import field
from http import HTTPStatus
from itertools import count
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import SplitResult, urlsplit

from anyio.lowlevel import RunVar

from authguard.errors import AuthGuardError, BackendUnavailable, ConfigurationError
from authguard.fork import renew_after_fork
from authguard.value_types import value

if TYPE_CHECKING:
    import httpx2

# --- URLs -------------------------------------------------------------------------------------------------------------


def check_url(argument: str, url: object, *, insecure_http: bool, example: str = "https://idp.example/") -> str:
    """The URL, if it is absolute, https (http only with ``insecure_http``), and without credentials and a fragment.

    Raises ``ConfigurationError`` otherwise. The message shows ``example`` and no part of the URL, which may hold a
    password.
    """
    if not isinstance(url, str):
        raise ConfigurationError(argument, f'a {type(url).__name__} is not a URL; write "{example}"')
    if not url.isascii() or not url.isprintable() or " " in url:
        problem = "the URL contains a space, a control character or a character outside ASCII"
        raise ConfigurationError(argument, f"{problem}; write the host in Punycode, and percent-encode the path")
    parts = _split_absolute(url)
    if parts is None:
        raise ConfigurationError(argument, f'this is not an absolute https URL; write "{example}"')
    if parts.scheme == "http" and not insecure_http:
        problem = "over http, anybody on the way can read and change what is sent"
        raise ConfigurationError(argument, f"{problem}; use https, or pass insecure_http=True")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(argument, "the URL must not contain a user name or a password")
    if parts.fragment:
        raise ConfigurationError(argument, "the URL must not contain a fragment (#...)")
    return url


def _split_absolute(url: str) -> SplitResult | None:
    """The parts of an absolute https or http URL; None if it is not one."""
    try:
        parts = urlsplit(url)
        is_absolute = parts.scheme in {"https", "http"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if is_absolute else None


def without_query(url: str) -> str:
    """The URL without its query, for logs: a query may hold a secret, such as an API key."""
    return url.partition("?")[0]


# --- Fetch: a function that fetches -----------------------------------------------------------------------------------


@value
class Fetched:
    """The body of a response with status 200. ``max_age``: how many seconds it is fresh; None if that is not known."""

    body: bytes = field(repr=False)
    max_age: float | None = None


#: An async function of a URL that returns the body as bytes, or as ``Fetched``. It runs in a thread of its own on an
#: asyncio event loop of its own, so nothing in it may be bound to an event loop of the app. Whatever it raises is an
#: outage.
Fetch: TypeAlias = Callable[[str], Awaitable[bytes | Fetched]]


class FetchFailed(AuthGuardError):
    """A server did not answer, or its answer cannot be used.

    ``problem`` is for the log. Of what the server wrote, it quotes nothing but URLs: through ``shown_url``, which
    leaves out what may be a secret. ``facts`` are further facts for the record of a request that needed the answer.
    """

    def __init__(self, problem: str, facts: Mapping[str, object] | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.facts: Mapping[str, object] = {} if facts is None else facts


def shown_url(url: str) -> str:
    """A URL that a server wrote, for a log: in ASCII, on one line, at most 128 characters.

    Its query, its fragment, and its user name and password are left out.
    """
    shown = _USER_INFO.sub("//", without_query(url).partition("#")[0])
    return ascii(shown[:MAX_QUOTED])[1:-1].replace('"', "'")


#: The longest URL that is quoted, in characters.
MAX_QUOTED = 128
_USER_INFO = re.compile(r"//[^/@]*@")


def response_too_long(limit: int) -> FetchFailed:
    """The error for a body of more than ``limit`` bytes."""
    return FetchFailed(f"its answer is longer than {limit} octets")


_MAX_AGE = re.compile(r'(?:^|[,\s])max-age="?([0-9]{1,9})"?(?:$|[,\s])', re.IGNORECASE)
_NO_CACHE = re.compile(r"(?:^|[,\s])(?:no-store|no-cache)(?:$|[,\s=])", re.IGNORECASE)
_AGE = re.compile(r"[0-9]{1,9}")


def remaining_freshness(cache_control: str, age: str) -> float | None:
    """Seconds for which a response stays fresh, by its ``Cache-Control`` and ``Age`` fields; None without ``max-age``.

    RFC 9111 sections 4.2.1 and 5.2.2.
    """
    if _NO_CACHE.search(cache_control):
        return 0.0
    max_age = _MAX_AGE.search(cache_control)
    if max_age is None:
        return None
    elapsed = int(age) if _AGE.fullmatch(age) else 0
    return float(max(0, int(max_age[1]) - elapsed))


# --- The httpx2 client of both requests -------------------------------------------------------------------------------

#: Makes a client, in the thread and on the event loop that use it.
ClientFactory: TypeAlias = "Callable[[], httpx2.AsyncClient]"


def default_client() -> httpx2.AsyncClient:
    """A client that takes no setting from the environment: no proxy, no certificates, no password from a netrc file.

    Such settings are passed in, as ``client=``. Server certificates are verified as httpx2 does it by default.
    Redirects are not followed. There is no time-out: each caller has a deadline for the whole request.
    """
    import httpx2  # noqa: PLC0415 - an extra

    return httpx2.AsyncClient(verify=_ssl_context(), trust_env=False, follow_redirects=False, timeout=None)


class _SharedSslContext:
    """The default of httpx2. Reading the certificates takes longer than a request should wait, so it is done once."""

    def __init__(self) -> None:
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Make a new one at the next call: OpenSSL may hold a lock of the old one for a thread of the parent."""
        self._context: ssl.SSLContext | None = None

    def __call__(self) -> ssl.SSLContext:
        import httpx2  # noqa: PLC0415 - an extra

        context = self._context
        if context is None:
            context = self._context = httpx2.create_ssl_context(trust_env=False)
        return context


_ssl_context = _SharedSslContext()


def check_httpx2(argument: str) -> None:
    """Raise ``ConfigurationError`` if httpx2 is not installed. ``argument`` can be given in place of it."""
    try:
        import httpx2  # noqa: F401, PLC0415 - an extra, needed only by apps that fetch keys or introspect tokens
    except ImportError:
        is_installed = False
    else:
        is_installed = True
    if not is_installed:
        install = 'run pip install "authguard[oidc]"'
        raise ConfigurationError(argument, f"httpx2 is not installed; {install}, or give {argument}=...")


def _client_factory(argument: str, client: ClientFactory | None) -> ClientFactory:
    check_httpx2(argument)
    if client is not None:
        return client
    _ssl_context()  # while the app is built
    return default_client


def _is_encoded(response: httpx2.Response) -> bool:
    # A few compressed bytes may unpack to gigabytes. Requests ask for no encoding.
    return bool(response.headers.get("content-encoding", "identity").lower() != "identity")


async def _read_body(response: httpx2.Response, limit: int) -> bytes | None:
    """The body; None as soon as it is longer than ``limit`` bytes."""
    body = bytearray()
    try:
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > limit:
                # Close, and let the iteration fail. To leave the loop here would leave async generators of httpx2
                # unfinished, and trio warns of those.
                await response.aclose()
    except Exception:
        if len(body) <= limit:
            raise
    return bytes(body) if len(body) <= limit else None


# --- GET --------------------------------------------------------------------------------------------------------------

# RFC 7517 section 8.5.2.
_GET_HEADERS = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}


def httpx2_fetch(client: ClientFactory | None, *, limit: int) -> Fetch:
    """A ``Fetch`` that makes a new client for each request: ``client``, or ``default_client``.

    It reads at most ``limit`` bytes. It follows no redirect, because only the app decides where keys come from. It has
    no time-out; the caller sets one. Raises ``ConfigurationError`` if httpx2 is not installed.
    """
    make_client = _client_factory("fetch", client)
    import httpx2  # noqa: PLC0415 - an extra

    async def fetch(url: str) -> Fetched:
        cause: str | None = None
        try:
            async with (
                make_client() as session,
                session.stream("GET", url, headers=_GET_HEADERS, follow_redirects=False) as response,
            ):
                return await _read_fetched(response, limit)
        except httpx2.TimeoutException:
            problem = "it did not answer in time"
        except httpx2.ConnectError as error:
            problem = "its TLS is at fault" if _is_caused_by_tls(error) else "it cannot be reached"
            cause = cause_of(error)
        except httpx2.RemoteProtocolError:
            problem = "its answer broke off, or is no HTTP"
        except httpx2.TransportError:
            problem = "the connection to it failed"
        raise FetchFailed(problem, None if cause is None else {"cause": cause})

    return fetch


async def _read_fetched(response: httpx2.Response, limit: int) -> Fetched:
    if response.is_redirect:
        location = shown_url(response.headers.get("location", ""))
        raise FetchFailed("it redirects, which is not followed", {"location": location})
    if response.status_code != HTTPStatus.OK:
        raise FetchFailed(f"it answers with status {response.status_code}")
    if _is_encoded(response):
        raise FetchFailed("its answer is compressed, which was not asked for")
    body = await _read_body(response, limit)
    if body is None:
        raise response_too_long(limit)
    headers = response.headers
    return Fetched(body, remaining_freshness(headers.get("cache-control", ""), headers.get("age", "")))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and what has caused it, the first of several."""
    for _ in range(_MAX_CAUSES):
        if error is None:
            return
        yield error
        first = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else None
        error = first or error.__cause__ or error.__context__


def _is_caused_by_tls(error: BaseException) -> bool:
    return any(isinstance(cause, ssl.SSLError) for cause in _causes(error))


def cause_of(error: BaseException) -> str | None:
    """Why a connection failed, in the words of OpenSSL or of the system; None if that is not known.

    The text of an exception is not read, because it may hold a secret: only its error number, and what OpenSSL says of
    a certificate.
    """
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            # OpenSSL has set these; an exception that the app has made has neither.
            words: str | None = getattr(cause, "verify_message", None) or getattr(cause, "reason", None)
            return words or "SSLError"
        if isinstance(cause, socket.gaierror):
            return "its name is not found"
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
    return None


_MAX_CAUSES = 16


# --- POST -------------------------------------------------------------------------------------------------------------

#: An async function ``(url, headers, body) -> (status, body)``. It must not follow redirects. If the request fails it
#: may raise anything.
Post: TypeAlias = Callable[[str, Mapping[str, str], bytes], Awaitable[tuple[int, bytes]]]

#: The longest response body that ``HttpPost`` reads, in bytes.
MAX_RESPONSE = 64 * 1024

_instance_numbers = count()


class HttpPost:
    """A ``Post`` over httpx2 (the extra ``oidc``).

    ``client`` makes a client: for a proxy, or for a certificate authority of your own. Inside ``running()`` all calls
    on that event loop share one client, which keeps connections open. Otherwise each call makes its own, because a
    client belongs to the event loop that first used it. Raises ``ConfigurationError`` if httpx2 is not installed.
    """

    def __init__(self, client: ClientFactory | None = None) -> None:
        self._make_client = _client_factory("post", client)
        # Each instance needs its own name: anyio 4.7 finds such variables by name, so that one instance would send its
        # credentials with the client of another.
        self._shared_client: RunVar[httpx2.AsyncClient] = RunVar(f"authguard.http_post.{next(_instance_numbers)}")

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Status and body of the response.

        Raises ``BackendUnavailable`` if the body is too long or encoded, and the errors of httpx2.
        """
        shared = self._shared_client.get(None)
        if shared is not None:
            # The server may close an idle connection just as a request is sent over it (RFC 9112 section 9.5). Ask
            # again over a new connection: asking about a token twice does no harm.
            with suppress(*_connection_errors()):
                return await _post(shared, url, headers, body)
        async with self._make_client() as client:
            return await _post(client, url, headers, body)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Share one client between all calls on this event loop."""
        async with self._make_client() as client:
            token = self._shared_client.set(client)
            try:
                yield
            finally:
                self._shared_client.reset(token)


def _connection_errors() -> tuple[type[Exception], ...]:
    import httpx2  # noqa: PLC0415 - an extra

    return httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError


async def _post(client: httpx2.AsyncClient, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
    headers = {**headers, "Accept-Encoding": "identity"}
    async with client.stream("POST", url, headers=headers, content=body, follow_redirects=False) as response:
        if _is_encoded(response):
            raise BackendUnavailable("an encoded answer, which nobody asked for")
        answer = await _read_body(response, MAX_RESPONSE)
        if answer is None:
            raise BackendUnavailable(f"an answer of over {MAX_RESPONSE} octets")
        return response.status_code, answer
