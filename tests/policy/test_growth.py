"""What rules and requirements cost does not grow with the number of rules, roles and names."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Mapping
from types import FunctionType, MethodType, ModuleType

import pytest

from authguard.model import Failure, Moment, Principal, Requirement
from authguard.policy.combinators import all_of, any_of
from authguard.policy.requirements import PUBLIC, all_roles, any_role, predicate, role, scopes
from authguard.policy.rules import Match, Rule, RuleTable
from authguard.reasons import ROLE_MISSING
from tests.support.call_count import count_calls
from tests.support.clock import NOW

OWN = predicate("own", lambda principal, params: params["id"] == principal.subject)


def every_kind_of_rule(number: int) -> list[Rule]:
    """So many rules of each kind."""
    rules = [Rule("/**", role("any"))]
    for index in range(number):
        rules += [
            Rule(f"/api/a{index}", role("a")),
            Rule(f"/api/a{index}", role("b"), methods={"POST"}),
            Rule(f"/api/a{index}/{{id}}", role("c")),
            Rule(f"/api/a{index}/{{id}}/own", OWN),
            Rule(f"/api/b{index}/{{id:int}}", role("d")),
            Rule(f"/api/b{index}/{{id:uuid}}/{{x:float}}", role("e")),
            Rule(f"/files/c{index}/**", role("f")),
            Rule(f"/{{tenant}}/d{index}", role("g")),
        ]
    return rules


PATHS = [
    "/api/a7",
    "/api/a7/",
    "/api/a7/42",
    "/api/a7/42/own",
    "/api/b7/42",
    "/api/b7/00000000-0000-0000-0000-000000000000/1.5",
    "/files/c7/x/y/z",
    "/x/d7",
    "/api/d7",
    "/api/nothing",
    "/nothing",
    "/api//a7",
    "/api/../a7",
    "/",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_match_takes_as_many_steps_with_ten_rules_as_with_thousands(path: str) -> None:
    """The rule of a path is found segment by segment, and no other rule is looked at."""
    few, many = RuleTable(every_kind_of_rule(10)), RuleTable(every_kind_of_rule(500))

    for method in ("GET", "POST", "get"):
        assert count_calls(lambda: many.match(method, path)) == count_calls(lambda: few.match(method, path))  # noqa: B023
        assert str(many.match(method, path)).startswith("Match(") == str(few.match(method, path)).startswith("Match(")


def test_a_path_of_many_segments_is_not_split_further_than_the_rules_look() -> None:
    """The path of a stranger may have thousands of segments; rules have a few."""
    table, path = RuleTable(every_kind_of_rule(10)), "/files/c1" + "/xy" * 20_000
    table.match("GET", path)

    tracemalloc.start()
    try:
        table.match("GET", path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 4 * len(path)


SHAPES: list[tuple[str, Callable[[int], Rule]]] = [
    ("literals", lambda index: Rule(f"/api/v1/a{index}", role("a"))),
    ("a deep tree", lambda index: Rule("/" + "/".join(f"{index:012b}"), role("a"))),
    ("parameters last", lambda index: Rule(f"/api/a{index}/{{id}}", role("a"))),
    ("parameters in the middle", lambda index: Rule(f"/api/a{index % 10}/{{id}}/b{index}", role("a"))),
    ("parameters first", lambda index: Rule(f"/{{tenant}}/a{index}/{{id:int}}", role(f"r{index}"))),
    ("tails", lambda index: Rule(f"/api/a{index}/**", role("a"))),
    ("tails after parameters", lambda index: Rule(f"/{{tenant}}/a{index}/**", role(f"r{index}"))),
    (
        "methods",
        lambda index: Rule(f"/api/a{index // 2}/{{id}}", role(f"r{index}"), methods={"PUT" if index % 2 else "GET"}),
    ),
    (
        "parameters first, and literals",
        lambda index: Rule(f"/{{tenant}}/api/a{index}" if index % 2 else f"/b{index}/api/c", role(f"r{index}")),
    ),
    (
        "two parameters, and literals",
        lambda index: Rule(
            (f"/b{index}/c", f"/{{tenant}}/a{index}/d", f"/{{tenant}}/{{id:int}}/e{index}")[index % 3],
            role(f"r{index}"),
        ),
    ),
]


@pytest.mark.parametrize("rule", [rule for _, rule in SHAPES], ids=[name for name, _ in SHAPES])
def test_twice_as_many_rules_take_twice_as_long_to_build(rule: Callable[[int], Rule]) -> None:
    """No rule is compared with all others, unless it has no literal segment."""

    def build(number: int) -> None:
        RuleTable([Rule("/**", role("a")), *map(rule, range(number))])

    once, twice = count_calls(lambda: build(500)), count_calls(lambda: build(1000))

    assert twice < 2.2 * once


def test_literals_beside_a_parameter_are_all_looked_at_if_there_are_few() -> None:
    """Then that takes less time than to compare all patterns that have a segment in common."""

    def build(number: int) -> None:
        literals = [Rule(f"/b{index}", role("a")) for index in range(150)]
        RuleTable([*literals, *(Rule(f"/{{x}}/{'/'.join(f'{index:010b}')}", role("a")) for index in range(number))])

    once, twice = count_calls(lambda: build(500)), count_calls(lambda: build(1000))

    assert twice < 2.2 * once


def reachable(root: object) -> int:
    """The number of objects that an object holds, directly or through others."""
    seen: dict[int, object] = {}
    waiting = [root]
    while waiting:
        value = waiting.pop()
        if id(value) not in seen and not isinstance(value, type | ModuleType | FunctionType | MethodType):
            seen[id(value)] = value
            waiting += gc.get_referents(value)
    return len(seen)


def test_what_a_client_sends_leaves_nothing_in_the_table() -> None:
    """Neither invented paths nor invented methods make the table grow."""
    table = RuleTable(every_kind_of_rule(10))
    table.match("GET", "/api/a1/42/own")
    before = reachable(table)

    for index in range(100):
        for path in (f"/api/a1/{index}", f"/api/a1/{index}/own", f"/files/c1/{index}", f"/{index}", f"/{index}/../x"):
            table.match(f"M{index}", path)
            table.match("GET", path)

    assert reachable(table) == before


MANY = [f"r{index}" for index in range(100)]
#: A requirement that names few, one that names many, and what the principal has.
REQUIREMENTS: list[tuple[Requirement, Requirement, list[str]]] = [
    (any_role("other", "r99"), any_role(*MANY), ["r99"]),
    (any_of(role("other"), role("r99")), any_of(*map(role, MANY)), ["r99"]),
    (all_roles("r99", "r98"), all_roles(*MANY), MANY),
    (scopes("r99", "r98"), scopes(*MANY), MANY),
    (all_of(role("r99"), scopes("r98")), all_of(*map(role, MANY), *map(scopes, MANY)), MANY),
]


@pytest.mark.parametrize(("few", "many", "held"), REQUIREMENTS)
def test_a_requirement_that_is_met_costs_the_same_whatever_it_names(
    few: Requirement, many: Requirement, held: list[str]
) -> None:
    """Roles and scopes are compared as sets: neither those of the requirement nor those of the principal count."""
    more = {*held, *map(str, range(900))}
    principals = Principal("alice", roles=set(held), scopes=set(held)), Principal("alice", roles=more, scopes=more)
    moment = Moment(NOW, 0.0)

    def calls(requirement: Requirement, principal: Principal) -> int:
        assert requirement.unmet(principal, {}, moment) is None
        return count_calls(lambda: requirement.unmet(principal, {}, moment))

    assert len({calls(requirement, principal) for requirement in (few, many) for principal in principals}) == 1


class Owner:
    """A requirement of the app."""

    def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
        return None if principal.subject == params["id"] else Failure(ROLE_MISSING)

    def schemes(self, every: frozenset[str]) -> frozenset[str]:
        return every

    def scopes_named(self) -> tuple[str, ...]:
        return ()


def test_parameters_are_read_only_for_a_requirement_that_may_need_them() -> None:
    """All requests to a rule share one match, unless a predicate or a requirement of the app needs the parameters."""
    rules = [
        Rule("/a/{id}", any_of(role("a"), scopes("s"))),
        Rule("/b/{id}", all_of(role("a"), any_of(scopes("s"), OWN))),
        Rule("/c/{id}", Owner()),
        Rule("/d/{id}", PUBLIC),
        Rule("/d/{id}", OWN, methods={"PUT"}),
        Rule("/e/{id}", OWN, methods={"PUT"}),
        Rule("/e/{id}", PUBLIC),
    ]
    table = RuleTable(rules)

    matches = [table.match("PUT", f"/{letter}/1") for letter in "abcde"]

    assert table.match("GET", "/a/2") is matches[0]
    assert matches == [
        Match(rules[0].requirement, rules[0], {}),
        *(Match(rules[index].requirement, rules[index], {"id": "1"}) for index in (1, 2, 4, 5)),
    ]
