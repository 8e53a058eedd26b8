"""Fetching with httpx2: what is asked for is bounded, and nothing is followed."""

from __future__ import annotations

import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING

from authguard.keys.client import ClientFactory, check_httpx2, plain
from authguard.keys.fetching import Fetch, Fetched, FetchFailed, max_age, too_long

if TYPE_CHECKING:
    import httpx2

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
