"""The arguments of ``python -m authguard``, and its exit status."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from authguard.cli import htdigest, routes
from authguard.errors import ConfigurationError

_EXAMPLES = """Examples:
  python -m authguard routes shop:app
  python -m authguard htdigest orders alice >> users.htdigest"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 for success, 1 for findings, 2 where there is nothing to audit or to print."""
    parser = argparse.ArgumentParser(
        "python -m authguard",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="What of an app is open, and to whom the rest; and lines for a file of Digest.",
        epilog=_EXAMPLES,
    )
    commands = parser.add_subparsers(required=True)
    for command in (routes, htdigest):
        own = commands.add_parser(
            command.NAME,
            help=command.HELP,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            description=command.DESCRIPTION,
            epilog=command.EPILOG,
        )
        command.add_arguments(own)
        own.set_defaults(run=command.run)
    given = parser.parse_args(arguments)
    try:
        status: int = given.run(given)
    except ConfigurationError as error:
        parser.exit(2, f"{error}\n")
    return status
