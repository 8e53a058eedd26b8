"""``python -m authguard routes shop:app``: what of an app is open, and to whom the rest."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

from authguard.audit.audit import audit
from authguard.audit.report import document
from authguard.audit.route_discovery import endpoints
from authguard.core.guard import Guard
from authguard.errors import ConfigurationError

NAME = "routes"
HELP = "a table of what applies where, and of what is worth a second look"
DESCRIPTION = "Exits with 0 where there is no finding, with 1 for some, with 2 where nothing can be audited."
EPILOG = 'Example:\n  python -m authguard routes shop:app --ignore "route.unnamed GET /docs"'

_IGNORE = "accept a finding: its code, or its code and what it is about; may be given more than once"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of this command."""
    parser.add_argument("app", help='"module:app", or "module:make_app()"')
    parser.add_argument("--json", action="store_true", help="the same for programs")
    parser.add_argument("--ignore", action="append", default=[], metavar="FINDING", help=_IGNORE)


def run(given: argparse.Namespace) -> int:
    """Prints the table; the exit status tells of findings. Raises ``ConfigurationError``."""
    app = _load(given.app)
    result = audit(app, _guard_of(app), ignore=given.ignore)
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
    found = _imported(module, here)
    path = attribute.removesuffix("()")
    for part in path.split("."):
        found = getattr(found, part, None)
    if path != attribute and callable(found):
        if hasattr(found, "routes") or hasattr(found, "app"):
            raise ConfigurationError("app", f"{module}:{path} is an app already, leave out ()")
        found = _called(found, f"{module}:{attribute}")
    if isinstance(found, Guard):
        raise ConfigurationError("app", f"{module}:{attribute} is a Guard, not an app")
    if not callable(found):
        raise ConfigurationError("app", f"{module} has no app {attribute!r}")
    return found


def _imported(module: str, here: str) -> object:
    try:
        return importlib.import_module(module)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{module}.".startswith(f"{missing}."):
            raise ConfigurationError("app", f"there is no module {module!r} in {here} or on the path") from None
        raise ConfigurationError("app", f"{module} cannot be imported: {_line(error)}") from error


def _called(make: Callable[[], object], name: str) -> object:
    try:
        return make()
    except Exception as error:
        raise ConfigurationError("app", f"{name} fails: {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
