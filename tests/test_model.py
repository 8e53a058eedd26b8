"""The values that travel through a guard."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authguard.errors import ConfigurationError
from authguard.model import Accepted, Denied, Failure, Granted, Moment, Principal, Rejected
from authguard.policy.combinators import all_of, any_of
from authguard.policy.requirements import AUTHENTICATED, role, scopes, step_up, via
from authguard.policy.rules import Match, Rule
from authguard.reasons import TOKEN_EXPIRED
from authguard.validation import check_leeway, check_seconds, functions
from tests.support.clock import NOW

stamps = st.floats(-1e11, 1e11)


@pytest.mark.parametrize(
    ("ago", "expired"), [(59.999, False), (60.0, True), (60.001, True), (0.0, False), (-1.0, False)]
)
def test_an_end_is_over_when_the_leeway_is_spent(ago: float, expired: bool) -> None:
    """7519-1: now must be before exp plus the leeway; at it, the token is dead."""
    assert Moment(NOW, 60.0).expired(NOW - ago) is expired


@pytest.mark.parametrize(
    ("ahead", "not_yet"), [(59.999, False), (60.0, False), (60.001, True), (0.0, False), (-1.0, False)]
)
def test_a_beginning_is_to_come_beyond_the_leeway(ahead: float, not_yet: bool) -> None:
    """7519-1: now must be at or after nbf less the leeway."""
    assert Moment(NOW, 60.0).not_yet(NOW + ahead) is not_yet


@given(now=stamps, at=stamps, leeway=st.floats(0, 300), more=st.floats(0, 300))
def test_more_leeway_never_refuses_more(now: float, at: float, leeway: float, more: float) -> None:
    """What one leeway lets by, a greater one does too."""
    small, great = Moment(now, leeway), Moment(now, leeway + more)

    assert great.expired(at) <= small.expired(at)
    assert great.not_yet(at) <= small.not_yet(at)


def test_by_is_the_seconds_from_then_to_now() -> None:
    """To the millisecond, and negative where the stamp is to come."""
    moment = Moment(NOW, 60.0)

    assert [moment.by(NOW - 4.2), moment.by(NOW + 0.1234), moment.by(NOW)] == [4.2, -0.123, 0.0]


@pytest.mark.parametrize("leeway", [0, 1, 60.5, 300])
def test_a_leeway_is_0_to_300_seconds(leeway: float) -> None:
    """A whole number will do; it is kept as a float."""
    assert (check_leeway(leeway), type(check_leeway(leeway))) == (leeway, float)


@pytest.mark.parametrize("leeway", [-1, -1e-9, 300.1, math.inf, -math.inf, math.nan, True, "60", None])
def test_another_leeway_is_refused(leeway: Any) -> None:
    """An unbounded one would revive every dead token, nan would make each comparison False."""
    with pytest.raises(ConfigurationError, match="0 to 300") as caught:
        check_leeway(leeway)

    assert caught.value.argument == "leeway"


@pytest.mark.parametrize("seconds", [1, 0.001, 60, 59.9])
def test_a_number_of_seconds_is_above_0_and_bounded(seconds: float) -> None:
    """It is kept as it was given."""
    assert check_seconds("deadline", seconds, most=60) == seconds


@pytest.mark.parametrize("seconds", [0, -1, 60.1, math.inf, math.nan, True, "5", None])
def test_another_number_of_seconds_is_refused(seconds: Any) -> None:
    """The error names the argument."""
    with pytest.raises(ConfigurationError) as caught:
        check_seconds("deadline", seconds, most=60)

    assert caught.value.argument == "deadline"


def test_functions_come_in_a_list() -> None:
    """Any iterable of them, and none is no mistake."""
    assert functions("hooks", [print, len]) == (print, len)
    assert functions("hooks", iter([print])) == (print,)
    assert functions("hooks", ()) == ()


@pytest.mark.parametrize("value", [print, None, [None], [print, "print"], "print"])
def test_what_is_no_list_of_functions_is_refused(value: Any) -> None:
    """A function by itself is a list that was forgotten."""
    with pytest.raises(ConfigurationError) as caught:
        functions("hooks", value)

    assert caught.value.argument == "hooks"


def test_a_principal_is_a_value() -> None:
    """Claims do not count: two requests of one user are one principal."""
    made = [Principal("alice", roles=["a", "b"], scopes=("s",), claims={"n": n}, expires_at=NOW) for n in range(2)]

    assert made[0] == made[1]
    assert len(set(made)) == 1
    assert (made[0].roles, made[0].scopes, made[0].scheme) == (frozenset("ab"), frozenset("s"), None)


def test_a_principal_is_what_starlette_calls_a_user() -> None:
    """``request.user`` has these three."""
    alice = Principal("alice")

    assert (alice.is_authenticated, alice.display_name, alice.identity) == (True, "alice", "alice")


def test_a_principal_does_not_show_its_claims() -> None:
    """They may hold what is nobody's business."""
    assert "s3cr3t" not in repr(Principal("alice", claims={"email": "s3cr3t"}))


@pytest.mark.parametrize("more", [{}, {"roles": {"a"}, "claims": {"n": 1}, "expires_at": NOW}])
def test_a_principal_can_be_copied_and_pickled(more: dict[str, Any]) -> None:
    """A cache may keep it, with claims and without."""
    alice = Principal("alice", **more)

    for twin in (copy.copy(alice), copy.deepcopy(alice), pickle.loads(pickle.dumps(alice))):
        assert (twin, dict(twin.claims)) == (alice, dict(alice.claims))


def test_a_check_can_make_a_richer_principal_with_replace() -> None:
    """Whatever it does not name stays."""
    alice = Principal("alice", scopes={"s"}, claims={"n": 1}, expires_at=NOW, scheme="bearer")

    richer = dataclasses.replace(alice, roles=frozenset({"admin"}))

    assert richer == Principal("alice", roles={"admin"}, scopes={"s"}, expires_at=NOW, scheme="bearer")
    assert richer.claims == {"n": 1}


def test_the_guard_knows_a_principal_by_its_scheme_and_its_implied_roles() -> None:
    """The rest stays as it was, and so does the one that was given."""
    alice = Principal("alice", roles={"admin"}, scopes={"s"}, claims={"n": 1}, expires_at=NOW)

    seen = alice.seen_by("bearer", frozenset({"admin", "editor"}))

    assert seen == Principal("alice", roles={"admin", "editor"}, scopes={"s"}, expires_at=NOW, scheme="bearer")
    assert seen.claims == {"n": 1}
    assert (alice.scheme, alice.roles) == (None, frozenset({"admin"}))


MISTAKES: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("subject", ("",), {}),
    ("subject", (None,), {}),
    ("subject", (b"alice",), {}),
    ("subject", (7,), {}),
    ("roles", ("alice",), {"roles": "admin"}),
    ("roles", ("alice",), {"roles": {"admin", ""}}),
    ("roles", ("alice",), {"roles": {"admin", " "}}),
    ("roles", ("alice",), {"roles": ["admin", None]}),
    ("roles", ("alice",), {"roles": b"admin"}),
    ("roles", ("alice",), {"roles": [["admin"]]}),
    ("scopes", ("alice",), {"scopes": "read write"}),
    ("scopes", ("alice",), {"scopes": [1]}),
    ("expires_at", ("alice",), {"expires_at": math.inf}),
    ("expires_at", ("alice",), {"expires_at": math.nan}),
    ("expires_at", ("alice",), {"expires_at": "tomorrow"}),
    ("claims", ("alice",), {"claims": None}),
]


@pytest.mark.parametrize(("argument", "given_", "named"), MISTAKES)
def test_what_could_never_be_meant_is_no_principal(
    argument: str, given_: tuple[Any, ...], named: dict[str, Any]
) -> None:
    """A str of roles would be a set of letters; the error names the argument."""
    with pytest.raises(ConfigurationError) as caught:
        Principal(*given_, **named)

    assert caught.value.argument == argument


VALUES: list[object] = [
    Moment(NOW, 0.0),
    Principal("a"),
    Accepted(Principal("a")),
    Rejected(TOKEN_EXPIRED),
    Failure(TOKEN_EXPIRED),
]
VALUES += [Granted(None, AUTHENTICATED), Denied(TOKEN_EXPIRED), Rule("/", AUTHENTICATED), Match(AUTHENTICATED)]
VALUES += [AUTHENTICATED, role("a"), scopes("a"), via("a"), step_up(acr="a"), all_of(role("a")), any_of(role("a"))]
VALUES += [TOKEN_EXPIRED]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_nothing_that_travels_can_be_changed(value: Any) -> None:
    """What was decided for one request is not another's to change; and nothing has room for more."""
    name = dataclasses.fields(value)[0].name

    with pytest.raises(AttributeError):
        setattr(value, name, getattr(value, name))
    assert not hasattr(value, "__dict__")


def test_outcomes_and_decisions_begin_empty() -> None:
    """Facts of one are not those of another."""
    made: list[Any] = [
        Rejected(TOKEN_EXPIRED),
        Accepted(Principal("a")),
        Granted(None, AUTHENTICATED),
        Denied(TOKEN_EXPIRED),
    ]

    assert [(dict(value.facts), tuple(value.response_headers)) for value in made] == [({}, ())] * 4
    assert (dict(Failure(TOKEN_EXPIRED).facts), Failure(TOKEN_EXPIRED).missing) == ({}, ())
    assert (Denied(TOKEN_EXPIRED).authenticated, Rejected(TOKEN_EXPIRED).authenticated) == (False, False)
    assert Rejected(TOKEN_EXPIRED).facts is not Rejected(TOKEN_EXPIRED).facts
