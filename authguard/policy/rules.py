"""A rule: which paths and methods ask what of a principal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cached_property
from typing import Final, Literal, TypeAlias

from authguard.errors import ConfigurationError
from authguard.model import Requirement
from authguard.policy.path_pattern import ANY, RANK, Converter, Neighbours, Pattern, overlapping, parse_pattern
from authguard.policy.requirements import AUTHENTICATED, PUBLIC, UNLISTED, check_requirement
from authguard.source_location import caller_location
from authguard.validation import names

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
    location: str = field(repr=False, compare=False)

    def __init__(self, pattern: str, requirement: Requirement, methods: Iterable[str] | None = None) -> None:
        parsed, positions = parse_pattern(pattern)
        check_requirement("requirement", requirement)
        put = object.__setattr__
        put(self, "pattern", pattern)
        put(self, "requirement", requirement)
        put(self, "methods", None if methods is None else _methods(methods))
        put(self, "parsed", parsed)
        put(self, "positions", positions)
        put(self, "location", caller_location(1))

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


# What two readers of a path could read in two ways: a backslash, a control character, a lone surrogate, a dot segment,
# no leading slash. Empty segments are judged apart, by where they stand.
_TWO_READINGS = re.compile(r"\A(?!/)|[\\\x00-\x1f\x7f-\x9f\ud800-\udfff]|/\.\.?(?:/|\Z)")


def _is_plain(path: str) -> bool:
    # Whatever the pattern finds in a path makes one of these False, so that True stands for a search in vain. It costs
    # a fifth of one, and it is the answer for nearly every path.
    return path.isprintable() and "\\" not in path and "/." not in path and path.startswith("/")


class _Sentinel(Enum):
    AMBIGUOUS = auto()


#: The answer for a path that two readers could read in two ways.
AMBIGUOUS: Final = _Sentinel.AMBIGUOUS
Ambiguous: TypeAlias = Literal[_Sentinel.AMBIGUOUS]


@dataclass(frozen=True, slots=True)
class Match:
    """What applies to one request: the requirement, the rule that said so (None: the default), its parameters."""

    requirement: Requirement
    rule: Rule | None = None
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def location(self) -> str:
        """The file and the line of the rule; empty for a default."""
        return "" if self.rule is None else self.rule.location


@dataclass(slots=True)
class _Row:
    """All rules of one pattern. ``alone``: a ``/**`` that shares no path with any pattern but wider ones."""

    pattern: Pattern
    source: str
    alone: bool
    by_method: dict[str, Match] = field(default_factory=dict)
    rest: Match = field(default_factory=lambda: Match(UNLISTED))

    def add(self, rule: Rule) -> None:
        match = Match(rule.requirement, rule)
        if rule.methods is None:
            if self.rest.rule is not None:
                raise ConfigurationError("rules", f"{rule.pattern} stands twice; leave one of them out")
            self.rest = match
        for method in rule.methods or ():
            if method in self.by_method:
                raise ConfigurationError("rules", f"{method} {rule.pattern} stands twice; leave one of them out")
            self.by_method[method] = match

    def agrees(self, other: _Row) -> bool:
        """Whether both ask the same of every method, those that none of them names included."""
        named = self.by_method.keys() | other.by_method.keys()
        return self.rest.requirement == other.rest.requirement and all(
            self.by_method.get(name, self.rest).requirement == other.by_method.get(name, other.rest).requirement
            for name in named
        )

    def named(self, method: str) -> Match:
        match = self.by_method.get(method)
        if match is None:
            # Where rules tell methods apart, a method in lower case is none of them, and some apps take it for one.
            match = self.rest if not self.by_method or method == method.upper() else Match(UNLISTED)
        return match

    def select(self, method: str, segments: Sequence[str]) -> Match:
        match = self.named(method)
        if match.rule is None or not match.rule.positions:
            return match
        depth = len(self.pattern.segments)
        params = {
            name: segments[index] if index < depth else "/".join(segments[depth:])
            for name, index in match.rule.positions.items()
        }
        return Match(match.requirement, match.rule, params)


@dataclass(slots=True)
class _Node:
    literals: dict[str, _Node] = field(default_factory=dict)
    converters: list[tuple[Converter, _Node]] = field(default_factory=list)
    row: _Row | None = None
    tail: _Row | None = None

    def child(self, segment: str | Converter) -> _Node:
        if isinstance(segment, str):
            return self.literals.setdefault(segment, _Node())
        for converter, node in self.converters:
            if converter is segment:
                return node
        node = _Node()
        self.converters.append((segment, node))
        self.converters.sort(key=lambda pair: RANK[pair[0].name])
        return node

    def find(self, segments: Sequence[str], index: int) -> _Row | None:
        """The most specific row from here on: literal, converter, ``{name}``, ``/**``, with backtracking."""
        if index == len(segments):
            return self.row or self.tail
        segment = segments[index]
        if segment:  # an empty segment is matched by a /** alone
            literal = self.literals.get(segment)
            if literal and (found := literal.find(segments, index + 1)):
                return found
            for converter, node in self.converters:
                if (converter is ANY or converter.matches(segment)) and (found := node.find(segments, index + 1)):
                    return found
        return self.tail


class RuleTable:
    """The rules of one guard.

    Raises ``ConfigurationError`` for the same pattern and method twice, for two patterns that overlap, neither inside
    the other, with different requirements, and for PUBLIC as the default.
    """

    def __init__(self, rules: Sequence[Rule] = (), default: Requirement = AUTHENTICATED) -> None:
        check_requirement("default", default)
        if not isinstance(rules, Sequence) or isinstance(rules, str):
            raise ConfigurationError("rules", f"{rules!r} is no list of Rule(pattern, requirement)")
        if default == PUBLIC:
            raise ConfigurationError("default", 'closed is the default; open what is to be open: Rule("/**", PUBLIC)')
        self.rules = tuple(rules)
        self.default = Match(default)
        self._root = _Node()
        rows: dict[Pattern, _Row] = {}
        for rule in self.rules:
            if not isinstance(rule, Rule):
                raise ConfigurationError("rules", f"{rule!r} is no Rule(pattern, requirement)")
            rows.setdefault(rule.parsed, _Row(rule.parsed, rule.pattern, rule.parsed.tail)).add(rule)
        for row, other in ((rows[one], rows[other]) for one, other in overlapping(rows)):
            _refuse_crossing(row, other)
            row.alone = row.alone and row.pattern.inside(other.pattern)
            other.alone = other.alone and other.pattern.inside(row.pattern)
        #: A path of literals alone is as specific as can be: it needs no search. Its trailing slash is the same path.
        self._literal: dict[str, _Row] = {}
        for row in rows.values():
            self._place(row)
        self._rows = rows

    def _place(self, row: _Row) -> None:
        node = self._root
        for segment in row.pattern.segments:
            node = node.child(segment)
        if row.pattern.tail:
            node.tail = row
            return
        node.row = row
        if row.pattern.literal:
            path = str(row.pattern)
            self._literal[path] = self._literal[path.rstrip("/") + "/"] = row

    def match(self, method: str, path: str) -> Match | Ambiguous:
        """What applies to this method (``WEBSOCKET`` for a handshake) and decoded path, below ``root_path``."""
        if not self.rules:
            return self.default
        if method == "HEAD":
            method = "GET"
        row = self._literal.get(path)
        if row is not None:
            return row.select(method, ()) if row.by_method else row.rest
        if not _is_plain(path) and _TWO_READINGS.search(path):
            return AMBIGUOUS if path else self.match(method, "/")
        sent = path[1:].split("/")
        segments = sent[:-1] if sent[-1] == "" else sent  # a trailing slash is the same path
        found = self._root.find(segments, 0)
        # Whoever folds empty segments away reads another path, which must not fall under another rule.
        if "" in segments and (found is None or not found.alone):
            return AMBIGUOUS
        return found.select(method, sent) if found else self.default

    @cached_property
    def _near(self) -> Neighbours:
        return Neighbours(self._rows)

    def meeting(self, pattern: Pattern) -> Iterator[Rule]:
        """The rules that share a path with a pattern, whether they apply there or not."""
        return (
            match.rule
            for one in self._near.of(pattern)
            for match in _of(self._rows[one], None)
            if match.rule is not None
        )

    def governing(self, method: str | None, pattern: Pattern) -> tuple[Match, tuple[Match, ...]]:
        """What applies to the paths of a pattern, and what applies to some of them instead, by narrower rules.

        Without a method: to all methods; those that rules name are then among the narrower. Without parameters.
        """
        if method == "HEAD":
            method = "GET"
        narrower: list[_Row] = []
        for row in map(self._rows.__getitem__, self._near.of(pattern)):
            shared = row.pattern.meet(pattern)
            if shared is not None and any(shared.inside(other.pattern) for other in narrower):
                continue  # those are found first
            narrower.append(row)
            if pattern.inside(row.pattern):
                break
        found = [match for row in narrower for match in _of(row, method)]
        if not narrower or not pattern.inside(narrower[-1].pattern):
            found.append(self.default)
        return found[-1], tuple(found[:-1])


def _of(row: _Row, method: str | None) -> tuple[Match, ...]:
    return (row.named(method),) if method is not None else (*row.by_method.values(), row.rest)


def _refuse_crossing(one: _Row, other: _Row) -> None:
    if one.pattern.inside(other.pattern) or other.pattern.inside(one.pattern) or one.agrees(other):
        return
    path = one.pattern.common_path(other.pattern)
    raise ConfigurationError(
        "rules",
        f"{one.source} and {other.source} both match {path}, neither is inside the other, and they ask for different "
        f"things; make them agree, or narrow one of them",
    )
