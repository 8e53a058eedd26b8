"""The tests of the example pass as a user runs them, and fail if the requirement of a route changes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.examples.callers import PUBLIC_KEY, bearer
from tests.examples.conftest import Start

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "tested_app"


def run(folder: Path) -> tuple[int, str]:
    """Run ``pytest examples/tested_app`` in this folder; return the exit code and the output."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "examples/tested_app"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False, text=True)
    return done.returncode, done.stdout


def test_its_tests_pass() -> None:
    """They use the fixtures of the plug-in, which the conftest of the example names."""
    code, output = run(ROOT)

    assert (code, "5 passed" in output) == (0, True), output


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ('role("cashier"))])', 'role("manager"))])', "-POST /sales: AUTHENTICATED (no rule), lock role(cashier)"),
        ('"/refunds/**", role("manager")', '"/refunds/**", PUBLIC', "+POST /refunds/{number}: PUBLIC, lock AUTH"),
    ],
)
def test_they_fail_if_a_requirement_changes(tmp_path: Path, old: str, new: str, shown: str) -> None:
    """The route matrix shows which route has another requirement now."""
    shutil.copytree(FOLDER, tmp_path / "examples" / "tested_app", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "examples" / "__init__.py").touch()
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\npythonpath = .\n")
    app = tmp_path / "examples" / "tested_app" / "app.py"
    app.write_text(app.read_text().replace(old, new))

    code, output = run(tmp_path)

    assert (code, shown in output, "If that is intended: pytest --authguard-update" in output) == (1, True, True), (
        output
    )


def test_the_production_app_uses_the_real_issuer(start: Start) -> None:
    """``production()`` accepts the tokens of the real issuer, and nothing without a token."""
    client = TestClient(start("tested_app.app", ISSUER_PUBLIC_KEY=PUBLIC_KEY).production())

    assert client.get("/receipts").status_code == 401
    assert client.get("/receipts", headers=bearer(aud="till")).json() == {"receipts of": "alice"}
