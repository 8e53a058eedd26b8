"""After the start of its response, an app's stream passes through the guard unchanged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import pytest

from tests.integration.apps.common import PIECE, PIECES
from tests.support.servers.app_server import Answer, AppServer, app_token, bearer_field, request_bytes, running_servers

pytestmark = pytest.mark.peer

LINE = bearer_field(app_token())


class Servers(NamedTuple):
    h11: AppServer
    httptools: AppServer
    bare: AppServer


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """The guarded app with each HTTP parser, and the bare one."""
    with running_servers(
        partial(AppServer, "streams:app", "--http", "h11"),
        partial(AppServer, "streams:app", "--http", "httptools"),
        partial(AppServer, "streams:bare", "--http", "httptools"),
    ) as (h11, httptools, bare):
        yield Servers(h11, httptools, bare)


@pytest.fixture(params=["h11", "httptools"])
def server(request: pytest.FixtureRequest, servers: Servers) -> AppServer:
    """Each guarded server in turn."""
    selected: AppServer = getattr(servers, request.param)
    return selected


def unchunked(answer: Answer) -> bytes:
    """The body of a chunked answer."""
    data, at, body = answer.raw, answer.raw.index(b"\r\n\r\n") + 4, bytearray()
    while at < len(data):
        line_end = data.index(b"\r\n", at)
        size, start = int(data[at:line_end], 16), line_end + 2
        body += data[start : start + size]
        at = start + size + 2
    return bytes(body)


def test_a_big_stream_comes_whole(server: AppServer) -> None:
    """Thirty-two megabytes arrive unchanged, with the scheme's field once."""
    sent = hashlib.sha256(b"".join(number.to_bytes(4) + PIECE for number in range(PIECES)))

    with server.connect() as connection:
        connection.sendall(request_bytes("/big", LINE))
        with connection.makefile("rb") as stream:
            answer = Answer(stream.read())

    assert answer.lines("authentication-info") == ["next=5"]
    assert hashlib.sha256(unchunked(answer)).digest() == sent.digest()


def test_a_stream_is_not_held_back(server: AppServer) -> None:
    """The first part arrives before the app has made the last one."""
    with server.connect() as connection:
        connection.sendall(request_bytes("/halting/slow", LINE))
        received = b""
        while b"first\r\n" not in received:
            received += connection.recv(65_536)
        assert b"last" not in received
        assert server.send(request_bytes("/release/slow", LINE)).status == 200
        while piece := connection.recv(65_536):
            received += piece

    assert unchunked(Answer(received)) == b"firstlast"


def test_a_client_that_leaves_ends_its_stream(server: AppServer) -> None:
    """The app learns through the guard that its client disconnected, and stops."""
    with server.connect() as connection:
        connection.sendall(request_bytes("/halting/left", LINE))
        assert connection.recv(1)

    assert server.wait_for("the stream left ended")


def test_a_background_task_runs_after_the_answer(server: AppServer) -> None:
    """The client has the whole response before the background task runs, which still knows the caller."""
    answer = server.send(request_bytes("/task/later", LINE))
    before = list(server.lines)
    server.send(request_bytes("/release/later", LINE))
    told = server.wait_for("the task later")

    assert answer.raw.endswith(b"\r\n\r\nanswered")
    assert [line for line in before if "the task later" in line] == []
    assert told == "the task later ran for alice"


@pytest.mark.rfc("9110-12")
@pytest.mark.parametrize(("path", "method"), [("/release/x", "GET"), ("/release/x", "HEAD"), ("/none", "GET")])
def test_an_answer_is_the_one_of_the_bare_app(servers: Servers, path: str, method: str) -> None:
    """Status, fields and body are those of the app without a guard, followed by the scheme's field."""
    raw = request_bytes(path, LINE, method=method)

    guarded, bare = (server.send(raw).raw.split(b"\r\n") for server in (servers.httptools, servers.bare))

    undated = [line for line in guarded if not line.startswith(b"date:")]
    assert [line for line in undated if line != b"authentication-info: next=5"] == [
        line for line in bare if not line.startswith(b"date:")
    ]
    assert undated.count(b"authentication-info: next=5") == 1
