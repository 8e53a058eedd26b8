"""A first app, written from the documentation alone, with twelve mistakes: what each of them says, word for word.

Each test leaves out one more mistake than the one before it, as a user who fixes what the last message said. The last
app has no mistake.
"""

from __future__ import annotations

import logging
import re
import warnings
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.testclient import TestClient

from authguard import (
    AUTHENTICATED,
    PEM,
    PUBLIC,
    AuthGuardMiddleware,
    AuthRequest,
    Basic,
    Bearer,
    ConfigurationError,
    Guard,
    HtpasswdFile,
    Issuer,
    Principal,
    Rule,
    predicate,
    role,
)
from authguard.fastapi import CurrentPrincipal, install, requires
from authguard.testing import acting_as, basic_auth
from tests.support.tokens import public_pem, rsa_key

ALICE = "$2y$04$iKLVqJaaBszBvMRRbhVwcum4i830DJp5PELbkmSF90a1DaxxbKcB2"  # "a"
#: The mistakes, in the order in which their messages come.
MISTAKES = (
    "a PEM with two characters for each line feed",
    "a parameter of Express",
    "a method with a letter too few",
    "a check that is not async",
    "Depends around CurrentPrincipal",
    "requires as a decorator",
    "install and add_middleware",
    "a password in plain text",
    "a rule without the prefix of the router",
    "a check without return",
    "a predicate that raises",
    "acting_as without with",
)


async def greeted(request: AuthRequest, principal: Principal) -> Principal:
    """A check as the documentation shows it."""
    return principal


def greeted_at_once(request: AuthRequest, principal: Principal) -> Principal:
    """The same, without async."""
    return principal


async def greeted_in_vain(request: AuthRequest, principal: Principal) -> Any:
    """The same, without return."""


def owns(principal: Principal, params: Any) -> bool:
    """A predicate that asks for a parameter of another rule."""
    return bool(principal.subject == params["owner"])


def make_guard(tmp_path: Path, made: frozenset[str]) -> Guard:
    """The guard with these mistakes."""

    def one(mistake: str, wrong: Any, right: Any) -> Any:
        return wrong if mistake in made else right

    pem = public_pem(rsa_key()).decode()
    key = PEM(one("a PEM with two characters for each line feed", pem.replace("\n", "\\n"), pem))
    (tmp_path / "users").write_text(f"alice:{ALICE}\n" + one("a password in plain text", "bob:builder\n", ""))
    (tmp_path / "groups").write_text("clerk: alice\n")

    return Guard(
        Bearer(Issuer("https://login.example/", audience="shop", algorithms=["RS256"], keys=key), realm="shop"),
        Basic(HtpasswdFile(tmp_path / "users", groups=tmp_path / "groups"), realm="shop"),
        rules=[
            Rule("/health", PUBLIC),
            Rule(one("a parameter of Express", "/api/orders/:id", "/api/orders/{id}"), AUTHENTICATED),
            Rule("/api/carts", role("clerk"), methods={one("a method with a letter too few", "DELET", "DELETE")}),
            Rule(one("a rule without the prefix of the router", "/admin/**", "/api/admin/**"), role("admin")),
            Rule(
                "/api/users/{name}", predicate("owner", one("a predicate that raises", owns, lambda who, params: True))
            ),
        ],
        checks=[
            one("a check that is not async", greeted_at_once, one("a check without return", greeted_in_vain, greeted))
        ],
    )


def make_router(made: frozenset[str]) -> APIRouter:
    """The routes with these mistakes."""
    router = APIRouter(prefix="/api")

    if "Depends around CurrentPrincipal" in made:

        @router.get("/orders/{number}")
        def wrong_order(
            number: int,
            who: Annotated[Principal, Depends(CurrentPrincipal)],  # pyright: ignore[reportArgumentType]
        ) -> str:
            return who.subject

    @router.get("/orders/{number}")
    def order(number: int, who: CurrentPrincipal) -> str:
        return who.subject

    if "requires as a decorator" in made:

        @router.delete("/carts")
        @requires(role("clerk"))  # type: ignore[untyped-decorator]
        def wrong_carts() -> None: ...

    @router.delete("/carts", dependencies=[requires(role("clerk"))])
    def carts() -> None: ...

    @router.get("/admin/users")
    def users() -> None: ...

    @router.get("/users/{name}")
    def user(name: str) -> str:
        return name

    return router


def make_app(guard: Guard, made: frozenset[str]) -> FastAPI:
    """The app with these mistakes."""
    app = FastAPI()

    @app.get("/health")
    def health() -> str:
        return "ok"

    app.include_router(make_router(made))
    install(app, guard)
    if "install and add_middleware" in made:
        app.add_middleware(AuthGuardMiddleware, guard=guard)
    return app


def use(tmp_path: Path, made: frozenset[str]) -> None:
    """Start the app, ask it for what alice may have, and let somebody act in a test."""
    guard = make_guard(tmp_path, made)
    with TestClient(make_app(guard, made)) as client:
        for path in ("/health", "/api/orders/5", "/api/users/alice"):
            client.get(path, headers=basic_auth("alice", "a"))
        if "acting_as without with" in made:
            acting_as(guard, Principal("bob"))


SAID = [
    (
        "keys: this PEM has \\n as two characters in place of line feeds, as environment files keep them; write "
        'PEM(text.replace("\\\\n", "\\n"))'
    ),
    "pattern: '/api/orders/:id': :id is not a parameter here; write {id}",
    "methods: 'DELET' is not a registered method; write 'DELETE'",
    "checks: greeted_at_once (tests/test_first_app.py:LINE) is not async; write async def check(request, principal)",
    "Depends: CurrentPrincipal is a type that holds its own Depends: write who: CurrentPrincipal, without Depends(...)",
    (
        "requires: authguard.fastapi.requires is a dependency and no decorator: write dependencies=[requires(...)], or "
        "Annotated[Principal, requires(...)] as a parameter; the decorator for Starlette is "
        "authguard.starlette.requires"
    ),
    (
        "guard: this guard is in front of the app twice, so each request would be decided and recorded twice; use "
        "install(app, guard) or add_middleware(AuthGuardMiddleware, ...), and not both"
    ),
    (
        "WARNING USERS: nobody can log in by line 2: it is plain text; make a hash with htpasswd -B, or read it with "
        'LibpassHasher(allow={"plaintext"})'
    ),
    (
        "WARNING rule.unmet /admin/**: it matches no route, and the nearest is /api/admin/users (FILE:LINE). Write "
        "/api/admin/**: a rule names the whole path, with every prefix."
    ),
    (
        "ERROR denied backend.failed: GET /api/orders/5 503 basic "
        'problem="greeted_in_vain (tests/test_first_app.py:LINE) returned None; return the principal, or '
        'Rejected(reason)" error=authguard.errors.WrongAnswer'
    ),
    (
        "ERROR denied check.failed: GET /api/users/alice 403 basic alice requirement=check(owner) missing=[owner] "
        'offered=[clerk] raised=KeyError problem="owns (tests/test_first_app.py:LINE) raised KeyError at '
        'tests/test_first_app.py:LINE"'
    ),
    "RuntimeWarning: acting_as(guard, principal) was never entered: write with acting_as(guard, principal):",
]


def _first_message(tmp_path: Path, made: frozenset[str], caplog: pytest.LogCaptureFixture) -> str | None:
    """The first thing that the app says with these mistakes: an error, or what it logs or warns of."""
    caplog.clear()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            use(tmp_path, made)
        except ConfigurationError as error:
            return str(error)
    found = [f"{one.levelname} {one.getMessage()}" for one in caplog.records if one.levelno >= logging.WARNING]
    found += [f"{one.category.__name__}: {one.message}" for one in warned if one.category is RuntimeWarning]
    return found[0] if found else None


def _comparable(text: str, tmp_path: Path) -> str:
    text = text.replace(str(tmp_path / "users"), "USERS").replace(__file__, "FILE")
    return re.sub(r"((?:FILE|test_first_app\.py)):\d+", r"\1:LINE", text)


@pytest.mark.parametrize("step", range(len(MISTAKES) + 1))
def test_each_mistake_says_what_is_wrong_and_what_to_write(
    step: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """N02, N03, N06, N10, N15: the first message is about the first mistake that is left; without any there is none."""
    message = _first_message(tmp_path, frozenset(MISTAKES[step:]), caplog)

    assert (message and _comparable(message, tmp_path)) == (SAID[step] if step < len(SAID) else None)
