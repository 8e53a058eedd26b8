"""How a found name differs from a wanted one, and of what kind a value is: the words of a record."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from authguard.difference import _compare, difference, kind_of
from tests.support.guards import GuardedApp
from tests.support.tokens import mint


@pytest.mark.parametrize(
    ("found", "wanted", "told"),
    [
        ("https://a.example", "https://a.example/", "a slash at the end"),
        ("https://a.example/", "https://a.example", "a slash at the end"),
        ("Orders", "orders", "upper and lower case"),
        ("orders ", "orders", "white space around it"),
        ("'orders'", "orders", "quotes around it"),
        ("api://orders", "orders", "the scheme before ://"),
        ("http://a.example", "https://a.example", "the scheme before ://"),
        ("a.example", "https://a.example/", "the scheme before :// and a slash at the end"),
        ("/admins", "admins", "a slash at the beginning"),
        ("ROLE_admin", "admin", "ROLE_ before it"),
        ("", "orders", "it is empty"),
        ("billing,orders", "orders", "several names in one text"),
        ("billing orders", "orders", "several names in one text"),
        ("http://localhost:8080/realms/a", "http://keycloak:8080/realms/a", "its host"),
        ("https://a.example:8443/x", "https://a.example/x", "its port"),
        ("https://a.example/realms/one", "https://a.example/realms/two", "its path"),
        ("https://a.example/x?v=1", "https://a.example/x?v=2", "its query"),
    ],
)
def test_names_that_are_mixed_up_are_told_apart(found: str, wanted: str, told: str) -> None:
    """N04: each mistake that people make with names has words of its own."""
    assert difference(found, ["unlike", wanted]) == told


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ("orders", "orders"),
        ("orders", "billing"),
        ("https://a.example/", "https://b.example/"),
        ("https://a.example/x", "https://b.example/y"),
        ("https://[a", "https://a.example/"),
        ("orders", "https://a.example/"),
    ],
)
def test_names_that_are_nothing_alike_get_no_words(found: str, wanted: str) -> None:
    """Nothing is claimed of two names that have nothing in common."""
    assert difference(found, [wanted]) is None


@pytest.mark.parametrize(
    "found", ["http://:1/x", "http:///x", "https://@/", "http://user@:80", "http://[::1", "http://"]
)
async def test_a_url_without_a_host_is_a_name_like_any_other(found: str) -> None:
    """A client may write anything into ``iss``. A URL that cannot be taken apart is a 401 and no outage."""
    assert difference(found, ["https://login.example/"]) is None
    assert (await GuardedApp().get_with_token(mint(iss=found))).reason == "token.issuer_unknown"


def test_long_names_are_compared_by_their_beginning() -> None:
    """A stranger cannot make the comparison slow: neither long names nor many of them are read to their end."""
    assert difference("a" * 10_000, ["A" * 5_000]) == "upper and lower case"
    assert difference("A", [*(str(number) for number in range(64)), "a"]) is None


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "null"),
        (True, "true or false"),
        (5, "a number"),
        (1.5, "a number"),
        ("x", "a string"),
        ("", "an empty string"),
        ({"a": 1}, "an object"),
        ({}, "an empty object"),
        ([], "an empty list"),
        (["a", "b"], "a list of strings"),
        ((1, 2), "a list of numbers"),
        ([{"name": "admin"}], "a list of objects"),
        ([["a"]], "a list of other values"),
        (["a", 1], "a list of several kinds"),
        (MappingProxyType({"a": 1}), "a mappingproxy"),
    ],
    ids=repr,
)
def test_a_value_is_called_by_its_kind(value: Any, kind: str) -> None:
    """The words quote nothing of the value, which may be a secret."""
    assert kind_of(value) == kind


_URLS = st.builds(
    str.__add__,
    st.sampled_from(["http://", "https://", "HTTPS://", "api://", "//", ""]),
    st.text(alphabet="aB.:/@[]?#%1\\ \x00\u00e9\u212a", max_size=12),
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def test_what_may_be_a_secret_is_not_kept() -> None:
    """The realm of Digest may be a password that was typed into the wrong field."""
    before = _compare.cache_info()

    assert difference("Orders", ("orders",), keep=False) == "upper and lower case"
    assert _compare.cache_info() == before
    difference("Orders", ("orders",))
    assert _compare.cache_info() != before


@settings(deadline=None, max_examples=500)
@example("/", [""], None)
@given(st.text(max_size=12) | _URLS, st.lists(st.text(max_size=12) | _URLS, max_size=3), _JSON)
def test_nothing_that_is_found_makes_an_explanation_fail(found: str, wanted: list[str], value: Any) -> None:
    """An explanation must not change the refusal that it explains, whatever the token says."""
    assert difference(found, wanted) != ""
    assert kind_of(value).startswith(("a ", "an ", "null", "true or false"))
