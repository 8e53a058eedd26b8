"""Requirements as values: what is missing, which schemes can meet them, and how they are shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from authguard.errors import ConfigurationError
from authguard.model import Failure, Moment, Principal, Requirement
from authguard.policy.combinators import all_of, any_of
from authguard.policy.requirements import (
    AUTHENTICATED,
    OPTIONAL,
    PUBLIC,
    UNLISTED,
    AccessLevel,
    all_roles,
    any_role,
    check_requirement,
    predicate,
    role,
    scopes,
    step_up,
    via,
)
from authguard.reasons import (
    CHECK_FAILED,
    CHECK_REFUSED,
    METHOD_UNLISTED,
    ROLE_MISSING,
    SCHEME_INSUFFICIENT,
    SCOPE_MISSING,
    STEP_UP_REQUIRED,
)
from tests.support.clock import NOW

MOMENT = Moment(NOW, 60.0)
EVERY = frozenset({"bearer", "basic", "digest"})


def lacks(requirement: Requirement, params: Mapping[str, str] | None = None, **principal: Any) -> Failure | None:
    """What alice is missing."""
    return requirement.unmet(Principal("alice", **principal), params or {}, MOMENT)


@pytest.mark.parametrize("access", [PUBLIC, OPTIONAL, AUTHENTICATED])
def test_any_principal_meets_authenticated_and_optional(access: Requirement) -> None:
    """AUTHENTICATED and OPTIONAL need nothing more than a principal."""
    assert lacks(access) is None


def test_nobody_meets_what_is_unlisted() -> None:
    """UNLISTED, the requirement of a method without a rule, is met by no principal."""
    assert lacks(UNLISTED, roles={"admin"}) == Failure(METHOD_UNLISTED)


ROLES = [
    (role("a"), {"a"}, None),
    (role("a"), {"b"}, ("a",)),
    (role("a"), {"A", "aa", "a "}, ("a",)),
    (any_role("a", "b"), {"b"}, None),
    (any_role("a", "b"), {"c"}, ("a", "b")),
    (any_role("a"), {"b"}, ("a",)),
    (any_role("a"), {"a"}, None),
    (all_roles("a", "b"), {"a", "b", "c"}, None),
    (all_roles("a", "b"), {"b"}, ("a",)),
    (all_roles("a", "b"), set(), ("a", "b")),
]


@pytest.mark.parametrize(("requirement", "roles", "missing"), ROLES)
def test_roles(requirement: Requirement, roles: set[str], missing: tuple[str, ...] | None) -> None:
    """Roles are compared exactly, with their case. Missing roles are listed in the order of the requirement."""
    assert lacks(requirement, roles=roles) == (None if missing is None else Failure(ROLE_MISSING, missing=missing))


def test_a_role_is_not_met_by_a_scope() -> None:
    """A scope does not meet a role of the same name, nor a role a scope."""
    assert lacks(role("write"), scopes={"write", "role:write"}) == Failure(ROLE_MISSING, missing=("write",))
    assert lacks(scopes("write"), roles={"write"}) == Failure(SCOPE_MISSING, missing=("write",))


def test_all_scopes_are_needed() -> None:
    """``scopes`` needs every scope that it names, and lists the missing ones."""
    assert lacks(scopes("read", "write"), scopes={"write", "read"}) is None
    assert lacks(scopes("read", "write"), scopes={"write"}) == Failure(SCOPE_MISSING, missing=("read",))


@pytest.mark.rfc("6750-5")
@pytest.mark.parametrize("name", ["two words", 'a"b', "a\\b", "a\tb", "a\x7f", "ä"])
def test_a_scope_that_no_challenge_can_carry_is_refused(name: str) -> None:
    """6750-5: a scope is printable ASCII without the quote and the backslash, or it raises."""
    with pytest.raises(ConfigurationError, match=r"scopes: .*scope-token"):
        scopes("read", name)


def test_the_limits_of_a_scope_token_are_accepted() -> None:
    """6750-5: the first and last characters of %x21, %x23-5B and %x5D-7E are accepted."""
    whole = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"\\')

    assert scopes(whole).scopes_named() == (whole,)


def test_only_scopes_are_named_in_a_challenge() -> None:
    """A role is not listed in the ``scope`` parameter of a challenge."""
    told = [item.scopes_named() for item in (scopes("b", "a", "b"), role("a"), via("bearer"), PUBLIC, step_up(acr="x"))]

    assert told == [("b", "a"), (), (), (), ()]


def test_via_is_about_the_scheme_that_was_used() -> None:
    """``via`` is met only by a principal of that scheme. Names of schemes are compared in lower case."""
    assert lacks(via("Bearer"), scheme="bearer") is None
    assert lacks(via("Bearer", "digest"), scheme="basic") == Failure(SCHEME_INSUFFICIENT, missing=("bearer", "digest"))
    assert lacks(via("bearer")) == Failure(SCHEME_INSUFFICIENT, missing=("bearer",))


def test_only_via_narrows_the_schemes() -> None:
    """Every other requirement can be met by every scheme."""
    others = [
        PUBLIC,
        OPTIONAL,
        AUTHENTICATED,
        UNLISTED,
        role("a"),
        scopes("a"),
        step_up(acr="x"),
        predicate("c", lambda *_: True),
    ]

    assert {item.schemes(EVERY) for item in others} == {EVERY}
    assert via("basic", "mutual").schemes(EVERY) == {"basic"}


STEPS = [
    ({"acr": ["gold", "silver"]}, {"acr": "silver"}, None, {}),
    ({"acr": "gold"}, {"acr": "bronze"}, {"acr_values": "gold"}, {"acr": "bronze"}),
    ({"acr": ["gold", "silver", "gold"]}, {}, {"acr_values": "gold silver"}, {"acr": "absent"}),
    ({"acr": "gold"}, {"acr": ["gold"]}, {"acr_values": "gold"}, {"acr": "a list"}),
    ({"max_age": 100}, {"auth_time": NOW - 100}, None, {}),
    ({"max_age": 100}, {"auth_time": NOW - 159.9}, None, {}),
    ({"max_age": 100}, {"auth_time": NOW - 160}, {"max_age": 100}, {"auth_age": 160.0}),
    ({"max_age": 0}, {"auth_time": NOW - 59}, None, {}),
    ({"max_age": 0}, {"auth_time": NOW - 60}, {"max_age": 0}, {"auth_age": 60.0}),
    ({"max_age": 100}, {"auth_time": NOW + 60}, None, {}),
    ({"max_age": 100}, {"auth_time": NOW + 60.1}, {"max_age": 100}, {"auth_age": -60.1}),
    ({"max_age": 100}, {}, {"max_age": 100}, {"auth_age": "absent"}),
    ({"max_age": 100}, {"auth_time": str(NOW)}, {"max_age": 100}, {"auth_age": "a str"}),
    ({"max_age": 100}, {"auth_time": True}, {"max_age": 100}, {"auth_age": "a bool"}),
    ({"max_age": 100}, {"auth_time": float("nan")}, {"max_age": 100}, {"auth_age": "a float"}),
    ({"max_age": 100}, {"auth_time": float("inf")}, {"max_age": 100}, {"auth_age": "a float"}),
    ({"max_age": 100}, {"auth_time": 10**400}, {"max_age": 100}, {"auth_age": "an int"}),
    ({"acr": "gold", "max_age": 100}, {"acr": "gold"}, {"max_age": 100}, {"auth_age": "absent"}),
    (
        {"acr": "gold", "max_age": 100},
        {},
        {"acr_values": "gold", "max_age": 100},
        {"acr": "absent", "auth_age": "absent"},
    ),
]


@pytest.mark.parametrize(("asked", "claims", "wanted", "found"), STEPS)
def test_step_up(
    asked: dict[str, Any], claims: dict[str, Any], wanted: dict[str, object] | None, found: dict[str, object]
) -> None:
    """9470-2: ``acr`` must be listed and ``auth_time`` recent. A missing or invalid claim does not count.

    The leeway applies to ``auth_time`` in both directions, because another clock stamped it. The record has what was
    wanted and what was found.
    """
    lack = lacks(step_up(**asked), claims=claims)

    expected = None if wanted is None else Failure(STEP_UP_REQUIRED, {**wanted, **found}, missing=tuple(wanted))
    assert lack == expected


def test_a_predicate_gets_the_principal_and_the_parameters() -> None:
    """A predicate gets the principal and the path parameters, and passes with True."""
    owns = predicate("owner", lambda principal, params: params["name"] == principal.subject)

    assert lacks(owns, {"name": "alice"}) is None
    assert lacks(owns, {"name": "bob"}) == Failure(CHECK_REFUSED, missing=("owner",))


async def _never_awaited(principal: Principal, params: Mapping[str, str]) -> bool:
    return False


@pytest.mark.parametrize("answer", [None, 1, "yes", [True]])
def test_only_true_passes_a_predicate(answer: object) -> None:
    """Any other value than True denies, and the record has the type of that value, and the name of the function."""
    function: Any = lambda *_: answer  # noqa: E731 - of no type that a predicate may have

    lack = lacks(predicate("c", function))
    assert lack is not None
    assert (lack.reason, lack.missing, lack.facts["returned"]) == (CHECK_REFUSED, ("c",), type(answer).__name__)
    assert str(lack.facts["problem"]).endswith("must return True or False")
    assert lacks(predicate("c", lambda *_: False)) == Failure(CHECK_REFUSED, missing=("c",))


def test_an_async_predicate_is_refused_while_it_is_built() -> None:
    """An async predicate raises, because its coroutine would be truthy and never awaited."""
    function: Any = _never_awaited

    with pytest.raises(ConfigurationError, match=r"^function: _never_awaited .* must not be async: .*; write def"):
        predicate("c", function)


def test_a_predicate_that_raises_denies() -> None:
    """A predicate that raises denies, and the record has its name, file and line, and no text of the error."""
    lack = lacks(predicate("c", lambda _, params: params["s3cr3t"] == ""))

    assert lack is not None
    assert (lack.reason, lack.missing, lack.facts["raised"]) == (CHECK_FAILED, ("c",), "KeyError")
    place = r"policy/test_requirements.py:\d+"
    assert re.fullmatch(rf"<lambda> \({place}\) raised KeyError at {place}", str(lack.facts["problem"]))


@pytest.mark.parametrize("combine", [all_of, any_of])
def test_a_predicate_that_raises_is_what_a_combination_reports(combine: Any) -> None:
    """It is a mistake of the app, so it does not hide behind a role that is missing."""
    lack = lacks(combine(role("x"), predicate("c", lambda principal, params: params["none"] == "")))

    assert lack is not None
    assert (lack.reason, lack.missing) == (CHECK_FAILED, ("c",))


def test_a_predicate_with_other_parameters_raises() -> None:
    """It would raise at each request."""
    with pytest.raises(ConfigurationError, match=r"is called as function\(principal, params\): too many positional"):
        predicate("c", lambda principal: True)  # type: ignore[arg-type,misc]


def test_requirements_explain_themselves() -> None:
    """The text of a requirement is the code that makes it."""
    every = [PUBLIC, role("a"), any_role("a"), any_role("a", "b"), all_roles("a", "b"), scopes("r", "w"), via("Basic")]
    more = [step_up(acr=["x", "y"], max_age=5), step_up(max_age=0), predicate("owner", lambda *_: True), UNLISTED]

    assert list(map(str, every)) == [
        "PUBLIC",
        "role(a)",
        "role(a)",
        "any_role(a, b)",
        "all_roles(a, b)",
        "scopes(r, w)",
        "via(basic)",
    ]
    assert list(map(str, more)) == ["step_up(acr=x y, max_age=5)", "step_up(max_age=0)", "check(owner)", "UNLISTED"]
    assert repr(OPTIONAL) == "OPTIONAL"


def test_requirements_are_values() -> None:
    """Requirements with the same arguments are equal and hashable, and repeated names count once."""
    pairs = [
        (role("a"), role("a")),
        (role("a"), any_role("a")),
        (all_roles("a", "b", "a"), all_roles("a", "b")),
        (scopes("a"), scopes("a", "a")),
        (via("a"), via("A")),
        (step_up(acr="x"), step_up(acr=["x"])),
        (PUBLIC, AccessLevel("PUBLIC")),
    ]

    assert [(one, hash(one)) for one, _ in pairs] == [(other, hash(other)) for _, other in pairs]
    assert all_roles("a", "b") != any_role("a", "b")


MISTAKES: list[tuple[str, Callable[..., object], tuple[Any, ...], dict[str, Any]]] = [
    ("role", role, ("",), {}),
    ("role", role, (" \t",), {}),
    ("role", role, (None,), {}),
    ("any_role", any_role, (), {}),
    ("any_role", any_role, ("a", ""), {}),
    ("any_role", any_role, (["a", "b"],), {}),
    ("all_roles", all_roles, (), {}),
    ("scopes", scopes, (), {}),
    ("scopes", scopes, ("",), {}),
    ("via", via, (), {}),
    ("step_up", step_up, (), {}),
    ("step_up", step_up, (), {"acr": ""}),
    ("step_up", step_up, (), {"acr": ["a b"]}),
    ("max_age", step_up, (), {"max_age": -1}),
    ("max_age", step_up, (), {"max_age": True}),
    ("max_age", step_up, (), {"max_age": 1.5}),
    ("function", predicate, ("c", True), {}),
    ("name", predicate, ("", bool), {}),
]


@pytest.mark.parametrize(("argument", "make", "given", "named"), MISTAKES)
def test_invalid_requirements_raise(
    argument: str, make: Callable[..., object], given: tuple[Any, ...], named: dict[str, Any]
) -> None:
    """An empty or blank requirement would admit everybody or nobody, so it raises and names the argument."""
    with pytest.raises(ConfigurationError) as caught:
        make(*given, **named)

    assert caught.value.argument == argument


def test_a_step_up_that_no_challenge_can_carry_is_refused() -> None:
    """9470-1: an ``acr`` value with a control character raises, because it could not be sent in a quoted-string."""
    with pytest.raises(ConfigurationError, match="step_up"):
        step_up(acr="gold\r\nx")


@pytest.mark.parametrize("value", ["admin", ["admin"], None, AccessLevel, object()])
def test_only_requirements_are_accepted(value: object) -> None:
    """A string, a list of roles and a class in place of a requirement raise while the app is built."""
    with pytest.raises(ConfigurationError, match=r"asked: .* is not a requirement"):
        check_requirement("asked", value)


@pytest.mark.parametrize(
    ("value", "write"),
    [
        ("admin", 'role("admin")'),
        ("PUBLIC", "PUBLIC"),
        ([role("admin")], "all_of(...) or any_of(...)"),
        (None, "role(...), scopes(...), AUTHENTICATED, ..."),
    ],
)
def test_the_error_for_no_requirement_shows_what_to_write(value: object, write: str) -> None:
    """The error suggests ``role(...)`` for a name, and ``all_of(...)`` for a list."""
    with pytest.raises(ConfigurationError) as caught:
        check_requirement("asked", value)

    assert str(caught.value) == f"asked: {value!r} is not a requirement; write {write}"


@pytest.mark.parametrize("make", [any_role, all_roles, scopes, via])
def test_a_list_of_names_raises(make: Callable[..., object]) -> None:
    """A list in place of separate names raises, and the error shows what to write."""
    with pytest.raises(ConfigurationError, match="give the names as separate arguments, not as a list"):
        make(["a", "b"])


@pytest.mark.parametrize(
    "requirement",
    [
        role("a"),
        any_role("a", "b"),
        scopes("a"),
        via("a"),
        step_up(max_age=5),
        predicate("own", lambda *_: True),
        PUBLIC,
    ],
)
def test_the_repr_of_a_requirement_is_the_text_of_the_record(requirement: object) -> None:
    """The repr of a requirement is the text that the record has."""
    assert repr(requirement) == str(requirement)
