"""What the guard adds to answers to credentials outside ``Authorization``: ``private``, and the subprotocol."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, WebSocket
from starlette.testclient import TestClient

from authguard import (
    PUBLIC,
    Cookie,
    Guard,
    Header,
    Principal,
    Rule,
    WebSocketProtocol,
    via,
)
from authguard.fastapi import install, requires
from authguard.testing import acting_as
from tests.support.asgi import Exchange, http_scope, run_app, websocket_scope
from tests.support.guards import OPTIONAL_RULES, PUBLIC_RULES, RecordingGuard
from tests.support.schemes.badge import Badge, FieldCarrier, InfoBadge
from tests.support.schemes.bearer import bearer
from tests.support.tokens import mint

COOKIE = Cookie("session-token")
BY_COOKIE = (b"cookie", b"session-token=alice")
BY_TOKEN = (b"authorization", b"Badge alice")
Badged = Annotated[Principal, requires(via("badge"))]


def app(*headers: tuple[bytes, bytes], status: int = 200) -> Any:
    """An app that answers with these headers, and accepts each WebSocket."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            return
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        await send({"type": "http.response.body"})

    return answer


async def cache_control(guard: RecordingGuard, sent: tuple[bytes, bytes], *headers: tuple[bytes, bytes]) -> list[str]:
    """The Cache-Control lines of the answer to such a request."""
    exchange = await run_app(guard.wrap(app(*headers)), http_scope("/", headers=[sent]))
    return lines(exchange, b"cache-control")


def lines(exchange: Exchange, field: bytes) -> list[str]:
    """The values of a field of a response."""
    return [value.decode() for name, value in exchange.headers if name.lower() == field]


@pytest.mark.parametrize(
    ("carrier", "sent"),
    [
        (COOKIE, BY_COOKIE),
        (Header("X-API-Key"), (b"x-api-key", b"alice")),
        (FieldCarrier("badge", b"x-badge"), (b"x-badge", b"alice")),
    ],
    ids=["cookie", "header", "own"],
)
async def test_no_shared_cache_stores_what_answers_other_fields(carrier: Any, sent: tuple[bytes, bytes]) -> None:
    """RFC 9111 section 3.5 protects answers to ``Authorization`` alone, so the guard says ``private`` for others."""
    assert await cache_control(RecordingGuard(Badge(carrier=carrier)), sent) == ["private"]
    assert await cache_control(RecordingGuard(), BY_TOKEN) == []


@pytest.mark.parametrize("status", [200, 302, 404, 500])
async def test_each_status_is_private(status: int) -> None:
    """A cache may store a 404 as well as a 200."""
    guard = RecordingGuard(Badge(carrier=COOKIE))
    exchange = await run_app(guard.wrap(app(status=status)), http_scope("/", headers=[BY_COOKIE]))

    assert (exchange.status, lines(exchange, b"cache-control")) == (status, ["private"])


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("public, max-age=60", ["public, max-age=60"]),
        ("max-age=60 ,S-MAXAGE=10", ["max-age=60 ,S-MAXAGE=10"]),
        ("must-revalidate", ["must-revalidate"]),
        ("private, no-cache", ["private, no-cache"]),
        ("no-store", ["no-store"]),
        ("max-age=60", ["max-age=60", "private"]),
        ("no-cache", ["no-cache", "private"]),
        ("x-public=1", ["x-public=1", "private"]),
        ("", ["", "private"]),
    ],
)
async def test_what_the_app_says_of_shared_caches_stays(said: str, expected: list[str]) -> None:
    """The directives of RFC 9111 section 3.5 are the app's word; ``max-age`` alone says nothing of shared caches."""
    guard = RecordingGuard(Badge(carrier=COOKIE))

    assert await cache_control(guard, BY_COOKIE, (b"Cache-Control", said.encode())) == expected


async def test_each_request_is_judged_by_what_it_sent() -> None:
    """One guard, a cookie and a token: only the answer to the cookie is private, and an anonymous one is not."""
    guard = RecordingGuard(Badge(), Badge("web", carrier=COOKIE), rules=OPTIONAL_RULES)

    assert await cache_control(guard, BY_COOKIE) == ["private"]
    assert await cache_control(guard, BY_TOKEN) == []
    assert await cache_control(guard, (b"x-nothing", b"")) == []


async def test_the_headers_of_the_scheme_stay() -> None:
    """What a scheme adds to a response is there beside ``private``."""
    guard = RecordingGuard(InfoBadge("info", carrier=COOKIE))
    exchange = await run_app(guard.wrap(app()), http_scope("/", headers=[BY_COOKIE]))

    assert (lines(exchange, b"x-info"), lines(exchange, b"cache-control")) == (["from info"], ["private"])


async def test_what_nobody_looks_at_is_not_private() -> None:
    """On a PUBLIC route no credentials are verified, so the answer does not depend on them."""
    guard = RecordingGuard(Badge(carrier=COOKIE), rules=PUBLIC_RULES)

    assert await cache_control(guard, BY_COOKIE) == []


def test_a_lock_on_a_public_route_makes_its_answer_private() -> None:
    """The lock is what verifies the cookie there."""
    shop = FastAPI()
    shop.add_api_route("/mine", lambda: "mine", dependencies=[requires(via("badge"))])
    shop.add_api_route("/open", lambda: "open")
    install(shop, Guard(Badge(carrier=COOKIE), rules=[Rule("/**", PUBLIC, methods={"GET"})]))
    client = TestClient(shop, cookies={"session-token": "alice"})

    assert client.get("/mine").headers["cache-control"] == "private"
    assert "cache-control" not in client.get("/open").headers


# --- WebSockets -------------------------------------------------------------------------------------------------------


def socket_app(choose: Any) -> Any:
    """An app that accepts with the subprotocol that ``choose`` picks from those that it is offered."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        message = {"type": "websocket.accept"}
        chosen = choose(scope["subprotocols"], scope["headers"])
        await send(message if chosen is None else {**message, "subprotocol": chosen})

    return answer


def first(offered: Sequence[str], headers: Any) -> str | None:
    """What many apps do: they accept the first of the subprotocols."""
    return offered[0] if offered else None


def last_of_the_field(offered: Sequence[str], headers: Any) -> str | None:
    """What an app does that reads the field itself."""
    return str(dict(headers)[b"sec-websocket-protocol"].decode().split(", ")[-1])


async def accepted(choose: Any, *offered: str, rules: Sequence[Rule] = (), **more: Any) -> Any:
    """The subprotocol of the answer to a handshake that offers these."""
    guard = RecordingGuard(Badge(carrier=WebSocketProtocol("bearer"), **more), rules=rules)
    headers = [(b"sec-websocket-protocol", ", ".join(offered).encode())]
    scope = websocket_scope("/", headers, subprotocols=list(offered))
    exchange = await run_app(guard.wrap(socket_app(choose)), scope)
    (message,) = exchange.sent
    assert message["type"] == "websocket.accept"
    return message.get("subprotocol")


@pytest.mark.parametrize(
    ("choose", "offered", "answered"),
    [
        (lambda offered, headers: None, ["bearer", "alice"], "bearer"),
        (lambda offered, headers: None, ["chat.v2", "bearer", "alice"], "bearer"),
        (first, ["bearer", "alice"], "bearer"),
        (first, ["bearer", "alice", "chat.v2"], "chat.v2"),
        (first, ["chat.v2", "bearer", "alice"], "chat.v2"),
        (last_of_the_field, ["bearer", "alice"], "bearer"),
        (last_of_the_field, ["bearer", "alice", "chat.v2"], "chat.v2"),
        (lambda offered, headers: "bearer", ["bearer", "alice", "chat.v2"], "bearer"),
    ],
)
async def test_the_answer_never_names_the_token(choose: Any, offered: list[str], answered: str) -> None:
    """A browser closes a connection whose answer names none of its subprotocols, so the guard names ``bearer``."""
    assert await accepted(choose, *offered) == answered


async def test_the_app_does_not_find_the_token_among_the_subprotocols() -> None:
    """``scope["subprotocols"]`` has what is left for the app."""
    seen: list[str] = []

    def look(offered: Sequence[str], headers: Any) -> None:
        seen.extend(offered)

    await accepted(look, "chat.v1", "bearer", "alice", "chat.v2")

    assert seen == ["chat.v1", "chat.v2"]


async def test_without_verification_the_handshake_is_the_apps_own() -> None:
    """On a PUBLIC route nobody looked at the token, and the app chooses as it likes."""
    rules = [Rule("/**", PUBLIC)]

    assert await accepted(lambda offered, headers: None, "bearer", "alice", rules=rules) is None
    assert await accepted(first, "bearer", "alice", rules=rules) == "bearer"


def test_a_lock_on_a_public_socket_answers_too() -> None:
    """The lock verifies the token, and the answer names the subprotocol."""
    shop = FastAPI()

    @shop.websocket("/feed")
    async def feed(websocket: WebSocket, principal: Badged) -> None:
        await websocket.accept()
        await websocket.send_text(principal.subject)
        await websocket.close()

    guard = Guard(Badge(carrier=WebSocketProtocol("bearer")), rules=[Rule("/feed", PUBLIC, methods={"WEBSOCKET"})])
    install(shop, guard)
    with TestClient(shop).websocket_connect("/feed", subprotocols=["bearer", "alice"]) as socket:
        assert [socket.accepted_subprotocol, socket.receive_text()] == ["bearer", "alice"]

    with acting_as(guard, Principal("bob")), TestClient(shop).websocket_connect("/feed") as socket:
        assert [socket.accepted_subprotocol, socket.receive_text()] == [None, "bob"]


async def test_a_token_in_authorization_leaves_the_subprotocols_alone() -> None:
    """Where the token came in ``Authorization``, what is offered is the app's own business."""
    guard = RecordingGuard(bearer(), bearer(carrier=WebSocketProtocol("bearer"), name="socket"), default=via("bearer"))
    headers = [(b"authorization", f"Bearer {mint()}".encode()), (b"sec-websocket-protocol", b"bearer, x")]
    scope = websocket_scope("/", headers, subprotocols=["bearer", "x"])
    exchange = await run_app(guard.wrap(socket_app(first)), scope)

    assert exchange.sent[0]["subprotocol"] == "bearer"
    assert scope["subprotocols"] == ["bearer", "x"]


# --- How the cookie is set --------------------------------------------------------------------------------------------

SAFE = "Secure; HttpOnly; SameSite=Lax; Path=/"
NO_SECURE = "without Secure, it is sent over plain HTTP too"
NO_HTTP_ONLY = "without HttpOnly, each script of the page can read it"
NO_SAME_SITE = "without SameSite=Lax or Strict, it is sent with what other sites cause"
DOMAIN = "with Domain, other hosts of the domain get it and can set it"
NO_HOST = "browsers ignore it: a name with __Host- needs Secure, Path=/ and no Domain"
NO_SECURE_PREFIX = "browsers ignore it: a name with __Secure- needs Secure"

SET = [
    ("sid", f"sid=a; {SAFE}", []),
    ("sid", "sid=a", [NO_SECURE, NO_HTTP_ONLY, NO_SAME_SITE]),
    ("sid", "sid=a; secure; HTTPONLY ; samesite = Strict", []),
    ("sid", "sid=a; Secure; HttpOnly; SameSite=None", [NO_SAME_SITE]),
    ("sid", "sid=a; Secure; HttpOnly; SameSite", [NO_SAME_SITE]),
    ("sid", f"sid=a; {SAFE}; Domain=shop.example", [DOMAIN]),
    ("sid", f"sid=a; {SAFE}; Domain=", []),
    ("sid", "other=a", []),
    ("sid", "SID=a", []),
    ("sid", 'sid=""; Max-Age=0; Path=/', []),
    ("sid", "sid=a; Max-Age=0", []),
    ("__Host-sid", f"__Host-sid=a; {SAFE}", []),
    ("__Host-sid", f"__Host-sid=a; {SAFE}x", [NO_HOST]),
    ("__Host-sid", f"__Host-sid=a; {SAFE}; Domain=shop.example", [NO_HOST, DOMAIN]),
    # Starlette's delete_cookie writes no Secure unless it is told to: the user stays logged in.
    ("__Host-sid", '__Host-sid=""; Max-Age=0; Path=/; SameSite=lax', [NO_HOST]),
    ("__secure-sid", "__secure-sid=a; HttpOnly; SameSite=Lax", [NO_SECURE_PREFIX, NO_SECURE]),
]


@pytest.mark.parametrize(("name", "line", "problems"), SET)
async def test_the_guard_warns_of_a_cookie_that_is_not_safe(
    name: str, line: str, problems: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Each problem of a ``Set-Cookie`` line for the cookie of the scheme is a WARNING, once, also on a PUBLIC route."""
    guard = RecordingGuard(Badge(carrier=Cookie(name)), rules=PUBLIC_RULES)
    middleware = guard.wrap(app((b"set-cookie", line.encode())))
    exchanges = [await run_app(middleware, http_scope("/login", "POST")) for _ in range(3)]

    told = f"The cookie {name} logs users in, and the app does not set it safely: "
    assert caplog.messages == [f"{told}{problem}." for problem in problems]
    assert all(record.levelno == logging.WARNING for record in caplog.records)
    assert lines(exchanges[0], b"set-cookie") == [line]


async def test_other_guards_look_at_no_cookie(caplog: pytest.LogCaptureFixture) -> None:
    """Without a scheme that reads the cookie, how it is set is the app's own business."""
    await run_app(RecordingGuard().wrap(app((b"set-cookie", b"sid=a"))), http_scope("/", headers=[BY_TOKEN]))

    assert caplog.messages == []


async def test_a_socket_may_set_the_cookie_too(caplog: pytest.LogCaptureFixture) -> None:
    """The acceptance of a WebSocket may have ``Set-Cookie`` lines."""

    async def accept(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept", "headers": [(b"set-cookie", b"session-token=a; Secure; HttpOnly")]})

    guard = RecordingGuard(Badge(carrier=COOKIE))
    await run_app(guard.wrap(accept), websocket_scope("/", [BY_COOKIE]))

    assert [NO_SAME_SITE in message for message in caplog.messages] == [True]
