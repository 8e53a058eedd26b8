"""The values that a guard passes around: moments, principals, outcomes and decisions."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
import threading
import traceback
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authguard.errors import ConfigurationError
from authguard.model import Accepted, Denied, Failure, Granted, Moment, Principal, Rejected
from authguard.policy.combinators import all_of, any_of
from authguard.policy.requirements import AUTHENTICATED, role, scopes, step_up, via
from authguard.policy.rules import Rule
from authguard.reasons import TOKEN_EXPIRED
from authguard.validation import check_leeway, check_seconds, functions
from tests.support.clock import NOW

stamps = st.floats(-1e11, 1e11)


@pytest.mark.parametrize(
    ("ago", "expired"), [(59.999, False), (60.0, True), (60.001, True), (0.0, False), (-1.0, False)]
)
def test_an_end_is_over_when_the_leeway_is_spent(ago: float, expired: bool) -> None:
    """7519-1: a token has expired at exp plus the leeway, and not before."""
    assert Moment(NOW, 60.0).expired(NOW - ago) is expired


@pytest.mark.parametrize(
    ("ahead", "not_yet"), [(59.999, False), (60.0, False), (60.001, True), (0.0, False), (-1.0, False)]
)
def test_a_beginning_is_to_come_beyond_the_leeway(ahead: float, not_yet: bool) -> None:
    """7519-1: a token is valid from nbf minus the leeway on."""
    assert Moment(NOW, 60.0).not_yet(NOW + ahead) is not_yet


@given(now=stamps, at=stamps, leeway=st.floats(0, 300), more=st.floats(0, 300))
def test_more_leeway_never_rejects_more(now: float, at: float, leeway: float, more: float) -> None:
    """A moment that is accepted with one leeway is accepted with a greater one."""
    small, great = Moment(now, leeway), Moment(now, leeway + more)

    assert great.expired(at) <= small.expired(at)
    assert great.not_yet(at) <= small.not_yet(at)


def test_what_remains_is_until_it_has_expired() -> None:
    """``remaining`` counts the leeway, as ``expired`` does, and is never negative."""
    moment = Moment(NOW, 60.0)

    assert [moment.remaining(NOW + 5), moment.remaining(NOW - 59), moment.remaining(NOW - 60)] == [65.0, 1.0, 0.0]
    assert moment.remaining(NOW - 70) == 0.0
    assert Moment(NOW + moment.remaining(NOW + 5), 60.0).expired(NOW + 5)


def test_by_is_the_seconds_from_then_to_now() -> None:
    """``by`` is in seconds with three decimals, and negative for a timestamp in the future."""
    moment = Moment(NOW, 60.0)

    assert [moment.by(NOW - 4.2), moment.by(NOW + 0.1234), moment.by(NOW)] == [4.2, -0.123, 0.0]


@pytest.mark.parametrize("leeway", [0, 1, 60.5, 300])
def test_a_leeway_is_0_to_300_seconds(leeway: float) -> None:
    """A whole number is accepted, and kept as a float."""
    assert (check_leeway(leeway), type(check_leeway(leeway))) == (leeway, float)


@pytest.mark.parametrize("leeway", [-1, -1e-9, 300.1, math.inf, -math.inf, math.nan, True, "60", None])
def test_an_invalid_leeway_raises(leeway: Any) -> None:
    """An unlimited leeway would accept every expired token, and with NaN each comparison is False."""
    with pytest.raises(ConfigurationError, match="0 to 300") as caught:
        check_leeway(leeway)

    assert caught.value.argument == "leeway"


@pytest.mark.parametrize("seconds", [1, 0.001, 60, 59.9])
def test_a_number_of_seconds_is_above_0_and_bounded(seconds: float) -> None:
    """A valid number of seconds is returned unchanged."""
    assert check_seconds("deadline", seconds, most=60) == seconds


@pytest.mark.parametrize("seconds", [0, -1, 60.1, math.inf, math.nan, True, "5", None])
def test_an_invalid_number_of_seconds_raises(seconds: Any) -> None:
    """An invalid number of seconds raises, and the error names the argument."""
    with pytest.raises(ConfigurationError) as caught:
        check_seconds("deadline", seconds, most=60)

    assert caught.value.argument == "deadline"


def test_functions_come_in_a_list() -> None:
    """Any iterable of functions is accepted, an empty one too."""
    assert functions("hooks", [print, len]) == (print, len)
    assert functions("hooks", iter([print])) == (print,)
    assert functions("hooks", ()) == ()


@pytest.mark.parametrize("value", [print, None, [None], [print, "print"], "print"])
def test_an_invalid_list_of_functions_raises(value: Any) -> None:
    """A single function raises, because the list was forgotten."""
    with pytest.raises(ConfigurationError) as caught:
        functions("hooks", value)

    assert caught.value.argument == "hooks"


def test_a_principal_is_a_value() -> None:
    """Principals are compared without their claims, so that two requests of one user have equal ones."""
    made = [Principal("alice", roles=["a", "b"], scopes=("s",), claims={"n": n}, expires_at=NOW) for n in range(2)]

    assert made[0] == made[1]
    assert len(set(made)) == 1
    assert (made[0].roles, made[0].scopes, made[0].scheme) == (frozenset("ab"), frozenset("s"), None)


def test_a_principal_is_what_starlette_calls_a_user() -> None:
    """A principal has the three attributes of Starlette's ``request.user``."""
    alice = Principal("alice")

    assert (alice.is_authenticated, alice.display_name, alice.identity) == (True, "alice", "alice")


def test_a_principal_does_not_show_its_claims() -> None:
    """The repr of a principal has no claims, which may be confidential."""
    assert "s3cr3t" not in repr(Principal("alice", claims={"email": "s3cr3t"}))


@pytest.mark.parametrize("more", [{}, {"roles": {"a"}, "claims": {"n": 1}, "expires_at": NOW}])
def test_a_principal_can_be_copied_and_pickled(more: dict[str, Any]) -> None:
    """A principal can be copied and pickled, with and without claims, so that a cache may keep it."""
    alice = Principal("alice", **more)

    for twin in (copy.copy(alice), copy.deepcopy(alice), pickle.loads(pickle.dumps(alice))):
        assert (twin, dict(twin.claims)) == (alice, dict(alice.claims))


def test_a_check_can_make_a_richer_principal_with_replace() -> None:
    """``replace`` keeps every member that it is not given."""
    alice = Principal("alice", scopes={"s"}, claims={"n": 1}, expires_at=NOW, scheme="bearer")

    richer = dataclasses.replace(alice, roles=frozenset({"admin"}))

    assert richer == Principal("alice", roles={"admin"}, scopes={"s"}, expires_at=NOW, scheme="bearer")
    assert richer.claims == {"n": 1}


def test_the_guard_knows_a_principal_by_its_scheme_and_its_implied_roles() -> None:
    """The guard adds the scheme and the implied roles to a copy, and changes nothing else."""
    alice = Principal("alice", roles={"admin"}, scopes={"s"}, claims={"n": 1}, expires_at=NOW)

    seen = alice.seen_by("bearer", frozenset({"admin", "editor"}))

    assert seen == Principal("alice", roles={"admin", "editor"}, scopes={"s"}, expires_at=NOW, scheme="bearer")
    assert seen.claims == {"n": 1}
    assert (alice.scheme, alice.roles) == (None, frozenset({"admin"}))


def test_the_claims_of_a_request_are_copied_when_they_are_first_read() -> None:
    """Most requests never read them. Later reads get the same mapping, so that a change in one request stays there."""
    shared = _CountsCopies()
    seen = Principal("alice", claims={"value": shared}).seen_by("bearer", frozenset()).seen_by("basic", frozenset())

    assert shared.copies == 0
    claims = seen.claims
    assert shared.copies == 1
    assert seen.claims is claims
    assert claims["value"] is not shared


class _CountsCopies:
    """A value that counts how often it was copied."""

    copies = 0

    def __deepcopy__(self, memo: object) -> _CountsCopies:
        self.copies += 1
        return _CountsCopies()


@pytest.mark.parametrize(
    "claims",
    [
        {"list": [[1], {"a": [2]}], "text": "t", "number": 1.5, "none": None, "flag": True},
        MappingProxyType({"inner": MappingProxyType({"list": [1]})}),
        OrderedDict(set={1}, tuple=([1], 2), data=bytearray(b"x"), when=datetime(2027, 1, 15, tzinfo=UTC)),
    ],
    ids=["json", "read_only", "other"],
)
def test_the_claims_of_a_request_are_equal_and_share_nothing_that_can_change(claims: Mapping[str, Any]) -> None:
    """The copy is as deep as the claims are, and a read-only mapping becomes a dict."""
    own = Principal("alice", claims=claims).seen_by(None, frozenset()).claims

    assert own == claims
    assert not _changeable_parts(own) & _changeable_parts(claims)
    assert isinstance(own, dict)


def _changeable_parts(value: Any) -> set[int]:
    parts: set[int] = set()
    if isinstance(value, Mapping | list | tuple):
        items = value.values() if isinstance(value, Mapping) else value
        parts = parts.union(*map(_changeable_parts, items))
    return parts | ({id(value)} if isinstance(value, Mapping | list | set | bytearray) else set())


def test_a_claim_that_cannot_be_copied_raises_when_the_claims_are_read() -> None:
    """Otherwise two requests would share it. The error names its type, and quotes no claim."""
    endless: list[Any] = ["s3cr3t"]
    endless.append(endless)

    for value, problem in ((threading.Lock(), "a lock cannot be copied"), (endless, "a list contains itself")):
        seen = Principal("alice", claims={"token": "s3cr3t", "value": value}).seen_by(None, frozenset())
        with pytest.raises(
            ConfigurationError, match=f"^claims: {problem}, and each request has claims of its"
        ) as caught:
            _ = seen.claims
        assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))


def test_a_principal_of_a_request_can_be_copied_pickled_and_replaced() -> None:
    """Each way reads the claims first."""
    seen = Principal("alice", claims={"n": [1]}).seen_by("bearer", frozenset({"a"}))
    pickled, again = pickle.loads(pickle.dumps(seen)), seen.seen_by("bearer", seen.roles)

    for twin in (copy.copy(seen), copy.deepcopy(seen), pickled, dataclasses.replace(seen), again):
        assert (twin, twin.claims) == (seen, {"n": [1]})
    assert pickled.seen_by("bearer", seen.roles).claims == {"n": [1]}


def test_a_principal_has_no_other_attributes() -> None:
    """A misspelt name raises as it does for any other object."""
    principal: Any = Principal("alice").seen_by(None, frozenset())

    with pytest.raises(AttributeError, match=r"^'Principal' object has no attribute 'claim'$"):
        _ = principal.claim


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
def test_an_invalid_principal_raises(argument: str, given_: tuple[Any, ...], named: dict[str, Any]) -> None:
    """A string of roles, which would be a set of letters, and other invalid members raise and name the argument."""
    with pytest.raises(ConfigurationError) as caught:
        Principal(*given_, **named)

    assert caught.value.argument == argument


#: What many requests share, and what an app keeps: a change would let in somebody else.
FROZEN: list[object] = [Principal("a"), Rule("/", AUTHENTICATED), TOKEN_EXPIRED]
FROZEN += [AUTHENTICATED, role("a"), scopes("a"), via("a"), step_up(acr="a"), all_of(role("a")), any_of(role("a"))]


@pytest.mark.parametrize("value", FROZEN, ids=lambda value: type(value).__name__)
def test_what_requests_share_is_immutable(value: Any) -> None:
    """No principal, rule, requirement or reason can be changed, and none takes further attributes."""
    name = dataclasses.fields(value)[0].name

    with pytest.raises(AttributeError):
        setattr(value, name, getattr(value, name))
    assert not hasattr(value, "__dict__")


def test_outcomes_and_decisions_begin_empty() -> None:
    """Facts and headers of one outcome are not shared with another one."""
    instances: list[Any] = [
        Rejected(TOKEN_EXPIRED),
        Accepted(Principal("a")),
        Granted(None, AUTHENTICATED),
        Denied(TOKEN_EXPIRED),
    ]

    assert [(dict(value.facts), tuple(value.response_headers)) for value in instances] == [({}, ())] * 4
    assert (dict(Failure(TOKEN_EXPIRED).facts), Failure(TOKEN_EXPIRED).missing) == ({}, ())
    assert (Denied(TOKEN_EXPIRED).authenticated, Rejected(TOKEN_EXPIRED).authenticated) == (False, False)
    assert Rejected(TOKEN_EXPIRED).facts is not Rejected(TOKEN_EXPIRED).facts
