"""The example of a service with API keys: an administrator makes, rotates and revokes keys while it runs."""

from __future__ import annotations

import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from authguard.accounts import watched_file

Headers = dict[str, str]


def key(text: str) -> Headers:
    """The field with this key."""
    return {"X-API-Key": text}


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> str:
    """The administrator's key, made as the first lines of the example say."""
    run = subprocess.run(
        [sys.executable, "examples/api_keys.py"],
        env={"KEY_FILE": str(tmp_path / "keys.json"), "PYTHONPATH": "."},
        check=True,
        capture_output=True,
        text=True,
    )
    return run.stdout.strip()


@pytest.fixture(name="client")
def _client(tmp_path: Path, root: str, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """The app. It reads a changed file at the next request, so that no test has to wait."""
    monkeypatch.setattr(watched_file, "CHECK_INTERVAL", 0.0)
    monkeypatch.setattr(watched_file, "SETTLED_AFTER", 0.0)
    monkeypatch.setenv("KEY_FILE", str(tmp_path / "keys.json"))
    return TestClient(runpy.run_path("examples/api_keys.py")["app"])


def make(client: TestClient, root: str, **asked: Any) -> dict[str, str]:
    """A key that the administrator has made for the shop."""
    response = client.post("/keys", headers=key(root), json={"owner": "shop", "name": "till", **asked})
    assert response.status_code == 201
    made: dict[str, str] = response.json()
    return made


def test_a_key_has_its_owner_and_its_scopes(client: TestClient, root: str) -> None:
    """What a key may not do is 403, and without a key everything is 401."""
    made = make(client, root)

    assert client.get("/orders", headers=key(made["key"])).json() == {"orders of": "shop", "asked with": "till"}
    assert client.post("/orders", headers=key(made["key"])).status_code == 403
    assert client.get("/keys", headers=key(made["key"])).status_code == 403
    assert client.get("/orders").status_code == 401
    assert client.get("/orders", headers=key(made["key"][:-1])).status_code == 401


def test_a_revoked_key_is_refused_by_the_next_request(client: TestClient, root: str) -> None:
    """And no other one."""
    first, second = make(client, root), make(client, root, name="office")

    assert client.delete(f"/keys/{first['id']}", headers=key(root)).status_code == 204

    assert [client.get("/orders", headers=key(made["key"])).status_code for made in (first, second)] == [401, 200]


def test_a_rotation_keeps_both_keys(client: TestClient, root: str) -> None:
    """The new one has the same rights, and the list shows both."""
    old = make(client, root)

    new = client.post(f"/keys/{old['id']}/rotate", headers=key(root)).json()

    assert [client.get("/orders", headers=key(made["key"])).status_code for made in (old, new)] == [200, 200]
    listed = client.get("/keys", headers=key(root)).json()
    assert [(row["id"], row["name"]) for row in listed] == [
        (listed[0]["id"], "first"),
        (old["id"], "till"),
        (new["id"], "till"),
    ]
    assert "digest" not in str(listed)


def test_the_list_shows_the_last_use(tmp_path: Path, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was used is written when the app ends, at the latest."""
    monkeypatch.setenv("KEY_FILE", str(tmp_path / "keys.json"))
    make_client: Callable[[], TestClient] = lambda: TestClient(runpy.run_path("examples/api_keys.py")["app"])  # noqa: E731
    with make_client() as client:
        (before,) = client.get("/keys", headers=key(root)).json()

    (after,) = make_client().get("/keys", headers=key(root)).json()

    assert before["last_used"] is None
    assert after["last_used"] is not None
