"""implies: which roles a role brings with it."""

from __future__ import annotations

from typing import Any

import pytest

from authguard.errors import ConfigurationError
from authguard.policy.requirements import expand_role_hierarchy


def test_implication_is_transitive() -> None:
    """Each role has all that is below it, by however many steps and ways."""
    closed = expand_role_hierarchy(
        {"root": {"admin", "ops"}, "admin": {"editor"}, "editor": {"reader"}, "ops": {"reader"}}
    )

    assert closed == {
        "root": {"admin", "ops", "editor", "reader"},
        "admin": {"editor", "reader"},
        "editor": {"reader"},
        "ops": {"reader"},
    }


def test_a_role_that_implies_nothing_may_be_said() -> None:
    """An empty set is no mistake."""
    assert expand_role_hierarchy({"a": frozenset()}) == {"a": frozenset()}


CIRCLES: list[dict[str, set[str]]] = [{"a": {"a"}}, {"a": {"b"}, "b": {"a"}}, {"a": {"b"}, "b": {"c", "d"}, "d": {"b"}}]


@pytest.mark.parametrize("role_hierarchy", CIRCLES)
def test_a_circle_is_refused(role_hierarchy: dict[str, set[str]]) -> None:
    """Also one that not every role is in."""
    with pytest.raises(ConfigurationError, match=r"role_hierarchy: .* implies itself"):
        expand_role_hierarchy(role_hierarchy)


MISTAKES: list[Any] = [
    [("a", {"b"})],
    "a",
    {"a"},
    {"a": "editor"},
    {"a": {""}},
    {"a": {None}},
    {"": {"a"}},
    {" ": {"a"}},
]


@pytest.mark.parametrize("role_hierarchy", MISTAKES)
def test_what_is_no_set_of_roles_is_refused(role_hierarchy: Any) -> None:
    """A bare string would be a set of letters; a blank role is nobody's."""
    with pytest.raises(ConfigurationError) as caught:
        expand_role_hierarchy(role_hierarchy)

    assert caught.value.argument == "role_hierarchy"
