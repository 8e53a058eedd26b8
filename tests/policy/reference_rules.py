"""A second implementation of rules and patterns, slow and plain, to compare the rule table with.

It shares no code with authguard: patterns are texts, and requirements are labels. It tries every pattern on the whole
path. These are the definitions:

- `/a/` is the pattern `/a`, since a trailing slash is the same path. `{x:str}` is `{x}`, Starlette's default converter.
  `{rest:path}` is the tail `/**`. Patterns that differ only in the names of their parameters are equal.
- "This path and all below": `/a/**` covers `/a`, `/a/` and `/a/b/c`; `/**` covers `/`.
- A pattern that no path can match is refused, because its author thinks that it protects something: no leading slash,
  an empty segment, `.` or `..`, a backslash, a control character. So is a star that is not the final `/**`
  (`/admin/*` would leave `/admin/users` to the default), a brace that is not part of a parameter, and a name that
  is used twice (Starlette refuses it, and one value would be lost).
- Methods are tokens without lower-case letters. HEAD cannot be named, since GET's rule judges it. A request's method is
  compared as it was sent.
- A parameter takes at least one character, so only a tail matches an empty segment.
- "Inside" and "overlap" refer to the sets of paths that patterns match. A whole number is a float, so `{n:int}` lies
  inside `{f:float}` and is the more specific. A UUID may be spelled with 32 decimal digits, so `{u:uuid}` crosses both.
  A literal is inside each converter that matches it.
- Two patterns that overlap, neither inside the other, must have equal requirements for every method, including methods
  that no rule names. Then it does not matter which of them wins; the order of the converters (int, uuid, float) only
  makes the choice unique. A third pattern that covers the common paths changes nothing.
- "A `/**` under which no other rule is": no other pattern shares a path with it, except patterns that it is completely
  inside. `/a` is under `/a/**`, because a reader that collapses slashes reads `/a//` as `/a`.
- A control character is one of Unicode's category Cc: C0, DEL and C1. A lone surrogate is refused too: it stands
  for a byte that was not UTF-8, and two readers may decode it differently.
- Without rules, no path is ambiguous.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Sequence
from enum import Enum
from functools import cache
from itertools import combinations
from typing import NamedTuple, TypeAlias

ReferenceRule: TypeAlias = tuple[str, Hashable, frozenset[str] | None]


class Marker(Enum):
    """The answers that are not a requirement."""

    UNLISTED = "the winning pattern has no rule for this method"
    AMBIGUOUS = "two readers could read this path in two ways"


UNLISTED = Marker.UNLISTED
AMBIGUOUS = Marker.AMBIGUOUS


class Segment(NamedTuple):
    """One segment of a pattern: a literal with its text, or a parameter of a kind, whatever its name."""

    kind: str
    text: str = ""

    def accepts(self, text: str) -> bool:
        """Whether this segment matches one whole segment of a path."""
        if self.kind == "literal":
            return text == self.text
        return re.fullmatch(KINDS[self.kind], text) is not None


class Pattern(NamedTuple):
    """Segments, and whether the pattern also covers everything below them."""

    segments: tuple[Segment, ...]
    tail: bool


# In the order of specificity, literals before them all and the tail after them.
KINDS = {
    "int": r"[0-9]+",
    "uuid": r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}",
    "float": r"[0-9]+(\.[0-9]+)?",
    "str": r"[^/]+",
}
RANKS = ["literal", *KINDS, "tail"]

# One text for each combination of converters that can match a segment: int alone, int and uuid, float alone, uuid
# alone, none of them.
WITNESSES = ["7", "0" * 32, "1.5", "a" * 32, "~"]

METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Z-]+")
PARAMETER = re.compile(r"\{([a-zA-Z_][a-zA-Z0-9_]*)(?::([a-zA-Z_][a-zA-Z0-9_]*))?\}")


def segments_of(path: str) -> list[str]:
    """The segments of a path that begins with a slash. A final slash adds none."""
    segments = path.split("/")[1:]
    return segments[:-1] if segments[-1] == "" else segments


def ambiguous(path: str) -> bool:
    """Whether a path is ambiguous under any rules, apart from empty segments."""
    if not path.startswith("/") or "\\" in path or any(unicodedata.category(one) in ("Cc", "Cs") for one in path):
        return True
    return any(segment in (".", "..") for segment in segments_of(path))


@cache
def parse(text: str) -> Pattern:
    """The pattern of a text. Raises ``ValueError`` with the reason for an invalid text."""
    if ambiguous(text) or "" in segments_of(text):
        raise ValueError(f"no path can reach {text!r}")
    segments: list[Segment] = []
    names: list[str] = []
    tail = False
    for part in segments_of(text):
        if tail:
            raise ValueError(f"{text!r} goes on after its tail")
        parameter = PARAMETER.fullmatch(part)
        if part == "**":
            tail = True
        elif parameter is None:
            if any(character in part for character in "{}*"):
                raise ValueError(f"{part!r} in {text!r} is neither a literal nor a parameter")
            segments.append(Segment("literal", part))
        else:
            name, kind = parameter[1], parameter[2] or "str"
            if name in names:
                raise ValueError(f"{text!r} uses {name!r} twice")
            names.append(name)
            if kind == "path":
                tail = True
            elif kind in KINDS:
                segments.append(Segment(kind))
            else:
                raise ValueError(f"{text!r} has the unknown converter {kind!r}")
    return Pattern(tuple(segments), tail)


def matches(pattern: Pattern, segments: Sequence[str]) -> bool:
    """Whether the pattern matches the whole path with these segments."""
    if len(segments) < len(pattern.segments) or (len(segments) > len(pattern.segments) and not pattern.tail):
        return False
    return all(mine.accepts(text) for mine, text in zip(pattern.segments, segments, strict=False))


def specificity(pattern: Pattern) -> list[int]:
    """A sort key, smaller for the more specific pattern: left to right, and without a tail before one with a tail."""
    return [RANKS.index(segment.kind) for segment in pattern.segments] + [RANKS.index("tail")] * pattern.tail


def texts_for(one: Pattern, other: Pattern) -> list[str]:
    """Enough texts of segments to find out by trial what two patterns share."""
    return WITNESSES + [segment.text for segment in one.segments + other.segments if segment.kind == "literal"]


@cache
def shared_path(one: Pattern, other: Pattern) -> str | None:
    """A path that both patterns match, if there is one. The longer pattern gives its length."""
    path = ""
    for position in range(max(len(one.segments), len(other.segments))):
        here = [pattern.segments[position] for pattern in (one, other) if position < len(pattern.segments)]
        both = [text for text in texts_for(one, other) if all(segment.accepts(text) for segment in here)]
        if not both:
            return None
        path += "/" + both[0]
    path = path or "/"
    return path if matches(one, segments_of(path)) and matches(other, segments_of(path)) else None


@cache
def inside(one: Pattern, other: Pattern) -> bool:
    """Whether `other` matches every path that `one` matches."""
    if len(one.segments) < len(other.segments):
        return False
    if not other.tail and (one.tail or len(one.segments) > len(other.segments)):
        return False
    texts = texts_for(one, other)
    pairs = zip(one.segments, other.segments, strict=False)
    return all(theirs.accepts(text) for mine, theirs in pairs for text in texts if mine.accepts(text))


def crossing(one: Pattern, other: Pattern) -> bool:
    """Whether two patterns overlap and neither lies inside the other."""
    return shared_path(one, other) is not None and not inside(one, other) and not inside(other, one)


def by_pattern(rules: Sequence[ReferenceRule]) -> dict[Pattern, list[ReferenceRule]]:
    """The rules of each pattern, in the order in which they were given."""
    groups: dict[Pattern, list[ReferenceRule]] = {}
    for rule in rules:
        groups.setdefault(parse(rule[0]), []).append(rule)
    return groups


def covering_rule(siblings: Sequence[ReferenceRule], method: str) -> ReferenceRule | None:
    """The rule of one pattern that covers a method."""
    judged = "GET" if method == "HEAD" else method
    for rule in siblings:
        if rule[2] is not None and judged in rule[2]:
            return rule
    if judged != judged.upper() and any(rule[2] is not None for rule in siblings):
        return None  # a method in lower case matches no rule of a pattern with methods
    return next((rule for rule in siblings if rule[2] is None), None)


def requirement(siblings: Sequence[ReferenceRule], method: str) -> Hashable:
    """The requirement of one pattern for a method."""
    covering = covering_rule(siblings, method)
    return UNLISTED if covering is None else covering[1]


def reference_problem(rules: Sequence[ReferenceRule]) -> str | None:
    """Why these rules must raise, or None."""
    every_method = [""]  # The empty one stands for all methods that no rule names.
    for _, _, methods in rules:
        if methods is not None and (not methods or not all(METHOD.fullmatch(method) for method in methods)):
            return f"{methods!r} are not methods"
        if methods is not None and "HEAD" in methods:
            return "HEAD falls under the rule for GET"
        every_method += methods or ()
    try:
        groups = by_pattern(rules)
    except ValueError as problem:
        return str(problem)
    for siblings in groups.values():
        named = [method for _, _, methods in siblings for method in methods or [""]]
        if len(named) != len(set(named)):
            return f"{siblings[0][0]} has two rules for one method"
    for one, other in combinations(groups, 2):
        ones, others = groups[one], groups[other]
        if crossing(one, other) and any(requirement(ones, m) != requirement(others, m) for m in every_method):
            return f"{ones[0][0]} and {others[0][0]} cross at {shared_path(one, other)}"
    return None


def reference_match(rules: Sequence[ReferenceRule], default: Hashable, method: str, path: str) -> Hashable:
    """The requirement that applies to a request, or a marker."""
    if not rules:
        return default
    path = path or "/"
    if ambiguous(path):
        return AMBIGUOUS
    segments, groups = segments_of(path), by_pattern(rules)
    winner = min((pattern for pattern in groups if matches(pattern, segments)), key=specificity, default=None)
    if winner is None:
        return AMBIGUOUS if "" in segments else default
    others = [other for other in groups if other != winner and shared_path(winner, other) is not None]
    if "" in segments and any(not inside(winner, other) for other in others):
        return AMBIGUOUS
    return requirement(groups[winner], method)
