"""A rule: which paths and methods ask what of a principal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from authguard.errors import ConfigurationError
from authguard.model import Requirement, names
from authguard.policy.pattern import Pattern, parse_pattern
from authguard.policy.requirement import check_requirement
from authguard.said import caller

WEBSOCKET = "WEBSOCKET"

# RFC 9110 section 9.1: method = token, and case-sensitive. Lower case is what a slip looks like.
_METHOD = re.compile(r"[A-Z0-9!#$%&'*+.^_`|~-]+")


@dataclass(frozen=True, slots=True, init=False)
class Rule:
    """``Rule("/reports/{id}", any_role("analyst", "admin"), methods={"GET"})``.

    - ``pattern``: literal segments; ``{name}`` for one segment; ``{name:int}``, ``float``, ``uuid`` or ``str`` as in
      Starlette; a final ``/**`` or ``{rest:path}`` for this path and all below.
    - ``methods``: upper case. GET covers HEAD; ``"WEBSOCKET"`` is a WebSocket handshake. Without it the rule covers
      the methods that no other rule of the same pattern names.

    Raises ``ConfigurationError``. RFC 9110 section 9.
    """

    pattern: str
    requirement: Requirement
    methods: frozenset[str] | None
    parsed: Pattern = field(repr=False)
    positions: Mapping[str, int] = field(repr=False, compare=False)
    #: The file and the line.
    said: str = field(repr=False, compare=False)

    def __init__(self, pattern: str, requirement: Requirement, methods: Iterable[str] | None = None) -> None:
        parsed, positions = parse_pattern(pattern)
        check_requirement("requirement", requirement)
        put = object.__setattr__
        put(self, "pattern", pattern)
        put(self, "requirement", requirement)
        put(self, "methods", None if methods is None else _methods(methods))
        put(self, "parsed", parsed)
        put(self, "positions", positions)
        put(self, "said", caller(1))

    def __str__(self) -> str:
        shown = " ".join(sorted(self.methods)) + " " if self.methods else ""
        return f"{shown}{self.pattern} {self.requirement}"


def _methods(methods: Iterable[str]) -> frozenset[str]:
    found = names("methods", methods)
    if not found:
        raise ConfigurationError("methods", "the set is empty; leave methods out for a rule about all of them")
    if "HEAD" in found:
        raise ConfigurationError("methods", "HEAD is judged by GET's rule; name GET")
    for name in found:
        if not _METHOD.fullmatch(name):
            raise ConfigurationError("methods", f"{name!r} is no method as it is sent; write it in upper case")
    return found
