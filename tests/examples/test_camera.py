"""The Digest example: a file of digests, roles out of a group file, and a client that knows nothing of us."""

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
    monkeypatch.setenv("DIGEST_SECRET", "a secret of thirty-two octets or so")
    return TestClient(runpy.run_path("examples/camera.py")["app"])


def test_who_is_in_the_file_gets_in(client: TestClient) -> None:
    """With a query, which the response covers."""
    answer = client.get("/snapshot?width=640", auth=ALICE)

    assert answer.json() == {"snapshot for": "alice", "width": 640}


def test_a_role_comes_from_the_group_file(client: TestClient) -> None:
    """Who has none is known, and not allowed."""
    assert [client.post("/ptz/left", auth=who).status_code for who in (ALICE, BOB)] == [200, 403]


def test_a_header_that_was_seen_opens_nothing(client: TestClient) -> None:
    """Neither the same again nor another picture; and nothing in the answer is an error of ours."""
    seen = client.get("/snapshot?width=640", auth=ALICE).request.headers["authorization"]

    again = client.get("/snapshot?width=640", headers={"authorization": seen})
    other = client.get("/snapshot?width=1920", headers={"authorization": seen})

    assert (again.status_code, other.status_code) == (401, 400)
    assert "stale=true" in again.headers["www-authenticate"]


def test_the_files_are_not_asked_about_health(client: TestClient) -> None:
    """A rule says that it is open."""
    assert client.get("/health").json() == {"status": "up"}
