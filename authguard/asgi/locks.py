"""Locks: a requirement on one route, asked behind the guard, and ``allows(...)`` for code that branches."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Mapping
from dataclasses import field
from functools import partial
from typing import Any

from starlette.requests import HTTPConnection

from authguard.asgi.request_context import RequestContext
from authguard.errors import ConfigurationError
from authguard.model import Principal, Requirement
from authguard.policy.requirements import OPTIONAL, PUBLIC, check_requirement
from authguard.source_location import caller_location
from authguard.validation import check_flag
from authguard.value_types import frozen


@frozen
class Lock:
    """A requirement on one route. ``location`` is the file and the line of the ``requires(...)``.

    ``report_only``: whether a request passes that does not meet it. ``is_dependency``: whether it is one of FastAPI,
    whose value a function may take as a parameter; then it refuses all the same, which the audit notes in
    ``value_taken``.
    """

    requirement: Requirement
    location: str = field(default="", compare=False)
    report_only: bool = False
    is_dependency: bool = field(default=False, compare=False)
    value_taken: bool = field(default=False, compare=False)

    async def open(self, connection: HTTPConnection) -> Principal | None:
        """The principal; None if the requirement is OPTIONAL or the lock report-only. Raises ``AccessDenied``."""
        return await context_of(connection).require(self.requirement, route_params(connection), connection.scope, self)

    def value_is_taken(self, scope: Mapping[str, Any]) -> bool:
        """Whether a function of the route that answers takes the principal from this lock. ``scope`` is the route's."""
        return self.is_dependency and is_value_taken(self, scope.get("route"))


def is_value_taken(own: Lock, route: object) -> bool:
    """Whether a parameter of a FastAPI route, or of one of its dependencies, has the value of this lock.

    True for what is no such route: nobody knows then.
    """
    dependant = getattr(getattr(route, "original_route", route), "dependant", None)
    if dependant is None:
        return True
    waiting = [dependant]
    while waiting:
        for dependency in waiting.pop().dependencies:
            if dependency.name is not None and own in lock_marker(dependency.call):
                return True
            waiting.append(dependency)
    return False


def lock(requirement: Requirement, *, report_only: bool, is_dependency: bool = False) -> Lock:
    """A lock, located where the caller of this function was called."""
    check_requirement("requirement", requirement)
    if requirement == PUBLIC:
        raise ConfigurationError("requirement", "a lock cannot open a route; put PUBLIC into the rules")
    check_flag("report_only", report_only)
    return Lock(requirement, caller_location(2), report_only, is_dependency)


def context_of(connection: HTTPConnection) -> RequestContext:
    """The context of this request. Raises ``ConfigurationError`` if no guard is in front of the app."""
    context = connection.scope.get("authguard")
    if not isinstance(context, RequestContext):
        raise ConfigurationError(
            "app",
            "no guard is in front of this app, or the request is over: install(app, guard) on FastAPI, else "
            "app.add_middleware(AuthGuardMiddleware, guard=guard)",
        )
    return context


def allows(connection: HTTPConnection, requirement: Requirement) -> Coroutine[Any, Any, bool]:
    """Whether the principal meets the requirement: ``if await allows(request, role("editor")):``.

    It denies nothing by itself; only bad credentials raise ``AccessDenied``. Raises ``ConfigurationError`` if no guard
    is in front of the app, and if ``await`` was forgotten.
    """
    check_requirement("requirement", requirement)
    return _Allows(partial(_allows, connection, requirement))


class _Allows(Coroutine[Any, Any, bool]):
    """The awaitable of ``allows(...)``.

    Its truth value raises, so that a forgotten ``await`` cannot let everybody in.
    """

    def __init__(self, call: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        self._call = call
        self._begun: Coroutine[Any, Any, bool] | None = None

    @property
    def _coroutine(self) -> Coroutine[Any, Any, bool]:
        # Not a `cached_property`: in Python 3.11 its lock would stay locked for ever in a child that is forked
        # meanwhile.
        if self._begun is None:
            self._begun = self._call()
        return self._begun

    def __await__(self) -> Generator[Any, Any, bool]:
        return self._coroutine.__await__()

    def __bool__(self) -> bool:
        raise ConfigurationError("allows", "write await allows(...): without it, it would always be true")

    def send(self, value: Any, /) -> Any:
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()


#: What ``allows(...)`` is for a guard that is report-only: bad credentials are then those of an anonymous request.
_QUESTION = Lock(OPTIONAL, "allows")


async def _allows(connection: HTTPConnection, requirement: Requirement) -> bool:
    context = context_of(connection)
    if requirement == PUBLIC:
        return True
    return await context.allows(requirement, route_params(connection), connection.scope, _QUESTION)


def route_params(connection: HTTPConnection) -> Mapping[str, str]:
    """The parameters of the route's path, as texts."""
    return {name: str(value) for name, value in connection.path_params.items()}


# The marker that requires(...) writes and the audit reads. `__authguard__` holds the locks that run before a function,
# `__authguard_outer__` the source location of a lock that wraps it.


def lock_marker(function: object) -> tuple[Any, ...]:
    """The locks that ``requires(...)`` has put on this very object, or that ``functools.wraps`` has copied to it."""
    locks: tuple[Any, ...] = getattr(function, "__authguard__", ())
    return locks


def outer_lock_location(function: object) -> str:
    """Source location of the ``requires(...)`` that wraps this very function; "" if there is none."""
    location: str = getattr(function, "__authguard_outer__", "")
    return location


def set_lock_marker(function: Any, locks: tuple[Any, ...], *, outer: str = "") -> None:
    """Mark a function: these locks run before it. ``outer`` is the source location of a lock that wraps it."""
    function.__authguard__ = locks
    function.__authguard_outer__ = outer
