"""The locks that are laid on what a route serves, as far as they can be seen."""

from __future__ import annotations

import functools
from typing import Any

from authguard.asgi.locks import Lock, lock_marker


def bare(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def dependency_locks(route: object) -> tuple[Lock, ...]:
    """The locks among the dependencies of FastAPI: those of the app and of its routers are among the route's.

    Without those below a dependency that the app overrides, for nobody asks them.
    """
    provider = getattr(getattr(route, "original_route", route), "dependency_overrides_provider", None)
    overridden = getattr(provider, "dependency_overrides", None) or {}
    found: list[Lock] = []
    waiting = [getattr(route, "dependant", None)]
    while waiting:
        for dependant in getattr(waiting.pop(), "dependencies", ()):
            if dependant.call not in overridden:
                found += locks_of(dependant.call)
                waiting.append(dependant)
    return tuple(found)


def locks_of(function: object) -> tuple[Lock, ...]:
    """Those that are asked before it runs."""
    return _read(function)[0]


def covered(function: object) -> str:
    """Where a lock was said that a decorator stands above, which may answer before it is asked."""
    return next((lock.location for lock in _read(function)[1]), "")


def _read(function: Any) -> tuple[tuple[Lock, ...], tuple[Lock, ...]]:
    """The locks on it, and those that are only below it."""
    function = bare(function)
    if not hasattr(function, "__authguard__"):
        function = type(function).__call__  # an object that is called has them there
    trusted: list[Lock] = []
    while True:
        found = lock_marker(function)
        function = getattr(function, "__wrapped__", None)
        below = lock_marker(function)
        # functools.wraps copies the attribute, as it is, to whatever wraps; a lock puts a longer one on.
        if found and found is below:
            return tuple(trusted), _locks(found)
        trusted += _locks(found[: len(found) - len(below)])
        if not below:
            return tuple(trusted), ()


def _locks(found: tuple[object, ...]) -> tuple[Lock, ...]:
    return tuple(lock for lock in found if isinstance(lock, Lock))


def bypassed(endpoint: Any) -> str:
    """Where a lock was said that a route has not got, because it was made of the function below it."""
    location: str = getattr(endpoint, "__authguard_under__", "")
    # What the function's own name still means is given to routes with a lock and without one, and that is meant.
    known = getattr(endpoint, "__globals__", None)
    meant = known.get(getattr(endpoint, "__qualname__", "")) if isinstance(known, dict) else None
    return "" if meant is endpoint else location
