"""Which roles a role implies."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from authguard.errors import ConfigurationError
from authguard.model import names


def close_over(implies: Mapping[str, AbstractSet[str]]) -> dict[str, frozenset[str]]:
    """For each role all that it implies, transitively. ``ConfigurationError`` for a circle or a bare string."""
    if not isinstance(implies, Mapping):
        raise ConfigurationError("implies", 'give a mapping such as {"admin": {"editor"}}')
    names("implies", implies)
    direct = {role: names("implies", implied) for role, implied in implies.items()}
    closed: dict[str, frozenset[str]] = {}
    for role, first in direct.items():
        found: set[str] = set()
        open_ = set(first)
        while open_:
            implied = open_.pop()
            if implied == role:
                raise ConfigurationError("implies", f"{role!r} implies itself, by way of others")
            if implied not in found:
                found.add(implied)
                open_ |= direct.get(implied, frozenset())
        closed[role] = frozenset(found)
    return closed
