"""Uses of FastAPI behind a guard, and what they result in: the same with every release of FastAPI.

python -m tests.fastapi.uses    prints the release and its results as JSON
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Annotated, Any

import fastapi
from fastapi import APIRouter, BackgroundTasks, FastAPI, WebSocket
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from authguard import OPTIONAL, PUBLIC, AccessDenied, Principal, Rule, role, scopes, via
from authguard.fastapi import CurrentPrincipal, audit, install, requires
from tests.fastapi.routes import NOT_YOURS, Staff, behind_open_rules, locked_routes, own_denials, yielding
from tests.fastapi.users import guarded, password, statuses


def in_the_background() -> object:
    """A background task runs with the principal after the answer; a denial in it changes nothing."""
    app, subjects = FastAPI(), list[str]()
    install(app, guarded())

    def later(who: Principal) -> None:
        subjects.append(who.subject)
        raise AccessDenied(NOT_YOURS)

    @app.get("/")
    async def start(who: Staff, tasks: BackgroundTasks) -> str:
        tasks.add_task(later, who)
        return "started"

    return [statuses(app, "/"), subjects]


def over_websockets() -> object:
    """Locks on WebSocket routes and routers; a denial is an HTTP status before the handshake, and a close after it."""
    app, router = FastAPI(), APIRouter(prefix="/far", dependencies=[requires(role("staff"))])
    install(app, guarded())

    @app.websocket("/mine")
    async def mine(websocket: WebSocket, who: CurrentPrincipal) -> None:
        await websocket.accept()
        await websocket.send_text(who.subject)
        await websocket.close()

    @router.websocket("/boss")
    async def boss(websocket: WebSocket, who: Annotated[Principal, requires(role("boss"))]) -> None:
        await mine(websocket, who)

    @router.websocket("/late")
    async def late(websocket: WebSocket, who: CurrentPrincipal) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        raise AccessDenied(NOT_YOURS)

    app.include_router(router)
    client = TestClient(app)

    def messages(path: str, who: str) -> object:
        received: list[str] = []
        try:
            with client.websocket_connect(path, headers=password(who)) as socket:
                while True:
                    received.append(socket.receive_text())
        except WebSocketDenialResponse as denied:
            return [denied.status_code]
        except WebSocketDisconnect as closed:
            return [*received, closed.code]

    return {
        path: [messages(path, who) for who in ("", "bob", "alice", "carol")]
        for path in ("/mine", "/far/boss", "/far/late")
    }


def mounted() -> object:
    """A mounted app has its own guard and its own document. Its guard takes over the principal of the outer guard."""
    app, sub = FastAPI(), FastAPI()
    install(app, guarded([Rule("/sub/open/**", PUBLIC)]))
    install(sub, guarded([Rule("/boss", role("boss"))]))

    @app.get("/")
    def root(who: Staff) -> None: ...

    @sub.get("/boss")
    def boss() -> None: ...

    @sub.get("/open/staff")
    def staff(who: Staff) -> str:
        return who.subject

    app.mount("/sub", sub)
    paths = ("/sub/boss", "/sub/open/staff", "/sub/open/nothing")
    return [{path: statuses(app, path) for path in paths}, list(app.openapi()["paths"]), _security(sub.openapi())]


def _security(document: dict[str, Any]) -> dict[str, object]:
    return {
        f"{method} {path}": [operation["security"], sorted(operation["responses"])]
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def documented() -> object:
    """The alternatives and responses of each operation, from rules and from locks on routes, routers and the app."""
    app, inner, outer = FastAPI(), APIRouter(dependencies=[requires(scopes("read"))]), APIRouter(prefix="/far")
    install(app, guarded([Rule("/health", PUBLIC), Rule("/news", OPTIONAL), Rule("/tokens/**", via("bearer"))]))

    @app.get("/health")
    def health() -> None: ...

    @app.get("/news", responses={401: {"description": "Mine"}})
    def news() -> None: ...

    @app.post("/news")
    def post(who: Staff) -> None: ...

    @app.get("/tokens/{rest:path}")
    def tokens() -> None: ...

    @app.get("/hidden", include_in_schema=False)
    def hidden() -> None: ...

    @inner.get("/orders/{number:int}")
    def orders(number: int) -> None: ...

    outer.include_router(inner)
    app.include_router(outer, dependencies=[requires(via("basic"))])
    app.include_router(inner)
    document = app.openapi()
    assert app.openapi() is document
    return [
        _security(document),
        document["components"]["securitySchemes"],
        document["paths"]["/news"]["get"]["responses"]["401"],
    ]


def audited() -> object:
    """The audit finds each route with its locks, through nested routers and mounts."""
    app, sub = FastAPI(openapi_url=None), FastAPI(openapi_url=None)
    inner, outer = APIRouter(prefix="/inner"), APIRouter(prefix="/outer")
    guard = guarded([Rule("/open", PUBLIC)])
    install(app, guard)

    @app.get("/open")
    @inner.post("/{number:int}")
    def anybody() -> None: ...

    @inner.websocket("/live")
    async def live(websocket: WebSocket, who: Staff) -> None: ...

    @sub.get("/below", dependencies=[requires(role("boss"))])
    def below() -> None: ...

    outer.include_router(inner, dependencies=[requires(role("staff"))])
    app.include_router(outer, prefix="/far", dependencies=[requires(via("basic"))])
    app.mount("/sub", sub)
    return {row.about: sorted({str(lock.requirement) for lock in row.locks}) for row in audit(app, guard).rows}


USES: dict[str, Callable[[], object]] = {
    use.__name__: use
    for use in (
        locked_routes,
        behind_open_rules,
        yielding,
        own_denials,
        in_the_background,
        over_websockets,
        mounted,
        documented,
        audited,
    )
}

if __name__ == "__main__":
    json.dump([fastapi.__version__, {name: use() for name, use in USES.items()}], sys.stdout)
