"""Checks of arguments. Each returns the value, or raises ``ConfigurationError`` that names the argument."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from authguard.errors import ConfigurationError

T = TypeVar("T")

_MAX_LEEWAY = 300.0

#: The shortest secret in bytes: as long as SHA-256, which it keys (RFC 2104 section 3).
MIN_SECRET = 32
#: The fix of a secret that is missing or too short.
MAKE_SECRET = "`authguard secret` makes one for the environment of the app"


def check_leeway(leeway: float) -> float:
    """A finite number of 0 to 300 seconds, as a float."""
    if not _is_number(leeway) or not 0 <= leeway <= _MAX_LEEWAY:
        raise ConfigurationError("leeway", f"{leeway!r} is not a number of seconds from 0 to {_MAX_LEEWAY:.0f}")
    return float(leeway)


def check_seconds(argument: str, value: float, *, most: float, may_be_zero: bool = False) -> float:
    """A number of seconds above 0, or of 0 too, and at most ``most``."""
    if not _is_number(value) or not 0 <= value <= most or (value == 0 and not may_be_zero):
        least = "from 0" if may_be_zero else "above 0 and"
        raise ConfigurationError(argument, f"{value!r} is not a number of seconds {least} up to {most:g}")
    return value


def check_int(argument: str, value: int, *, least: int, most: int, unit: str = "") -> int:
    """A whole number from ``least`` to ``most``. ``unit``, such as ``"bytes"``, is for the message."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        of_unit = f" of {unit}" if unit else ""
        raise ConfigurationError(argument, f"{value!r} is not a whole number{of_unit} from {least} to {most}")
    return value


def check_flag(argument: str, value: bool) -> bool:
    """True or False, and nothing that only counts as one of them."""
    if not isinstance(value, bool):
        raise ConfigurationError(argument, f"{value!r} is neither True nor False")
    return value


def check_secret(secret: str | bytes) -> bytes:
    """A secret of at least ``MIN_SECRET`` bytes, as bytes."""
    # Python reads bytes of the environment that are not UTF-8 as lone surrogates. The codec's error would quote the
    # secret.
    encoded = secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret
    if not isinstance(encoded, bytes) or len(encoded) < MIN_SECRET:
        raise ConfigurationError("secret", f"give at least {MIN_SECRET} bytes that nobody can guess; {MAKE_SECRET}")
    return encoded


def names(argument: str, value: Iterable[str]) -> frozenset[str]:
    """A set of names. A bare string is refused, because it would be a set of letters; so is a blank name."""
    if isinstance(value, str):
        raise ConfigurationError(argument, f"{value!r} is one string; write {{{value!r}}} for a set of one")
    if isinstance(value, bytes) or not isinstance(value, Iterable):
        raise ConfigurationError(argument, f"a {type(value).__name__} is not a set of names")
    found = tuple(value)
    for name in found:
        if not isinstance(name, str) or not name.strip():
            raise ConfigurationError(argument, f"{name!r} is not a name; give non-empty strings")
    return frozenset(found)


def functions(argument: str, value: Iterable[T]) -> tuple[T, ...]:
    """A tuple of what can be called."""
    found = tuple(value) if isinstance(value, Iterable) else None
    if found is None or not all(map(callable, found)):
        raise ConfigurationError(argument, "give functions, in a list if there may be several")
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
