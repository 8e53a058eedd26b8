"""How a port is asked: with a deadline."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import anyio

from authguard.errors import BackendUnavailable
from authguard.reasons import STORE_TIMEOUT, Reason

T = TypeVar("T")


async def ask(call: Awaitable[T], deadline: float, reason: Reason = STORE_TIMEOUT) -> T:
    """What the port answers; ``BackendUnavailable`` with ``reason`` after ``deadline`` seconds."""
    # Not fail_after: a TimeoutError of the port's own is another story, and must not be told as ours.
    with anyio.move_on_after(deadline):
        return await call
    raise BackendUnavailable(f"no answer within {deadline:g} s", reason=reason)
