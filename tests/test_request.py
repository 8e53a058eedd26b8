"""What a scheme sees of a request."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from authguard.errors import RequestBodyError
from authguard.reasons import BODY_INCOMPLETE, BODY_TOO_LARGE
from authguard.request import network_of, says_https
from tests.support.asgi import auth_request, header_list, http_scope, websocket_scope


def test_the_method_is_the_one_that_was_sent() -> None:
    """HEAD stays HEAD, because Digest hashes the method. A WebSocket handshake is a GET on the wire."""
    methods = [
        auth_request(http_scope(method="HEAD")).method,
        auth_request(http_scope(method="get")).method,
        auth_request(websocket_scope()).method,
    ]

    assert methods == ["HEAD", "get", "GET"]


def test_the_kind_is_that_of_the_connection() -> None:
    """``kind`` is "http" or "websocket"."""
    assert [auth_request(http_scope()).kind, auth_request(websocket_scope()).kind] == ["http", "websocket"]


@pytest.mark.parametrize(("scheme", "secure"), [("https", True), ("wss", True), ("http", False), ("ws", False)])
def test_a_request_is_secure_where_the_server_says_so(scheme: str, secure: bool) -> None:
    """Only the scheme that the server reports counts; ``X-Forwarded-Proto`` is ignored."""
    forged = header_list(x_forwarded_proto="https")

    assert auth_request(http_scope(headers=forged, scheme=scheme)).secure is secure


def test_the_target_is_the_raw_path_and_the_query() -> None:
    """Percent-escapes stay as they were sent. If the server gives no ``raw_path``, the path is used."""
    sent = auth_request(http_scope("/a b", raw_path=b"/a%20b", query_string=b"x=%31"))
    without_query = auth_request(http_scope("/a b", raw_path=b"/a%20b"))
    without_raw = auth_request(http_scope("/ä", raw_path=None, query_string=b"x=1"))

    targets = [sent.target, without_query.target, without_raw.target]

    assert targets == [b"/a%20b?x=%31", b"/a%20b", b"/\xc3\xa4?x=1"]


def test_the_client_is_the_peer_that_the_server_names() -> None:
    """Forwarded fields are ignored. If the server does not know the client, the value is None."""
    forged = header_list(x_forwarded_for="203.0.113.9", forwarded="for=203.0.113.9")

    assert auth_request(http_scope(headers=forged)).client == "192.0.2.7"
    assert auth_request(http_scope(headers=forged, client=None)).client is None


def test_field_lines_are_not_joined() -> None:
    """Each header line is returned separately and in order. Names are lower-case, as ASGI gives them."""
    request = auth_request(http_scope(headers=[(b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3, 4")]))

    assert request.lines(b"x-a") == [b"1", b"3, 4"]
    assert request.lines(b"x-c") == []


def test_the_header_list_is_the_servers_own() -> None:
    """``headers`` is the list from the scope, not a copy."""
    scope = http_scope()

    assert auth_request(scope).headers is scope["headers"]


def test_a_request_shows_neither_headers_nor_query() -> None:
    """The repr shows only the method and the path."""
    request = auth_request(
        http_scope("/a", headers=header_list("Bearer s3cr3t"), query_string=b"key=s3cr3t"), path="/a\n"
    )

    assert repr(request) == "<AuthRequest GET '/a\\n'>"


async def test_the_body_is_read_once() -> None:
    """A second call returns the same bytes."""
    limits: list[int] = []

    async def read(limit: int) -> bytes:
        limits.append(limit)
        return b"abcd"

    request = auth_request(reader=read)

    assert [await request.body(10), await request.body(4)] == [b"abcd", b"abcd"]
    assert limits == [10]


async def test_a_body_over_the_limit_is_an_error_and_no_part_of_it_is_given() -> None:
    """``body()`` raises and returns no partial body. A body of exactly ``limit`` bytes is accepted."""

    async def read(limit: int) -> bytes:
        return b"abcd"

    with pytest.raises(RequestBodyError) as caught:
        await auth_request(reader=read).body(3)

    assert caught.value.reason is BODY_TOO_LARGE


async def test_a_scheme_without_reads_body_cannot_read_the_body() -> None:
    """Without ``reads_body`` the call raises ``RuntimeError``: a bug in the scheme, not an error of the client."""

    async def read(limit: int) -> bytes:
        raise AssertionError("the body was read")

    request = auth_request(reader=read)
    request.body_readable = False

    with pytest.raises(RuntimeError, match="reads_body"):
        await request.body(10)


async def test_a_handshake_has_no_body() -> None:
    """``body()`` of a WebSocket handshake raises ``body.incomplete``."""
    with pytest.raises(RequestBodyError) as caught:
        await auth_request(websocket_scope()).body(10)

    assert caught.value.reason is BODY_INCOMPLETE


@pytest.mark.parametrize(
    ("client", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:40001", "203.0.113.7"),
        (" 203.0.113.7 ", "203.0.113.7"),
        ("[2001:db8:0:1::7]:443", "2001:db8:0:1::/64"),
        ("[2001:db8:0:1::7]", "2001:db8:0:1::/64"),
        ("2001:db8:0:1:ffff::7", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("[fe80::1%25eth0]:80", "fe80::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("[::ffff:203.0.113.7]:9", "203.0.113.7"),
        ("testclient", "testclient"),
        ("a:b", "a:b"),
        ("", ""),
        (None, None),
    ],
)
def test_a_client_is_an_address_however_a_proxy_writes_it(client: str | None, network: str | None) -> None:
    """R002: with or without a port, brackets and a zone it is one client, with one bucket of attempts."""
    assert network_of(client) == network


def reference(client: str) -> str:
    """What ``network_of`` says about an address without a port, as ``ipaddress`` reads and writes it."""
    try:
        address = ipaddress.ip_address(client.strip())
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))


numbers = st.sampled_from(
    ["0", "7", "00", "010", "99", "100", "199", "249", "255", "256", "1000", "", "-1", " 1", "\u0661"]
)


@given(st.one_of(st.ip_addresses().map(str), st.lists(numbers, min_size=3, max_size=5).map(".".join)))
@example("1.2.3.4\n")
def test_an_address_is_read_as_the_standard_library_reads_it(client: str) -> None:
    """Whether it is written as nearly all are, or nearly so."""
    assert network_of(client) == reference(client)


@pytest.mark.parametrize(
    ("field", "value", "is_https"),
    [
        (b"x-forwarded-proto", b"https", True),
        (b"x-forwarded-proto", b"HTTPS, http", True),
        (b"x-forwarded-proto", b"wss", True),
        (b"x-forwarded-proto", b"http, https", False),
        (b"x-forwarded-proto", b"", False),
        (b"forwarded", b"for=192.0.2.43;proto=https;by=203.0.113.43", True),
        (b"forwarded", b'Proto="https";for=192.0.2.43, proto=http', True),
        (b"forwarded", b"for=192.0.2.43, proto=https", False),
        (b"forwarded", b"for=192.0.2.43", False),
    ],
)
def test_whether_a_proxy_says_that_its_client_used_tls(field: bytes, value: bytes, is_https: bool) -> None:
    """R083: what the first proxy has said counts, in either field."""
    assert says_https(field, value) is is_https
