"""``authguard hash``: make a password hash, or a line of an htpasswd file."""

from __future__ import annotations

import argparse

from authguard.accounts.password_hashes import LibpassHasher
from authguard.cli.terminal import ask_password, write
from authguard.errors import ConfigurationError
from authguard.wire.basic import UserPass
from authguard.wire.text import nfc

DESCRIPTION = """Asks for the password twice, without echo, and prints its hash: bcrypt, as htpasswd -B writes it.
With a name it prints a line for an htpasswd file; without one, the hash alone, for Account(...) or a database.
If the file has a line of this name already, replace it: two such lines make the file invalid.
If standard input is not a terminal, its first line is the password. Letters with accents are hashed in the form (NFC)
in which authguard compares them. The exit status is 2 if no hash can be made."""
EPILOG = "Example:\n  authguard hash alice >> users.htpasswd"

# bcrypt does not read further, so a longer password would be accepted with any other end.
_MAX_BYTES = 72
# The two prefixes are names of the same algorithm. htpasswd writes this one, and every reader of bcrypt knows it.
_APACHE, _OURS = "$2y$", "$2b$"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("name", nargs="?", help="the username; without it, the hash alone is printed")


def run(arguments: argparse.Namespace) -> int:
    """Print the hash, or the line. Raises ``ConfigurationError``, whose text never holds the password."""
    name: str | None = arguments.name
    if name is not None:
        name = _checked_name(name)
    password = _checked_password(ask_password("Password" if name is None else f"Password of {name}"))
    stored = _APACHE + LibpassHasher(makes="bcrypt").hash(password).removeprefix(_OURS)
    write(stored if name is None else f"{name}:{stored}")
    return 0


def _checked_name(name: str) -> str:
    """The name in NFC, as a file has it. Raises ``ConfigurationError`` before anybody types a password."""
    if not name:
        raise ConfigurationError("name", "it is empty; leave it out for the hash alone")
    if name.strip() != name or name[0] in "#\ufeff":
        raise ConfigurationError("name", "it begins with # or begins or ends with a blank, which a file does not keep")
    try:
        name.encode()
        UserPass(name, "").to_token68()
        return nfc(name)
    except ValueError:
        raise ConfigurationError(
            "name", "no client can send it: leave out colons and control characters, and use UTF-8"
        ) from None


def _checked_password(password: str) -> str:
    """The password in NFC. Raises ``ConfigurationError`` for one that nobody could log in with."""
    if not password:
        raise ConfigurationError(
            "password", "it is empty, and authguard refuses that at every login; choose another one"
        )
    try:
        size = len(nfc(password).encode())
        UserPass("", password).to_token68()
    except ValueError:
        problem = "no client can send it, because it has control characters or is not UTF-8; choose another one"
    else:
        if size <= _MAX_BYTES:
            return nfc(password)
        problem = f"it has {size} bytes in UTF-8, and bcrypt reads only {_MAX_BYTES}; choose a shorter one"
    raise ConfigurationError("password", problem)
