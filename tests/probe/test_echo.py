"""The echo: whom it answers, what it shows, and when it ends."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authguard.errors import ConfigurationError
from authguard.probe import echo as module
from authguard.probe.echo import Echo, serve
from authguard.probe.exchange import Target
from authguard.probe.marked import FIELD, marked_requests
from authguard.probe.way import probe_way

MARK = "0123456789abcdef" * 2
SECRET = "c2VjcmV0OnNlY3JldA"
BEARER = marked_requests(MARK)[0]


def shown(*lines: str, target: str = f"/authguard-probe/{MARK}/bearer", echo: Echo | None = None) -> Any:
    """What the echo answers to a request with these field lines; None for 404."""
    head = "\r\n".join([f"GET {target} HTTP/1.1", *lines, "", ""]).encode("utf-8", "surrogateescape")
    answer, body = (echo or Echo(MARK)).answer(head).split(b"\r\n\r\n", 1)
    if answer.startswith(b"HTTP/1.1 404 Not Found\r\n"):
        assert body == b""
        return None
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    return json.loads(body)


def fields(*lines: str) -> list[list[str]]:
    """The fields that are shown."""
    found: list[list[str]] = shown(*lines)["fields"]
    return found


def test_a_marked_request_is_shown() -> None:
    """The method, the path, the query, the host and the fields that the probe has sent."""
    lines = [f"{name}: {text}" for name, text in BEARER.fields]
    request = shown("Host: api.example", *lines, target=f"/app{BEARER.suffix}?{BEARER.query}")

    assert request == {
        "authguard_echo": 1,
        "kind": "bearer",
        "seen": 1,
        "method": "GET",
        "path": ["/app", BEARER.suffix],
        "query": BEARER.query,
        "host": "api.example",
        "fields": [[name.lower(), text] for name, text in BEARER.fields if name.lower() != FIELD],
    }


def test_each_answer_may_not_be_kept_or_taken_for_a_page() -> None:
    """It is JSON with nosniff and no-store, with 200 and with 404."""
    for head in (b"GET / HTTP/1.1\r\n\r\n", f"GET /{MARK}/bearer HTTP/1.1\r\n\r\n".encode()):
        lines = Echo(MARK).answer(head).split(b"\r\n")
        assert {
            b"Content-Type: application/json",
            b"X-Content-Type-Options: nosniff",
            b"Cache-Control: no-store",
            b"Connection: close",
        } <= set(lines)


@pytest.mark.parametrize(
    "request_head",
    [
        ("/",),
        (f"/authguard-probe/{MARK[::-1]}/bearer",),
        (f"/authguard-probe/{MARK}/other",),
        (f"/authguard-probe/{MARK[:-1]}/bearer",),
        (f"/{MARK}",),
        ("/", f"X-Authguard-Probe: {MARK}.other"),
        ("/", f"Authorization: Bearer {MARK}"),
        ("/ HTTP/1.1 x", f"X-Authguard-Probe: {MARK}.bearer"),
    ],
)
def test_a_request_without_the_mark_is_a_404(request_head: tuple[str, ...]) -> None:
    """Nothing else is said, whatever it holds."""
    target, *lines = request_head

    assert shown(*lines, target=target) is None


@pytest.mark.parametrize(
    ("target", "lines"),
    [
        (f"/x/{MARK}/basic", ()),
        ("/x", (f"X-Authguard-Probe: {MARK}.basic",)),
        (f"/x?authguard-probe={MARK}.basic", ()),
    ],
)
def test_one_place_of_the_mark_is_enough(target: str, lines: tuple[str, ...]) -> None:
    """A proxy may replace the path, and drop fields or the query."""
    assert shown(*lines, target=target)["kind"] == "basic"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"Authorization: Basic {SECRET}", ["authorization", "Basic <18 bytes>"]),
        (f"Authorization: {SECRET}", ["authorization", "<18 bytes>"]),
        (
            f"Authorization: Bearer {MARK}.AZaz09-_~+/==, Basic {SECRET}",
            ["authorization", f"Bearer {MARK}.AZaz09-_~+/==, Basic <18 bytes>"],
        ),
        (f"Authorization: Bearer {MARK}{SECRET}", ["authorization", "Bearer <50 bytes>"]),
        ("X-Forwarded-Proto: HTTPS", ["x-forwarded-proto", "https"]),
        (f"X-Forwarded-Proto: {SECRET}", ["x-forwarded-proto", "<18 bytes>"]),
        ("X-Forwarded-Host: api.example:8443", ["x-forwarded-host", "api.example:8443"]),
        ("X-Forwarded-Host: [::1]:80", ["x-forwarded-host", "[::1]:80"]),
        ('Forwarded: for=192.0.2.7;proto="https";by=secret', ["forwarded", "proto=https"]),
        ("Forwarded: for=192.0.2.7", ["forwarded", "<13 bytes>"]),
        ("X-Forwarded-For: 192.0.2.7", ["x-forwarded-for", "<9 bytes>"]),
        ("Remote-User: alice", ["remote-user", "<5 bytes>"]),
    ],
)
def test_what_the_probe_has_not_sent_is_a_length(line: str, expected: list[str]) -> None:
    """A scheme, a protocol and a host are shown; a password, a token, a name and an address are not."""
    assert fields(line) == [expected]


def test_other_fields_are_not_shown() -> None:
    """Neither are lines that are no fields."""
    lines = f"Cookie: {SECRET}", f"X-Api-Key: {SECRET}", "no field", f"{'x' * 65}: {MARK}", "a b: c"

    assert fields(*lines) == []


@settings(deadline=None)
@given(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20), st.booleans())
def test_no_secret_of_a_proxy_is_shown(around: str, is_before: bool) -> None:
    """Wherever a proxy puts a credential beside the one of the probe, nothing of it is in the answer."""
    name, sent = BEARER.fields[1]
    text = f"{SECRET}{around}{sent}" if is_before else f"{sent}{around}{SECRET}"
    target = f"/{SECRET * 2}/authguard-probe/{MARK}/bearer?{SECRET}&{BEARER.query}"
    request = shown(f"{name}: {text}", f"Host: {SECRET}_", f"Cookie: {text}", target=target)

    assert SECRET.lower() not in json.dumps(request).lower()


def test_how_often_a_request_arrived_is_counted() -> None:
    """A proxy that repeats a request is seen by that."""
    echo = Echo(MARK)

    assert [shown(echo=echo)["seen"] for _ in range(3)] == [1, 2, 3]


def test_the_number_of_answers_is_limited() -> None:
    """After that a marked request is a 404 too."""
    echo = Echo(MARK)
    answers = [shown(echo=echo) is not None for _ in range(module._MAX_ANSWERS + 2)]

    assert answers == [True] * module._MAX_ANSWERS + [False] * 2


def test_the_last_request_of_a_probe_spends_the_mark() -> None:
    """What comes after it is a 404."""
    echo = Echo(MARK)

    assert shown(target=f"/authguard-probe/{MARK}/end", echo=echo)["kind"] == "end"
    assert shown(echo=echo) is None


# --- over sockets -----------------------------------------------------------------------------------------------------


def run_echo(client: Callable[[str], None], *, lifetime: float = 60.0) -> bool:
    """Serve while a client runs in a thread of its own."""
    threads: list[threading.Thread] = []

    def listening(address: str) -> None:
        threads.append(threading.Thread(target=client, args=(address,)))
        threads[0].start()

    is_done = asyncio.run(serve(MARK, host="127.0.0.1", port=0, listening=listening, lifetime=lifetime))
    threads[0].join()
    return is_done


def test_a_probe_ends_the_echo() -> None:
    """Without a proxy there is no fault, and afterwards nothing listens."""
    reports = []

    assert run_echo(lambda address: reports.append(probe_way(Target(f"{address}/app"), MARK)))
    assert [finding.code for finding in reports[0].findings] == ["way.forged"]


def test_the_echo_ends_by_itself() -> None:
    """Whether anybody has asked or not."""
    assert not run_echo(lambda _: None, lifetime=0.05)


def test_strangers_cannot_hold_the_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that does not end is left, and a client that goes away is no error."""
    monkeypatch.setattr(module, "_PATIENCE", 0.1)
    answers: list[bytes] = []

    def client(place: tuple[str, int]) -> None:
        with socket.create_connection(place, 60) as slow:
            slow.sendall(b"GET / HTTP/1.1\r\n")
            answers.append(_received(slow))
        socket.create_connection(place, 60).close()
        answers.append(_end(place))

    assert run_echo(lambda address: client(_place(address)))
    assert [answer[:15] for answer in answers] == [b"", b"HTTP/1.1 200 OK"]


def test_one_connection_too_many_and_a_head_that_is_too_long_are_closed_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The echo would otherwise wait for ten seconds."""
    monkeypatch.setattr(module, "_PATIENCE", 600.0)
    monkeypatch.setattr(module, "_MAX_CONNECTIONS", 1)
    answers: list[bytes] = []

    def client(place: tuple[str, int]) -> None:
        with socket.create_connection(place, 60) as first, socket.create_connection(place, 60) as late:
            first.sendall(b"x" * module._MAX_HEAD)
            answers.append(_received(late))
            first.sendall(b"x" * 4)  # as long as what ends a head
            answers.append(_received(first))
        while not (answer := _end(place)):  # it may not yet have seen that the others have gone
            pass
        answers.append(answer)

    assert run_echo(lambda address: client(_place(address)))
    assert [answer[:15] for answer in answers] == [b"", b"", b"HTTP/1.1 200 OK"]


def _place(address: str) -> tuple[str, int]:
    return "127.0.0.1", int(address.rpartition(":")[2])


def _end(place: tuple[str, int]) -> bytes:
    with socket.create_connection(place, 60) as connection:
        connection.sendall(f"GET /authguard-probe/{MARK}/end HTTP/1.1\r\n\r\n".encode())
        return _received(connection)


def _received(connection: socket.socket) -> bytes:
    with connection:
        try:
            return connection.recv(65_536)
        except ConnectionResetError:
            return b""


@pytest.mark.parametrize(
    ("host", "port"), [("127.0.0.1", None), ("192.0.2.1", 0), ("127.0.0.1", 99_999), ("a b.invalid", 0)]
)
def test_where_nobody_can_listen(host: str, port: int | None) -> None:
    """A port that is taken, an address of another machine, a port that there is not, and a name that there is not."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1] if port is None else port
        with pytest.raises(ConfigurationError, match=f"^--port: nothing can listen at port {number} of {host}: "):
            asyncio.run(serve(MARK, host=host, port=number, listening=lambda _: None))


def test_an_address_of_ipv6_is_in_brackets() -> None:
    """As a URL has it."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    found: list[str] = []
    asyncio.run(serve(MARK, host="::1", port=0, listening=found.append, lifetime=0.01))

    assert found[0].startswith("http://[::1]:")
