"""The README is true: its code runs, and its response and log line are those of authguard."""

from __future__ import annotations

import re
from typing import Any

import jwt
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.support.markdown import code_block, code_blocks
from tests.support.tokens import public_pem, rsa_key

QUICK_START = code_blocks("python")[0]


def _run(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    return names


@pytest.fixture(name="client")
def _client(monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setenv("ISSUER_PUBLIC_KEY", public_pem(rsa_key()).decode())
    app: FastAPI = _run(QUICK_START)["app"]
    return TestClient(app)


def _token(**changes: Any) -> str:
    # The quick start reads the real clock, as a user's app does.
    import time

    now = time.time()
    good = {"iss": "https://login.example/", "aud": "orders", "sub": "alice", "exp": now + 600, **changes}
    return jwt.encode(good, rsa_key(), algorithm="RS256")


@pytest.mark.block("README.md", "install(app, guard)")
def test_the_quick_start_answers_as_it_says(client: TestClient) -> None:
    """/health is public, other paths need a token, the app knows the caller, and /users is for admins."""
    health = client.get("/health")
    anonymous = client.get("/orders")
    alice = client.get("/orders", headers={"authorization": f"Bearer {_token()}"})
    bob = client.get("/admin/users", headers={"authorization": f"Bearer {_token(sub='bob')}"})
    admin = client.get("/admin/users", headers={"authorization": f"Bearer {_token(roles=['admin'])}"})

    assert health.status_code == 200
    assert (anonymous.status_code, anonymous.headers["www-authenticate"]) == (401, 'Bearer realm="orders"')
    assert (alice.status_code, alice.json()) == (200, {"orders of": "alice"})
    assert [bob.status_code, admin.status_code] == [403, 200]


@pytest.mark.block("README.md", "denied token.expired")
@pytest.mark.block("guide/responses.md", "denied token.expired")
def test_an_expired_token_is_answered_as_the_readme_shows(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """The challenge is the printed one, and so is the log line, apart from its numbers."""
    import time

    shown = code_block("guide/responses.md", "denied token.expired")
    *head, line = shown.strip().splitlines()

    response = client.get("/admin/users", headers={"authorization": f"Bearer {_token(exp=time.time() - 64)}"})

    assert shown in code_blocks("text")
    assert f"www-authenticate: {response.headers['www-authenticate']}" in head
    assert f"cache-control: {response.headers['cache-control']}" in head
    assert _without_figures(line) == _without_figures(caplog.messages[-1])


def _without_figures(line: str) -> str:
    return re.sub(r"token=\w+", "token=", re.sub(r"=[\d.]+s", "=s", line))


def test_the_quick_start_adds_eight_lines_to_the_app() -> None:
    """Eight lines remain without FastAPI, the app and its endpoints."""
    own = ("from fastapi import", "app = FastAPI(", "@app.", "def ", "    ")

    added = [line for line in QUICK_START.splitlines() if line and not line.startswith(own)]

    assert len(added) <= 8
