"""A path pattern: literal segments, ``{name}``, ``{name:converter}``, and a final ``/**``.

Two patterns can be compared as sets of paths: whether one lies inside the other, and which path both match.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import combinations, product, takewhile
from typing import TypeAlias

from authguard.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Converter:
    """One kind of parameter: what it matches, kinds that lie wholly within it, a segment that it matches."""

    name: str
    regex: re.Pattern[str]
    covers: frozenset[str]
    sample: str

    def matches(self, segment: str) -> bool:
        """Whether it matches the whole segment (``fullmatch``: ``$`` would let a newline by)."""
        return self.regex.fullmatch(segment) is not None


# Starlette's own converters, for exactly what they match. The order is that of the search: narrow before wide.
_INT = Converter("int", re.compile(r"[0-9]+"), frozenset({"int"}), "0")
_FLOAT = Converter("float", re.compile(r"[0-9]+(?:\.[0-9]+)?"), frozenset({"int", "float"}), "0.5")
_UUID = Converter(
    "uuid",
    re.compile(r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}"),
    frozenset({"uuid"}),
    "00000000-0000-0000-0000-000000000000",
)
ANY = Converter("str", re.compile(r"[^/]+"), frozenset({"int", "float", "uuid", "str"}), "x")
CONVERTERS = {converter.name: converter for converter in (_INT, _FLOAT, _UUID, ANY)}
RANK = {name: rank for rank, name in enumerate(CONVERTERS)}

# Samples that two kinds of which neither covers the other have in common: 32 digits are a UUID and a number.
_COMMON = {frozenset({"int", "uuid"}): "0" * 32, frozenset({"float", "uuid"}): "0" * 32}

Segment: TypeAlias = str | Converter

_PARAMETER = re.compile(r"\{([a-zA-Z_][a-zA-Z0-9_]*)(?::([a-zA-Z_][a-zA-Z0-9_]*))?\}")
_NEVER_MATCHES = re.compile(r"[\\\x00-\x1f\x7f-\x9f\ud800-\udfff]|%[0-9a-fA-F]{2}")


@dataclass(frozen=True, slots=True)
class Pattern:
    """``segments`` from left to right; ``tail`` for a final ``/**``; ``names`` of the parameters by position.

    Two patterns that differ only in the names of their parameters are equal.
    """

    segments: tuple[Segment, ...]
    tail: bool

    def __str__(self) -> str:
        shown = [part if isinstance(part, str) else "{" + part.name + "}" for part in self.segments]
        return "/" + "/".join([*shown, "**"] if self.tail else shown)

    @property
    def literal(self) -> bool:
        """Whether it matches one path only."""
        return not self.tail and all(isinstance(part, str) for part in self.segments)

    @property
    def beginning(self) -> tuple[str, ...]:
        """The literal segments before the first that is none."""
        return tuple(takewhile(lambda part: isinstance(part, str), self.segments))  # type: ignore[arg-type]

    def inside(self, other: Pattern) -> bool:
        """Whether ``other`` matches whatever this one matches."""
        mine, theirs = len(self.segments), len(other.segments)
        if mine < theirs or not (other.tail or (mine == theirs and not self.tail)):
            return False
        return all(map(_within, self.segments, other.segments))

    @property
    def order(self) -> tuple[int, ...]:
        """Of two patterns that match a path, the one whose order is less is found."""
        ranks = [-1 if isinstance(part, str) else RANK[part.name] for part in self.segments]
        return (*ranks, len(RANK) if self.tail else -1)

    def meet(self, other: Pattern) -> Pattern | None:
        """What matches the paths that both match, where there are some and one pattern can say it."""
        short, long = sorted((self, other), key=lambda pattern: len(pattern.segments))
        beside = (*short.segments, *long.segments[len(short.segments) :])
        found = [_narrower(one, other) for one, other in zip(beside, long.segments, strict=True)]
        segments = [part for part in found if part is not None]
        return Pattern(tuple(segments), short.tail and long.tail) if len(segments) == len(found) else None

    def common_path(self, other: Pattern) -> str | None:
        """A path that both match; None where there is none."""
        short, long = sorted((self, other), key=lambda pattern: len(pattern.segments))
        if len(short.segments) < len(long.segments) and not short.tail:
            return None
        path = ""
        for index, segment in enumerate(long.segments):
            beside = short.segments[index] if index < len(short.segments) else ANY
            shared = _common(segment, beside)
            if shared is None:
                return None
            path += "/" + shared
        return path or "/"


def _within(one: Segment, other: Segment) -> bool:
    if isinstance(other, str):
        return one == other
    return other.matches(one) if isinstance(one, str) else one.name in other.covers


def _narrower(one: Segment, other: Segment) -> Segment | None:
    return one if _within(one, other) else other if _within(other, one) else None


def _common(one: Segment, other: Segment) -> str | None:
    for inner, outer in ((one, other), (other, one)):
        if _within(inner, outer):
            return inner if isinstance(inner, str) else inner.sample
    if isinstance(one, str) or isinstance(other, str):
        return None
    return _COMMON[frozenset({one.name, other.name})]


def parse_pattern(text: str) -> tuple[Pattern, dict[str, int]]:
    """The pattern and the position of each named parameter. ``ConfigurationError`` for what could never be meant."""
    if not isinstance(text, str) or not text.startswith("/"):
        raise ConfigurationError("pattern", f"{text!r} does not begin with /")
    if _NEVER_MATCHES.search(text):
        raise ConfigurationError("pattern", f"{text!r} is held against the decoded path; write the character itself")
    parts = text[1:].split("/")
    if parts[-1] == "":  # a trailing slash is the same path
        parts.pop()
    segments: list[Segment] = []
    positions: dict[str, int] = {}
    tail = False
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**" and last:
            tail = True
        elif match := _PARAMETER.fullmatch(part):
            name, converter = match[1], match[2] or "str"
            if name in positions:
                raise ConfigurationError("pattern", f"{text!r} names {{{name}}} twice")
            positions[name] = index
            if converter == "path" and last:
                tail = True
            elif converter in CONVERTERS:
                segments.append(CONVERTERS[converter])
            else:
                raise ConfigurationError("pattern", _converter_problem(text, converter))
        else:
            _check_literal(text, part)
            segments.append(part)
    return Pattern(tuple(segments), tail), positions


def _converter_problem(text: str, converter: str) -> str:
    if converter == "path":
        return f"{text!r}: a path parameter stands last"
    return f"{text!r}: the converter {converter!r} is not known; use one of {', '.join(CONVERTERS)}, or path at the end"


def _check_literal(text: str, part: str) -> None:
    if part in {"", ".", ".."}:
        raise ConfigurationError("pattern", f"{text!r} has the segment {part!r}; such paths are always refused")
    if "{" in part or "}" in part:
        raise ConfigurationError("pattern", f"{text!r}: a parameter is a whole segment, {{name}} or {{name:converter}}")
    if "*" in part:
        raise ConfigurationError("pattern", f"{text!r}: * stands only in a final /**")


def overlapping(patterns: Collection[Pattern]) -> Iterator[tuple[Pattern, Pattern]]:
    """The pairs that share a path. Only those are compared whose literal beginnings agree as far as both go."""
    by_beginning: dict[tuple[str, ...], list[Pattern]] = {}
    for pattern in patterns:
        by_beginning.setdefault(pattern.beginning, []).append(pattern)
    for beginning, alike in by_beginning.items():
        pairs = list(combinations(alike, 2))
        for depth in range(len(beginning)):
            pairs += product(by_beginning.get(beginning[:depth], ()), alike)
        yield from ((one, other) for one, other in pairs if one.common_path(other))


class Neighbours:
    """Patterns, to be asked for those that share a path with another pattern."""

    def __init__(self, patterns: Collection[Pattern]) -> None:
        self._alike: dict[tuple[str, ...], list[Pattern]] = {}
        self._longer: dict[tuple[str, ...], list[Pattern]] = {}
        for pattern in patterns:
            beginning = pattern.beginning
            self._alike.setdefault(beginning, []).append(pattern)
            for depth in range(len(beginning)):
                self._longer.setdefault(beginning[:depth], []).append(pattern)

    def of(self, pattern: Pattern) -> list[Pattern]:
        """Those that share a path with it, in the order of the search."""
        start = pattern.beginning
        short_location = [one for depth in range(len(start) + 1) for one in self._alike.get(start[:depth], ())]
        short_location += self._longer.get(start, ())
        return sorted((one for one in short_location if one.common_path(pattern)), key=lambda one: one.order)
