"""The example of the role that is to be taken away: the replay names who still needs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.cli.programs import run
from tests.examples.callers import PUBLIC_KEY, bearer
from tests.examples.conftest import Start


def test_the_replay_names_who_needs_the_role(start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The analyst is refused by the planned rules, and the auditor is not. The rules of now change nothing."""
    path = tmp_path / "decisions.jsonl"
    client = TestClient(start("replayed", ISSUER_PUBLIC_KEY=PUBLIC_KEY, DECISIONS=str(path)).app)
    for role in ("analyst", "auditor"):
        assert client.get("/reports/7", headers=bearer(role, aud="reports")).status_code == 200

    assert run("replay", "examples.replayed:app", str(path)) == 0
    assert run("replay", "examples.replayed:next_app", str(path), "--json") == 1

    told = json.loads(capsys.readouterr().out.partition("\n")[2])
    assert (told["requests"], told["refused"], told["let_in"]) == (2, 1, 0)
