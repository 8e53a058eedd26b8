"""How to call a store or a key source: with a deadline, or through its faster method if it has one."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from inspect import iscoroutinefunction
from typing import Any, TypeVar

import anyio

from authguard.app_code import shown
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.reasons import STORE_TIMEOUT, Reason

T = TypeVar("T")


async def ask(call: Awaitable[T], deadline: float, reason: Reason = STORE_TIMEOUT) -> T:
    """The answer of ``call``. Raises ``BackendUnavailable`` with ``reason`` after ``deadline`` seconds."""
    # Not fail_after: a TimeoutError that the store itself raises is a failure of the store and not our deadline.
    with anyio.move_on_after(deadline):
        return await call
    whose = f"{getattr(call, '__qualname__', type(call).__name__)}: " if reason is STORE_TIMEOUT else ""
    raise BackendUnavailable(f"{whose}no answer within {deadline:g} s", reason=reason)


def optional_method(store: object, name: str, *, beside: str) -> Any:
    """The optional method ``name`` of a store, a faster way to the answer of its method ``beside``; None without it.

    None too if ``is_overtaken``: it would bypass the method of the subclass or of the wrapper. Raises
    ``ConfigurationError`` for one that is async.
    """
    method = getattr(store, name, None)
    if not callable(method):
        return None
    if iscoroutinefunction(method):
        raise ConfigurationError(name, f"{shown(method)} must not be async: {beside} is called if it has to wait")
    return None if is_overtaken(store, name, by=beside) else method


def is_overtaken(thing: object, name: str, *, by: str) -> bool:
    """Whether the attribute ``by`` is newer than ``name``, which was written for an older one.

    So it is in a subclass that overrides ``by`` and inherits ``name``, and in a wrapper that has its own ``by`` and
    takes all other attributes from the wrapped object, by ``__getattr__``.
    """
    return _depth(thing, name) > _depth(thing, by)


def _depth(thing: object, name: str) -> int:
    """How far away the attribute is defined: -1 in the object, 0 in its class, then its bases, then what it wraps."""
    classes = type(thing).__mro__
    depth = next((depth for depth, kind in enumerate(classes) if name in vars(kind)), len(classes))
    try:
        own: Mapping[str, object] = object.__getattribute__(thing, "__dict__")
    except AttributeError:  # it has slots
        return depth
    return -1 if name in own else depth
