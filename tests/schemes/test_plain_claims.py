"""The short ways for usual claims give what the long ways give, for any claims that JSON can hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from authguard import Failure, Moment, claim
from authguard.reasons import TOKEN_CLAIM_INVALID
from authguard.schemes.bearer import claim_mapping
from authguard.schemes.bearer.claim_mapping import ClaimPath, collect_names
from authguard.schemes.bearer.claims import ClaimRules, leeway_used
from tests.support.clock import NOW

# --- claims that keep every rule --------------------------------------------------------------------------------------

_texts = st.sampled_from(["", "orders", "bills", "alice", "ID", "id", "Refresh", "at+jwt", " ", "\0", "é"])
_wholes = st.sampled_from([0, 1, -1, 10**12, 10**12 - 1, -(10**12), 10**18, 2**63, 10**400, -(10**400)])
_fractions = st.sampled_from([-0.0, 0.5, 5e-324, 1e12 - 0.5, 1e308, float("inf"), float("-inf"), float("nan")])
_numbers: st.SearchStrategy[Any] = _wholes | _fractions | st.booleans()
_stamps = st.sampled_from([NOW, NOW - 1, NOW + 1, NOW + 0.5, NOW - 0.5, NOW + 60, NOW - 60, NOW - 61, int(NOW)])
_odd: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | _texts
    | _numbers
    | _stamps
    | st.lists(_texts | _numbers, max_size=2)
    | st.just({"a": 1})
)
_times = _stamps | _stamps | _odd
_ends = st.just(NOW + 600) | _times


@st.composite
def _claims(draw: st.DrawFn) -> dict[str, Any]:
    """Claims that are often plain, with any of them odd or missing."""
    chosen = {
        "exp": _ends,
        "nbf": _times,
        "iat": _times,
        "iss": _texts | _odd,
        "sub": _texts | _odd,
        "jti": _texts | _odd,
        "aud": st.just("orders") | _odd,
        "cnf": st.none() | _odd,
        "client_id": _texts | _odd,
        "typ": _texts | _odd,
        "token_use": _texts | _odd,
        "acr": _odd,
    }
    names = draw(st.lists(st.sampled_from([*chosen]), max_size=5, unique=True))
    return {"exp": NOW + 600, "aud": "orders"} | {name: draw(chosen[name]) for name in names}


def _no_tenant(stated: object) -> Failure | None:
    return Failure(TOKEN_CLAIM_INVALID, {"claim": "tid"})


_rules = st.builds(
    ClaimRules,
    audience=st.sampled_from([frozenset({"orders"}), frozenset({"orders"}), frozenset({"orders", "bills"}), None]),
    require_exp=st.booleans(),
    access_token=st.sampled_from([False, False, True]),
    checks_sub=st.booleans(),
    tenant=st.sampled_from([None, None, _no_tenant]),
    id_tokens=st.booleans(),
)
#: The clock of an app may say anything.
_nows = st.just(NOW) | _stamps | st.sampled_from([0.0, -1.0, 1e12, 1e15, float("inf"), float("nan"), -(1e15)])


@settings(max_examples=500, deadline=None)
@given(rules=_rules, stated=_claims(), now=_nows, leeway=st.sampled_from([0.0, 60.0, 300.0, 0.001]))
@example(ClaimRules(frozenset({"orders"}), True, False), {"exp": NOW, "aud": "orders"}, NOW, 60.0)
@example(ClaimRules(frozenset({"orders"}), True, False), {"exp": True, "aud": "orders"}, 0.5, 0.0)
@example(ClaimRules(frozenset({"orders"}), True, False), {"exp": 1e15, "aud": "orders"}, NOW, 0.0)
@example(ClaimRules(frozenset({"orders"}), True, False), {"exp": NOW + 1, "aud": ["orders"]}, NOW, 0.0)
def test_plain_claims_keep_every_rule(rules: ClaimRules, stated: dict[str, Any], now: float, leeway: float) -> None:
    """Claims that are called plain break no rule and do not need the leeway, at any time and with any leeway."""
    moment = Moment(now, leeway)
    if rules.is_plain(stated, moment):
        assert rules.failure(stated, moment) is None
        assert leeway_used(stated, moment) == {}


def test_usual_claims_are_plain() -> None:
    """The short way is for tokens as most issuers write them."""
    rules = ClaimRules(frozenset({"orders"}), require_exp=True, access_token=False)
    usual: dict[str, Any] = {"iss": "i", "sub": "alice", "aud": "orders", "exp": NOW + 600, "iat": NOW - 5, "jti": "1"}
    more: list[dict[str, Any]] = [
        {},
        {"nbf": NOW},
        {"iat": NOW},
        {"exp": NOW + 0.5},
        {"scope": "a b"},
        {"typ": "Bearer"},
    ]

    assert [rules.is_plain({**usual, **changes}, Moment(NOW, 60.0)) for changes in more] == [True] * len(more)


NOT_PLAIN: list[dict[str, Any]] = [
    {"exp": NOW},
    {"exp": None},
    {"exp": True},
    {"exp": "1"},
    {"exp": float("nan")},
    {"exp": float("inf")},
    {"exp": 10**400},
    {"nbf": NOW + 0.5},
    {"nbf": None},
    {"nbf": -(10**12)},
    {"nbf": float("-inf")},
    {"iat": NOW + 1},
    {"iat": False},
    {"iat": -(10**12)},
    {"iat": -(10**400)},
    {"iat": float("nan")},
    {"iss": None},
    {"sub": 5},
    {"jti": ["1"]},
    {"aud": "bills"},
    {"aud": None},
    {"cnf": {}},
    {"cnf": False},
    {"typ": "ID"},
    {"typ": "Refresh"},
]


@pytest.mark.parametrize("changes", NOT_PLAIN, ids=repr)
def test_claims_that_break_a_rule_or_need_the_leeway_are_not_plain(changes: dict[str, Any]) -> None:
    """Each condition of the short way is needed: without it, such claims would be accepted or the leeway not told."""
    rules = ClaimRules(frozenset({"orders"}), require_exp=True, access_token=False)
    usual: dict[str, Any] = {"iss": "i", "sub": "alice", "aud": "orders", "exp": NOW + 600, "iat": NOW - 5, "jti": "1"}
    stated, moment = {**usual, **changes}, Moment(NOW, 60.0)

    assert not rules.is_plain(stated, moment)
    assert rules.failure(stated, moment) is not None or leeway_used(stated, moment) != {}


@pytest.mark.parametrize(
    "rules",
    [
        ClaimRules(None, require_exp=True, access_token=False),
        ClaimRules(frozenset({"orders"}), require_exp=True, access_token=True),
        ClaimRules(frozenset({"orders"}), require_exp=True, access_token=False, tenant=_no_tenant),
    ],
    ids=["any audience", "access token", "tenant"],
)
def test_unusual_rules_are_asked_in_full(rules: ClaimRules) -> None:
    """No claims are plain for an issuer of any audience, of RFC 9068 or of several tenants."""
    assert not rules.is_plain({"sub": "alice", "aud": "orders", "exp": NOW + 600}, Moment(NOW, 60.0))


# --- sets of names ----------------------------------------------------------------------------------------------------


def _names_in_full(sources: Sequence[ClaimPath], stated: dict[str, Any], *, split: bool) -> frozenset[str]:
    """The union of all sources, as the documentation says it, and without any memory."""
    found: set[str] = set()
    for source in sources:
        value: Any = stated
        for name in source.path:
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, str):
            found.update(value.split(" ") if split else [value])
        elif isinstance(value, list):
            found.update(name for name in value if isinstance(name, str))
    return frozenset(name for name in found if name.strip())


# Values that are equal in Python, and not in JSON, such as 1 and True.
_names = st.sampled_from(["admin", "owner", "admin ", "ADMIN", "", " ", "\t", "1", "True", "é", "e\u0301", "x" * 600])
_members: Any = _names | st.sampled_from(
    [1, 1.0, True, 0, 0.0, False, None, [], ["admin"], {}, {"admin": 1}, float("nan"), 10**30]
)
_values = (
    st.lists(_members, max_size=6)
    | st.lists(_members, min_size=31, max_size=35)
    | st.lists(st.sampled_from(["", "read", "write", "\t", "read:all", "a\tb", "é", "x" * 300]), max_size=5).map(
        " ".join
    )
    | _members
)
_sources = st.sampled_from(
    [[claim("roles")], [claim("scope")], [claim("realm", "roles")], [claim("roles"), claim("scope")], []]
)


@settings(max_examples=250, deadline=None)
@given(sources=_sources, roles=_values, scope=_values, split=st.booleans())
def test_a_remembered_set_of_names_is_the_one_that_the_claims_have(
    sources: list[ClaimPath], roles: Any, scope: Any, split: bool
) -> None:
    """Whatever was in tokens before, the names are the distinct strings of these claims, without blank ones."""
    stated = {"roles": roles, "scope": scope, "realm": {"roles": roles}}

    for _ in range(2):
        assert collect_names(sources, stated, split=split) == _names_in_full(sources, stated, split=split)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([1, "a"], [True, "a"]),
        (["1"], [1]),
        (["True"], [True]),
        (["a", "b"], ["b", "a"]),
        (["a", "a"], ["a"]),
        (["a b"], ["a", "b"]),
        ("a b", ["a", "b"]),
        ("a b", ["a b"]),
        (["a"], "a"),
        ([], ""),
        ("a\tb", "a b"),
    ],
)
@pytest.mark.parametrize("split", [True, False])
def test_values_that_python_finds_equal_are_not_confused(first: Any, second: Any, split: bool) -> None:
    """Two claims share a set only if they have the same strings."""
    path = [claim("names")]

    for value in (first, second, first):
        stated = {"names": value}
        assert collect_names(path, stated, split=split) == _names_in_full(path, stated, split=split)


def test_the_sets_that_are_remembered_are_bounded() -> None:
    """At most 1,024 lists of up to 32 names, and as many texts of up to 512 characters, are remembered."""
    path = [claim("names")]
    for number in range(3000):
        collect_names(path, {"names": [f"role-{number}"]}, split=False)
        collect_names(path, {"names": f"scope-{number}"}, split=True)
    before = claim_mapping._cached_distinct.cache_info(), claim_mapping._cached_words.cache_info()

    long_list, long_text = [f"r{number}" for number in range(33)], " ".join(["s"] * 300)
    assert collect_names(path, {"names": long_list}, split=False) == frozenset(long_list)
    assert collect_names(path, {"names": long_text}, split=True) == {"s"}

    assert (claim_mapping._cached_distinct.cache_info(), claim_mapping._cached_words.cache_info()) == before
    assert [info.currsize for info in before] == [1024, 1024]


def test_a_set_that_is_shared_cannot_be_changed() -> None:
    """Principals of several requests share one set, which is a ``frozenset``."""
    path = [claim("names")]

    sets: Iterable[Any] = [collect_names(path, json.loads('{"names": ["a", "b"]}'), split=False) for _ in range(2)]

    first, second = sets
    assert first is second
    assert type(first) is frozenset


def test_what_a_function_gives_is_not_remembered() -> None:
    """A function for roles is called each time, and may return another set."""
    given: list[set[str]] = [{"a"}, {"b"}]
    look_up: Callable[[Any], set[str]] = lambda stated: given.pop(0)  # noqa: E731 - as an app writes it

    assert [collect_names([look_up], {}, split=False) for _ in range(2)] == [{"a"}, {"b"}]
