"""For FastAPI: ``requires`` is a dependency that locks a route and gives its principal.

``from authguard.fastapi import install, requires`` (a bare ``from authguard import fastapi`` would hide FastAPI).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import Depends, FastAPI
from starlette.requests import HTTPConnection

from authguard.access import Lock, lock
from authguard.guard import Guard
from authguard.middleware import AuthGuardMiddleware
from authguard.model import Principal, Requirement
from authguard.policy.requirement import AUTHENTICATED, OPTIONAL
from authguard.respond import Render


class _Dependency:
    """What FastAPI calls: the lock, as a callable that is equal for equal requirements, so that it is asked once."""

    def __init__(self, here: Lock) -> None:
        self._lock = here
        self.__authguard__ = (here,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Dependency) and self._lock == other._lock

    def __hash__(self) -> int:
        return hash(self._lock)

    async def __call__(self, connection: HTTPConnection) -> Principal | None:
        return await self._lock.open(connection)


def requires(requirement: Requirement) -> Any:
    """A dependency that locks a route, a router or an app: ``Depends`` with the ``Principal`` for its value.

    ``Annotated[Principal, requires(role("cashier"))]`` as a parameter, or ``dependencies=[requires(...)]``, on HTTP and
    WebSocket routes alike. Denies as the guard does. Raises ``ConfigurationError`` for PUBLIC; and, when a request
    comes, where no guard is in front of the app.
    """
    return Depends(_Dependency(lock(requirement)))


#: Whoever asks: ``def orders(who: CurrentPrincipal)``. It locks the route for nobody but the anonymous.
CurrentPrincipal: TypeAlias = Annotated[Principal, Depends(_Dependency(Lock(AUTHENTICATED, "CurrentPrincipal")))]
#: Whoever asks, or None. Credentials that are no good are still refused.
MaybePrincipal: TypeAlias = Annotated[Principal | None, Depends(_Dependency(Lock(OPTIONAL, "MaybePrincipal")))]


def install(
    app: FastAPI,
    guard: Guard,
    *,
    preflight: Literal["auto", "pass"] = "auto",
    origins: Sequence[str] = (),
    render: Render | None = None,
) -> None:
    """Puts the guard in front of the app, as ``app.add_middleware(AuthGuardMiddleware, guard=guard, ...)`` does."""
    app.add_middleware(AuthGuardMiddleware, guard=guard, preflight=preflight, origins=origins, render=render)
