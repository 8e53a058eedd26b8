"""Nothing that comes from outside of a test can make somebody act."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import authguard
from authguard import AuthGuardMiddleware, Guard, Principal
from authguard.testing import acting_as, recording
from tests.support.asgi import drive, http
from tests.support.clock import NOW
from tests.support.schemes.badge import Badge
from tests.testing.shop import app_behind, guard_of

PACKAGE = Path(authguard.__file__).parent
SOURCES = {file: ast.parse(file.read_text("utf-8")) for file in sorted(PACKAGE.rglob("*.py"))}
KIT = {file for file in SOURCES if file.is_relative_to(PACKAGE / "testing")}


def imported(tree: ast.AST) -> set[str]:
    """The modules that are imported anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_nothing_else_imports_the_kit() -> None:
    """An app that does not import it does not have it."""
    users = [file.name for file in SOURCES.keys() - KIT if any("testing" in name for name in imported(SOURCES[file]))]
    code = "import sys, authguard, authguard.fastapi, authguard.starlette; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert (users, [name for name in done.stdout.split() if name.startswith("authguard.testing")]) == ([], [])


def test_the_kit_reads_no_environment_and_no_setting() -> None:
    """Not a module of it imports what could, and only the matrix reads a file."""
    known = {"os.PathLike", "pathlib.Path"}
    doors = ("os", "sys", "pathlib", "configparser", "tomllib", "importlib", "builtins", "subprocess", "socket")
    found = {name for file in KIT for name in imported(SOURCES[file]) if name.split(".")[0] in doors}
    names = {node.id for file in KIT for node in ast.walk(SOURCES[file]) if isinstance(node, ast.Name)}

    assert found == known
    assert not names & {"eval", "exec", "open", "__import__", "getenv", "environ", "scope", "headers_of"}


def test_only_the_kit_sets_a_test_override() -> None:
    """Everywhere else in the package it is read, in one place, and set to None, in another."""
    said = [
        (file.name, type(getattr(node, "ctx", node)).__name__)
        for file in SOURCES.keys() - KIT
        for node in ast.walk(SOURCES[file])
        if "test_override" in {str(getattr(node, name, None)) for name in ("attr", "id", "value")}
    ]

    assert sorted(said) == [("guard.py", "Load"), ("guard.py", "Store")]


WORDS = ["acting-as", "x-acting-as", "authguard-acting-as", "x-authguard-user", "x-authguard-testing", "stand-in"]
WORDS += ["x-forwarded-user", "remote-user", "x-remote-user", "authguard", "authguard.testing", "x-test-user"]


@pytest.mark.parametrize("imported_and_used", [False, True])
@pytest.mark.parametrize("path", ["/", "/admin", "/open/desk"])
async def test_no_request_makes_somebody_act(path: str, imported_and_used: bool) -> None:
    """No header, query, cookie or key of the scope; nor where the kit is imported and another guard is acted on."""
    guard, other = guard_of(), guard_of()
    app = app_behind(guard)
    headers = [(word.encode(), b"alice") for word in WORDS]
    headers += [(b"cookie", "; ".join(f"{word}=alice" for word in WORDS).encode())]
    scope = http(path, headers=[(b"host", b"shop.test"), *headers])
    alice = Principal("alice", roles={"editor"})
    forged: dict[str, Any] = {word.replace("-", "_"): alice for word in WORDS}
    query = "&".join(f"{word}=alice" for word in WORDS).encode()
    scope.update({**forged, "user": alice, "state": dict(forged), "extensions": dict(forged), "query_string": query})

    if imported_and_used:
        with acting_as(other, alice), recording(guard):
            answer = await drive(app, scope)
    else:
        answer = await drive(app, scope)

    assert answer.status == 401


def test_no_variable_of_the_environment_makes_somebody_act() -> None:
    """In a process of its own that imports the kit and has every such variable set."""
    names = ["ACTING_AS", "USER", "TESTING", "TEST", "DEBUG", "STAND_IN", "TEST_USER", "PRINCIPAL"]
    forged = {f"{prefix}{name}": "alice" for name in names for prefix in ("", "AUTHGUARD_", "AUTHGUARD_TESTING_")}
    code = """
import authguard.testing.pytest_plugin
from tests.testing.shop import client_of, guard_of
guard = guard_of()
print(client_of(guard).get("/").status_code, guard.test_override)
"""
    environment = {**os.environ, **forged, "PYTEST_CURRENT_TEST": "test_it", "CI": "true"}

    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, check=True, text=True)

    assert done.stdout == "401 None\n"


async def test_a_check_that_fails_keeps_the_door_closed() -> None:
    """What goes wrong in a stand-in is an outage, as what goes wrong in a scheme is."""
    guard = Guard(Badge(), clock=lambda: NOW)

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    guard.test_override = broken

    assert (await drive(AuthGuardMiddleware(app_behind(guard), guard=guard), http())).status == 503
