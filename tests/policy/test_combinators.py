"""all_of and any_of: what they lack, what they accept, what they refuse to hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from authguard.errors import ConfigurationError
from authguard.model import Failure, Moment, Principal, Requirement
from authguard.policy.combinators import all_of, any_of, asks_step_up
from authguard.policy.requirements import AUTHENTICATED, OPTIONAL, PUBLIC, any_role, role, scopes, step_up, via
from authguard.reasons import REQUIREMENT_UNMET, ROLE_MISSING, SCHEME_INSUFFICIENT, SCOPE_MISSING, STEP_UP_REQUIRED
from tests.support.clock import NOW

EVERY = frozenset({"bearer", "basic", "digest"})
GOLD, FRESH = step_up(acr="gold"), step_up(max_age=60)


def lacks(requirement: Requirement, **principal: Any) -> Failure | None:
    """What alice lacks, being so."""
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
        Failure(STEP_UP_REQUIRED, {"acr_values": "gold"}, missing=("acr_values",)),
    ),
    (
        all_of(GOLD, FRESH),
        {},
        Failure(STEP_UP_REQUIRED, {"acr_values": "gold", "max_age": 60}, missing=("acr_values", "max_age")),
    ),
    (any_of(role("a"), role("b")), {"roles": {"b"}}, None),
    (any_of(role("a"), role("b")), {}, Failure(ROLE_MISSING, missing=("a", "b"))),
    (any_of(role("a"), any_role("b", "a")), {}, Failure(ROLE_MISSING, missing=("a", "b"))),
    (any_of(role("a"), scopes("s")), {}, Failure(REQUIREMENT_UNMET, missing=("a", "s"))),
    (any_of(role("a"), GOLD), {}, Failure(STEP_UP_REQUIRED, {"acr_values": "gold"}, missing=("acr_values",))),
    (any_of(all_of(role("a"), GOLD), role("b")), {}, Failure(ROLE_MISSING, missing=("a", "b"))),
    (any_of(all_of(role("a"), GOLD), role("b")), {"roles": {"b"}}, None),
    (
        any_of(all_of(role("a"), GOLD), role("b")),
        {"roles": {"a"}},
        Failure(STEP_UP_REQUIRED, {"acr_values": "gold"}, missing=("acr_values",)),
    ),
    (any_of(via("basic"), all_of(via("bearer"), role("a"))), {"scheme": "bearer", "roles": {"a"}}, None),
    (
        any_of(via("basic"), via("digest")),
        {"scheme": "bearer"},
        Failure(SCHEME_INSUFFICIENT, missing=("basic", "digest")),
    ),
]


@pytest.mark.parametrize(("requirement", "principal", "lack"), CASES)
def test_what_is_lacking(requirement: Requirement, principal: dict[str, Any], lack: Failure | None) -> None:
    """9470-1: a step-up is asked for only where it alone would do: never from one who also lacks a role."""
    assert lacks(requirement, **principal) == lack


def test_the_first_part_that_passes_ends_an_any_of() -> None:
    """What stands behind it is not asked."""
    asked: list[str] = []

    class Told:
        def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
            asked.append(principal.subject)
            return None

        def schemes(self, every: frozenset[str]) -> frozenset[str]:
            return every

        def scopes_named(self) -> tuple[str, ...]:
            return ()

    assert lacks(any_of(AUTHENTICATED, Told())) is None
    assert asked == []
    assert lacks(any_of(role("a"), Told())) is None
    assert asked == ["alice"]


def test_accepted_schemes_are_the_union_under_any_of_and_the_intersection_under_all_of() -> None:
    """A route accepts a scheme where one of its ways can be met by it."""
    assert any_of(via("basic"), via("digest")).schemes(EVERY) == {"basic", "digest"}
    assert any_of(via("basic"), role("a")).schemes(EVERY) == EVERY
    assert all_of(via("basic", "bearer"), via("bearer", "digest")).schemes(EVERY) == {"bearer"}
    assert all_of(via("basic"), via("digest")).schemes(EVERY) == frozenset()
    assert all_of(via("basic"), role("a")).schemes(EVERY) == {"basic"}


def test_the_scopes_of_all_parts_are_named_once() -> None:
    """In the order in which they stand."""
    nested = all_of(scopes("b", "a"), any_of(scopes("a", "c"), role("x")))

    assert nested.scopes_named() == ("b", "a", "c")


@pytest.mark.parametrize("combine", [all_of, any_of])
@pytest.mark.parametrize("parts", [(), (PUBLIC,), (role("a"), OPTIONAL), ("admin",), ([role("a")],)])
def test_what_could_never_be_meant_is_refused(combine: Callable[..., Requirement], parts: tuple[Any, ...]) -> None:
    """Nothing, PUBLIC, OPTIONAL and what is no requirement: the error names the function."""
    with pytest.raises(ConfigurationError) as caught:
        combine(*parts)

    assert caught.value.argument == combine.__name__


@pytest.mark.parametrize("combine", [all_of, any_of])
def test_a_list_of_requirements_is_told_what_to_write(combine: Callable[..., Requirement]) -> None:
    """Each of them is an argument."""
    parts: Any = [role("a"), role("b")]

    with pytest.raises(ConfigurationError, match="give the requirements as separate arguments, not as a list"):
        combine(parts)


def test_the_parts_are_shown_as_they_are_told() -> None:
    """In a debugger as in a record, however deep they stand."""
    assert repr([all_of(role("a"), any_of(via("b"), scopes("c")))]) == "[all_of(role(a), any_of(via(b), scopes(c)))]"


def test_a_step_up_is_found_however_deep_it_stands() -> None:
    """Guards ask this while they are built."""
    assert asks_step_up(GOLD)
    assert asks_step_up(any_of(role("a"), all_of(AUTHENTICATED, any_of(FRESH, role("b")))))
    assert not asks_step_up(any_of(role("a"), all_of(AUTHENTICATED, via("basic"))))


def test_combinations_explain_themselves_and_are_values() -> None:
    """Their text is what one would write; equal parts make equal values."""
    made = [any_of(role("a"), all_of(scopes("s"), GOLD)) for _ in range(2)]

    assert str(made[0]) == "any_of(role(a), all_of(scopes(s), step_up(acr=gold)))"
    assert len(set(made)) == 1
    assert all_of(role("a")) != any_of(role("a"))
