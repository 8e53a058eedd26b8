"""Below a mount Starlette parses the path again. The result must be the path that the rules were matched with."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from authguard import PUBLIC, AuthGuardMiddleware, Bearer, Guard, Issuer, Rule, Secret, role
from tests.support.asgi import Exchange, http_scope, run_app

GUARD = Guard(
    Bearer(Issuer("i", audience="a", algorithms=["HS256"], keys=Secret(bytes(range(64)))), realm="r"),
    rules=[Rule("/a/{x}/secret", role("one")), Rule("/a/**", PUBLIC), Rule("/open", PUBLIC)],
    log=False,
)


async def secret(request: Request) -> PlainTextResponse:
    """A response for one role only."""
    return PlainTextResponse("SECRET")


def mounted() -> Starlette:
    """A mount whose router has a pattern for two segments."""
    return Starlette(routes=[Mount("/a", routes=[Route("/{x}/secret", secret)]), Route("/open", secret)])


def included() -> FastAPI:
    """The same mount, in a router that FastAPI keeps as one route."""
    inner, router, app = Starlette(routes=[Route("/{x}/secret", secret)]), APIRouter(), FastAPI()
    router.mount("/a", inner)
    app.include_router(router)
    return app


async def ask(app: Any, path: str, root_path: str) -> Exchange:
    """One request through the guard."""
    return await run_app(AuthGuardMiddleware(app, guard=GUARD), http_scope(path, root_path=root_path))


@pytest.mark.parametrize("app", [mounted, included])
@pytest.mark.parametrize("root_path", ["", "/api", "/", "/a", "/x"])
@pytest.mark.parametrize("path", ["/a/secret", "/a/b/secret", "/api/a/secret", "/api/a/b/secret", "/a/a/b/secret"])
async def test_no_root_path_opens_what_a_mount_holds(app: Any, root_path: str, path: str) -> None:
    """However the router inside the mount parses the path, the role is required or the path is refused."""
    answer = await ask(app(), path, root_path)

    assert b"SECRET" not in answer.body


@pytest.mark.parametrize("path", ["/open", "/api/open"])
async def test_without_mounts_a_proxy_may_take_the_prefix_off(path: str) -> None:
    """Without mounts, paths with and without the root path reach the route, and the rules apply to both."""
    app = Starlette(routes=[Route("/open", secret)])

    assert (await ask(app, path, "/api")).status == 200


@pytest.mark.parametrize(("path", "status"), [("/open", 200), ("/api/open", 200), ("/a/b", 400), ("/api/a/b", 404)])
async def test_outside_the_root_path_only_what_is_mounted_is_refused(path: str, status: int) -> None:
    """Outside of the root path only mounted routes are refused with 400, because their router would parse another
    path."""
    assert (await ask(mounted(), path, "/api")).status == status


async def test_a_mount_that_takes_nothing_off_the_path_is_read_once() -> None:
    """A mount at the root parses the path that the guard saw."""
    app = Starlette(routes=[Mount("/", routes=[Route("/open", secret)])])

    assert (await ask(app, "/open", "/api")).status == 200
