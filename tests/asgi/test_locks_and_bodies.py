"""A scheme that reads the body, behind a public rule: the app may have read nothing, a part, or all of it."""

from __future__ import annotations

import anyio
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authguard import AUTHENTICATED
from authguard.asgi.locks import Lock
from authguard.asgi.messages import MAX_KEPT_BODY, Body
from authguard.fastapi import requires
from tests.support.asgi import Exchange, body_messages, function_app, run_app, send_response
from tests.support.guards import PUBLIC_RULES, RecordingGuard
from tests.support.schemes.webhook import Webhook, signed_post

PARTS = [b"one ", b"", b"two ", b"three"]
WHOLE = b"".join(PARTS)
LIMIT = MAX_KEPT_BODY


async def post(app: ASGIApp, *parts: bytes, body: bytes | None = None) -> tuple[Exchange, RecordingGuard]:
    """Send the parts of a signed body to the app behind a public rule."""
    guard = RecordingGuard(Webhook(limit=2 * LIMIT), rules=PUBLIC_RULES)
    scope = signed_post(b"".join(parts) if body is None else body)
    scope["headers"].append((b"content-type", b"application/json"))
    answer = await run_app(guard.wrap(app), scope, *body_messages(*parts))
    return answer, guard


def locked(before: int, seen: list[bytes]) -> ASGIApp:
    """An app that receives so many messages before the lock, and the others after it."""

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        more = True

        async def take() -> None:
            nonlocal more
            message = await receive()
            assert message["type"] == "http.request"
            seen.append(message["body"])
            more = message["more_body"]

        for _ in range(before):
            await take()
        await Lock(AUTHENTICATED).open(Request(scope, receive))
        while more:
            await take()
        await send_response(send, b"fine")

    return function_app(act)


@pytest.mark.parametrize("before", [0, 1, 2, 3, 4])
async def test_the_scheme_and_the_app_both_get_the_whole_body(before: int) -> None:
    """The scheme and the app both get the whole body, however much the app read before the lock."""
    seen: list[bytes] = []

    answer, guard = await post(locked(before, seen), *PARTS)

    assert (answer.status, guard.outcomes) == (200, ["granted"])
    assert b"".join(seen) == WHOLE


@pytest.mark.parametrize("before", [0, 2, 4])
async def test_a_body_with_a_wrong_signature_is_denied(before: int) -> None:
    """A wrong signature denies the request, even if the app has read the body already."""
    answer, guard = await post(locked(before, []), *PARTS, body=b"another")

    assert (answer.status, guard.denial_reasons) == (401, ["badge.wrong"])


@pytest.mark.parametrize("whole", [False, True])
async def test_only_a_limited_part_of_a_read_body_is_kept(whole: bool) -> None:
    """If the app read more than the guard keeps, the lock denies with 413 at once, whatever the scheme's limit."""
    parts = [bytes(LIMIT), b"x", b"y"]

    with anyio.fail_after(30):
        answer, guard = await post(locked(3 if whole else 2, []), *parts)

    assert (answer.status, guard.denial_reasons) == (413, ["body.too_large"])


async def test_a_body_that_exceeds_the_limit_is_dropped() -> None:
    """Once the body exceeds the limit, the kept part is dropped, because no scheme can use it."""
    messages = iter(body_messages(bytes(LIMIT), b"x", b"y"))

    async def receive() -> Message:
        return next(messages)

    body = Body(receive, keep=True)
    given = [len((await body.receive())["body"]) for _ in range(3)]

    assert given == [LIMIT, 1, 1]
    assert len(body._read) == 0


async def test_as_much_as_is_kept_is_enough() -> None:
    """A body of exactly the limit is verified."""
    answer, _ = await post(locked(2, []), bytes(LIMIT - 1), b"x")

    assert answer.status == 200


async def test_a_body_that_the_app_has_not_read_may_be_longer() -> None:
    """If the app has read nothing, only the scheme's own limit applies."""
    seen: list[bytes] = []

    answer, _ = await post(locked(0, seen), bytes(LIMIT), bytes(LIMIT))

    assert (answer.status, sum(map(len, seen))) == (200, 2 * LIMIT)


async def test_an_incomplete_body_is_denied() -> None:
    """If the client disconnects before its body is complete, the request is denied, even if the app read a part
    of it."""
    guard = RecordingGuard(Webhook(), rules=PUBLIC_RULES)
    parts = body_messages(b"one ", more=True)

    answer = await run_app(guard.wrap(locked(1, [])), signed_post(WHOLE), *parts)

    assert (answer.status, guard.denial_reasons) == (400, ["body.incomplete"])


async def _endpoint(request: Request) -> Response:
    body = await request.body()
    await Lock(AUTHENTICATED).open(request)
    return PlainTextResponse(body + await request.body())


async def test_starlettes_request_reads_it_before_the_lock() -> None:
    """A body that was read by ``Request.body()`` before the lock is verified, and the endpoint still has it."""
    answer, _ = await post(Starlette(routes=[Route("/", _endpoint, methods=["POST"])]), b"[1]")

    assert answer.body == b"[1][1]"


async def test_fastapi_reads_it_before_its_dependencies() -> None:
    """FastAPI reads the body before its dependencies, so its locks always come after that."""
    app = FastAPI()

    @app.post("/", dependencies=[requires(AUTHENTICATED)])
    async def hook(numbers: list[int]) -> list[int]:
        return numbers

    answer, guard = await post(app, b"[1, ", b"2]")

    assert (answer.status, answer.body, guard.outcomes) == (200, b"[1,2]", ["granted"])
