"""The FastAPI integration as users type it. Type checkers read this file, and pytest does not run it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, assert_type

from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, WebSocket
from starlette.requests import Request

from authguard import (
    AUTHENTICATED,
    OPTIONAL,
    AccessDenied,
    AuthRequest,
    Basic,
    Denied,
    Guard,
    MemoryUsers,
    Principal,
    Reason,
    Rule,
    allows,
    any_role,
    role,
    scopes,
)
from authguard.fastapi import CurrentPrincipal, MaybePrincipal, docs, install, requires

STAFF = role("staff")
Cashier = Annotated[Principal, requires(role("cashier"))]
Anybody = Annotated[Principal | None, requires(OPTIONAL)]


def body(request: AuthRequest, denied: Denied) -> tuple[str, bytes]:
    """A ``render`` function."""
    return "text/plain", denied.reason.detail.encode()


app = FastAPI(dependencies=[requires(AUTHENTICATED)])
assert_type(docs(app), list[Rule])
guard = Guard(Basic(MemoryUsers([]), realm="shop"), rules=[*docs(app), *docs(app, role("staff"))], default=OPTIONAL)
install(app, guard)
install(app, guard, preflight="pass", origins=["https://a.example"], render=body, strict=True, ignore=["open.unsafe"])

inner = APIRouter(dependencies=[requires(any_role("a", "b"))])
outer = APIRouter()
outer.include_router(inner, dependencies=[requires(scopes("read"))])
app.include_router(outer)


async def session(who: CurrentPrincipal) -> AsyncIterator[str]:
    """A dependency that knows the caller."""
    assert_type(who, Principal)
    yield who.subject


@app.get("/one", dependencies=[requires(role("boss"))])
def one(who: CurrentPrincipal, maybe: MaybePrincipal, cashier: Cashier, anybody: Anybody) -> str:
    """The types of the parameters."""
    assert_type(who, Principal)
    assert_type(maybe, Principal | None)
    assert_type(cashier, Principal)
    assert_type(anybody, Principal | None)
    return who.subject


@app.get("/two")
async def two(request: Request, tasks: BackgroundTasks, who: Principal = requires(STAFF)) -> str:  # noqa: B008
    """A default value, as FastAPI was written before ``Annotated``."""
    tasks.add_task(print, who.subject)
    if not await allows(request, role("editor")):
        raise AccessDenied(Reason("order.not_yours", 403), order=5)
    return who.subject


@app.websocket("/live")
async def live(websocket: WebSocket, who: CurrentPrincipal, name: Annotated[str, Depends(session)]) -> None:
    """A WebSocket endpoint."""
    await websocket.close()
