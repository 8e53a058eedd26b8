"""Find an app, as servers do, and the guard in front of it: ``shop:app``, or ``shop:make_app()``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from authguard.audit.route_discovery import discover_endpoints
from authguard.core.guard import Guard
from authguard.errors import ConfigurationError


def first_guard(app: object) -> Guard:
    """The outermost guard in front of a route. Raises ``ConfigurationError`` if there is none."""
    layers = (layer for endpoint in discover_endpoints(app) for layer in endpoint.layers)
    guard = next((layer.guard for layer in layers if layer.guard is not None), None)
    if guard is None:
        raise ConfigurationError("app", "it has no AuthGuardMiddleware in front of any route")
    return guard


def load_app(name: str) -> object:
    """The app of this name. Raises ``ConfigurationError``, with the text of an error of the app's own code."""
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ConfigurationError("app", f'{name!r} is not "module:app"')
    # Servers also look for the app in the working directory.
    try:
        here = str(Path.cwd())
    except OSError:
        raise ConfigurationError("app", "the working directory is gone; change to the folder of the app") from None
    if here not in sys.path:
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
