"""``python -m authguard routes shop:app``: print what each route requires, and the findings."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from authguard.audit.audit import audit
from authguard.audit.report import render_json
from authguard.audit.route_discovery import discover_endpoints
from authguard.core.guard import Guard
from authguard.errors import ConfigurationError

NAME = "routes"
HELP = "print what each route of an app requires, and findings with a fix"
DESCRIPTION = "The exit status is 0 if there is no finding, 1 if there are findings, 2 if nothing can be audited."
EPILOG = 'Example:\n  python -m authguard routes shop:app --ignore "route.unnamed GET /docs"'

_IGNORE = "accept a finding: its code, or its code and what it is about; may be repeated"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("app", help='"module:app", or "module:make_app()"')
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--ignore", action="append", default=[], metavar="FINDING", help=_IGNORE)


def run(arguments: argparse.Namespace) -> int:
    """Print the audit; return 1 if it has findings. Raises ``ConfigurationError``."""
    app = _load(arguments.app)
    result = audit(app, _first_guard(app), ignore=arguments.ignore)
    text = render_json(result.rows, result.findings) if arguments.json else str(result)
    sys.stdout.write(text + "\n")
    return 1 if result.findings else 0


def _first_guard(app: object) -> Guard:
    layers = (layer for endpoint in discover_endpoints(app) for layer in endpoint.layers)
    guard = next((layer.guard for layer in layers if layer.guard is not None), None)
    if guard is None:
        raise ConfigurationError("app", "it has no AuthGuardMiddleware in front of any route")
    return guard


def _load(name: str) -> object:
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ConfigurationError("app", f'{name!r} is not "module:app"')
    # Servers also look for the app in the working directory.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    value = _import(module, here)
    path = attribute.removesuffix("()")
    for part in path.split("."):
        value = getattr(value, part, None)
    if path != attribute and callable(value):
        if hasattr(value, "routes") or hasattr(value, "app"):
            raise ConfigurationError("app", f"{module}:{path} is an app and not a function; leave out ()")
        value = _call(value, f"{module}:{attribute}")
    if isinstance(value, Guard):
        raise ConfigurationError("app", f"{module}:{attribute} is a Guard, not an app")
    if not callable(value):
        raise ConfigurationError("app", f"{module} has no app {attribute!r}")
    return value


def _import(module: str, here: str) -> object:
    try:
        return importlib.import_module(module)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{module}.".startswith(f"{missing}."):
            raise ConfigurationError("app", f"there is no module {module!r} in {here} or on sys.path") from None
        raise ConfigurationError("app", f"{module} cannot be imported: {_one_line(error)}") from error


def _call(factory: Callable[[], object], name: str) -> object:
    try:
        return factory()
    except Exception as error:
        raise ConfigurationError("app", f"{name} fails: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
