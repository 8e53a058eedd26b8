"""A plugin for pytest: before each request that a guard decides, ``explain`` explains it, and must say the same.

``python -m pytest -p tests.explain.every_request FILES``: what the tests themselves say of their requests does not
matter here, for a store that counts its calls is called twice. What disagrees is written to the file that the variable
``DISAGREEMENTS`` names, after the number of requests that were compared.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from authguard.core.guard import Guard
from authguard.explain import Explanation, explain
from authguard.middleware import AuthGuardMiddleware
from authguard.model import Decision, Granted
from tests.explain.state import state_of

_live = AuthGuardMiddleware.__call__
_record = Guard.record
#: The decisions of the guard about the request that is running, and the response.
_decided: ContextVar[list[Decision] | None] = ContextVar("decided", default=None)

#: How many requests are running, and how many have begun. Of parallel requests one may change what the other is told.
_running = _begun = 0
compared: Counter[str] = Counter()
disagreements: list[str] = []


async def _explained(self: AuthGuardMiddleware, scope: Any, receive: Any, send: Any) -> None:
    global _running, _begun  # noqa: PLW0603 - of all requests
    if scope["type"] not in {"http", "websocket"} or _decided.get() is not None or "authguard" in scope:
        await _live(self, scope, receive, send)
        return
    _begun += 1
    _running += 1
    is_alone, number = _running == 1, _begun
    try:
        if is_alone:
            await _compared(self, scope, receive, send, number)
        else:
            await _live(self, scope, receive, send)
    finally:
        _running -= 1


async def _compared(self: AuthGuardMiddleware, scope: Any, receive: Any, send: Any, number: int) -> None:
    body, receive = await _body(self, scope, receive)
    before = state_of(self.guard)
    explanation: Explanation | None = None
    try:
        explanation = await explain(self, scope, body=body or b"", run_checks=True)
        # Whatever is explained can be printed.
        str(explanation)
        json.dumps(explanation.as_json())
    except Exception as error:  # noqa: BLE001 - told at the end
        _tell(scope, f"explain raised {error!r}")
    after = state_of(self.guard)
    if before != after and number == _begun:
        changed = sorted(set(after) ^ set(before))
        _tell(scope, f"the state changed: {changed[:3]}")
    decisions: list[Decision] = []
    token = _decided.set(decisions)
    sent: list[Any] = []

    async def keep(message: Any) -> None:
        sent.append(message)
        await send(message)

    try:
        await _live(self, scope, receive, keep)
    finally:
        _decided.reset(token)
        if explanation is not None and number == _begun and body is not None:
            _compare(self, scope, explanation, decisions, sent)


async def _body(self: AuthGuardMiddleware, scope: Any, receive: Any) -> tuple[bytes | None, Any]:
    """The body of a request that a scheme reads, None if it never comes; and what reads it again."""
    if scope["type"] != "http" or not self.guard.reads_body:
        return b"", receive
    messages: list[Any] = []
    while not messages or (messages[-1]["type"] == "http.request" and messages[-1].get("more_body")):
        messages.append(await receive())
    is_whole = messages[-1]["type"] == "http.request"
    body = b"".join(message.get("body", b"") for message in messages) if is_whole else None
    waiting = list(messages)

    async def again() -> Any:
        return waiting.pop(0) if waiting else await receive()

    return body, again


def _compare(
    self: AuthGuardMiddleware, scope: Any, told: Explanation, decisions: list[Decision], sent: list[Any]
) -> None:
    # Behind a guard that lets it through, a lock may refuse the request; so may an endpoint, of which nothing is known.
    asks_locks = told.outcome == "denied" and any(step.title == "lock" for step in told.steps)
    first = None if not decisions else decisions[-1] if asks_locks else decisions[0]
    if first is None or (told.outcome == "granted" and told.answer is not None):
        return
    last_step = told.steps[-1].title if told.steps else ""
    if last_step in {"open", "preflight"}:
        return  # what is decided then, a lock has asked for
    if isinstance(first, Granted):
        compared["granted"] += 1
        if (told.outcome, told.reason) != ("granted", None):
            _tell(scope, f"granted live, and explained as {told.outcome} {told.reason}")
        return
    compared[first.reason.code] += 1
    if (told.outcome, told.reason, told.status) != ("denied", first.reason.code, first.reason.status):
        _tell(scope, f"{first.reason.code} live, and explained as {told.outcome} {told.reason} {told.status}")
        return
    failed = [step for step in told.steps if step.outcome == "failed"]
    if len(failed) != 1:
        _tell(scope, f"{first.reason.code}: {len(failed)} steps have failed: {told.steps}")
    start = next((message for message in sent if message["type"].endswith("response.start")), None)
    if start is None or told.answer is None:
        return
    live = {_constant(name.decode(), text.decode("latin-1")) for name, text in start["headers"]}
    missing = {_constant(*pair) for pair in told.answer.headers} - live  # a middleware outside may add others
    if start["status"] != told.answer.status:
        _tell(scope, f"status {start['status']} live, and explained as {told.answer.status}")
    elif missing:
        _tell(scope, f"explained are {sorted(missing)}, which are not among {sorted(live)}")


def _constant(name: str, text: str) -> str:
    """A field without what is made anew for each response."""
    return f"{name}: " + (
        "..." if name in {"retry-after", "dpop-nonce"} else re.sub(r'nonce="[^"]*"', "nonce=...", text)
    )


def _tell(scope: Any, what: str) -> None:
    test = os.environ.get("PYTEST_CURRENT_TEST", "")
    disagreements.append(f"{test}: {scope.get('method', 'WEBSOCKET')} {scope['path'][:80]!r}: {what}")


def _recorded(self: Guard, request: Any, decision: Decision, *args: Any, **options: Any) -> None:
    decisions = _decided.get()
    if decisions is not None:
        decisions.append(decision)
    _record(self, request, decision, *args, **options)


def pytest_configure() -> None:
    AuthGuardMiddleware.__call__ = _explained  # type: ignore[method-assign]
    Guard.record = _recorded  # type: ignore[method-assign]


def pytest_sessionfinish(session: pytest.Session) -> None:
    out = os.environ.get("DISAGREEMENTS")
    if out:
        Path(out).write_text(json.dumps({"compared": compared, "disagreements": disagreements}), encoding="utf-8")
