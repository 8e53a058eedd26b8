"""What an app can serve, as far as it can be seen from outside: its routes, through mounts, hosts and middleware."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import BaseRoute, Host, Mount, Route, Router, WebSocketRoute, compile_path
from starlette.staticfiles import StaticFiles

from authguard.asgi.framework_code import is_framework_code, is_framework_method, is_guard
from authguard.asgi.locks import Lock
from authguard.asgi.router_paths import read_segments
from authguard.audit.endpoint import ANY_METHOD, Endpoint, Kind, Layer
from authguard.audit.lock_discovery import bare, bypassed, covered, dependency_locks, locks_of
from authguard.core.guard import Guard
from authguard.policy.path_pattern import Pattern, Segment
from authguard.policy.rules import WEBSOCKET
from authguard.source_location import definition_location, name_of

_MOST_LINKS = 64
# In all: an app that is mounted twice in one that is mounted twice, and so on, is soon more than anybody can wait for.
_MOST_STEPS = 10_000
# What an HTTPEndpoint has methods for.
_HANDLED = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY")
# Older ones call whatever is called as the method that was sent.
_ANY_ATTRIBUTE = "_allowed_methods" not in HTTPEndpoint.dispatch.__code__.co_names


def endpoints(app: object) -> tuple[Endpoint, ...]:
    """What the app can serve, in the order of its routes. Whatever serves nothing that can be seen is ``unseen``."""
    return tuple(_walk(app, _Way()))


@dataclass(frozen=True, slots=True)
class _Way:
    """How far the walk has come."""

    path: str = ""
    segments: tuple[Segment, ...] = ()
    tail: bool = False
    hosts: tuple[str, ...] = ()
    layers: tuple[Layer, ...] = ()
    #: The apps on the way: one that comes again would come for ever.
    apps: tuple[object, ...] = ()
    #: Shared by all ways.
    steps: Iterator[int] = field(default_factory=count)

    def down(self, path: str, convertors: Mapping[str, object]) -> _Way:
        if path in {"", "/"}:
            return replace(self, path=self.path + path)
        segments, tail = read_segments(path, convertors)
        found = self.segments if self.tail else (*self.segments, *segments)
        return replace(self, path=self.path.rstrip("/") + path, segments=found, tail=self.tail or tail)

    def through(self, made_by: object, guard: object = None, *, preflight: bool = False) -> _Way:
        ours = guard if is_guard(made_by) and isinstance(guard, Guard) else None
        layer = Layer(made_by, ours, self.path.rstrip("/"), len(self.segments), len(self.hosts), preflight)
        return replace(self, layers=(*self.layers, layer))

    def end(
        self, kind: Kind, methods: Iterable[str], what: object, locks: Iterable[Lock] = (), *, all_below: bool = False
    ) -> Endpoint:
        path = self.path or "/"
        if all_below:
            path = self.path.rstrip("/") + "/**"
        return Endpoint(
            kind,
            _methods(methods),
            path,
            Pattern(self.segments, self.tail or all_below),
            tuple(locks),
            name_of(what),
            definition_location(what),
            self.hosts,
            self.layers,
            bypassed(what),
            covered(what),
        )


def _walk(app: object, way: _Way) -> Iterator[Endpoint]:
    """What is served by an app, and by what it wraps along ``.app``."""
    routes, inner = getattr(app, "routes", None), getattr(app, "app", None)
    endless = len(way.apps) >= _MOST_LINKS or any(app is one for one in way.apps)
    way = replace(way, apps=(*way.apps, app))
    if endless or next(way.steps) >= _MOST_STEPS:
        yield way.end("unseen", [ANY_METHOD], app, all_below=True)
    elif isinstance(app, Starlette):
        yield from _application(app, way)
    elif isinstance(app, Router):
        yield from _router(app, way)
    elif isinstance(app, BaseRoute):
        yield from _route(app, way)
    elif isinstance(app, StaticFiles) and is_framework_method(app, "__call__", "get_response"):
        yield way.end("static", ["GET"], type(app), all_below=True)
    elif inner is not None:
        yield from _walk(inner, _past(app, way))
    elif isinstance(routes, Sequence) and all(isinstance(route, BaseRoute) for route in routes):
        yield from _routes(routes, way)
    else:
        yield way.end("unseen", [ANY_METHOD], app, all_below=True)


def _past(app: object, way: _Way) -> _Way:
    passes = getattr(app, "preflight", None) == "pass"
    return way.through(type(app), getattr(app, "guard", None), preflight=passes)


def _wrapped(app: Any, way: _Way, end: object) -> _Way | None:
    """The way through what stands round a router or an endpoint: objects that hold the next as ``.app``.

    None where there is no end of them. One that holds it under another name is the last that is seen.
    """
    found: list[object] = []
    while not inspect.isroutine(app) and not isinstance(app, type) and hasattr(app, "app"):
        if len(found) >= _MOST_LINKS or any(app is one for one in found):
            return None
        found.append(app)
        way, app = _past(app, way), app.app
    seen = app == end or any(one is end for one in found) or (inspect.isfunction(app) and is_framework_code(app))
    return way if seen else way.through(app if inspect.isroutine(app) else type(app))


def _application(app: Starlette, way: _Way) -> Iterator[Endpoint]:
    if not is_framework_method(app, "__call__", "build_middleware_stack"):
        yield way.end("unseen", [ANY_METHOD], type(app), all_below=True)
    for layer in app.user_middleware:
        kind: object = layer.cls
        if kind is BaseHTTPMiddleware:  # what @app.middleware("http") stands on
            kind = layer.kwargs.get("dispatch", kind)
        way = way.through(kind, layer.kwargs.get("guard"), preflight=layer.kwargs.get("preflight") == "pass")
    yield from _walk(app.router, way)


def _router(router: Router, way: _Way) -> Iterator[Endpoint]:
    wrapped = _wrapped(router.middleware_stack, way, router.app)
    if wrapped is None or not is_framework_method(router, "__call__", "app", "handle"):
        yield way.end("unseen", [ANY_METHOD], type(router), all_below=True)
    if wrapped is None:
        return
    way = wrapped
    yield from _routes(router.routes, way)
    # FastAPI's frontends: files, served where no other route is.
    yield from _routes(getattr(router, "_low_priority_routes", ()), way)
    for route in router.routes:
        yield from _routes(getattr(route, "effective_low_priority_routes", tuple)(), way)
    if router.default != router.not_found:
        yield from _walk(router.default, way)


def _routes(routes: Iterable[Any], way: _Way) -> Iterator[Endpoint]:
    for route in routes:
        if hasattr(route, "effective_candidates"):  # a router that FastAPI, from 0.137 on, has included
            yield from _routes(route.effective_candidates(), way)
        else:
            yield from _route(route, way)


def _route(route: Any, way: _Way) -> Iterator[Endpoint]:
    # FastAPI tells of an included route by a value of its own: what it was, and what became of it behind the prefix.
    original = getattr(route, "original_route", route)
    actual = getattr(route, "starlette_route", None) or route
    if not all(_read_as_ever(one) for one in (original, actual) if isinstance(one, BaseRoute)):
        # It may match any path, or answer before anything else does.
        yield way.end("unseen", [ANY_METHOD], type(actual), all_below=True)
    elif isinstance(actual, Mount):
        yield from _walk(actual.app, way.down(actual.path, actual.param_convertors))
    elif isinstance(actual, Host):
        yield from _walk(actual.app, replace(way, hosts=(*way.hosts, actual.host)))
    elif isinstance(original, Route | WebSocketRoute):
        here = way.down(actual.path, actual.param_convertors)
        wrapped = _wrapped(getattr(actual, "app", original.app), way, actual.endpoint)
        if wrapped is None or not is_framework_method(original, "handle", "__call__"):
            yield here.end("unseen", [ANY_METHOD], actual.endpoint)
        elif not is_framework_method(original, "get_route_handler"):
            yield replace(here, layers=wrapped.layers).end("http", actual.methods, actual.endpoint)
        else:  # what stands round a route reads the path that the router reads
            yield from _leaf(actual, replace(here, layers=wrapped.layers), isinstance(original, WebSocketRoute))
    elif hasattr(original, "add_frontend_route"):
        for files in original.routes:
            here = way.down(getattr(route, "frontend_prefix", ""), {}).down(files.path, {})
            yield here.end("static", ["GET"], type(files.app), dependency_locks(route), all_below=True)
    else:
        yield way.end("unseen", [ANY_METHOD], type(route), all_below=True)


def _read_as_ever(route: Any) -> bool:
    """Whether it matches what its path says, and no other class says which paths those are."""
    path = f"{route.path.rstrip('/')}/{{path:path}}" if isinstance(route, Mount) else getattr(route, "path", "")
    known = isinstance(route, Mount | Route | WebSocketRoute)
    return is_framework_method(route, "matches") and (not known or route.path_regex == compile_path(path)[0])


def _leaf(route: Any, way: _Way, socket: bool) -> Iterator[Endpoint]:
    endpoint = bare(route.endpoint)
    asked = dependency_locks(route)
    if socket:
        handled = _is_kind(endpoint, WebSocketEndpoint) and endpoint.dispatch is WebSocketEndpoint.dispatch
        first = endpoint.on_connect if handled else endpoint
        yield way.end("websocket", [WEBSOCKET], endpoint, (*asked, *locks_of(first)))
    elif _is_kind(endpoint, HTTPEndpoint) and endpoint.dispatch is HTTPEndpoint.dispatch:
        for method in _handled(endpoint, route.methods):
            handler = getattr(endpoint, method.lower())
            yield way.end("http", [method], handler, locks_of(handler))
    else:
        yield way.end("http", route.methods or [ANY_METHOD], endpoint, (*asked, *locks_of(endpoint)))


def _handled(endpoint: Any, named: Collection[str] | None) -> list[str]:
    """The methods that the class has a handler for, and that the route lets through."""
    own = [name.upper() for name in dir(endpoint) if name.islower() and not hasattr(HTTPEndpoint, name)]
    names = dict.fromkeys([*_HANDLED, *(own if _ANY_ATTRIBUTE else ())])
    served = [name for name in names if callable(getattr(endpoint, name.lower(), None))]
    return [name for name in served if named is None or name in named]


def _is_kind(endpoint: object, kind: type) -> bool:
    return isinstance(endpoint, type) and issubclass(endpoint, kind)


def _methods(methods: Iterable[str]) -> tuple[str, ...]:
    found = set(methods)
    return tuple(sorted(found - {"HEAD"} if "GET" in found else found))
