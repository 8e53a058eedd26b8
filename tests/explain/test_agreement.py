"""``explain`` and the live guard agree about every request of the tests, and an explanation changes nothing.

The tests of these files are run again with a plugin, ``every_request``, which explains each request before the guard
decides about it. Among them are the decision tables, each refusal of the page of the reasons, and the attacks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Files of tests, how many requests of theirs are compared at least, and of how many outcomes.
FILES = {
    "the decision table": (["tests/test_answers.py"], 80, 15),
    "each refusal": (["tests/docs/test_reasons_page.py"], 120, 70),
    "locks": (["tests/asgi/test_locks.py", "tests/fastapi/test_uses.py"], 10, 2),
    "attacks": (["tests/security/test_api_key_attacks.py", "tests/security/test_session_attacks.py"], 10, 2),
}


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
