"""Step-up authentication (RFC 9470) with rules, decorators and dependencies, for JWTs and introspection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from authguard import (
    AuthGuardMiddleware,
    Bearer,
    Guard,
    Principal,
    Requirement,
    Rule,
    all_of,
    allows,
    any_of,
    role,
    scopes,
    step_up,
)
from authguard import fastapi as on_fastapi
from authguard import starlette as on_starlette
from authguard.testing import assert_denied, recording
from tests.support.clock import NOW
from tests.support.schemes.bearer import issuer
from tests.support.schemes.introspection import OPAQUE_TOKEN, IntrospectionServer, active_response, introspection
from tests.support.tokens import mint

GOLD = step_up(acr=["gold", "silver"], max_age=300)
STALE = 'error="insufficient_user_authentication"'
Face = Callable[[Requirement], tuple[ASGIApp, Guard]]


def guarded(server: IntrospectionServer | None = None, **options: Any) -> Guard:
    """A guard that accepts JWTs, and opaque tokens of this server."""
    return Guard(Bearer(issuer(), introspection(server), realm="orders"), clock=lambda: NOW, **options)


async def _pay(request: Request) -> PlainTextResponse:
    return PlainTextResponse("paid")


def by_rule(asked: Requirement) -> tuple[ASGIApp, Guard]:
    """An app whose rule has the requirement."""
    guard = guarded(rules=[Rule("/pay", asked)])
    return Starlette(routes=[Route("/pay", _pay)], middleware=[Middleware(AuthGuardMiddleware, guard=guard)]), guard


def by_default(asked: Requirement) -> tuple[ASGIApp, Guard]:
    """An app whose default is the requirement."""
    guard = guarded(default=asked)
    return Starlette(routes=[Route("/pay", _pay)], middleware=[Middleware(AuthGuardMiddleware, guard=guard)]), guard


def by_decorator(asked: Requirement) -> tuple[ASGIApp, Guard]:
    """An app with a decorator on a Starlette endpoint."""
    guard, locked = guarded(), on_starlette.requires(asked)(_pay)
    return Starlette(routes=[Route("/pay", locked)], middleware=[Middleware(AuthGuardMiddleware, guard=guard)]), guard


def by_dependency(asked: Requirement) -> tuple[ASGIApp, Guard]:
    """An app with a parameter of a FastAPI route."""
    guard, app = guarded(), FastAPI()
    on_fastapi.install(app, guard)

    def pay(who: Principal) -> str:
        return who.subject

    pay.__annotations__["who"] = Annotated[Principal, on_fastapi.requires(asked)]
    app.get("/pay")(pay)
    return app, guard


def by_route(asked: Requirement) -> tuple[ASGIApp, Guard]:
    """An app with a dependency of a FastAPI route."""
    guard, app = guarded(), FastAPI()
    on_fastapi.install(app, guard)
    app.get("/pay", dependencies=[on_fastapi.requires(asked)])(lambda: "paid")
    return app, guard


FACES = [by_rule, by_default, by_decorator, by_dependency, by_route]


def get(app: ASGIApp, token: str | None) -> Any:
    """The response of the app to this token."""
    return TestClient(app).get("/pay", headers={} if token is None else {"Authorization": f"Bearer {token}"})


def login_claims(**changes: Any) -> str:
    """The claims of a login a minute ago, of the stronger class."""
    return mint(**{"acr": "gold", "auth_time": NOW - 60, **changes})


@pytest.mark.parametrize("face", FACES)
def test_a_login_that_is_strong_and_fresh_passes(face: Face) -> None:
    """A recent login of any of the named classes passes."""
    app, _ = face(GOLD)

    assert [get(app, login_claims(acr=acr)).status_code for acr in ("gold", "silver")] == [200, 200]


@pytest.mark.parametrize(
    ("changes", "params"),
    [
        ({"acr": "bronze"}, 'acr_values="gold silver"'),
        ({"acr": ...}, 'acr_values="gold silver"'),
        ({"acr": ["gold"]}, 'acr_values="gold silver"'),
        ({"auth_time": NOW - 361}, 'max_age="300"'),
        ({"auth_time": ...}, 'max_age="300"'),
        ({"auth_time": str(NOW)}, 'max_age="300"'),
        ({"auth_time": NOW + 61}, 'max_age="300"'),
        ({"acr": "bronze", "auth_time": NOW - 361}, 'acr_values="gold silver", max_age="300"'),
    ],
    ids=str,
)
@pytest.mark.parametrize("face", FACES)
@pytest.mark.rfc("9470-1")
def test_a_login_that_does_not_suffice_gets_the_challenge(face: Face, changes: dict[str, Any], params: str) -> None:
    """9470-1, 9470-2: a 401 with the challenge of section 3, which names only what is missing."""
    app, guard = face(GOLD)

    with recording(guard):
        answer = get(app, login_claims(**changes))
        assert_denied(answer, 401, reason="step_up.required")

    assert answer.headers["www-authenticate"] == f'Bearer realm="orders", {STALE}, {params}'


@pytest.mark.parametrize("face", FACES)
@pytest.mark.rfc("9470-2")
def test_the_age_of_a_login_is_taken_under_the_leeway(face: Face) -> None:
    """The leeway applies to ``auth_time``, which another clock stamped: up to 360 s ago, and up to 60 s in the
    future."""
    app, _ = face(GOLD)
    ages = [NOW - 359, NOW - 360, NOW + 60, NOW + 60.5]

    assert [get(app, login_claims(auth_time=at)).status_code for at in ages] == [200, 401, 200, 401]


@pytest.mark.parametrize("face", FACES)
@pytest.mark.rfc("9470-1")
def test_the_scopes_are_in_the_same_challenge(face: Face) -> None:
    """RFC 9470 section 3: the challenge names the scopes too, so that the client logs in once for everything."""
    app, _ = face(all_of(scopes("write"), GOLD))

    answer = get(app, login_claims(acr="bronze"))

    assert answer.headers["www-authenticate"] == (
        f'Bearer realm="orders", {STALE}, acr_values="gold silver", scope="write"'
    )


@pytest.mark.parametrize("face", FACES)
def test_a_missing_scope_comes_before_a_step_up(face: Face) -> None:
    """A missing scope is a 403, however old the login is, because another login would not help."""
    app, _ = face(all_of(scopes("delete"), GOLD))

    answer = get(app, login_claims(acr="bronze"))

    assert (answer.status_code, answer.headers["www-authenticate"]) == (
        403,
        'Bearer realm="orders", error="insufficient_scope", scope="delete"',
    )


@pytest.mark.parametrize("face", FACES)
def test_an_anonymous_request_gets_a_plain_challenge(face: Face) -> None:
    """6750-6: without a token the challenge has no error."""
    app, _ = face(GOLD)

    answer = get(app, None)

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="orders"')


@pytest.mark.parametrize("face", FACES)
@pytest.mark.rfc("9470-2")
def test_an_opaque_token_steps_up_by_its_introspection(face: Face) -> None:
    """RFC 9470 section 6.2: ``acr`` and ``auth_time`` are members of the introspection answer."""
    app, guard = face(GOLD)
    scheme: Any = guard.schemes[0]
    statuses = []

    for members in ({"acr": "gold", "auth_time": NOW - 60}, {"acr": "bronze", "auth_time": NOW}, {"acr": "gold"}):
        scheme.replace(introspection(IntrospectionServer(active_response(**members))))
        statuses.append(get(app, OPAQUE_TOKEN).status_code)

    assert statuses == [200, 401, 401]


def test_a_stronger_login_may_stand_for_a_role() -> None:
    """In ``any_of`` with a role, the step-up is what the challenge asks for, because logging in cannot give a role."""
    app, _ = by_rule(any_of(role("root"), GOLD))

    assert get(app, login_claims()).status_code == 200
    assert STALE in get(app, login_claims(acr="bronze")).headers["www-authenticate"]


def test_code_that_branches_denies_nobody() -> None:
    """``allows`` is False for a login that is too weak, and the request is granted."""

    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse("all" if await allows(request, GOLD) else "some")

    guard = guarded()
    app = Starlette(routes=[Route("/pay", page)], middleware=[Middleware(AuthGuardMiddleware, guard=guard)])

    assert [get(app, login_claims(acr=acr)).text for acr in ("gold", "bronze")] == ["all", "some"]
