"""The example with the inspector: who sees the page, and that it shows what was refused."""

from __future__ import annotations

import runpy
from pathlib import Path

import bcrypt
import pytest
from starlette.testclient import TestClient

from authguard.starlette import assert_closed
from tests.support.tokens import mint, public_pem, rsa_key

ALICE, BOB = ("alice", "wonderland"), ("bob", "builder")


@pytest.fixture(name="client")
def _client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    lines = [f"{name}:{bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)).decode()}\n" for name, word in (ALICE, BOB)]
    (tmp_path / "users").write_text("".join(lines))
    (tmp_path / "groups").write_text("admin: alice\n")
    monkeypatch.setenv("USER_FILE", str(tmp_path / "users"))
    monkeypatch.setenv("GROUP_FILE", str(tmp_path / "groups"))
    monkeypatch.setenv("ISSUER_PUBLIC_KEY", public_pem(rsa_key()).decode())
    names = runpy.run_path("examples/inspector.py")
    assert_closed(names["app"], names["guard"], public=["GET /health"])
    return TestClient(names["app"])


def test_the_page_is_for_administrators_with_a_password(client: TestClient) -> None:
    """A token opens it as little as the password of somebody else, whatever its roles are."""
    token = {"authorization": f"Bearer {mint(rsa_key(), roles=['admin'])}"}

    assert client.get("/inspector/", auth=ALICE).text.startswith("<!doctype html>")
    assert [client.get("/inspector/", auth=BOB).status_code, client.get("/inspector/", headers=token).status_code] == [
        *(403, 401)
    ]


def test_a_password_opens_nothing_else(client: TestClient) -> None:
    """A request that a browser sends by itself reaches the page alone."""
    assert [client.get(path, auth=ALICE).status_code for path in ("/orders", "/admin/users")] == [401, 401]
    assert client.get("/health").json() == {"status": "up"}


def test_the_page_shows_what_was_refused(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its explanation."""
    monkeypatch.setattr("authguard.inspector.event_stream.TICKS", 1)
    monkeypatch.setattr("authguard.inspector.event_stream.TICK", 0)
    client.get("/orders", headers={"authorization": f"Bearer {mint(rsa_key(), exp=1_000_000_000)}"})

    events = client.get("/inspector/events", auth=ALICE).text

    assert '"reason":"token.expired"' in events
    assert "The token has ended" in events
