"""What the router behind the guard reads of a path, and where it would read another path than the guard did."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, TypeAlias

from starlette.convertors import FloatConvertor, IntegerConvertor, StringConvertor, UUIDConvertor
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.routing import Host, Mount

from authguard.asgi.framework_code import (
    builds_known_stack,
    class_path,
    is_framework_code,
    is_framework_method,
    keeps_path,
)
from authguard.policy.path_pattern import ANY, CONVERTERS, Converter, Segment
from authguard.source_location import name_of
from authguard.value_types import frozen, mutable

_MAX_LINKS = 64
_MAX_PARTS = 10_000
_ANY_PATH = re.compile("")
_PARAMETER = re.compile(r"\{([a-zA-Z_][a-zA-Z0-9_]*)(?::[a-zA-Z_][a-zA-Z0-9_]*)?\}")
# By exact class: a subclass, or another class under the same name, may match anything.
_CONVERTER_NAMES: Mapping[object, str] = {
    IntegerConvertor: "int",
    FloatConvertor: "float",
    UUIDConvertor: "uuid",
    StringConvertor: "str",
}
# A regular expression whose parts show that it matches no slash: literal characters, groups, alternatives and counts;
# sets of letters, digits and signs, whose ranges lie above the slash; sets of everything but the slash.
_ONE_SEGMENT = re.compile(
    r"(?:[\w(){}?:*+|,-]|\\[dw.-]|\[-?(?:\w-\w|[\w.,:+*?|()]|\\[dw.-])+-?\]|\[\^/[^\[\]\\]*\])+", re.ASCII
)

# Apps, routers and routes whose own code is known to match just what their paths say: by exact type, and by its name,
# because FastAPI may not be installed.
_APPS = frozenset({"starlette.applications.Starlette", "fastapi.applications.FastAPI"})
_ROUTERS = frozenset({"starlette.routing.Router", "fastapi.routing.APIRouter"})
_INCLUDED = "fastapi.routing._IncludedRouter"
_ROUTES = frozenset(
    {
        "starlette.routing.Host",
        "starlette.routing.Mount",
        "starlette.routing.Route",
        "starlette.routing.WebSocketRoute",
        "fastapi.routing.APIRoute",
        "fastapi.routing.APIWebSocketRoute",
    }
)


class RouterPaths:
    """How the app that a guard wraps reads paths.

    Starlette looks for the path of a ``Mount`` below ``root_path``. If a path does not begin with ``root_path``, the
    router inside the mount reads the whole path again, and finds a route that the guard's rules were not matched
    against. So a path outside of ``root_path`` is a problem, unless every part of the app is known and no mount in it
    can match the path. An app inside that has a ``root_path`` of its own removes it from a path, though nobody else
    does; such paths are a problem too.

    The app's routes are inspected with the first request, when they are all there, and again when they have changed.
    """

    def __init__(self, app: object) -> None:
        self._app = app
        # An app with a root_path of its own writes it into the scope only after the guard has read the path.
        self._root_path = next(filter(None, map(_own_root_path, chain(app))), "")
        self._routes: _Routes | None = None

    def read(self, scope: Mapping[str, Any]) -> tuple[str, str | None]:
        """The path that the rules are matched against, and what is wrong with it, if anything is."""
        sent: str = scope["path"]
        root: str = self._root_path or scope.get("root_path", "")
        path = below(sent, root) if root else sent
        routes = self._routes
        # A route that was added or removed is noticed by the lengths alone, because every request pays for this. Most
        # apps have one router.
        if (
            routes is None
            or len(routes.first) != routes.first_length
            or (routes.others and tuple(map(len, routes.others)) != routes.other_lengths)
        ):
            # Built aside and assigned once: another thread sees all of it or nothing.
            routes = self._routes = _inspect(self._app)
        if routes.own_root_paths and any(pattern.match(path) for pattern in routes.own_root_paths):
            return path, "an app inside has a root_path of its own"
        return path, self._outside_problem(path, routes) if root and path == sent else None

    def _outside_problem(self, path: str, routes: _Routes) -> str | None:
        if routes.have_changed():
            routes = self._routes = _inspect(self._app)
        if routes.unknown:
            return f"it is outside of root_path, and {routes.unknown} may read it anew"
        if any(pattern.match(path) for pattern in routes.read_anew):
            return "it is outside of root_path, and a mount would read it anew"
        return None


@mutable
class _Routes:
    """What was found in an app.

    ``read_anew`` match the paths that something inside reads anew if they are outside of ``root_path``;
    ``own_root_paths`` match those that an app with a ``root_path`` of its own reads anew; ``unknown`` names something
    that may read any path anew.
    """

    read_anew: list[re.Pattern[str]] = field(default_factory=list)
    own_root_paths: list[re.Pattern[str]] = field(default_factory=list)
    unknown: str = ""
    #: The lists of routes, with what was in them.
    seen: list[tuple[Sequence[object], list[object]]] = field(default_factory=list)
    #: The default handlers of routers.
    defaults: list[tuple[Any, object]] = field(default_factory=list)

    #: The first list, and the others, with their lengths.
    first: Sequence[object] = ()
    first_length: int = 0
    others: tuple[Sequence[object], ...] = ()
    other_lengths: tuple[int, ...] = ()

    def note_lengths(self) -> None:
        """Note how many routes there are in each list."""
        lists = [(routes, len(found)) for routes, found in self.seen]
        if lists:
            self.first, self.first_length = lists[0]
            self.others = tuple(routes for routes, _ in lists[1:])
            self.other_lengths = tuple(length for _, length in lists[1:])

    def have_changed(self) -> bool:
        """Whether anything else was put in the place of a route or of a default handler."""
        return any(
            len(routes) != len(found) or any(route is not old for route, old in zip(routes, found, strict=False))
            for routes, found in self.seen
        ) or any(router.default != default for router, default in self.defaults)


def below(path: str, root: str) -> str:
    """The path below ``root``, if ``root`` ends there at a slash; the whole path if it does not begin with ``root``."""
    if not path.startswith(root):
        return path
    rest = path[len(root) :]
    return rest if not rest or rest[0] == "/" else path


def chain(app: object) -> list[object]:
    """The app and everything that it wraps, along the attribute ``app``."""
    found: list[object] = []
    while app is not None and len(found) < _MAX_LINKS and all(app is not link for link in found):
        found.append(app)
        app = getattr(app, "app", None)
    return found


@frozen
class _Part:
    """An app, a router or a route inside the app, and where it stands.

    ``included``: FastAPI has included the router around it, behind a prefix that a mount inside does not know.
    ``mount``: the pattern of the outermost mount around it. Below a mount every path is read anew, so that what
    stands there can add nothing, but for an app with a ``root_path`` of its own.
    """

    value: Any
    included: bool = False
    mount: re.Pattern[str] | None = None


def _inspect(app: object) -> _Routes:
    routes = _Routes()
    waiting = [_Part(app)]
    # The root_path of the app that the guard wraps is known to the guard, which removes it from the path.
    wrapped = chain(app)
    visited: dict[tuple[int, bool, int], object] = {}  # holds the values, so that no other gets the same id
    while waiting:
        part = waiting.pop()
        key = id(part.value), part.included, id(part.mount)
        if part.value is None or key in visited:
            continue
        if len(visited) >= _MAX_PARTS:
            routes.unknown = routes.unknown or "an app with too many routers"
            break
        visited[key] = part.value
        root_path = _own_root_path(part.value)
        if root_path and all(part.value is not link for link in wrapped):
            prefix = re.compile(re.escape(root_path.rstrip("/")) + r"(?:/|\Z)")
            routes.own_root_paths.append(part.mount or prefix)
        waiting += [
            _Part(value, part.included or included, part.mount or mount)
            for value, included, mount in _children(part, routes)
        ]
    routes.note_lengths()
    return routes


_Child: TypeAlias = tuple[object, bool, re.Pattern[str] | None]


def _children(part: _Part, routes: _Routes) -> Iterator[_Child]:
    value, kind = part.value, class_path(type(part.value))
    if kind in _APPS and is_framework_method(value, "__call__") and builds_known_stack(value):
        _note_unknown([layer.cls for layer in value.user_middleware], part, routes)
        yield value.router, False, None
    elif kind in _ROUTERS and is_framework_method(value, "__call__", "app", "handle"):
        yield from _router_children(value, part, routes)
    elif kind == _INCLUDED:
        yield value.original_router, True, None
    elif kind in _ROUTES and is_framework_method(value, "matches", "handle"):
        yield from _route_children(value, part, routes)
    elif getattr(value, "app", None) is not None and keeps_path(type(value)):
        yield value.app, False, None
    else:
        _note_unknown([type(value)], part, routes)
        # What it shows of its inside may still have a root_path of its own.
        inner, listed = getattr(value, "app", None), getattr(value, "routes", None)
        if not inspect.isroutine(inner):
            yield inner, False, None
        if isinstance(listed, Sequence):
            yield from ((route, False, None) for route in listed)


def _router_children(router: Any, part: _Part, routes: _Routes) -> Iterator[_Child]:
    routes.seen.append((router.routes, list(router.routes)))
    routes.defaults.append((router, router.default))
    yield from ((route, False, None) for route in router.routes)
    if router.default != router.not_found:
        yield router.default, False, None
    links = chain(router.middleware_stack)
    _note_unknown([type(link) for link in links if not inspect.isroutine(link)], part, routes)


def _route_children(route: Any, part: _Part, routes: _Routes) -> Iterator[_Child]:
    if type(route) is Host or (type(route) is Mount and not route.path):
        yield route.app, False, None
    elif type(route) is Mount:
        pattern = _ANY_PATH if part.included else route.path_regex
        routes.read_anew.append(pattern)
        yield route.app, False, pattern
    elif not _is_endpoint(route):
        # An ASGI app behind a route reads the path itself.
        routes.read_anew.append(_ANY_PATH if part.included else route.path_regex)


def _note_unknown(kinds: Sequence[object], part: _Part, routes: _Routes) -> None:
    unknown = next((kind for kind in kinds if not keeps_path(kind)), None)
    if unknown is not None and part.mount is None:
        routes.unknown = routes.unknown or name_of(unknown)


def _is_endpoint(route: Any) -> bool:
    """Whether a route calls a function, or an endpoint class of Starlette: not an ASGI app that reads the path."""
    endpoint = route.endpoint
    *wrappers, handler = chain(route.app)
    if isinstance(endpoint, type) and issubclass(endpoint, HTTPEndpoint | WebSocketEndpoint):
        known = handler is endpoint
    else:
        known = inspect.isroutine(handler) and is_framework_code(handler)
    return known and all(keeps_path(type(wrapper)) for wrapper in wrappers)


def _own_root_path(app: object) -> str:
    value = getattr(app, "root_path", "")
    return value if isinstance(value, str) else ""


def read_segments(path: str, convertors: Mapping[str, object]) -> tuple[tuple[Segment, ...], bool]:
    """The segments that a router's path matches, and whether anything may follow them."""
    found: list[Segment] = []
    for part in path.removeprefix("/").removesuffix("/").split("/"):
        names = _PARAMETER.findall(part)
        kinds = [_converter_of(convertors.get(name)) for name in names]
        # The guard lets no path with an empty segment in, or reads on below it.
        if not part or None in kinds:
            return tuple(found), True
        # A rule cannot name a segment that mixes text and a parameter.
        found.append(part if not names else kinds[0] or ANY if _PARAMETER.fullmatch(part) else ANY)
    return tuple(found), False


def _converter_of(convertor: Any) -> Converter | None:
    """The converter of rules that matches the same segments; None for one that may match a slash."""
    known = _CONVERTER_NAMES.get(type(convertor))
    if known:
        return CONVERTERS[known]
    regex = getattr(convertor, "regex", ".")
    # One that matches the empty text makes a path that ends at a slash, which is the same path to a rule.
    return ANY if _ONE_SEGMENT.fullmatch(regex) and not re.fullmatch(regex, "") else None
