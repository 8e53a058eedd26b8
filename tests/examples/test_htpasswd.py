"""The Basic example, with real files, real hashes and httpx as an independent client."""

from __future__ import annotations

import runpy
from pathlib import Path

import bcrypt
import pytest
from starlette.testclient import TestClient

ALICE, JUERGEN = ("alice", "correct horse"), ("jürgen", "pässwörd-中文:x")
IN_UTF_8 = (JUERGEN[0].encode(), JUERGEN[1].encode())


@pytest.fixture(name="client")
def _client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    lines = [f"{name}:{bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)).decode()}\n" for name, word in (ALICE, JUERGEN)]
    (tmp_path / "users").write_text("".join(lines), encoding="utf-8")
    (tmp_path / "groups").write_text("admin: alice\n", encoding="utf-8")
    monkeypatch.setenv("USER_FILE", str(tmp_path / "users"))
    monkeypatch.setenv("GROUP_FILE", str(tmp_path / "groups"))
    return TestClient(runpy.run_path("examples/htpasswd.py")["app"])


def test_users_in_the_file_are_let_in(client: TestClient) -> None:
    """Names and passwords may be UTF-8, and a password may contain a colon."""
    assert client.get("/orders", auth=ALICE).json() == {"orders of": "alice"}
    assert client.get("/orders", auth=IN_UTF_8).json() == {"orders of": "jürgen"}


def test_a_role_comes_from_the_group_file(client: TestClient) -> None:
    """A user without the role gets a 403."""
    responses = [client.get("/admin/users", auth=ALICE), client.get("/admin/users", auth=IN_UTF_8)]

    assert [response.status_code for response in responses] == [200, 403]


def test_every_401_has_the_same_challenge(client: TestClient) -> None:
    """7617-1: it has a realm and a charset, and does not tell whether the name or the password was wrong."""
    logins = (("alice", "x"), ("eve", "x"))
    responses = [client.get("/orders"), *(client.get("/orders", auth=login) for login in logins)]

    assert {response.status_code for response in responses} == {401}
    assert {response.headers["www-authenticate"] for response in responses} == {'Basic realm="orders", charset="UTF-8"'}


def test_another_site_cannot_make_a_browser_order(client: TestClient) -> None:
    """A POST that a browser reports as cross-site gets a 403; a client that is not a browser reports nothing."""
    foreign = client.post("/orders", auth=ALICE, headers={"sec-fetch-site": "cross-site"})

    assert (foreign.status_code, client.post("/orders", auth=ALICE).status_code) == (403, 200)
