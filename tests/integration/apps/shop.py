"""A FastAPI shop with everything that OpenAPI can document, and Swagger UI without a network."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from pydantic import BaseModel
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from authguard import OPTIONAL, PUBLIC, AccessDenied, Basic, Guard, Principal, Reason, Rule, role, scopes, via
from authguard.fastapi import CurrentPrincipal, MaybePrincipal, docs, install, requires
from tests.fastapi.users import DirectoryVerifier
from tests.integration.apps.common import bearer, clock

logging.basicConfig()

NOT_YOURS = Reason("order.not_yours", 403)


class Order(BaseModel):
    item: str
    count: int = 1


app = FastAPI(title="shop", docs_url=None, redoc_url=None)
rules = [
    *docs(app),
    Rule("/swagger/**", PUBLIC),
    Rule("/health", PUBLIC),
    Rule("/open/**", PUBLIC),
    Rule("/news/**", OPTIONAL),
    Rule("/news/{number}", OPTIONAL, methods={"GET"}),
    Rule("/news/{number}", role("staff"), methods={"PUT"}),
    Rule("/orders/{number:int}", role("staff")),
    Rule("/tokens", via("bearer")),
    Rule("/passwords", via("basic")),
]
guard = Guard(bearer(), Basic(DirectoryVerifier(), realm="orders"), rules=rules, clock=clock)
install(app, guard)


@app.get("/health")
def health() -> str:
    """Public by a rule."""
    return "up"


@app.get("/mine")
def mine(who: CurrentPrincipal) -> dict[str, str]:
    """Protected by the default."""
    return {"of": who.subject}


@app.get("/tokens")
@app.get("/passwords")
def proved(who: CurrentPrincipal) -> str:
    """For one scheme each."""
    return str(who.scheme)


@app.get("/news/{number}")
@app.put("/news/{number}")
def news(number: int, who: MaybePrincipal) -> str | None:
    """One method for all, and one for the staff."""
    return None if who is None else who.subject


@app.get("/open/{name}")
def by_name(name: str, who: MaybePrincipal) -> str | None:
    """Behind PUBLIC, with a lock that anonymous callers meet too."""
    return None if who is None else name


@app.post("/open/orders")
def post_open(order: Order, who: Annotated[Principal, requires(scopes("write"))]) -> Order:
    """Behind PUBLIC, with a lock."""
    return order


inner = APIRouter(prefix="/inner", dependencies=[requires(role("staff"))])
outer = APIRouter(prefix="/outer")


@app.post("/orders", responses={403: {"description": "Not yours"}})
def post(order: Order, who: CurrentPrincipal) -> Order:
    """A change, which is denied for cross-site requests, and by an ``AccessDenied`` of its own."""
    if order.count > 5:
        raise AccessDenied(NOT_YOURS, count=order.count)
    return order


@app.get("/orders/{number}")
def order_of(number: str) -> str:
    """For the staff, with a number as its parameter."""
    return number


@inner.delete("/orders/{rest:path}", dependencies=[requires(role("boss"))])
def delete(rest: str) -> str:
    """With locks on the router and on the route."""
    return rest


outer.include_router(inner)
app.include_router(outer)


@app.get("/swagger", include_in_schema=False)
def swagger() -> HTMLResponse:
    """Swagger UI, from local files."""
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="shop",
        swagger_js_url="/swagger/files/swagger-ui-bundle.js",
        swagger_css_url="/swagger/files/swagger-ui.css",
        swagger_favicon_url="/swagger/files/favicon.png",
    )


_offline = find_spec("fastapi_offline")
assert _offline is not None
assert _offline.origin is not None
app.mount("/swagger/files", StaticFiles(directory=Path(_offline.origin).parent / "static"))
