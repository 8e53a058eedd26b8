"""Ends an open WebSocket or response when its credentials end: they expire, or they are revoked."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import ExitStack
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup
from starlette.types import ASGIApp, Message, Receive

from authguard.concurrency.signal import Signal, make_signal
from authguard.model import Principal, Rejected
from authguard.records.record import log_failure

if TYPE_CHECKING:
    from authguard.asgi.request_context import RequestContext

#: The longest wait until the clock is read again, in seconds: somebody may set it.
LONGEST_WAIT = 60.0


class LiveConnection:
    """One request of a guard with ``end_with_credentials``, while the app handles it.

    A task watches the credentials from the moment on at which a WebSocket is accepted, or a response begins that is
    sent in parts. It does not outlive the request. When the credentials end, the app is cancelled. Then the WebSocket
    is closed; the response is not completed, so that the client sees that it was cut off.
    """

    __slots__ = ("_app_scope", "_context", "_has_ended", "_is_watched", "_signal", "_tasks")

    def __init__(self, context: RequestContext) -> None:
        self._context = context
        self._is_watched = self._has_ended = False
        self._signal: Signal
        self._tasks: TaskGroup
        self._app_scope: anyio.CancelScope

    async def run(self, app: ASGIApp, receive: Receive) -> None:
        """Run the app. Its own exception is raised unchanged."""
        failure: Exception | None = None
        async with anyio.create_task_group() as self._tasks:
            with anyio.CancelScope() as self._app_scope:
                try:
                    await app(self._context.scope, receive, self.send)
                except Exception as error:  # noqa: BLE001 - raised below, where no task group wraps it
                    failure = error
            self._tasks.cancel_scope.cancel()
        if failure is not None and not self._has_ended:
            raise failure

    def send(self, message: Message) -> Awaitable[None]:
        """The ``send`` of the app."""
        if self._has_ended:
            return _nothing()  # the last part of a response would make it look complete
        if not self._is_watched and self._context.principal is not None and _lasts(message):
            self._is_watched = True
            self._tasks.start_soon(self._watch, self._context.principal)
        return self._context.send(message)

    async def _watch(self, principal: Principal) -> None:
        guard = self._context.options.guard
        began = guard.monotonic()
        self._signal = make_signal()
        with ExitStack() as stack:
            stack.callback(guard.on_revoked(principal, self._wake))
            while True:
                # Before the credentials are looked at, so that no revocation falls in between.
                self._signal = make_signal()
                try:
                    ended = await guard.end_of(principal)
                except Exception as error:  # noqa: BLE001 - an outage must not end all connections at once
                    log_failure("to look at the credentials of an open connection", error)
                    ended = None
                if ended is not None:
                    break
                with anyio.move_on_after(min(guard.seconds_to_end(principal), LONGEST_WAIT)):
                    await self._signal.wait()
        self._end(ended, round(guard.monotonic() - began, 3))

    def _wake(self) -> None:
        """Look at the credentials now. Any thread may call it."""
        self._signal.set()

    def _end(self, ended: Rejected, open_for: float) -> None:
        context = self._context
        facts = {**ended.facts, "open_for": open_for}
        context.end(context.own_denial(ended.reason, facts))
        self._has_ended = True
        self._app_scope.cancel()


def _lasts(message: Message) -> bool:
    """Whether a message begins what may last for long: a WebSocket, or a response in parts."""
    match message["type"]:
        case "websocket.accept":
            return True
        case "http.response.start":
            return all(name.lower() != b"content-length" for name, _ in message.get("headers", ()))
        case "http.response.body":
            return bool(message.get("more_body"))
        case _:
            return False


async def _nothing() -> None:
    """Send nothing."""
