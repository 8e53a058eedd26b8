"""Which rules can apply to the paths of a route's pattern."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authguard.policy.path_pattern import parse_pattern
from authguard.policy.requirements import AUTHENTICATED, PUBLIC, UNLISTED, role
from authguard.policy.rules import AMBIGUOUS, Rule, RuleTable
from tests.policy import reference_rules
from tests.policy.reference_rules import ReferenceRule
from tests.policy.strategies import METHODS, SEGMENTS, TAILS, good_rules, paths_near, patterns, rule_table, valid_subset

TABLE = RuleTable(
    [
        Rule("/acme/{team}/**", role("team")),
        Rule("/acme/**", role("acme")),
        Rule("/acme/users", role("both")),
        Rule("/acme/users/{id}", role("get"), methods={"GET"}),
        Rule("/acme/users/{id}", role("put"), methods={"PUT"}),
        Rule("/{x:uuid}/a", PUBLIC),
        Rule("/{x:int}/b", PUBLIC),
    ]
)


def governing(pattern: str, method: str | None = "GET") -> list[str]:
    """The requirements that can apply to the pattern, the most general one first."""
    match, narrower = TABLE.match_pattern(method, parse_pattern(pattern)[0])
    return [str(one.requirement) for one in (match, *narrower)]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("/acme/users", ["role(both)"]),
        ("/{any}/users", ["AUTHENTICATED", "role(both)"]),
        ("/{any}/a", ["AUTHENTICATED", "role(team)", "PUBLIC"]),
        ("/acme/{rest}", ["role(team)", "role(both)"]),
        ("/other", ["AUTHENTICATED"]),
        ("/{one}", ["AUTHENTICATED", "role(acme)"]),
        ("/acme/users/{name}", ["role(get)"]),
        ("/{n:int}/a", ["AUTHENTICATED", "PUBLIC"]),
        ("/{n:int}/b", ["PUBLIC"]),
        ("/7/b", ["PUBLIC"]),
        ("/acme/**", ["role(acme)", "role(both)", "role(get)", "role(team)"]),
        ("/b/**", ["AUTHENTICATED"]),
    ],
)
def test_the_rules_that_apply_to_a_pattern(pattern: str, expected: list[str]) -> None:
    """The first requirement applies where no narrower rule does. A rule that others hide completely is left out."""
    assert governing(pattern) == expected


def test_head_is_gets_and_a_method_that_no_rule_names_is_unlisted() -> None:
    """HEAD has the requirement of GET, and a method without a rule is UNLISTED, as for a request."""
    pattern = parse_pattern("/acme/users/{name}")[0]

    assert governing("/acme/users/{name}", "HEAD") == ["role(get)"]
    assert TABLE.match_pattern("POST", pattern)[0].requirement == UNLISTED


def test_without_a_method_the_requirements_of_all_methods_are_listed() -> None:
    """The requirement of methods without a rule comes first, because it applies to most of them."""
    assert governing("/acme/users/{name}", None) == ["UNLISTED", "role(get)", "role(put)"]


def test_a_match_has_the_source_location_of_its_rule() -> None:
    """A match has the source location of its rule, and "" for the default."""
    table = RuleTable([rule := Rule("/a", PUBLIC)])

    assert table.match_pattern("GET", parse_pattern("/a")[0])[0].location == rule.location
    assert table.match_pattern("GET", parse_pattern("/b")[0])[0].location == ""


@st.composite
def routed(draw: st.DrawFn) -> tuple[list[ReferenceRule], str, list[str]]:
    """Rules, a route, and paths near the route."""
    rules = valid_subset(draw(good_rules))
    route = draw(patterns(SEGMENTS, TAILS))
    if reference_rules.reference_problem([(route, "public", None)]):
        route = "/a/{x}"
    return rules, route, draw(paths_near([(route, "", None)])) + draw(paths_near([*rules, (route, "", None)]))


@given(routed(), st.sampled_from(METHODS))
def test_no_path_of_a_route_falls_under_another_rule(
    case: tuple[list[ReferenceRule], str, list[str]], method: str
) -> None:
    """The table's answer for any path of a route is among the listed requirements, or the path is refused."""
    rules, route, paths = case
    table = rule_table(rules)

    match, narrower = table.match_pattern(method, parse_pattern(route)[0])

    for path in paths:
        if path.startswith("/") and reference_rules.matches(
            reference_rules.parse(route), reference_rules.segments_of(path)
        ):
            answer = table.match(method, path)
            assert answer is AMBIGUOUS or answer.rule in [one.rule for one in (match, *narrower)], path
    assert match.rule is not None or match.requirement in {AUTHENTICATED, UNLISTED}


def test_nothing_applies_beside_what_covers_a_pattern() -> None:
    """Nothing else applies beside a rule that covers the whole pattern, even if another pattern crosses it."""
    table = RuleTable([Rule("/{n:int}", role("one")), Rule("/{u:uuid}", role("one"))])

    match, narrower = table.match_pattern("GET", parse_pattern("/{n:int}")[0])

    assert (match.rule, narrower) == (table.rules[0], ())
