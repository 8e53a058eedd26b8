"""Claim paths, and the names of roles and scopes that are read from claims."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from authguard import ConfigurationError, claim
from authguard.errors import WrongAnswer
from authguard.schemes.bearer import claim_mapping
from authguard.schemes.bearer.claim_mapping import ClaimPath, Source, check_sources, collect_names

NESTED: dict[str, Any] = {
    "sub": "alice",
    "realm_access": {"roles": ["admin"]},
    "https://x.example/roles": ["editor"],
    "a.b": "dotted",
    "a": {"b": "nested"},
    "list": [{"b": 1}],
    "null": None,
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("sub",), "alice"),
        (("realm_access", "roles"), ["admin"]),
        (("https://x.example/roles",), ["editor"]),
        (("a.b",), "dotted"),
        (("a", "b"), "nested"),
        (("nobody",), None),
        (("nobody", "roles"), None),
        (("sub", "roles"), None),
        (("list", "b"), None),
        (("list", "0"), None),
        (("null", "b"), None),
    ],
)
def test_a_claim_is_found_by_its_whole_names(path: tuple[str, ...], value: object) -> None:
    """A path is followed name by name, from the outside in. A dot belongs to a name, and a missing claim is None."""
    assert claim(*path).get(NESTED) == value


def test_a_claim_shows_itself_as_it_is_written() -> None:
    """The repr of a claim path is the call that makes it."""
    assert str(claim("realm_access", "roles")) == "claim('realm_access', 'roles')"
    assert claim("a") == ClaimPath(("a",))


@pytest.mark.parametrize("path", [(), ("",), ("a", ""), (5,), (None,), (["a"],)])
def test_a_claim_has_a_name(path: Any) -> None:
    """A claim path without a name raises, because it would mean the whole token."""
    with pytest.raises(ConfigurationError, match=r"^claim: .* is not a path of names"):
        claim(*path)


# --- roles and scopes -------------------------------------------------------------------------------------------------


def test_a_source_is_a_claim_or_a_function_or_several() -> None:
    """A source may be a claim path, a function, or a list of them."""
    of_app = lambda said: {"x"}  # noqa: E731

    assert check_sources("roles", claim("roles")) == (claim("roles"),)
    assert check_sources("roles", of_app) == (of_app,)
    assert check_sources("roles", [claim("roles"), of_app]) == (claim("roles"), of_app)
    assert check_sources("roles", ()) == ()


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("roles", 'claim("roles")'),
        ("realm_access.roles", 'claim("realm_access", "roles")'),
        (["realm_access.roles"], 'claim("realm_access", "roles")'),
        ("https://shop.example/roles", 'claim("https://shop.example/roles")'),
        (5, "claim(...)"),
    ],
)
def test_a_path_in_a_string_raises_with_the_claim_to_write(given: Any, written: str) -> None:
    """A string with a dot raises, and the error shows the ``claim(...)`` to write, except for a namespaced claim."""
    with pytest.raises(ConfigurationError, match=f" is not a source; write {re.escape(written)} or a function$"):
        check_sources("roles", given)


@pytest.mark.parametrize("given", ["roles", ["roles"], [claim("roles"), "roles"], [None], [5]])
def test_a_bare_string_is_no_source(given: Any) -> None:
    """A bare string raises, and the error shows how to write it."""
    with pytest.raises(ConfigurationError, match=r"^roles: .* is not a source; write claim\("):
        check_sources("roles", given)


@pytest.mark.parametrize("given", [None, 5])
def test_sources_of_a_wrong_type_raise(given: Any) -> None:
    """Sources of a wrong type raise, and the error names the argument."""
    with pytest.raises(ConfigurationError, match=r"^roles: "):
        check_sources("roles", given)


@pytest.mark.parametrize(
    ("value", "roles", "scopes"),
    [
        (["read", "write"], {"read", "write"}, {"read", "write"}),
        ("read write", {"read write"}, {"read", "write"}),
        ("read  write ", {"read  write "}, {"read", "write"}),
        ("read\twrite\nx\u00a0y", {"read\twrite\nx\u00a0y"}, {"read\twrite\nx\u00a0y"}),
        ("read,write", {"read,write"}, {"read,write"}),
        (["read write"], {"read write"}, {"read write"}),
        (["read", 5, None, ["x"], "", " "], {"read"}, {"read"}),
        ("", set(), set()),
        ("  ", set(), set()),
        ([], set(), set()),
        (5, set(), set()),
        (True, set(), set()),
        (None, set(), set()),
        ({"read": True}, set(), set()),
    ],
)
def test_names_are_collected(value: Any, roles: set[str], scopes: set[str]) -> None:
    """A scope string is split at spaces only (RFC 6749 section 3.3). A value of a wrong type gives no names."""
    assert collect_names([claim("x")], {"x": value}, split=False) == roles
    assert collect_names([claim("x")], {"x": value}, split=True) == scopes


def test_several_sources_are_one_union() -> None:
    """The names of several sources are one set. A missing claim adds nothing."""

    def of_groups(said: Mapping[str, Any]) -> set[str]:
        return {f"group:{name}" for name in said["groups"]}

    said = {"roles": "admin", "realm": {"roles": ["editor", "admin"]}, "groups": ["a", "b"]}
    sources: list[Source] = [claim("roles"), claim("realm", "roles"), of_groups, claim("nobody")]

    assert collect_names(sources, said, split=False) == {"admin", "editor", "group:a", "group:b"}
    assert collect_names([], said, split=True) == frozenset()


def test_a_function_that_returns_one_string_raises() -> None:
    """A function that returns one string raises, because the string would become a set of letters."""
    with pytest.raises(TypeError, match="returned one string; return a set"):
        collect_names([lambda said: said["role"]], {"role": "admin"}, split=False)


@pytest.mark.parametrize("given", ["admin", 5, None, [5]])
def test_the_function_is_named_that_returns_the_wrong_thing(given: Any) -> None:
    """The record of such a request shows the name of the function, with file and line, and no value."""

    def of_groups(said: Mapping[str, Any]) -> Any:
        return given

    with pytest.raises(WrongAnswer, match=r"^of_groups \(\S*test_names\.py:\d+\) returned ") as caught:
        collect_names([of_groups], {}, split=False)

    assert "admin" not in caught.value.problem


def test_sets_of_many_or_long_names_are_not_remembered() -> None:
    """A set is remembered if it is small, so that what an issuer writes into its tokens takes little memory."""
    before = claim_mapping._cached_distinct.cache_info().currsize
    for names in (["r" * 600], [f"role-{number}" for number in range(40)], ["r" * 30] * 20):
        assert collect_names([claim("x")], {"x": names}, split=False) == set(names)
    large = claim_mapping._cached_distinct.cache_info().currsize
    collect_names([claim("x")], {"x": ["a small set of this test"]}, split=False)

    assert (large - before, claim_mapping._cached_distinct.cache_info().currsize - large) == (0, 1)


@pytest.mark.parametrize("given", [["admin", None], [5], [["admin"]], [b"admin"], None, 5])
def test_a_function_that_returns_no_strings_raises(given: Any) -> None:
    """A function that returns other values than strings raises: a token may be wrong, the app's function may not."""
    with pytest.raises(TypeError):
        collect_names([lambda _: given], {}, split=False)
