"""``python -m authguard routes shop:app``: what of an app is open, and to whom the rest."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from authguard.auditing.audit import audit
from authguard.auditing.shown import document
from authguard.errors import ConfigurationError
from authguard.guard import Guard
from authguard.surface import endpoints


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 for no finding, 1 for some, 2 where there is nothing to audit."""
    parser = argparse.ArgumentParser("python -m authguard", description="What of an app is open, and to whom the rest.")
    commands = parser.add_subparsers(required=True)
    routes = commands.add_parser("routes", help="a table of what applies where, and of what is worth a second look")
    routes.add_argument("app", help='"module:app", or "module:make_app()"')
    routes.add_argument("--json", action="store_true", help="for programs")
    routes.add_argument("--ignore", action="append", default=[], metavar="CODE", help="accept these findings")
    given = parser.parse_args(arguments)
    try:
        app = _load(given.app)
        result = audit(app, _guard_of(app), ignore=given.ignore)
    except ConfigurationError as error:
        parser.exit(2, f"{error}\n")
    shown = json.dumps(document(result.rows, result.findings), indent=2) if given.json else str(result)
    sys.stdout.write(shown + "\n")
    return 1 if result.findings else 0


def _guard_of(app: object) -> Guard:
    guards = (layer.guard for endpoint in endpoints(app) for layer in endpoint.layers if layer.guard is not None)
    guard = next(guards, None)
    if guard is None:
        raise ConfigurationError("app", "no AuthGuardMiddleware is in front of anything in it")
    return guard


def _load(name: str) -> object:
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ConfigurationError("app", f'{name!r} is not "module:app"')
    # As servers do it: an app is found from where one stands.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        found: object = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is there; something that it imports is not
        raise ConfigurationError("app", f"there is no module {module!r} in {here} or on the path") from None
    path = attribute.removesuffix("()")
    for part in path.split("."):
        found = getattr(found, part, None)
    if path != attribute and callable(found):
        found = found()
    if not callable(found):
        raise ConfigurationError("app", f"{module} has no app {attribute!r}")
    return found
