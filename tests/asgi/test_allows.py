"""``allows``: asks whether the caller meets a requirement, without denying the request."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from authguard import (
    AUTHENTICATED,
    OPTIONAL,
    PUBLIC,
    ConfigurationError,
    Requirement,
    allows,
    any_of,
    predicate,
    role,
    scopes,
    via,
)
from tests.asgi.locked_apps import WITH_EACH_RULE, BrokenRequirement
from tests.support.asgi import http_scope, run_app
from tests.support.guards import PUBLIC_RULES, RecordingGuard
from tests.support.schemes.badge import Badge, PlainBadge


def asking(*requirements: Requirement) -> ASGIApp:
    """An app that answers with the results of ``allows``."""

    async def endpoint(request: Request) -> Response:
        return JSONResponse([await allows(request, one) for one in requirements])

    return Starlette(routes=[Route("/{name}", endpoint)])


OWN = predicate("own", lambda principal, params: principal.subject == params["name"])
ASKED = [role("admin"), role("boss"), AUTHENTICATED, OPTIONAL, any_of(role("boss"), scopes("read")), OWN, via("badge")]


@WITH_EACH_RULE
async def test_it_returns_whether_the_caller_meets_a_requirement(rules: Any) -> None:
    """``allows`` verifies the caller once. A False is neither a denial nor a record."""
    guard = RecordingGuard(Badge(), PlainBadge("pass"), rules=rules)

    answer = await guard.request(asking(*ASKED), "/alice")

    assert answer.body == b"[true,false,true,true,true,true,true]"
    assert guard.outcomes == ["granted"]


@WITH_EACH_RULE
async def test_it_depends_on_the_caller(rules: Any) -> None:
    """Another caller, with another scheme, gets other results."""
    answer = await RecordingGuard(Badge(), PlainBadge("pass"), rules=rules).request(
        asking(*ASKED), "/alice", "Pass bob"
    )

    assert answer.body == b"[false,false,true,true,false,false,false]"


@pytest.mark.parametrize("rules", [PUBLIC_RULES, None])
async def test_an_anonymous_caller_meets_no_requirement(rules: Any) -> None:
    """An anonymous caller meets only OPTIONAL and PUBLIC, and is not denied."""
    guard = RecordingGuard(rules=rules or [], default=OPTIONAL)

    answer = await guard.request(asking(*ASKED), "/alice", None)

    assert answer.body == b"[false,false,false,true,false,false,false]"
    assert guard.outcomes == ["granted"]


async def test_everybody_may_do_what_is_public() -> None:
    """PUBLIC is met without verifying the credentials."""
    guard = RecordingGuard(rules=PUBLIC_RULES)

    answer = await guard.request(asking(PUBLIC), "/alice", "Badge wrong")

    assert (answer.body, guard.outcomes, guard.badge.presented) == (b"[true]", [], [])


async def test_invalid_credentials_are_denied() -> None:
    """Invalid credentials deny the request."""
    guard = RecordingGuard(rules=PUBLIC_RULES)

    answer = await guard.request(asking(role("admin")), "/alice", "Badge wrong")

    assert (answer.status, guard.outcomes) == (401, ["badge.wrong"])
    assert answer.lines(b"www-authenticate") == ['Badge realm="tests", error="invalid_token"']


@WITH_EACH_RULE
async def test_it_can_be_called_from_a_thread(rules: Any) -> None:
    """``allows`` works in a thread through ``anyio.from_thread``."""

    def endpoint(request: Request) -> Response:
        return JSONResponse([anyio.from_thread.run(allows, request, one) for one in (role("admin"), role("boss"))])

    guard = RecordingGuard(rules=rules)

    answer = await guard.request(Starlette(routes=[Route("/", endpoint)]))

    assert (answer.body, guard.outcomes) == (b"[true,false]", ["granted"])


@WITH_EACH_RULE
@pytest.mark.parametrize("odd", [via("nowhere"), BrokenRequirement("unmet")])
async def test_a_requirement_that_no_scheme_can_meet_is_an_outage(rules: Any, odd: Any) -> None:
    """A requirement that no scheme can meet is a 503: False would hide the mistake for good."""
    guard = RecordingGuard(rules=rules)

    answer = await guard.request(asking(odd), "/alice")

    assert (answer.status, guard.denial_reasons) == (503, ["backend.failed"])


@WITH_EACH_RULE
async def test_an_invalid_requirement_raises(rules: Any) -> None:
    """An argument that is not a requirement raises, and the error says so."""
    odd: Any = "admin"
    with pytest.raises(ConfigurationError, match="admin"):
        await RecordingGuard(rules=rules).request(asking(odd), "/alice")


@pytest.mark.parametrize("odd", [bool, lambda answer: answer or True, lambda answer: not answer])
async def test_without_await_it_raises(odd: Any) -> None:
    """The truth value of ``allows(...)`` without ``await`` raises, because a coroutine would be true for everybody."""

    async def endpoint(request: Request) -> Response:
        return JSONResponse(odd(allows(request, role("boss"))))

    with pytest.raises(ConfigurationError, match=r"await allows"):
        await RecordingGuard().request(Starlette(routes=[Route("/", endpoint)]))


async def test_it_works_wherever_a_coroutine_does() -> None:
    """Event loops, task groups and manual ``send`` accept the awaitable of ``allows(...)``."""

    async def endpoint(request: Request) -> Response:
        task = asyncio.ensure_future(allows(request, role("admin")))
        closed, thrown = allows(request, role("boss")), allows(request, role("boss"))
        closed.close()
        with pytest.raises(LookupError):
            thrown.throw(LookupError())
        sent = allows(request, role("boss"))
        with pytest.raises(StopIteration) as ended:
            sent.send(None)
        with pytest.raises(RuntimeError, match="already awaited"):
            sent.send(None)
        return JSONResponse([await task, ended.value.value])

    guard = RecordingGuard()

    answer = await anyio.to_thread.run_sync(
        lambda: asyncio.run(guard.request(Starlette(routes=[Route("/", endpoint)])))
    )

    assert answer.body == b"[true,false]"


async def test_without_a_guard_it_raises() -> None:
    """Without a guard ``allows`` raises, like a lock."""
    for one in (PUBLIC, OPTIONAL, role("admin")):
        with pytest.raises(ConfigurationError, match="no guard"):
            await run_app(asking(one), http_scope("/alice"))
