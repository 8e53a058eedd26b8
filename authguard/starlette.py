"""For Starlette: ``requires`` locks an endpoint.

``from authguard.starlette import requires``. On FastAPI it is ``authguard.fastapi.requires``, which is a dependency.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping
from functools import wraps
from typing import Any, ParamSpec, get_origin, get_type_hints

from starlette._utils import is_async_callable
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from authguard.asgi.locks import lock, lock_marker
from authguard.audit.audit import Audit, assert_closed, audit
from authguard.errors import ConfigurationError
from authguard.model import Requirement

__all__ = ["Audit", "assert_closed", "audit", "requires"]

P = ParamSpec("P")

_CONNECTIONS = frozenset({"Request", "WebSocket", "HTTPConnection"})
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
        is_async = is_async_callable(endpoint)

        @wraps(endpoint)
        async def opened(*args: P.args, **kwargs: P.kwargs) -> Any:
            connection = kwargs[name] if name in kwargs else args[position] if position < len(args) else None
            if not isinstance(connection, HTTPConnection):
                raise ConfigurationError(
                    "requires", f"{name} of {endpoint.__qualname__} got no request; lay requires(...) right on it"
                )
            await here.open(connection)
            return await endpoint(*args, **kwargs) if is_async else await run_in_threadpool(endpoint, *args, **kwargs)

        _put(opened, (here, *lock_marker(endpoint)), under="")
        # A decorator further in may have given the bare function to a route, which nothing locks then: the audit looks.
        _put(endpoint, lock_marker(endpoint), under=here.location)
        return opened

    return locked


def _put(endpoint: Any, locks: tuple[object, ...], *, under: str) -> None:
    endpoint.__authguard__ = locks
    endpoint.__authguard_under__ = under


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
    hints = _hints_of(endpoint)
    parameters = list(inspect.signature(endpoint).parameters.values())
    found = [
        (not annotated, position, parameter.name)
        for position, parameter in enumerate(parameters)
        if parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
        and ((annotated := _is_connection(hints.get(parameter.name, parameter.annotation))) or parameter.name in _NAMES)
    ]
    if not found:
        raise ConfigurationError(
            "requires",
            f"{endpoint.__qualname__} has no parameter for the request; annotate one with Request or WebSocket",
        )
    # An annotation says more than a name: `request` may well be what is ordered.
    _, position, name = min(found)
    return position, name


def _hints_of(endpoint: Callable[..., Any]) -> Mapping[str, object]:
    try:
        return get_type_hints(endpoint)
    except Exception:  # noqa: BLE001 - `from __future__ import annotations`, and a name that only type checkers import
        return {}


def _is_connection(annotation: object) -> bool:
    if isinstance(annotation, str):
        return annotation.partition("[")[0].rpartition(".")[2] in _CONNECTIONS
    kind = get_origin(annotation) or annotation
    return isinstance(kind, type) and issubclass(kind, HTTPConnection)
