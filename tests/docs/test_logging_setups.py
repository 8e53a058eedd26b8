"""The page about log set-ups is true: each prints the records of real requests as JSON, with the keys of the page."""

from __future__ import annotations

import json
import logging
import logging.config
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import structlog
from fastapi import FastAPI
from starlette.testclient import TestClient

from authguard import Account, Basic, Guard, MemoryUsers, Rule, role
from authguard.fastapi import assert_closed, install
from authguard.testing import basic_auth
from tests.examples.callers import hash_of
from tests.support.clock import NOW
from tests.support.markdown import DOCS, code_block, code_blocks

pytestmark = pytest.mark.block("logging-setups.md")

PAGE = "logging-setups.md"
ROOT = Path(__file__).parents[2]


@pytest.fixture(name="setup", autouse=True)
def _setup(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Runs the program of the page that begins with ``# NAME.py``, as the module of that name.

    Logging is put back afterwards.
    """
    root, ours = logging.getLogger(), logging.getLogger("authguard")
    before = root.level, ours.level

    def run(name: str) -> ModuleType:
        module = ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(code_block(PAGE, f"# {name}.py"), f"{name}.py", "exec", dont_inherit=True), vars(module))
        return module

    yield run
    root.handlers.clear()
    root.setLevel(before[0])
    ours.setLevel(before[1])
    structlog.reset_defaults()


def as_in_a_new_process() -> None:
    """Take the handlers of pytest from the root logger, so that ``basicConfig`` sets it up. pytest adds them again."""
    logging.getLogger().handlers.clear()


def app_of(**options: Any) -> tuple[FastAPI, Guard]:
    """An app whose accounts are bob, and alice, who is an admin."""
    users = [Account("alice", hash_of("a"), roles={"admin"}), Account("bob", hash_of("b"))]
    guard = Guard(Basic(MemoryUsers(users), realm="orders"), rules=[Rule("/admin", role("admin"))], **options)
    app = FastAPI()
    app.get("/admin")(lambda: "in")
    install(app, guard)
    return app, guard


def requested(app: FastAPI) -> None:
    """Three requests: anonymous, refused with a role missing, and with a wrong password."""
    client = TestClient(app, client=("203.0.113.7", 50000))
    for headers in ({}, basic_auth("bob", "b"), basic_auth("alice", "guess")):
        client.get("/admin?token=secret", headers=headers)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The lines on stderr, each read as JSON."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_the_standard_librarys_set_up_prints_json(
    setup: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    """``logs.py`` with ``logging.json`` prints each record with its level, its line and its facts."""
    setup("logs")
    logging.config.dictConfig(json.loads(code_blocks("json", DOCS / PAGE)[0]))

    requested(app_of()[0])

    said = [one for one in lines(capsys) if one["logger"] == "authguard"]
    assert [(one["level"], one["authguard.reason"]) for one in said] == [
        ("INFO", "credentials.missing"),
        ("WARNING", "role.missing"),
        ("WARNING", "password.wrong"),
    ]
    assert said[1]["authguard.missing"] == ["admin"]
    assert said[1]["message"].startswith("denied role.missing: GET /admin 403 basic bob ")


def test_structlogs_set_up_prints_json(setup: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]) -> None:
    """``structured.py`` prints the records with their facts, and the app's own lines beside them."""
    as_in_a_new_process()
    setup("structured")

    requested(app_of()[0])
    structlog.get_logger("shop").info("sold", order=5)

    *said, own = [one for one in lines(capsys) if one["logger"] in {"authguard", "shop"}]
    assert [(one["level"], one["authguard.reason"]) for one in said] == [
        ("info", "credentials.missing"),
        ("warning", "role.missing"),
        ("warning", "password.wrong"),
    ]
    assert (own["event"], own["order"]) == ("sold", 5)


def test_the_records_have_the_id_of_their_request(
    setup: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The filter finds the id that the middleware outside of the guard has set, another one for each request."""
    ids = setup("request_ids")
    app, _ = app_of()
    app.add_middleware(ids.RequestId)
    found: list[str] = []
    handler = logging.Handler()
    handler.addFilter(ids.add_request_id)
    monkeypatch.setattr(handler, "emit", lambda record: found.append(vars(record)["request_id"]))
    logging.getLogger("authguard").addHandler(handler)
    logging.getLogger("authguard").setLevel("INFO")

    try:
        requested(app)
    finally:
        logging.getLogger("authguard").removeHandler(handler)

    assert [len(one) for one in found] == [32] * 3
    assert len(set(found)) == 3


def test_the_audit_names_the_middleware_of_the_page(setup: Callable[[str], ModuleType]) -> None:
    """``middleware.outside RequestId`` is the finding, and ``ignore=`` accepts it by that name."""
    app, guard = app_of()
    app.add_middleware(setup("request_ids").RequestId)
    public = ["/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"]

    with pytest.raises(AssertionError, match=r"middleware\.outside RequestId"):
        assert_closed(app, guard, public=public)


def test_ecs_names_are_those_of_the_schema(
    setup: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    """The ECS formatter renames what ECS has a name for, and names a user only if it was authenticated."""
    formatter = setup("ecs").ECSFormatter()
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    as_in_a_new_process()
    logging.basicConfig(level="INFO", handlers=[handler])

    requested(app_of()[0])

    said = [one for one in lines(capsys) if one["log.logger"] == "authguard"]
    assert [(one["event.outcome"], one["event.reason"], one.get("user.id")) for one in said] == [
        ("failure", "credentials.missing", None),
        ("failure", "role.missing", "bob"),
        ("failure", "password.wrong", None),
    ]
    assert {(one["http.request.method"], one["url.path"], one["client.ip"]) for one in said} == {
        ("GET", "/admin", "203.0.113.7")
    }
    assert [one["http.response.status_code"] for one in said] == [401, 403, 401]


def test_a_flood_is_folded_as_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    """The 32nd refusal of a kind within a minute writes the line of the page."""
    app, _ = app_of(clock=lambda: NOW, monotonic=lambda: 0.0)
    client = TestClient(app, client=("203.0.113.7", 50000))
    as_in_a_new_process()
    logging.basicConfig(level="INFO", format="%(message)s")

    for _ in range(64):
        client.get("/admin")

    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("folded")]
    assert said[0].startswith(code_block(PAGE, "folded credentials").strip())
    assert [line.partition(" first=")[0] for line in said] == [
        f"folded credentials.missing: count={n}" for n in (32, 64)
    ]


def test_without_its_flag_the_logger_is_switched_off() -> None:
    """``dictConfig`` without ``disable_existing_loggers: false`` silences ``authguard``, as the page warns."""
    program = (
        "import logging, logging.config; from authguard import Guard\n"
        'logging.config.dictConfig({"version": 1, "root": {"level": "INFO"}})\n'
        'print(logging.getLogger("authguard").disabled)'
    )

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == "True\n"
