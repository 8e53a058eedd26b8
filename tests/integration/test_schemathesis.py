"""Schemathesis sends an app valid and invalid requests, and compares the responses with its OpenAPI document."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.fastapi.users import password
from tests.support.servers.app_server import AppServer, app_token, running_servers

pytestmark = pytest.mark.peer

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
# This checks that protected operations need credentials. It guesses passwords until it gets a 429, so Basic is out.
LOCKED = "ignored_auth"


@pytest.fixture(name="server", scope="module")
def _server() -> Iterator[AppServer]:
    with running_servers(partial(AppServer, "shop:app")) as (server,):
        yield server


@pytest.mark.parametrize(
    ("field", "checks"),
    [
        ("", (*CHECKS, LOCKED)),
        (f"Bearer {app_token('alice', 'staff', 'boss')}", (*CHECKS, LOCKED)),
        (f"Bearer {app_token('bob', scope='read')}", CHECKS),
        (f"Bearer {app_token('alice', exp=0)}", CHECKS),
        (password("carol")["authorization"], CHECKS),
        ("Basic bm9ib2R5Og==", CHECKS),
    ],
    ids=["nothing", "a token with roles", "a token without", "an old token", "a password", "a wrong password"],
)
def test_every_response_is_documented(server: AppServer, tmp_path: Path, field: str, checks: tuple[str, ...]) -> None:
    """The statuses, fields, media types and bodies of each operation are documented, and none is a server error."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", "--no-color"]
    command += ["--checks", ",".join(checks), "--max-examples", "30", "--seed", "1", "--suppress-health-check", "all"]
    command += ["--header", f"Authorization: {field}"] if field else []

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    generated, passed = re.findall(r"(\d+) generated, (\d+) passed", done.stdout)[0]
    assert int(generated) >= int(passed) > 100
    assert "Tested: 11" in done.stdout
