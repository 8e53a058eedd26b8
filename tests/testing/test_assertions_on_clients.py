"""``assert_denied`` reads the responses of every client, each of which keeps field lines in its own way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
import requests
import uvicorn

from authguard import (
    Bearer,
    Guard,
    Principal,
)
from authguard.testing import acting_as, assert_denied, recording
from authguard.testing.assertions import ObservedResponse
from tests.testing.shop import ISSUER, app_behind, guard_of

BOB = Principal("bob", roles={"clerk"})
BEARER, BASIC = 'Bearer realm="shop"', 'Basic realm="shop", charset="UTF-8"'


async def test_a_stream_that_was_not_read_is_checked_without_its_body() -> None:
    """The status and the headers are there; the body is not awaited."""
    transport = httpx2.ASGITransport(app_behind(guard_of()))
    client = httpx2.AsyncClient(transport=transport, base_url="http://shop.test")
    async with client, client.stream("GET", "/admin") as response:
        assert_denied(response, 401, challenge=BASIC)


async def test_a_realm_outside_ascii_is_read_from_every_client() -> None:
    """Clients decode its bytes as UTF-8 or as Latin-1. ``TestClient`` cannot decode them at all."""
    guard = Guard(Bearer(ISSUER.as_issuer(), realm="Café €"))
    transport = httpx2.ASGITransport(app_behind(guard))
    async with httpx2.AsyncClient(transport=transport, base_url="http://shop.test") as client:
        response = await client.get("/")

    assert_denied(response, 401, challenge='Bearer realm="Café €"')
    response.headers.encoding = "latin-1"
    assert_denied(response, 401, challenge='Bearer realm="Café €"')


class _Response:
    """A response with any mapping for its headers."""

    def __init__(self, headers: Any) -> None:
        self.status_code = 401
        self.headers = headers


class _MultiDict(dict[str, str]):
    """A mapping with several values for a name, as aiohttp has it."""

    def getall(self, name: str) -> list[str]:
        return [BEARER, BASIC] if name == "www-authenticate" else [self[name]]


def test_field_lines_are_found_under_several_names() -> None:
    """A client that keeps no lines gives the one value that it has."""
    plain = {"cache-control": "no-store", "www-authenticate": BEARER}

    assert_denied(_Response(plain), 401, challenge=BEARER)
    assert_denied(_Response(_MultiDict(plain)), 401, challenge=BASIC)
    assert ObservedResponse(_Response(plain)).lines("retry-after") == []


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The app behind a server in a thread of this process."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
        yield "http://{}:{}".format(*server.servers[0].sockets[0].getsockname())
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.mark.peer
def test_a_real_server_and_requests() -> None:
    """``requests`` joins field lines, and yet both challenges are found. The reason comes from ``recording``."""
    guard = guard_of()

    with served(app_behind(guard)) as url, recording(guard):
        assert_denied(requests.get(f"{url}/admin", timeout=5), 401, challenge=BASIC, reason="credentials.missing")
        assert_denied(httpx2.get(f"{url}/admin"), 401, challenge=BEARER, reason="credentials.missing")
        with acting_as(guard, BOB):
            assert httpx2.get(f"{url}/").status_code == 401
