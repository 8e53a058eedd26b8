"""The command, called in this process or started as a program, alone or at a terminal of its own."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from authguard.cli import main

ROOT = Path(__file__).parents[2]
#: The environment of a user's shell: neither unbuffered nor in colours by accident.
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith("PYTHON") and name != "NO_COLOR"
} | {"PYTHONPATH": str(ROOT)}
PROGRAM = (sys.executable, "-W", "error", "-m", "authguard")
TIMEOUT = 120
#: Run a program whose terminal is its standard input: that one is asked for passwords, and sends it Ctrl-C.
WITH_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def run(*arguments: str) -> int:
    """The exit status of the command in this process."""
    try:
        return main(arguments)
    except SystemExit as exited:
        return int(exited.code or 0)


def start(*arguments: str, cwd: Path, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end, without a terminal."""
    return subprocess.run(
        [*PROGRAM, *arguments],
        cwd=cwd,
        env={**ENVIRONMENT, **env},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def at_a_terminal(
    arguments: Sequence[str], answers: dict[str, str], *, cwd: Path, program: Sequence[str] = PROGRAM, **env: str
) -> tuple[int, str, str]:
    """Run the command, or another program, at a terminal, and type an answer after each prompt.

    Returns its exit status, its standard output, and what the terminal showed. If there is nothing to answer, standard
    output is the terminal too.
    """
    master, slave = pty.openpty()
    process: subprocess.Popen[bytes] = subprocess.Popen(
        [sys.executable, "-c", WITH_TERMINAL, *program, *arguments],
        stdin=slave,
        stdout=subprocess.PIPE if answers else slave,
        stderr=slave,
        cwd=cwd,
        env={**ENVIRONMENT, "TERM": "xterm-256color", **env},
    )
    os.close(slave)
    try:
        shown = b""
        for prompt, answer in answers.items():
            while not shown.endswith(prompt.encode()):
                shown += _read(master)
            os.write(master, answer.encode())
        while part := _read(master):
            shown += part
        printed, _ = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
        os.close(master)
    return process.returncode, (printed or b"").decode(), shown.decode()


def _read(terminal: int) -> bytes:
    """The next part of what a terminal shows; nothing once the last program has closed it."""
    ready, _, _ = select.select([terminal], [], [], TIMEOUT)
    assert ready, "the program neither shows anything nor ends"
    try:
        return os.read(terminal, 65_536)
    except OSError:  # Linux raises it at the end
        return b""
