"""How to call a store or a key source: with a deadline, or through its faster method if it has one."""

from __future__ import annotations

from collections.abc import Awaitable
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
    raise BackendUnavailable(f"no answer within {deadline:g} s", reason=reason)


def optional_method(store: object, name: str, *, beside: str) -> Any:
    """The optional method ``name`` of a store, a faster way to the answer of its method ``beside``; None without it.

    None too for a subclass that overrides ``beside`` and inherits ``name``: the inherited method would bypass the new
    one. Raises ``ConfigurationError`` for one that is async.
    """
    method = getattr(store, name, None)
    if not callable(method):
        return None
    if iscoroutinefunction(method):
        raise ConfigurationError(name, f"{shown(method)} must not be async: {beside} is called if it has to wait")
    classes = type(store).__mro__
    # The lower the depth, the more derived the class that defines the method; -1 is the instance itself.
    depths = [
        next((depth for depth, kind in enumerate(classes) if attribute in vars(kind)), -1)
        for attribute in (name, beside)
    ]
    return method if depths[0] <= depths[1] else None
