"""Pages of a server with a login form, a session that times out, a log-out, and no token against cross-site requests.

SESSION_SECRET="$(authguard secret)" ALICE_HASH="$(authguard hash)" uvicorn examples.login_form:app

The browser must reach it over HTTPS, or at 127.0.0.1 with INSECURE_COOKIE=1.
"""

from __future__ import annotations

import logging
import os
from html import escape

import anyio.to_thread
from fastapi import FastAPI, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.middleware.sessions import SessionMiddleware

from authguard import (
    PUBLIC,
    Account,
    Guard,
    LibpassHasher,
    MemoryRevocations,
    MemoryUsers,
    Principal,
    Rule,
    Session,
    step_up,
)
from authguard.accounts import Verdict
from authguard.fastapi import CurrentPrincipal, install

logging.basicConfig()
logging.getLogger("authguard").setLevel(os.environ.get("LOG_LEVEL", "NOTSET"))

hasher = LibpassHasher()
users = MemoryUsers([Account("alice", os.environ["ALICE_HASH"], roles={"customer"})], hasher=hasher)
# For several processes, a store that all of them share: a copy of a cookie is good after the log-out otherwise.
revocations = MemoryRevocations()
sessions = Session(
    realm="shop", cookie="shop", idle=30 * 60, absolute=8 * 3600, login_url="/login", revocations=revocations
)
guard = Guard(
    sessions,
    rules=[
        Rule("/login", PUBLIC, methods={"GET", "POST"}),
        # An old session may read. Money needs a login of the last five minutes, plus the leeway.
        Rule("/pay", step_up(max_age=300)),
    ],
)

app = FastAPI(title="shop")
install(app, guard)
# Below install, so that it is outside of the guard. Over HTTPS, name the cookie __Host-shop, here and above.
app.add_middleware(
    SessionMiddleware,
    secret_key=os.environ["SESSION_SECRET"],
    session_cookie="shop",
    https_only=os.environ.get("INSECURE_COOKIE") != "1",
    max_age=8 * 3600,
)


def page(text: str, *forms: str) -> HTMLResponse:
    """A page with a text and forms. The forms need no hidden token: the guard asks which site has sent them."""
    return HTMLResponse(f"<!doctype html><title>shop</title><p>{escape(text)}</p>{''.join(forms)}")


LOGIN = '<form method="post"><input name="name"><input name="password" type="password"><button>Log in</button></form>'
ORDER = '<form method="post" action="/orders"><input name="item" value="tea"><button>Order</button></form>'
LOGOUT = '<form method="post" action="/logout"><button>Log out</button></form>'


@app.get("/login")
def form() -> HTMLResponse:
    """The login page. Its form goes to the same address, so ``next`` stays in it."""
    return page("Please log in", LOGIN)


@app.post("/login")
async def log_in(request: Request, name: str = Form(), password: str = Form()) -> Response:
    """A name that nobody has takes as long as a wrong password. A real shop also limits how often one may guess."""
    account = await users.find(name)
    stored = users.sample()[0] if account is None else account.password_hash
    verdict = await anyio.to_thread.run_sync(hasher.verify, password, stored)
    if account is None or verdict is not Verdict.MATCH:
        return page("Wrong name or password", LOGIN)
    await sessions.login(request, Principal(account.subject, roles=account.roles))
    return RedirectResponse(sessions.next_path(request.query_params.get("next")), 303)


@app.post("/logout")
async def log_out(request: Request) -> RedirectResponse:
    """The cookie is deleted, and every copy of it is refused."""
    await sessions.logout(request)
    return RedirectResponse("/login", 303)


@app.get("/")
def home(principal: CurrentPrincipal) -> HTMLResponse:
    """The first page after the login, unless the browser wanted another one."""
    return page(f"Welcome {principal.subject}", ORDER, LOGOUT)


@app.get("/orders")
def orders(principal: CurrentPrincipal) -> HTMLResponse:
    """A page of the user's own: no cache stores it, and the back button does not show it after the log-out."""
    return page(f"Orders of {principal.subject}", ORDER, LOGOUT)


@app.post("/orders")
def order(principal: CurrentPrincipal, item: str = Form()) -> HTMLResponse:
    """Refused if another site has made the browser send it."""
    return page(f"{principal.subject} orders {item}", LOGOUT)


@app.get("/pay")
def pay(principal: CurrentPrincipal) -> HTMLResponse:
    """A browser whose login is too old is sent to the login page, and comes back."""
    return page(f"{principal.subject} pays", LOGOUT)
