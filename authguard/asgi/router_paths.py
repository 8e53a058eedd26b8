"""What the router behind the guard will read of a path, and where it would read it twice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from starlette.convertors import FloatConvertor, IntegerConvertor, StringConvertor, UUIDConvertor
from starlette.routing import Mount

from authguard.policy.path_pattern import ANY, CONVERTERS, Converter, Segment

_MOST_LINKS = 64
_MOST_ROUTERS = 10_000
_PARAMETER = re.compile(r"\{([a-zA-Z_][a-zA-Z0-9_]*)(?::[a-zA-Z_][a-zA-Z0-9_]*)?\}")
# By the very class: another under the same name, or below it, may match anything.
_KINDS: Mapping[object, str] = {
    IntegerConvertor: "int",
    FloatConvertor: "float",
    UUIDConvertor: "uuid",
    StringConvertor: "str",
}
# A regular expression that matches no slash, as its parts show: what stands for itself, groups, choices and counts;
# sets of letters, digits and signs, whose ranges lie above the slash; sets of all but the slash.
_ONE_SEGMENT = re.compile(
    r"(?:[\w(){}?:*+|,-]|\\[dw.-]|\[-?(?:\w-\w|[\w.,:+*?|()]|\\[dw.-])+-?\]|\[\^/[^\[\]\\]*\])+", re.ASCII
)


class RouterPaths:
    """How the app that a guard wraps reads paths. Its routes are looked at with the first request, when all are there.

    Starlette looks for the path of a ``Mount`` behind ``root_path``. Where a path does not begin with that, the router
    inside the mount reads the whole path anew, and finds what the rules were not held against; and an app inside that
    has a ``root_path`` of its own takes it off, though nobody else saw it. Such paths are told as a problem.
    """

    def __init__(self, app: object) -> None:
        self._app = app
        # An app with a root_path of its own puts it into the scope only after the guard has looked.
        self._root_path = next(map(_own_root_path, filter(_own_root_path, chain(app))), "")
        self._outside: list[re.Pattern[str]] | None = None
        self._always: list[re.Pattern[str]] = []

    def read(self, scope: Mapping[str, Any]) -> tuple[str, str | None]:
        """The path that the rules are held against, and what is wrong with it, if something is."""
        sent: str = scope["path"]
        root: str = self._root_path or scope.get("root_path", "")
        path = below(sent, root) if root else sent
        if self._outside is None:
            self._look()
        if self._always and any(pattern.match(path) for pattern in self._always):
            return path, "an app inside has a root_path of its own"
        if root and path == sent and any(pattern.match(path) for pattern in self._outside or ()):
            return path, "it is outside of root_path, and a mount would read it anew"
        return path, None

    def _look(self) -> None:
        self._outside = []
        links = chain(self._app)
        if not any(hasattr(link, "routes") for link in links):
            # Nothing is to be seen: refuse whatever could be read anew.
            self._outside.append(re.compile(""))
        for link in links:
            for pattern, always in _read_anew(link):
                (self._always if always else self._outside).append(pattern)


def below(path: str, root: str) -> str:
    """The path below ``root``, where that ends at a slash; the same path where it does not begin so."""
    if not path.startswith(root):
        return path
    rest = path[len(root) :]
    return rest if not rest or rest[0] == "/" else path


def chain(app: object) -> list[object]:
    """The app and what it wraps, along ``.app``."""
    found: list[object] = []
    while app is not None and len(found) < _MOST_LINKS and all(app is not link for link in found):
        found.append(app)
        app = getattr(app, "app", None)
    return found


def _read_anew(app: object) -> Iterator[tuple[re.Pattern[str], bool]]:
    """What is matched by mounts that take a part of the path for themselves, and by apps with a root_path of their own.

    With each, whether that holds for every path, or only for those outside of the root_path that the server gave.
    """
    seen: dict[tuple[int, bool], object] = {}  # the apps themselves too, so that no other gets the same id
    waiting = [(app, False)]
    while waiting:
        router, included = waiting.pop()
        if (id(router), included) in seen:
            continue
        if len(seen) >= _MOST_ROUTERS:
            yield re.compile(""), False
            return
        seen[id(router), included] = router
        for route in _routes_of(router):
            inner = getattr(route, "original_router", None)
            if inner is not None:
                waiting.append((inner, True))
                continue
            links = chain(getattr(route, "app", None))
            own = next(map(_own_root_path, filter(_own_root_path, links)), "")
            if isinstance(route, Mount) and route.path:
                # Behind which prefix FastAPI has included its router, a mount does not know.
                yield re.compile("") if included else route.path_regex, bool(own)
                continue
            if own:
                yield re.compile(re.escape(own.rstrip("/")) + r"(?:/|\Z)"), True
            waiting += [(link, included) for link in links]


def _routes_of(router: object) -> Sequence[object]:
    routes = getattr(router, "routes", None)
    return routes if isinstance(routes, Sequence) else ()


def _own_root_path(app: object) -> str:
    value = getattr(app, "root_path", "")
    return value if isinstance(value, str) else ""


def read_segments(path: str, convertors: Mapping[str, object]) -> tuple[tuple[Segment, ...], bool]:
    """What a router's path matches, in segments; and whether anything may follow."""
    found: list[Segment] = []
    for part in path.removeprefix("/").removesuffix("/").split("/"):
        names = _PARAMETER.findall(part)
        kinds = [_kind_of(convertors.get(name)) for name in names]
        # An empty part is none for the guard, if it lets the path in at all.
        if not part or None in kinds:
            return tuple(found), True
        # Text beside a parameter is no segment that a rule can tell from others.
        found.append(part if not names else kinds[0] or ANY if _PARAMETER.fullmatch(part) else ANY)
    return tuple(found), False


def _kind_of(convertor: Any) -> Converter | None:
    """The converter that matches the same; None for what may match a slash."""
    known = _KINDS.get(type(convertor))
    if known:
        return CONVERTERS[known]
    regex = getattr(convertor, "regex", ".")
    # One that matches nothing makes a path that ends at a slash, which for a rule is the same path without it.
    return ANY if _ONE_SEGMENT.fullmatch(regex) and not re.fullmatch(regex, "") else None
