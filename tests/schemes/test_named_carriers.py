"""Carriers of credentials outside ``Authorization``: what they find, and which of two credentials a guard verifies."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import fastapi
import pytest

from authguard import (
    AuthRequest,
    Carrier,
    ConfigurationError,
    Cookie,
    Credentials,
    Header,
    LoggedQuery,
    Moment,
    Rejected,
    Rule,
    WebSocketProtocol,
    any_of,
    via,
)
from authguard.openapi import Operation, describe
from authguard.wire.cookie import MAX_COOKIES
from authguard.wire.grammar import WireError
from tests.support.asgi import http_scope, run_app
from tests.support.clock import NOW
from tests.support.guards import OPTIONAL_RULES, RecordingGuard
from tests.support.schemes.badge import Badge
from tests.support.schemes.bearer import bearer
from tests.support.tokens import mint

GATEWAY = Header("X-Forwarded-Authorization", prefix="Bearer")
COOKIE = Cookie("session-token")
SOCKET = WebSocketProtocol("bearer")
QUERY = LoggedQuery("access_token")


def request(*fields: tuple[bytes, bytes], kind: str = "http", query: bytes = b"") -> AuthRequest:
    """A request with these fields."""
    scope = {"type": kind, "headers": list(fields), "query_string": query}
    return AuthRequest(scope, path="/", moment=Moment(NOW, 60))


def found(carrier: Carrier, asked: AuthRequest) -> object:
    """The credentials, or the reason and the facts of the refusal, or what could not be parsed."""
    try:
        result = carrier.find(asked)
    except WireError as error:
        return error.problem
    if isinstance(result, Rejected):
        return result.reason.code, dict(result.facts)
    return [credentials.rest for credentials in result]


def offer(*words: str) -> AuthRequest:
    """A handshake that offers these subprotocols."""
    return request((b"sec-websocket-protocol", ", ".join(words).encode("latin-1")), kind="websocket")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"Bearer eyJ", [b"eyJ"]),
        (b" bEARER   eyJ ", [b"eyJ"]),
        (b"", []),
        (b"eyJ", "another word, or none, before the credentials"),
        (b"Basic YTpi", "another word, or none, before the credentials"),
        (b"Bearer", "a word and nothing else"),
        (b"Bearer\teyJ", "another word, or none, before the credentials"),
        (b"Bearer  ", "a word and nothing else"),
    ],
)
def test_a_word_before_the_credentials_is_left_out(value: bytes, expected: object) -> None:
    """Google's API Gateway moves the client's ``Bearer eyJ...`` to a field of its own, with the word."""
    assert found(GATEWAY, request((b"x-forwarded-authorization", value))) == expected


def test_two_cookies_of_one_name_are_ambiguous() -> None:
    """Cookie tossing: a neighbouring host can set a second cookie of the name, so neither is taken."""
    facts = {"cookie": "session-token", "cookies": 2, "problem": "several cookies of one name"}

    for first, second, all_equal in (("a", "b", False), ("a", "a", True), ("", "b", False)):
        line = f"session-token={first}; session-token={second}".encode()
        refused = "credentials.ambiguous", {**facts, "all_equal": all_equal}
        assert found(COOKIE, request((b"cookie", line))) == refused
        assert found(COOKIE, request(*((b"cookie", part) for part in line.split(b"; ")))) == refused


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"session-token=eyJ; theme=dark", [b"eyJ"]),
        (b'session-token="eyJ="', [b"eyJ="]),
        (b"session-token=", []),
        (b'session-token=""', []),
        (b"Session-Token=eyJ", []),
        (b'session-token="a;b"', "a character that no cookie has"),
        (b"session-token=a\x00b", "a character that no cookie has"),
        (b"session-token=" + b"a" * 16385, ("header.too_long", {"field": "cookie", "octets": 16385, "limit": 16384})),
        (
            b"x=" + b"a" * MAX_COOKIES,
            ("header.too_long", {"field": "cookie", "octets": MAX_COOKIES + 2, "limit": MAX_COOKIES}),
        ),
    ],
    ids=["plain", "quoted", "empty", "empty quotes", "case", "semicolon", "NUL", "long value", "long field"],
)
def test_a_cookie_is_read_strictly(line: bytes, expected: object) -> None:
    """One cookie of the very name, with or without quotes, and of the characters that RFC 6265 has."""
    assert found(COOKIE, request((b"cookie", line))) == expected


def test_no_field_is_no_credentials() -> None:
    """Without the field, and in a request that is no handshake, there are none."""
    assert found(COOKIE, request()) == found(GATEWAY, request()) == found(SOCKET, request(kind="websocket")) == []
    assert found(SOCKET, request((b"sec-websocket-protocol", b"bearer, eyJ"))) == []
    assert found(QUERY, request(query=b"access_token=eyJ")) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["bearer", "eyJ"], [b"eyJ"]),
        (["chat.v2", "bearer", "eyJ", "chat.v1"], [b"eyJ"]),
        (["chat.v2", "eyJ"], []),
        (["Bearer", "eyJ"], []),
        (["bearer"], "no token after the subprotocol"),
        (["chat.v2", "bearer"], "no token after the subprotocol"),
        (["bearer", "a/b="], "not a subprotocol: such a token must be in base64url"),
        (["bearer", "a\x00"], "not a subprotocol: such a token must be in base64url"),
        (["", "bearer", "", "eyJ"], [b"eyJ"]),
    ],
)
def test_a_token_follows_its_subprotocol(words: Sequence[str], expected: object) -> None:
    """The token is the entry after the name, wherever the two stand among other subprotocols."""
    assert found(SOCKET, offer(*words)) == expected


def test_a_subprotocol_that_is_offered_twice_is_ambiguous() -> None:
    """Two names are two tokens, even if one line has one and another line the other."""
    facts = {"field": "sec-websocket-protocol", "problem": "the subprotocol is there several times"}
    refused = "credentials.ambiguous", facts
    lines = ((b"sec-websocket-protocol", b"bearer, a"), (b"sec-websocket-protocol", b"bearer, b"))

    assert found(SOCKET, offer("bearer", "a", "bearer", "b")) == refused
    assert found(SOCKET, offer("bearer", "bearer")) == refused
    assert found(SOCKET, request(*lines, kind="websocket")) == refused


def test_a_token_of_other_characters_is_sent_in_base64url() -> None:
    """With ``base64url=True`` the token is decoded, and what is no base64url is malformed."""
    carrier = WebSocketProtocol("bearer", base64url=True)
    sent = base64.urlsafe_b64encode(b"12|a/b=").decode().rstrip("=")

    assert found(carrier, offer("bearer", sent)) == [b"12|a/b="]
    assert found(carrier, offer("bearer", "a")) == "not base64url"


def test_a_server_may_hand_on_the_list_alone() -> None:
    """A server on wsproto leaves the field out, and has the subprotocols in the scope."""
    scope = {"type": "websocket", "headers": [], "subprotocols": ["chat", "bearer", "eyJ"]}

    assert found(SOCKET, AuthRequest(scope, path="/", moment=Moment(NOW, 60))) == [b"eyJ"]
    assert found(SOCKET, AuthRequest({**scope, "type": "http"}, path="/", moment=Moment(NOW, 60))) == []


def test_a_long_list_of_subprotocols_is_refused() -> None:
    """A list of more than 128 KiB is not split, and a token of more than the limit is not decoded."""
    assert found(SOCKET, offer("x," * 70_000)) == (
        "header.too_long",
        {"field": "sec-websocket-protocol", "octets": 140_000, "limit": 131_072},
    )
    assert found(SOCKET, offer("bearer", "a" * 16_385)) == (
        "header.too_long",
        {"field": "sec-websocket-protocol", "octets": 16_385, "limit": 16_384},
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"access_token=eyJ&x=1", [b"eyJ"]),
        (b"x=1&access%5Ftoken=a%2Fb%3D", [b"a/b="]),
        (b"access_token=", []),
        (b"access_tokens=a", []),
        (
            b"access_token=a&access_token=a",
            (
                "credentials.ambiguous",
                {
                    "field": "query access_token",
                    "field_lines": 2,
                    "all_equal": True,
                    "problem": "the same line several times: doubled on the way",
                },
            ),
        ),
        (
            b"access_token=" + b"a" * 16_385,
            ("header.too_long", {"field": "query access_token", "octets": 16_385, "limit": 16_384}),
        ),
        (b"x" * 65_537, ("header.too_long", {"field": "query access_token", "octets": 65_537, "limit": 65_536})),
    ],
    ids=["one", "encoded", "empty", "another", "two", "long value", "long query"],
)
def test_a_query_is_read_for_a_websocket(query: bytes, expected: object) -> None:
    """The parameter is read, decoded, in a handshake."""
    assert found(QUERY, request(kind="websocket", query=query)) == expected


# --- Two credentials in one request -----------------------------------------------------------------------------------

TWO = [Rule("/token", via("bearer")), Rule("/cookie", via("web")), Rule("/key", via("key"))]


def two_guard() -> RecordingGuard:
    """A guard that takes tokens from ``Authorization`` and from a cookie, and keys from a field."""
    key = Badge("key", carrier=Header("X-API-Key"))
    web = bearer(carrier=COOKIE, name="web")
    return RecordingGuard(bearer(), web, key, rules=TWO)


def fields(**sent: str) -> list[tuple[bytes, bytes]]:
    """Header fields: ``token`` is in ``Authorization``, ``cookie`` in the cookie and ``key`` in ``X-API-Key``."""
    lines = {"token": ("authorization", "Bearer "), "cookie": ("cookie", "session-token="), "key": ("x-api-key", "")}
    return [(lines[name][0].encode(), (lines[name][1] + value).encode()) for name, value in sent.items()]


GOOD = mint()
EXPIRED = mint(exp=NOW - 3600)


@pytest.mark.parametrize(
    ("path", "sent", "status", "expected"),
    [
        ("/", {"token": GOOD}, 200, "granted bearer"),
        ("/", {"cookie": GOOD}, 200, "granted web"),
        ("/", {"key": "alice"}, 200, "granted key"),
        ("/", {}, 401, "credentials.missing"),
        # Explicit credentials go before a cookie, whatever is in it.
        ("/", {"token": GOOD, "cookie": GOOD}, 200, "granted bearer"),
        ("/", {"token": GOOD, "cookie": EXPIRED}, 200, "granted bearer"),
        ("/", {"token": GOOD, "cookie": "a\x00"}, 200, "granted bearer"),
        ("/", {"token": GOOD, "cookie": f"{GOOD}; session-token=x"}, 200, "granted bearer"),
        ("/", {"key": "alice", "cookie": EXPIRED}, 200, "granted key"),
        # A bad explicit one is final: the cookie does not save it.
        ("/", {"token": EXPIRED, "cookie": GOOD}, 401, "token.expired"),
        ("/", {"key": "expired", "cookie": GOOD}, 401, "token.expired"),
        ("/", {"cookie": EXPIRED}, 401, "token.expired"),
        ("/", {"cookie": "nonsense"}, 401, "token.malformed"),
        ("/", {"cookie": f"{GOOD}; session-token=x"}, 400, "credentials.ambiguous"),
        # Two explicit ones are ambiguous, unless the route accepts one of them.
        ("/", {"token": GOOD, "key": "alice"}, 400, "credentials.ambiguous"),
        ("/", {"token": GOOD, "key": "wrong"}, 400, "credentials.ambiguous"),
        ("/token", {"token": GOOD, "key": "wrong"}, 200, "granted bearer"),
        ("/key", {"token": EXPIRED, "key": "alice"}, 200, "granted key"),
        # What a route does not accept is not verified.
        ("/token", {"cookie": GOOD}, 401, "credentials.missing"),
        ("/token", {"key": "alice"}, 401, "scheme.unsupported"),
        ("/cookie", {"token": GOOD}, 401, "scheme.unsupported"),
        ("/cookie", {"token": GOOD, "cookie": GOOD}, 200, "granted web"),
        ("/cookie", {"token": GOOD, "cookie": EXPIRED}, 401, "token.expired"),
    ],
)
async def test_two_credentials_in_one_request(path: str, sent: Any, status: int, expected: str) -> None:
    """The decision table: which of two credentials is verified, and what comes of it."""
    guard = two_guard()
    exchange = await run_app(guard.wrap(answering()), http_scope(path, headers=fields(**sent)))

    (record,) = guard.records
    assert (exchange.status, record.reason or f"{record.event} {record.scheme}") == (status, expected)


def answering(headers: Sequence[tuple[bytes, bytes]] = ()) -> Any:
    """An app that answers 200 with these headers."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
        await send({"type": "http.response.body"})

    return app


async def test_the_record_names_the_places_of_ambiguous_credentials() -> None:
    """``X-API-Key`` beside ``Authorization``: the record says where both are."""
    guard = two_guard()
    await run_app(guard.wrap(answering()), http_scope("/", headers=fields(token=GOOD, key="alice")))

    assert guard.records[0].facts == {
        "presented": ("bearer", "header.x-api-key"),
        "carriers": ("authorization", "x-api-key"),
    }


async def test_two_cookies_of_different_names_are_two_credentials() -> None:
    """The browser sends both, so a route that accepts both cannot tell which one counts."""
    guard = RecordingGuard(bearer(carrier=COOKIE, name="new"), bearer(carrier=Cookie("old-token"), name="old"))
    headers = [(b"cookie", f"session-token={GOOD}; old-token={GOOD}".encode())]
    exchange = await run_app(guard.wrap(answering()), http_scope("/", headers=headers))

    assert exchange.status == 400
    assert guard.records[0].facts == {
        "presented": ("cookie.session-token", "cookie.old-token"),
        "carriers": ("cookie", "cookie"),
    }


@pytest.mark.parametrize("word", ["cookie.session-token", "header.x-api-key", "web", "key"])
async def test_a_place_cannot_be_named_in_authorization(word: str) -> None:
    """A client that writes the guard's own word for a place into ``Authorization`` is not taken for that place."""
    guard = two_guard()
    for credentials in (GOOD, "alice"):
        headers = [(b"authorization", f"{word} {credentials}".encode())]
        exchange = await run_app(guard.wrap(answering()), http_scope("/", headers=headers))
        assert exchange.status == 401

    assert {record.reason for record in guard.records} == {"scheme.unsupported"}


async def test_what_another_site_causes_is_refused_for_the_cookie_alone() -> None:
    """The browser adds the cookie to a foreign page's POST, and no token and no key."""
    guard = two_guard()
    for sent, status in (({"cookie": GOOD}, 403), ({"token": GOOD}, 200), ({"key": "alice"}, 200)):
        headers = [*fields(**sent), (b"sec-fetch-site", b"cross-site")]
        assert (await run_app(guard.wrap(answering()), http_scope("/", "POST", headers=headers))).status == status

    assert guard.records[0].reason == "origin.foreign"


async def test_an_ambiguous_cookie_is_not_anonymous() -> None:
    """On an OPTIONAL route, no cookie is anonymous, and two cookies of the name are a 400."""
    guard = RecordingGuard(bearer(carrier=COOKIE), rules=OPTIONAL_RULES)
    statuses = [
        (await run_app(guard.wrap(answering()), http_scope("/", headers=headers))).status
        for headers in ([], fields(cookie="a; session-token=b"))
    ]

    assert statuses == [200, 400]


# --- Challenges, OpenAPI and configuration ----------------------------------------------------------------------------

PLACES = {
    "gateway": (
        GATEWAY,
        'HeaderToken realm="orders", header="X-Forwarded-Authorization", prefix="Bearer"',
        {
            "type": "apiKey",
            "in": "header",
            "name": "X-Forwarded-Authorization",
            "description": "After the word Bearer",
        },
    ),
    "cookie": (
        COOKIE,
        'Cookie realm="orders", cookie-name="session-token"',
        {"type": "apiKey", "in": "cookie", "name": "session-token"},
    ),
    "socket": (
        SOCKET,
        'WebSocketToken realm="orders", protocol="bearer"',
        {"type": "apiKey", "in": "header", "name": "Sec-WebSocket-Protocol"},
    ),
    "query": (
        QUERY,
        'QueryToken realm="orders", parameter="access_token"',
        {"type": "apiKey", "in": "query", "name": "access_token"},
    ),
}


@pytest.mark.parametrize(("carrier", "challenge", "described"), PLACES.values(), ids=PLACES)
async def test_the_challenge_and_openapi_name_the_place(carrier: Any, challenge: str, described: object) -> None:
    """No client can answer ``Bearer`` outside ``Authorization``, so both say where the token goes."""
    guard = RecordingGuard(
        bearer(carrier=carrier), Badge("badge", carrier=carrier), rules=[Rule("/", via("bearer"))], default=via("badge")
    )
    exchange = await run_app(guard.wrap(answering()), http_scope("/"))
    operations = [Operation("/", "GET", [guard.guard.table.rules[0].requirement])]
    document = describe({"openapi": "3.1.0", "paths": {"/": {"get": {}}}}, operations, guard.guard)

    assert [value.decode() for name, value in exchange.headers if name == b"www-authenticate"] == [challenge]
    assert document["components"]["securitySchemes"] == {"bearer": described, "badge": described}


async def test_two_schemes_that_read_one_place_are_told_apart_by_rules() -> None:
    """Nobody could tell whose a key in the one field is, so a rule must name one of the two."""
    first, second = (Badge(name, carrier=Header("X-API-Key")) for name in ("first", "second"))

    with pytest.raises(ConfigurationError, match=r"accepts first and second, which are both header\.x-api-key"):
        RecordingGuard(first, second)
    with pytest.raises(ConfigurationError, match="which are both"):
        RecordingGuard(first, second, default=any_of(via("first"), via("second")))

    guard = RecordingGuard(first, second, rules=[Rule("/a", via("first"))], default=via("second"))
    for path in ("/a", "/b"):
        await run_app(guard.wrap(answering()), http_scope(path, headers=fields(key="alice")))
    assert [record.scheme for record in guard.records] == ["first", "second"]


def test_schemes_of_one_place_share_the_longest_limit() -> None:
    """Of two equal carriers with limits of their own, the longer limit holds for finding."""
    short, long = COOKIE.with_limit(10), COOKIE.with_limit(20)

    assert short == long
    assert {short.joined(long).limit, long.joined(short).limit} == {20}


@pytest.mark.parametrize("make", [Cookie, WebSocketProtocol, LoggedQuery, Header])
@pytest.mark.parametrize("name", ["", "a b", "a;b", "a=b", "é", 5])
def test_a_name_is_a_token(make: Any, name: Any) -> None:
    """What cannot be the name of a field, a cookie, a subprotocol or a parameter raises while the app is built."""
    with pytest.raises(ConfigurationError, match=r"^name: "):
        make(name)


@pytest.mark.parametrize("prefix", ["a b", "Bearer ", "é", 5])
def test_a_prefix_is_one_word(prefix: Any) -> None:
    """A prefix with a space could never be found, so it raises."""
    with pytest.raises(ConfigurationError, match=r"^prefix: "):
        Header("X-Token", prefix=prefix)


def test_a_field_that_a_proxy_adds_for_browsers_says_so() -> None:
    """Without the origin check, any site could act through Cloudflare Access: the field must be declared."""
    with pytest.raises(
        ConfigurationError, match=r'^sent_by_browsers: .* write Header\("Cf-Access-Jwt-Assertion", sent'
    ):
        Header("Cf-Access-Jwt-Assertion")


@pytest.mark.parametrize(
    ("carrier", "told"),
    [
        (fastapi.Cookie(), "is Cookie of FastAPI; import it from authguard"),
        ("session-token", "is not a carrier"),
        (Cookie, "is not a carrier"),
        (None, "is not a carrier"),
    ],
    ids=["FastAPI's", "text", "class", "None"],
)
def test_what_is_not_a_carrier_raises(carrier: Any, told: str) -> None:
    """FastAPI has classes of the same names, which is told."""
    with pytest.raises(ConfigurationError, match=rf"^carrier: .* {told}"):
        bearer(carrier=carrier)


async def test_a_carrier_of_ones_own_is_taken_too() -> None:
    """A carrier that finds credentials for ``bearer`` may read any place."""

    class Badge(Carrier):
        def find(self, request: AuthRequest) -> Sequence[Credentials]:
            return [Credentials("bearer", line) for line in request.lines(b"x-badge")]

    guard = RecordingGuard(bearer(carrier=Badge()))
    exchange = await run_app(guard.wrap(answering()), http_scope("/", headers=[(b"x-badge", GOOD.encode())]))

    assert exchange.status == 200
