"""Requests of the probe over real sockets: what is sent, what is read, and when it gives up."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from authguard.errors import ConfigurationError
from authguard.probe.exchange import MAX_BODY, MAX_HEAD, Target, _Deadline
from tests.probe.certificates import server_context
from tests.probe.servers import answering, response


def problem(target: Target) -> str:
    """Why there is no answer, without the port."""
    with pytest.raises(ConfigurationError) as caught:
        target.send("GET")
    return str(caught.value).replace(f":{target.port}", "")


_FIRST = b"HTTP/1.1 401 X\r\n"
_NO_HTTP = {
    "URL: what 127.0.0.1 answers is no HTTP/1.1",
    "URL: there is no connection to 127.0.0.1: Connection reset by peer",
}


def test_a_request_is_sent_as_it_is_given() -> None:
    """The target is not changed, field names keep their case, and nothing else is added."""
    heads: list[bytes] = []
    with answering(lambda head: heads.append(head) or response(200)) as url:  # type: ignore[func-returns-value]
        target = Target(f"{url}a%2Fb//c?d=%20")
        target.send("GET", [("X-Mixed", "a"), ("X-Mixed", "ü")])
        target.send("POST", target="/other")

    get, post = (head.decode().split("\r\n") for head in heads)
    assert get == [
        "GET /a%2Fb//c?d=%20 HTTP/1.1",
        f"Host: {target.authority}",
        "User-Agent: authguard-probe",
        "X-Mixed: a",
        "X-Mixed: ü",
        "",
        "",
    ]
    assert (post[0], post[-3]) == ("POST /other HTTP/1.1", "Content-Length: 0")


def test_each_field_line_is_read_as_it_came() -> None:
    """Two lines stay two, bytes outside ASCII stay as they are, and names lose their case."""
    lines = 'WWW-Authenticate: Basic realm="\xfc"', "www-authenticate: Bearer", "Cache-Control: no-store, X"
    with answering(lambda _: response(401, *lines, body="no")) as url:
        answer = Target(url).send("GET")

    assert (answer.status, answer.body) == (401, b"no")
    assert answer.lines("www-authenticate") == [b'Basic realm="\xfc"', b"Bearer"]
    assert (answer.get("www-authenticate"), answer.get("x")) == ('Basic realm="\xfc", Bearer', "")
    assert answer.words("cache-control") == {"no-store", "x"}


def test_a_redirect_is_not_followed() -> None:
    """The server is asked once."""
    heads: list[bytes] = []
    with answering(lambda head: heads.append(head) or response(302, "Location: /")) as url:  # type: ignore[func-returns-value]
        assert Target(url).send("GET").status == 302

    assert len(heads) == 1


def test_a_long_body_is_not_read_to_its_end() -> None:
    """A part is enough to find a form in it."""
    with answering(lambda _: response(200, body="x" * (MAX_BODY + 1))) as url:
        assert len(Target(url).send("GET").body) == MAX_BODY
    with answering(lambda _: b"HTTP/1.1 401 X\r\nContent-Length: 9\r\n\r\n") as url:
        assert Target(url).send("HEAD").status == 401


@contextmanager
def _dripping() -> Iterator[str]:
    """A server that sends a byte of an endless field now and then."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 401 X\r\nX: ")
                while not ended.wait(0.02):
                    connection.sendall(b"x")

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        ended.set()
        thread.join()


def test_a_server_that_never_ends_is_left() -> None:
    """Each byte that drips would begin the time-out of a socket anew; the deadline is for the whole request."""
    with _dripping() as url:
        assert problem(Target(url, timeout=0.2)) == "URL: 127.0.0.1 did not answer within 0.2 seconds"


def test_a_body_that_never_ends_is_left() -> None:
    """The connection that the deadline has shut looks like the end of a body; it is not taken for one."""
    stop = threading.Event()

    def slowly(_: bytes) -> bytes:
        return b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\npart"

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(slowly(b""))
                stop.wait(60)

        thread = threading.Thread(target=serve)
        thread.start()
        target = Target(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=0.2)
        assert problem(target) == "URL: 127.0.0.1 did not answer within 0.2 seconds"
        stop.set()
        thread.join()


def test_the_deadline_can_end_before_there_is_a_connection() -> None:
    """The name of a host may be looked up for longer; then there is nothing to shut."""
    deadline = _Deadline(60)

    deadline._end()

    assert deadline.is_over


def test_a_connection_after_the_deadline_is_left() -> None:
    """Nothing would end it: the deadline has passed while the name or another address was tried."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = Target(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        connection, deadline = http.client.HTTPConnection(target.host, target.port), _Deadline(60)
        deadline._end()

        with closing(connection), pytest.raises(TimeoutError):
            target._connect(connection, deadline)


def test_each_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first that accepts a connection gets the request."""
    with answering(lambda _: response(401)) as url, socket.create_server(("127.0.0.1", 0)) as closed:
        ports = closed.getsockname()[1], Target(url).port
        closed.close()
        addresses = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port)) for port in ports]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)

        assert Target("http://api.example/").send("GET").status == 401


@pytest.mark.parametrize("many", [b"HTTP/1.1 100 X\r\n\r\n" * 2000, _FIRST + (b"A: %b\r\n" % (b"x" * 1000)) * 40])
def test_a_head_is_bounded(many: bytes) -> None:
    """The limit is for all lines together, and for the answers before the last: the parser can be quadratic."""
    assert len(many) > MAX_HEAD
    with answering(lambda _: many + b"\r\n" + _FIRST + b"\r\n") as url:
        assert problem(Target(url)) in _NO_HTTP


def test_a_head_that_nests_is_no_error_of_the_program() -> None:
    """The parser of the standard library reads messages in messages, until it reaches the limit of the interpreter."""
    nested = b"Content-Type: message/rfc822\r\r" * 1000
    with answering(lambda _: _FIRST + b"X: y\r" + nested + b"\r\n\r\n") as url:
        assert problem(Target(url)) == "URL: what 127.0.0.1 answers is no HTTP/1.1"


def test_a_server_that_is_silent_is_left() -> None:
    """A connection that is accepted by the system alone is no answer; the handshake of TLS has the deadline too."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert "did not answer within 0.1 seconds" in problem(Target(f"http://127.0.0.1:{port}/", timeout=0.1))
        assert "did not answer within 0.1 seconds" in problem(Target(f"https://127.0.0.1:{port}/", timeout=0.1))


@pytest.mark.parametrize(
    "sent", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 401 X\r\n" + b"A: " + b"x" * 70_000, b"HTTP/1.1 4 X\r\n\r\n"]
)
def test_what_is_no_http_is_an_error(sent: bytes) -> None:
    """Nothing, another protocol, an endless line, and a status of one digit."""
    with answering(lambda _: sent) as url:
        assert problem(Target(url)) in _NO_HTTP


def test_a_server_that_is_not_there_is_an_error() -> None:
    """The cause is named: the port, or the name."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    assert (
        problem(Target(f"http://127.0.0.1:{port}/")) == "URL: there is no connection to 127.0.0.1: Connection refused"
    )
    assert "there is no connection to" in problem(Target("http://authguard-probe.invalid/"))


def test_a_certificate_has_to_be_trusted(tmp_path: Path) -> None:
    """That of a private authority is, if its file is named."""
    context, file = server_context(tmp_path)
    with answering(lambda _: response(401), context) as url:
        untrusted, trusted = Target(url), Target(url, ca_file=file)
        assert trusted.send("GET").status == 401
        assert problem(untrusted) == (
            "URL: the certificate of 127.0.0.1 is not trusted: self-signed certificate; "
            "name its authority with --ca-file"
        )


@pytest.mark.parametrize("text", ["no PEM", None])
def test_a_file_without_certificates_is_refused(tmp_path: Path, text: str | None) -> None:
    """So is one that is not there."""
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)

    with pytest.raises(ConfigurationError, match=r"--ca-file: .* holds no certificates in PEM"):
        Target("https://api.example/", ca_file=file)


@pytest.mark.parametrize(
    "url", ["api.example", "ftp://api.example/", "https://bob:s3cret@api.example/", "https://x/#f"]
)
def test_a_url_has_a_scheme_and_no_password(url: str) -> None:
    """The error does not show it."""
    with pytest.raises(ConfigurationError, match=r"^URL: ") as caught:
        Target(url)

    assert "s3cret" not in str(caught.value)


def test_the_parts_of_a_url() -> None:
    """The port is that of the scheme if none is named, and an empty path is /."""
    target = Target("https://API.example?a=b")

    assert (target.host, target.port, target.authority, target.origin) == (
        "api.example",
        443,
        "API.example",
        "https://api.example",
    )
    assert target.request_target == "/?a=b"
    assert not target.is_loopback


def test_a_name_that_begins_like_an_address_of_this_machine_is_another() -> None:
    """Whoever has the name chooses where it leads."""
    assert not Target("http://127.attacker.example/").is_loopback
    assert all(Target(f"http://{host}/").is_loopback for host in ("localhost", "127.0.0.2", "[::1]"))
