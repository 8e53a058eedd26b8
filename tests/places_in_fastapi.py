"""Everywhere that an app of FastAPI's can make an ``AccessDenied``, beside the others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from fastapi import Depends, FastAPI
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from tests.behind import denial
from tests.places import PLACES, place

__all__ = ["PLACES"]


@place
def a_fastapi_endpoint() -> ASGIApp:
    app = FastAPI()

    @app.get("/")
    async def orders() -> None:
        raise denial()

    return app


@place
def a_fastapi_endpoint_in_a_thread() -> ASGIApp:
    app = FastAPI()

    @app.get("/")
    def orders() -> None:
        raise denial()

    return app


@place
def a_mounted_fastapi() -> ASGIApp:
    app = FastAPI()
    app.mount("/", a_fastapi_endpoint())
    return app


@place
def a_dependency() -> ASGIApp:
    app = FastAPI()

    def owner() -> None:
        raise denial()

    @app.get("/", dependencies=[Depends(owner)])
    def orders() -> str:
        return "LEAK"

    return app


@place
def a_dependency_that_swallows_it() -> ASGIApp:
    app = FastAPI()

    def owner() -> None:
        try:
            raise denial()
        except HTTPException:
            return

    @app.get("/", dependencies=[Depends(owner)])
    def orders() -> str:
        return "LEAK"

    return app


@place
def a_yielding_dependency_that_swallows_it() -> ASGIApp:
    app = FastAPI()

    def session() -> Iterator[None]:
        try:
            yield
        except HTTPException:
            return

    @app.get("/", dependencies=[Depends(session)])
    def orders() -> str:
        raise denial()

    return app


@place
def a_yielding_dependency_that_translates_it() -> ASGIApp:
    app = FastAPI()

    async def session() -> AsyncIterator[None]:
        try:
            yield
        except HTTPException as error:
            raise HTTPException(500, "LEAK") from error

    @app.get("/", dependencies=[Depends(session)])
    def orders() -> str:
        raise denial()

    return app
