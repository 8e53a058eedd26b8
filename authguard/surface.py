"""What an app can serve, as far as it can be seen from outside: its routes, through mounts, hosts and middleware."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.routing import BaseRoute, Host, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles

from authguard.access import Lock
from authguard.guard import Guard
from authguard.policy.pattern import Pattern, Segment
from authguard.policy.rules import WEBSOCKET
from authguard.routing import read_segments
from authguard.said import name_of, said_of

Kind: TypeAlias = Literal["http", "websocket", "static", "unseen"]

#: Stands for every method, that of a handshake too where the endpoint is ``unseen``.
ANY_METHOD = "*"

_MOST_LINKS = 64
# What an HTTPEndpoint has methods for.
_HANDLED = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY")


@dataclass(frozen=True, slots=True)
class Layer:
    """A middleware on the way to an endpoint; ``guard`` where it is ours.

    ``path``, ``depth`` and ``hosts``: the path, and how many segments and hosts, that were read before it.
    """

    made_by: object
    guard: Guard | None = None
    path: str = ""
    depth: int = 0
    hosts: int = 0

    @property
    def name(self) -> str:
        """Its class, or what made it."""
        return name_of(self.made_by)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One thing that an app can serve.

    - ``path``: as the routers write it, ``/shop/items/{id:int}``; ``/static/**`` for files and for what cannot be seen
      into. ``pattern``: the narrowest that matches all its paths.
    - ``methods``: without HEAD, where GET is among them. ``("*",)`` for whatever comes.
    - ``locks``: those that are asked before it runs. ``said``: its file and line, where it has one.
    - ``layers``: the middleware on the way, the outermost first; locks ask the last guard among them.
    """

    kind: Kind
    methods: tuple[str, ...]
    path: str
    pattern: Pattern
    locks: tuple[Lock, ...] = ()
    name: str = ""
    said: str = ""
    hosts: tuple[str, ...] = ()
    layers: tuple[Layer, ...] = ()

    def below(self, layer: Layer) -> Pattern:
        """The paths of this endpoint as that middleware reads them."""
        return Pattern(self.pattern.segments[layer.depth :], self.pattern.tail)


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
    links: int = 0

    def down(self, path: str, convertors: Mapping[str, object]) -> _Way:
        if path in {"", "/"}:
            return replace(self, path=self.path + path)
        segments, tail = read_segments(path, convertors)
        found = self.segments if self.tail else (*self.segments, *segments)
        return replace(self, path=self.path.rstrip("/") + path, segments=found, tail=self.tail or tail)

    def through(self, made_by: object, guard: object = None) -> _Way:
        ours = getattr(made_by, "is_authguard", False) is True and isinstance(guard, Guard)
        layer = Layer(made_by, guard if ours else None, self.path.rstrip("/"), len(self.segments), len(self.hosts))  # type: ignore[arg-type]
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
            said_of(what),
            self.hosts,
            self.layers,
        )


def _walk(app: object, way: _Way) -> Iterator[Endpoint]:
    """What is served by an app, and by what it wraps along ``.app``."""
    way = replace(way, links=way.links + 1)
    routes, inner = getattr(app, "routes", None), getattr(app, "app", None)
    if way.links > _MOST_LINKS:
        yield way.end("unseen", [ANY_METHOD], app, all_below=True)
    elif isinstance(app, Starlette):
        for layer in app.user_middleware:
            way = way.through(layer.cls, layer.kwargs.get("guard"))
        yield from _walk(app.router, way)
    elif isinstance(app, Router):
        yield from _router(app, _wrapped(app.middleware_stack, way))
    elif isinstance(app, BaseRoute):
        yield from _route(app, way)
    elif isinstance(app, StaticFiles):
        yield way.end("static", ["GET"], type(app), all_below=True)
    elif inner is not None:
        yield from _walk(inner, way.through(type(app), getattr(app, "guard", None)))
    elif isinstance(routes, Sequence) and all(isinstance(route, BaseRoute) for route in routes):
        yield from _routes(routes, way)
    else:
        yield way.end("unseen", [ANY_METHOD], app, all_below=True)


def _wrapped(app: Any, way: _Way) -> _Way:
    """The way through what stands round a router or an endpoint: objects that hold the next as ``.app``."""
    while not inspect.isroutine(app) and not isinstance(app, type) and hasattr(app, "app"):
        way, app = way.through(type(app), getattr(app, "guard", None)), app.app
    return way


def _router(router: Router, way: _Way) -> Iterator[Endpoint]:
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
    if isinstance(actual, Mount):
        yield from _walk(actual.app, way.down(actual.path, actual.param_convertors))
    elif isinstance(actual, Host):
        yield from _walk(actual.app, replace(way, hosts=(*way.hosts, actual.host)))
    elif isinstance(original, Route | WebSocketRoute):
        here = way.down(actual.path, actual.param_convertors)
        yield from _leaf(actual, _wrapped(getattr(actual, "app", None), here), isinstance(original, WebSocketRoute))
    elif hasattr(original, "add_frontend_route"):
        for files in original.routes:
            here = way.down(getattr(route, "frontend_prefix", ""), {}).down(files.path, {})
            yield here.end("static", ["GET"], type(files.app), _depended(route), all_below=True)
    else:
        yield way.end("unseen", [ANY_METHOD], type(route), all_below=True)


def _leaf(route: Any, way: _Way, socket: bool) -> Iterator[Endpoint]:
    endpoint = _bare(route.endpoint)
    asked = _depended(route)
    if socket:
        handled = _is_kind(endpoint, WebSocketEndpoint) and endpoint.dispatch is WebSocketEndpoint.dispatch
        first = endpoint.on_connect if handled else endpoint
        yield way.end("websocket", [WEBSOCKET], endpoint, (*asked, *_locks_of(first)))
    elif _is_kind(endpoint, HTTPEndpoint) and endpoint.dispatch is HTTPEndpoint.dispatch:
        served = [name for name in _HANDLED if getattr(endpoint, name.lower(), None) is not None]
        for method in served if route.methods is None else [name for name in served if name in route.methods]:
            handler = getattr(endpoint, method.lower())
            yield way.end("http", [method], handler, _locks_of(handler))
    else:
        yield way.end("http", route.methods or [ANY_METHOD], endpoint, (*asked, *_locks_of(endpoint)))


def _is_kind(endpoint: object, kind: type) -> bool:
    return isinstance(endpoint, type) and issubclass(endpoint, kind)


def _bare(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _depended(route: object) -> tuple[Lock, ...]:
    """The locks among the dependencies of FastAPI: those of the app and of its routers are among the route's."""
    found: list[Lock] = []
    waiting = [getattr(route, "dependant", None)]
    while waiting:
        for dependant in getattr(waiting.pop(), "dependencies", ()):
            found += _locks_of(dependant.call)
            waiting.append(dependant)
    return tuple(found)


def _locks_of(function: object) -> tuple[Lock, ...]:
    function = _bare(function)
    # An object that is called has them on its __call__.
    found: tuple[object, ...] = getattr(function, "__authguard__", ())
    found = found or getattr(type(function).__call__, "__authguard__", ())
    return tuple(lock for lock in found if isinstance(lock, Lock))


def _methods(methods: Iterable[str]) -> tuple[str, ...]:
    found = set(methods)
    return tuple(sorted(found - {"HEAD"} if "GET" in found else found))
