"""POST requests over httpx2 to a server on loopback: what is sent, what is read, and which responses fail."""

from __future__ import annotations

import json
import sys
from typing import Any

import httpx2
import pytest

from authguard import (
    Accepted,
    BackendUnavailable,
    Bearer,
    ConfigurationError,
    Guard,
    Introspection,
    Moment,
    http_client,
)
from authguard.http_client import MAX_RESPONSE, HttpPost, check_url
from tests.support.clock import NOW
from tests.support.schemes.introspection import CLIENT_OPTIONS, OPAQUE_TOKEN, active_response
from tests.support.servers.raw_server import EMPTY_JSON_RESPONSE, running_raw_server
from tests.support.tokens import AUDIENCE, ISSUER


@pytest.mark.peer
async def test_a_form_is_posted() -> None:
    """The request has the given fields, and asks for no content encoding."""
    async with running_raw_server(EMPTY_JSON_RESPONSE) as server:
        answer = await HttpPost()(server.url, {"Authorization": "Basic eA=="}, b"token=x")

    assert answer == (200, b"{}")
    (request,) = server.requests
    head = request.lower()
    assert request.startswith(b"POST /introspect HTTP/1.1\r\n")
    assert b"\r\nauthorization: basic ea==\r\n" in head
    assert b"\r\naccept-encoding: identity\r\n" in head
    assert request.endswith(b"\r\n\r\ntoken=x")


@pytest.mark.peer
@pytest.mark.rfc("7662-1")
async def test_a_redirect_is_not_followed() -> None:
    """A redirect is not followed, because the token is meant for the configured server only."""
    moved = b"HTTP/1.1 307 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    async with running_raw_server(moved) as server:
        status, _ = await HttpPost(lambda: httpx2.AsyncClient(follow_redirects=True))(server.url, {}, b"x")

    assert (status, len(server.requests)) == (307, 1)


@pytest.mark.peer
@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * (MAX_RESPONSE + 1),
            f"an answer of over {MAX_RESPONSE} octets",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx", "an encoded answer"),
    ],
    ids=["large", "encoded"],
)
async def test_a_response_above_the_limit_is_an_error(octets: bytes, problem: str) -> None:
    """A response above the limit fails, and so does an encoded one, which could expand to more."""
    async with running_raw_server(octets) as server:
        with pytest.raises(BackendUnavailable, match=problem):
            await HttpPost()(server.url, {}, b"x")


@pytest.mark.peer
async def test_an_endless_response_is_aborted() -> None:
    """The connection is closed as soon as the response exceeds the limit."""
    async with running_raw_server(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n") as server:
        server.endless = b"x" * 65536
        with pytest.raises(BackendUnavailable, match="an answer of over"):
            await HttpPost()(server.url, {}, b"x")


@pytest.mark.peer
@pytest.mark.parametrize(
    "octets",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\n{",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n" + b"Connection: close",
    ],
    ids=["truncated", "no HTTP"],
)
async def test_an_incomplete_response_is_an_error(octets: bytes) -> None:
    """An incomplete response raises an error of httpx2, which the caller turns into an outage."""
    async with running_raw_server(octets) as server:
        with pytest.raises(httpx2.HTTPError):
            await HttpPost()(server.url, {}, b"x")


@pytest.mark.peer
async def test_while_a_lifespan_runs_a_connection_is_kept() -> None:
    """During a lifespan connections are reused. Without one each call has its own, since it must not outlive its event
    loop."""
    async with running_raw_server(EMPTY_JSON_RESPONSE) as server:
        post = HttpPost()
        for _ in range(2):
            await post(server.url, {}, b"x")
        assert server.connections == 2
        async with post.running():
            for _ in range(3):
                await post(server.url, {}, b"x")
        assert server.connections == 3
        await post(server.url, {}, b"x")

    assert (server.connections, len(server.requests)) == (4, 6)


@pytest.mark.peer
async def test_a_connection_that_ends_as_it_is_used_again_is_no_outage() -> None:
    """If the server closes a reused connection, the request is sent once more over a new one."""
    async with running_raw_server(EMPTY_JSON_RESPONSE) as server:
        server.answers_per_connection = 1
        post = HttpPost()
        async with post.running():
            answers = [await post(server.url, {}, b"x") for _ in range(3)]
            server.answers_per_connection = 0
            with pytest.raises(httpx2.RemoteProtocolError):
                await post(server.url, {}, b"x")

    assert answers == [(200, b"{}")] * 3
    # The server closed the connection for the second and the last, and each was sent once more.
    assert (server.connections, len(server.requests)) == (4, 6)


@pytest.mark.peer
async def test_an_introspection_goes_over_http_by_itself() -> None:
    """An ``Introspection`` uses HTTP by default, and a guard that runs keeps its connection."""
    body = json.dumps(active_response()).encode()
    data = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    options: dict[str, Any] = {**CLIENT_OPTIONS, "issuer": ISSUER, "audience": AUDIENCE, "insecure_http": True}
    async with running_raw_server(data) as server:
        of = Introspection(server.url, remember=None, **options)
        guard = Guard(Bearer(of, realm="orders"))
        async with guard.running():
            outcomes = [await of.authenticate(OPAQUE_TOKEN.encode(), Moment(NOW, 60)) for _ in range(2)]

    assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    assert (server.connections, len(server.requests)) == (1, 2)


async def test_with_a_function_of_the_apps_there_is_nothing_to_run() -> None:
    """An ``Introspection`` with a custom ``post`` has no service to run."""

    async def post(url: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        return 200, b"{}"

    of = Introspection("https://idp.example/", issuer=ISSUER, audience=AUDIENCE, post=post, **CLIENT_OPTIONS)
    async with Guard(Bearer(of, realm="orders")).running():
        assert of.health()["asked"] == 0


def test_each_keeps_a_client_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two instances keep separate clients. Some versions of anyio tell such variables apart by their names only."""
    named: list[str] = []
    monkeypatch.setattr(http_client, "RunVar", named.append)

    for _ in range(2):
        HttpPost()

    assert len(set(named)) == 2


def test_without_httpx2_it_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without httpx2 the constructor raises and names the extra, unless a client is given."""
    monkeypatch.setitem(sys.modules, "httpx2", None)

    with pytest.raises(ConfigurationError, match=r'pip install "authguard\[oidc\]", or give post=') as caught:
        Introspection("https://idp.example/", issuer=ISSUER, audience=AUDIENCE, **CLIENT_OPTIONS)

    assert caught.value.argument == "post"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://idp.example/introspect", "pass insecure_http=True"),
        ("https:///introspect", "this is not an absolute https URL"),
        ("//idp.example/introspect", "this is not an absolute https URL"),
        ("/introspect", "this is not an absolute https URL"),
        ("ftp://idp.example/", "this is not an absolute https URL"),
        ("https://idp.example:port/", "this is not an absolute https URL"),
        ("https://idp.example:0/", "this is not an absolute https URL"),
        ("https://[::1/", "this is not an absolute https URL"),
        ("https://idp.example/a b", "the URL contains a space"),
        ("https://idp.example/a\n", "the URL contains a space, a control character"),
        ("https://orders:secret@idp.example/", "must not contain a user name or a password"),
        ("https://:secret@idp.example/", "must not contain a user name or a password"),
        ("https://idp.example/#top", "must not contain a fragment"),
        (None, "a NoneType is not a URL"),
        (b"https://idp.example/", "a bytes is not a URL"),
        ("https://logín.example/", "a character outside ASCII; write the host in Punycode"),
    ],
)
@pytest.mark.rfc("7662-1")
def test_a_url_must_be_absolute_and_https(url: Any, problem: str) -> None:
    """RFC 7662 section 4 requires TLS. A URL with user and password raises, because URLs are logged."""
    with pytest.raises(ConfigurationError, match=problem) as caught:
        check_url("url", url, insecure_http=False, example="https://idp.example/introspect")

    assert caught.value.argument == "url"
    assert "secret" not in str(caught.value)


def test_http_is_accepted_where_it_is_allowed() -> None:
    """``insecure_http=True`` allows an http URL, for a server on the same machine."""
    url = "http://127.0.0.1:8080/x"

    assert check_url("url", url, insecure_http=True, example="https://idp.example/") == url
