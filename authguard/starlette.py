"""For Starlette: ``requires`` locks an endpoint.

``from authguard.starlette import requires``. On FastAPI it is ``authguard.fastapi.requires``, which is a dependency.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

from starlette._utils import is_async_callable
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.websockets import WebSocket

from authguard.access import Lock, lock
from authguard.errors import ConfigurationError
from authguard.model import Requirement

P = ParamSpec("P")

_CONNECTIONS = {"Request": Request, "WebSocket": WebSocket, "HTTPConnection": HTTPConnection}
_NAMES = frozenset({"request", "websocket", "connection", "conn"})


def requires(requirement: Requirement) -> Callable[[Callable[P, Any]], Callable[P, Coroutine[Any, Any, Any]]]:
    """Locks an endpoint: ``@requires(role("editor"))`` above an ``async def`` or ``def`` of a request.

    For functions, methods of an ``HTTPEndpoint`` and WebSocket endpoints. The lock is asked before the endpoint runs;
    what the rules ask comes first, and a lock only tightens it. Denies as the guard does, with the requirement's own
    reasons. Raises ``ConfigurationError`` for PUBLIC, for a function without a connection parameter (one that is
    annotated with ``Request``, ``WebSocket`` or ``HTTPConnection``, or called ``request`` or ``websocket``), and for
    what is no function.
    """
    here = lock(requirement)

    def locked(endpoint: Callable[P, Any]) -> Callable[P, Coroutine[Any, Any, Any]]:
        position, name = _connection_of(endpoint)

        @wraps(endpoint)
        async def opened(*args: P.args, **kwargs: P.kwargs) -> Any:
            connection = kwargs[name] if name in kwargs else args[position]
            if not isinstance(connection, HTTPConnection):
                raise ConfigurationError("requires", f"{name} of {endpoint.__qualname__} is no request")
            await here.open(connection)
            if is_async_callable(endpoint):
                return await endpoint(*args, **kwargs)
            return await run_in_threadpool(endpoint, *args, **kwargs)

        _put(opened, (here, *locks_of(endpoint)))
        return opened

    return locked


def locks_of(endpoint: object) -> tuple[Lock, ...]:
    """The locks that ``requires`` has put on an endpoint, or that a dependency of FastAPI is."""
    found: tuple[Lock, ...] = getattr(endpoint, "__authguard__", ())
    return found


def _put(endpoint: Any, locks: tuple[Lock, ...]) -> None:
    endpoint.__authguard__ = locks


def _connection_of(endpoint: Callable[..., Any]) -> tuple[int, str]:
    """Position and name of the parameter that takes the request."""
    if (
        not inspect.isfunction(endpoint)
        or inspect.isgeneratorfunction(endpoint)
        or inspect.isasyncgenfunction(endpoint)
    ):
        raise ConfigurationError(
            "requires", f"{endpoint!r} is no function; lock the methods of an endpoint class one by one"
        )
    parameters = list(inspect.signature(endpoint).parameters.values())
    for position, parameter in enumerate(parameters):
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            continue
        if parameter.name in _NAMES or _is_connection(parameter.annotation):
            return position, parameter.name
    raise ConfigurationError(
        "requires", f"{endpoint.__qualname__} has no parameter for the request; annotate one with Request or WebSocket"
    )


def _is_connection(annotation: object) -> bool:
    if isinstance(annotation, str):  # `from __future__ import annotations`
        return annotation.rpartition(".")[2] in _CONNECTIONS
    return isinstance(annotation, type) and issubclass(annotation, HTTPConnection)
