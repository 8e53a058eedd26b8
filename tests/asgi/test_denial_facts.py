"""What the record of a denial says of the connection: the body, the handshake, the rule of a method."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from authguard import AUTHENTICATED, PUBLIC, Rule
from tests.support.asgi import (
    RecordingApp,
    body_messages,
    function_app,
    header_list,
    http_scope,
    run_app,
    websocket_scope,
)
from tests.support.guards import RecordingGuard, denial
from tests.support.schemes.digest import answer_challenge, challenge, digest_scheme, serialize

DENIAL_RESPONSE: dict[str, Any] = {"extensions": {"websocket.http.response": {}}}


@pytest.mark.parametrize(
    ("extensions", "seen"),
    [
        ({}, "this server can only close the handshake: clients see 403"),
        ({"extensions": None}, "this server can only close the handshake: clients see 403"),
        (DENIAL_RESPONSE, "the handshake is answered with the status"),
    ],
)
async def test_what_the_client_of_a_handshake_sees(extensions: dict[str, Any], seen: str) -> None:
    """Many servers can only close a handshake, and clients then see 403, whatever the status of the record is."""
    guard = RecordingGuard()

    await run_app(guard.wrap(RecordingApp()), websocket_scope(headers=header_list(), **extensions))

    (record,) = guard.records
    assert (record.reason, record.status, record.facts["websocket"]) == ("credentials.missing", 401, seen)


@pytest.mark.parametrize(
    ("accepts", "seen"),
    [
        (True, "it was open already, and is closed with 1008"),
        (False, "this server can only close the handshake: clients see 403"),
    ],
)
async def test_a_websocket_that_was_open_already(accepts: bool, seen: str) -> None:
    """An endpoint may deny before or after it has accepted: the record says what the client sees of it."""
    guard = RecordingGuard()

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        if accepts:
            await send({"type": "websocket.accept"})
        raise denial()

    await run_app(guard.wrap(function_app(endpoint)), websocket_scope(headers=header_list("Badge alice")))

    assert guard.records[-1].facts == {"order": 5, "websocket": seen}


async def test_a_record_over_http_says_nothing_of_websockets() -> None:
    """The fact is that of WebSockets alone."""
    guard = RecordingGuard()

    await guard.request(RecordingApp(), field=None)

    assert guard.records[-1].facts == {}


async def test_the_rule_of_a_method_that_is_not_listed() -> None:
    """N14: the record names the rule of the path and the methods that it lists, for programs too."""
    guard = RecordingGuard(rules=[Rule("/orders", AUTHENTICATED, methods={"GET"})])

    await guard.request(RecordingApp(), "/orders", method="DELETE")

    (record,) = guard.records
    assert (record.reason, record.rule) == ("method.unlisted", "/orders")
    assert record.line() == "DELETE /orders 403 badge alice rule=/orders listed=[GET]"
    assert record.extra()["authguard.rule"] == "/orders"


async def test_what_is_ambiguous_in_a_path() -> None:
    """The record says which part of the path can be read in two ways."""
    guard = RecordingGuard(rules=[Rule("/admin", AUTHENTICATED)])

    await guard.request(RecordingApp(), "/a//admin")

    assert guard.records[-1].facts == {"problem": "an empty segment"}


async def body_facts(body: list[Any], **options: Any) -> tuple[str | None, dict[str, object]]:
    """The reason and the facts of a POST with a digest of its body, where the scheme reads two bytes at most."""
    digest = digest_scheme(qop=["auth-int"], limit=2)
    guard = RecordingGuard(digest, **options)
    params = answer_challenge(challenge(digest), method="POST", body=b"abc")
    fields = header_list(b"Digest " + serialize(params))
    await run_app(guard.wrap(RecordingApp()), http_scope("/", "POST", fields), *body)
    return guard.records[-1].reason, dict(guard.records[-1].facts)


async def test_how_much_of_a_body_was_read() -> None:
    """The record of a body that is too large or incomplete says how many bytes came, and the limit."""
    large = await body_facts(body_messages(b"abc"))
    lost = await body_facts(body_messages(b"a", more=True))

    assert large == ("body.too_large", {"octets": 3, "limit": 2})
    assert lost == ("body.incomplete", {"problem": "the client has disconnected", "octets": 1})


async def test_a_body_of_a_public_route_that_was_not_kept() -> None:
    """A lock on a PUBLIC route may come after the app has read more than is kept. The record says so."""
    guard = RecordingGuard(digest_scheme(qop=["auth-int"]), rules=[Rule("/**", PUBLIC)])
    (digest,) = guard.guard.schemes
    params = answer_challenge(challenge(digest), method="POST", body=b"x")  # type: ignore[arg-type]

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await scope["authguard"].require(AUTHENTICATED, {}, scope)

    fields = header_list(b"Digest " + serialize(params))
    app = guard.wrap(function_app(endpoint))
    await run_app(app, http_scope("/", "POST", fields), *body_messages(b"x" * 1_048_577))

    assert guard.records[-1].facts == {
        "problem": "the app had read more of it than is kept for a lock",
        "limit": 1_048_576,
    }
