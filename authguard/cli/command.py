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
    """Run one command and return the exit status: 0 for success, 1 for findings, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(
        "python -m authguard",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Audit the routes of an app, and make the lines of a password file for Digest.",
        epilog=_EXAMPLES,
    )
    commands = parser.add_subparsers(required=True)
    for command in (routes, htdigest):
        subparser = commands.add_parser(
            command.NAME,
            help=command.HELP,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            description=command.DESCRIPTION,
            epilog=command.EPILOG,
        )
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    namespace = parser.parse_args(arguments)
    try:
        status: int = namespace.run(namespace)
    except ConfigurationError as error:
        parser.exit(2, f"{error}\n")
    return status
