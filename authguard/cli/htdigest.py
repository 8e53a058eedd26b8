"""``python -m authguard htdigest orders alice``: make a line for an ``HtdigestFile``."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from authguard.accounts.htdigest import check_fits, htdigest_line
from authguard.errors import ConfigurationError

NAME = "htdigest"
HELP = "ask for a password and print a line name:realm:digest for a password file for Digest"
DESCRIPTION = """Asks for the password twice, without echo, and prints the line.
If the file has a line for this name and realm already, replace it: two such lines make the file invalid.
If standard input is not a terminal, its first line is the password. The exit status is 2 if no line can be made.
The line is as good as the password for logging in: make the file readable by its owner only (chmod 600)."""
EPILOG = "Example:\n  python -m authguard htdigest orders alice >> users.htdigest"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("realm", help="the realm of the Digest(...) that reads the file")
    parser.add_argument("name", help="the username")
    parser.add_argument(
        "--algorithm",
        choices=["SHA-256", "MD5"],
        default="SHA-256",
        help="MD5 is for clients that know no other; the default is SHA-256",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the line. Raises ``ConfigurationError``, whose text never holds the password."""
    name, realm = arguments.name, arguments.realm
    with _errors_about("name"):
        check_fits(name, realm)  # before anybody types a password
    with _errors_about("password"):
        line = htdigest_line(name, realm, _password(name, realm), arguments.algorithm)
    # The file is UTF-8, whatever the encoding of standard output.
    sys.stdout.buffer.write(f"{line}\n".encode())
    sys.stdout.buffer.flush()
    return 0


@contextmanager
def _errors_about(argument: str) -> Iterator[None]:
    """Turn a ``ValueError`` into a ``ConfigurationError`` about this argument."""
    try:
        yield
    except ConfigurationError:
        raise
    except ValueError as error:
        raise ConfigurationError(argument, str(error)) from None


def _password(name: str, realm: str) -> str:
    """The password from the terminal, or from the first line of standard input. Raises ``ValueError``."""
    try:
        if not sys.stdin.isatty():
            return sys.stdin.readline().removesuffix("\n")
        password = getpass.getpass(f"Password of {name} in {realm}: ")
        same = getpass.getpass("Repeat it: ") == password
    except UnicodeDecodeError:
        problem = "standard input is not valid in its encoding"  # the codec's own text would show a byte of it
    except (EOFError, KeyboardInterrupt):
        problem = "no password was entered"
    else:
        if same:
            return password
        problem = "the two passwords are not the same"
    raise ValueError(problem)
