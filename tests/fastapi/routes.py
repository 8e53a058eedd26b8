"""Uses of FastAPI, first part: routes, routers, dependencies, and endpoints that deny."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from starlette.testclient import TestClient

from authguard import OPTIONAL, PUBLIC, AccessDenied, Principal, Reason, Rule, allows, role
from authguard.fastapi import CurrentPrincipal, MaybePrincipal, docs, install, requires
from tests.fastapi.users import guarded, password, statuses, token

Staff = Annotated[Principal, requires(role("staff"))]
NOT_YOURS = Reason("order.not_yours", 403)


def locked_routes() -> object:
    """Locks as parameters and among the dependencies: of routes, of nested routers, and of the app."""
    app = FastAPI(dependencies=[Depends(_subject)])
    install(app, guarded())
    inner = APIRouter(prefix="/inner", dependencies=[requires(role("staff"))])
    outer = APIRouter(prefix="/outer")

    @app.get("/mine")
    def mine(who: CurrentPrincipal) -> str:
        return who.subject

    @app.get("/staff")
    def staff(who: Staff, same: Staff) -> bool:
        return who is same

    @app.get("/boss", dependencies=[requires(role("boss"))])
    async def boss() -> None: ...

    @inner.get("/staff")
    async def inner_staff() -> None: ...

    @inner.get("/boss/{number}")
    async def inner_boss(number: int, who: Annotated[Principal, requires(role("boss"))]) -> int:
        return number

    outer.include_router(inner)
    app.include_router(outer, prefix="/far", dependencies=[requires(role("staff"))])
    closed = APIRouter()
    closed.include_router(outer, dependencies=[requires(role("boss"))])
    app.include_router(closed, prefix="/near")
    paths = ("/mine", "/staff", "/boss", "/far/outer/inner/staff", "/far/outer/inner/boss/1", "/near/outer/inner/staff")
    return {path: statuses(app, path) for path in paths}


def _subject(who: CurrentPrincipal) -> str:
    return who.subject


def behind_open_rules() -> object:
    """Locks behind PUBLIC and OPTIONAL, where they add a requirement."""
    app = FastAPI()
    install(app, guarded([Rule("/open/**", PUBLIC), Rule("/maybe", OPTIONAL), *docs(app)]))

    @app.get("/open/to-all")
    def to_all(request: Request) -> bool:
        return bool(request.user.is_authenticated)

    @app.get("/open/maybe")
    def maybe(who: MaybePrincipal) -> str | None:
        return None if who is None else who.subject

    @app.get("/open/staff")
    async def staff(who: Staff) -> str:
        return who.subject

    @app.get("/open/allowed")
    async def allowed(request: Request) -> bool:
        return await allows(request, role("staff"))

    @app.get("/maybe")
    async def anybody(who: MaybePrincipal) -> str | None:
        return None if who is None else who.subject

    client = TestClient(app)
    alice, wrong = password("alice"), {"authorization": "Basic bm9ib2R5Og=="}
    results: dict[str, object] = {
        path: statuses(app, path) for path in ("/open/staff", "/docs", "/openapi.json", "/redoc")
    }
    for path in ("/open/to-all", "/open/maybe", "/open/allowed", "/maybe"):
        answers = [client.get(path), client.get(path, headers=alice), client.get(path, headers=wrong)]
        results[path] = [answer.json() if answer.is_success else answer.status_code for answer in answers]
    return results


async def _session(request: Request, who: CurrentPrincipal) -> AsyncIterator[str]:
    events: list[str] = request.app.state.events
    events.append(f"{who.subject} in")
    try:
        yield who.subject
    except Exception as error:
        events.append(f"{who.subject} {type(error).__name__}")
        raise
    finally:
        events.append(f"{who.subject} out")


def yielding() -> object:
    """A dependency with ``yield`` gets the principal and is cleaned up; an endpoint may still deny inside it."""
    app = FastAPI()
    install(app, guarded())

    @app.get("/fine")
    async def fine(who: Annotated[str, Depends(_session)]) -> str:
        return who

    @app.get("/denied")
    async def denied(who: Annotated[str, Depends(_session)]) -> str:
        raise AccessDenied(NOT_YOURS, order=5)

    @app.get("/locked")
    async def locked(who: Annotated[str, Depends(_session)], boss: Annotated[Principal, requires(role("boss"))]) -> str:
        return who

    results: dict[str, object] = {}
    for path in ("/fine", "/denied", "/locked"):
        app.state.events = events = list[str]()
        results[path] = [statuses(app, path), events]
    return results


def own_denials() -> object:
    """An ``AccessDenied`` of an endpoint is answered as the guard's own denials are, whatever handlers the app has."""
    app = FastAPI()
    install(app, guarded())

    @app.exception_handler(HTTPException)
    async def handler(request: Request, error: HTTPException) -> Any:
        raise RuntimeError

    @app.get("/orders/{number}")
    def order(number: int, who: CurrentPrincipal) -> int:
        if number > 5:
            raise AccessDenied(NOT_YOURS, order=number)
        return number

    client = TestClient(app)
    answer = client.get("/orders/6", headers=token("bob"))
    return [
        client.get("/orders/5", headers=token("bob")).json(),
        answer.status_code,
        answer.headers["content-type"],
        answer.json()["code"],
    ]
