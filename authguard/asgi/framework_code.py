"""Whose code does what an app is asked: only of the framework's own is known what comes of it."""

from __future__ import annotations

_KNOWN = frozenset({"fastapi", "starlette"})


def is_framework_method(thing: object, *names: str) -> bool:
    """Whether these methods are the framework's own, neither overridden by a class nor put on the object.

    What is said of a class holds where somebody has replaced a method of it, as tracing does to all apps alike.
    """
    mine = getattr(thing, "__dict__", {})
    return not any(name in mine for name in names) and all(
        maker is None or is_framework_code(maker) for maker in (_maker(type(thing), name) for name in names)
    )


def is_framework_code(made: object) -> bool:
    """Whether a class or a function is the framework's."""
    return str(getattr(made, "__module__", "")).partition(".")[0] in _KNOWN


def is_guard(made_by: object) -> bool:
    """Whether it is our middleware, and still does what that does: a subclass may do anything."""
    maker = _maker(made_by, "__call__") if isinstance(made_by, type) else None
    return getattr(made_by, "is_authguard", False) is True and "is_authguard" in vars(maker or object)


def _maker(kind: type, name: str) -> type | None:
    """The class that the method comes from."""
    return next((one for one in kind.__mro__ if name in vars(one)), None)
