"""``authguard routes``: print what each route of an app requires, and the findings."""

from __future__ import annotations

import argparse

from authguard.audit.audit import audit
from authguard.audit.report import render_json
from authguard.cli.app import first_guard, load_app
from authguard.cli.terminal import rich_console, write

DESCRIPTION = """Prints each method and path that an app serves, with what it requires, and findings with a fix.
The exit status is 0 if there is no finding, 1 if there are findings, 2 if nothing can be audited."""
EPILOG = 'Example:\n  authguard routes shop:app --ignore "route.unnamed GET /docs"'

_IGNORE = "accept a finding: its code, or its code and what it is about; may be repeated"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("app", help='"module:app", or "module:make_app()"')
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--ignore", action="append", default=[], metavar="FINDING", help=_IGNORE)


def run(arguments: argparse.Namespace) -> int:
    """Print the audit; return 1 if it has findings. Raises ``ConfigurationError``."""
    app = load_app(arguments.app)
    result = audit(app, first_guard(app), ignore=arguments.ignore)
    console = None if arguments.json else rich_console()
    if console is not None:
        from authguard.cli.audit_table import print_table  # noqa: PLC0415 - it needs rich, which is optional

        print_table(console, result)
    else:
        write(render_json(result.rows, result.findings) if arguments.json else str(result))
    return 1 if result.findings else 0
