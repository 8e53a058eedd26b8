"""Requirements as values: what each lacks, which schemes can meet it, how it explains itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from authguard.errors import ConfigurationError
from authguard.model import Failure, Moment, Principal, Requirement
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
    """What alice lacks, being so."""
    return requirement.unmet(Principal("alice", **principal), params or {}, MOMENT)


@pytest.mark.parametrize("access", [PUBLIC, OPTIONAL, AUTHENTICATED])
def test_a_principal_is_enough_for_what_asks_only_for_one(access: Requirement) -> None:
    """Nothing is lacking where the rule is about authentication alone."""
    assert lacks(access) is None


def test_nobody_meets_what_is_unlisted() -> None:
    """A method that no rule of the path names is closed to every principal."""
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
    """Roles are compared whole and with their case; what is missing is told in the order in which it was asked."""
    assert lacks(requirement, roles=roles) == (None if missing is None else Failure(ROLE_MISSING, missing=missing))


def test_a_role_is_not_met_by_a_scope() -> None:
    """Who may write is not thereby a writer, and the other way round."""
    assert lacks(role("write"), scopes={"write", "role:write"}) == Failure(ROLE_MISSING, missing=("write",))
    assert lacks(scopes("write"), roles={"write"}) == Failure(SCOPE_MISSING, missing=("write",))


def test_scopes_are_wanted_all() -> None:
    """Every scope that is named must be there; what is missing is told."""
    assert lacks(scopes("read", "write"), scopes={"write", "read"}) is None
    assert lacks(scopes("read", "write"), scopes={"write"}) == Failure(SCOPE_MISSING, missing=("read",))


@pytest.mark.rfc("6750-5")
@pytest.mark.parametrize("name", ["two words", 'a"b', "a\\b", "a\tb", "a\x7f", "ä"])
def test_a_scope_that_no_challenge_can_carry_is_refused(name: str) -> None:
    """6750-5: a scope-token is printable ASCII without the quote and the backslash."""
    with pytest.raises(ConfigurationError, match=r"scopes: .*scope-token"):
        scopes("read", name)


def test_the_edges_of_a_scope_token_are_taken() -> None:
    """6750-5: %x21, %x23-5B and %x5D-7E are all of it."""
    whole = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"\\')

    assert scopes(whole).scopes_named() == (whole,)


def test_only_scopes_are_told_in_a_challenge() -> None:
    """A role has no place in the ``scope`` parameter."""
    told = [item.scopes_named() for item in (scopes("b", "a", "b"), role("a"), via("bearer"), PUBLIC, step_up(acr="x"))]

    assert told == [("b", "a"), (), (), (), ()]


def test_via_is_about_the_scheme_that_was_used() -> None:
    """Who came by another scheme lacks it; the names are compared in lower case."""
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
    ({"acr": ["gold", "silver"]}, {"acr": "silver"}, None),
    ({"acr": "gold"}, {"acr": "bronze"}, {"acr_values": "gold"}),
    ({"acr": ["gold", "silver", "gold"]}, {}, {"acr_values": "gold silver"}),
    ({"acr": "gold"}, {"acr": ["gold"]}, {"acr_values": "gold"}),
    ({"max_age": 100}, {"auth_time": NOW - 100}, None),
    ({"max_age": 100}, {"auth_time": NOW - 159.9}, None),
    ({"max_age": 100}, {"auth_time": NOW - 160}, {"max_age": 100}),
    ({"max_age": 0}, {"auth_time": NOW - 59}, None),
    ({"max_age": 0}, {"auth_time": NOW - 60}, {"max_age": 0}),
    ({"max_age": 100}, {"auth_time": NOW + 60}, None),
    ({"max_age": 100}, {"auth_time": NOW + 60.1}, {"max_age": 100}),
    ({"max_age": 100}, {}, {"max_age": 100}),
    ({"max_age": 100}, {"auth_time": str(NOW)}, {"max_age": 100}),
    ({"max_age": 100}, {"auth_time": True}, {"max_age": 100}),
    ({"max_age": 100}, {"auth_time": float("nan")}, {"max_age": 100}),
    ({"max_age": 100}, {"auth_time": float("inf")}, {"max_age": 100}),
    ({"max_age": 100}, {"auth_time": 10**400}, {"max_age": 100}),
    ({"acr": "gold", "max_age": 100}, {"acr": "gold"}, {"max_age": 100}),
    ({"acr": "gold", "max_age": 100}, {}, {"acr_values": "gold", "max_age": 100}),
]


@pytest.mark.parametrize(("asked", "claims", "wanted"), STEPS)
def test_step_up(asked: dict[str, Any], claims: dict[str, Any], wanted: dict[str, object] | None) -> None:
    """9470-2: acr is one of those asked, auth_time is not older than max_age; a claim that is missing or odd is no
    proof. The leeway covers auth_time on both sides, for another clock stamped it."""
    lack = lacks(step_up(**asked), claims=claims)

    assert lack == (None if wanted is None else Failure(STEP_UP_REQUIRED, wanted, missing=tuple(wanted)))


def test_a_check_sees_the_principal_and_the_parameters_of_the_pattern() -> None:
    """It passes with True."""
    owns = predicate("owner", lambda principal, params: params["name"] == principal.subject)

    assert lacks(owns, {"name": "alice"}) is None
    assert lacks(owns, {"name": "bob"}) == Failure(CHECK_REFUSED, missing=("owner",))


async def _never_awaited(principal: Principal, params: Mapping[str, str]) -> bool:
    return False


@pytest.mark.parametrize("answer", [None, 1, "yes", [True]])
def test_only_true_itself_is_a_yes(answer: object) -> None:
    """What is merely truthy denies, and the record tells what came instead of an answer."""
    function: Any = lambda *_: answer  # noqa: E731 - of no type that a predicate may have

    assert lacks(predicate("c", function)) == Failure(
        CHECK_REFUSED, {"returned": type(answer).__name__}, missing=("c",)
    )
    assert lacks(predicate("c", lambda *_: False)) == Failure(CHECK_REFUSED, missing=("c",))


def test_an_async_predicate_is_refused_while_it_is_built() -> None:
    """Its coroutine would be truthy, and nobody would await it."""
    function: Any = _never_awaited

    with pytest.raises(ConfigurationError, match=r"^function: .* is async; give a plain function"):
        predicate("c", function)


def test_a_check_that_raises_denies() -> None:
    """The type of what it raised is told, and not its text."""
    lack = lacks(predicate("c", lambda _, params: params["s3cr3t"] == ""))

    assert lack == Failure(CHECK_REFUSED, {"raised": "KeyError"}, missing=("c",))


def test_requirements_explain_themselves() -> None:
    """Their text is what one would write."""
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
    """The same words make equal and hashable values, and repeated names count once."""
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
def test_what_could_never_be_meant_is_refused(
    argument: str, make: Callable[..., object], given: tuple[Any, ...], named: dict[str, Any]
) -> None:
    """An empty or a blank requirement would let everybody in, or nobody: the error names the argument."""
    with pytest.raises(ConfigurationError) as caught:
        make(*given, **named)

    assert caught.value.argument == argument


def test_a_step_up_that_no_challenge_can_carry_is_refused() -> None:
    """9470-1: ``acr_values`` goes out in a quoted-string, so that a control character would break the answer later."""
    with pytest.raises(ConfigurationError, match="step_up"):
        step_up(acr="gold\r\nx")


@pytest.mark.parametrize("value", ["admin", ["admin"], None, AccessLevel, object()])
def test_only_a_requirement_is_one(value: object) -> None:
    """A bare string, a list of roles or a class is told apart while the app is built."""
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
def test_what_is_no_requirement_is_told_what_to_write(value: object, write: str) -> None:
    """A name is most likely a role, and a list several requirements."""
    with pytest.raises(ConfigurationError) as caught:
        check_requirement("asked", value)

    assert str(caught.value) == f"asked: {value!r} is not a requirement; write {write}"


@pytest.mark.parametrize("make", [any_role, all_roles, scopes, via])
def test_a_list_of_names_is_told_what_to_write(make: Callable[..., object]) -> None:
    """Each name is an argument."""
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
def test_a_requirement_is_shown_as_it_is_told(requirement: object) -> None:
    """In a debugger as in a record."""
    assert repr(requirement) == str(requirement)
