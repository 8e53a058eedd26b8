"""A tree of many patterns. It finds the one that applies to a path, and those that share a path with a pattern.

How long that takes grows with the segments of the path, and not with the number of patterns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Generic, Protocol, TypeVar

from authguard.policy.path_pattern import ANY, CONVERTERS, RANK, Converter, Pattern, Relation, Segment, share_a_segment

#: What leaves have in place of literals. Nothing is added to it.
_NONE: dict[str, Any] = {}
# After so many nodes, ``overlapping`` asks whether another way is shorter.
_MANY_NODES = 100


class HasPattern(Protocol):
    """What a ``PatternTree`` holds."""

    @property
    def pattern(self) -> Pattern:
        """Its pattern."""
        ...


E = TypeVar("E", bound=HasPattern)


class PatternTree(Generic[E]):
    """Entries by their patterns, one for each pattern."""

    __slots__ = ("_by_parent", "_depth", "_entries", "_root", "_segments")

    def __init__(self) -> None:
        self._root = _Node[E]()
        self._entries: list[E] = []
        #: How many segments the longest pattern has.
        self._depth = 0
        #: The nodes with a parameter below them, by the path to them, if that has no parameter.
        self._by_parent: dict[str, _Node[E]] = {}
        self._segments: _SegmentIndex[E] | None = None

    def setdefault(self, pattern: Pattern, make: Callable[[], E]) -> E:
        """The entry of this pattern, which is made if there is none."""
        parent: str | None = ""
        node = self._root
        for segment in pattern.segments:
            if isinstance(segment, str):
                parent = parent if parent is None else f"{parent}/{segment}"
            else:
                if parent:
                    self._by_parent[parent] = node
                parent = None
            node = node.child(segment)
        entry = node.tail if pattern.tail else node.end
        if entry is not None:
            return entry
        entry = make()
        if pattern.tail:
            node.tail = entry
        else:
            node.end = entry
        self._entries.append(entry)
        self._depth = max(self._depth, len(pattern.segments))
        self._segments = None
        return entry

    def find(self, path: str) -> E | None:
        """The entry of the most specific pattern that matches a path; None if no pattern does."""
        segments = path[1:].split("/")
        if not segments[-1]:  # a final slash makes no other path
            segments.pop()
        return self._root.find(segments)

    def find_plain(self, path: str) -> E | None:
        """The same in less time, for a path that begins with a slash and has no empty segment."""
        # Most patterns that have a parameter end in it, and have no other.
        parent, _, last = path.rpartition("/")
        node = self._by_parent.get(parent)
        if node is not None and last and last not in node.literals:
            converter, following = node.converters[0]
            if following.end is not None and (converter is ANY or converter.accepts(last)):
                return following.end
        segments = path[1:].split("/", self._depth)  # no pattern looks at more segments
        if not segments[-1]:  # a final slash makes no other path
            segments.pop()
        node = self._root
        tail = node.tail
        for segment in segments:
            literal = node.literals.get(segment)
            if node.converters:
                if literal is not None or len(node.converters) != 1:
                    return self._root.find(segments)  # it may have to go back
                ((converter, literal),) = node.converters
                if converter is not ANY and not converter.accepts(segment):
                    return tail
            elif literal is None:
                return tail
            node = literal
            tail = node.tail or tail
        return node.end or tail

    def overlapping(self, pattern: Pattern) -> Sequence[E]:
        """The entries whose patterns share a path with this one."""
        segments = pattern.segments
        found: list[E] = []
        waiting = [(self._root, 0)]
        candidates: Sequence[E] | None = None
        nodes, limit = 0, _MANY_NODES if any(isinstance(segment, str) for segment in segments) else math.inf
        while waiting:
            node, index = waiting.pop()
            segment = segments[index] if index < len(segments) else None
            nodes += 1 if isinstance(segment, str) else 1 + len(node.literals)
            if nodes >= limit:
                # There are many literals where the pattern has a parameter. It may be faster to compare all patterns
                # that have one of its literals at the same place.
                if candidates is None:
                    candidates = self._with_a_segment_of(pattern)
                    limit = len(candidates)
                if nodes >= limit:
                    return [each for each in candidates if each.pattern.relation_to(pattern) is not Relation.APART]
            if node.tail is not None:
                found.append(node.tail)
            if segment is not None:
                waiting += [(following, index + 1) for following in node.sharing(segment)]
                continue
            if node.end is not None:
                found.append(node.end)
            if pattern.tail:
                waiting += [(following, index) for following in node.children()]
        return found

    def _with_a_segment_of(self, pattern: Pattern) -> Sequence[E]:
        if self._segments is None:
            self._segments = _SegmentIndex(self._entries)
        return self._segments.candidates(pattern)


class _Node(Generic[E]):
    """One segment of the patterns.

    ``end`` is the entry of the pattern that ends here, and ``tail`` that of the pattern that goes on with ``/**``.
    """

    __slots__ = ("converters", "end", "literals", "tail")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[E]] = _NONE
        #: In the order of the search.
        self.converters: tuple[tuple[Converter, _Node[E]], ...] = ()
        self.end: E | None = None
        self.tail: E | None = None

    def child(self, segment: Segment) -> _Node[E]:
        """The node of the next segment, which is added if it is new."""
        if isinstance(segment, str):
            found = self.literals.get(segment)
            if found is None:
                found = _Node()
                if self.literals is _NONE:
                    self.literals = {}
                self.literals[segment] = found
            return found
        for converter, node in self.converters:
            if converter is segment:
                return node
        node = _Node()
        self.converters = tuple(sorted((*self.converters, (segment, node)), key=lambda pair: RANK[pair[0].name]))
        return node

    def find(self, segments: Sequence[str], index: int = 0) -> E | None:
        """The entry of the most specific pattern for the segments from ``index`` on.

        It tries the literal, the converters, ``{name}`` and ``/**``, and goes back if one of them leads nowhere.
        """
        if index == len(segments):
            return self.end or self.tail
        segment = segments[index]
        if segment:  # only a /** matches an empty segment
            literal = self.literals.get(segment)
            if literal and (found := literal.find(segments, index + 1)):
                return found
            for converter, node in self.converters:
                if (converter is ANY or converter.accepts(segment)) and (found := node.find(segments, index + 1)):
                    return found
        return self.tail

    def children(self) -> list[_Node[E]]:
        """The nodes of all next segments."""
        nodes = list(self.literals.values())
        for _, node in self.converters:
            nodes.append(node)
        return nodes

    def sharing(self, segment: Segment) -> list[_Node[E]]:
        """The nodes of the next segments that share a segment with this one."""
        if segment is ANY:
            return self.children()
        if isinstance(segment, str):
            literal = self.literals.get(segment)
            nodes = [] if literal is None else [literal]
            for converter, node in self.converters:
                if converter.accepts(segment):
                    nodes.append(node)
            return nodes
        nodes = [node for text, node in self.literals.items() if segment.accepts(text)]
        return nodes + [node for converter, node in self.converters if share_a_segment(converter, segment)]


class _SegmentIndex(Generic[E]):
    """Entries by each segment of their patterns."""

    __slots__ = ("_converters", "_literals", "_tails")

    def __init__(self, entries: Sequence[E]) -> None:
        places = range(max((len(entry.pattern.segments) for entry in entries), default=0) + 1)
        # By the place of a segment in the pattern, and then by its text, or by the name of its converter.
        self._literals: list[dict[str, list[E]]] = [{} for _ in places]
        self._converters: list[dict[str, list[E]]] = [{} for _ in places]
        #: Those that end in /**, by the number of their segments.
        self._tails: list[list[E]] = [[] for _ in places]
        for entry in entries:
            pattern = entry.pattern
            for place, segment in enumerate(pattern.segments):
                if isinstance(segment, str):
                    self._literals[place].setdefault(segment, []).append(entry)
                else:
                    self._converters[place].setdefault(segment.name, []).append(entry)
            if pattern.tail:
                self._tails[len(pattern.segments)].append(entry)

    def candidates(self, pattern: Pattern) -> Sequence[E]:
        """All entries that share a path with this pattern, which has a literal segment, and others.

        Two patterns that share a path agree at each place. These agree with it at the place where the fewest do.
        """
        agreeing: list[list[list[E]]] = []
        for place, segment in enumerate(pattern.segments):
            if isinstance(segment, str):
                groups = self._tails[: place + 1]
                if place < len(self._literals):
                    converters = self._converters[place].items()
                    groups += [entries for name, entries in converters if CONVERTERS[name].accepts(segment)]
                    groups.append(self._literals[place].get(segment, []))
                agreeing.append(groups)
        fewest = min(agreeing, key=lambda groups: sum(map(len, groups)))
        return list(chain.from_iterable(fewest))
