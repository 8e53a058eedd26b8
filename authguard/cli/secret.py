"""``authguard secret``: make a random secret."""

from __future__ import annotations

import argparse
import secrets

from authguard.cli.terminal import write

DESCRIPTION = """Prints 86 characters that stand for 64 random bytes: letters, digits, - and _.
That is enough for the secret of Digest(...), and for Secret(...) with HS256, HS384 or HS512."""
EPILOG = "Example:\n  export DIGEST_SECRET=$(authguard secret)"

# As long as the longest hash that it keys, that of HS512 (RFC 7518 section 3.2).
_BYTES = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """This command has no arguments."""


def run(arguments: argparse.Namespace) -> int:
    """Print a secret."""
    write(secrets.token_urlsafe(_BYTES))
    return 0
