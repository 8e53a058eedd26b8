"""The example of a service with API keys in a database: the command makes the first key, and the service the others."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.cli.programs import start

STORE = "sqlite+aiosqlite:///keys.db"


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> str:
    """The administrator's key, made as the first lines of the example say."""
    asked = ["--prefix", "acme", "--environment", "live", "--role", "key-admin", "--expires", "90d"]
    done = start("apikey", "create", "root", "first", *asked, "--store", STORE, "--create-table", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(name="client")
def _client(tmp_path: Path, root: str, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """The app, in the folder of the database. Each request has an event loop of its own."""
    example = Path("examples/sql_api_keys.py").resolve()
    monkeypatch.chdir(tmp_path)
    return TestClient(runpy.run_path(str(example))["app"])


def _key(text: str) -> dict[str, str]:
    """The field with this key."""
    return {"X-API-Key": text}


def test_keys_are_made_rotated_and_revoked_while_the_service_runs(
    client: TestClient, root: str, tmp_path: Path
) -> None:
    """Each change counts for the next request: both keys of a rotation are good, and a revoked one is refused, whether
    an administrator of the service or the command has revoked it."""
    made = client.post("/keys", headers=_key(root), json={"owner": "shop", "name": "till"}).json()
    assert client.get("/orders", headers=_key(made["key"])).json() == {"orders of": "shop", "asked with": "till"}
    assert client.post("/keys", headers=_key(made["key"]), json={"owner": "x", "name": "y"}).status_code == 403

    rotated = client.post(f"/keys/{made['id']}/rotate", headers=_key(root)).json()
    assert [client.get("/orders", headers=_key(each["key"])).status_code for each in (made, rotated)] == [200, 200]

    assert client.delete(f"/keys/{made['id']}", headers=_key(root)).status_code == 204
    revoked = start("apikey", "revoke", rotated["id"], "--store", STORE, cwd=tmp_path)
    assert revoked.returncode == 0, revoked.stderr
    assert [client.get("/orders", headers=_key(each["key"])).status_code for each in (made, rotated)] == [401, 401]
    assert len(client.get("/keys", headers=_key(root)).json()) == 3
