"""Checks of arguments: each returns the value, or raises ``ConfigurationError`` that names the argument."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from authguard.errors import ConfigurationError

T = TypeVar("T")

_MAX_LEEWAY = 300.0


def check_leeway(leeway: float) -> float:
    """The leeway as a float; ``ConfigurationError`` unless it is a finite number of 0 to 300 seconds."""
    if isinstance(leeway, bool) or not isinstance(leeway, int | float) or not 0 <= leeway <= _MAX_LEEWAY:
        raise ConfigurationError("leeway", f"{leeway!r} is no number of seconds from 0 to {_MAX_LEEWAY:.0f}")
    return float(leeway)


def names(argument: str, value: Iterable[str]) -> frozenset[str]:
    """The names as a set; ``ConfigurationError`` for a bare string or a blank name, which would never be meant."""
    if isinstance(value, str):
        raise ConfigurationError(argument, f"{value!r} is one string; write {{{value!r}}} for a set of one")
    if isinstance(value, bytes) or not isinstance(value, Iterable):
        raise ConfigurationError(argument, f"a {type(value).__name__} is no set of names")
    found = tuple(value)
    for name in found:
        if not isinstance(name, str) or not name.strip():
            raise ConfigurationError(argument, f"{name!r} is no name; give non-empty strings")
    return frozenset(found)


def functions(argument: str, value: Iterable[T]) -> tuple[T, ...]:
    """The functions as a tuple; ``ConfigurationError`` for what cannot be called."""
    found = tuple(value) if isinstance(value, Iterable) else None
    if found is None or not all(map(callable, found)):
        raise ConfigurationError(argument, "give functions, in a list where there may be several")
    return found


def check_seconds(argument: str, value: float, *, most: float) -> float:
    """The number of seconds; ``ConfigurationError`` unless it is above 0 and at most ``most``."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
        raise ConfigurationError(argument, f"{value!r} is no number of seconds above 0, up to {most:g}")
    return value
