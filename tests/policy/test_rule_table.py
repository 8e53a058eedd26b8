"""The rule table by examples. Its properties are tested in test_rule_table_properties.py."""

from __future__ import annotations

from typing import Any

import pytest

from authguard.errors import ConfigurationError
from authguard.model import Requirement
from authguard.policy.requirements import AUTHENTICATED, OPTIONAL, PUBLIC, UNLISTED, predicate, role
from authguard.policy.rules import AMBIGUOUS, Match, Rule, RuleTable, ambiguity

A, B, C, D = (role(name) for name in "abcd")


def requirement_for(table: RuleTable, path: str, method: str = "GET") -> object:
    """The requirement for this request, or AMBIGUOUS."""
    match = table.match(method, path)
    return match.requirement if isinstance(match, Match) else match


def test_without_rules_everything_is_the_default() -> None:
    """Without rules every path has the default requirement, and no path is ambiguous."""
    table = RuleTable(default=OPTIONAL)

    assert {requirement_for(table, path) for path in ("/", "", "/a/../b", "//", "a", "/\n")} == {OPTIONAL}


def test_a_path_without_a_rule_needs_a_principal() -> None:
    """A path that no rule matches has the default requirement AUTHENTICATED."""
    match = RuleTable([Rule("/health", PUBLIC)]).match("GET", "/healthy")

    assert match == Match(AUTHENTICATED, None, {})


SPECIFIC = [
    ("/a/b", A),
    ("/a/7", B),
    ("/a/1.5", C),
    ("/a/x", D),
    ("/a/b/c", AUTHENTICATED),
    ("/a", AUTHENTICATED),
    ("/z/b", PUBLIC),
    ("/z/7", OPTIONAL),
]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(("path", "requirement"), SPECIFIC)
def test_the_most_specific_pattern_wins_whatever_the_order(order: int, path: str, requirement: Requirement) -> None:
    """Literals come before converters, parameters and tails. The search backtracks if a narrow branch matches only a
    part."""
    rules = [
        Rule("/a/b", A),
        Rule("/a/{n:int}", B),
        Rule("/a/{f:float}", C),
        Rule("/a/{x}", D),
        Rule("/z/b", PUBLIC),
        Rule("/{x}/{y}", OPTIONAL),
        Rule("/**", AUTHENTICATED),
    ]

    assert requirement_for(RuleTable(rules[::order]), path) == requirement


def test_a_branch_that_matches_only_a_part_is_left_again() -> None:
    """With only /a/b/c below it, /a/b does not match /a/b/d, which falls to the nearest tail."""
    table = RuleTable([Rule("/a/b/c", A), Rule("/a/**", B), Rule("/**", C)])

    requirements = [requirement_for(table, path) for path in ("/a/b/c", "/a/b/d", "/a/b", "/a", "/b/c", "/")]

    assert requirements == [A, B, B, B, C, C]


def test_a_parameter_is_tried_where_the_literal_leads_nowhere() -> None:
    """If the literal branch has no rule for the rest of the path, the branch of the parameter is tried."""
    table = RuleTable([Rule("/a/b", A), Rule("/{x}/c", B), Rule("/{n:int}/d", C)])

    assert [requirement_for(table, path) for path in ("/a/b", "/a/c", "/7/d", "/7/c", "/x/d")] == [
        A,
        B,
        C,
        B,
        AUTHENTICATED,
    ]


def test_patterns_may_share_their_beginning() -> None:
    """Two rules may share a parameter and differ after it."""
    table = RuleTable([Rule("/{x}/b", A), Rule("/{y}/c", B), Rule("/{n:int}/d", C), Rule("/{m:int}/e", D)])

    assert [requirement_for(table, path) for path in ("/z/b", "/z/c", "/7/d", "/7/e", "/7/c")] == [A, B, C, D, B]


def test_a_trailing_slash_and_an_empty_path_are_the_same_path() -> None:
    """Routers redirect a trailing slash, and a mounted app gets the empty path, so both match like the plain path."""
    table = RuleTable([Rule("/", A), Rule("/a", B), Rule("/{x}/c", C)])

    requirements = [requirement_for(table, path) for path in ("", "/", "/a", "/a/", "/z/c", "/z/c/")]

    assert requirements == [A, A, B, B, C, C]


AMBIGUOUS_PATHS = [
    "a",
    "a/b",
    "*",
    "//",
    "//a",
    "/a//b",
    "/a/b//",
    "/./a",
    "/a/.",
    "/a/..",
    "/a/../b",
    "/..",
    "/a\\b",
    "/\\",
    "/a\n",
    "/a/\n",
    "/a\r",
    "/a\0",
    "/a\x1f",
    "/a\x7f",
    "/a\x85",
    "/a\x9f",
    "/a\ud800",
]


@pytest.mark.parametrize("path", AMBIGUOUS_PATHS)
def test_an_ambiguous_path_is_refused(path: str) -> None:
    """An ambiguous path is refused, whether or not a rule would match it."""
    closed, opened = RuleTable([Rule("/a/b", A)]), RuleTable([Rule("/a/**", PUBLIC), Rule("/a/b", A)])

    assert (requirement_for(closed, path), requirement_for(opened, path)) == (AMBIGUOUS, AMBIGUOUS)


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("a/b", "no slash at its beginning"),
        ("/a//b", "an empty segment"),
        ("/a/../b", "a dot segment"),
        ("/a/.", "a dot segment"),
        ("/a\\b", "a backslash"),
        ("/a\x85", "a control character"),
        ("/a\ud800", "half of a surrogate pair: its bytes are not UTF-8"),
    ],
)
def test_what_makes_a_path_ambiguous(path: str, what: str) -> None:
    """The record says which part of the path can be read in two ways."""
    assert ambiguity(path) == what


@pytest.mark.parametrize("path", ["/...", "/a/..b", "/a/b..", "/.well-known", "/%2e%2e", "/a%0a", "/ä", "/a b", "/a;b"])
def test_an_unusual_path_may_be_unambiguous(path: str) -> None:
    """Three dots are a name, and an escape that is left after decoding is text."""
    assert requirement_for(RuleTable([Rule("/x", A)]), path) == AUTHENTICATED


def test_an_empty_segment_is_allowed_below_a_tail_without_other_rules() -> None:
    """An empty segment is allowed below a tail without other rules under it. Else collapsing slashes would reach those
    rules."""
    alone, shared = RuleTable([Rule("/f/**", A), Rule("/b", B)]), RuleTable([Rule("/f/**", A), Rule("/f/x", B)])
    under_parameter = RuleTable([Rule("/f/**", A), Rule("/f/{n:int}", B)])
    itself = RuleTable([Rule("/f/**", A), Rule("/f", B)])
    parameter, beside = RuleTable([Rule("/{x}/**", A)]), RuleTable([Rule("/{x}/**", A), Rule("/g/{y}/z", A)])

    assert [requirement_for(alone, path) for path in ("/f//x", "/f/x//y", "/f//", "//f")] == [A, A, A, AMBIGUOUS]
    assert [requirement_for(table, "/f//x") for table in (shared, under_parameter, itself)] == [AMBIGUOUS] * 3
    # A parameter does not match an empty segment, so the segments after it do not matter.
    assert [requirement_for(parameter, path) for path in ("//f", "/f//x")] == [AMBIGUOUS, A]
    assert requirement_for(beside, "/g//z") == AMBIGUOUS


METHODS = [
    ("GET", A),
    ("HEAD", A),
    ("PUT", B),
    ("POST", UNLISTED),
    ("get", UNLISTED),
    ("head", UNLISTED),
    ("WEBSOCKET", UNLISTED),
    ("OPTIONS", UNLISTED),
    ("", UNLISTED),
]


@pytest.mark.parametrize(("method", "requirement"), METHODS)
def test_path_first_then_method(method: str, requirement: Requirement) -> None:
    """9110-11: GET covers HEAD. A method without a rule for the winning pattern is denied, and no wider rule
    takes it."""
    rules = [Rule("/a", A, methods={"GET"}), Rule("/a", B, methods={"PUT", "PATCH"}), Rule("/**", PUBLIC)]

    assert requirement_for(RuleTable(rules), "/a", method) == requirement


def test_a_method_that_is_not_listed_knows_those_that_are() -> None:
    """N14: the denial names the pattern and the methods that its rules list, for each pattern its own, also where
    another rule is for all other methods. The requirement equals UNLISTED all the same."""
    table = RuleTable(
        [
            Rule("/orders", A, methods={"PUT", "GET"}),
            Rule("/orders/{id}", A, methods={"PATCH"}),
            Rule("/orders/{id}", B),
            Rule("/b", A),
        ]
    )
    asked = [table.match(*request) for request in (("DELETE", "/orders"), ("head", "/orders"), ("put", "/orders/7"))]

    found: list[Any] = [match.requirement for match in asked if isinstance(match, Match)]

    assert [requirement.facts for requirement in found] == [
        {"rule": "/orders", "listed": ("GET", "PUT")},
        {"rule": "/orders", "listed": ("GET", "PUT")},
        {"rule": "/orders/{id}", "listed": ("PATCH",)},
    ]
    assert found == [UNLISTED] * 3
    assert table.unlisted == [found[0], found[2]]


def test_a_rule_without_methods_covers_what_its_siblings_do_not_name() -> None:
    """A rule without methods covers those that other rules of its pattern do not name, except names in lower case."""
    table = RuleTable([Rule("/a", A, methods={"GET"}), Rule("/a", B), Rule("/a/{x}", C, methods={"WEBSOCKET"})])

    assert [requirement_for(table, "/a", method) for method in ("GET", "HEAD", "POST", "get", "WEBSOCKET")] == [
        A,
        A,
        B,
        UNLISTED,
        B,
    ]
    assert [requirement_for(table, "/a/x", method) for method in ("GET", "WEBSOCKET")] == [UNLISTED, C]


def test_a_match_has_the_parameters_of_the_pattern() -> None:
    """Parameters have the names of the rule that applies. That of a tail is the rest of the path, with its slashes."""
    own, others = predicate("own", lambda *_: True), predicate("others", lambda *_: True)
    rules = [
        Rule("/u/{name}", own, methods={"GET"}),
        Rule("/u/{other}", others),
        Rule("/f/{n:int}/{rest:path}", own),
        Rule("/p/**", own),
    ]
    table = RuleTable(rules)

    matches = [
        table.match("GET", "/u/alice"),
        table.match("PUT", "/u/a%2Fb/"),
        table.match("GET", "/f/007/x/y"),
        table.match("GET", "/f/7/x/y/"),
        table.match("GET", "/f/7"),
        table.match("GET", "/f/7/"),
        table.match("GET", "/f/7//x"),
        table.match("GET", "/p/x"),
    ]

    assert matches == [
        Match(own, rules[0], {"name": "alice"}),
        Match(others, rules[1], {"other": "a%2Fb"}),
        Match(own, rules[2], {"n": "007", "rest": "x/y"}),
        Match(own, rules[2], {"n": "7", "rest": "x/y/"}),
        Match(own, rules[2], {"n": "7", "rest": ""}),
        Match(own, rules[2], {"n": "7", "rest": ""}),
        Match(own, rules[2], {"n": "7", "rest": "/x"}),
        Match(own, rules[3], {}),
    ]


REFUSED: list[tuple[list[Any], str]] = [
    ([Rule("/a", A), Rule("/a", A)], "/a is listed twice"),
    ([Rule("/a", A), Rule("/a/", B)], "/a/ is listed twice"),
    ([Rule("/{x}", A), Rule("/{y}", A)], "is listed twice"),
    ([Rule("/a/**", A), Rule("/a/{rest:path}", A)], "is listed twice"),
    ([Rule("/a", A, methods={"GET", "PUT"}), Rule("/a", B, methods={"PUT"})], "PUT /a is listed twice"),
    ([Rule("/{x}/b", A), Rule("/a/{y}", B)], "both match /a/b"),
    ([Rule("/{n:int}", A), Rule("/{u:uuid}", B)], "both match /0{32}"),
    ([Rule("/{x}/b", A), Rule("/a/**", B)], "both match /a/b"),
    ([Rule("/{x}/b", A), Rule("/a/{y}", A, methods={"GET"})], "both match /a/b"),
    (["/a"], "is not a Rule"),
    ([("/a", A)], "is not a Rule"),
]


@pytest.mark.parametrize(("rules", "problem"), REFUSED)
def test_rules_that_contradict_each_other_raise(rules: list[Any], problem: str) -> None:
    """The error names a path that both rules match. Rules with the same requirement for every method may overlap."""
    with pytest.raises(ConfigurationError, match=problem) as caught:
        RuleTable(rules)

    assert caught.value.argument == "rules"


def test_crossing_patterns_may_have_the_same_requirement() -> None:
    """Patterns that cross are allowed if it does not matter which of them wins."""
    table = RuleTable([Rule("/{x}/b", A), Rule("/a/{y}", A)])

    assert [requirement_for(table, path) for path in ("/a/b", "/x/b", "/a/y")] == [A, A, A]


def test_a_public_default_raises() -> None:
    """A default of PUBLIC raises, and so does one that is no requirement."""
    wrong: list[Any] = [PUBLIC, "admin", None]
    for default in wrong:
        with pytest.raises(ConfigurationError) as caught:
            RuleTable((), default)

        assert caught.value.argument == "default"


def test_a_search_is_bounded_by_the_rules_however_deep_the_path() -> None:
    """A path of 3,000 segments costs as much as a short one."""
    table = RuleTable([Rule("/a/**", A), Rule("/{x}/{y}/c", A)])

    assert requirement_for(table, "/a" * 3000) == A
