"""The uses of FastAPI have the same results with releases that copy routers and with those that nest them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import fastapi
import pytest

from tests.fastapi.uses import USES

ROOT = Path(__file__).parents[2]
HOMES = ROOT / ".venv" / "fastapi"
OLD = re.findall(r"^fastapi==(\S+) ", (ROOT / "scripts" / "fastapi_releases.txt").read_text("utf-8"), re.MULTILINE)

BOTH: list[dict[str, list[str]]] = [{"bearer": []}, {"basic": []}]
LOCKED = ["200", "400", "401", "403", "429", "503"]

# The statuses are those of nobody, bob, alice (staff) and carol (staff and boss).
EXPECTED: dict[str, Any] = {
    "locked_routes": {
        "/mine": [401, 200, 200, 200],
        "/staff": [401, 403, 200, 200],
        "/boss": [401, 403, 403, 200],
        "/far/outer/inner/staff": [401, 403, 200, 200],
        "/far/outer/inner/boss/1": [401, 403, 403, 200],
        "/near/outer/inner/staff": [401, 403, 403, 200],
    },
    "behind_open_rules": {
        "/open/staff": [401, 403, 200, 200],
        "/docs": [200, 200, 200, 200],
        "/openapi.json": [200, 200, 200, 200],
        "/redoc": [200, 200, 200, 200],
        # Nobody, alice, and a wrong password.
        "/open/to-all": [False, False, False],
        "/open/maybe": [None, "alice", 401],
        "/open/allowed": [False, True, 401],
        "/maybe": [None, "alice", 401],
    },
    "yielding": {
        "/fine": [[401, 200, 200, 200], ["bob in", "bob out", "alice in", "alice out", "carol in", "carol out"]],
        "/denied": [
            [401, 403, 403, 403],
            [f"{who} {event}" for who in ("bob", "alice", "carol") for event in ("in", "AccessDenied", "out")],
        ],
        "/locked": [
            [401, 403, 403, 200],
            [f"{who} {event}" for who in ("bob", "alice") for event in ("in", "AccessDenied", "out")]
            + ["carol in", "carol out"],
        ],
    },
    "own_denials": [5, 403, "application/problem+json", "forbidden"],
    "in_the_background": [[401, 403, 200, 200], ["alice", "carol"]],
    "over_websockets": {
        "/mine": [[401], ["bob", 1000], ["alice", 1000], ["carol", 1000]],
        "/far/boss": [[401], [403], [403], ["carol", 1000]],
        "/far/late": [[401], [403], ["hello", 1008], ["hello", 1008]],
    },
    "mounted": [
        {
            "/sub/boss": [401, 403, 403, 200],
            "/sub/open/staff": [401, 403, 200, 200],
            "/sub/open/nothing": [401, 404, 404, 404],
        },
        ["/"],
        {"get /boss": [BOTH, LOCKED], "get /open/staff": [BOTH, LOCKED]},
    ],
    "documented": [
        {
            "get /health": [[], ["200"]],
            "get /news": [[*BOTH, {}], ["200", "400", "401", "429", "503"]],
            "post /news": [BOTH, LOCKED],
            "get /tokens/{rest}": [[{"bearer": []}], ["200", "400", "401", "403", "503"]],
            "get /orders/{number}": [
                [{"bearer": ["read"]}, {"basic": ["read"]}],
                ["200", "400", "401", "403", "422", "429", "503"],
            ],
            "get /far/orders/{number}": [
                [{"basic": ["read"]}],
                ["200", "400", "401", "403", "422", "429", "503"],
            ],
        },
        {
            "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            "basic": {"type": "http", "scheme": "basic"},
        },
        {"description": "Mine"},
    ],
    "audited": {
        "GET /open": [],
        "POST /far/outer/inner/{number:int}": ["role(staff)", "via(basic)"],
        "WEBSOCKET /far/outer/inner/live": ["role(staff)", "via(basic)"],
        "GET /sub/below": ["role(boss)"],
    },
}


@pytest.mark.parametrize("name", USES)
def test_the_results_of_a_use(name: str) -> None:
    """With the release that the lock file has."""
    assert USES[name]() == EXPECTED[name]


@cache
def _results(version: str) -> dict[str, Any]:
    home = HOMES / version
    if not home.exists():
        pytest.skip("`make test-rest` installs it")
    command = [sys.executable, "-W", "error", "-m", "tests.fastapi.uses"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (home, ROOT)))}
    done = subprocess.run(command, cwd=ROOT, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    release, results = json.loads(done.stdout)
    assert release == version
    return dict(results)


@pytest.mark.peer
@pytest.mark.parametrize("name", USES)
@pytest.mark.parametrize("version", OLD)
def test_the_results_of_a_use_with_an_older_release(version: str, name: str) -> None:
    """They are the same."""
    assert _results(version)[name] == EXPECTED[name]


@pytest.mark.newest
def test_the_releases_are_the_oldest_and_those_around_the_change() -> None:
    """FastAPI copies routers up to 0.136, and keeps them nested from 0.137 on. The lock file has the newest release."""
    minors = [tuple(map(int, version.split(".")[:2])) for version in (*OLD, fastapi.__version__)]

    assert minors[:3] == [(0, 133), (0, 136), (0, 137)]
    assert minors[3] > (0, 137)
