"""Path patterns: literal segments, ``{name}``, ``{name:converter}``, and a final ``/**``.

``parse_pattern`` reads one. Two patterns can be compared as sets of paths: whether one is a subset of the other, and
which path both match.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum, auto
from typing import TypeAlias

from authguard.errors import ConfigurationError
from authguard.value_types import frozen


@frozen
class Converter:
    """A kind of parameter.

    ``accepts`` is true for a segment that it matches as a whole. ``covers`` names the converters whose every segment
    this one matches too; ``sample`` is a segment that it matches.
    """

    name: str
    accepts: Callable[[str], object]
    covers: frozenset[str]
    sample: str

    def __reduce__(self) -> tuple[Callable[[str], Converter], tuple[str]]:
        # There is one of each name, which the copy of a rule refers to as well.
        return _converter, (self.name,)

    def matches(self, segment: str) -> bool:
        """Whether it matches the whole segment."""
        return bool(self.accepts(segment))


def _converter(name: str) -> Converter:
    return CONVERTERS[name]


def _is_int(segment: str) -> bool:
    # ASCII digits alone, as the regular expression [0-9]+ would say in twice the time.
    return segment.isdigit() and segment.isascii()


# The converters of Starlette, with exactly what they match there. In the order of the search: narrow before wide. The
# whole segment counts, because the $ of a regular expression would ignore a final newline.
_INT = Converter("int", _is_int, frozenset({"int"}), "0")
_FLOAT = Converter("float", re.compile(r"[0-9]+(?:\.[0-9]+)?").fullmatch, frozenset({"int", "float"}), "0.5")
_UUID = Converter(
    "uuid",
    re.compile(r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}").fullmatch,
    frozenset({"uuid"}),
    "00000000-0000-0000-0000-000000000000",
)
ANY = Converter("str", re.compile(r"[^/]+").fullmatch, frozenset({"int", "float", "uuid", "str"}), "x")
CONVERTERS = {converter.name: converter for converter in (_INT, _FLOAT, _UUID, ANY)}
#: The position of each converter in the order of the search.
RANK = {name: rank for rank, name in enumerate(CONVERTERS)}

# A sample for two converters that overlap although neither covers the other: 32 digits are a UUID and a number.
_SHARED_SAMPLES = {frozenset({"int", "uuid"}): "0" * 32, frozenset({"float", "uuid"}): "0" * 32}

Segment: TypeAlias = str | Converter


@frozen
class Pattern:
    """A parsed pattern: its segments from left to right, and whether it ends in ``/**``.

    It does not know the names of its parameters, so two patterns that differ only in these are equal.
    """

    segments: tuple[Segment, ...]
    tail: bool

    def __str__(self) -> str:
        texts = [segment if isinstance(segment, str) else "{" + segment.name + "}" for segment in self.segments]
        return "/" + "/".join([*texts, "**"] if self.tail else texts)

    @property
    def literal(self) -> bool:
        """Whether it matches one path only."""
        return not self.tail and all(isinstance(segment, str) for segment in self.segments)

    @property
    def search_order(self) -> tuple[int, ...]:
        """A sort key: of two patterns that match a path, the search finds the one with the smaller key."""
        ranks = [-1 if isinstance(segment, str) else RANK[segment.name] for segment in self.segments]
        return (*ranks, len(RANK) if self.tail else -1)

    def is_subset_of(self, other: Pattern) -> bool:
        """Whether ``other`` matches every path that this one matches."""
        own_length, other_length = len(self.segments), len(other.segments)
        if own_length < other_length or not (other.tail or (own_length == other_length and not self.tail)):
            return False
        return all(map(_is_covered, self.segments, other.segments))

    def relation_to(self, other: Pattern) -> Relation:
        """How the paths of this pattern relate to those of another one."""
        own, others = self.segments, other.segments
        if (len(own) > len(others) and not other.tail) or (len(own) < len(others) and not self.tail):
            return Relation.APART
        is_subset = len(own) >= len(others) and (other.tail or not self.tail)
        is_superset = len(own) <= len(others) and (self.tail or not other.tail)
        for segment, opposite in zip(own, others, strict=False):
            if segment is opposite or segment == opposite:
                continue
            if _common_segment(segment, opposite) is None:
                return Relation.APART
            is_subset = is_subset and _is_covered(segment, opposite)
            is_superset = is_superset and _is_covered(opposite, segment)
        return Relation.SUBSET if is_subset else Relation.SUPERSET if is_superset else Relation.CROSSING

    def intersection(self, other: Pattern) -> Pattern | None:
        """The pattern of the paths that both match.

        None if there are none, or if no single pattern describes them.
        """
        short, long = sorted((self, other), key=lambda pattern: len(pattern.segments))
        extended = (*short.segments, *long.segments[len(short.segments) :])
        narrower = [_narrower(one, other) for one, other in zip(extended, long.segments, strict=True)]
        segments = [segment for segment in narrower if segment is not None]
        return Pattern(tuple(segments), short.tail and long.tail) if len(segments) == len(narrower) else None

    def common_path(self, other: Pattern) -> str | None:
        """A path that both match; None if there is none."""
        short, long = sorted((self, other), key=lambda pattern: len(pattern.segments))
        if len(short.segments) < len(long.segments) and not short.tail:
            return None
        path = ""
        for index, segment in enumerate(long.segments):
            opposite = short.segments[index] if index < len(short.segments) else ANY
            shared = _common_segment(segment, opposite)
            if shared is None:
                return None
            path += "/" + shared
        return path or "/"


class Relation(Enum):
    """How the paths of one pattern relate to those of another one. Equal patterns are subsets of each other."""

    APART = auto()
    SUBSET = auto()
    SUPERSET = auto()
    CROSSING = auto()


def _is_covered(one: Segment, other: Segment) -> bool:
    if isinstance(other, str):
        return one == other
    return other.matches(one) if isinstance(one, str) else one.name in other.covers


def _narrower(one: Segment, other: Segment) -> Segment | None:
    return one if _is_covered(one, other) else other if _is_covered(other, one) else None


def share_a_segment(one: Segment, other: Segment) -> bool:
    """Whether there is a segment that both match."""
    return _common_segment(one, other) is not None


def _common_segment(one: Segment, other: Segment) -> str | None:
    narrower = _narrower(one, other)
    if narrower is not None:
        return narrower if isinstance(narrower, str) else narrower.sample
    if isinstance(one, str) or isinstance(other, str):
        return None
    return _SHARED_SAMPLES[frozenset({one.name, other.name})]


_PARAMETER = re.compile(r"\{([a-zA-Z_][a-zA-Z0-9_]*)(?::([a-zA-Z_][a-zA-Z0-9_]*))?\}")
_NEVER_MATCHES = re.compile(r"[\\\x00-\x1f\x7f-\x9f\ud800-\udfff]|%[0-9a-fA-F]{2}")
# A parameter as other frameworks write it: `:name` and `[name]` (Express, Next.js), `<name>` and `<int:name>` (Flask).
_FOREIGN_PARAMETER = re.compile(r":([a-zA-Z_]\w*)|\[([a-zA-Z_]\w*)\]|<(?:(\w+):)?([a-zA-Z_]\w*)>", re.ASCII)
_FOREIGN_CONVERTERS = {"string": "str"}


def parse_pattern(text: str) -> tuple[Pattern, dict[str, int]]:
    """The pattern, and the position of each parameter by its name.

    Raises ``ConfigurationError`` for a pattern that no request could match, or that matches more than it seems to.
    """
    _check_text(text)
    parts = text[1:].split("/")
    if parts[-1] == "":  # a trailing slash makes no other path
        parts.pop()
    segments: list[Segment] = []
    positions: dict[str, int] = {}
    tail = False
    for index, part in enumerate(parts):
        is_last = index == len(parts) - 1
        if part == "**" and is_last:
            tail = True
        elif "{" in part and (match := _PARAMETER.fullmatch(part)):
            name, converter = match[1], match[2] or "str"
            if name in positions:
                raise ConfigurationError("pattern", f"{text!r} names {{{name}}} twice")
            positions[name] = index
            if converter == "path" and is_last:
                tail = True
            elif converter in CONVERTERS:
                segments.append(CONVERTERS[converter])
            else:
                raise ConfigurationError("pattern", _converter_problem(text, converter))
        else:
            _check_literal(text, part)
            segments.append(part)
    return Pattern(tuple(segments), tail), positions


def _check_text(text: object) -> None:
    if not isinstance(text, str) or not text.startswith("/"):
        raise ConfigurationError("pattern", f"{text!r} does not begin with /{_beginning_fix(text)}")
    if _NEVER_MATCHES.search(text):
        raise ConfigurationError("pattern", f"{text!r} is compared with the decoded path; write the character itself")
    if "?" in text or "#" in text:
        end = "?" if "?" in text else "#"
        raise ConfigurationError(
            "pattern",
            f"{text!r}: a rule is about the path, which ends before {end}; write {text.partition(end)[0]!r}",
        )
    if text != text.rstrip():
        raise ConfigurationError("pattern", f"{text!r} ends with a blank, and no path does; write {text.rstrip()!r}")


def _beginning_fix(text: object) -> str:
    """What to write in place of a pattern that does not begin with a slash."""
    if not isinstance(text, str):
        return ""
    method, blank, rest = text.strip().partition(" ")
    if blank and rest.startswith("/"):
        return f"; write Rule({rest!r}, ..., methods={{{method.upper()!r}}})"
    host, slash, path = text.partition("://")[2].partition("/")
    if host:
        return f"; a rule is about a path on every host, write {slash + path or '/'!r}"
    path = text.strip().lstrip("^").rstrip("$")
    return f"; write {path if path.startswith('/') else '/' + path!r}" if path else ""


def _converter_problem(text: str, converter: str) -> str:
    if converter == "path":
        return f"{text!r}: a path parameter must be the last segment"
    return f"{text!r}: the converter {converter!r} is not known; use one of {', '.join(CONVERTERS)}, or path at the end"


def _check_literal(text: str, part: str) -> None:
    if part in {"", ".", ".."}:
        raise ConfigurationError("pattern", f"{text!r} has the segment {part!r}; such paths are always refused")
    if "{" in part or "}" in part:
        raise ConfigurationError(
            "pattern", f"{text!r}: a parameter must be a whole segment, {{name}} or {{name:converter}}"
        )
    if "*" in part:
        raise ConfigurationError("pattern", f"{text!r}: * is allowed only in a final /**")
    if match := _FOREIGN_PARAMETER.fullmatch(part):
        converter, name = match[3], match[1] or match[2] or match[4]
        converter = _FOREIGN_CONVERTERS.get(converter, converter)
        written = f"{{{name}:{converter}}}" if converter else f"{{{name}}}"
        raise ConfigurationError("pattern", f"{text!r}: {part} is not a parameter here; write {written}")
    if "<" in part or ">" in part:
        raise ConfigurationError("pattern", f"{text!r}: < and > mean nothing here; a parameter is {{name}}")
