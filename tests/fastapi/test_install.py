"""What ``install``, ``docs`` and ``requires`` do with an app, and which arguments they refuse."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.requests import HTTPConnection

from authguard import PUBLIC, ConfigurationError, Denied, Failure, Principal, Rule, role
from authguard.fastapi import docs, install, requires
from authguard.model import Moment
from authguard.reasons import ROLE_MISSING
from authguard.request import AuthRequest
from tests.fastapi.users import guarded, statuses

GET = frozenset({"GET"})


def test_without_fastapi_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the command that installs it."""
    monkeypatch.setitem(sys.modules, "fastapi", None)
    monkeypatch.delitem(sys.modules, "authguard.fastapi")

    with pytest.raises(ImportError, match=re.escape("pip install 'authguard[fastapi]'")):
        importlib.import_module("authguard.fastapi")


def test_fastapi_needs_no_reading_of_strings() -> None:
    """The annotations of the dependency are types, wherever FastAPI would look the names up."""
    dependency: Any = requires(role("staff")).dependency

    assert type(dependency).__call__.__annotations__ == {"connection": HTTPConnection, "return": Principal | None}


def _app(**options: Any) -> FastAPI:
    app = FastAPI(**options)

    @app.get("/orders/{number:int}")
    def order(number: int) -> int:
        return number

    @app.websocket("/live")
    async def live(websocket: WebSocket) -> None: ...

    return app


def _security(app: FastAPI) -> object:
    return app.openapi()["paths"]["/orders/{number}"]["get"].get("security")


@pytest.mark.parametrize(
    ("options", "paths"),
    [
        ({}, ["/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"]),
        ({"docs_url": None}, ["/openapi.json", "/redoc"]),
        ({"redoc_url": None, "swagger_ui_oauth2_redirect_url": None}, ["/openapi.json", "/docs"]),
        ({"openapi_url": None}, []),
        (
            {"openapi_url": "/api/schema", "docs_url": "/", "redoc_url": ""},
            ["/api/schema", "/", "/docs/oauth2-redirect"],
        ),
    ],
)
def test_docs_are_the_pages_that_the_app_has(options: dict[str, Any], paths: list[str]) -> None:
    """A page that it does not serve has no rule."""
    assert [(rule.pattern, rule.requirement, rule.methods) for rule in docs(FastAPI(**options))] == [
        (path, PUBLIC, GET) for path in paths
    ]


def test_docs_takes_a_requirement() -> None:
    """The rules are located where ``docs`` is called."""
    app = FastAPI()

    rules = docs(app, role("staff"))
    line = sys._getframe().f_lineno - 1

    install(app, guarded(rules))
    assert statuses(app, "/docs") == [401, 403, 200, 200]
    assert {rule.location for rule in rules} == {f"{__file__}:{line}"}


def test_the_pages_are_closed_unless_they_are_opened() -> None:
    """So is the OpenAPI document, which shows an attacker the whole API."""
    app = FastAPI()
    install(app, guarded())

    assert {path: statuses(app, path)[0] for path in ("/docs", "/redoc", "/openapi.json")} == {
        "/docs": 401,
        "/redoc": 401,
        "/openapi.json": 401,
    }


def test_install_and_docs_take_a_fastapi_app_only() -> None:
    """A Starlette app has neither dependencies nor a document."""
    app: Any = Starlette()

    with pytest.raises(ConfigurationError, match=r"app: .* is not a FastAPI app"):
        install(app, guarded())
    with pytest.raises(ConfigurationError, match=r"app: .* is not a FastAPI app"):
        docs(app)


@pytest.mark.parametrize(
    ("app", "problem"),
    [
        (guarded(), "this is a Guard; the app comes first: install(app, guard)"),
        (FastAPI, "FastAPI is a class; write app = FastAPI()"),
    ],
)
def test_a_mistaken_app_is_an_error_with_a_hint(app: Any, problem: str) -> None:
    """The arguments may be in the wrong order, or the class may stand in place of an app."""
    with pytest.raises(ConfigurationError, match=f"^app: {re.escape(problem)}"):
        install(app, guarded())


def test_a_guard_is_installed_once() -> None:
    """A second time is a mistake; a second guard is not."""
    app, guard = FastAPI(), guarded()
    install(app, guard)
    install(app, guarded())

    with pytest.raises(ConfigurationError, match=r"^guard: this guard is in front of the app already"):
        install(app, guard)


@pytest.mark.parametrize("options", [{"preflight": "never"}, {"origins": "*"}, {"render": 3}])
def test_a_wrong_option_is_an_error_at_once(options: dict[str, Any]) -> None:
    """Starlette makes its middleware only with the first request."""
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        install(FastAPI(), guarded(), **options)


def test_the_document_is_made_once() -> None:
    """FastAPI's own cache holds it, so that it can be changed in place. OpenAPI has no WebSockets."""
    app = _app()
    install(app, guarded())

    first = app.openapi()
    first["info"]["x-logo"] = "mine"

    assert app.openapi() is first is app.openapi_schema
    assert list(first["paths"]) == ["/orders/{number}"]
    assert _security(app) == [{"bearer": []}, {"basic": []}]


def test_a_document_set_later_is_described_too() -> None:
    """The app may set ``openapi_schema`` at any time."""
    app = _app()
    install(app, guarded())
    app.openapi()
    app.openapi_schema = {"openapi": "3.1.0", "paths": {"/orders/{number}": {"get": {}}}}

    assert _security(app) == [{"bearer": []}, {"basic": []}]


def test_a_function_set_before_is_kept() -> None:
    """It makes the document, cached or not, and the guard's part is added."""
    app, plain = _app(), {"openapi": "3.1.0", "paths": {"/orders/{number}": {"get": {}}}}
    app.openapi = lambda: plain  # type: ignore[method-assign]
    install(app, guarded())

    assert _security(app) == _security(app) == [{"bearer": []}, {"basic": []}]
    assert plain["paths"] == {"/orders/{number}": {"get": {}}}


def test_a_function_set_afterwards_wins() -> None:
    """It may call the one that ``install`` has set, or not."""
    app = _app()
    install(app, guarded())
    ours = app.openapi
    app.openapi = lambda: {**ours(), "x-mine": True}  # type: ignore[method-assign]

    assert (_security(app), app.openapi()["x-mine"]) == ([{"bearer": []}, {"basic": []}], True)


@pytest.mark.newest
def test_a_route_that_comes_later_is_described() -> None:
    """FastAPI makes the document of an app that has grown anew from 0.137 on, and ``install`` does so too."""
    app = _app()
    install(app, guarded([Rule("/later", role("staff"))]))
    before = app.openapi()

    @app.get("/later")
    def later() -> None: ...

    after = app.openapi()
    assert "/later" not in before["paths"]
    assert "403" in after["paths"]["/later"]["get"]["responses"]


def test_a_route_for_head_is_described_as_get_is() -> None:
    """The rule of GET applies to HEAD."""
    app = FastAPI()
    app.api_route("/", methods=["GET", "HEAD"], operation_id=None)(lambda: None)
    install(app, guarded([Rule("/", role("staff"), methods={"GET"})]))

    with pytest.warns(UserWarning, match="Duplicate Operation ID"):
        item = app.openapi()["paths"]["/"]

    assert sorted(item) == ["get", "head"]
    assert item["get"]["security"] == item["head"]["security"] != []
    assert item["get"]["responses"] == item["head"]["responses"]


def test_narrower_rules_for_a_part_of_a_route_are_described() -> None:
    """The operation has the alternatives and the responses of all of them."""
    app = _app()
    install(app, guarded([Rule("/orders/7", PUBLIC), Rule("/orders/**", role("staff"))]))

    assert _security(app) == [{"bearer": []}, {"basic": []}, {}]
    assert "403" in app.openapi()["paths"]["/orders/{number}"]["get"]["responses"]


def _plain(request: AuthRequest, denied: Denied) -> tuple[str, bytes]:
    return "text/plain", b"no"


def test_a_rendered_body_is_not_described() -> None:
    """Only the app knows what ``render`` writes."""
    app = _app()
    install(app, guarded(), render=_plain)

    assert "content" not in app.openapi()["paths"]["/orders/{number}"]["get"]["responses"]["401"]


@dataclass
class Named:
    """A requirement of the app. It can be compared, and has no hash."""

    name: str

    def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
        return None if principal.subject == self.name else Failure(ROLE_MISSING, missing=(self.name,))

    def schemes(self, every: frozenset[str]) -> frozenset[str]:
        return every

    def scopes_named(self) -> tuple[str, ...]:
        return ()


def test_a_requirement_without_a_hash_locks_a_route() -> None:
    """FastAPI caches the results of dependencies by their hashes."""
    app = FastAPI()
    install(app, guarded())

    @app.get("/")
    def root(
        alice: Annotated[Principal, requires(Named("alice"))], same: Annotated[Principal, requires(Named("alice"))]
    ) -> bool:
        return alice is same

    assert statuses(app, "/") == [401, 403, 200, 403]
    assert requires(Named("alice")).dependency == requires(Named("alice")).dependency
    assert requires(Named("alice")).dependency != requires(Named("bob")).dependency != "bob"
