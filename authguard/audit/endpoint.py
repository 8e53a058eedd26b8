"""The values that the audit reads: what an app can serve, and the middleware on the way to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias

from authguard.asgi.locks import Lock
from authguard.core.guard import Guard
from authguard.policy.path_pattern import Pattern
from authguard.source_location import name_of
from authguard.value_types import frozen

Kind: TypeAlias = Literal["http", "websocket", "static", "opaque"]

#: What reports add to the path of such an endpoint.
KIND_REMARKS: Final[Mapping[str, str]] = {"static": "files", "opaque": "cannot be inspected"}

#: Stands for every HTTP method, and on an ``opaque`` endpoint for a WebSocket handshake too.
ANY_METHOD = "*"


@frozen
class SessionCookie:
    """How Starlette's SessionMiddleware sets its cookie. ``max_age`` is in seconds; None lets the browser decide."""

    name: str
    max_age: int | None
    same_site: str
    secure: bool
    has_domain: bool


@frozen
class Layer:
    """A middleware on the way to an endpoint.

    - ``implementation``: its class; or the function that made it, or that it is.
    - ``guard``: the guard of an ``AuthGuardMiddleware``; ``preflight_passes``: whether it has ``preflight="pass"``.
    - ``session``: the cookie of a SessionMiddleware. ``exposed``: the fields that a CORSMiddleware lets scripts of
      other origins read, in lower case; None for any other middleware.
    - ``path``, ``segment_count``, ``host_count``: what the routers in front of it match: a part of the path, the number
      of its segments, and the number of hosts.
    """

    implementation: object
    guard: Guard | None = None
    path: str = ""
    segment_count: int = 0
    host_count: int = 0
    preflight_passes: bool = False
    session: SessionCookie | None = None
    exposed: frozenset[str] | None = None

    @property
    def name(self) -> str:
        """The name of the class or the function."""
        return name_of(self.implementation)

    def below(self, pattern: Pattern) -> Pattern:
        """The paths of the outermost app that match a pattern, as this middleware reads them."""
        return Pattern(pattern.segments[self.segment_count :], pattern.tail)

    @property
    def full_name(self) -> str:
        """The name with those of the functions and classes around the definition, as findings show it."""
        name: str = getattr(self.implementation, "__qualname__", type(self.implementation).__qualname__)
        return name


@frozen
class Endpoint:
    """One thing that an app can serve.

    - ``kind``: ``opaque`` if it may serve anything, because it is neither Starlette's nor FastAPI's.
    - ``path``: as the routers write it, ``/shop/items/{id:int}``. It ends in ``/**`` where all paths below are served.
      ``pattern``: the narrowest pattern that matches all its paths.
    - ``methods``: without HEAD where GET is among them. ``("*",)`` for any method.
    - ``locks``: the locks that run before it. ``location``: its file and line, or "".
    - ``bypassed_lock``: source location of a lock that wraps the endpoint's name, but not the function that the route
      calls; or "". ``covered_lock``: source location of a lock below another decorator, which may return before the
      lock runs; or "".
    - ``layers``: the middleware on the way, the outermost first. Locks ask the last guard among them.
    - ``serves_index``: whether these are files, and the path of a directory is its ``index.html``. ``fallbacks``: the
      files that are served in place of a file that does not exist. ``folders``: where the files are.
    - ``client_values``: the names of the classes that say who somebody is, and that FastAPI builds from the request.
    """

    kind: Kind
    methods: tuple[str, ...]
    path: str
    pattern: Pattern
    locks: tuple[Lock, ...] = ()
    name: str = ""
    location: str = ""
    hosts: tuple[str, ...] = ()
    layers: tuple[Layer, ...] = ()
    bypassed_lock: str = ""
    covered_lock: str = ""
    serves_index: bool = False
    fallbacks: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
    client_values: tuple[str, ...] = ()

    def below(self, layer: Layer) -> Pattern:
        """The paths of this endpoint as that middleware reads them."""
        return layer.below(self.pattern)
