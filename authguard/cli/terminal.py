"""Standard input, output and error: what a command reads and prints, at a terminal and in a pipe."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from authguard.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.console import Console

# Longer than any password that is accepted. A longer line is refused, and not cut.
_MAX_LINE = 65_536


def write(text: str) -> None:
    """Print text and a line feed to standard output, in UTF-8 whatever the locale is.

    Raises ``ConfigurationError`` if that is closed or full, and ``BrokenPipeError`` if nobody reads it any more.
    """
    if sys.stdout is None:
        raise ConfigurationError("standard output", "it is closed; let the shell open it, or write to a file")
    with _output():
        sys.stdout.flush()
        sys.stdout.buffer.write(f"{text}\n".encode("utf-8", "backslashreplace"))
        sys.stdout.buffer.flush()


def flush() -> None:
    """Write what is buffered, with the errors of ``write``.

    Otherwise an error would come while the interpreter ends, which prints a traceback then.
    """
    if sys.stdout is not None:
        with _output():
            sys.stdout.flush()


@contextmanager
def _output() -> Iterator[None]:
    """If something cannot be written, write nothing more: the interpreter would try again while it ends."""
    try:
        yield
    except OSError as error:
        with suppress(OSError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)
        if isinstance(error, BrokenPipeError):
            raise
        raise ConfigurationError("standard output", f"{error.strerror}; the output is not complete") from None


def note(text: str) -> None:
    """Print one line to standard error, for the person. It is left out if nobody can read it."""
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.write(f"{printable(text)}\n")
            sys.stderr.flush()


def printable(text: str) -> str:
    """The text with its control characters escaped, so that none of them reaches a terminal."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def ask_password(prompt: str) -> str:
    """The password that a person enters twice, without echo, or the first line of standard input if it is no terminal.

    Raises ``ConfigurationError``, whose text never holds the password.
    """
    if sys.stdin is None:
        raise ConfigurationError("password", "standard input is closed; run this at a terminal, or pass a line to it")
    try:
        if not sys.stdin.isatty():
            password, same = _first_line(sys.stdin), True
        else:
            password = getpass.getpass(f"{printable(prompt)}: ")
            same = getpass.getpass("Repeat it: ") == password
    except UnicodeDecodeError:
        problem = "standard input is not valid in its encoding"  # the codec's own text would show a byte of it
    except (EOFError, KeyboardInterrupt):
        problem = "no password was entered"
        if sys.stderr is not None and sys.stderr.isatty():
            note("")  # the cursor is behind the prompt
    else:
        if same:
            return password
        problem = "the two passwords are not the same"
    raise ConfigurationError("password", problem)


def _first_line(stream: TextIO) -> str:
    line = stream.readline(_MAX_LINE)
    if len(line) == _MAX_LINE:
        raise ConfigurationError(
            "password", f"the line is longer than {_MAX_LINE - 1} characters; pass the password alone"
        )
    return line.removesuffix("\n")


def rich_console() -> Console | None:
    """A console that draws tables and colours; None where the output must be plain.

    It is plain without the package ``rich`` (extra ``cli``), if it goes to a pipe, to a file or to a terminal without
    UTF-8, and if ``NO_COLOR`` is set (https://no-color.org).
    """
    if sys.stdout is None or not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return None
    if sys.stdout.encoding.lower() != "utf-8":  # rich fails for what the terminal cannot show
        return None
    try:
        from rich.console import Console  # noqa: PLC0415 - it is optional
    except ImportError:
        return None
    return Console(file=sys.stdout, markup=False, highlight=False, emoji=False)
