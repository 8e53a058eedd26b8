"""``authguard hash``: what authguard and Apache say to its hashes, and the passwords that it refuses."""

from __future__ import annotations

import getpass
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from authguard import Account, AuthGuardMiddleware, Basic, Guard, HtpasswdFile, LibpassHasher, MemoryUsers
from authguard.accounts.account import Verdict
from authguard.testing import basic_auth
from tests.cli.programs import PROGRAM, at_a_terminal, run, start
from tests.cli.test_htdigest import Person, Terminal

PASSWORD = "correct horse"
HTPASSWD = shutil.which("htpasswd")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes into the tree."""
    monkeypatch.chdir(tmp_path)


def _pass(monkeypatch: pytest.MonkeyPatch, line: bytes) -> None:
    """Have standard input be this, and no terminal."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line), encoding="utf-8"))


def _hash(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], password: str, *arguments: str) -> str:
    """What is printed, without its line feed."""
    _pass(monkeypatch, f"{password}\n".encode())
    assert run("hash", *arguments) == 0
    out, err = capsys.readouterr()
    assert (out.count("\n"), err) == (1, "")
    return out.removesuffix("\n")


# --- what is made -----------------------------------------------------------------------------------------------------


def test_a_hash_is_what_htpasswd_writes_with_a_higher_cost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bcrypt, with Apache's prefix, at 12: authguard would make no new hash of it at a login."""
    stored = _hash(monkeypatch, capsys, PASSWORD)

    hasher = LibpassHasher(makes="bcrypt")
    assert (stored[:7], len(stored)) == ("$2y$12$", 60)
    assert hasher.verify(PASSWORD, stored) is Verdict.MATCH
    assert hasher.verify(PASSWORD + "x", stored) is Verdict.WRONG
    assert not LibpassHasher().needs_rehash(stored)


def test_two_hashes_of_a_password_differ(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each has a salt of its own."""
    assert _hash(monkeypatch, capsys, PASSWORD) != _hash(monkeypatch, capsys, PASSWORD)


def test_a_line_is_read_by_the_password_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a name it is a line of an htpasswd file, in UTF-8 and NFC."""
    names = {"alice": "alice", "am\u00e9lie": "ame\u0301lie", "a b": "a b"}
    lines = [_hash(monkeypatch, capsys, PASSWORD, typed) for typed in names.values()]

    assert [line.partition(":")[0] for line in lines] == list(names)
    (tmp_path / "users").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    store = HtpasswdFile(tmp_path / "users")
    found = [anyio.run(store.find, name) for name in names]
    assert [account and store.hasher.verify(PASSWORD, account.password_hash) for account in found] == [
        Verdict.MATCH
    ] * 3


@pytest.mark.parametrize("password", ["p\u00e4ssw\u00f6rd: \u65e5\u672c", "pa\u0308ss", " x ", "x" * 72, "$HOME\\"])
def test_an_app_accepts_the_password(
    password: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also one with an accent that was typed as two characters. Blanks at its ends are kept."""
    account = Account("alice", _hash(monkeypatch, capsys, password))
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse(""))])
    client = TestClient(AuthGuardMiddleware(app, guard=Guard(Basic(MemoryUsers([account]), realm="orders"))))

    answers = [client.get("/", headers=basic_auth("alice", given)) for given in (password, password + "x")]

    assert [answer.status_code for answer in answers] == [200, 401]


@pytest.mark.parametrize(("name", "prompt"), [((), "Password: "), (("alice",), "Password of alice: ")])
def test_a_person_enters_the_password_twice(
    name: tuple[str, ...], prompt: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing but the result is printed, so that it can be appended to a file."""
    person = Person(PASSWORD, PASSWORD)
    monkeypatch.setattr(sys, "stdin", Terminal("this is not read\n"))
    monkeypatch.setattr(getpass, "getpass", person)

    assert run("hash", *name) == 0
    assert (capsys.readouterr().out.count("\n"), person.prompts) == (1, [prompt, "Repeat it: "])


@pytest.mark.parametrize("rest", [b"", b"\n", b"\r\n", b"\nthe second line"])
def test_the_first_line_of_standard_input_is_the_password(
    rest: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its line feed does not belong to it, and neither does anything below it."""
    _pass(monkeypatch, PASSWORD.encode() + rest)

    assert run("hash") == 0
    assert LibpassHasher().verify(PASSWORD, capsys.readouterr().out.rstrip()) is Verdict.MATCH


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"", "it is empty, and authguard refuses that at every login; choose another one"),
        (b"\n", "it is empty, and authguard refuses that at every login; choose another one"),
        (b"a\0b", "no client can send it, because it has control characters or is not UTF-8; choose another one"),
        (b"a\tb", "no client can send it, because it has control characters"),
        (b"a\x1b[31m", "no client can send it, because it has control characters"),
        (b"p\xe4ss", "standard input is not valid in its encoding"),
        (b"x" * 73, "it has 73 bytes in UTF-8, and bcrypt reads only 72; choose a shorter one"),
        ("\u00e4".encode() * 37, "it has 74 bytes in UTF-8, and bcrypt reads only 72; choose a shorter one"),
        (b"x" * 70_000, "the line is longer than 65535 characters; pass the password alone"),
        (b"e" + "\u0301".encode() * 200, "no client can send it"),
    ],
    ids=range(10),
)
def test_a_password_that_would_not_work_is_refused(
    line: bytes, error: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error says why and shows no part of it."""
    _pass(monkeypatch, line)

    assert run("hash") == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"password: {error}")


def test_a_password_from_an_odd_locale_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a locale, Python reads bytes that are not UTF-8 as halves of surrogate pairs."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"p\xe4ss"), "utf-8", "surrogateescape"))

    assert run("hash") == 2
    assert capsys.readouterr().err.startswith(
        "password: no client can send it, because it has control characters or is"
    )


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("", "it is empty; leave it out for the hash alone"),
        ("a:b", "no client can send it: leave out colons and control characters, and use UTF-8"),
        ("a\nb", "no client can send it"),
        ("a\x1b[31mb", "no client can send it"),
        ("a\udcff", "no client can send it"),
        ("#a", "it begins with # or begins or ends with a blank, which a file does not keep"),
        (" a", "it begins with # or begins or ends with a blank"),
        ("a ", "it begins with # or begins or ends with a blank"),
        ("\ufeffa", "it begins with # or begins or ends with a blank"),
    ],
)
def test_a_name_that_no_line_can_hold_is_refused(
    name: str, error: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anybody is asked for a password."""
    monkeypatch.setattr(sys, "stdin", None)

    assert run("hash", name) == 2
    assert capsys.readouterr().err.startswith(f"name: {error}")


def test_input_that_is_closed_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """``authguard hash <&-`` says so."""
    monkeypatch.setattr(sys, "stdin", None)

    assert run("hash") == 2
    assert capsys.readouterr().err == (
        "password: standard input is closed; run this at a terminal, or pass a line to it\n"
    )


def test_the_error_is_on_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a terminal the cursor is behind the prompt when somebody gives up."""
    stderr = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(getpass, "getpass", Person(KeyboardInterrupt()))

    assert run("hash") == 2
    assert stderr.getvalue() == "\npassword: no password was entered\n"


# --- as a program -----------------------------------------------------------------------------------------------------


@pytest.mark.peer
def test_a_terminal_shows_no_password(tmp_path: Path) -> None:
    """The prompts are at the terminal, and standard output has the line alone."""
    status, out, shown = at_a_terminal(
        ["hash", "alice"],
        {"Password of alice: ": f"{PASSWORD}\n", "Repeat it: ": f"{PASSWORD}\n"},
        cwd=tmp_path,
    )

    name, _, stored = out.rstrip("\n").partition(":")
    assert (status, name) == (0, "alice")
    assert LibpassHasher().verify(PASSWORD, stored) is Verdict.MATCH
    assert PASSWORD not in shown


@pytest.mark.peer
@pytest.mark.parametrize("key", ["\x03", "\x04"], ids=["Ctrl-C", "Ctrl-D"])
def test_a_person_may_give_up(key: str, tmp_path: Path) -> None:
    """One line says that there is no password, and there is no traceback."""
    status, out, shown = at_a_terminal(["hash"], {"Password: ": key}, cwd=tmp_path)

    assert (status, out) == (2, "")
    assert shown.replace("^C", "").splitlines() == ["Password: ", "password: no password was entered"]


@pytest.mark.peer
def test_a_program_passes_the_password_through_a_pipe(tmp_path: Path) -> None:
    """No argument of the program has it, so no list of processes shows it."""
    done = start("hash", "alice", cwd=tmp_path, stdin=f"{PASSWORD}\n")

    assert (done.returncode, done.stderr) == (0, "")
    assert LibpassHasher().verify(PASSWORD, done.stdout.rstrip().removeprefix("alice:")) is Verdict.MATCH


@pytest.mark.peer
@pytest.mark.skipif(HTPASSWD is None, reason="htpasswd is not here")
@pytest.mark.parametrize("password", [PASSWORD, "p\u00e4ssw\u00f6rd: \u65e5\u672c", "x" * 72])
def test_apache_reads_the_line(tmp_path: Path, password: str) -> None:
    """``htpasswd -v`` verifies the password, and refuses another one. ``htpasswd -D`` finds the name."""
    assert HTPASSWD is not None
    path = tmp_path / "users"
    path.write_text(start("hash", "alice", cwd=tmp_path, stdin=f"{password}\n").stdout, "utf-8")

    def htpasswd(*arguments: str) -> int:
        done = subprocess.run([HTPASSWD or "", *arguments], check=False, capture_output=True, timeout=300)
        return done.returncode

    assert htpasswd("-bv", str(path), "alice", password) == 0
    assert htpasswd("-bv", str(path), "alice", f"~{password[1:]}") != 0
    assert htpasswd("-D", str(path), "alice") == 0
    assert path.read_text() == ""


@pytest.mark.peer
def test_a_shell_without_a_locale_writes_utf_8(tmp_path: Path) -> None:
    """Names are UTF-8 whatever the locale is."""
    done = subprocess.run(
        [*PROGRAM, "hash", "am\u00e9lie"],
        input=PASSWORD.encode(),
        env={"PYTHONPATH": os.environ.get("PYTHONPATH", "") or str(Path(__file__).parents[2]), "LC_ALL": "C"},
        capture_output=True,
        cwd=tmp_path,
        timeout=300,
        check=True,
    )

    assert done.stdout.startswith("am\u00e9lie:$2y$12$".encode())
