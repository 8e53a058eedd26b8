"""The rule table against a reference implementation, against Starlette's own router, and against itself.

The important direction: a rule that protects a route must apply to every path by which the router reaches that route,
or the path must be refused as ambiguous.
"""

from __future__ import annotations

import posixpath
import re
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette._utils import get_route_path
from starlette.routing import BaseRoute, Mount, Route, Router, WebSocketRoute, compile_path
from starlette.types import Message, Receive, Scope, Send

from authguard.errors import ConfigurationError
from authguard.policy.requirements import OPTIONAL, UNLISTED, predicate
from authguard.policy.rules import AMBIGUOUS, Rule, RuleTable
from tests.policy import reference_rules
from tests.policy.reference_rules import ReferenceRule
from tests.policy.strategies import (
    LABELS,
    METHODS,
    REQUIREMENTS,
    Case,
    cases,
    good_rules,
    odd_rules,
    paths_near,
    routes_drawn,
    rule_table,
    table_answer,
    valid_subset,
)


@given(rules=good_rules | odd_rules)
@example(rules=[("/a/{x}", "one", None), ("/{x}/b", "one", None), ("/{x}/b", "one", frozenset({"GET"}))])
@settings(max_examples=200, deadline=None)
def test_the_table_refuses_the_rules_that_the_definitions_refuse(rules: list[ReferenceRule]) -> None:
    """The table raises for exactly the rules that the definitions forbid, and names a common path of crossing rules."""
    problem = reference_rules.reference_problem(rules)

    with nullcontext() if problem is None else pytest.raises(ConfigurationError) as refused:
        rule_table(rules)

    if refused is not None and " cross at " in str(problem):
        words = re.findall(r"/[^\s'\"`,:;){*]*(?=[\s'\"`,:;)])", str(refused.value))
        read = {reference_rules.parse(text) for text, _, _ in rules}
        assert any(
            sum(reference_rules.matches(one, reference_rules.segments_of(word)) for one in read) > 1 for word in words
        ), words


@given(case=cases(), default=st.sampled_from(["authenticated", "optional", "two"]))
@example(case=([("/a", "one", None), ("/{x}/**", "public", None)], ["/a//", "/a//b", "/b//c"]), default="two")
@settings(max_examples=100, deadline=None)
def test_the_table_finds_the_requirement_that_the_definitions_give(case: Case, default: str) -> None:
    """On every method and path the table agrees with the reference implementation."""
    rules, paths = case
    table = rule_table(rules, REQUIREMENTS[default])

    for method, path in product([*METHODS, "HEAD", "DELETE", "get"], paths):
        expected = reference_rules.reference_match(rules, default, method, path)
        assert table_answer(table, method, path) == expected, (method, path)


@given(case=cases())
@settings(max_examples=80, deadline=None)
def test_the_rule_that_applies_is_read_as_starlette_reads_a_route_with_its_pattern(case: Case) -> None:
    """Starlette's expression for the pattern matches the path too, apart from a trailing slash, with the same
    parameters."""
    rules, paths = case
    # A predicate may read the parameters, so the match has them.
    predicates = {label: predicate(str(label), lambda *_: True) for label in REQUIREMENTS}
    table = RuleTable([Rule(text, predicates[label], methods=named) for text, label, named in rules])

    for method, path in product(("GET", "WEBSOCKET"), paths):
        match = table.match(method, path)
        if match is not AMBIGUOUS and match.rule is not None:
            regex, _, _ = compile_path(re.sub(r"/\*\*$", "/{rest:path}", match.rule.pattern))
            theirs = next(filter(None, map(regex.match, (path, path + "/", path.removesuffix("/")))), None)
            assert theirs is not None, path
            expected = {name: value for name, value in theirs.groupdict().items() if name != "rest"}
            assert {name: value for name, value in match.params.items() if name != "rest"} == expected, path


@given(case=cases(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_rules_changes_nothing(case: Case, data: st.DataObject) -> None:
    """The most specific pattern wins in any order of the rules."""
    rules, paths = case
    table, shuffled = rule_table(rules), rule_table(data.draw(st.permutations(rules)))

    for path in paths:
        assert table_answer(shuffled, "GET", path) == table_answer(table, "GET", path), path


@given(case=cases())
@example(case=([("/a/b", "one", None), ("/{x}/**", "public", None)], ["/a//b", "/a/b//"]))
@settings(max_examples=100, deadline=None)
def test_a_normalized_path_has_the_same_requirement(case: Case) -> None:
    """Collapsing slashes, resolving dots, turning backslashes and dropping controls keeps the answer, or it was a
    refusal."""
    rules, paths = case
    table = rule_table(rules)

    for path in paths:
        readable = re.sub(r"[\x00-\x1f\x7f-\x9f]", "", path.replace("\\", "/"))
        normal = posixpath.normpath("/" + readable.lstrip("/"))
        assert table_answer(table, "GET", path) in (reference_rules.AMBIGUOUS, table_answer(table, "GET", normal)), (
            path,
            normal,
        )


@dataclass
class ReachedApp:
    """An ASGI app that notes that the router reached it."""

    text: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["reached"].append(self.text)


def reached(router: Router, method: str, root: str, path: str) -> str | None:
    """The pattern of the route whose endpoint Starlette's router calls."""

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        """Accept the router's own responses: a redirect, a 404, a 405 or the close of a WebSocket."""

    scope: Scope = {"type": "websocket" if method == "WEBSOCKET" else "http", "method": method, "reached": []}
    scope.update({"path": path, "root_path": root, "query_string": b"", "headers": [(b"host", b"h")]})
    with suppress(StopIteration):
        router(scope, receive, send).__await__().__next__()
    return next(iter(scope["reached"]), None)


@given(drawn=routes_drawn, others=good_rules, data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_rule_for_a_route_applies_to_every_path_that_reaches_it(
    drawn: list[ReferenceRule], others: list[ReferenceRule], data: st.DataObject
) -> None:
    """If the router reaches a route, its rule applies, or one inside it, or the request is refused."""
    rules: list[ReferenceRule] = []
    routes: dict[str, list[BaseRoute]] = {"": [], "/a": [], "/{z:int}": [], "/b/{z}": []}
    for text, label, named in drawn:
        mount = data.draw(st.sampled_from(["", *routes]))
        if not reference_rules.reference_problem([*rules, (mount + text, label, named)]):
            rules.append((mount + text, label, named))
            socket, endpoint = named == frozenset({"WEBSOCKET"}), ReachedApp(mount + text)
            routes[mount].append(WebSocketRoute(text, endpoint) if socket else Route(text, endpoint, methods=named))
    mounts = [Mount(mount, routes=inner) for mount, inner in routes.items() if mount]
    router = Router(data.draw(st.permutations([*routes[""], *mounts])))
    paths = [path for path in data.draw(paths_near(rules)) if path[:1] in ("", "/")]
    rules = valid_subset([*rules, *others])
    table, groups = rule_table(rules, OPTIONAL), reference_rules.by_pattern(rules)

    for method, root, path in product(("GET", "HEAD", "POST", "WEBSOCKET"), ("", "/v1", "/a", "/a/"), paths):
        locked = reached(router, method, root, root + path)
        match = table.match(method, get_route_path({"path": root + path, "root_path": root}))
        if locked is not None and match is not AMBIGUOUS and match.requirement != UNLISTED:
            assert match.rule is not None, (path, locked)
            applied, own = reference_rules.parse(match.rule.pattern), reference_rules.parse(locked)
            same = LABELS[match.requirement] == reference_rules.requirement(groups[own], method)
            assert same or (applied != own and reference_rules.inside(applied, own)), (path, locked)


def test_the_reference_agrees_with_an_enumeration_of_paths() -> None:
    """``inside`` and ``overlap`` of the reference match an enumeration of paths, and inside means more specific."""
    kinds = [
        reference_rules.Segment("literal", "a"),
        reference_rules.Segment("literal", "7"),
        *map(reference_rules.Segment, reference_rules.KINDS),
    ]
    shapes = [
        reference_rules.Pattern(s, tail) for n in range(3) for s in product(kinds, repeat=n) for tail in (False, True)
    ]
    paths = [path for depth in range(4) for path in product([*reference_rules.WITNESSES, "a"], repeat=depth)]
    matched = {shape: {path for path in paths if reference_rules.matches(shape, path)} for shape in shapes}

    for one, other in product(shapes, repeat=2):
        assert (reference_rules.shared_path(one, other) is not None) == bool(matched[one] & matched[other])
        assert reference_rules.inside(one, other) == (matched[one] <= matched[other])
        assert not matched[one] < matched[other] or reference_rules.specificity(one) < reference_rules.specificity(
            other
        )
