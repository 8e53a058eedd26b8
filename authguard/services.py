"""What the schemes of a guard need run, warmed and looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio

from authguard.errors import BackendUnavailable
from authguard.model import Clock
from authguard.schemes.base import Scheme


@asynccontextmanager
async def running(schemes: Sequence[Scheme], clock: Clock, close: Callable[[], None]) -> AsyncIterator[None]:
    """Runs the services of the schemes; ``close`` is called at the end, whatever becomes of them."""
    async with AsyncExitStack() as stack:
        stack.callback(close)
        for scheme in schemes:
            for service in scheme.services:
                await stack.enter_async_context(service.running(clock))
        yield


async def warm(schemes: Sequence[Scheme]) -> None:
    """Has every service that can (``async def warm()``) fetch now, all at once.

    Each may take its time and fail; ``BackendUnavailable`` tells all that did.
    """
    failed: list[BackendUnavailable] = []

    async def one(service: Any) -> None:
        try:
            await service.warm()
        except BackendUnavailable as error:
            failed.append(error)

    services = {id(service): service for scheme in schemes for service in scheme.services}
    async with anyio.create_task_group() as tasks:
        for service in services.values():
            if callable(getattr(service, "warm", None)):
                tasks.start_soon(one, service)
    if failed:
        told = "; ".join(str(error) for error in failed)
        waits = [error.retry_after for error in failed if error.retry_after is not None]
        raise BackendUnavailable(told, reason=failed[0].reason, retry_after=max(waits, default=None))


def health(schemes: Sequence[Scheme]) -> Mapping[str, Mapping[str, object]]:
    """By the name of each scheme what it says of itself and its services; of one that says nothing, what they say."""
    found: dict[str, Mapping[str, object]] = {}
    for scheme in schemes:
        own: Callable[[], Mapping[str, object]] | None = getattr(scheme, "health", None)
        found[scheme.name] = {"services": [each.health() for each in scheme.services]} if own is None else own()
    return found
