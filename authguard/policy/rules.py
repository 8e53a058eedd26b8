"""Rules, and the table that finds the rule of a request.

A ``Rule`` says what the paths of a pattern require, for all methods or for some. A ``RuleTable`` holds the rules of one
guard. The most specific pattern wins, whatever the order of the rules; a path that can be read in two ways is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from enum import Enum, auto
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from authguard.errors import ConfigurationError
from authguard.model import Requirement
from authguard.policy.path_pattern import (
    ANY,
    RANK,
    Converter,
    Pattern,
    PatternIndex,
    overlapping_pairs,
    parse_pattern,
)
from authguard.policy.requirements import AUTHENTICATED, PUBLIC, UNLISTED, check_requirement
from authguard.server_value import ServerValue
from authguard.source_location import caller_location
from authguard.validation import names
from authguard.value_types import frozen, mutable, value
from authguard.wire.methods import REGISTERED_METHODS, USED_METHODS

#: The method of a WebSocket handshake, in a rule and for ``RuleTable.match``.
WEBSOCKET = "WEBSOCKET"

# RFC 9110 section 9.1: a method is a token, and case-sensitive. One in lower case is most likely a typing mistake.
_METHOD = re.compile(r"[A-Z0-9!#$%&'*+.^_`|~-]+")


@frozen
class Rule(ServerValue):
    """``Rule("/reports/{id}", any_role("analyst", "admin"), methods={"GET"})``.

    - ``pattern``: literal segments; ``{name}`` for one segment; ``{name:int}``, ``float``, ``uuid`` or ``str`` as in
      Starlette; a final ``/**`` or ``{rest:path}`` for this path and all below.
    - ``methods``: upper case. GET covers HEAD; ``"WEBSOCKET"`` is a WebSocket handshake. Without it the rule covers
      the methods that no other rule of the same pattern names. A method of your own, which is not registered, falls
      under such a rule too.

    Raises ``ConfigurationError``. RFC 9110 section 9.
    """

    pattern: str
    requirement: Requirement
    methods: frozenset[str] | None
    parsed: Pattern = field(repr=False)
    #: The position of each parameter among the segments.
    positions: Mapping[str, int] = field(repr=False, compare=False)
    #: The ``file:line`` where the rule was made.
    location: str = field(repr=False, compare=False)

    def __init__(self, pattern: str, requirement: Requirement, methods: Iterable[str] | None = None) -> None:
        parsed, positions = parse_pattern(pattern)
        check_requirement("requirement", requirement)
        set_field = object.__setattr__
        set_field(self, "pattern", pattern)
        set_field(self, "requirement", requirement)
        set_field(self, "methods", None if methods is None else _check_methods(methods))
        set_field(self, "parsed", parsed)
        set_field(self, "positions", positions)
        set_field(self, "location", caller_location(1))

    def __str__(self) -> str:
        methods = " ".join(sorted(self.methods)) + " " if self.methods else ""
        return f"{methods}{self.pattern} {self.requirement}"


def _check_methods(methods: Iterable[str]) -> frozenset[str]:
    checked = names("methods", methods)
    if not checked:
        raise ConfigurationError("methods", "the set is empty; leave methods out for a rule about all of them")
    if "HEAD" in checked:
        raise ConfigurationError("methods", "HEAD falls under the rule for GET; name GET")
    for method in checked:
        if not _METHOD.fullmatch(method):
            raise ConfigurationError(
                "methods", f"{method!r} is not a method as clients send it; write it in upper case"
            )
        if method not in _KNOWN_METHODS:
            raise ConfigurationError("methods", f"{method!r} is not a registered method; {_method_fix(method)}")
    return checked


# A name that is nearly right would make a rule that no request ever falls under.
_KNOWN_METHODS = REGISTERED_METHODS | USED_METHODS | {WEBSOCKET}
_NO_METHOD = {"*": None, "ALL": None, "ANY": None, "HTTP": None, "WS": WEBSOCKET, "WSS": WEBSOCKET}


def _method_fix(method: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only for the text of an error

    close = get_close_matches(method, sorted(_KNOWN_METHODS), n=1)
    meant = _NO_METHOD[method] if method in _NO_METHOD else close[0] if close else None
    return f"write {meant!r}" if meant else "leave methods out: such a rule covers every method that no other one names"


class _Sentinel(Enum):
    AMBIGUOUS = auto()


#: The answer for a path that the guard and the app might read in two ways.
AMBIGUOUS: Final = _Sentinel.AMBIGUOUS
Ambiguous: TypeAlias = Literal[_Sentinel.AMBIGUOUS]

# No leading slash, a backslash, a control character, half of a surrogate pair, or a dot segment. Empty segments are not
# among them: whether one makes a path ambiguous depends on the rules.
_AMBIGUOUS_PATH = re.compile(r"\A(?!/)|[\\\x00-\x1f\x7f-\x9f\ud800-\udfff]|/\.\.?(?:/|\Z)")


def _is_plain(path: str) -> bool:
    # True only if `_AMBIGUOUS_PATH` cannot match. This costs a fifth of a search, and holds for nearly every path.
    return path.isprintable() and "\\" not in path and "/." not in path and path.startswith("/")


_NO_PARAMS: Mapping[str, str] = MappingProxyType({})


@value
class Match:
    """What applies to one request: the requirement, its rule (None: the default), and the parameters of the path."""

    requirement: Requirement
    rule: Rule | None = None
    #: Read-only where there is none: all requests to the rule share it then, and a predicate must not write to it.
    params: Mapping[str, str] = field(default_factory=lambda: _NO_PARAMS)

    @property
    def location(self) -> str:
        """The ``file:line`` of the rule; "" for the default."""
        return "" if self.rule is None else self.rule.location


@mutable
class _PatternRules:
    """All rules of one pattern: those that name methods, and the one for all other methods.

    ``text`` is the pattern as the first rule writes it. ``owns_subtree`` is True for a ``/**`` that shares paths only
    with patterns that match all of its paths.
    """

    pattern: Pattern
    text: str
    owns_subtree: bool
    by_method: dict[str, Match] = field(default_factory=dict)
    other_methods: Match = field(default_factory=lambda: Match(UNLISTED))

    def add(self, rule: Rule) -> None:
        match = Match(rule.requirement, rule)
        if rule.methods is None:
            if self.other_methods.rule is not None:
                raise ConfigurationError("rules", f"{rule.pattern} is listed twice; leave one of them out")
            self.other_methods = match
        for method in rule.methods or ():
            if method in self.by_method:
                raise ConfigurationError("rules", f"{method} {rule.pattern} is listed twice; leave one of them out")
            self.by_method[method] = match

    def requires_the_same_as(self, other: _PatternRules) -> bool:
        """Whether both have the same requirement for every method."""
        methods = self.by_method.keys() | other.by_method.keys()
        return self.other_methods.requirement == other.other_methods.requirement and all(
            self.by_method.get(method, self.other_methods).requirement
            == other.by_method.get(method, other.other_methods).requirement
            for method in methods
        )

    def for_method(self, method: str) -> Match:
        """What applies to this method, without parameters."""
        match = self.by_method.get(method)
        if match is None:
            # Some apps read a method in lower case as the same method. Where a rule names methods, "get" could
            # otherwise avoid the rule for GET, so nobody passes with it.
            is_upper_case = not self.by_method or method == method.upper()
            match = self.other_methods if is_upper_case else Match(UNLISTED)
        return match

    def for_methods(self, method: str | None) -> tuple[Match, ...]:
        """What applies to this method. Without a method: to each that is named, and last to all others."""
        return (*self.by_method.values(), self.other_methods) if method is None else (self.for_method(method),)

    def match(self, method: str, segments: Sequence[str]) -> Match:
        """What applies to this method and path, with the parameters of the path."""
        match = self.for_method(method)
        if match.rule is None or not match.rule.positions:
            return match
        depth = len(self.pattern.segments)
        params = {
            name: segments[index] if index < depth else "/".join(segments[depth:])
            for name, index in match.rule.positions.items()
        }
        return Match(match.requirement, match.rule, params)


@mutable
class _Node:
    """One segment of the patterns, in a tree of all patterns."""

    literals: dict[str, _Node] = field(default_factory=dict)
    converters: list[tuple[Converter, _Node]] = field(default_factory=list)
    #: The rules of the pattern that ends here, and those of the pattern that continues with ``/**``.
    end: _PatternRules | None = None
    tail: _PatternRules | None = None

    def child(self, segment: str | Converter) -> _Node:
        """The node of the next segment, which is added if it is new."""
        if isinstance(segment, str):
            return self.literals.setdefault(segment, _Node())
        for converter, node in self.converters:
            if converter is segment:
                return node
        node = _Node()
        self.converters.append((segment, node))
        self.converters.sort(key=lambda pair: RANK[pair[0].name])
        return node

    def find(self, segments: Sequence[str], index: int) -> _PatternRules | None:
        """The most specific match of the segments from ``index`` on: literal, converter, ``{name}``, ``/**``.

        It goes back to a less specific segment if a more specific one leads nowhere.
        """
        if index == len(segments):
            return self.end or self.tail
        segment = segments[index]
        if segment:  # only a /** matches an empty segment
            literal = self.literals.get(segment)
            if literal and (found := literal.find(segments, index + 1)):
                return found
            for converter, node in self.converters:
                if (converter is ANY or converter.matches(segment)) and (found := node.find(segments, index + 1)):
                    return found
        return self.tail


class RuleTable:
    """The rules of one guard.

    Raises ``ConfigurationError`` if the same pattern and method is listed twice, if two patterns with different
    requirements overlap and neither is a subset of the other, and if the default is PUBLIC.
    """

    def __init__(self, rules: Sequence[Rule] = (), default: Requirement = AUTHENTICATED) -> None:
        check_requirement("default", default)
        if not isinstance(rules, Sequence) or isinstance(rules, str):
            raise ConfigurationError("rules", f"{rules!r} is not a list of Rule(pattern, requirement)")
        if default == PUBLIC:
            raise ConfigurationError(
                "default", 'PUBLIC would open every path that no rule names; open single ones: Rule("/health", PUBLIC)'
            )
        self.rules = tuple(rules)
        self.default = Match(default)
        self._by_pattern: dict[Pattern, _PatternRules] = {}
        for rule in self.rules:
            if not isinstance(rule, Rule):
                raise ConfigurationError("rules", f"{rule!r} is not a Rule(pattern, requirement)")
            entry = _PatternRules(rule.parsed, rule.pattern, owns_subtree=rule.parsed.tail)
            self._by_pattern.setdefault(rule.parsed, entry).add(rule)
        self._compare_overlapping_patterns()
        self._root = _Node()
        # A path of literals is the most specific pattern, so it needs no search. With a slash it is the same path.
        self._by_literal_path: dict[str, _PatternRules] = {}
        for entry in self._by_pattern.values():
            self._insert(entry)
        self._index: PatternIndex | None = None

    def _compare_overlapping_patterns(self) -> None:
        for pattern, other_pattern in overlapping_pairs(self._by_pattern):
            entry, other = self._by_pattern[pattern], self._by_pattern[other_pattern]
            is_subset, is_superset = pattern.is_subset_of(other_pattern), other_pattern.is_subset_of(pattern)
            if not is_subset and not is_superset and not entry.requires_the_same_as(other):
                raise ConfigurationError(
                    "rules",
                    f"{entry.text} and {other.text} both match {pattern.common_path(other_pattern)}, neither is inside "
                    "the other, and their requirements differ; make these equal, or narrow one of the patterns",
                )
            entry.owns_subtree = entry.owns_subtree and is_subset
            other.owns_subtree = other.owns_subtree and is_superset

    def _insert(self, entry: _PatternRules) -> None:
        node = self._root
        for segment in entry.pattern.segments:
            node = node.child(segment)
        if entry.pattern.tail:
            node.tail = entry
            return
        node.end = entry
        if entry.pattern.literal:
            path = str(entry.pattern)
            self._by_literal_path[path] = self._by_literal_path[path.rstrip("/") + "/"] = entry

    def match(self, method: str, path: str) -> Match | Ambiguous:
        """What applies to this method (``WEBSOCKET`` for a handshake) and to this decoded path, below ``root_path``."""
        if not self.rules:
            return self.default
        if method == "HEAD":
            method = "GET"
        entry = self._by_literal_path.get(path)
        if entry is not None:
            return entry.match(method, ()) if entry.by_method else entry.other_methods
        if not _is_plain(path) and _AMBIGUOUS_PATH.search(path):
            return AMBIGUOUS if path else self.match(method, "/")
        sent = path[1:].split("/")
        segments = sent[:-1] if sent[-1] == "" else sent  # a trailing slash makes no other path
        entry = self._root.find(segments, 0)
        # An app that drops empty segments reads another path. Unless the same rule applies to that one for certain, the
        # path is ambiguous.
        if "" in segments and (entry is None or not entry.owns_subtree):
            return AMBIGUOUS
        return entry.match(method, sent) if entry else self.default

    def rules_overlapping(self, pattern: Pattern) -> Iterator[Rule]:
        """The rules that share a path with a pattern, even if more specific rules apply to all those paths."""
        return (
            match.rule
            for entry in self._overlapping(pattern)
            for match in entry.for_methods(None)
            if match.rule is not None
        )

    def match_pattern(self, method: str | None, pattern: Pattern) -> tuple[Match, tuple[Match, ...]]:
        """What applies to the paths of a pattern, and what narrower rules apply to some of these paths instead.

        Without a method, the first is what applies to the methods that no rule names; the rules that name methods are
        then among the narrower ones. The matches have no parameters.
        """
        if method == "HEAD":
            method = "GET"
        entries: list[_PatternRules] = []
        for entry in self._overlapping(pattern):
            shared = entry.pattern.intersection(pattern)
            if shared is not None and any(shared.is_subset_of(earlier.pattern) for earlier in entries):
                continue  # the search finds an earlier one for all these paths
            entries.append(entry)
            if pattern.is_subset_of(entry.pattern):
                break
        matches = [match for entry in entries for match in entry.for_methods(method)]
        if not entries or not pattern.is_subset_of(entries[-1].pattern):
            matches.append(self.default)
        return matches[-1], tuple(matches[:-1])

    def _overlapping(self, pattern: Pattern) -> list[_PatternRules]:
        # Only the audit and OpenAPI need the index. It is not a `cached_property`, whose lock in Python 3.11 would stay
        # locked for ever in a child that is forked while another thread builds it.
        if self._index is None:
            self._index = PatternIndex(self._by_pattern)
        return [self._by_pattern[overlapping] for overlapping in self._index.overlapping(pattern)]
