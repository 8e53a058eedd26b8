"""Hypothesis strategies for rules, routes and paths, and the rule tables built from them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

from hypothesis import strategies as st

from authguard.model import Requirement
from authguard.policy.requirements import AUTHENTICATED, OPTIONAL, PUBLIC, UNLISTED, role
from authguard.policy.rules import AMBIGUOUS, Rule, RuleTable
from tests.policy import reference_rules
from tests.policy.reference_rules import ReferenceRule

Case: TypeAlias = tuple[list[ReferenceRule], list[str]]  # Rules that can be built, and paths to ask about.


REQUIREMENTS: dict[object, Requirement] = {"public": PUBLIC, "optional": OPTIONAL, "authenticated": AUTHENTICATED}


REQUIREMENTS |= {"one": role("one"), "two": role("two")}


LABELS = {UNLISTED: reference_rules.UNLISTED, **{requirement: label for label, requirement in REQUIREMENTS.items()}}


# Few texts, so that patterns and paths often match: two literals, and segments just inside and outside each converter.
DIGITS_32, HEX_32, DASHED = "0" * 32, "A0b" + "c" * 29, "123e4567-e89b-12d3-a456-426614174000"


PLAIN = ["a", "b", "7", "007", "1.5", DIGITS_32, HEX_32, DASHED, DASHED[:-1], "-1", "1.", "1.5.2", "1e5", "٣", "A"]


AMBIGUOUS_SEGMENTS = [
    "",
    ".",
    "..",
    "...",
    "%2e%2e",
    "a\\b",
    "\\",
    "a\n",
    "\0",
    "\x85",
    "\udc80",
    "ü",
    "a;b",
    "**",
    "{x}",
    " a",
]


INSERTIONS = ["/", "//", "/.", "/..", "/.a", "\n", "\\", "%2f", "x"]


SEGMENTS = ["a", "b", "7", DIGITS_32, "{x}", "{y}", "{x:str}", "{n:int}", "{m:int}", "{f:float}", "{u:uuid}"]


TAILS = ["", "", "", "/", "/**", "/**", "/{rest:path}"]


ODD_SEGMENTS = ["{x:date}", "{x:Int}", "{p:path}", "a{x}", "{x}.json", "{x}{y}", "{x:int}{y}", "{}", "{x:}", "{1x}"]


ODD_SEGMENTS += ["{", "a}", "{ x }", "*", "a*", "**", "", ".", "..", "a\\b", "a\n", "\x7f", "\udc80"]


METHODS = ["GET", "POST", "OPTIONS", "WEBSOCKET"]


ODD_METHODS = [frozenset[str](), *(frozenset({odd}) for odd in ("HEAD", "get", "")), frozenset({"GET", "HEAD"})]


def patterns(segments: Sequence[str], tails: Sequence[str]) -> st.SearchStrategy[str]:
    """The text of a pattern, valid or nearly so."""
    parts = st.lists(st.sampled_from(segments), max_size=3).map(lambda chosen: "".join("/" + one for one in chosen))
    return st.tuples(parts, st.sampled_from(tails)).map(lambda pair: pair[0] + pair[1] or "/")


labels = st.sampled_from([*REQUIREMENTS])


methods = st.none() | st.frozensets(st.sampled_from(METHODS), min_size=1, max_size=3)


# An HTTP route cannot have the method of a WebSocket.
route_methods = st.sampled_from([None, *(frozenset({one}) for one in METHODS), frozenset({"GET", "POST"})])


good_rules = st.lists(st.tuples(patterns(SEGMENTS, TAILS), labels, methods), max_size=6)


odd_patterns = patterns([*SEGMENTS, *ODD_SEGMENTS], [*TAILS, "//", "/**/", "/**/a", "/{rest:path}/"])


odd_rules = st.lists(st.tuples(odd_patterns, labels, methods | st.sampled_from(ODD_METHODS)), max_size=2)


routes_drawn = st.lists(st.tuples(patterns(SEGMENTS, ["", "", "/", "/{rest:path}"]), labels, route_methods), max_size=5)


tail_segments = st.lists(st.sampled_from([*PLAIN[:4], ""]), max_size=3)


wild_paths = st.one_of(
    st.lists(st.sampled_from([*PLAIN, *AMBIGUOUS_SEGMENTS]), max_size=4).map(lambda parts: "/" + "/".join(parts)),
    st.sampled_from(["", "//", "a", "*", "a/b", "//a", "http://a/b"]),
    st.text("ab7/.\\\n", max_size=8),
)


def valid_subset(rules: Sequence[ReferenceRule]) -> list[ReferenceRule]:
    """The rules, without each one that contradicts those before it."""
    kept: list[ReferenceRule] = []
    for rule in rules:
        kept += [] if reference_rules.reference_problem([*kept, rule]) else [rule]
    return kept


@st.composite
def paths_near(draw: st.DrawFn, rules: Sequence[ReferenceRule]) -> list[str]:
    """A path that one of these rules matches, or any path, and that path with insertions at its slashes."""
    path = ""
    for part in reference_rules.segments_of(draw(st.sampled_from([text for text, _, _ in rules] or ["/"]))):
        if part == "**" or part.endswith(":path}"):
            path += "".join("/" + segment for segment in draw(tail_segments))
        else:
            path += "/" + (draw(st.sampled_from(PLAIN)) if part.startswith("{") else part)
    path = draw(st.sampled_from([path, path, path.upper()]) | wild_paths)
    places = [match.start() for match in re.finditer("/|$", path)]
    return [path, path + "//", *(path[:at] + spoil + path[at:] for at in places for spoil in INSERTIONS)]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Rules, and paths near two of their patterns."""
    rules = valid_subset(draw(good_rules))
    return rules, draw(paths_near(rules)) + draw(paths_near(rules))


def rule_table(rules: Sequence[ReferenceRule], default: Requirement = AUTHENTICATED) -> RuleTable:
    """The real table of these rules."""
    return RuleTable([Rule(text, REQUIREMENTS[label], methods=named) for text, label, named in rules], default=default)


def table_answer(table: RuleTable, method: str, path: str) -> object:
    """The answer of the real table, as the label of the reference implementation."""
    match = table.match(method, path)
    return reference_rules.AMBIGUOUS if match is AMBIGUOUS else LABELS[match.requirement]
