"""A plugin for pytest: the decisions of each request go to a file, and the same guard must judge them the same again.

``python -m pytest -p tests.explain.every_replay FILES``: what disagrees is written to the file that the variable
``DISAGREEMENTS`` names, after the number of requests that were judged again, by their outcome.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections import Counter
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from authguard.explain.replay import lines_of, replay
from authguard.middleware import AuthGuardMiddleware
from authguard.records import DecisionFile

_live = AuthGuardMiddleware.__call__
_is_inside: ContextVar[bool] = ContextVar("inside", default=False)
judged: Counter[str] = Counter()
untold: Counter[str] = Counter()
disagreements: list[str] = []


async def _replayed(self: AuthGuardMiddleware, scope: Any, receive: Any, send: Any) -> None:
    recorder = self.guard._recorder
    is_own = any(isinstance(hook, DecisionFile) for hook in recorder.hooks)
    if scope["type"] not in {"http", "websocket"} or _is_inside.get() or is_own or self.guard.test_override:
        await _live(self, scope, receive, send)
        return
    token = _is_inside.set(True)
    hooks = recorder.hooks
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "decisions.jsonl"
        recorder.hooks = (*hooks, DecisionFile(path))
        try:
            await _live(self, scope, receive, send)
        finally:
            recorder.hooks = hooks
            _is_inside.reset(token)
            if path.exists():
                _judge(self, path.read_bytes())


def _judge(app: AuthGuardMiddleware, written: bytes) -> None:
    found = replay(app, app.guard, lines_of("decisions", io.BytesIO(written)))
    for line in lines_of("decisions", io.BytesIO(written)):
        judged["granted" if line.granted else str(line.reason)] += 1
    untold.update(+found.untold)
    if found.is_changed:
        disagreements.append(f"{os.environ['PYTEST_CURRENT_TEST']}: {found.groups} for {written.decode()}")


@pytest.hookimpl
def pytest_configure() -> None:
    """Judge each request of the session again."""
    AuthGuardMiddleware.__call__ = _replayed  # type: ignore[method-assign]


@pytest.hookimpl
def pytest_unconfigure() -> None:
    """Write down what was found."""
    AuthGuardMiddleware.__call__ = _live  # type: ignore[method-assign]
    found = {"judged": judged, "untold": untold, "disagreements": disagreements}
    Path(os.environ["DISAGREEMENTS"]).write_text(json.dumps(found), encoding="utf-8")
