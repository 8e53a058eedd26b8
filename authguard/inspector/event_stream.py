"""The server-sent events of one open page: decisions as they happen, and the state of the guard.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Any

import anyio
from starlette.types import Receive, Scope, Send

from authguard.errors import BackendUnavailable
from authguard.inspector.decision_log import MAX_DECISIONS, DecisionLog
from authguard.inspector.filters import DecisionFilter
from authguard.inspector.shared_decisions import SharedDecisions, cursor_of, joined_state, short_name
from authguard.inspector.views import decision_view

#: The seconds between two looks at the decisions, and how many of these one response takes. Then the page asks again:
#: so the guard decides anew whether it may, and a server that ends does not wait for pages that are open.
TICK, TICKS = 0.5, 40
#: After so many seconds a response takes no look any more, however slowly it was read: otherwise somebody who is no
#: longer let in could go on with a response that is open.
MOST_SECONDS = 30.0
#: The state is sent with every fourth look.
STATE_EVERY = 4
#: How many decisions one look sends. Of more, only the newest are sent, and the page says how many it was not sent.
MOST_AT_ONCE = 50
#: After so many milliseconds the page asks again.
RETRY = 250


class EventStream:
    """An ASGI app for one request. It has no queue: each look at the log sends what is new, and waits until that is
    sent, so that a slow page costs no memory.

    ``after`` is the id of the last event that the page has: where it is in the decisions that processes share, before
    a slash, and the process and the number of its last decision. ``hello`` and ``state`` make the events of these
    names. With ``shared``, the page shows the decisions of all processes, and those of this one while Redis is away.
    """

    def __init__(
        self,
        log: DecisionLog,
        wanted: DecisionFilter,
        after: str,
        headers: list[tuple[bytes, bytes]],
        hello: Callable[[], dict[str, Any]],
        state: Callable[[], dict[str, Any]],
        shared: SharedDecisions | None = None,
    ) -> None:
        self._log, self._wanted = log, wanted
        self._shared, self._cursor = shared, cursor_of(after)
        self._after = _number_of(after, log.worker.id)
        self._headers = headers
        self._hello, self._state = hello, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the page goes away, for ``TICKS`` looks and ``MOST_SECONDS`` at most."""
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
        with suppress(OSError):  # the page has gone away
            await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": [*headers, *self._headers]})
            if scope["method"] != "HEAD":
                await self._send_events(receive, send)
            await send({"type": "http.response.body", "body": b""})

    async def _send_events(self, receive: Receive, send: Send) -> None:
        async def wait_for_the_end() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait_for_the_end)
            try:
                # Closed here, whatever ends it, so that the page is no viewer any more.
                async with aclosing(self._events()) as events:
                    async for event in events:
                        await send({"type": "http.response.body", "body": event, "more_body": True})
            except Exception as error:  # noqa: BLE001 - raised below: a task group would wrap it
                failure = error
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _events(self) -> AsyncGenerator[bytes, None]:
        log = self._log
        end = log.monotonic() + MOST_SECONDS
        yield b"retry: %d\n\n" % RETRY
        yield event_bytes("hello", self._hello())
        with log.viewing(with_grants=self._wanted.grants) as viewer:
            for tick in range(TICKS):
                if viewer.displaced:
                    yield event_bytes("displaced", {})
                    return
                if log.monotonic() >= end:
                    return
                if tick % STATE_EVERY == 0:
                    yield event_bytes("state", await self._joined_state())
                while log.monotonic() < end and (batch := await self._batch(is_first=tick == 0)):
                    if batch["decisions"]:
                        yield event_bytes("decisions", batch, self._event_id())
                    await anyio.lowlevel.checkpoint()
                    if not batch["more"]:
                        break
                await anyio.sleep(TICK)

    def _event_id(self) -> str:
        own = f"{self._log.worker.id}:{self._after}"
        return own if self._shared is None else f"{self._cursor}/{own}"

    async def _joined_state(self) -> dict[str, Any]:
        """The state of the guard, with that of the other processes."""
        state = self._state()
        if self._shared is None:
            return state
        self._shared.start()
        own = self._log.worker.id
        with suppress(BackendUnavailable):
            await self._shared.publish()
            processes = await self._shared.processes()
            joined = joined_state(state, processes, own, self._wanted.process)
            return {**joined, "away": False, "dropped": self._shared.dropped}
        return {**joined_state(state, [], own, self._wanted.process), "away": True, "dropped": self._shared.dropped}

    async def _batch(self, *, is_first: bool) -> dict[str, Any] | None:
        """The next decisions of all processes, or those of this one if they share nothing or Redis is away."""
        if self._shared is None:
            return self._next_batch(is_first=is_first)
        try:
            found, self._cursor, more = await self._shared.read(self._cursor, with_grants=self._wanted.grants)
        except BackendUnavailable:
            return self._batch_of_own(is_first=is_first)
        own = self._log.worker.id
        self._after = max([self._after, *(one.view["n"] for one in found if one.process == own)])
        process = self._wanted.process
        views = [one.view for one in found if process in {"", one.process} and self._wanted.matches(one.record)]
        return {"decisions": views, "skipped": 0, "more": more}

    def _batch_of_own(self, *, is_first: bool) -> dict[str, Any] | None:
        own = self._log.worker.id
        batch = self._next_batch(is_first=is_first) if self._wanted.process in {"", own} else None
        if batch is not None:
            named = {"worker": own, "process": short_name(own)}
            batch["decisions"] = [{**view, **named} for view in batch["decisions"]]
        return batch

    def _next_batch(self, *, is_first: bool) -> dict[str, Any] | None:
        """The next decisions that the page asks for; None if there are none.

        At first it gets the last ``MAX_DECISIONS`` that are kept, in several batches. Later it gets the newest of those
        that came since.
        """
        log = self._log
        new = log.since(max(self._after, 0), with_grants=self._wanted.grants)
        wanted = [decision for decision in new if self._wanted.matches(decision.record)][-MAX_DECISIONS:]
        if not wanted:
            self._after = new[-1].number if new else self._after
            return None
        sent = wanted[:MOST_AT_ONCE] if is_first else wanted[-MOST_AT_ONCE:]
        more = is_first and len(wanted) > len(sent)
        self._after = sent[-1].number if more else new[-1].number
        skipped = 0 if is_first else len(wanted) - len(sent)
        return {"decisions": [decision_view(decision) for decision in sent], "skipped": skipped, "more": more}


def event_bytes(name: str, content: dict[str, Any], event_id: str = "") -> bytes:
    """One event. Its JSON is ASCII and of one line, so nothing in it can end the event."""
    id_line = f"id: {event_id}\n" if event_id else ""
    return f"event: {name}\n{id_line}data: {json.dumps(content, separators=(',', ':'))}\n\n".encode("ascii")


def _number_of(event_id: str, worker: str) -> int:
    """The number of the last decision that the page has from this process; 0 if it has none."""
    of_worker, _, number = event_id.rpartition("/")[2].rpartition(":")
    is_number = number.isascii() and number.isdecimal() and len(number) <= 15
    return int(number) if of_worker == worker and is_number else 0
