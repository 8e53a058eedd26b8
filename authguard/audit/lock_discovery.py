"""The locks on what a route calls: those that run before it, and those that a mistake leaves out."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

from authguard.asgi.locks import Lock, is_value_taken, lock_marker, outer_lock_location


def unwrap_partial(function: Any) -> Any:
    """The function inside ``functools.partial``, or the function itself."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def dependency_locks(route: object) -> tuple[Lock, ...]:
    """The locks among the dependencies of a FastAPI route, those of its routers and its app included.

    A dependency that the app overrides does not run, nor do the dependencies below it, so their locks are left out.
    """
    provider = getattr(getattr(route, "original_route", route), "dependency_overrides_provider", None)
    overridden = getattr(provider, "dependency_overrides", None) or {}
    locks: list[Lock] = []
    waiting = [getattr(route, "dependant", None)]
    while waiting:
        for dependant in getattr(waiting.pop(), "dependencies", ()):
            if dependant.call not in overridden:
                locks += [
                    replace(lock, value_taken=True) if lock.is_dependency and is_value_taken(lock, route) else lock
                    for lock in function_locks(dependant.call)
                ]
                waiting.append(dependant)
    return tuple(locks)


def function_locks(function: object) -> tuple[Lock, ...]:
    """The locks on a function or a callable object that run before it."""
    return _running_and_covered(function)[0]


def covered_lock_location(function: object) -> str:
    """Source location of a ``requires(...)`` below another decorator, which may return before the check runs; or ""."""
    return next((lock.location for lock in _running_and_covered(function)[1]), "")


def _running_and_covered(function: Any) -> tuple[tuple[Lock, ...], tuple[Lock, ...]]:
    """The locks that run before the function, and the locks below another decorator."""
    function = unwrap_partial(function)
    if not hasattr(function, "__authguard__"):
        function = type(function).__call__  # a callable object has its locks there
    running: list[Lock] = []
    while True:
        marker = lock_marker(function)
        function = getattr(function, "__wrapped__", None)
        inner_marker = lock_marker(function)
        # functools.wraps copies the marker to whatever wraps the function; requires(...) makes a longer one.
        if marker and marker is inner_marker:
            return tuple(running), _locks(marker)
        running += _locks(marker[: len(marker) - len(inner_marker)])
        if not inner_marker:
            return tuple(running), ()


def _locks(marker: tuple[object, ...]) -> tuple[Lock, ...]:
    return tuple(lock for lock in marker if isinstance(lock, Lock))


def bypassed_lock_location(endpoint: Any) -> str:
    """Source location of a ``requires(...)`` that wraps this function, but not in the route that calls it; or ""."""
    location = outer_lock_location(endpoint)
    # If the module's name for the function still means the bare function, a route without the lock is intended.
    namespace = getattr(endpoint, "__globals__", None)
    named = namespace.get(getattr(endpoint, "__qualname__", "")) if isinstance(namespace, dict) else None
    return "" if named is endpoint else location
