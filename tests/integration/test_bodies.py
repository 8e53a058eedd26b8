"""A scheme that reads the body, under real servers: the app receives the body unchanged."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.integration.apps.common import BODY_LIMIT, WEBHOOK_SECRET
from tests.support.servers.app_server import Answer, AppServer, request_bytes, running_servers

pytestmark = pytest.mark.peer

CURL = shutil.which("curl")
needs_curl = pytest.mark.skipif(CURL is None, reason="curl is not here")

SMALL = b'{"order": 5}'
#: More than a server reads ahead, so that it arrives in pieces.
LARGE = random.Random(5).randbytes(200_000)


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, AppServer]]:
    """A server with each HTTP parser."""
    kinds = ("h11", "httptools")
    with running_servers(*(partial(AppServer, "webhook:app", "--http", http) for http in kinds)) as started:
        yield dict(zip(kinds, started, strict=True))


@pytest.fixture(params=["h11", "httptools"])
def server(request: pytest.FixtureRequest, servers: dict[str, AppServer]) -> AppServer:
    """Each server in turn."""
    return servers[request.param]


def shown(value: object) -> str:
    """The id of a test, without the bytes of a body."""
    return f"{len(value)} octets" if isinstance(value, bytes) else str(value)


def signature(body: bytes) -> str:
    """The field line that signs a body."""
    return "X-Signature: " + hmac.new(WEBHOOK_SECRET, body, hashlib.sha256).hexdigest()


def post(*fields: str, path: str = "/hook") -> bytes:
    """A request that is followed by a body."""
    return request_bytes(path, *fields, method="POST")


def length(body: bytes) -> str:
    """The field line with the length of a body."""
    return f"Content-Length: {len(body)}"


def chunked(body: bytes, size: int) -> bytes:
    """A body in chunks of this size."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def body_read(answer: Answer) -> object:
    """What the endpoint reports about the body that it read."""
    return json.loads(answer.raw.rpartition(b"\r\n\r\n")[2])


def whole(body: bytes, sender: str = "shop") -> object:
    """The report of an endpoint that read exactly this body."""
    return {"from": sender, "octets": len(body), "sha256": hashlib.sha256(body).hexdigest()}


@pytest.mark.parametrize("body", [b"", SMALL, LARGE, bytes(BODY_LIMIT)], ids=shown)
def test_a_signed_body_reaches_the_app_whole(server: AppServer, body: bytes) -> None:
    """The endpoint reads the bytes that the scheme verified."""
    answer = server.send(post(signature(body), length(body)) + body)

    assert answer.status == 200
    assert body_read(answer) == whole(body)


@pytest.mark.parametrize(("body", "size"), [(SMALL, 1), (SMALL, 5), (LARGE, 4_096), (LARGE, 150_000)], ids=shown)
def test_a_chunked_body_reaches_the_app_whole(server: AppServer, body: bytes, size: int) -> None:
    """The signature covers the body, in any chunks (RFC 9112 section 7.1)."""
    answer = server.send(post(signature(body), "Transfer-Encoding: chunked") + chunked(body, size))

    assert answer.status == 200
    assert body_read(answer) == whole(body)


@pytest.mark.parametrize("body", [SMALL, LARGE, bytes(BODY_LIMIT * 2)], ids=shown)
def test_a_public_path_reads_no_body(server: AppServer, body: bytes) -> None:
    """On a public path the guard does not read the body, and there is no limit."""
    answer = server.send(post(length(body), path="/open") + body)

    assert answer.status == 200
    assert body_read(answer) == whole(body, "")


def test_another_body_than_the_signed_one_is_401(server: AppServer) -> None:
    """A changed body is a 401 with the challenge of the scheme."""
    answer = server.send(post(signature(SMALL), length(SMALL)) + SMALL.replace(b"5", b"6"))

    assert answer.status == 401
    assert answer.lines("www-authenticate") == ['Webhook realm="hooks"']


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_body_over_the_limit_is_413(server: AppServer, framing: str) -> None:
    """A body is a 413 one byte above the limit and at ten times the limit, and the server goes on."""
    for body in (bytes(BODY_LIMIT + 1), bytes(BODY_LIMIT * 10)):
        if framing == "length":
            answer = server.send(post(signature(body), length(body)) + body)
        else:
            answer = server.send(post(signature(body), "Transfer-Encoding: chunked") + chunked(body, 65_536))

        # If a server closes while the client still sends, the response may be lost.
        assert answer.statuses in ([413], []) if len(body) > BODY_LIMIT + 1 else answer.statuses == [413]
        server.wait_for("denied body.too_large: POST /hook 413")

    assert server.send(post(signature(SMALL), length(SMALL)) + SMALL).status == 200


@pytest.mark.rfc("9110-14")
def test_a_denial_that_needs_no_body_does_not_ask_for_it(server: AppServer) -> None:
    """RFC 9110 section 10.1.1: the final status replaces 100 (Continue), so the client does not send its body."""
    answer = server.send(post(length(LARGE), "Expect: 100-continue"))

    assert answer.statuses == [401]
    assert answer.lines("www-authenticate") == ['Webhook realm="hooks"']


@pytest.mark.rfc("9110-14")
def test_a_body_that_is_needed_is_asked_for_once(server: AppServer) -> None:
    """A client that waits for 100 (Continue) gets it once, when the scheme reads the body."""
    received = b""
    with server.connect() as connection:
        connection.sendall(post(signature(LARGE), length(LARGE), "Expect: 100-continue"))
        while b"\r\n\r\n" not in received:
            received += connection.recv(65_536)
        interim = received
        connection.sendall(LARGE)
        while piece := connection.recv(65_536):
            received += piece

    assert interim.startswith(b"HTTP/1.1 100 ")
    assert Answer(received).statuses == [100, 200]
    assert body_read(Answer(received)) == whole(LARGE)


@needs_curl
@pytest.mark.parametrize(
    ("options", "body", "status"),
    [
        (["--header", "Expect: 100-continue"], LARGE, 200),
        (["--header", "Expect: 100-continue"], bytes(BODY_LIMIT * 4), 413),
        (["--header", "Transfer-Encoding: chunked"], LARGE, 200),
        (["--header", "Transfer-Encoding: chunked", "--header", "Expect: 100-continue"], LARGE, 200),
        (["--header", "Transfer-Encoding: chunked"], bytes(BODY_LIMIT * 4), 413),
        (["--header", "X-Signature;"], LARGE, 401),
        (["--http1.0"], LARGE, 200),
    ],
    ids=shown,
)
def test_every_way_in_which_curl_sends_a_body_works(
    server: AppServer, tmp_path: Path, options: list[str], body: bytes, status: int
) -> None:
    """All ways in which curl sends a body have the same result."""
    assert CURL is not None
    sent, got = tmp_path / "sent", tmp_path / "got"
    sent.write_bytes(body)
    signed = [] if "X-Signature;" in options else ["--header", signature(body)]
    asked = ["--silent", "--noproxy", "*", "--max-time", "20", "--output", str(got), "--write-out", "%{http_code}"]

    done = subprocess.run(
        [CURL, *asked, *signed, *options, "--data-binary", f"@{sent}", server.url + "/hook"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == str(status)
    assert status != 200 or json.loads(got.read_bytes()) == whole(body)


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_client_that_leaves_in_mid_body_does_no_harm(server: AppServer, framing: str) -> None:
    """An incomplete body is recorded as such, and the next requests are answered."""
    before = server.settle()
    if framing == "length":
        data = post(signature(SMALL), length(SMALL)) + SMALL[:5]
    else:
        data = post(signature(SMALL), "Transfer-Encoding: chunked") + b"5\r\n" + SMALL[:5]

    with server.connect() as connection:
        connection.sendall(data)
    server.wait_for("denied body.incomplete: POST /hook 400", before)

    assert len(server.lines_since(before)) == 1
    assert server.send(post(signature(SMALL), length(SMALL)) + SMALL).status == 200
