"""How a store or a key source is asked: with a deadline, unless it can answer at once."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar

import anyio

from authguard.errors import BackendUnavailable
from authguard.reasons import STORE_TIMEOUT, Reason

T = TypeVar("T")


async def ask(call: Awaitable[T], deadline: float, reason: Reason = STORE_TIMEOUT) -> T:
    """The answer; ``BackendUnavailable`` with ``reason`` if it does not come within ``deadline`` seconds."""
    # Not fail_after: a TimeoutError that the store itself raises is a failure of the store and not our deadline.
    with anyio.move_on_after(deadline):
        return await call
    raise BackendUnavailable(f"no answer within {deadline:g} s", reason=reason)


def optional_method(store: object, name: str, *, beside: str) -> Any:
    """The method ``name`` of a store that has one: a faster way to the answer of its method ``beside``; else None.

    A subclass that overrides ``beside`` and inherits ``name`` has None: the inherited method knows nothing of it.
    """
    method = getattr(store, name, None)
    if not callable(method):
        return None
    classes = type(store).__mro__
    depths = [next((depth for depth, kind in enumerate(classes) if one in vars(kind)), -1) for one in (name, beside)]
    return method if depths[0] <= depths[1] else None
