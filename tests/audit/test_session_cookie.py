"""The findings about the session that the scheme ``Session`` rides on: where it is, and how safe its cookie is."""

from __future__ import annotations

import functools
import logging
from typing import Any, cast

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from authguard import AUTHENTICATED, AuthGuardMiddleware, Guard, Rule, Session
from authguard.audit.audit import audit
from tests.support.schemes.badge import Badge

GOOD: dict[str, Any] = {"secret_key": "x", "https_only": True}


class Memory:
    """A middleware of the app that keeps sessions itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["session"] = {}
        await self.app(scope, receive, send)


async def page(request: Request) -> PlainTextResponse:
    """An endpoint."""
    return PlainTextResponse("in")


def guarded(*outside: Middleware, inside: tuple[Middleware, ...] = (), scheme: Any = None) -> tuple[Starlette, Guard]:
    """An app behind a guard with a session, and between these middleware."""
    guard = Guard(scheme or Session(realm="shop"), rules=[Rule("/**", AUTHENTICATED)])
    own = Middleware(AuthGuardMiddleware, guard=guard)
    return Starlette(routes=[Route("/", page)], middleware=[*outside, own, *inside]), guard


def findings(app: Any, guard: Guard) -> list[str]:
    """The findings about sessions."""
    return [str(finding) for finding in audit(app, guard).findings if finding.code.startswith("session.")]


@pytest.mark.parametrize("starts", [False, True])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, []),
        ({"max_age": None}, []),
        ({"max_age": 1800}, []),
        ({"max_age": 1799}, ["max_age=1799 is shorter than idle=1800"]),
        ({"https_only": False}, ["plain HTTP"]),
        ({"same_site": "none"}, ["same_site is none"]),
        ({"domain": "shop.example"}, ["domain is given"]),
        ({"session_cookie": "sid"}, ["Session(cookie='session') names another"]),
        ({"https_only": False, "same_site": "none"}, ["plain HTTP", "same_site is none"]),
    ],
)
def test_the_options_of_the_cookie_are_judged(options: dict[str, Any], expected: list[str], starts: bool) -> None:
    """Each problem is a finding with its fix, whether the app has started or not."""
    app, guard = guarded(Middleware(SessionMiddleware, **{**GOOD, **options}))
    if starts:
        with TestClient(app):
            pass

    found = findings(app, guard)

    assert len(found) == len(expected)
    assert all(text in finding for text, finding in zip(expected, found, strict=True))


def test_a_middleware_that_a_partial_makes_is_judged() -> None:
    """Its options count as if they stood in the list."""
    app, guard = guarded(Middleware(functools.partial(SessionMiddleware, secret_key="x", https_only=False)))

    assert len(findings(app, guard)) == 1


@pytest.mark.parametrize("outside", [(), (Middleware(GZipMiddleware),)])
def test_a_session_that_is_missing_is_a_finding(outside: tuple[Middleware, ...]) -> None:
    """Every request would be a 503."""
    (found,) = findings(*guarded(*outside))

    assert found.startswith("session.absent session: no SessionMiddleware is outside of it, so every request is a 503")


def test_a_session_inside_of_the_guard_is_a_finding() -> None:
    """The usual mistake: the middleware that is added last is the outermost."""
    (found,) = findings(*guarded(inside=(Middleware(SessionMiddleware, **GOOD),)))

    assert found.startswith("session.absent session: SessionMiddleware is inside of the guard")


@pytest.mark.parametrize(
    "app",
    [
        guarded(Middleware(Memory)),
        guarded(scheme=Badge()),
        guarded(Middleware(cast("Any", SessionMiddleware), https_only=True)),
    ],
    ids=["a middleware of its own", "no scheme needs one", "it cannot be made"],
)
def test_what_cannot_be_known_is_no_finding_about_options(app: tuple[Starlette, Guard]) -> None:
    """A middleware that is not Starlette's may have a session, and one that cannot be made stops the app itself."""
    assert [finding for finding in findings(*app) if "session.cookie" in finding] == []


def test_a_guard_on_a_mounted_app_has_the_session_of_the_app_around_it() -> None:
    """The routes beside the mount have no guard, and need no session."""
    shop, guard = guarded()
    routes = [Route("/health", page), Mount("/shop", shop)]

    assert findings(Starlette(routes=routes, middleware=[Middleware(SessionMiddleware, **GOOD)]), guard) == []
    assert len(findings(Starlette(routes=routes), guard)) == 1


def test_the_start_warns_of_it(caplog: pytest.LogCaptureFixture) -> None:
    """A WARNING names what is wrong with the cookie, when the app starts."""
    app, _ = guarded(Middleware(SessionMiddleware, secret_key="x"))

    with caplog.at_level(logging.WARNING, "authguard"), TestClient(app):
        pass

    assert ["session.cookie session: it is sent over plain HTTP" in text for text in caplog.messages] == [True]


def test_the_start_knows_that_a_session_may_come_from_further_out(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever wraps the whole app in the middleware is not warned."""
    app, _ = guarded()

    with caplog.at_level(logging.WARNING, "authguard"), TestClient(SessionMiddleware(app, **GOOD)):
        pass

    assert caplog.messages == []


def test_the_start_warns_of_a_session_inside_of_the_guard(caplog: pytest.LogCaptureFixture) -> None:
    """This is sure, wherever the app stands."""
    app, _ = guarded(inside=(Middleware(SessionMiddleware, **GOOD),))

    with caplog.at_level(logging.WARNING, "authguard"), TestClient(app):
        pass

    assert ["session.absent" in text for text in caplog.messages] == [True]
