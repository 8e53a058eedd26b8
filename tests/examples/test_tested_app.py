"""The example's own tests pass, as a user runs them, and fail where the app changes what a route asks."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.examples.callers import PUBLIC_KEY, bearer
from tests.examples.conftest import Start

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "tested_app"


def run(folder: Path) -> tuple[int, str]:
    """``pytest examples/tested_app`` there: the exit code, and what it tells."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "examples/tested_app"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False, text=True)
    return done.returncode, done.stdout


def test_its_tests_pass() -> None:
    """With the fixtures of the plug-in, which its conftest names."""
    code, told = run(ROOT)

    assert (code, "5 passed" in told) == (0, True), told


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ('role("cashier"))])', 'role("manager"))])', "-POST /sales: AUTHENTICATED (no rule), lock role(cashier)"),
        ('"/refunds/**", role("manager")', '"/refunds/**", PUBLIC', "+POST /refunds/{number}: PUBLIC, lock AUTH"),
    ],
)
def test_a_changed_lock_fails_them(tmp_path: Path, old: str, new: str, shown: str) -> None:
    """The matrix says which route asks something else now."""
    shutil.copytree(FOLDER, tmp_path / "examples" / "tested_app", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "examples" / "__init__.py").touch()
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\npythonpath = .\n")
    app = tmp_path / "examples" / "tested_app" / "app.py"
    app.write_text(app.read_text().replace(old, new))

    code, told = run(tmp_path)

    assert (code, shown in told, "Where that is meant: pytest --authguard-update" in told) == (1, True, True), told


def test_the_real_issuer_is_the_apps_own(start: Start) -> None:
    """What the factory makes for production takes its tokens, and nobody acts there."""
    client = TestClient(start("tested_app.app", ISSUER_PUBLIC_KEY=PUBLIC_KEY).production())

    assert client.get("/receipts").status_code == 401
    assert client.get("/receipts", headers=bearer(aud="till")).json() == {"receipts of": "alice"}
