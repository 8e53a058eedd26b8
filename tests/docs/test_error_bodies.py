"""The page about error bodies is true: its functions render the refusals of a guarded app, and nothing else changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.exceptions import HTTPException
from starlette.testclient import WebSocketDenialResponse

from authguard import PUBLIC, Account, Basic, Guard, MemoryUsers, Principal, Rule, role
from authguard.fastapi import install, requires
from authguard.testing import acting_as, basic_auth, recording
from tests.docs.pages import run_program
from tests.examples.callers import hash_of
from tests.support.markdown import DOCS, code_block, code_blocks

pytestmark = pytest.mark.block("error-bodies.md")

PAGE = "error-bodies"


def program(name: str) -> ModuleType:
    """The program of the page that begins with ``# NAME.py``."""
    return run_program(PAGE, code_block(f"{PAGE}.md", f"# {name}.py"), name)


def guarded(**options: Any) -> tuple[FastAPI, Guard]:
    """An app with an admin's route, a lock, a public route that fails, and a WebSocket."""
    app = FastAPI()
    rules = [Rule("/admin", role("admin")), Rule("/missing", PUBLIC), Rule("/numbers/{n}", PUBLIC)]
    guard = Guard(Basic(MemoryUsers([Account("alice", hash_of("a"))]), realm="orders"), rules=rules)
    install(app, guard, **options)

    @app.get("/admin")
    def admin() -> None: ...

    @app.get("/locked", dependencies=[requires(role("clerk"))])
    def locked() -> None: ...

    @app.get("/numbers/{n}")
    def number(n: int) -> None: ...

    @app.get("/missing")
    def missing() -> None:
        raise HTTPException(404, "there is none", {"x-why": "tested"})

    @app.websocket("/live")
    async def live(websocket: Any) -> None: ...

    return app, guard


def get(app: FastAPI, path: str = "/admin", **headers: str) -> Any:
    """The response to a GET with these headers."""
    return TestClient(app).get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


ALICE = basic_auth("alice", "a")


def test_the_default_body_is_that_of_the_page() -> None:
    """The page shows the body of a 403, key by key."""
    answer = get(guarded()[0], **ALICE)

    assert answer.json() == json.loads(code_blocks("json", DOCS / f"{PAGE}.md")[0])
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_reason_of_your_own_tells_the_client_its_sentence() -> None:
    """``public`` is the ``detail``, ``client_code`` the ``code``, and the record has the code and the facts."""
    app = program("closing").app
    guard = Guard(Basic(MemoryUsers([Account("alice", hash_of("a"))]), realm="orders"))
    install(app, guard)

    with recording(guard) as records, acting_as(guard, Principal("alice")):
        answer = TestClient(app).post("/orders/5/items")

    body = answer.json()
    assert (answer.status_code, body["detail"], body["code"]) == (403, "This order is closed", "order_closed")
    assert [(record.reason, record.facts["order"]) for record in records if record.event == "denied"] == [
        ("order.closed", 5)
    ]


@pytest.mark.parametrize(
    ("path", "headers", "error"),
    [
        ("/admin", {}, {"code": "unauthenticated", "message": "Not authenticated", "path": "/admin"}),
        ("/admin", ALICE, {"code": "forbidden", "message": "Not allowed", "path": "/admin"}),
        ("/locked", ALICE, {"code": "forbidden", "message": "Not allowed", "path": "/locked"}),
        (
            "/admin",
            {"Accept_Language": "de-AT, en"},
            {"code": "unauthenticated", "message": "Bitte anmelden", "path": "/admin"},
        ),
    ],
)
def test_the_body_of_the_company(path: str, headers: Mapping[str, str], error: Mapping[str, str]) -> None:
    """``company_error`` renders the refusals of rules and of locks, in German on demand; the headers stay."""
    plain, rendered = (
        get(app, path, **headers) for app, _ in (guarded(), guarded(render=program("bodies").company_error))
    )

    assert rendered.json() == {"error": error}
    assert rendered.status_code == plain.status_code
    kept = ("www-authenticate", "cache-control")
    assert [rendered.headers.get(name) for name in kept] == [plain.headers.get(name) for name in kept]


def test_the_handshake_is_rendered_too() -> None:
    """A refused WebSocket handshake has the body of the company."""
    app, _ = guarded(render=program("bodies").company_error)

    with pytest.raises(WebSocketDenialResponse) as denied:
        TestClient(app).websocket_connect("/live").__enter__()

    assert denied.value.json()["error"]["path"] == "/live"


def test_a_render_that_raises_leaves_the_default_body(caplog: pytest.LogCaptureFixture) -> None:
    """The response has the problem document, and the log one ERROR."""

    def broken(request: Any, denied: Any) -> tuple[str, bytes]:
        raise KeyError

    answer = get(guarded(render=broken)[0])

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert [record.levelname for record in caplog.records if record.getMessage().startswith("render failed")] == [
        "ERROR"
    ]


def test_rendered_bodies_are_not_in_the_openapi_document() -> None:
    """With ``render=`` a refusal has no content in the document."""
    plain, rendered = (
        app.openapi()["paths"]["/admin"]["get"]["responses"]["401"].get("content")
        for app, _ in (guarded(), guarded(render=program("bodies").company_error))
    )

    assert list(plain) == ["application/problem+json"]
    assert not rendered


@pytest.mark.parametrize(
    ("accepted", "media_type", "part"),
    [
        ("text/html,*/*;q=0.8", "text/html; charset=utf-8", "<h1>Unauthorized</h1>"),
        ("*/*", "application/problem+json", "401"),
    ],
)
def test_browsers_get_a_page(accepted: str, media_type: str, part: str) -> None:
    """Who accepts HTML gets the page, and others JSON; both are a 401 with a challenge."""
    answer = get(guarded(render=program("pages").page_or_json)[0], Accept=accepted)

    assert (answer.status_code, answer.headers["content-type"]) == (401, media_type)
    assert part in answer.text
    assert answer.headers["www-authenticate"]


def test_the_apps_own_errors_are_problems_too() -> None:
    """A 404 and a 422 have the form of a refusal, and keep their headers."""
    app, _ = guarded()
    program("problems").answer_with_problems(app)

    missing, invalid = (get(app, path) for path in ("/missing", "/numbers/x"))

    assert missing.json() == {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "there is none"}
    assert missing.headers["x-why"] == "tested"
    assert (invalid.status_code, invalid.json()["detail"][0]["loc"]) == (422, ["path", "n"])
    assert {one.headers["content-type"] for one in (missing, invalid)} == {"application/problem+json"}


def test_a_handler_for_everything_sees_no_refusal() -> None:
    """Handlers for ``Exception`` and for the guard's own errors do not change a refusal by a rule or by a lock."""
    from authguard import AuthGuardError

    app, _ = guarded()

    @app.exception_handler(AuthGuardError)
    @app.exception_handler(Exception)
    async def passes(request: Any, error: Exception) -> Any:
        raise AssertionError

    assert [get(app, path, **ALICE).status_code for path in ("/admin", "/locked")] == [403, 403]
