"""Locks of ``authguard.starlette.requires``, and the status of an endpoint behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from authguard import role
from authguard.starlette import requires
from tests.support.asgi import header_list, http_scope, run_app
from tests.support.guards import PUBLIC_RULES, RecordingGuard

Lock: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]
BOSS: Lock = requires(role("boss"))
ADMIN: Lock = requires(role("admin"))
FINE = PlainTextResponse("fine")


async def status(endpoint: Any, method: str = "GET") -> int:
    """The status for alice, whose role is admin, with every rule open."""
    app = Starlette(routes=[Route("/", endpoint)])
    return (
        await run_app(
            RecordingGuard(rules=PUBLIC_RULES).wrap(app), http_scope(method=method, headers=header_list("Badge alice"))
        )
    ).status
