"""The Digest example, with real files and httpx as an independent client."""

from __future__ import annotations

import runpy
from pathlib import Path

import httpx2
import pytest
from starlette.testclient import TestClient

from authguard import digest_ha1

ALICE, BOB = httpx2.DigestAuth("alice", "wonderland"), httpx2.DigestAuth("bob", "builder")


@pytest.fixture(name="client")
def _client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    users = {"alice": "wonderland", "bob": "builder"}
    lines = [f"{name}:cameras:{digest_ha1(name, 'cameras', password)}\n" for name, password in users.items()]
    (tmp_path / "users").write_text("".join(lines), encoding="utf-8")
    (tmp_path / "groups").write_text("operator: alice\n", encoding="utf-8")
    monkeypatch.setenv("USER_FILE", str(tmp_path / "users"))
    monkeypatch.setenv("GROUP_FILE", str(tmp_path / "groups"))
    monkeypatch.setenv("DIGEST_SECRET", "a secret of thirty-two bytes or so")
    return TestClient(runpy.run_path("examples/camera.py")["app"])


def test_a_user_in_the_file_is_let_in(client: TestClient) -> None:
    """The digest covers the query too."""
    response = client.get("/snapshot?width=640", auth=ALICE)

    assert response.json() == {"snapshot for": "alice", "width": 640}


def test_a_role_comes_from_the_group_file(client: TestClient) -> None:
    """A user without the role gets a 403."""
    assert [client.post("/ptz/left", auth=user).status_code for user in (ALICE, BOB)] == [200, 403]


def test_an_intercepted_header_is_useless(client: TestClient) -> None:
    """It is accepted neither a second time nor for another picture."""
    header = client.get("/snapshot?width=640", auth=ALICE).request.headers["authorization"]

    again = client.get("/snapshot?width=640", headers={"authorization": header})
    other = client.get("/snapshot?width=1920", headers={"authorization": header})

    assert (again.status_code, other.status_code) == (401, 400)
    assert "stale=true" in again.headers["www-authenticate"]


def test_health_is_public(client: TestClient) -> None:
    """Its rule is PUBLIC."""
    assert client.get("/health").json() == {"status": "up"}
