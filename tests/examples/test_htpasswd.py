"""The Basic example: real files, real hashes, a client that knows nothing of us."""

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


def test_who_is_in_the_file_gets_in(client: TestClient) -> None:
    """Names and passwords in UTF-8 too, with a colon in the password."""
    assert client.get("/orders", auth=ALICE).json() == {"orders of": "alice"}
    assert client.get("/orders", auth=IN_UTF_8).json() == {"orders of": "jürgen"}


def test_a_role_comes_from_the_group_file(client: TestClient) -> None:
    """Who has none is known, and not allowed."""
    answers = [client.get("/admin/users", auth=ALICE), client.get("/admin/users", auth=IN_UTF_8)]

    assert [answer.status_code for answer in answers] == [200, 403]


def test_who_is_not_gets_one_challenge_whatever_the_cause(client: TestClient) -> None:
    """7617-1: a realm and the charset, and nothing that tells a name from a password."""
    answers = [client.get("/orders"), *(client.get("/orders", auth=who) for who in (("alice", "x"), ("eve", "x")))]

    assert {answer.status_code for answer in answers} == {401}
    assert {answer.headers["www-authenticate"] for answer in answers} == {'Basic realm="orders", charset="UTF-8"'}


def test_another_site_cannot_make_a_browser_order(client: TestClient) -> None:
    """403 where the browser says that it was another site; without its word it is no browser."""
    foreign = client.post("/orders", auth=ALICE, headers={"sec-fetch-site": "cross-site"})

    assert (foreign.status_code, client.post("/orders", auth=ALICE).status_code) == (403, 200)
