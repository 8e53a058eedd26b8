"""Open connections end with their credentials: a WebSocket, a response in parts, on asyncio and on trio."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import pytest

from authguard import PUBLIC, ConfigurationError, MemoryRevocations, Principal, Revocation, Rule, role
from authguard.model import Accepted
from authguard.starlette import requires
from authguard.state.revocations import Revocations
from tests.support.asgi import (
    Exchange,
    function_app,
    header_list,
    http_scope,
    response_start,
    send_response,
    websocket_scope,
)
from tests.support.clock import NOW
from tests.support.guards import RecordingGuard
from tests.support.schemes.badge import Badge

SUBJECT = Revocation.subject("alice", before=NOW, expires_at=NOW + 600)
CLOSED = {"type": "websocket.close", "code": 1008, "reason": "Not authenticated"}


def guarded(revocations: Any = (), expires_at: float | None = None, **options: Any) -> RecordingGuard:
    """A guard that ends connections, for a badge of alice's."""
    claims = {"iat": NOW - 60, "jti": "t-1"}
    table = {"alice": Accepted(Principal("alice", roles={"admin"}, claims=claims, expires_at=expires_at))}
    return RecordingGuard(
        Badge(table=table), revocations=revocations, **{"end_with_credentials": True, "leeway": 0, **options}
    )


async def connect(guard: RecordingGuard, app: Any, kind: str = "websocket", sent: list[Any] | None = None) -> list[Any]:
    """Open a connection with an app whose client stays, and return all that is sent until it ends."""
    exchange = Exchange(sent=[] if sent is None else sent)
    first = {"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request", "body": b""}
    waiting = [first]

    async def receive() -> Any:
        if not waiting:
            await anyio.sleep_forever()
        return waiting.pop()

    async def send(message: Any) -> None:
        exchange.sent.append(message)
        await anyio.lowlevel.checkpoint()

    headers = header_list("Badge alice")
    scope = websocket_scope(headers=headers) if kind == "websocket" else http_scope(headers=headers)
    with anyio.fail_after(20):
        await guard.wrap(function_app(app))(scope, receive, send)
    return exchange.sent


async def socket_app(scope: Any, receive: Any, send: Any) -> None:
    """Accept, and wait for messages that do not come."""
    await receive()
    await send({"type": "websocket.accept"})
    await receive()


def stream_app(*chunks: bytes) -> Any:
    """Send these, and then wait for news that do not come."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(response_start())
        for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await send({"type": "http.response.body", "body": b"the end"})

    return app


class Silent(Revocations):
    """A store that cannot tell of a revocation, and may fail."""

    def __init__(self, *answers: Mapping[bytes, float] | Exception) -> None:
        self.answers = list(answers)

    async def find(self, keys: Sequence[bytes]) -> Mapping[bytes, float]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def revoke_when_open(
    store: MemoryRevocations, sent: list[Any], revocation: Revocation = SUBJECT, messages: int = 1
) -> None:
    """Revoke once so many messages were sent."""
    while len(sent) < messages:
        await anyio.lowlevel.checkpoint()
    await store.revoke(revocation)


async def test_a_revoked_websocket_is_closed_at_once() -> None:
    """The store tells of the revocation: the app is cancelled, the client gets 1008 and why."""
    store, sent = MemoryRevocations(clock=lambda: NOW), list[Any]()
    guard = guarded(store)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(revoke_when_open, store, sent)
        await connect(guard, socket_app, sent=sent)

    assert sent == [{"type": "websocket.accept"}, CLOSED]
    assert guard.outcomes == ["granted", "subject.revoked"]
    facts = guard.records[-1].facts
    assert (facts["issued_before"], facts["websocket"]) == (60, "it was open already, and is closed with 1008")
    assert isinstance(facts["open_for"], float)
    assert len(store._callbacks) == 0


async def test_a_revoked_response_is_cut_off_and_never_completed() -> None:
    """Nothing that the app sends while it is cancelled reaches the client, so that the response does not look whole."""
    store, sent = MemoryRevocations(clock=lambda: NOW), list[Any]()
    guard = guarded(store)
    token = Revocation.token("t-1", expires_at=NOW + 600)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(revoke_when_open, store, sent, token, 3)
        await connect(guard, stream_app(b"one", b"two"), "http", sent)

    assert [message.get("body") for message in sent] == [None, b"one", b"two"]
    assert all(message.get("more_body", True) for message in sent)
    assert guard.outcomes == ["granted", "token.revoked"]


@pytest.mark.parametrize("app", [socket_app, stream_app()], ids=["websocket", "before the first part"])
async def test_credentials_that_expire_end_it(app: Any) -> None:
    """Without any store, a connection ends when its principal expires, and the record says so."""
    guard = guarded(expires_at=time.time() + 0.1, clock=time.time)
    kind = "websocket" if app is socket_app else "http"
    sent = await connect(guard, app, kind)

    assert guard.outcomes == ["granted", "credentials.expired"]
    expired = {**CLOSED, "reason": "The credentials expired"}
    assert sent == ([{"type": "websocket.accept"}, expired] if kind == "websocket" else [response_start()])


async def test_a_store_that_cannot_tell_is_asked_again_and_an_outage_ends_nothing() -> None:
    """It is polled by name. While it cannot answer, open connections stay, and the first answer decides."""
    store = Silent({}, {}, RuntimeError("down"), {SUBJECT.key: NOW})
    guard = guarded(store, revocation_poll=0.01)
    await connect(guard, socket_app)

    assert guard.outcomes == ["granted", "subject.revoked"]
    assert store.answers == []


class Untold(MemoryRevocations):
    """A store whose ``on_revoked`` fails, or returns a function that does."""

    def __init__(self, *, at_once: bool) -> None:
        super().__init__(clock=lambda: NOW)
        self.at_once = at_once

    def on_revoked(self, keys: Any, callback: Any) -> Any:
        if self.at_once:
            raise RuntimeError("down")
        return super().on_revoked


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_store_that_cannot_tell_of_revocations_ends_nothing(
    at_once: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Its error is logged, and the app's response is sent to its end."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(response_start())
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await anyio.wait_all_tasks_blocked()
        await send({"type": "http.response.body", "body": b"b"})

    sent = await connect(guarded(Untold(at_once=at_once)), app, "http")

    assert sent[-1] == {"type": "http.response.body", "body": b"b"}
    (message,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "on_revoked of a store of revocations" in message


async def test_a_revocation_before_the_watch_begins_is_seen() -> None:
    """A revocation between the grant and the accept ends the connection: nothing falls in between."""
    store = MemoryRevocations(clock=lambda: NOW)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await store.revoke(SUBJECT)
        await socket_app(scope, receive, send)

    assert (await connect(guarded(store), app))[-1] == CLOSED


async def test_a_handshake_that_the_app_refuses_is_not_watched() -> None:
    """Only what may stay open is watched."""
    store = MemoryRevocations(clock=lambda: NOW)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.close", "code": 1000})

    assert await connect(guarded(store), app) == [{"type": "websocket.close", "code": 1000}]
    assert len(store._callbacks) == 0


@pytest.mark.parametrize("length", [[], [(b"content-length", b"6")]], ids=["in parts", "whole"])
async def test_a_request_that_ends_by_itself_leaves_nothing_behind(length: Any) -> None:
    """The task that watches ends with the request, and the response is complete."""
    store = MemoryRevocations(clock=lambda: NOW)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({**response_start(), "headers": length})
        await send({"type": "http.response.body", "body": b"passed"})

    guard = guarded(store)
    sent = await connect(guard, app, "http")

    assert (sent[-1]["body"], guard.outcomes, len(store._callbacks)) == (b"passed", ["granted"], 0)


async def test_the_error_of_an_app_is_raised_unchanged() -> None:
    """No group of exceptions is put around what the app raises."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError("its own")

    with pytest.raises(LookupError, match=r"^its own$"):
        await connect(guarded(), app)


async def test_an_error_after_the_end_is_swallowed() -> None:
    """An app that fails because it was cancelled has nothing to tell any more."""
    store = MemoryRevocations(clock=lambda: NOW)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await store.revoke(SUBJECT)
        try:
            await socket_app(scope, receive, send)
        finally:
            raise LookupError("cancelled")

    assert (await connect(guarded(store), app))[-1] == CLOSED


async def test_a_lock_on_an_open_route_is_enough() -> None:
    """On a PUBLIC route, the principal is known once a lock has asked, and the connection ends with it."""
    store, sent = MemoryRevocations(clock=lambda: NOW), list[Any]()
    guard = guarded(store)
    guard = RecordingGuard(
        guard.guard.schemes[0], rules=[Rule("/**", PUBLIC)], revocations=store, end_with_credentials=True
    )

    @requires(role("admin"))
    async def locked(websocket: Any) -> None:
        await websocket.accept()
        await websocket.receive_text()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        from starlette.websockets import WebSocket

        await locked(WebSocket(scope, receive, send))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(revoke_when_open, store, sent)
        await connect(guard, app, sent=sent)

    assert sent[-1] == CLOSED


async def test_nobody_is_watched_who_is_anonymous() -> None:
    """A connection without a principal has no credentials to end with."""
    guard = RecordingGuard(rules=[Rule("/**", PUBLIC)], end_with_credentials=True)
    answer = await guard.request(function_app(lambda scope, receive, send: send_response(send)), field=None)

    assert answer.status == 200


async def test_without_the_option_an_open_connection_stays() -> None:
    """By default nothing watches: the connection ends when the app ends it."""
    store = MemoryRevocations(clock=lambda: NOW)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await store.revoke(SUBJECT)
        for _ in range(50):
            await anyio.lowlevel.checkpoint()
        await send({"type": "websocket.send", "text": "still here"})

    sent = await connect(guarded(store, end_with_credentials=False), app)

    assert sent[-1] == {"type": "websocket.send", "text": "still here"}


@pytest.mark.parametrize(("option", "value"), [("end_with_credentials", 1), ("revocation_poll", 0)])
def test_a_wrong_option_is_named(option: str, value: Any) -> None:
    """The guard is not built with something that only looks like an option."""
    with pytest.raises(ConfigurationError, match=option):
        guarded(**{option: value})
