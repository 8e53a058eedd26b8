"""The migration pages are true: their programs run, and answer each request as the tables say."""

from __future__ import annotations

import asyncio
import base64
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi_users.authentication import JWTStrategy
from fastapi_users.password import PasswordHelper
from starlette.applications import Starlette
from starlette.authentication import requires as starlettes_requires
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from authguard import AUTHENTICATED, PUBLIC, AuthGuardMiddleware, Guard, Rule, Scheme, via
from authguard.fastapi import install
from authguard.starlette import assert_closed, audit
from tests.docs.pages import SECRET, RequestParts, Row, answer, each_row, programs, rows, run_program, token
from tests.examples.callers import hash_of
from tests.support.markdown import DOCS
from tests.support.tokens import public_pem, rsa_key

STARLETTE, FASTAPI, FLASK, USERS = (
    "from-starlette",
    "from-fastapi-security",
    "from-flask-httpauth",
    "from-fastapi-users",
)
PASSWORDS = {"alice": "correct horse", "bob": "looking glass", "prometheus": "fire, stolen"}
UMLAUT = "gestohlenes Feür"
EXPIRED = 1_700_000_000
BY_BROWSER = ("Sec-Fetch-Site", "cross-site")


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", SECRET)
    monkeypatch.setenv("ISSUER_PUBLIC_KEY", public_pem(rsa_key()).decode())
    for variable, name in (("ALICE_HASH", "alice"), ("BOB_HASH", "bob"), ("METRICS_HASH", "prometheus")):
        monkeypatch.setenv(variable, hash_of(PASSWORDS[name]))


def password(name: str, word: str | None = None, scheme: str = "Basic") -> tuple[str, str]:
    """A field with this name and its password, or another one."""
    pair = f"{name}:{PASSWORDS[name] if word is None else word}"
    return "Authorization", f"{scheme} {base64.b64encode(pair.encode()).decode()}"


# --- Starlette -------------------------------------------------------------------------------------------------------


def to_starlette(what: str) -> RequestParts:
    """The requests of the Starlette page."""
    good = token(rsa_key(), "RS256")
    expired = token(rsa_key(), "RS256", exp=EXPIRED)
    return {
        "no credentials": RequestParts(),
        "a valid token": RequestParts([good]),
        "an admin's token": RequestParts([token(rsa_key(), "RS256", roles=["admin"])]),
        "an expired token": RequestParts([expired]),
        "a password": RequestParts([password("alice")]),
        "two tokens, the first valid": RequestParts([good, expired]),
    }[what]


@pytest.mark.block("from-starlette.md")
@each_row(STARLETTE)
def test_starlettes_middleware_and_ours(row: Row) -> None:
    """Starlette's middleware and authguard answer each row of the page as its table says."""
    before, after = (run_program(STARLETTE, program) for program in programs(STARLETTE))

    sent = to_starlette(row.what)
    assert (answer(before.app, row, sent), answer(after.app, row, sent)) == (row.before, row.after)


def test_starlette_puts_the_text_of_the_exception_into_the_answer() -> None:
    """Starlette sends the text of PyJWT's exception to the client. The guard sends a sentence of the status or the
    reason."""
    before, after = (run_program(STARLETTE, program) for program in programs(STARLETTE))
    name, value = token(rsa_key(), "RS256", aud="else")

    bodies = [TestClient(program.app).get("/orders", headers={name: value}).text for program in (before, after)]

    assert bodies[0] == "Audience doesn't match"
    assert "udience" not in bodies[1]


async def _shown(request: Request) -> JSONResponse:
    return JSONResponse({"user": request.user.display_name})


def test_starlettes_requires_holds_behind_the_guard() -> None:
    """Step 4: ``authenticated`` is a scope, a role has its prefix, and a scope of that name is no role."""
    guard = run_program(STARLETTE, programs(STARLETTE)[1]).guard
    routes = [
        Route("/known", starlettes_requires("authenticated")(_shown)),
        Route("/admin", starlettes_requires("role:admin")(_shown)),
    ]
    client = TestClient(Starlette(routes=routes, middleware=[Middleware(AuthGuardMiddleware, guard=guard)]))
    callers = [
        dict([token(rsa_key(), "RS256", **claims)])
        for claims in ({}, {"roles": ["admin"]}, {"scope": "admin role:admin"})
    ]

    statuses = [[client.get(path, headers=who).status_code for path in ("/known", "/admin")] for who in callers]

    assert statuses == [[200, 403], [200, 200], [200, 403]]


# --- FastAPI ---------------------------------------------------------------------------------------------------------


def to_fastapi(what: str) -> RequestParts:
    """The requests of the FastAPI page."""
    good = token()
    return {
        "no credentials": RequestParts(),
        "a valid token": RequestParts([good]),
        "a writer's token": RequestParts([token(scope="orders:write")]),
        "an expired token": RequestParts([token(exp=EXPIRED)]),
        "two tokens, the first valid": RequestParts([good, token(exp=EXPIRED)]),
        "a password": RequestParts([password("prometheus")]),
        "a password with an umlaut": RequestParts([password("prometheus", UMLAUT)]),
        "with broken JSON, no credentials": RequestParts([("Content-Type", "application/json")], b"{"),
    }[what]


@pytest.mark.block("from-fastapi-security.md")
@each_row(FASTAPI)
def test_fastapis_utilities_and_ours(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """FastAPI's security classes and authguard answer each row of the page as its table says."""
    if row.what.endswith("umlaut"):
        monkeypatch.setenv("METRICS_HASH", hash_of(UMLAUT))
    before, after = (run_program(FASTAPI, program) for program in programs(FASTAPI))

    sent = to_fastapi(row.what)
    assert (answer(before.app, row, sent), answer(after.app, row, sent)) == (row.before, row.after)


def test_the_openapi_document_describes_each_route() -> None:
    """The document has schemes and scopes for protected routes, and nothing for public ones."""
    before, after = (run_program(FASTAPI, program).app.openapi()["paths"] for program in programs(FASTAPI))

    asked = [("/orders", "post"), ("/metrics", "get"), ("/reports", "get"), ("/health", "get")]
    assert [before[path][method].get("security") for path, method in asked] == [
        [{"OAuth2PasswordBearer": ["orders:write"]}],
        [{"HTTPBasic": []}],
        None,
        None,
    ]
    assert [after[path][method].get("security") for path, method in asked] == [
        [{"bearer": ["orders:write"]}],
        [{"basic": []}],
        [{"bearer": []}],
        [],
    ]


# --- Flask-HTTPAuth --------------------------------------------------------------------------------------------------


def to_flask(what: str) -> RequestParts:
    """The requests of the Flask page. Bob is any user, and Alice is the admin."""
    name, value = good = token(sub="bob")
    return {
        "no credentials": RequestParts(),
        "a valid token": RequestParts([good]),
        "a valid token under `bearer`": RequestParts([(name, value.replace("Bearer", "bearer"))]),
        "an expired token": RequestParts([token(exp=EXPIRED)]),
        "two tokens, the first valid": RequestParts([good, token(exp=EXPIRED)]),
        "a password": RequestParts([password("bob")]),
        "a wrong password": RequestParts([password("bob", "x")]),
        "a password under the word `Frob`": RequestParts([password("bob", scheme="Frob")]),
        "an admin's password": RequestParts([password("alice")]),
        "a password from another site's page": RequestParts([password("bob"), BY_BROWSER]),
    }[what]


@pytest.mark.block("from-flask-httpauth.md")
@each_row(FLASK)
def test_flask_httpauth_and_ours(row: Row) -> None:
    """Flask-HTTPAuth and authguard answer each row of the page as its table says."""
    before, after = (run_program(FLASK, program) for program in programs(FLASK))

    sent = to_flask(row.what)
    assert (answer(before.app, row, sent), answer(after.app, row, sent)) == (row.before, row.after)


def test_guessing_is_throttled_unlike_in_flask_httpauth() -> None:
    """The eleventh wrong password is a 429 with a wait. Flask-HTTPAuth answers 401 each time."""
    before, after = (run_program(FLASK, program) for program in programs(FLASK))
    guess = Row("GET", "/orders", "", "", "")

    answers = [
        [answer(program.app, guess, RequestParts([password("bob", str(number))])) for number in range(11)]
        for program in (before, after)
    ]

    assert {one[:5] for one in answers[0]} == {"`401`"}
    assert [one[:5] for one in answers[1]] == ["`401`"] * 10 + ["`429`"]


# --- fastapi-users ---------------------------------------------------------------------------------------------------


@cache
def _argon2(password: str) -> str:
    return PasswordHelper().hash(password)


class Shop:
    """The users of an app with fastapi-users, and their tokens."""

    def __init__(self, users: ModuleType) -> None:
        self.users = users
        self.manager = users.Manager(users.users)
        self.reset: list[str] = []
        self.manager.on_after_forgot_password = self._forgotten
        self.alice = self.add("alice", is_superuser=True)
        self.bob = self.add("bob")
        self.gone = self.add("gone")
        self.idle = self.add("idle", is_active=False)

    def add(self, name: str, **flags: bool) -> Any:
        made = {"email": f"{name}@shop.example", "hashed_password": _argon2(PASSWORDS.get(name, name)), **flags}
        return asyncio.run(self.users.users.create(made))

    async def _forgotten(self, user: Any, token: str, request: Any = None) -> None:
        self.reset.append(token)

    def bearer(self, user: Any, lifetime: int | None = 600) -> tuple[str, str]:
        """A token as the app's login makes it."""
        strategy = JWTStrategy[Any, Any](SECRET, lifetime_seconds=lifetime)
        return "Authorization", f"Bearer {asyncio.run(strategy.write_token(user))}"

    def sent(self, what: str) -> RequestParts:
        """The requests of the page."""
        if what == "a token to reset a password":
            asyncio.run(self.manager.forgot_password(self.bob))
        form = f"username={self.bob.email}&password={PASSWORDS['bob']}".replace(" ", "+").encode()
        return {
            "no credentials": RequestParts(),
            "a valid token": RequestParts([self.bearer(self.bob)]),
            "a superuser's token": RequestParts([self.bearer(self.alice)]),
            "an expired token": RequestParts([self.bearer(self.bob, -600)]),
            "a token without `exp`": RequestParts([self.bearer(self.bob, None)]),
            "a token to reset a password": RequestParts([("Authorization", f"Bearer {token}") for token in self.reset]),
            "the token of an inactive user": RequestParts([self.bearer(self.idle)]),
            "the token of a deleted user": RequestParts([self.bearer(self.gone)]),
            "two tokens, the first valid": RequestParts([self.bearer(self.bob), self.bearer(self.alice)]),
            "a name and a password in the form": RequestParts(
                [("Content-Type", "application/x-www-form-urlencoded")], form
            ),
        }[what]


@pytest.fixture(name="shop")
def _shop(monkeypatch: pytest.MonkeyPatch) -> Shop:
    module = run_program(USERS, programs(USERS)[0], "users")
    monkeypatch.setitem(sys.modules, "users", module)
    return Shop(module)


@pytest.mark.block("from-fastapi-users.md")
@each_row(USERS)
def test_fastapi_users_and_ours(shop: Shop, row: Row) -> None:
    """With tokens of JWTStrategy, fastapi-users and authguard answer each row of the page as its table says."""
    before, after = (run_program(USERS, program) for program in programs(USERS)[1:3])
    sent = shop.sent(row.what)
    del shop.users.users.rows[shop.gone.id]

    assert (answer(before.app, row, sent), answer(after.app, row, sent)) == (row.before, row.after)


def test_the_check_loads_the_user(shop: Shop) -> None:
    """The check loads the user from the table of fastapi-users."""
    apps = [run_program(USERS, program).app for program in programs(USERS)[1:3]]

    bodies = [TestClient(app).get("/orders", headers=dict([shop.bearer(shop.bob)])).json() for app in apps]

    assert bodies == [{"orders of": "bob@shop.example"}] * 2


def test_passwords_are_looked_up_in_its_table(shop: Shop) -> None:
    """The Argon2 hashes of fastapi-users are verified, and inactive users are rejected."""
    guard = run_program(USERS, programs(USERS)[3]).guard
    client = TestClient(AuthGuardMiddleware(Starlette(routes=[Route("/", _shown)]), guard=guard))

    known = client.get("/", auth=("bob@shop.example", PASSWORDS["bob"]))
    others = [client.get("/", auth=pair) for pair in (("bob@shop.example", "x"), ("idle@shop.example", "idle"))]

    assert shop.bob.hashed_password.startswith("$argon2id$")
    assert known.json() == {"user": str(shop.bob.id)}
    assert [other.status_code for other in others] == [401, 401]


# --- Every page ------------------------------------------------------------------------------------------------------

SENT: Mapping[str, Callable[[str], RequestParts]] = {STARLETTE: to_starlette, FASTAPI: to_fastapi}


def opened(app: Any, schemes: Sequence[Scheme]) -> Any:
    """The app of "Before" after the first step, and its guard."""
    guard = Guard(*schemes, rules=[Rule("/**", PUBLIC)])
    if isinstance(app, FastAPI):
        install(app, guard)
    else:
        app.add_middleware(AuthGuardMiddleware, guard=guard)
    return app, guard


@pytest.mark.parametrize(("page", "row"), [(page, row) for page in SENT for row in rows(page)], ids=str)
def test_the_first_step_changes_no_response(page: str, row: Row) -> None:
    """A guard with every path PUBLIC changes no response of the app."""
    before, after = (run_program(page, program) for program in programs(page))

    app, _ = opened(before.app, after.guard.schemes)

    assert answer(app, row, SENT[page](row.what)) == row.before


@each_row(USERS)
def test_the_first_step_changes_no_response_of_fastapi_users(shop: Shop, row: Row) -> None:
    """A guard with every path PUBLIC changes no response of an app with fastapi-users."""
    before, after = (run_program(USERS, program) for program in programs(USERS)[1:3])
    sent = shop.sent(row.what)
    del shop.users.users.rows[shop.gone.id]

    app, _ = opened(before.app, after.guard.schemes)

    assert answer(app, row, sent) == row.before


@pytest.mark.parametrize("page", [STARLETTE, FASTAPI])
def test_the_audit_lists_the_routes_without_a_rule(page: str) -> None:
    """The finding ``open.wide /**`` lists every route that has no rule of its own yet."""
    before, after = (run_program(page, program) for program in programs(page))

    told = [str(one) for one in audit(*opened(before.app, after.guard.schemes)).findings]

    (waiting,) = (one for one in told if one.startswith("open.wide /**"))
    assert "GET /health" in waiting
    assert "GET /orders" in waiting


@pytest.mark.parametrize("page", [STARLETTE, FASTAPI, FLASK, USERS])
def test_the_last_step_holds(shop: Shop, page: str) -> None:
    """The test at the end of the page passes for its program, and fails without the list of public paths."""
    after = run_program(page, programs(page)[-1 if page != USERS else 2])
    text = " ".join((DOCS / f"{page}.md").read_text(encoding="utf-8").split())
    (called,) = re.findall(r"`(assert_closed\(.+?\))`", text)
    (rest,) = set(re.findall(r'`(Rule\("/\*\*", (?!PUBLIC).+?)`', text))
    closing = eval(rest, {"Rule": Rule, "AUTHENTICATED": AUTHENTICATED, "via": via})
    given = {"assert_closed": assert_closed, "app": after.app, "guard": after.guard}

    eval(called, given)

    assert closing in after.guard.table.rules
    with pytest.raises(AssertionError):
        assert_closed(after.app, after.guard)


def test_every_page_is_tried() -> None:
    """Each migration page has rows, a test above, and a link in the index."""
    pages = {page.stem for page in DOCS.glob("from-*.md")}
    index = (DOCS / "index.md").read_text(encoding="utf-8")

    assert pages == {STARLETTE, FASTAPI, FLASK, USERS}
    assert [page for page in pages if not rows(page) or f"({page}.md)" not in index] == []
