"""The path that a rule without a route most likely means: one letter away, or with another prefix."""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches

from authguard.policy.rules import Rule
from authguard.value_types import frozen

#: How many paths are compared with a rule. Larger apps do exist, and each comparison takes some microseconds.
MOST_COMPARED = 2000

_PARAMETER = re.compile(r"\{[^}]*\}")


@frozen
class NearestPath:
    """A path that the app serves, what the rule should be to match it, and why it differs from the rule."""

    path: str
    written: str
    why: str


def nearest_path(rule: Rule, paths: Collection[str]) -> NearestPath | None:
    """The nearest of the paths that the app serves, as the guard of the rule reads them; None if none is near."""
    distinct = list(dict.fromkeys(paths))[:MOST_COMPARED]
    own = _comparable(rule.pattern)
    if not any(segment != "{}" for segment in own):
        return None
    for path in distinct:
        if (count := _with_prefix(own, _comparable(path), tail=rule.parsed.tail)) is not None:
            return NearestPath(path, _written(path, count, rule), "a rule names the whole path, with every prefix")
    for path in distinct:
        if (count := _without_prefix(own, _comparable(path), tail=rule.parsed.tail)) is not None:
            return NearestPath(path, _written(path, count, rule), "a rule names the path below root_path and mounts")
    beginnings: dict[str, str] = {}
    for path in distinct:
        segments = _comparable(path)
        beginnings.setdefault("/".join(segments[: len(own)] if rule.parsed.tail else segments), path)
    close = get_close_matches("/".join(own), beginnings, n=1)
    if not close:
        return None
    path = beginnings[close[0]]
    return NearestPath(path, _written(path, close[0].count("/") + 1, rule), "")


def _segments(path: str) -> list[str]:
    return [segment for segment in path.split("/") if segment and segment != "**"]


def _comparable(path: str) -> list[str]:
    """The segments, each parameter by its place alone: routes and rules may name it differently."""
    return [_PARAMETER.sub("{}", segment) for segment in _segments(path)]


def _with_prefix(own: list[str], segments: list[str], *, tail: bool) -> int | None:
    """How many segments of the path the rule would have, if it were preceded by a prefix; None if it would not fit."""
    ends = range(len(own) + 1, len(segments) + 1) if tail else [len(segments)] * (len(segments) > len(own))
    return next((end for end in ends if segments[end - len(own) : end] == own), None)


def _without_prefix(own: list[str], segments: list[str], *, tail: bool) -> int | None:
    """The same, if the rule had no prefix."""
    for start in range(1, len(own)):
        rest = own[start:]
        if rest[0] != "{}" and (segments[: len(rest)] if tail else segments) == rest:
            return len(rest)
    return None


def _written(path: str, count: int, rule: Rule) -> str:
    """The rule's pattern, with the first segments of a path that is served."""
    segments = _segments(path)[:count]
    return "/" + "/".join([*segments, "**"] if rule.parsed.tail else segments)
