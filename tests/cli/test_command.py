"""``authguard``: its help, its errors, and what it does with a pipe, a full disk and Ctrl-C."""

from __future__ import annotations

import io
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import authguard
from authguard.cli import command
from authguard.cli.terminal import printable
from tests.cli.programs import ENVIRONMENT, PROGRAM, TIMEOUT, run, start

COMMANDS = tuple(command._COMMANDS)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes into the tree."""
    monkeypatch.chdir(tmp_path)


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    """It is the whole output, so that a script can compare it."""
    assert run("--version") == 0
    assert capsys.readouterr() == (f"authguard {authguard.__version__}\n", "")


def test_the_version_is_printed_without_cryptography_and_without_a_framework() -> None:
    """It imports no command, no scheme, nothing of Starlette, and not rich."""
    code = "import sys; from authguard.cli import main\ntry: main(['--version'])\nfinally: print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, timeout=TIMEOUT, check=True
    ).stdout.split()

    assert {name for name in loaded if name.startswith("authguard.cli")} == {
        "authguard.cli",
        "authguard.cli.terminal",
        "authguard.cli.command",
    }
    assert not {"cryptography", "jwt", "starlette", "passlib", "rich", "asyncio", "authguard.model"} & set(loaded)


def test_each_command_has_a_module() -> None:
    """The table of commands names exactly the modules that have arguments."""
    folder = Path(command.__file__).parent
    modules = {path.stem for path in folder.glob("*.py") if "\ndef add_arguments(" in path.read_text("utf-8")}

    assert modules == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_has_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The help says what the command is for, and its example can be copied. No line is wider than 120 columns."""
    assert run(name, "--help") == 0

    text = capsys.readouterr().out
    assert text.startswith(f"usage: authguard {name} ")
    assert re.search(rf"\n\nExamples?:\n  (?:export \w+=\$\()?authguard {name}\b", text)
    assert max(map(len, text.splitlines())) <= 120


def test_the_help_lists_each_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Each has a line that says what it does."""
    assert run("--help") == 0

    text = capsys.readouterr().out
    assert [name for name in COMMANDS if not re.search(rf"^    {name} +\w", text, re.MULTILINE)] == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "the following arguments are required: COMMAND; see authguard --help"),
        (["--versio"], "the following arguments are required: COMMAND; see authguard --help"),
        (["secret", "--size", "3"], "there is no option --size; see authguard secret --help"),
        (["secret", "--size=3", "-x"], "there is no option --size, -x; see authguard secret --help"),
        (["hash", "--pass\x1b[31m=s3cret"], r"there is no option --pass\x1b[31m; see authguard hash --help"),
        (["keygen", "--algorithm", "\x1b[31m"], "--algorithm: invalid choice: '\\x1b[31m'"),
        (["token", "--for"], "--for: expected one argument; see authguard token --help"),
        (["keygen", "--priv", "x"], "there is no option --priv; see authguard keygen --help"),
    ],
)
def test_a_wrong_argument_is_one_line(arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It names the argument, has no control character of it, and the exit status is 2."""
    assert run(*arguments) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(error)
    assert err.count("\n") == 1
    assert printable(err.removesuffix("\n")) == err.removesuffix("\n")


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        (["hash", "alice", "s3cret"], "an argument too many"),
        (["htdigest", "orders", "alice", "s3cret", "x"], "2 arguments too many"),
    ],
)
def test_a_password_among_the_arguments_is_not_repeated(
    arguments: list[str], number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error says that it is in the shell's history by now."""
    assert run(*arguments) == 2

    err = capsys.readouterr().err
    assert err.startswith(f"{number}; a password is never an argument: if one was, choose another")
    assert "s3cret" not in err


# --- standard output, standard error ----------------------------------------------------------------------------------


@contextmanager
def _closed_pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.TextIOWrapper]:
    """Standard output is a pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", pipe)
        yield pipe


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("secret",)])
def test_a_reader_that_has_gone_ends_the_command_quietly(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The status is that of a program that ended by SIGPIPE, and nothing is left to be written at the end."""
    with _closed_pipe(monkeypatch) as pipe:
        assert run(*arguments) == 141
        pipe.flush()

    assert capsys.readouterr().err == ""


def test_what_other_code_printed_is_written_before_the_command_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """An app may print while it is imported. If its reader has gone by then, there is no traceback either."""
    with _closed_pipe(monkeypatch) as pipe:
        pipe.write("imported")

        assert run("secret", "--nothing") == 141


def test_a_full_disk_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said in one line, and the status is 2."""
    with open("/dev/full", "w") as full:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", full)

        assert run("secret") == 2

    assert capsys.readouterr().err == "standard output: No space left on device; the output is not complete\n"


def test_output_that_is_closed_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """``authguard secret >&-`` says so."""
    monkeypatch.setattr(sys, "stdout", None)

    assert run("secret") == 2
    assert capsys.readouterr().err.startswith("standard output: it is closed; ")


class _Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("stderr", [None, _Broken()])
def test_an_error_that_nobody_can_read_is_left_out(
    stderr: io.StringIO | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It does not go to standard output, where it would be taken for the result."""
    monkeypatch.setattr(sys, "stderr", stderr)

    assert run("secret", "--nothing") == 2
    assert capsys.readouterr().out == ""


def test_an_interrupt_ends_the_command_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The status is that of a program that ended by SIGINT."""
    monkeypatch.setattr(secrets, "token_urlsafe", lambda _: signal.raise_signal(signal.SIGINT))

    assert run("secret") == 130
    assert capsys.readouterr() == ("", "interrupted\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b", "a b"),
        ("pässwörd 日本", "pässwörd 日本"),
        ("\x1b]0;title\x07\n\r\x00\x9b", r"\x1b]0;title\x07\n\r\x00\x9b"),
        ("\u202e\u2066\u200b", r"\u202e\u2066\u200b"),
        ("\udcff\u2028", r"\udcff\u2028"),
    ],
)
def test_control_characters_do_not_reach_the_terminal(text: str, shown: str) -> None:
    """What moves the cursor, sets a title or turns the direction of text is escaped, and letters are not."""
    assert printable(text) == shown


# --- as a program -----------------------------------------------------------------------------------------------------


@pytest.mark.peer
def test_the_program_has_the_same_status_and_output(tmp_path: Path) -> None:
    """``python -m authguard`` is the command."""
    version, wrong = start("--version", cwd=tmp_path), start("secret", "--size", cwd=tmp_path)

    assert (version.returncode, version.stdout, version.stderr) == (0, f"authguard {authguard.__version__}\n", "")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "there is no option --size; see authguard secret --help\n"


@pytest.mark.peer
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_the_program_ends_without_a_traceback_if_its_output_fails(tmp_path: Path, unbuffered: str) -> None:
    """A pipe that is closed, a full disk and output that is closed, whether Python buffers or not."""
    script = """
        ("$@" --help; echo $? >&2) | true
        "$@" secret > /dev/full; echo $? >&2
        "$@" --help > /dev/full; echo $? >&2
        "$@" secret >&-; echo $? >&2
        "$@" secret --nothing 2>&-; echo $? >&2
    """
    done = subprocess.run(
        ["bash", "-c", script, "bash", *PROGRAM],
        cwd=tmp_path,
        env={**ENVIRONMENT, "PYTHONUNBUFFERED": unbuffered},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )

    full = "standard output: No space left on device; the output is not complete"
    closed = "standard output: it is closed; let the shell open it, or write to a file"
    assert done.stderr.splitlines() == ["141", full, "2", full, "2", closed, "2", "2"]
    assert done.stdout == ""


# With -W error, Python also tells of the file that was open when the signal came.
INTERRUPTED = (sys.executable, "-m", "authguard")


@pytest.mark.peer
def test_ctrl_c_ends_the_program_without_a_traceback(tmp_path: Path) -> None:
    """The program waits for a key from a pipe, and is interrupted there."""
    fifo = tmp_path / "key"
    os.mkfifo(fifo)
    with subprocess.Popen(
        [*INTERRUPTED, "token", "--key", str(fifo), "--issuer", "i", "--audience", "a", "--sub", "s"],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as program:
        descriptor = _open_for_writing(fifo)  # it succeeds as soon as the program has opened it
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=TIMEOUT)
        os.close(descriptor)

    assert (program.returncode, out, err) == (130, b"", b"interrupted\n")


def _open_for_writing(fifo: Path) -> int:
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.01)
    pytest.fail("the program has not opened its key")
