"""For FastAPI: ``install`` puts a guard in front of an app; ``requires`` is a dependency that locks a route.

Write ``from authguard.fastapi import install, requires``; ``from authguard import fastapi`` would hide FastAPI itself.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Annotated, Any, Literal, NoReturn, TypeAlias, cast

try:
    from fastapi import Depends, FastAPI, __version__, params
except ModuleNotFoundError as error:
    msg = "authguard.fastapi needs FastAPI: pip install 'authguard[fastapi]'"
    raise ModuleNotFoundError(msg, name="fastapi") from error
from starlette.requests import HTTPConnection

from authguard.asgi.locks import Lock, context_of, lock, route_params, set_lock_marker
from authguard.asgi.minimum_versions import check_fastapi
from authguard.audit.audit import Audit, assert_closed, audit
from authguard.audit.route_discovery import discover_endpoints
from authguard.audit.startup import AT_START
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

check_fastapi(__version__)

# OpenAPI names the parameters of a path without their converters.
_CONVERTER = re.compile(r"(\{[a-zA-Z_][a-zA-Z0-9_]*):[a-zA-Z_][a-zA-Z0-9_]*\}")


class _Dependency:
    """A lock as a callable for ``Depends``. Equal for equal requirements, so that FastAPI calls it once a request."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        set_lock_marker(self, (lock,))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Dependency) and self._lock == other._lock

    def __hash__(self) -> int:
        # A requirement of the app's own may have no hash.
        return hash(type(self._lock.requirement))

    async def __call__(self, connection: HTTPConnection) -> Principal | None:
        # Not `Lock.open`, which would cost another coroutine.
        lock = self._lock
        return await context_of(connection).require(lock.requirement, route_params(connection), connection.scope, lock)


# FastAPI would have to find the names in the annotations, which are strings here, in the right module.
_Dependency.__call__.__annotations__ = {"connection": HTTPConnection, "return": Principal | None}


class _Requires(params.Depends):
    """What ``requires`` returns. It says what to write if it is taken for a function or for a decorator."""

    def __call__(self, *_: object, **__: object) -> NoReturn:
        raise ConfigurationError(
            "requires",
            "authguard.fastapi.requires is a dependency and no decorator: write dependencies=[requires(...)], or "
            "Annotated[Principal, requires(...)] as a parameter; the decorator for Starlette is "
            "authguard.starlette.requires",
        )

    @property
    def __signature__(self) -> NoReturn:
        # FastAPI asks for it if this is the function of another Depends.
        raise ConfigurationError(
            "requires", "it is a Depends already: write requires(...) without Depends(...) around it"
        )


def requires(requirement: Requirement, *, report_only: bool = False) -> Any:
    """A dependency that locks a route, a router or an app. It is a ``Depends`` whose value is the ``Principal``.

    Write ``Annotated[Principal, requires(role("cashier"))]`` as a parameter, or ``dependencies=[requires(...)]``; both
    work on HTTP and WebSocket routes. It denies as the guard does. With ``report_only=True`` it refuses nothing: what
    it would deny is recorded as ``would_deny``; as a parameter it refuses all the same, because the function takes the
    principal from it. Raises ``ConfigurationError`` for PUBLIC, and on a
    request if no guard is in front of the app.
    """
    return _Requires(_Dependency(lock(requirement, report_only=report_only, is_dependency=True)))


#: The principal of the request: ``def orders(principal: CurrentPrincipal)``. An anonymous request is denied.
CurrentPrincipal: TypeAlias = Annotated[
    Principal, Depends(_Dependency(Lock(AUTHENTICATED, "CurrentPrincipal", is_dependency=True)))
]
#: The principal of the request, or None for an anonymous one. Invalid credentials are still denied.
MaybePrincipal: TypeAlias = Annotated[
    Principal | None, Depends(_Dependency(Lock(OPTIONAL, "MaybePrincipal", is_dependency=True)))
]


class _NeverCalled:
    """The metadata of an argument that FastAPI asks pydantic for, if a type is taken for a function."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> NoReturn:
        raise ConfigurationError(
            "Depends",
            f"{self._name} is a type that holds its own Depends: write who: {self._name}, without Depends(...)",
        )


for _name, _alias in (("CurrentPrincipal", CurrentPrincipal), ("MaybePrincipal", MaybePrincipal)):
    _argument = inspect.Parameter("who", inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[str, _NeverCalled(_name)])
    cast("Any", _alias).__signature__ = inspect.Signature([_argument])


class _Overrides(dict[Any, Any]):
    """``app.dependency_overrides``, which refuses keys that FastAPI never looks up."""

    def __setitem__(self, key: Any, value: Any) -> None:
        _check_override(key)
        super().__setitem__(key, value)

    def update(self, *args: Any, **kwargs: Any) -> None:
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def setdefault(self, key: Any, default: Any = None) -> Any:
        _check_override(key)
        return super().setdefault(key, default)


def _check_override(key: object) -> None:
    if isinstance(key, params.Depends) or key in {CurrentPrincipal, MaybePrincipal}:
        raise ConfigurationError(
            "dependency_overrides",
            "this is no function, so FastAPI never finds it there, and the rules would apply all the same; in a test "
            "write with acting_as(guard, Principal(...)), from authguard.testing",
        )


def docs(app: FastAPI, requirement: Requirement = PUBLIC) -> list[Rule]:
    """Rules for FastAPI's own pages, as far as the app has them: ``Guard(..., rules=[*docs(app), ...])`` opens them.

    The pages are the OpenAPI document, Swagger UI, its OAuth2 page and ReDoc. ``docs(app, role("staff"))`` opens them
    for that role only. Raises ``ConfigurationError`` for an app that is not a ``FastAPI``, and for a page whose path
    cannot be written as a rule.
    """
    if not isinstance(app, FastAPI):
        raise ConfigurationError("app", f"{app!r} is not a FastAPI app")
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
    """Put the guard in front of the app, and its requirements and denials into the app's OpenAPI document.

    The options are those of ``AuthGuardMiddleware``, which this adds. An ``app.openapi`` of your own that is set before
    this call stays in use; so does one that is set afterwards, to whose document these are added when the app starts.
    Raises ``ConfigurationError``.
    """
    _check_app(app, guard)
    options: dict[str, Any] = {"preflight": preflight, "origins": origins, "render": render}
    options |= {"strict": strict, "ignore": ignore}
    # Starlette makes its middleware with the first request. This instance checks the options now.
    AuthGuardMiddleware(app, guard=guard, **options)
    app.add_middleware(AuthGuardMiddleware, guard=guard, **options)
    _extend_openapi(app, app.openapi, guard, rendered=render is not None)
    app.dependency_overrides = _Overrides(app.dependency_overrides)


def _check_app(app: object, guard: Guard) -> None:
    if isinstance(app, Guard):
        raise ConfigurationError("app", "this is a Guard; the app comes first: install(app, guard)")
    if isinstance(app, type):
        raise ConfigurationError("app", f"{app.__name__} is a class; write app = FastAPI(), then install(app, guard)")
    if not isinstance(app, FastAPI):
        raise ConfigurationError(
            "app", f"{app!r} is not a FastAPI app; for others write app.add_middleware(AuthGuardMiddleware, ...)"
        )
    if any(middleware.kwargs.get("guard") is guard for middleware in app.user_middleware):
        raise ConfigurationError("guard", "this guard is in front of the app already; install it once")


def _extend_openapi(app: FastAPI, original: Callable[[], dict[str, Any]], guard: Guard, *, rendered: bool) -> None:
    described: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        nonlocal described
        document = original()
        if document is not described:
            described = describe(document, list(_operations(app, guard)), guard, rendered=rendered)
            if app.openapi_schema is document:  # FastAPI's own cache of the document
                app.openapi_schema = described
        return described

    def extend_replaced() -> None:
        """Called when the app starts: an ``app.openapi`` that was set meanwhile would show no security."""
        if app.openapi is not openapi:
            _extend_openapi(app, app.openapi, guard, rendered=rendered)

    app.openapi = openapi  # type: ignore[method-assign]
    setattr(app, AT_START, extend_replaced)


def _operations(app: FastAPI, guard: Guard) -> Iterator[Operation]:
    for endpoint in discover_endpoints(app):
        if endpoint.kind == "http":
            path = _CONVERTER.sub(r"\1}", endpoint.path)
            locks = [lock.requirement for lock in endpoint.locks]
            # Endpoint.methods leaves out a HEAD beside GET, but the document has an operation for each.
            for method in {*endpoint.methods, "HEAD"}:
                match, narrower = guard.table.match_pattern(method, endpoint.pattern)
                yield Operation(path, method, [rule.requirement for rule in (match, *narrower)], locks)
