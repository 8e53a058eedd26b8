"""``authguard htdigest``: make a line for an ``HtdigestFile``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from authguard.accounts.htdigest import check_fits, htdigest_line
from authguard.cli.terminal import ask_password, write
from authguard.errors import ConfigurationError

DESCRIPTION = """Asks for the password twice, without echo, and prints a line name:realm:digest.
If the file has a line for this name and realm already, replace it: two such lines make the file invalid.
If standard input is not a terminal, its first line is the password. The exit status is 2 if no line can be made.
The line is as good as the password for logging in: make the file readable by its owner only (chmod 600)."""
EPILOG = "Example:\n  authguard htdigest orders alice >> users.htdigest"


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
    password = ask_password(f"Password of {name} in {realm}")
    with _errors_about("password"):
        line = htdigest_line(name, realm, password, arguments.algorithm)
    write(line)
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
