"""``AccessDenied`` from an endpoint, anywhere in an app: the response and the record of a guard's own denial."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.to_thread
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from authguard import (
    AccessDenied,
    AuthRequest,
    ConfigurationError,
    Denied,
    Reason,
    Rule,
    via,
)
from tests.asgi.denying_apps import DENYING_APPS
from tests.support.asgi import LEAK, RESPONSE_MESSAGES, Exchange, function_app, message_types
from tests.support.guards import NO_SESSION, NOT_OWNER, PUBLIC_RULES, RecordingGuard, denial
from tests.support.schemes.badge import Badge, InfoBadge, PlainBadge


def denying(reason: Reason = NOT_OWNER, /, **facts: object) -> ASGIApp:
    """An app that denies every request with these facts."""

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        raise AccessDenied(reason, **facts)

    return function_app(act)


@pytest.mark.rfc("9110-8")
@pytest.mark.parametrize("make", DENYING_APPS.values(), ids=DENYING_APPS)
async def test_it_is_answered_as_the_guards_own(make: Callable[[], ASGIApp]) -> None:
    """A denial in any of these apps is a 403 with the challenge of the scheme, one record, and nothing of the app's
    response."""
    guard = RecordingGuard()

    answer = await guard.request(make())

    assert (answer.status, message_types(answer)) == (403, RESPONSE_MESSAGES)
    assert answer.lines(b"www-authenticate") == ['Badge realm="tests", error="insufficient_scope"']
    assert (answer.lines(b"content-type"), answer.lines(b"cache-control")) == (
        ["application/problem+json"],
        ["no-store"],
    )
    assert json.loads(answer.body)["code"] == "forbidden"
    assert LEAK not in answer.body
    assert LEAK not in repr(answer.headers).encode()
    assert guard.outcomes == ["granted", "order.not_owner"]
    record = guard.records[-1]
    assert (record.scheme, record.subject, record.subject_proven, record.status) == ("badge", "alice", True, 403)
    assert (record.requirement, record.rule, record.facts) == ("AUTHENTICATED", None, {"order": 5})


async def test_a_bare_thread_knows_of_no_request() -> None:
    """A plain thread does not share the context, so its exception is answered only when it leaves the app."""

    def deny() -> None:
        raise denial()

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.get_running_loop().run_in_executor(None, deny)

    guard = RecordingGuard()

    answer = await anyio.to_thread.run_sync(lambda: asyncio.run(guard.request(function_app(act))))

    assert (answer.status, guard.denial_reasons) == (403, ["order.not_owner"])


#: One exception for all requests, as some apps have it.
LASTING = AccessDenied(NOT_OWNER, order=7)


async def _in_a_bare_thread(request: Request) -> None:
    def deny() -> None:
        raise denial(order=7)

    await asyncio.get_running_loop().run_in_executor(None, deny)


async def _lasting(request: Request) -> None:
    raise LASTING


@pytest.mark.parametrize("act", [_in_a_bare_thread, _lasting])
@pytest.mark.parametrize("make", [FastAPI, Starlette])
async def test_a_framework_that_catches_it_denies_the_request(
    make: Callable[[], Starlette], act: Callable[[Request], Awaitable[None]]
) -> None:
    """Reading the headers of the exception, as the framework's handler does, denies the request."""
    app = make()
    app.router.routes.append(Route("/", act))
    guard = RecordingGuard()

    async def ask() -> list[Exchange]:
        return [await guard.request(app) for _ in range(2)]

    answers = await anyio.to_thread.run_sync(lambda: asyncio.run(ask()))

    assert [answer.status for answer in answers] == [403, 403]
    assert {line for answer in answers for line in answer.lines(b"www-authenticate")} == {
        'Badge realm="tests", error="insufficient_scope"'
    }
    assert all(answer.lines(b"cache-control") == ["no-store"] for answer in answers)
    assert guard.outcomes == ["granted", "order.not_owner"] * 2
    assert guard.records[-1].facts == {"order": 7}


def test_made_outside_of_any_request_it_is_an_exception_and_no_more() -> None:
    """Outside of a request the exception has a status, a text and facts, and no headers."""
    denied = AccessDenied(NOT_OWNER, order=5)

    assert (denied.status_code, denied.detail, denied.reason, denied.facts) == (
        403,
        "Not allowed",
        NOT_OWNER,
        {"order": 5},
    )
    assert denied.headers is not None
    assert dict(denied.headers) == {}


@pytest.mark.parametrize("odd", [None, "order.not_owner", 403, Exception(), type(NOT_OWNER)])
def test_an_invalid_reason_raises(odd: Any) -> None:
    """An argument that is not a ``Reason`` raises a ``TypeError`` and denies nothing."""
    with pytest.raises(ConfigurationError, match=r"^reason: .* is not a Reason; write Reason\("):
        AccessDenied(odd)


# --- What is answered ------------------------------------------------------------------------------------------------


async def test_a_401_has_a_line_for_each_scheme_of_the_guard() -> None:
    """A 401 has one challenge for each scheme, in the guard's order. Only that of the scheme that was tried has an
    error."""
    guard = RecordingGuard(Badge(), PlainBadge("pass"))

    answer = await guard.request(denying(Reason("session.over", 401, "invalid_token")))

    assert answer.status == 401
    assert answer.lines(b"www-authenticate") == ['Badge realm="tests", error="invalid_token"', 'Pass realm="tests"']


async def test_a_401_names_only_the_schemes_that_the_route_accepts() -> None:
    """A 401 of an endpoint has no challenge of schemes that the rule does not accept."""
    guard = RecordingGuard(Badge(), PlainBadge("pass"), rules=[Rule("/", via("badge"))])

    answer = await guard.request(denying(NO_SESSION))

    assert answer.lines(b"www-authenticate") == ['Badge realm="tests"']
    assert (guard.records[-1].requirement, guard.records[-1].rule) == ("via(badge)", "/")


async def test_a_403_after_a_scheme_that_explains_nothing_has_no_challenge() -> None:
    """A 403 has no challenge if the scheme, like Basic, cannot explain it."""
    answer = await RecordingGuard(PlainBadge("pass")).request(denying(), field="Pass alice")

    assert (answer.status, answer.lines(b"www-authenticate")) == (403, [])


async def test_no_subject_is_recorded_where_nobody_was_authenticated() -> None:
    """On a public route the credentials were not verified, so the record has no subject."""
    guard = RecordingGuard(rules=PUBLIC_RULES)

    answer = await guard.request(denying())

    (record,) = guard.records
    assert (answer.status, answer.lines(b"www-authenticate")) == (403, [])
    assert (record.subject, record.subject_proven, record.scheme, record.requirement) == (None, False, None, "PUBLIC")
    assert guard.badge.presented == []


async def test_head_gets_no_body() -> None:
    """The response to HEAD has no body, and the content length of the response to GET."""
    guard = RecordingGuard()

    get = await guard.request(denying())
    head = await guard.request(denying(), method="HEAD")

    assert (head.status, head.body, head.headers) == (403, b"", get.headers)


async def test_an_outage_of_the_endpoint_has_retry_after() -> None:
    """The fact ``retry_after`` of an endpoint's 503 is sent as ``Retry-After``."""
    answer = await RecordingGuard().request(denying(Reason("ledger.closed", 503), retry_after=90))

    assert (answer.status, answer.lines(b"retry-after")) == (503, ["90"])


async def test_render_makes_the_body() -> None:
    """``render`` makes the body, as for the guard's own denials, and cannot change the status or the challenges."""
    guard = RecordingGuard(
        render=lambda request, denied: ("text/plain", f"{request.path} {denied.reason.code}".encode())
    )

    answer = await guard.request(denying())

    assert (answer.status, answer.body, answer.lines(b"content-type")) == (403, b"/ order.not_owner", ["text/plain"])
    assert len(answer.lines(b"www-authenticate")) == 1


@pytest.mark.parametrize("error", [LookupError, lambda: AccessDenied(NO_SESSION)])
async def test_render_that_fails_changes_nothing(error: Callable[[], Exception]) -> None:
    """If ``render`` raises, the stock body is sent. An ``AccessDenied`` made inside it denies nothing."""

    def render(request: AuthRequest, denied: Denied) -> tuple[str, bytes]:
        raise error()

    guard = RecordingGuard(render=render)

    answer = await guard.request(denying())

    assert (answer.status, answer.lines(b"content-type")) == (403, ["application/problem+json"])
    assert guard.denial_reasons == ["order.not_owner"]


async def test_an_answer_that_cannot_be_made_is_an_outage() -> None:
    """If the scheme fails to make a challenge, the response is a 503, and never the response of the app."""

    class Mute(Badge):
        def challenges(self, request: AuthRequest, why: Denied | None) -> Any:
            raise LookupError

    guard = RecordingGuard(Mute())

    answer = await guard.request(denying(NO_SESSION))

    assert (answer.status, guard.denial_reasons) == (503, ["backend.failed"])


async def test_the_headers_of_the_scheme_are_sent_with_the_denial() -> None:
    """The headers of the scheme that accepted are sent once with the denial."""
    answer = await RecordingGuard(InfoBadge()).request(denying())

    assert answer.lines(b"x-info") == ["from badge"]


@pytest.mark.parametrize("name", ["reason", "self", "status", "cls", "event", "subject", "passage", "denied"])
async def test_a_fact_may_have_any_name(name: str) -> None:
    """A fact with the name of a record's own field does not shadow that field."""
    guard = RecordingGuard()

    answer = await guard.request(denying(NOT_OWNER, **{name: "forged"}))

    record = guard.records[-1]
    assert (answer.status, record.facts) == (403, {name: "forged"})
    assert (record.reason, record.subject, record.extra()["authguard.reason"]) == (
        "order.not_owner",
        "alice",
        "order.not_owner",
    )
    assert record.extra()["authguard.event"] == "denied"


async def test_huge_facts_are_clipped() -> None:
    """A huge fact is clipped in the record, and one without a text is recorded by its type."""

    class Odd:
        def __str__(self) -> str:
            raise LookupError

    guard = RecordingGuard()

    await guard.request(denying(NOT_OWNER, text="x" * 100_000, many=["y"] * 100_000, odd=Odd()))

    facts = guard.records[-1].facts
    assert len(repr(facts)) < 1000
    assert facts["odd"] == "Odd"


# --- Which denial holds, and for how long ----------------------------------------------------------------------------


async def test_the_first_of_two_denials_counts() -> None:
    """A second ``AccessDenied`` gets the reason, the status and the headers of the first, and there is one record."""
    instances: list[AccessDenied] = []

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        instances.extend([denial(), AccessDenied(NO_SESSION)])
        raise instances[1]

    guard = RecordingGuard()

    answer = await guard.request(function_app(act))

    assert (answer.status, guard.denial_reasons) == (403, ["order.not_owner"])
    assert [(one.status_code, one.reason, one.facts) for one in instances] == [(403, NOT_OWNER, {"order": 5})] * 2
    assert instances[0].headers == instances[1].headers


async def test_the_exception_has_the_headers_of_the_answer() -> None:
    """The exception has the headers of the response, one for each challenge, for a framework that makes its own
    body."""
    instances: list[AccessDenied] = []

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        instances.append(AccessDenied(NO_SESSION))
        raise instances[0]

    guard = RecordingGuard(Badge(), PlainBadge("pass"))
    await guard.request(function_app(act))

    response = PlainTextResponse("", headers=instances[0].headers)
    names = [name for name, _ in response.raw_headers]
    assert names.count(b"www-authenticate") == 2
    assert response.headers.getlist("content-length") == ["0"]
    assert response.headers["cache-control"] == "no-store"


async def test_two_threads_at_once_make_one_denial() -> None:
    """Two denials in two threads at the same time are one response and one record."""
    barrier = threading.Barrier(2)
    instances: list[AccessDenied] = []

    def render(request: AuthRequest, denied: Denied) -> tuple[str, bytes]:
        barrier.wait(30)
        return "text/plain", denied.reason.code.encode()

    def deny(number: int) -> None:
        instances.append(AccessDenied(Reason(f"thread.n{number}", 403)))

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(2):
                tasks.start_soon(anyio.to_thread.run_sync, deny, number)

    guard = RecordingGuard(render=render)

    answer = await guard.request(function_app(act))

    assert [one.reason.code for one in instances] == guard.denial_reasons * 2
    assert ([answer.body.decode()], len(answer.sent)) == (guard.denial_reasons, 2)
