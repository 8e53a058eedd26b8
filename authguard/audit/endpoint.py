"""One thing that an app can serve, and what stands on the way to it: the values that the audit reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from authguard.asgi.locks import Lock
from authguard.core.guard import Guard
from authguard.policy.path_pattern import Pattern
from authguard.source_location import name_of

Kind: TypeAlias = Literal["http", "websocket", "static", "unseen"]

#: Stands for every method, that of a handshake too where the endpoint is ``unseen``.
ANY_METHOD = "*"


@dataclass(frozen=True, slots=True)
class Layer:
    """A middleware on the way to an endpoint; ``guard`` where it is ours, and whether that lets every preflight by.

    ``path``, ``depth`` and ``hosts``: the path, and how many segments and hosts, that were read before it.
    """

    made_by: object
    guard: Guard | None = None
    path: str = ""
    depth: int = 0
    hosts: int = 0
    preflight: bool = False

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
    - ``bypassed``: where a lock was said that is round the endpoint's name, and not round what the route has.
    - ``covered``: where a lock was said that a decorator stands above, which may answer before it.
    - ``layers``: the middleware on the way, the outermost first; locks ask the last guard among them.
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
    bypassed: str = ""
    covered: str = ""

    def below(self, layer: Layer) -> Pattern:
        """The paths of this endpoint as that middleware reads them."""
        return Pattern(self.pattern.segments[layer.depth :], self.pattern.tail)
