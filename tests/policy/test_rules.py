"""One rule: what it accepts, what raises, and how it is shown."""

from __future__ import annotations

from typing import Any

import pytest

from authguard.errors import ConfigurationError
from authguard.policy.requirements import PUBLIC, role
from authguard.policy.rules import Rule


def test_a_rule_is_a_value() -> None:
    """Rules with the same arguments are equal, and methods become a set."""
    made = [Rule("/a/{id}", role("x"), methods=given) for given in (["GET", "PUT"], {"PUT", "GET"}, ("PUT", "GET"))]

    assert len(set(made)) == 1
    assert made[0].methods == frozenset({"GET", "PUT"})
    assert made[0] != Rule("/a/{id}", role("x"))


def test_a_rule_explains_itself() -> None:
    """The text of a rule is its methods, its pattern and its requirement."""
    assert str(Rule("/a", role("x"), methods={"PUT", "GET"})) == "GET PUT /a role(x)"
    assert str(Rule("/health", PUBLIC)) == "/health PUBLIC"


@pytest.mark.parametrize("method", ["GET", "WEBSOCKET", "PROPFIND", "M-SEARCH", "PURGE"])
def test_a_rule_names_a_known_method(method: str) -> None:
    """9110 section 16.1: a rule names a registered method, or one that caches and devices are known to use."""
    assert Rule("/a", PUBLIC, methods={method}).methods == frozenset({method})


LEFT_OUT = "leave methods out: such a rule covers every method that no other one names"


@pytest.mark.parametrize(
    ("method", "fix"),
    [
        ("DELET", "write 'DELETE'"),
        ("GTE", "write 'GET'"),
        ("WS", "write 'WEBSOCKET'"),
        ("WEBSOCKETS", "write 'WEBSOCKET'"),
        ("ALL", LEFT_OUT),
        ("*", LEFT_OUT),
        ("BREW", LEFT_OUT),
    ],
)
def test_an_unknown_method_raises(method: str, fix: str) -> None:
    """N02: no request falls under a method that is misspelled, so the rule would close or open nothing."""
    with pytest.raises(ConfigurationError) as caught:
        Rule("/a", PUBLIC, methods={method})

    assert str(caught.value) == f"methods: {method!r} is not a registered method; {fix}"


@pytest.mark.parametrize("methods", ["GET", [], ["get"], ["Get"], ["GE T"], ["GET\n"], [""], [None], ["HEAD"], ["ÄÖ"]])
def test_invalid_methods_raise(methods: Any) -> None:
    """9110-11: lower case, HEAD, a single string and no methods raise, because HEAD has the rule of GET."""
    with pytest.raises(ConfigurationError) as caught:
        Rule("/a", PUBLIC, methods=methods)

    assert caught.value.argument == "methods"


@pytest.mark.parametrize("requirement", ["admin", None, [role("a")], role])
def test_a_rule_takes_a_requirement(requirement: Any) -> None:
    """A role's name alone is none."""
    with pytest.raises(ConfigurationError) as caught:
        Rule("/a", requirement)

    assert caught.value.argument == "requirement"
