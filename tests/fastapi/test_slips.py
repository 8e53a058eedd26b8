"""Slips of those who know FastAPI: each is an error that says what to write, or the right thing is done (N15)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.testclient import TestClient

from authguard import OPTIONAL, AuthGuardMiddleware, ConfigurationError, Principal, Rule, role
from authguard import starlette as on_starlette
from authguard.fastapi import CurrentPrincipal, MaybePrincipal, install, requires
from tests.fastapi.users import guarded, token

STAFF = role("staff")
CURRENT: Any = CurrentPrincipal
MAYBE: Any = MaybePrincipal


def _get(dependency: Any) -> None:
    """Adds a route with a dependency as the default of a parameter."""

    def endpoint(who: Any = dependency) -> None: ...

    FastAPI().get("/")(endpoint)


def _get_annotated(kind: Any) -> None:
    """Adds a route with an annotated parameter."""

    def endpoint(who: Any) -> None: ...

    endpoint.__annotations__["who"] = kind
    FastAPI().get("/")(endpoint)


def _of_router(dependency: Any) -> None:
    """Adds a route of a router with a dependency."""
    router = APIRouter(dependencies=[dependency])
    router.get("/")(lambda: None)
    FastAPI().include_router(router)


def _of_route(dependency: Any) -> None:
    """Adds a route with a dependency that has no parameter."""
    FastAPI().get("/", dependencies=[dependency])(lambda: None)


OWN_DEPENDS = r"^Depends: {0} is a type that holds its own Depends: write who: {0}, without Depends\(...\)"
TWICE = r"^requires: it is a Depends already: write requires\(...\) without Depends\(...\) around it"
NO_DECORATOR = r"^requires: authguard.fastapi.requires is a dependency and no decorator: write dependencies=\[requires"
NO_DEPENDENCY = r"^requires: authguard.starlette.requires is a decorator and no dependency: on FastAPI write from auth"

SLIPS: list[tuple[Callable[[], object], str]] = [
    (lambda: _get(Depends(CURRENT)), OWN_DEPENDS.format("CurrentPrincipal")),
    (lambda: _get(Depends(MAYBE)), OWN_DEPENDS.format("MaybePrincipal")),
    (lambda: _get_annotated(Annotated[Principal, Depends(CURRENT)]), OWN_DEPENDS.format("CurrentPrincipal")),
    (lambda: _of_route(Depends(CURRENT)), OWN_DEPENDS.format("CurrentPrincipal")),
    (lambda: _get(Depends(requires(STAFF))), TWICE),
    (lambda: _get_annotated(Annotated[Principal, Depends(requires(STAFF))]), TWICE),
    (lambda: _of_route(Depends(requires(STAFF))), TWICE),
    (lambda: requires(STAFF)(lambda: None), NO_DECORATOR),
    (lambda: _of_route(on_starlette.requires(STAFF)), NO_DEPENDENCY),
    (lambda: _of_router(on_starlette.requires(STAFF)), NO_DEPENDENCY),
    (lambda: _get(Depends(on_starlette.requires(STAFF))), NO_DEPENDENCY),
    (lambda: _get_annotated(Annotated[str, on_starlette.requires(STAFF)]), NO_DEPENDENCY),
]


@pytest.mark.parametrize(("slip", "problem"), SLIPS)
def test_a_slip_raises_when_the_route_is_added(slip: Callable[[], object], problem: str) -> None:
    """N15: it was a 422, an AssertionError, a TypeError, or silence."""
    with pytest.raises(ConfigurationError, match=problem):
        slip()


def test_the_types_are_annotations_still() -> None:
    """What makes the error changes nothing for those who write them as they are meant."""
    assert inspect.signature(CURRENT).parameters.keys() == {"who"}
    assert CurrentPrincipal == Annotated[Principal, *CurrentPrincipal.__metadata__]  # type: ignore[attr-defined]


# --- twice in front of the app ----------------------------------------------------------------------------------------

TWICE_IN_FRONT = r"^guard: this guard is in front of the app twice"


def test_install_and_add_middleware_raise_when_the_app_starts() -> None:
    """N15: each request would be decided and recorded twice."""
    app, guard = FastAPI(), guarded()
    install(app, guard)
    app.add_middleware(AuthGuardMiddleware, guard=guard)

    with pytest.raises(ConfigurationError, match=TWICE_IN_FRONT), TestClient(app):
        pass


def test_install_inside_a_middleware_of_the_same_guard_raises() -> None:
    """N15: the app may be wrapped by hand."""
    app, guard = FastAPI(), guarded()
    install(app, guard)

    with pytest.raises(ConfigurationError, match=TWICE_IN_FRONT):
        AuthGuardMiddleware(app, guard=guard)


# --- an anonymous user ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["subject", "roles", "scopes", "claims", "expires_at", "scheme"])
def test_an_anonymous_user_says_what_to_ask_first(name: str) -> None:
    """N15: the error of an endpoint that reads the subject on OPTIONAL names the fix."""
    app = FastAPI()
    install(app, guarded([Rule("/", OPTIONAL)]))

    @app.get("/")
    def endpoint(request: Request) -> object:
        return getattr(request.user, name)

    with pytest.raises(
        AttributeError, match=rf"no attribute '{name}': this request is anonymous, .* ask request.user.is"
    ):
        TestClient(app).get("/")


def test_an_anonymous_user_has_no_other_attribute() -> None:
    """The error is that of Python, and ``getattr`` with a default works."""
    app = FastAPI()
    install(app, guarded([Rule("/", OPTIONAL)]))

    @app.get("/")
    def endpoint(request: Request) -> object:
        with pytest.raises(AttributeError, match=r"has no attribute 'email'$"):
            request.user.email  # noqa: B018
        return getattr(request.user, "subject", "nobody")

    assert TestClient(app).get("/").json() == "nobody"


# --- overrides and documents ------------------------------------------------------------------------------------------

OVERRIDES: list[Callable[[FastAPI], Any]] = [
    lambda app: app.dependency_overrides.__setitem__(CURRENT, lambda: Principal("alice")),
    lambda app: app.dependency_overrides.update({MAYBE: lambda: None}),
    lambda app: app.dependency_overrides.setdefault(requires(STAFF), lambda: None),
]


@pytest.mark.parametrize("override", OVERRIDES)
def test_an_override_that_has_no_effect_raises(override: Callable[[FastAPI], object]) -> None:
    """N15: FastAPI finds no such key, so the test would be denied by the rules."""
    app = FastAPI()
    install(app, guarded())

    with pytest.raises(ConfigurationError, match=r"^dependency_overrides: .* write with acting_as\(guard, Principal"):
        override(app)

    assert app.dependency_overrides == {}


def database() -> str:
    """A dependency of the app."""
    return "real"


def test_other_overrides_stay() -> None:
    """Those that were there before ``install``, and those of the app's own functions."""

    app = FastAPI()
    app.dependency_overrides[database] = lambda: "fake"
    install(app, guarded([Rule("/", OPTIONAL)]))
    app.dependency_overrides.update({len: len})
    app.dependency_overrides.setdefault(max, max)

    @app.get("/")
    def endpoint(found: Annotated[str, Depends(database)]) -> str:
        return found

    assert TestClient(app).get("/").json() == "fake"
    assert list(app.dependency_overrides) == [database, len, max]


def _security(document: dict[str, Any]) -> object:
    return document["paths"]["/orders"]["get"].get("security")


def test_a_document_function_set_after_install_shows_the_security() -> None:
    """N15: FastAPI's own manual sets ``app.openapi`` so, and it would drop the security of all operations."""
    app = FastAPI()
    install(app, guarded())

    @app.get("/orders")
    def orders() -> None: ...

    def custom() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = get_openapi(title="Shop", version="1", routes=app.routes)
        return app.openapi_schema

    app.openapi = custom  # type: ignore[method-assign]

    with TestClient(app) as client:
        document = client.get("/openapi.json", headers=token("bob")).json()

    assert document["info"]["title"] == "Shop"
    assert _security(document) == [{"bearer": []}, {"basic": []}]
    assert _security(app.openapi()) == _security(document)
