"""``authguard htdigest``: make lines of an htdigest file in a shell."""

from __future__ import annotations

import getpass
import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from authguard.accounts.digest_account import DigestAccount, digest_ha1
from authguard.accounts.htdigest import HtdigestFile
from authguard.cli import main

PASSWORD = "correct horse"
SHA_256 = "alice:orders:dd9a9f44b49757f4e97383750048c7ef0e82f907ad18deac1ecd094a92993c12\n"
MD5 = "alice:orders:676c8fbeaeca47c7fda28384209dcbb9\n"
COMMAND = [sys.executable, "-W", "error", "-m", "authguard", "htdigest"]
ROOT = str(Path(__file__).parents[2])


class Terminal(io.StringIO):
    """Standard input that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


class Person:
    """Types one password after another, and keeps the prompts."""

    def __init__(self, *typed: str | BaseException) -> None:
        self._typed = list(typed)
        self.prompts: list[str] = []

    def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        typed = self._typed.pop(0)
        if isinstance(typed, BaseException):
            raise typed
        return typed


def _at_a_terminal(monkeypatch: pytest.MonkeyPatch, *typed: str | BaseException) -> Person:
    person = Person(*typed)
    monkeypatch.setattr(sys, "stdin", Terminal("this is not read\n"))
    monkeypatch.setattr(getpass, "getpass", person)
    return person


def _run(*arguments: str) -> int:
    """The exit status of one run."""
    try:
        return main(["htdigest", *arguments])
    except SystemExit as exited:
        return int(exited.code or 0)


@pytest.mark.parametrize(
    ("options", "line"), [([], SHA_256), (["--algorithm", "SHA-256"], SHA_256), (["--algorithm", "MD5"], MD5)]
)
def test_a_line_is_printed(
    options: list[str], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The password is asked for twice. Nothing but the line is printed, so that it can be appended to a file."""
    person = _at_a_terminal(monkeypatch, PASSWORD, PASSWORD)

    assert _run("orders", "alice", *options) == 0
    assert capsys.readouterr() == (line, "")
    assert person.prompts == ["Password of alice in orders: ", "Repeat it: "]


@pytest.mark.parametrize("stdin", [f"{PASSWORD}\n", PASSWORD, f"{PASSWORD}\nand more\n"])
def test_a_program_passes_the_password_as_one_line(
    stdin: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is asked if standard input is not a terminal."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))

    assert _run("orders", "alice") == 0
    assert capsys.readouterr() == (SHA_256, "")


def test_a_file_of_such_lines_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The line is UTF-8 whatever the encoding of standard output. Its name is written as a client sends it."""
    path = tmp_path / "users"
    for name, password in (("alice", PASSWORD), ("ame\u0301lie", "p\u00e9ch\u00e9")):
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{password}\n"))
        assert _run("caf\u00e9", name) == 0

    path.write_bytes(capsysbinary.readouterr().out)

    store = HtdigestFile(path)
    account = anyio.run(lambda: store.find("am\u00e9lie", realm="caf\u00e9", algorithm="SHA-256", hashed=False))
    assert account == DigestAccount("am\u00e9lie", digest_ha1("am\u00e9lie", "caf\u00e9", "p\u00e9ch\u00e9"))
    assert "am\u00e9lie:caf\u00e9:" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("realm", "name", "problem"),
    [
        ("or:ders", "alice", "realm: 'or:ders' contains a colon"),
        ('or"ders', "alice", "realm: 'or\"ders' is not a realm; give a non-empty string without"),
        ("or\\ders", "alice", "realm: 'or\\\\ders' is not a realm; give a non-empty string without"),
        ("", "alice", "realm: ''"),
        ("or\nders", "alice", "realm: the parameter 'realm' of a challenge holds a control character"),
        ("orders", "al:ice", "name: the username must not contain a colon"),
        ("orders", "al\tice", "name: the username must not contain control characters"),
        ("orders", "", "name: the username must be a non-empty string"),
        ("orders", "#alice", "name: the username must not begin with"),
        (
            "orders",
            "al\udce9ice",
            "name: the username must not contain control characters, nor half of a surrogate pair",
        ),
    ],
)
def test_a_name_or_realm_that_no_line_can_hold_is_an_error(
    realm: str, name: str, problem: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is reported in one line with status 2, before a password is asked for."""
    person = _at_a_terminal(monkeypatch)

    assert _run(realm, name) == 2
    out, err = capsys.readouterr()
    assert (out, person.prompts) == ("", [])
    assert err.startswith(problem)
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ((PASSWORD, "correct house"), "password: the two passwords are not the same\n"),
        (("", ""), "password: the password must be a non-empty string\n"),
        (("horse\x7f", "horse\x7f"), "password: the password must not contain control characters"),
        ((EOFError(),), "password: no password was entered\n"),
        ((PASSWORD, KeyboardInterrupt()), "password: no password was entered\n"),
    ],
)
def test_a_wrong_password_is_an_error_at_the_terminal(
    typed: tuple[str | BaseException, ...],
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The message does not show it."""
    _at_a_terminal(monkeypatch, *typed)

    assert _run("orders", "alice") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(problem)
    assert "horse" not in err


@pytest.mark.parametrize(
    ("stdin", "problem"),
    [
        (b"", "password: the password must be a non-empty string\n"),
        (b"\n", "password: the password must be a non-empty string\n"),
        (b"p\xe4ssword\n", "password: standard input is not valid in its encoding\n"),
        (b"\0\n", "password: the password must not contain control characters"),
    ],
)
def test_a_wrong_password_is_an_error_on_standard_input(
    stdin: bytes, problem: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message shows no byte of it."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))

    assert _run("orders", "alice") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(problem)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "required: realm, name"),
        (["orders"], "required: name"),
        (["orders", "alice", "--algorithm", "SHA-512-256"], "invalid choice: 'SHA-512-256'"),
    ],
)
def test_a_missing_or_wrong_argument_is_an_error(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit status is 2 too."""
    assert _run(*arguments) == 2
    assert problem in capsys.readouterr().err


def test_the_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    """It can be copied."""
    assert _run("--help") == 0
    assert "authguard htdigest orders alice >> users.htdigest" in capsys.readouterr().out


@pytest.mark.peer
def test_a_real_terminal_does_not_show_the_password(tmp_path: Path) -> None:
    """The line goes to the file and the prompts to the terminal."""
    path = tmp_path / "users"
    master, slave = pty.openpty()

    with path.open("wb") as out:
        program = subprocess.Popen(
            [*COMMAND, "orders", "alice"],
            stdin=slave,
            stdout=out,
            stderr=slave,
            cwd=ROOT,
            start_new_session=True,  # no other terminal, so that this one is asked
        )
        os.close(slave)
        shown = b""
        for question in (b"Password of alice in orders: ", b"Repeat it: "):
            while not shown.endswith(question):
                shown += os.read(master, 1024)
            os.write(master, f"{PASSWORD}\n".encode())
        status = program.wait(timeout=300)
    os.close(master)

    assert (status, path.read_text()) == (0, SHA_256)
    assert PASSWORD.encode() not in shown


@pytest.mark.peer
def test_a_shell_appends_lines_to_a_file(tmp_path: Path) -> None:
    """Names and realms are UTF-8 without a locale too."""
    path = tmp_path / "users"
    env = {"PYTHONPATH": ROOT, "LC_ALL": "C"}

    for name in ("alice", "am\u00e9lie"):
        with path.open("ab") as out:
            subprocess.run(
                [*COMMAND, "orders", name], input=f"{PASSWORD}\n".encode(), stdout=out, env=env, check=True, timeout=300
            )

    digest = digest_ha1("am\u00e9lie", "orders", PASSWORD)
    assert path.read_text(encoding="utf-8") == f"{SHA_256}am\u00e9lie:orders:{digest}\n"
