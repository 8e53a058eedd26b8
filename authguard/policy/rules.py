"""Rules, and the table that finds the rule of a request.

A ``Rule`` says what the paths of a pattern require, for all methods or for some. A ``RuleTable`` holds the rules of one
guard. The most specific pattern wins, whatever the order of the rules; a path that can be read in two ways is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from enum import Enum, auto
from functools import partial
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from authguard.errors import ConfigurationError
from authguard.model import Requirement
from authguard.policy.path_pattern import Pattern, Relation, parse_pattern
from authguard.policy.pattern_tree import PatternTree
from authguard.policy.requirements import (
    AUTHENTICATED,
    PUBLIC,
    UNLISTED,
    check_requirement,
    reads_params,
    unlisted,
)
from authguard.server_value import ServerValue
from authguard.source_location import caller_location
from authguard.validation import check_flag, names
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
    - ``report_only``: True refuses nothing: what the rule would deny is recorded as ``would_deny``, and passes.

    Raises ``ConfigurationError``. RFC 9110 section 9.
    """

    pattern: str
    requirement: Requirement
    methods: frozenset[str] | None
    report_only: bool
    parsed: Pattern = field(repr=False)
    #: The position of each parameter among the segments.
    positions: Mapping[str, int] = field(repr=False, compare=False)
    #: The ``file:line`` where the rule was made.
    location: str = field(repr=False, compare=False)

    def __init__(
        self,
        pattern: str,
        requirement: Requirement,
        methods: Iterable[str] | None = None,
        *,
        report_only: bool = False,
    ) -> None:
        parsed, positions = parse_pattern(pattern)
        check_requirement("requirement", requirement)
        if check_flag("report_only", report_only) and requirement == PUBLIC:
            raise ConfigurationError("report_only", f"{pattern} is PUBLIC and denies nothing; leave report_only out")
        set_field = object.__setattr__
        set_field(self, "pattern", pattern)
        set_field(self, "requirement", requirement)
        set_field(self, "methods", None if methods is None else _check_methods(methods))
        set_field(self, "report_only", report_only)
        set_field(self, "parsed", parsed)
        set_field(self, "positions", positions)
        set_field(self, "location", caller_location(1))

    def __str__(self) -> str:
        methods = " ".join(sorted(self.methods)) + " " if self.methods else ""
        return f"{methods}{self.pattern} {self.requirement}{' report-only' if self.report_only else ''}"


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


def ambiguity(path: str) -> str:
    """What makes a path ambiguous that ``RuleTable.match`` has found so: for the record."""
    found = _AMBIGUOUS_PATH.search(path)
    if found is None:
        return "an empty segment"
    if not found[0]:
        return "no slash at its beginning"
    if found[0].startswith("/"):
        return "a dot segment"
    if found[0] == "\\":
        return "a backslash"
    return "half of a surrogate pair: its bytes are not UTF-8" if found[0] >= "\ud800" else "a control character"


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

    @property
    def report_only(self) -> bool:
        """Whether it is a rule that refuses nothing."""
        return self.rule is not None and self.rule.report_only


@mutable
class _PatternRules:
    """All rules of one pattern: those that name methods, and the one for all other methods.

    ``text`` is the pattern as the first rule writes it. ``owns_subtree`` is True for a ``/**`` that shares paths only
    with patterns that match all of its paths.
    """

    pattern: Pattern
    text: str
    owns_subtree: bool
    #: HEAD is here if GET is, because it falls under the rule for GET.
    by_method: dict[str, Match] = field(default_factory=dict)
    other_methods: Match = field(default_factory=lambda: Match(UNLISTED))
    #: What applies to a method that no rule of the pattern names.
    unlisted: Match = field(default_factory=lambda: Match(UNLISTED))
    #: Whether a requirement of these may read the parameters of the path.
    reads_params: bool = False

    @classmethod
    def of(cls, rule: Rule) -> _PatternRules:
        """The rules of this rule's pattern, of which there are none yet."""
        return cls(rule.parsed, rule.pattern, owns_subtree=rule.parsed.tail)

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
            if method == "GET":
                self.by_method["HEAD"] = match
        self.reads_params = self.reads_params or (bool(rule.positions) and reads_params(rule.requirement))

    def finish(self) -> None:
        """Note in the denial of other methods which ones the rules list. Called when all rules have been added."""
        listed = tuple(sorted(method for method in self.by_method if method != "HEAD"))
        self.unlisted = Match(unlisted(self.text, listed))
        if self.other_methods.rule is None:
            self.other_methods = self.unlisted

    def requires_the_same_as(self, other: _PatternRules) -> bool:
        """Whether both have the same requirement for every method, and both enforce it or neither does."""
        methods = self.by_method.keys() | other.by_method.keys()
        pairs = [(self.other_methods, other.other_methods)]
        pairs += [
            (self.by_method.get(method, self.other_methods), other.by_method.get(method, other.other_methods))
            for method in methods
        ]
        return all(
            own.requirement == others.requirement and own.report_only == others.report_only for own, others in pairs
        )

    def for_method(self, method: str) -> Match:
        """What applies to this method, without parameters."""
        if not self.by_method:
            return self.other_methods
        # Some apps read a method in lower case as the same method. Where a rule names methods, "get" could otherwise
        # avoid the rule for GET, so nobody passes with it.
        return self.by_method.get(method) or (self.other_methods if method == method.upper() else self.unlisted)

    def for_methods(self, method: str | None) -> tuple[Match, ...]:
        """What applies to this method. Without a method: to each that is named, and last to all others."""
        if method is not None:
            return (self.for_method(method),)
        named = (match for name, match in self.by_method.items() if name != "HEAD")
        return (*named, self.other_methods)

    def with_params(self, match: Match, path: str) -> Match:
        """The same with the parameters of this path."""
        rule = match.rule
        if rule is None or not rule.positions:
            return match
        # The rest of the path is in one piece, with its slashes.
        segments = path[1:].split("/", len(self.pattern.segments))
        params = {}
        for name, position in rule.positions.items():
            params[name] = segments[position] if position < len(segments) else ""
        return Match(match.requirement, rule, params)


class RuleTable:
    """The rules of one guard.

    To find the rule of a path takes a step for each of its segments, however many rules there are. Raises
    ``ConfigurationError`` if the same pattern and method is listed twice, if two patterns with different requirements
    overlap and neither is a subset of the other, and if the default is PUBLIC.
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
        self._tree = PatternTree[_PatternRules]()
        # A path of literals is the most specific pattern, so it needs no search. With a slash it is the same path.
        self._by_literal_path: dict[str, _PatternRules] = {}
        #: The others. Only these can cross.
        wider: dict[int, _PatternRules] = {}
        entries: dict[int, _PatternRules] = {}
        for rule in self.rules:
            if not isinstance(rule, Rule):
                raise ConfigurationError("rules", f"{rule!r} is not a Rule(pattern, requirement)")
            entry = self._tree.setdefault(rule.parsed, partial(_PatternRules.of, rule))
            entry.add(rule)
            entries[id(entry)] = entry
            if rule.parsed.literal:
                path = entry.text.removesuffix("/")
                self._by_literal_path[path or "/"] = self._by_literal_path[path + "/"] = entry
            else:
                wider[id(entry)] = entry
        for entry in wider.values():
            self._compare_with_others(entry)
        #: The requirements of methods that no rule of a pattern lists.
        self.unlisted: list[Requirement] = []
        for entry in entries.values():
            if entry.by_method:
                entry.finish()
                self.unlisted.append(entry.unlisted.requirement)

    def _compare_with_others(self, entry: _PatternRules) -> None:
        for other in self._tree.overlapping(entry.pattern):
            relation = entry.pattern.relation_to(other.pattern)
            if relation is Relation.SUBSET:
                continue  # of another pattern, or of itself
            entry.owns_subtree = False
            if relation is Relation.CROSSING and not entry.requires_the_same_as(other):
                raise ConfigurationError(
                    "rules",
                    f"{entry.text} and {other.text} both match {entry.pattern.common_path(other.pattern)}, neither is "
                    "inside the other, and their requirements differ; make these equal, or narrow one of the patterns",
                )

    def match(self, method: str, path: str) -> Match | Ambiguous:
        """What applies to this method (``WEBSOCKET`` for a handshake) and to this decoded path, below ``root_path``.

        The match has the parameters of the path only if the requirement may read them.
        """
        entry = self._by_literal_path.get(path)
        if entry is None:
            if not self.rules:
                return self.default
            if not path or path[0] != "/" or not path.isprintable() or "\\" in path or "/." in path or "//" in path:
                return self._match_unusual(method, path)
            entry = self._tree.find_plain(path)
            if entry is None:
                return self.default
        match = entry.for_method(method) if entry.by_method else entry.other_methods
        return entry.with_params(match, path) if entry.reads_params else match

    def _match_unusual(self, method: str, path: str) -> Match | Ambiguous:
        """The same for a path that is empty, or that may be ambiguous."""
        if not path:
            return self.match(method, "/")
        if _AMBIGUOUS_PATH.search(path):
            return AMBIGUOUS
        entry = self._tree.find(path)
        # An app that drops empty segments reads another path. Unless the same rule applies to that one for certain, the
        # path is ambiguous.
        if "//" in path and (entry is None or not entry.owns_subtree):
            return AMBIGUOUS
        if entry is None:
            return self.default
        match = entry.for_method(method)
        return entry.with_params(match, path) if entry.reads_params else match

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
        """The rules that share a path with a pattern, in the order of the search."""
        return sorted(self._tree.overlapping(pattern), key=lambda entry: entry.pattern.search_order)
