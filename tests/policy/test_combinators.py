"""``all_of`` and ``any_of``: what is missing, which schemes can meet them, and which parts raise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authguard.errors import ConfigurationError
from authguard.model import Failure, Moment, Principal, Requirement
from authguard.policy.combinators import all_of, any_of, asks_step_up
from authguard.policy.requirements import (
    AUTHENTICATED,
    OPTIONAL,
    PUBLIC,
    all_roles,
    any_role,
    role,
    scopes,
    step_up,
    via,
)
from authguard.reasons import (
    CHECK_FAILED,
    REQUIREMENT_UNMET,
    ROLE_MISSING,
    SCHEME_INSUFFICIENT,
    SCOPE_MISSING,
    STEP_UP_REQUIRED,
)
from tests.support.clock import NOW

EVERY = frozenset({"bearer", "basic", "digest"})
GOLD, FRESH = step_up(acr="gold"), step_up(max_age=60)


def lacks(requirement: Requirement, **principal: Any) -> Failure | None:
    """What alice is missing."""
    return requirement.unmet(Principal("alice", **principal), {}, Moment(NOW, 0.0))


CASES: list[tuple[Requirement, dict[str, Any], Failure | None]] = [
    (all_of(role("a"), scopes("s")), {"roles": {"a"}, "scopes": {"s"}}, None),
    (all_of(role("a"), scopes("s")), {"roles": {"a"}}, Failure(SCOPE_MISSING, missing=("s",))),
    (all_of(role("a"), scopes("s")), {}, Failure(ROLE_MISSING, missing=("a",))),
    (all_of(AUTHENTICATED), {}, None),
    (all_of(GOLD, role("a")), {}, Failure(ROLE_MISSING, missing=("a",))),
    (
        all_of(GOLD, role("a")),
        {"roles": {"a"}},
        Failure(STEP_UP_REQUIRED, {"acr_values": "gold", "acr": "absent"}, missing=("acr_values",)),
    ),
    (
        all_of(GOLD, FRESH),
        {},
        Failure(
            STEP_UP_REQUIRED,
            {"acr_values": "gold", "acr": "absent", "max_age": 60, "auth_age": "absent"},
            missing=("acr_values", "max_age"),
        ),
    ),
    (any_of(role("a"), role("b")), {"roles": {"b"}}, None),
    (any_of(role("a"), role("b")), {}, Failure(ROLE_MISSING, missing=("a", "b"))),
    (any_of(role("a"), any_role("b", "a")), {}, Failure(ROLE_MISSING, missing=("a", "b"))),
    (any_of(role("a"), scopes("s")), {}, Failure(REQUIREMENT_UNMET, missing=("a", "s"))),
    (
        any_of(role("a"), GOLD),
        {},
        Failure(STEP_UP_REQUIRED, {"acr_values": "gold", "acr": "absent"}, missing=("acr_values",)),
    ),
    (any_of(all_of(role("a"), GOLD), role("b")), {}, Failure(ROLE_MISSING, missing=("a", "b"))),
    (any_of(all_of(role("a"), GOLD), role("b")), {"roles": {"b"}}, None),
    (
        any_of(all_of(role("a"), GOLD), role("b")),
        {"roles": {"a"}},
        Failure(STEP_UP_REQUIRED, {"acr_values": "gold", "acr": "absent"}, missing=("acr_values",)),
    ),
    (any_of(via("basic"), all_of(via("bearer"), role("a"))), {"scheme": "bearer", "roles": {"a"}}, None),
    (
        any_of(via("basic"), via("digest")),
        {"scheme": "bearer"},
        Failure(SCHEME_INSUFFICIENT, missing=("basic", "digest")),
    ),
]


@pytest.mark.parametrize(("requirement", "principal", "lack"), CASES)
def test_what_is_missing(requirement: Requirement, principal: dict[str, Any], lack: Failure | None) -> None:
    """9470-1: a step-up is requested only if nothing else is missing."""
    assert lacks(requirement, **principal) == lack


def test_the_first_part_that_passes_ends_an_any_of() -> None:
    """``any_of`` does not evaluate the parts after the first one that passes."""
    calls: list[str] = []

    class Told:
        def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
            calls.append(principal.subject)
            return None

        def schemes(self, every: frozenset[str]) -> frozenset[str]:
            return every

        def scopes_named(self) -> tuple[str, ...]:
            return ()

    assert lacks(any_of(AUTHENTICATED, Told())) is None
    assert calls == []
    assert lacks(any_of(role("a"), Told())) is None
    assert calls == ["alice"]


def test_accepted_schemes_are_the_union_under_any_of_and_the_intersection_under_all_of() -> None:
    """A scheme is accepted if it can meet one part of ``any_of``, or all parts of ``all_of``."""
    assert any_of(via("basic"), via("digest")).schemes(EVERY) == {"basic", "digest"}
    assert any_of(via("basic"), role("a")).schemes(EVERY) == EVERY
    assert all_of(via("basic", "bearer"), via("bearer", "digest")).schemes(EVERY) == {"bearer"}
    assert all_of(via("basic"), via("digest")).schemes(EVERY) == frozenset()
    assert all_of(via("basic"), role("a")).schemes(EVERY) == {"basic"}


def test_the_scopes_of_all_parts_are_named_once() -> None:
    """The scopes of all parts are listed once each, in the order of the parts."""
    nested = all_of(scopes("b", "a"), any_of(scopes("a", "c"), role("x")))

    assert nested.scopes_named() == ("b", "a", "c")


@pytest.mark.parametrize("combine", [all_of, any_of])
@pytest.mark.parametrize("parts", [(), (PUBLIC,), (role("a"), OPTIONAL), ("admin",), ([role("a")],)])
def test_invalid_parts_raise(combine: Callable[..., Requirement], parts: tuple[Any, ...]) -> None:
    """No parts, PUBLIC, OPTIONAL and values that are no requirement raise, and the error names the function."""
    with pytest.raises(ConfigurationError) as caught:
        combine(*parts)

    assert caught.value.argument == combine.__name__


@pytest.mark.parametrize("combine", [all_of, any_of])
def test_a_list_of_requirements_raises(combine: Callable[..., Requirement]) -> None:
    """A list in place of separate arguments raises, and the error shows what to write."""
    parts: Any = [role("a"), role("b")]

    with pytest.raises(ConfigurationError, match="give the requirements as separate arguments, not as a list"):
        combine(parts)


def test_the_repr_is_the_text_of_the_record() -> None:
    """The repr of a combination is the text that the record has, at any depth."""
    assert repr([all_of(role("a"), any_of(via("b"), scopes("c")))]) == "[all_of(role(a), any_of(via(b), scopes(c)))]"


def test_a_step_up_is_found_however_deep_it_stands() -> None:
    """``asks_step_up`` finds a step-up at any depth, because guards check for one while they are built."""
    assert asks_step_up(GOLD)
    assert asks_step_up(any_of(role("a"), all_of(AUTHENTICATED, any_of(FRESH, role("b")))))
    assert not asks_step_up(any_of(role("a"), all_of(AUTHENTICATED, via("basic"))))


def test_combinations_explain_themselves_and_are_values() -> None:
    """The text of a combination is the code that makes it, and equal parts make equal values."""
    made = [any_of(role("a"), all_of(scopes("s"), GOLD)) for _ in range(2)]

    assert str(made[0]) == "any_of(role(a), all_of(scopes(s), step_up(acr=gold)))"
    assert len(set(made)) == 1
    assert all_of(role("a")) != any_of(role("a"))


class Called:
    """A requirement that notes that it was asked, and then says what it was told to."""

    def __init__(self, name: str, calls: list[str], failure: Failure | None) -> None:
        self.name, self.calls, self.failure = name, calls, failure

    def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
        self.calls.append(self.name)
        return self.failure

    def schemes(self, every: frozenset[str]) -> frozenset[str]:
        return every

    def scopes_named(self) -> tuple[str, ...]:
        return ()


def part_by_part(requirement: Any, principal: Principal) -> Failure | None:
    """The definition: every part by itself, in order."""
    parts: tuple[Requirement, ...] = getattr(requirement, "parts", ())
    if not parts:
        return cast("Requirement", requirement).unmet(principal, {}, Moment(NOW, 0.0))
    failures: list[Failure] = []
    for part in parts:
        failure = part_by_part(part, principal)
        if failure is not None:
            failures.append(failure)
        elif str(requirement).startswith("any_of("):
            return None
    return _of_all(failures) if str(requirement).startswith("all_of(") else _of_any(failures)


def _of_all(failures: list[Failure]) -> Failure | None:
    for failure in sorted(failures, key=lambda failure: not failure.reason.ours):
        if failure.reason is not STEP_UP_REQUIRED:
            return failure
    facts = {name: value for failure in failures for name, value in failure.facts.items()}
    missing = tuple(dict.fromkeys(name for failure in failures for name in failure.missing))
    return Failure(STEP_UP_REQUIRED, facts, missing=missing) if failures else None


def _of_any(failures: list[Failure]) -> Failure:
    for failure in failures:
        if failure.reason is STEP_UP_REQUIRED:
            return failure
    for failure in failures:
        if failure.reason.ours:
            return failure
    reasons = {failure.reason for failure in failures}
    missing = tuple(dict.fromkeys(name for failure in failures for name in failure.missing))
    return Failure(reasons.pop() if len(reasons) == 1 else REQUIREMENT_UNMET, missing=missing)


names = st.sampled_from("abc")
several = st.lists(names, min_size=1, max_size=3)
CALLS: list[str] = []
FAILURES = [Failure(ROLE_MISSING, missing=("x", "a")), Failure(CHECK_FAILED, missing=("x",))]
leaves: st.SearchStrategy[Requirement] = st.one_of(
    names.map(role),
    names.map(role),
    several.map(lambda chosen: any_role(*chosen)),
    several.map(lambda chosen: all_roles(*chosen)),
    several.map(lambda chosen: scopes(*chosen)),
    names.map(via),
    st.sampled_from([GOLD, FRESH, AUTHENTICATED]),
    st.builds(Called, names, st.just(CALLS), st.sampled_from([None, *FAILURES])),
)
trees = st.recursive(
    leaves,
    lambda parts: st.one_of(
        st.lists(parts, min_size=1, max_size=5).map(lambda chosen: all_of(*chosen)),
        st.lists(parts, min_size=1, max_size=5).map(lambda chosen: any_of(*chosen)),
    ),
    max_leaves=12,
)
principals = st.builds(
    lambda roles, scopes, scheme, acr: Principal("alice", roles=roles, scopes=scopes, scheme=scheme, claims=acr),
    st.sets(names),
    st.sets(names),
    names,
    st.sampled_from([{}, {"acr": "gold"}]),
)


@given(requirement=trees, principal=principals)
@settings(max_examples=500, deadline=None)
def test_parts_that_are_compared_together_say_what_each_would_say(
    requirement: Requirement, principal: Principal
) -> None:
    """Several roles are compared as one set. The denial is that of the parts one by one, asked in the same order."""
    CALLS.clear()
    expected = part_by_part(requirement, principal)
    calls = list(CALLS)
    CALLS.clear()

    assert requirement.unmet(principal, {}, Moment(NOW, 0.0)) == expected
    assert calls == CALLS
