"""The rule table by examples. Its properties stand in test_table_properties.py."""

from __future__ import annotations

from typing import Any

import pytest

from authguard.errors import ConfigurationError
from authguard.model import Requirement
from authguard.policy.requirements import AUTHENTICATED, OPTIONAL, PUBLIC, UNLISTED, role
from authguard.policy.rules import AMBIGUOUS, Match, Rule, RuleTable

A, B, C, D = (role(name) for name in "abcd")


def asked(table: RuleTable, path: str, method: str = "GET") -> object:
    """The requirement, or AMBIGUOUS."""
    match = table.match(method, path)
    return match.requirement if isinstance(match, Match) else match


def test_without_rules_everything_is_the_default() -> None:
    """No path is ambiguous then, for nothing goes by it."""
    table = RuleTable(default=OPTIONAL)

    assert {asked(table, path) for path in ("/", "", "/a/../b", "//", "a", "/\n")} == {OPTIONAL}


def test_what_no_rule_names_takes_a_principal() -> None:
    """Closed is the default."""
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
    """Literal before converter before parameter before tail, with backtracking where the narrow branch ends blind."""
    rules = [
        Rule("/a/b", A),
        Rule("/a/{n:int}", B),
        Rule("/a/{f:float}", C),
        Rule("/a/{x}", D),
        Rule("/z/b", PUBLIC),
        Rule("/{x}/{y}", OPTIONAL),
        Rule("/**", AUTHENTICATED),
    ]

    assert asked(RuleTable(rules[::order]), path) == requirement


def test_a_blind_branch_is_left_again() -> None:
    """/a/b leads nowhere but to /a/b/c, so that /a/b/d is the tail's; a tail is the nearest one."""
    table = RuleTable([Rule("/a/b/c", A), Rule("/a/**", B), Rule("/**", C)])

    found = [asked(table, path) for path in ("/a/b/c", "/a/b/d", "/a/b", "/a", "/b/c", "/")]

    assert found == [A, B, B, B, C, C]


def test_a_parameter_is_tried_where_the_literal_ends_blind() -> None:
    """The literal branch has no row for the rest of the path, the parameter's has."""
    table = RuleTable([Rule("/a/b", A), Rule("/{x}/c", B), Rule("/{n:int}/d", C)])

    assert [asked(table, path) for path in ("/a/b", "/a/c", "/7/d", "/7/c", "/x/d")] == [A, B, C, B, AUTHENTICATED]


def test_patterns_with_one_beginning_part_later() -> None:
    """Two rules may share a parameter and go on differently."""
    table = RuleTable([Rule("/{x}/b", A), Rule("/{y}/c", B), Rule("/{n:int}/d", C), Rule("/{m:int}/e", D)])

    assert [asked(table, path) for path in ("/z/b", "/z/c", "/7/d", "/7/e", "/7/c")] == [A, B, C, D, B]


def test_a_trailing_slash_and_an_empty_path_are_the_same_path() -> None:
    """The router redirects the one to the other, and a mounted app is asked for the empty one."""
    table = RuleTable([Rule("/", A), Rule("/a", B), Rule("/{x}/c", C)])

    found = [asked(table, path) for path in ("", "/", "/a", "/a/", "/z/c", "/z/c/")]

    assert found == [A, A, B, B, C, C]


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
def test_a_path_with_two_readings_is_refused(path: str) -> None:
    """Whatever rule would match it, and where none would."""
    closed, opened = RuleTable([Rule("/a/b", A)]), RuleTable([Rule("/a/**", PUBLIC), Rule("/a/b", A)])

    assert (asked(closed, path), asked(opened, path)) == (AMBIGUOUS, AMBIGUOUS)


@pytest.mark.parametrize("path", ["/...", "/a/..b", "/a/b..", "/.well-known", "/%2e%2e", "/a%0a", "/ä", "/a b", "/a;b"])
def test_what_only_looks_odd_has_one_reading(path: str) -> None:
    """Three dots are a name, and an escape that is left after decoding is text."""
    assert asked(RuleTable([Rule("/x", A)]), path) == AUTHENTICATED


def test_an_empty_segment_is_taken_below_a_tail_with_nothing_else_under_it() -> None:
    """A file server may have such paths; where another rule stands below, who collapses the slashes would reach it."""
    alone, shared = RuleTable([Rule("/f/**", A), Rule("/b", B)]), RuleTable([Rule("/f/**", A), Rule("/f/x", B)])
    under_parameter = RuleTable([Rule("/f/**", A), Rule("/f/{n:int}", B)])
    itself = RuleTable([Rule("/f/**", A), Rule("/f", B)])
    parameter, beside = RuleTable([Rule("/{x}/**", A)]), RuleTable([Rule("/{x}/**", A), Rule("/g/{y}/z", A)])

    assert [asked(alone, path) for path in ("/f//x", "/f/x//y", "/f//", "//f")] == [A, A, A, AMBIGUOUS]
    assert [asked(table, "/f//x") for table in (shared, under_parameter, itself)] == [AMBIGUOUS] * 3
    # No parameter takes an empty segment, and so neither does what stands behind one.
    assert [asked(parameter, path) for path in ("//f", "/f//x")] == [AMBIGUOUS, A]
    assert asked(beside, "/g//z") == AMBIGUOUS


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
    """9110-11: GET covers HEAD. A method that no rule of the pattern names is closed, and no wider rule takes it."""
    rules = [Rule("/a", A, methods={"GET"}), Rule("/a", B, methods={"PUT", "PATCH"}), Rule("/**", PUBLIC)]

    assert asked(RuleTable(rules), "/a", method) == requirement


def test_a_rule_without_methods_covers_what_its_siblings_do_not_name() -> None:
    """And nothing that they do; nor a method in lower case, which is none of them and which some apps take for one."""
    table = RuleTable([Rule("/a", A, methods={"GET"}), Rule("/a", B), Rule("/a/{x}", C, methods={"WEBSOCKET"})])

    assert [asked(table, "/a", method) for method in ("GET", "HEAD", "POST", "get", "WEBSOCKET")] == [
        A,
        A,
        B,
        UNLISTED,
        B,
    ]
    assert [asked(table, "/a/x", method) for method in ("GET", "WEBSOCKET")] == [UNLISTED, C]


def test_the_parameters_of_the_pattern_are_told() -> None:
    """By the names of the rule that applies; a tail's is what is left, slashes and all."""
    rules = [
        Rule("/u/{name}", A, methods={"GET"}),
        Rule("/u/{other}", B),
        Rule("/f/{n:int}/{rest:path}", C),
        Rule("/p/**", D),
    ]
    table = RuleTable(rules)

    matches = [
        table.match("GET", "/u/alice"),
        table.match("PUT", "/u/a%2Fb/"),
        table.match("GET", "/f/007/x/y"),
        table.match("GET", "/f/7"),
        table.match("GET", "/p/x"),
    ]

    assert matches == [
        Match(A, rules[0], {"name": "alice"}),
        Match(B, rules[1], {"other": "a%2Fb"}),
        Match(C, rules[2], {"n": "007", "rest": "x/y"}),
        Match(C, rules[2], {"n": "7", "rest": ""}),
        Match(D, rules[3], {}),
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
def test_rules_that_contradict_each_other_are_refused(rules: list[Any], problem: str) -> None:
    """The error names a path that both match; overlap is no matter where both ask the same of every method."""
    with pytest.raises(ConfigurationError, match=problem) as caught:
        RuleTable(rules)

    assert caught.value.argument == "rules"


def test_patterns_that_cross_may_ask_the_same() -> None:
    """Which of them wins is then of no account."""
    table = RuleTable([Rule("/{x}/b", A), Rule("/a/{y}", A)])

    assert [asked(table, path) for path in ("/a/b", "/x/b", "/a/y")] == [A, A, A]


def test_closed_is_the_default() -> None:
    """A guard whose default is PUBLIC is refused, and so is a default that is no requirement."""
    wrong: list[Any] = [PUBLIC, "admin", None]
    for default in wrong:
        with pytest.raises(ConfigurationError) as caught:
            RuleTable((), default)

        assert caught.value.argument == "default"


def test_a_search_is_bounded_by_the_rules_however_deep_the_path() -> None:
    """A path of 3 000 segments is answered as a short one is."""
    table = RuleTable([Rule("/a/**", A), Rule("/{x}/{y}/c", A)])

    assert asked(table, "/a" * 3000) == A
