"""Where the router behind the guard would read another path than the rules were held against."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route
from starlette.types import ASGIApp

from authguard import PUBLIC, AuthGuardMiddleware, Bearer, Guard, Issuer, Rule, Secret, role
from authguard.asgi.router_paths import chain
from tests.support.asgi import header_list, http_scope, run_app

SCHEME = Bearer(Issuer("i", audience="a", algorithms=["HS256"], keys=Secret(bytes(range(64)))), realm="r")
RULES = [Rule("/**", PUBLIC), Rule("/admin/**", role("admin")), Rule("/a/{x}/secret", role("one"))]


async def secret(request: Request) -> PlainTextResponse:
    """What only a role may see."""
    return PlainTextResponse("SECRET")


def inner() -> FastAPI:
    """An app with a root_path of its own, which it takes off every path."""
    app = FastAPI()
    app.root_path = "/api"  # the argument is deprecated, what it sets is not
    app.add_route("/admin", secret)
    app.add_route("/free", secret)
    return app


async def status(app: Any, path: str, root_path: str = "") -> tuple[int, bool]:
    """The answer, and whether the secret was in it."""
    guarded = AuthGuardMiddleware(app, guard=Guard(SCHEME, rules=RULES, log=False))
    answer = await run_app(guarded, http_scope(path, root_path=root_path, headers=header_list()))
    return answer.status, b"SECRET" in answer.body


APPS: dict[str, ASGIApp] = {
    "mounted at the top": Starlette(routes=[Mount("/", inner())]),
    "mounted behind a middleware": Starlette(routes=[Mount("/", GZipMiddleware(inner()))]),
    "behind a host": Starlette(routes=[Host("testserver", inner())]),
}


@pytest.mark.parametrize("name", APPS)
async def test_an_app_inside_with_a_root_path_of_its_own_has_one_spelling(name: str) -> None:
    """It would take its root_path off, and nobody else would see the path that it reads."""
    assert await status(APPS[name], "/api/admin") == (400, False)
    assert await status(APPS[name], "/admin") == (401, False)
    assert await status(APPS[name], "/free") == (200, True)
    assert await status(APPS[name], "/apis") == (404, False)


@pytest.mark.parametrize("path", ["/sub/admin", "/sub/free"])
async def test_below_a_mount_such_an_app_reads_everything_anew(path: str) -> None:
    """What it makes of a path is not what the mount left of it."""
    assert await status(Starlette(routes=[Mount("/sub", inner())]), path) == (400, False)


@pytest.mark.parametrize("wrap", [lambda app: app, GZipMiddleware, lambda app: GZipMiddleware(GZipMiddleware(app))])
async def test_a_mount_is_found_behind_middleware(wrap: Any) -> None:
    """Whatever wraps the app that it stands in."""
    app = Starlette(routes=[Mount("/a", routes=[Route("/{x}/secret", secret)])])
    for found in (
        wrap(app),
        Starlette(routes=[Mount("/", wrap(app))]),
        Starlette(routes=[Host("testserver", wrap(app))]),
    ):
        assert await status(found, "/a/secret", "/api") == (400, False)
        assert await status(found, "/a/secret") == (404, False)


async def test_what_cannot_be_seen_into_is_refused_outside_of_the_root_path() -> None:
    """A function round the app shows no routes, so what a mount would read anew is not known."""
    app = Starlette(routes=[Mount("/a", routes=[Route("/{x}/secret", secret)])])

    async def opaque(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    assert await status(opaque, "/a/secret", "/api") == (400, False)
    assert (await status(opaque, "/api/a/b/secret", "/api"))[0] == 401


def test_a_chain_of_wrappers_ends() -> None:
    """Also where each of them makes another on being asked, or where one wraps itself."""
    itself = MagicMock()
    itself.app = itself

    assert chain(itself) == [itself]
    assert len(chain(MagicMock())) == 64
    assert chain(None) == []
