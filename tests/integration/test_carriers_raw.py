"""Attacks on credentials outside ``Authorization``, over raw sockets: what a server lets through, the guard decides."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.apps.common import FOR_USERS
from tests.integration.handshakes import HANDSHAKE
from tests.support.servers.app_server import Answer, AppServer, app_token, request_bytes, running_servers

GOOD = app_token("alice")
BAD = app_token("mallory", exp=1_000_000_000)


@pytest.fixture(name="server", scope="module", params=[("h11", "websockets"), ("httptools", "wsproto")], ids=str)
def _server(request: pytest.FixtureRequest) -> Iterator[AppServer]:
    http, ws = request.param

    def start() -> AppServer:
        return AppServer("carriers:app", "--http", http, "--ws", ws)

    with running_servers(start) as (server,):
        yield server


def status(server: AppServer, *fields: str | bytes, method: str = "GET") -> tuple[int, str]:
    """The status, and by which scheme the page was read."""
    answer = server.send(request_bytes("/page", *fields, method=method))
    body = answer.raw.partition(b"\r\n\r\n")[2].decode("latin-1")
    return answer.status, body.removeprefix(f"{FOR_USERS} ") if FOR_USERS in body else ""


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([f"Cookie: sid={GOOD}"], (200, "cookie")),
        ([f"Cookie: a=b; sid={GOOD}; c=d"], (200, "cookie")),
        ([f'Cookie: sid="{GOOD}"'], (200, "cookie")),
        # Cookie tossing, in one line, in two lines, with blanks, by an empty value.
        ([f"Cookie: sid={GOOD}; sid={BAD}"], (400, "")),
        ([f"Cookie: sid={BAD}; sid={GOOD}"], (400, "")),
        ([f"Cookie: sid={BAD}", f"Cookie: sid={GOOD}"], (400, "")),
        ([f"Cookie: sid ={BAD};\tsid\t={GOOD}"], (400, "")),
        ([f"Cookie: sid=; sid={GOOD}"], (400, "")),
        # Quotes hide no cookie and join none.
        ([f'Cookie: a="; sid={GOOD}; b="'], (200, "cookie")),
        ([f'Cookie: sid="{GOOD}; sid={GOOD}"'], (400, "")),
        ([f'Cookie: sid="{GOOD}'], (401, "")),
        ([f"Cookie: sid={GOOD},x"], (401, "")),
        ([f"Cookie: SID={GOOD}"], (401, "")),
        ([f"Cookie: x_sid={GOOD}; sidx={GOOD}"], (401, "")),
        # Explicit credentials go first, and a bad one is final.
        ([f"Authorization: Bearer {GOOD}", f"Cookie: sid={BAD}; sid={BAD}"], (200, "bearer")),
        ([f"Authorization: Bearer {BAD}", f"Cookie: sid={GOOD}"], (401, "")),
        ([f"X-Forwarded-Authorization: Bearer {GOOD}", f"Cookie: sid={BAD}"], (200, "gateway")),
        ([f"X-Forwarded-Authorization: Basic {GOOD}", f"Cookie: sid={GOOD}"], (401, "")),
        ([f"X-Forwarded-Authorization: Bearer {GOOD}", f"Authorization: Bearer {GOOD}"], (400, "")),
        ([f"X-Forwarded-Authorization: Bearer {GOOD}"] * 2, (400, "")),
        ([f"X_Forwarded_Authorization: Bearer {GOOD}"], (401, "")),
        # The guard's own words for places are no auth-schemes.
        ([f"Authorization: cookie.sid {GOOD}"], (401, "")),
        ([f"Authorization: protocol.bearer {GOOD}"], (401, "")),
        ([f"Sec-WebSocket-Protocol: bearer, {GOOD}"], (401, "")),
        ([b"Cookie: sid=" + b"\xff" * 40], (401, "")),
    ],
)
def test_a_request_with_odd_fields(server: AppServer, fields: list[str], expected: tuple[int, str]) -> None:
    """The table of decisions holds on a server, byte for byte."""
    assert status(server, *fields) == expected


@pytest.mark.parametrize("value", [b"a\x00b", b"\x00", b"a\x7f", b"a\x0bb"])
def test_a_control_character_in_a_cookie(server: AppServer, value: bytes) -> None:
    """The server or the guard refuses it; nobody gets in, and nothing fails."""
    answer = server.send(request_bytes("/page", b"Cookie: sid=" + value))

    assert answer.status in {0, 400, 401}
    assert not answer.contains(FOR_USERS)


@pytest.mark.parametrize("filler", [b"a=b; ", b";", b"sid", b"sid;", b" ", b"x" * 60 + b"; "])
def test_a_cookie_field_of_60_kib_is_searched(server: AppServer, filler: bytes) -> None:
    """The one cookie is found at its end, whatever stands before it."""
    padding = filler * (60_000 // len(filler))
    answer = server.send(request_bytes("/page", b"Cookie: " + padding + b"; sid=" + GOOD.encode()))

    # The parser of a server may refuse so long a field itself.
    assert answer.status in {200, 400, 431}
    assert answer.contains(FOR_USERS) == (answer.status == 200)


def test_a_foreign_page_cannot_use_the_cookie(server: AppServer) -> None:
    """A POST of another site with the cookie is 403; with a token that its script was given it is not."""
    foreign = ("Sec-Fetch-Site: cross-site", "Origin: https://evil.example")

    assert status(server, f"Cookie: sid={GOOD}", *foreign, method="POST")[0] == 403
    assert status(server, f"Authorization: Bearer {GOOD}", *foreign, method="POST")[0] == 405


def shaken(server: AppServer, *fields: str) -> Answer:
    """The head of the answer to a handshake. An open WebSocket would wait for a closing handshake."""
    received = b""
    with server.connect() as connection:
        connection.sendall(request_bytes("/feed", *HANDSHAKE, *fields).replace(b": close", b": Upgrade", 1))
        while b"\r\n\r\n" not in received and (chunk := connection.recv(65536)):
            received += chunk
    return Answer(received)


@pytest.mark.parametrize(
    ("offered", "expected", "answered"),
    [
        ([f"bearer, {GOOD}"], 101, ["bearer"]),
        (["bearer", GOOD], 101, ["bearer"]),
        ([f"chat, bearer, {GOOD}"], 101, ["chat"]),
        ([f"bearer, {GOOD}, chat"], 101, ["chat"]),
        ([f"bearer,{GOOD}"], 101, ["bearer"]),
        (["bearer"], 401, []),
        ([f"{GOOD}, bearer"], 401, []),
        ([f"Bearer, {GOOD}"], 401, []),
        ([f"bearer, {BAD}"], 401, []),
        ([f"bearer, {GOOD}, bearer, {GOOD}"], 400, []),
        (["bearer, a/b="], 401, []),
        ([f"bearer {GOOD}"], 401, []),
    ],
)
def test_a_handshake_with_subprotocols(
    server: AppServer, offered: list[str], expected: int, answered: list[str]
) -> None:
    """The answer names what the app chose from the rest, or ``bearer``, and the token never comes back."""
    answer = shaken(server, *(f"Sec-WebSocket-Protocol: {line}" for line in offered))

    assert answer.statuses[:1] == [expected]
    assert answer.lines("sec-websocket-protocol") == answered
    assert not answer.contains(GOOD)
