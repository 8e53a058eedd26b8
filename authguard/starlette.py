"""For Starlette: ``requires`` locks an endpoint.

``from authguard.starlette import requires``. On FastAPI use ``authguard.fastapi.requires``, which is a dependency.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping
from functools import wraps
from typing import Any, NoReturn, ParamSpec, get_origin, get_type_hints

from starlette._utils import is_async_callable
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from authguard.asgi.locks import Lock, lock, lock_marker, set_lock_marker
from authguard.audit.audit import Audit, assert_closed, audit
from authguard.errors import ConfigurationError
from authguard.model import Requirement

__all__ = ["Audit", "assert_closed", "audit", "requires"]

P = ParamSpec("P")

# The annotations and the names by which the parameter for the request is found.
_CONNECTION_TYPES = frozenset({"Request", "WebSocket", "HTTPConnection"})
_CONNECTION_NAMES = frozenset({"request", "websocket", "connection", "conn"})


def requires(
    requirement: Requirement, *, report_only: bool = False
) -> Callable[[Callable[P, Any]], Callable[P, Coroutine[Any, Any, Any]]]:
    """Lock an endpoint: ``@requires(role("editor"))`` right above an ``async def`` or ``def`` that takes a request.

    For functions, methods of an ``HTTPEndpoint``, and WebSocket endpoints. The lock runs before the endpoint and after
    the rules: it can only add a requirement. It denies as the guard does, with the requirement's own reasons. With
    ``report_only=True`` it refuses nothing: what it would deny is recorded as ``would_deny``.

    Raises ``ConfigurationError`` for PUBLIC, for anything but a function, and for a function that has no parameter for
    the request: one annotated with ``Request``, ``WebSocket`` or ``HTTPConnection``, or named ``request`` or
    ``websocket``.
    """
    return _Requires(lock(requirement, report_only=report_only))


class _Requires:
    """What ``requires`` returns: a decorator. It says what to write if it is taken for a dependency of FastAPI."""

    def __init__(self, own_lock: Lock) -> None:
        self._lock = own_lock

    def __call__(self, endpoint: Callable[P, Any]) -> Callable[P, Coroutine[Any, Any, Any]]:
        own_lock = self._lock
        position, name = _connection_parameter(endpoint)
        is_async = is_async_callable(endpoint)

        @wraps(endpoint)
        async def locked(*args: P.args, **kwargs: P.kwargs) -> Any:
            connection = kwargs[name] if name in kwargs else args[position] if position < len(args) else None
            if not isinstance(connection, HTTPConnection):
                raise ConfigurationError(
                    "requires",
                    f"{endpoint.__qualname__} was called without a request as {name!r}; put requires(...) right above "
                    "its def",
                )
            await own_lock.open(connection)
            return await endpoint(*args, **kwargs) if is_async else await run_in_threadpool(endpoint, *args, **kwargs)

        set_lock_marker(locked, (own_lock, *lock_marker(endpoint)))
        # A decorator below this one may have made a route of the bare function. The audit finds that by `outer`.
        set_lock_marker(endpoint, lock_marker(endpoint), outer=own_lock.location)
        return locked

    @property
    def dependency(self) -> NoReturn:
        """FastAPI asks for it in ``dependencies=[...]``."""
        raise _not_a_dependency()

    @property
    def __signature__(self) -> NoReturn:
        # FastAPI asks for it in Depends(...).
        raise _not_a_dependency()

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> NoReturn:
        # FastAPI asks for it in Annotated[..., requires(...)].
        raise _not_a_dependency()


def _not_a_dependency() -> ConfigurationError:
    return ConfigurationError(
        "requires",
        "authguard.starlette.requires is a decorator and no dependency: on FastAPI write from authguard.fastapi import "
        "requires, and dependencies=[requires(...)]",
    )


def _connection_parameter(endpoint: Callable[..., Any]) -> tuple[int, str]:
    """Position and name of the parameter that takes the request."""
    if (
        not inspect.isfunction(endpoint)
        or inspect.isgeneratorfunction(endpoint)
        or inspect.isasyncgenfunction(endpoint)
    ):
        raise ConfigurationError(
            "requires", f"{endpoint!r} is not a function; lock the methods of an endpoint class one by one"
        )
    hints = _type_hints(endpoint)
    candidates: list[tuple[bool, int, str]] = []
    for position, parameter in enumerate(inspect.signature(endpoint).parameters.values()):
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            continue
        is_annotated = _is_connection(hints.get(parameter.name, parameter.annotation))
        if is_annotated or parameter.name in _CONNECTION_NAMES:
            candidates.append((not is_annotated, position, parameter.name))
    if not candidates:
        raise ConfigurationError(
            "requires",
            f"{endpoint.__qualname__} has no parameter for the request; annotate one with Request or WebSocket",
        )
    # An annotation counts more than a name: a parameter called `request` may be anything.
    _, position, name = min(candidates)
    return position, name


def _type_hints(endpoint: Callable[..., Any]) -> Mapping[str, object]:
    try:
        return get_type_hints(endpoint)
    except Exception:  # noqa: BLE001 - `from __future__ import annotations`, and a name that only type checkers import
        return {}


def _is_connection(annotation: object) -> bool:
    if isinstance(annotation, str):
        return annotation.partition("[")[0].rpartition(".")[2] in _CONNECTION_TYPES
    kind = get_origin(annotation) or annotation
    return isinstance(kind, type) and issubclass(kind, HTTPConnection)
