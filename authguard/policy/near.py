"""Which patterns share a path, found without holding each against all others."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import combinations, product

from authguard.policy.pattern import Pattern


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
        near = [one for depth in range(len(start) + 1) for one in self._alike.get(start[:depth], ())]
        near += self._longer.get(start, ())
        return sorted((one for one in near if one.common_path(pattern)), key=lambda one: one.order)
