"""Find what an app can serve: its endpoints, through routers, mounts, hosts and middleware.

The walk follows Starlette's and FastAPI's own objects, because their behaviour is known. Anything else may serve any
path: it is an ``opaque`` endpoint.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from itertools import count
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.routing import BaseRoute, Host, Mount, Route, Router, WebSocketRoute, compile_path
from starlette.staticfiles import StaticFiles

from authguard.asgi.framework_code import (
    builds_known_stack,
    is_framework_code,
    is_framework_method,
    is_guard,
    is_wsgi_adapter,
)
from authguard.asgi.locks import Lock
from authguard.asgi.router_paths import read_segments
from authguard.audit.client_values import client_values
from authguard.audit.cross_origin import declared_fields, exposed_fields
from authguard.audit.endpoint import ANY_METHOD, Endpoint, Kind, Layer, SessionCookie
from authguard.audit.lock_discovery import (
    bypassed_lock_location,
    covered_lock_location,
    dependency_locks,
    function_locks,
    unwrap_partial,
)
from authguard.audit.session_cookie import cookie_of, declared_cookie
from authguard.core.guard import Guard
from authguard.policy.path_pattern import Pattern, Segment
from authguard.policy.rules import WEBSOCKET
from authguard.source_location import definition_location, name_of
from authguard.value_types import frozen

_MAX_DEPTH = 64
# For the whole walk: an app mounted twice in one that is mounted twice, and so on, has exponentially many paths.
_MAX_STEPS = 10_000
# The methods of StaticFiles that decide which file a path is.
_FILE_METHODS = ("__call__", "get_path", "get_response", "lookup_path")
# What FastAPI's frontends serve in place of a file that does not exist.
_FRONTEND_FALLBACKS = {"auto": ("404.html", "index.html"), "404.html": ("404.html",), "index.html": ("index.html",)}
# The methods that HTTPEndpoint dispatches to a handler of the same name.
_HANDLER_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY")
# Older releases of Starlette dispatch any method to an attribute of that name.
_DISPATCHES_ANY_METHOD = "_allowed_methods" not in HTTPEndpoint.dispatch.__code__.co_names


def discover_endpoints(app: object) -> tuple[Endpoint, ...]:
    """The endpoints of an app, in the order of its routes. What cannot be inspected is one ``opaque`` endpoint."""
    return tuple(_walk(app, _Position()))


@frozen
class _Position:
    """Where the walk is: the path, the hosts and the middleware that lead there."""

    path: str = ""
    segments: tuple[Segment, ...] = ()
    tail: bool = False
    hosts: tuple[str, ...] = ()
    layers: tuple[Layer, ...] = ()
    #: The apps on the way here. An app that comes again would come without end.
    apps: tuple[object, ...] = ()
    #: Counts the steps of the whole walk: every position shares it.
    steps: Iterator[int] = field(default_factory=count)

    def below(self, path: str, convertors: Mapping[str, object]) -> _Position:
        """Behind this path of a mount or a route."""
        if path in {"", "/"}:
            return replace(self, path=self.path + path)
        segments, tail = read_segments(path, convertors)
        all_segments = self.segments if self.tail else (*self.segments, *segments)
        return replace(self, path=self.path.rstrip("/") + path, segments=all_segments, tail=self.tail or tail)

    def inside(
        self,
        implementation: object,
        guard: object = None,
        *,
        preflight: object = None,
        session: SessionCookie | None = None,
        exposed: frozenset[str] | None = None,
    ) -> _Position:
        """Inside this middleware."""
        own_guard = guard if is_guard(implementation) and isinstance(guard, Guard) else None
        layer = Layer(
            implementation,
            own_guard,
            self.path.rstrip("/"),
            len(self.segments),
            len(self.hosts),
            preflight_passes=preflight == "pass",
            session=session,
            exposed=exposed,
        )
        return replace(self, layers=(*self.layers, layer))

    def inside_app(self, app: Any) -> _Position:
        """Inside a middleware that exists already."""
        implementation = app.dispatch_func if type(app) is BaseHTTPMiddleware else type(app)
        guard, preflight = getattr(app, "guard", None), getattr(app, "preflight", None)
        return self.inside(
            implementation, guard, preflight=preflight, session=cookie_of(app), exposed=exposed_fields(app)
        )

    def endpoint(
        self,
        kind: Kind,
        methods: Iterable[str],
        implementation: object,
        locks: Iterable[Lock] = (),
        *,
        all_below: bool = False,
    ) -> Endpoint:
        """The endpoint here; with ``all_below`` it serves every path below too."""
        return Endpoint(
            kind,
            _sorted_methods(methods),
            self.path.rstrip("/") + "/**" if all_below else self.path or "/",
            Pattern(self.segments, self.tail or all_below),
            tuple(locks),
            name_of(implementation),
            definition_location(implementation),
            self.hosts,
            self.layers,
            bypassed_lock_location(implementation),
            covered_lock_location(implementation),
        )

    def files(self, app: StaticFiles, fallbacks: tuple[str, ...], locks: Iterable[Lock] = ()) -> Endpoint:
        """Files on every path from here on."""
        endpoint = self.endpoint("static", ["GET"], type(app), locks, all_below=True)
        return replace(
            endpoint, serves_index=app.html, fallbacks=fallbacks, folders=tuple(map(Path, app.all_directories))
        )

    def opaque_below(self, implementation: object) -> Endpoint:
        """Anything on any path from here on."""
        return self.endpoint("opaque", [ANY_METHOD], implementation, all_below=True)


def _walk(app: object, position: _Position) -> Iterator[Endpoint]:
    """What an app serves, and what the apps that it wraps as ``.app`` serve."""
    routes, inner = getattr(app, "routes", None), getattr(app, "app", None)
    is_endless = len(position.apps) >= _MAX_DEPTH or any(app is other for other in position.apps)
    position = replace(position, apps=(*position.apps, app))
    if is_endless or next(position.steps) >= _MAX_STEPS:
        yield position.opaque_below(app)
    elif isinstance(app, Starlette):
        yield from _walk_application(app, position)
    elif isinstance(app, Router):
        yield from _walk_router(app, position)
    elif isinstance(app, BaseRoute):
        yield from _walk_route(app, position)
    elif isinstance(app, StaticFiles) and is_framework_method(app, *_FILE_METHODS):
        yield position.files(app, ("404.html",) if app.html else ())
    elif is_wsgi_adapter(type(app)):
        yield position.opaque_below(inner)
    elif inner is not None:
        yield from _walk(inner, position.inside_app(app))
    else:
        yield position.opaque_below(app)
        # It shows some routes, and may serve more.
        if isinstance(routes, Sequence) and all(isinstance(route, BaseRoute) for route in routes):
            yield from _walk_routes(routes, position)


def _inside_wrappers(app: Any, position: _Position, wrapped: object) -> _Position | None:
    """The position inside the middleware around a router or an endpoint: objects that hold the next one as ``.app``.

    None if they have no end. A middleware that holds the next one under another name is the last that can be seen.
    """
    wrappers: list[object] = []
    while _is_wrapper(app):
        if len(wrappers) >= _MAX_DEPTH or any(app is other for other in wrappers):
            return None
        wrappers.append(app)
        position, app = position.inside_app(app), app.app
    is_complete = (
        app == wrapped
        or any(wrapper is wrapped for wrapper in wrappers)
        or (inspect.isfunction(app) and is_framework_code(app))
    )
    return position if is_complete else position.inside(app if inspect.isroutine(app) else type(app))


def _is_wrapper(app: Any) -> bool:
    """Whether an app is an object that shows the app that it wraps as ``.app``."""
    is_object = not inspect.isroutine(app) and not isinstance(app, type)
    return is_object and hasattr(app, "app") and not is_wsgi_adapter(type(app))


def _walk_application(app: Starlette, position: _Position) -> Iterator[Endpoint]:
    declared = [_Declared.of(middleware) for middleware in app.user_middleware]
    factories = [middleware.factory for middleware in declared]
    built = _built_middleware(app)
    inner, is_known, has_known_builder = position, is_framework_method(app, "__call__"), builds_known_stack(app)
    if built is not None and all(isinstance(factory, type) for factory in factories):
        for middleware in built:
            # What the framework has added by itself is a part of the framework.
            if not (has_known_builder and is_framework_code(type(middleware)) and type(middleware) not in factories):
                inner = inner.inside_app(middleware)
    else:
        # A function that makes a middleware has another name than the middleware that it makes. The name that is
        # reported must not depend on whether the app has started.
        is_known = is_known and has_known_builder and type(app.middleware_stack) in {type(None), ServerErrorMiddleware}
        for middleware in declared:
            inner = inner.inside(
                middleware.implementation,
                middleware.guard,
                preflight=middleware.preflight,
                session=middleware.session,
                exposed=middleware.exposed,
            )
    if not is_known:
        yield position.opaque_below(type(app))
    yield from _walk(app.router, inner)


@frozen
class _Declared:
    """A middleware as an app lists it. ``factory`` makes it; ``implementation`` is what it is reported as."""

    factory: object
    implementation: object
    guard: object
    preflight: object
    session: SessionCookie | None
    exposed: frozenset[str] | None

    @classmethod
    def of(cls, middleware: Middleware) -> _Declared:
        factory: Any = middleware.cls
        arguments, options = tuple(middleware.args), dict(middleware.kwargs)
        while isinstance(factory, functools.partial):
            arguments, options = (*factory.args, *arguments), {**factory.keywords, **options}
            factory = factory.func
        implementation = factory
        if factory is BaseHTTPMiddleware:  # @app.middleware("http") passes the function as an argument
            implementation = options.get("dispatch", next(iter(arguments), factory))
        session, exposed = declared_cookie(factory, arguments, options), declared_fields(factory, arguments, options)
        return cls(factory, implementation, options.get("guard"), options.get("preflight"), session, exposed)


def _built_middleware(app: Starlette) -> list[object] | None:
    """The middleware of an app that has started, the outermost first; None if it does not lead to the app's router.

    Something may have wrapped it after the app was written; this is what really runs.
    """
    found: list[object] = []
    link: object = app.middleware_stack
    while link is not app.router:
        if len(found) >= _MAX_DEPTH or not _is_wrapper(link):
            return None
        found.append(link)
        link = getattr(link, "app", None)
    return found


def _walk_router(router: Router, position: _Position) -> Iterator[Endpoint]:
    inner = _inside_wrappers(router.middleware_stack, position, router.app)
    if inner is None or not is_framework_method(router, "__call__", "app", "handle"):
        yield position.opaque_below(type(router))
    if inner is None:
        return
    yield from _walk_routes(router.routes, inner)
    # FastAPI's frontends: files, served where no other route matches.
    yield from _walk_routes(getattr(router, "_low_priority_routes", ()), inner)
    for route in router.routes:
        yield from _walk_routes(getattr(route, "effective_low_priority_routes", tuple)(), inner)
    if router.default != router.not_found:
        yield from _walk(router.default, inner)


def _walk_routes(routes: Iterable[Any], position: _Position) -> Iterator[Endpoint]:
    for route in routes:
        if hasattr(route, "effective_candidates"):  # a router that FastAPI, from 0.137 on, has included
            yield from _walk_routes(route.effective_candidates(), position)
        else:
            yield from _walk_route(route, position)


def _walk_route(route: Any, position: _Position) -> Iterator[Endpoint]:
    # FastAPI describes an included route by an object that holds the route as it was written and as it is served.
    original = getattr(route, "original_route", route)
    actual = getattr(route, "starlette_route", None) or route
    parts = [original] if actual is original else [original, actual]
    if not all(_matches_by_its_path(part) for part in parts if isinstance(part, BaseRoute)):
        # It may match any path, and answer before another route does.
        yield position.opaque_below(type(actual))
    elif isinstance(actual, Mount):
        yield from _walk(actual.app, position.below(actual.path, actual.param_convertors))
    elif isinstance(actual, Host):
        yield from _walk(actual.app, replace(position, hosts=(*position.hosts, actual.host)))
    elif isinstance(original, Route | WebSocketRoute):
        values = client_values(actual)
        for endpoint in _walk_leaf(original, actual, position):
            yield replace(endpoint, client_values=values) if values else endpoint
    elif hasattr(original, "add_frontend_route"):
        for files in original.routes:
            prefix = position.below(getattr(route, "frontend_prefix", ""), {})
            locks = dependency_locks(route)
            fallbacks = _FRONTEND_FALLBACKS.get(files.app.fallback, ())
            yield prefix.below(files.path, {}).files(files.app, fallbacks, locks)
    else:
        yield position.opaque_below(type(route))


def _matches_by_its_path(route: Any) -> bool:
    """Whether the framework's own code decides which requests a route matches, and by nothing but the route's path."""
    path = f"{route.path.rstrip('/')}/{{path:path}}" if isinstance(route, Mount) else getattr(route, "path", "")
    has_path = isinstance(route, Mount | Route | WebSocketRoute)
    return is_framework_method(route, "matches") and (not has_path or route.path_regex == compile_path(path)[0])


def _walk_leaf(original: Any, actual: Any, position: _Position) -> Iterator[Endpoint]:
    here = position.below(actual.path, actual.param_convertors)
    # The middleware of a route reads the same path as the router, so its layers come from the position of the router.
    inner = _inside_wrappers(getattr(actual, "app", original.app), position, actual.endpoint)
    if inner is None or not is_framework_method(original, "handle", "__call__"):
        yield here.endpoint("opaque", [ANY_METHOD], actual.endpoint)
        return
    here = replace(here, layers=inner.layers)
    if not is_framework_method(original, "get_route_handler"):
        yield here.endpoint("http", actual.methods, actual.endpoint)
    elif isinstance(original, WebSocketRoute):
        yield _websocket_endpoint(actual, here)
    else:
        yield from _http_endpoints(actual, here)


def _websocket_endpoint(route: Any, position: _Position) -> Endpoint:
    endpoint = unwrap_partial(route.endpoint)
    has_handlers = _is_subclass(endpoint, WebSocketEndpoint) and endpoint.dispatch is WebSocketEndpoint.dispatch
    first_called = endpoint.on_connect if has_handlers else endpoint
    locks = (*dependency_locks(route), *function_locks(first_called))
    return position.endpoint("websocket", [WEBSOCKET], endpoint, locks)


def _http_endpoints(route: Any, position: _Position) -> Iterator[Endpoint]:
    endpoint = unwrap_partial(route.endpoint)
    if _is_subclass(endpoint, HTTPEndpoint) and endpoint.dispatch is HTTPEndpoint.dispatch:
        for method in _handled_methods(endpoint, route.methods):
            handler = getattr(endpoint, method.lower())
            yield position.endpoint("http", [method], handler, function_locks(handler))
    else:
        locks = (*dependency_locks(route), *function_locks(endpoint))
        yield position.endpoint("http", route.methods or [ANY_METHOD], endpoint, locks)


def _handled_methods(endpoint: Any, route_methods: Collection[str] | None) -> list[str]:
    """The methods that the class has a handler for and that the route accepts."""
    own = [name.upper() for name in dir(endpoint) if name.islower() and not hasattr(HTTPEndpoint, name)]
    candidates = dict.fromkeys([*_HANDLER_METHODS, *(own if _DISPATCHES_ANY_METHOD else ())])
    handled = [method for method in candidates if callable(getattr(endpoint, method.lower(), None))]
    return [method for method in handled if route_methods is None or method in route_methods]


def _is_subclass(endpoint: object, kind: type) -> bool:
    return isinstance(endpoint, type) and issubclass(endpoint, kind)


def _sorted_methods(methods: Iterable[str]) -> tuple[str, ...]:
    distinct = set(methods)
    return tuple(sorted(distinct - {"HEAD"} if "GET" in distinct else distinct))
