"""The README is true: its programs run, its commands answer as it shows, and it names what exists."""

from __future__ import annotations

import re
import shlex
import sys
import time
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import jwt
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

import link_check
from authguard import Principal, Reason, Rule, reasons
from authguard.cli import main
from authguard.policy.rules import RuleTable
from authguard.testing import acting_as
from examples.tour.__main__ import PARTS
from tests.support.markdown import README, blocks, code_block, code_blocks
from tests.support.tokens import public_pem, rsa_key

pytestmark = pytest.mark.once

TEXT = README.read_text(encoding="utf-8")
QUICK_START = code_blocks("python")[0]


def _block(part: str) -> str:
    (found,) = (block.text for block in blocks(README) if part in block.text)
    return found


def _run(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec", dont_inherit=True), names)
    return names


@pytest.fixture(name="orders")
def _orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The quick start, in a folder with a public key, as the module that its lock and its test import."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "public.pem").write_bytes(public_pem(rsa_key()))
    orders = ModuleType("orders")
    vars(orders).update(_run(QUICK_START))
    monkeypatch.setitem(sys.modules, "orders", orders)
    return orders


def _token(**changes: Any) -> dict[str, str]:
    # The quick start reads the real clock, as a user's app does.
    now = time.time()
    good = {"iss": "https://login.example/", "aud": "orders", "sub": "alice", "exp": now + 600, **changes}
    return {"authorization": f"Bearer {jwt.encode(good, rsa_key(), algorithm='RS256')}"}


@pytest.mark.block("README.md", "install(app, guard)")
def test_the_quick_start_answers_as_it_says(orders: ModuleType) -> None:
    """Paths need a token, the app knows the caller, /admin/users is for admins, and /docs is open."""
    client = TestClient(orders.app)

    anonymous = client.get("/orders")
    alice = client.get("/orders", headers=_token())
    unnamed = client.get("/nothing")
    bob = client.get("/admin/users", headers=_token(sub="bob"))
    admin = client.get("/admin/users", headers=_token(roles=["admin"]))

    assert (anonymous.status_code, anonymous.headers["www-authenticate"]) == (401, 'Bearer realm="orders"')
    assert (alice.status_code, alice.json()) == (200, {"orders of": "alice"})
    assert [unnamed.status_code, bob.status_code, admin.status_code] == [401, 403, 200]
    assert [client.get(path).status_code for path in ("/docs", "/openapi.json")] == [200, 200]


@pytest.mark.block("README.md", "authguard keygen")
def test_the_commands_lead_to_the_answer_that_they_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the key pair of the first command, the token of the last one gets the printed body."""
    monkeypatch.chdir(tmp_path)
    commands = re.sub(r" \|\n +", " | ", _block("authguard keygen")).splitlines()
    _, keygen, serve, ask, body = commands

    assert main(shlex.split(keygen)[2:]) == 0
    app: FastAPI = _run(QUICK_START)["app"]
    capsys.readouterr()
    assert main(shlex.split(ask.partition(" | ")[0])[2:]) == 0
    name, _, value = capsys.readouterr().out.strip().partition(": ")
    path = ask.rpartition("127.0.0.1:8000")[2]

    assert serve == "$ uvicorn orders:app &"
    assert TestClient(app).get(path, headers={name: value}).text == body


@pytest.mark.block("README.md", "denied token.expired")
@pytest.mark.block("guide/responses.md", "denied token.expired")
def test_an_expired_token_is_answered_as_the_readme_shows(orders: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    """The challenge is the printed one, and so is the log line, apart from its numbers."""
    shown = _block("denied token.expired")
    *head, line = shown.strip().splitlines()

    response = TestClient(orders.app).get("/admin/users", headers=_token(exp=time.time() - 64))

    record = [one for one in caplog.records if one.name == "authguard"][-1]
    assert shown == code_block("guide/responses.md", "denied token.expired")
    assert f"www-authenticate: {response.headers['www-authenticate']}" in head
    assert f"cache-control: {response.headers['cache-control']}" in head
    assert _without_figures(line) == _without_figures(record.getMessage())


def _without_figures(line: str) -> str:
    return re.sub(r"token=\w+", "token=", re.sub(r"=[\d.]+s", "=s", line))


@pytest.mark.block("README.md", "/payments/**")
def test_the_rules_are_accepted() -> None:
    """The rules neither contradict each other nor repeat a pattern."""
    rules = _run(_block("/payments/**"))["rules"]

    assert all(isinstance(rule, Rule) for rule in rules)
    assert RuleTable(rules).rules == tuple(rules)


@pytest.mark.block("README.md", "requires(role")
def test_the_lock_locks(orders: ModuleType) -> None:
    """The route of the lock is for cashiers, although its rule asks for any principal."""
    _run(_block("requires(role"))

    def ask(roles: set[str]) -> int:
        with acting_as(orders.guard, Principal("bob", roles=roles)):
            return TestClient(orders.app).post("/orders/5/refund").status_code

    assert [ask(set()), ask({"cashier"})] == [403, 200]


@pytest.mark.block("README.md", "test_users_are_for_admins")
def test_the_test_passes(orders: ModuleType) -> None:
    """The test of the README passes for the quick start, and fails for an admin."""
    shown = _block("test_users_are_for_admins")

    _run(shown)["test_users_are_for_admins"]()

    with pytest.raises(AssertionError):
        _run(shown.replace("cashier", "admin"))["test_users_are_for_admins"]()


def test_the_quick_start_adds_eight_lines_to_the_app() -> None:
    """Eight lines remain without FastAPI, the app and its endpoints."""
    own = ("from fastapi import", "app = FastAPI(", "@app.", "def ", "    ")

    added = [line for line in QUICK_START.splitlines() if line and not line.startswith(own)]

    assert len(added) <= 8


def test_the_tour_has_as_many_steps_as_it_says() -> None:
    """The number of steps is that of `make demo`."""
    assert f"a tour: {sum(len(part.steps) for part in PARTS)} steps" in TEXT


def test_the_table_names_ten_reasons() -> None:
    """Each row of "You see, do this" begins with a reason that exists, and no two with the same."""
    known = {value.code for value in vars(reasons).values() if isinstance(value, Reason)}
    listed = re.findall(r"^\| `([a-z_.]+)` \|", TEXT, re.MULTILINE)

    assert len(set(listed)) == len(listed) == 10
    assert set(listed) <= known


def test_the_versions_are_those_of_the_metadata() -> None:
    """The oldest versions of Python, Starlette and FastAPI are those of pyproject.toml."""
    project = tomllib.loads((README.parent / "pyproject.toml").read_text("utf-8"))["project"]
    floors = [*project["dependencies"], *project["optional-dependencies"]["fastapi"]]
    starlette, fastapi = (
        next(floor.partition(">=")[2] for floor in floors if floor.startswith(name))
        for name in ("starlette", "fastapi")
    )
    said = " ".join(TEXT.split())

    assert (
        f"Python {project['requires-python'].removeprefix('>=')} to 3.14, with Starlette {starlette} or newer" in said
    )
    assert f"FastAPI is optional: {fastapi} or newer" in said


def test_it_is_short_and_can_be_read_elsewhere() -> None:
    """It has at most 170 lines, and each link is absolute, as an index of packages needs it."""
    own = link_check.repository()
    links = re.findall(r"\]\(([^)]+)\)", TEXT)

    assert len(TEXT.splitlines()) <= 170
    assert [link for link in links if not link.startswith(f"{own}/blob/main/")] == []
