"""A file that the same code has written shows no change: the requests of other tests are judged again.

The tests of these files are run with a plugin, ``every_replay``, which writes the decisions about each request with a
``DecisionFile`` and replays them. Among them are the decision table, each refusal of the page of the reasons, and
locks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: One test opens locks by hand, in the endpoint, where no audit can see them. Apps cannot do that.
SELECTED = "not trio and not two_locks_at_the_same_time"

#: Files of tests, how many decisions of theirs are judged at least, and of how many outcomes.
FILES = {
    "the decision table": (["tests/test_answers.py"], 80, 15),
    "each refusal": (["tests/docs/test_reasons_page.py"], 120, 70),
    "locks": (["tests/asgi/test_locks.py", "tests/fastapi/test_uses.py"], 10, 2),
    "roles that imply others": (["tests/examples/test_hierarchy.py", "tests/examples/test_per_method_roles.py"], 4, 2),
}


@pytest.mark.once  # each Python runs the tests of these files by themselves
@pytest.mark.parametrize("name", FILES)
def test_the_same_code_decides_the_same(name: str, tmp_path: Path) -> None:
    """No request of these tests is refused or let in by a replay."""
    files, decisions, outcomes = FILES[name]
    out = tmp_path / "judged.json"
    arguments = ["-q", "-p", "no:cacheprovider", "-p", "tests.explain.every_replay", "-n", "0", "-k", SELECTED]
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
    assert sum(found["judged"].values()) >= decisions
    assert len(found["judged"]) >= outcomes
