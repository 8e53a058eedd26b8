"""``role_hierarchy``: which roles a role includes."""

from __future__ import annotations

from typing import Any

import pytest

from authguard.errors import ConfigurationError
from authguard.policy.requirements import expand_role_hierarchy


def test_implication_is_transitive() -> None:
    """A role includes all roles below it, at any depth and by any path."""
    closed = expand_role_hierarchy(
        {"root": {"admin", "ops"}, "admin": {"editor"}, "editor": {"reader"}, "ops": {"reader"}}
    )

    assert closed == {
        "root": {"admin", "ops", "editor", "reader"},
        "admin": {"editor", "reader"},
        "editor": {"reader"},
        "ops": {"reader"},
    }


def test_a_role_may_imply_nothing() -> None:
    """A role with an empty set of implied roles is accepted."""
    assert expand_role_hierarchy({"a": frozenset()}) == {"a": frozenset()}


CIRCLES: list[dict[str, set[str]]] = [{"a": {"a"}}, {"a": {"b"}, "b": {"a"}}, {"a": {"b"}, "b": {"c", "d"}, "d": {"b"}}]


@pytest.mark.parametrize("role_hierarchy", CIRCLES)
def test_a_circle_raises(role_hierarchy: dict[str, set[str]]) -> None:
    """A circle of roles raises, even if other roles are outside of it."""
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
def test_an_invalid_set_of_roles_raises(role_hierarchy: Any) -> None:
    """A single string, which would be a set of letters, and a blank role raise."""
    with pytest.raises(ConfigurationError) as caught:
        expand_role_hierarchy(role_hierarchy)

    assert caught.value.argument == "role_hierarchy"
