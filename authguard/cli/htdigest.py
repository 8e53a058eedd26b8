"""``python -m authguard htdigest orders alice``: a line for an ``HtdigestFile``."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from authguard.accounts.htdigest import check_fits, htdigest_line
from authguard.errors import ConfigurationError

NAME = "htdigest"
HELP = "a line name:realm:digest for a file of Digest, of a password that is asked for"
DESCRIPTION = """Asks for the password twice, without echo, and prints the line.
It takes the place of the line that the name has in this realm: a second one makes the file bad.
Where standard input is no terminal, its first line is the password. Exits with 2 where no line can be made.
Whoever can read the line can log in: keep the file from everybody else (chmod 600)."""
EPILOG = "Example:\n  python -m authguard htdigest orders alice >> users.htdigest"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of this command."""
    parser.add_argument("realm", help="the realm of the Digest(...) that is to read the file")
    parser.add_argument("name", help="the user's")
    parser.add_argument(
        "--algorithm", choices=["SHA-256", "MD5"], default="SHA-256", help="MD5 for what knows no other; SHA-256 else"
    )


def run(given: argparse.Namespace) -> int:
    """Prints the line. Raises ``ConfigurationError``, which never holds the password."""
    with _about("name"):
        check_fits(given.name, given.realm)  # before anybody types a password
    with _about("password"):
        line = htdigest_line(given.name, given.realm, _password(given.name, given.realm), given.algorithm)
    # The file is in UTF-8, whatever a terminal here speaks.
    sys.stdout.buffer.write(f"{line}\n".encode())
    sys.stdout.buffer.flush()
    return 0


@contextmanager
def _about(argument: str) -> Iterator[None]:
    """Makes of a wrong value an error about this argument."""
    try:
        yield
    except ConfigurationError:
        raise
    except ValueError as error:
        raise ConfigurationError(argument, str(error)) from None


def _password(name: str, realm: str) -> str:
    """Raises ``ValueError``."""
    try:
        if not sys.stdin.isatty():
            return sys.stdin.readline().removesuffix("\n")
        password = getpass.getpass(f"Password of {name} in {realm}: ")
        same = getpass.getpass("Once more: ") == password
    except UnicodeDecodeError:
        problem = "standard input is not in its own encoding"  # the codec's own text shows an octet of it
    except (EOFError, KeyboardInterrupt):
        problem = "none was given"
    else:
        if same:
            return password
        problem = "the two are not the same"
    raise ValueError(problem)
