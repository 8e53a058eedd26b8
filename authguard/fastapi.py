"""For FastAPI: ``install`` puts the guard in front of an app, ``requires`` is a dependency that locks a route.

``from authguard.fastapi import install, requires`` (a bare ``from authguard import fastapi`` would hide FastAPI).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Annotated, Any, Literal, TypeAlias

try:
    from fastapi import Depends, FastAPI
except ModuleNotFoundError as error:
    msg = "authguard.fastapi needs FastAPI: pip install 'authguard[fastapi]'"
    raise ModuleNotFoundError(msg, name="fastapi") from error
from starlette.requests import HTTPConnection

from authguard.asgi.locks import Lock, lock
from authguard.audit.audit import Audit, assert_closed, audit
from authguard.audit.route_discovery import endpoints
from authguard.core.guard import Guard
from authguard.core.responses import Render
from authguard.errors import ConfigurationError
from authguard.middleware import AuthGuardMiddleware
from authguard.model import Principal, Requirement
from authguard.openapi import Operation, describe
from authguard.policy.requirements import AUTHENTICATED, OPTIONAL, PUBLIC
from authguard.policy.rules import Rule
from authguard.source_location import caller_location

__all__ = ["Audit", "CurrentPrincipal", "MaybePrincipal", "assert_closed", "audit", "docs", "install", "requires"]

# A document names the parameters of a path without their converters.
_CONVERTER = re.compile(r"(\{[a-zA-Z_][a-zA-Z0-9_]*):[a-zA-Z_][a-zA-Z0-9_]*\}")


class _Dependency:
    """What FastAPI calls: the lock, as a callable that is equal for equal requirements, so that it is asked once."""

    def __init__(self, here: Lock) -> None:
        self._lock = here
        self.__authguard__ = (here,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Dependency) and self._lock == other._lock

    def __hash__(self) -> int:
        # A requirement of one's own may be equal to others and have no hash.
        return hash(type(self._lock.requirement))

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


def docs(app: FastAPI, requirement: Requirement = PUBLIC) -> list[Rule]:
    """Rules for the pages that FastAPI makes itself and this app has: ``rules=[*docs(app), ...]`` opens them.

    They are the OpenAPI document, Swagger UI, its OAuth2 page, and ReDoc; ``docs(app, role("staff"))`` opens them for
    some. Raises ``ConfigurationError`` for a path that no rule can have.
    """
    if not isinstance(app, FastAPI):
        raise ConfigurationError("app", f"{app!r} is no FastAPI(...)")
    paths = [app.openapi_url, app.docs_url, app.docs_url and app.swagger_ui_oauth2_redirect_url, app.redoc_url]
    rules = [Rule(path, requirement, methods={"GET"}) for path in paths if path and app.openapi_url]
    for rule in rules:
        object.__setattr__(rule, "location", caller_location(1))
    return rules


def install(
    app: FastAPI,
    guard: Guard,
    *,
    preflight: Literal["auto", "pass"] = "auto",
    origins: Sequence[str] = (),
    render: Render | None = None,
    strict: bool = False,
    ignore: Collection[str] = (),
) -> None:
    """Puts the guard in front of the app, and what it asks and answers into the app's OpenAPI document.

    As ``app.add_middleware(AuthGuardMiddleware, guard=guard, ...)`` does, whose options these are. An ``app.openapi``
    of your own, set before this, stays in use; set afterwards it stands in the place of this. Raises
    ``ConfigurationError``.
    """
    _check_app(app, guard)
    options: dict[str, Any] = {"preflight": preflight, "origins": origins, "render": render}
    options |= {"strict": strict, "ignore": ignore}
    AuthGuardMiddleware(app, guard=guard, **options)  # so that what is wrong with them is told here
    app.add_middleware(AuthGuardMiddleware, guard=guard, **options)
    _describe_by(app, app.openapi, guard, rendered=render is not None)


def _check_app(app: object, guard: Guard) -> None:
    if isinstance(app, Guard):
        raise ConfigurationError("app", "the app comes first: install(app, guard)")
    if isinstance(app, type):
        raise ConfigurationError("app", f"{app.__name__} is a class; write app = FastAPI(), and install(app, guard)")
    if not isinstance(app, FastAPI):
        raise ConfigurationError(
            "app", f"{app!r} is no FastAPI(...); write app.add_middleware(AuthGuardMiddleware, ...)"
        )
    if any(one.kwargs.get("guard") is guard for one in app.user_middleware):
        raise ConfigurationError("guard", "it is in front of this app already; install it once")


def _describe_by(app: FastAPI, plain: Callable[[], dict[str, Any]], guard: Guard, *, rendered: bool) -> None:
    described: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        nonlocal described
        document = plain()
        if document is not described:
            described = describe(document, list(_operations(app, guard)), guard, rendered=rendered)
            if app.openapi_schema is document:  # FastAPI's own memory of it
                app.openapi_schema = described
        return described

    app.openapi = openapi  # type: ignore[method-assign]


def _operations(app: FastAPI, guard: Guard) -> Iterator[Operation]:
    for one in endpoints(app):
        if one.kind == "http":
            path = _CONVERTER.sub(r"\1}", one.path)
            locks = [here.requirement for here in one.locks]
            # A route may name HEAD beside GET, and then has a part of the document for each.
            for method in {*one.methods, "HEAD"}:
                rule, narrower = guard.table.governing(method, one.pattern)
                yield Operation(path, method, [found.requirement for found in (rule, *narrower)], locks)
