"""``explain`` and the live guard agree about every request of the tests, and an explanation changes nothing.

Each refusal of the page of the reasons is caused again, and so are the requests of the decision tables, of locks and of
attacks: ``every_request`` explains each request before the guard decides about it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tests.docs.proof_refusals
import tests.docs.token_refusals  # noqa: F401 - they register their refusals
from authguard.core.guard import Guard
from authguard.middleware import AuthGuardMiddleware
from tests.docs.refusals import REFUSALS
from tests.explain import every_request

ROOT = Path(__file__).parents[2]

#: Files of tests, how many requests of theirs are compared at least, and of how many outcomes.
FILES = {
    "the decision table": (["tests/test_answers.py"], 80, 15),
    # R001, R020, R021, R023, R024, R059, R064, R069, R078, R083 and their siblings.
    "inputs from elsewhere": (
        [
            *(f"tests/schemes/test_{name}.py" for name in ("refusal_facts", "session", "carriers")),
            *(f"tests/schemes/test_old_{name}_clients.py" for name in ("basic", "digest")),
            *(f"tests/core/test_{name}.py" for name in ("csrf", "diagnosis", "login_page")),
            "tests/test_step_up.py",
        ],
        200,
        20,
    ),
    "locks": (["tests/asgi/test_locks.py", "tests/fastapi/test_uses.py"], 10, 2),
    "attacks": (
        [f"tests/security/test_{name}_attacks.py" for name in ("token", "digest", "api_key", "session")],
        300,
        15,
    ),
}


@pytest.mark.once  # each Python runs the tests of these files by themselves
@pytest.mark.parametrize("name", FILES)
def test_explain_and_the_live_guard_agree(name: str, tmp_path: Path) -> None:
    """Outcome, reason, status and headers are the same, one step has failed, and the guard's state is untouched."""
    files, requests, outcomes = FILES[name]
    out = tmp_path / "compared.json"
    arguments = ["-q", "-x", "-p", "no:cacheprovider", "-p", "tests.explain.every_request", "-n", "0", "-k", "not trio"]
    # The tests themselves may fail: a store that counts its calls is called twice.
    subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, "--maxfail=1000", *files],
        cwd=ROOT,
        env={**os.environ, "DISAGREEMENTS": str(out), "PYTHONPATH": str(ROOT), "CI": ""},
        capture_output=True,
        check=False,
        timeout=600,
    )

    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["disagreements"] == []
    assert sum(found["compared"].values()) >= requests
    assert len(found["compared"]) >= outcomes


@pytest.mark.parametrize("code", REFUSALS)
async def test_explain_and_the_live_guard_agree_about_each_reason(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """R001 to R083, N01 to N17: each refusal of the page is explained as it is decided, and changes nothing."""
    monkeypatch.setattr(AuthGuardMiddleware, "__call__", every_request._explained)
    monkeypatch.setattr(Guard, "record", every_request._recorded)
    every_request.disagreements.clear()
    every_request.compared.clear()

    for refusal in REFUSALS[code]:
        await refusal()

    assert every_request.disagreements == []
    # Nothing can be compared where the body never comes, where one of many requests changes what others are told, and
    # for a guard inside of another one.
    if code not in {"body.incomplete", "hashing.busy", "introspection.busy", "scheme.insufficient"}:
        assert every_request.compared[code] > 0
