"""Only a call of ``acting_as`` in a test can make a request come from a principal without credentials."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import authguard
from authguard import ConfigurationError, Guard, Principal
from authguard.testing import acting_as, recording
from tests.support.asgi import http_scope, run_app
from tests.support.clock import NOW
from tests.support.schemes.badge import Badge
from tests.testing.shop import app_behind, guard_of

PACKAGE = Path(authguard.__file__).parent
SOURCES = {file: ast.parse(file.read_text("utf-8")) for file in sorted(PACKAGE.rglob("*.py"))}
TESTING = {file for file in SOURCES if file.is_relative_to(PACKAGE / "testing")}


def imported(tree: ast.AST) -> set[str]:
    """The names of everything that a module imports, at any depth."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_nothing_else_imports_authguard_testing() -> None:
    """An app that does not import it does not load it."""
    users = [
        file.name for file in SOURCES.keys() - TESTING if any("testing" in name for name in imported(SOURCES[file]))
    ]
    code = "import sys, authguard, authguard.fastapi, authguard.starlette; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert (users, [name for name in done.stdout.split() if name.startswith("authguard.testing")]) == ([], [])


def test_authguard_testing_reads_no_environment_and_no_setting() -> None:
    """No module of it imports anything that could, and only the route matrix reads a file."""
    allowed = {"os.PathLike", "pathlib.Path"}
    modules = ("os", "sys", "pathlib", "configparser", "tomllib", "importlib", "builtins", "subprocess", "socket")
    loaded = {name for file in TESTING for name in imported(SOURCES[file]) if name.split(".")[0] in modules}
    names = {node.id for file in TESTING for node in ast.walk(SOURCES[file]) if isinstance(node, ast.Name)}

    assert loaded == allowed
    assert not names & {"eval", "exec", "open", "__import__", "getenv", "environ", "scope", "headers_of"}


def test_only_authguard_testing_sets_a_test_override() -> None:
    """The rest of the package reads it in one place, and sets it to None in another."""
    uses = [
        (file.name, type(getattr(node, "ctx", node)).__name__)
        for file in SOURCES.keys() - TESTING
        for node in ast.walk(SOURCES[file])
        if "test_override" in {str(getattr(node, name, None)) for name in ("attr", "id", "value")}
    ]

    assert sorted(uses) == [("guard.py", "Load"), ("guard.py", "Store")]


HEADER_NAMES = [
    "acting-as",
    "x-acting-as",
    "authguard-acting-as",
    "x-authguard-user",
    "x-authguard-testing",
    "stand-in",
]
HEADER_NAMES += ["x-forwarded-user", "remote-user", "x-remote-user", "authguard", "authguard.testing", "x-test-user"]


@pytest.mark.parametrize("imported_and_used", [False, True])
@pytest.mark.parametrize("path", ["/", "/admin", "/open/desk"])
async def test_no_request_makes_a_principal_act(path: str, imported_and_used: bool) -> None:
    """Headers, queries, cookies and keys of the scope do not, not even while another guard is acted for."""
    guard, other = guard_of(), guard_of()
    app = app_behind(guard)
    headers = [(name.encode(), b"alice") for name in HEADER_NAMES]
    headers += [(b"cookie", "; ".join(f"{name}=alice" for name in HEADER_NAMES).encode())]
    scope = http_scope(path, headers=[(b"host", b"shop.test"), *headers])
    alice = Principal("alice", roles={"editor"})
    forged: dict[str, Any] = {name.replace("-", "_"): alice for name in HEADER_NAMES}
    query = "&".join(f"{name}=alice" for name in HEADER_NAMES).encode()
    scope.update({**forged, "user": alice, "state": dict(forged), "extensions": dict(forged), "query_string": query})

    answer: Any = None
    if imported_and_used:
        another = pytest.raises(ConfigurationError, match="another one did")
        with another, acting_as(other, alice), recording(guard):
            answer = await run_app(app, scope)
    else:
        answer = await run_app(app, scope)

    assert answer.status == 401


def test_no_environment_variable_makes_a_principal_act() -> None:
    """Tried in a process that imports ``authguard.testing`` and has every such variable set."""
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


async def test_a_test_override_that_raises_is_an_outage() -> None:
    """It is denied with 503, as an error in a scheme is."""
    guard = Guard(Badge(), clock=lambda: NOW)

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    guard.test_override = broken

    assert (await run_app(app_behind(guard), http_scope())).status == 503
