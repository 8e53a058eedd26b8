"""Authorization fields that no client should send, with both of uvicorn's parsers: they are denied without an error."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from tests.support.servers.app_server import AppServer, app_token, bearer_field, request_bytes, running_servers

pytestmark = pytest.mark.peer

GOOD = app_token()
LINE = bearer_field(GOOD)
SENT = LINE.encode()


def sized(octets: int) -> str:
    """A field line whose value has so many bytes."""
    return "Authorization: Bearer " + "a" * (octets - len("Bearer "))


# The parsers accept different fields. A field that a parser rejects with 400 never reaches the guard.
FIELDS: dict[str, tuple[list[str | bytes], set[int]]] = {
    "as it should be": ([LINE], {200}),
    "names in another case": (["AUTHORIZATION: bEARER " + GOOD], {200}),
    "no space after the colon": (["Authorization:Bearer " + GOOD], {200}),
    "spaces about the value": (["Authorization: \t  Bearer " + GOOD + " \t "], {200}),
    "many spaces after the scheme": (["Authorization: Bearer" + " " * 15_000 + GOOD], {200}),
    "two lines, both good": ([LINE, LINE], {400}),
    "two lines, the first good": ([LINE, "Authorization: Bearer x"], {400}),
    "two lines, the last good": (["Authorization: Basic YTpi", LINE], {400}),
    "two lines, the first empty": (["Authorization:", LINE], {400}),
    "three hundred lines": ([LINE] * 300, {400, 431}),
    "joined by a comma": ([LINE + ", Bearer " + GOOD], {401}),
    "a comma last": ([LINE + ","], {401}),
    "empty": (["Authorization:"], {401}),
    "blank": (["Authorization:  \t "], {401}),
    "a scheme alone": (["Authorization: Bearer"], {401}),
    "a scheme and a space": (["Authorization: Bearer "], {401}),
    "a token alone": (["Authorization: " + GOOD], {401}),
    "a quoted token": ([f'Authorization: Bearer "{GOOD}"'], {401}),
    "a tab after the scheme": (["Authorization: Bearer\t" + GOOD], {401}),
    "a space before the colon": (["Authorization : Bearer " + GOOD], {400}),
    "no colon": (["Authorization Bearer " + GOOD], {400}),
    # RFC 9112 section 5.2: a server rejects a folded line, or reads the fold as spaces.
    "folded after the scheme": (["Authorization: Bearer\r\n " + GOOD], {200, 400}),
    "folded in the token": (["Authorization: Bearer " + GOOD[:40] + "\r\n\t" + GOOD[40:]], {400, 401}),
    "a line folded into another field": (["X-Note: x\r\n " + LINE], {400, 401}),
    # RFC 9112 section 2.2: a server may accept a bare LF as the end of a line, and never a bare CR.
    "a bare LF before it": (["X-Note: x\n" + LINE], {200, 400}),
    "a bare CR before it": (["X-Note: x\r" + LINE], {400}),
    "a bare CR in the token": (["Authorization: Bearer " + GOOD[:40] + "\r" + GOOD[40:]], {400}),
    "16 KiB": ([sized(16 * 1024)], {401}),
    "16 KiB and one": ([sized(16 * 1024 + 1)], {400}),
    "17 KiB": ([sized(17 * 1024)], {400}),
    "70 KB": ([sized(70_000)], {400, 431}),
    "17 KiB of spaces": (["Authorization: Bearer" + " " * 17 * 1024 + GOOD], {400, 401}),
    "a NUL last": ([LINE + "\x00"], {400}),
    "a NUL alone": (["Authorization: Bearer \x00"], {400}),
    "a NUL in the name": (["\x00" + LINE], {400}),
    "an escape": (["Authorization: \x1b[31mBearer x"], {400, 401}),
    "DEL last": ([LINE + "\x7f"], {400, 401}),
    "0x80": ([b"Authorization: Bearer \x80"], {401}),
    "0x80 to 0xFF": ([b"Authorization: Bearer " + bytes(range(0x80, 0x100))], {401}),
    "0xFF last": ([SENT + b"\xff"], {401}),
    "0xFF as the scheme": ([b"Authorization: \xff\xfe x"], {401}),
    "0xFF in the name": ([b"Authorization\xff: Bearer " + GOOD.encode()], {400}),
    "a no-break space": ([b"Authorization: Bearer\xa0" + GOOD.encode()], {401}),
    "UTF-8": (["Authorization: Bearer \u00fc".encode()], {401}),
    "another field": (["Proxy-" + LINE, "X-" + LINE, "Authori_zation: Bearer " + GOOD], {401}),
    "another scheme": (["Authorization: Basic YTpi"], {401}),
    "an unknown scheme": (["Authorization: Bearerx " + GOOD], {401}),
    "two thousand other fields": (["X: y"] * 2_000, {400, 401, 431}),
}

LINES: dict[str, tuple[bytes, set[int]]] = {
    "HTTP/0.9": (b"GET /me\r\n\r\n", {400, 401}),
    "HTTP/1.0": (b"GET /me HTTP/1.0\r\n\r\n", {401}),
    "HTTP/1.0 with a token": (b"GET /me HTTP/1.0\r\n" + SENT + b"\r\n\r\n", {200}),
    "HTTP/2 in the clear": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}),
    "no Host": (b"GET /me HTTP/1.1\r\nConnection: close\r\n\r\n", {400, 401}),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 32 + b"\r\n\r\n", {400}),
}


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, AppServer]]:
    """A server with each HTTP parser."""
    kinds = ("h11", "httptools")
    with running_servers(*(partial(AppServer, "clients:app", "--http", http) for http in kinds)) as started:
        yield dict(zip(kinds, started, strict=True))


@pytest.fixture(params=["h11", "httptools"])
def server(request: pytest.FixtureRequest, servers: dict[str, AppServer]) -> AppServer:
    """Each server in turn."""
    return servers[request.param]


@pytest.mark.rfc("9110-2", "9110-9")
@pytest.mark.parametrize(("fields", "statuses"), FIELDS.values(), ids=FIELDS)
def test_a_field_is_answered_as_it_should_be(server: AppServer, fields: list[str | bytes], statuses: set[int]) -> None:
    """Valid credentials pass, an ambiguous or too long field is a 400, and the rest is a 401 with one challenge."""
    answer = server.send(request_bytes("/me", *fields))

    assert answer.status in statuses
    assert answer.contains("hello alice") == (answer.status == 200)
    assert len(answer.lines("www-authenticate")) == (answer.status == 401) or answer.status == 400


@pytest.mark.parametrize(("octets", "statuses"), LINES.values(), ids=LINES)
def test_another_protocol_is_answered_or_closed(server: AppServer, octets: bytes, statuses: set[int]) -> None:
    """A request that is not HTTP/1.1 is decided like any other, or rejected by the server."""
    answer = server.send(octets)

    assert set(answer.statuses) <= statuses
    assert answer.contains("hello alice") == (200 in statuses)


@pytest.mark.rfc("6750-3")
def test_an_ambiguous_field_gets_every_challenge(server: AppServer) -> None:
    """RFC 6750 section 3.1: a request with two credentials gets ``invalid_request`` in each challenge."""
    answer = server.send(request_bytes("/me", LINE, LINE))

    assert answer.lines("www-authenticate") == ['Bearer realm="orders", error="invalid_request"']
    assert answer.lines("content-type") == ["application/problem+json"]


@pytest.mark.rfc("9110-11")
def test_a_head_request_gets_the_challenge_and_no_body(server: AppServer) -> None:
    """RFC 9110 section 9.3.2: the response to HEAD has the fields of GET and no body."""
    as_get = server.send(request_bytes("/me"))

    answer = server.send(request_bytes("/me", method="HEAD"))

    for name in ("www-authenticate", "content-type", "content-length", "cache-control"):
        assert answer.lines(name) == as_get.lines(name)
    assert answer.raw.endswith(b"\r\n\r\n")
