"""``authguard revoke``: what it enters, lists and leaves out, and what it says of a wrong argument."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from authguard.accounts.revocation_file import RevocationFileAdmin
from authguard.state.revocations import Revocation
from tests.cli.programs import run


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> str:
    return str(tmp_path / "revoked.json")


@pytest.fixture(name="made")
def _made(store: str) -> None:
    RevocationFileAdmin(store).make()


@pytest.mark.usefixtures("made")
def test_each_kind_is_entered_and_listed(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A token, a session, a key and a subject are entered, and the list shows them, the session as a hash."""
    entered = [
        run("revoke", "--store", store, "--jti", "t-1", "--expires-in", "8h"),
        run("revoke", "--store", store, "--session", "s-1"),
        run("revoke", "--store", store, "--api-key", "abc"),
        run("revoke", "--store", store, "--subject", "alice", "--before", "2026-11-29T23:00:00+00:00"),
        run("revoke", "--store", store, "--subject", "b\x1bob", "--before", "now"),
    ]
    said = capsys.readouterr().err
    listed = run("revoke", "--store", store, "--list")
    lines = capsys.readouterr().out.splitlines()

    assert (entered, listed, len(lines)) == ([0] * 5, 0, 5)
    assert "revoked token t-1: kept until 20" in said
    assert lines[1].startswith(f"session {Revocation.session('s-1', expires_at=0).key.hex()[:8]}... (a hash): kept")
    assert lines[2] == "api key abc: kept until the end of time"
    assert lines[3].startswith("subject alice: what was issued until 2026-11-29T23:00:00+00:00, kept until ")
    assert "b\\x1bob" in lines[4]


@pytest.mark.usefixtures("made")
def test_a_subject_is_revoked_up_to_now_and_kept_for_the_longest_session(store: str) -> None:
    """Without a time, all that has been issued is refused, for as long as a browser keeps a cookie."""
    run("revoke", "--store", store, "--subject", "alice")
    (stored,) = RevocationFileAdmin(store).revocations()

    assert stored.before == pytest.approx(time.time(), abs=60)
    assert stored.expires_at - stored.before == pytest.approx(400 * 86_400, abs=60)


@pytest.mark.usefixtures("made")
def test_json_has_all_of_it(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The list as JSON has the times, and null for one that never comes."""
    run("revoke", "--store", store, "--api-key", "abc")
    run("revoke", "--store", store, "--list", "--json")
    (entry,) = json.loads(capsys.readouterr().out)

    assert (entry["kind"], entry["name"], entry["before"], entry["expires_at"]) == ("api_key", "abc", None, None)


def test_an_empty_file_is_made_once_and_pruned(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The app needs the file before anything is revoked."""
    for argument in ("--init", "--init", "--list", "--prune"):
        assert run("revoke", "--store", store, argument) == 0
    shown = capsys.readouterr()

    assert shown.out == "nothing is revoked\n"
    assert [line.removeprefix("authguard: ").removeprefix(f"{store}: ") for line in shown.err.splitlines()] == [
        "made",
        "it exists, and is left as it is",
        "0 left out",
    ]


def test_a_file_that_is_not_there_is_not_made_by_a_revocation(store: str) -> None:
    """No app would read one of a typing mistake, and one in place of a lost file would give back what was revoked."""
    run("revoke", "--store", store, "--jti", "t")

    assert not Path(store).exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--jti", "t", "--before", "now"], "it is for --subject"),
        (["--subject", "alice", "--before", "yesterday"], "it is not a time"),
        (["--subject", "alice", "--before", "2026-11-29T23:00:00"], "it is not a time"),
        (["--subject", ""], "non-empty"),
        (["--list"], "make it with --init"),
        (["--jti", "t"], "make it with --init"),
        (["--list", "--password-file", "x"], "a file of revocations has no password"),
        ([], "required"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_named(
    arguments: list[str], said: str, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit status is 2, and one line says what to write."""
    assert run("revoke", "--store", store, *arguments) == 2

    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that is not there is an error of the argument."""
    assert run("revoke", "--store", str(tmp_path / "none" / "revoked.json"), "--init") == 2
    assert "--store" in capsys.readouterr().err


def test_a_database_is_a_store_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its table is made by name; the URL may be in a variable, and what is entered is listed and pruned."""
    url = f"sqlite+aiosqlite:///{tmp_path}/revoked.db"
    assert run("revoke", "--store", url, "--list") == 2
    (tmp_path / "revoked.db").touch()
    assert run("revoke", "--store", url, "--list") == 2
    assert "make it with Alembic, or with --init" in capsys.readouterr().err
    monkeypatch.setenv("AUTHGUARD_REVOCATIONS", url)
    statuses = [run("revoke", *arguments) for arguments in (["--init"], ["--jti", "t-1"], ["--prune"], ["--list"])]
    shown = capsys.readouterr()

    assert statuses == [0] * 4
    assert shown.out.startswith("token t-1: kept until 20")
    assert "the table is there\n" in shown.err
    assert "the database: 0 left out\n" in shown.err


def test_a_store_must_be_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the option and the variable, the error names both."""
    monkeypatch.delenv("AUTHGUARD_REVOCATIONS", raising=False)
    assert run("revoke", "--list") == 2
    assert "or set AUTHGUARD_REVOCATIONS" in capsys.readouterr().err


def test_a_password_in_an_argument_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """It has been seen, so that another one is needed; the error does not show it."""
    assert run("revoke", "--store", "postgresql+asyncpg://orders:hunter2@localhost/orders", "--list") == 2

    error = capsys.readouterr().err
    assert "AUTHGUARD_REVOCATIONS" in error
    assert "hunter2" not in error
