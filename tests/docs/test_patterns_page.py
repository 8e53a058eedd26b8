"""The page about patterns in refusals is true: its guard logs the line that it shows, and its figures are right."""

from __future__ import annotations

from typing import Any

import pytest

from authguard import Account, AuthGuardMiddleware, Basic, Guard, MemoryUsers
from authguard.records import pattern_warnings
from authguard.records.patterns import MIN_BURST
from authguard.testing import ManualClock, basic_auth
from tests.support.asgi import RecordingApp, http_scope, run_app
from tests.support.markdown import DOCS, code_block
from tests.support.schemes.basic import SpyHasher

PAGE = "guide/patterns.md"


@pytest.mark.block("guide/patterns.md", "pattern_warnings=True")
@pytest.mark.block("guide/patterns.md", "pattern spraying:")
async def test_the_guard_of_the_page_logs_its_line(caplog: pytest.LogCaptureFixture) -> None:
    """Twenty names that one client tries, one each second, make the line."""
    clock = ManualClock()
    users = MemoryUsers([Account("alice", "$fast$wonderland")], hasher=SpyHasher())
    names: dict[str, Any] = {"schemes": [Basic(users, realm="shop", throttle=None)]}
    code = code_block(PAGE, "pattern_warnings=True").replace("True)", "True, monotonic=monotonic, log=False)")
    names["monotonic"] = clock
    exec(compile(code, PAGE, "exec", dont_inherit=True), names)
    guard = names["guard"]
    assert isinstance(guard, Guard)
    app = AuthGuardMiddleware(RecordingApp(), guard=guard)

    for number in range(20):
        headers = [(name.lower().encode(), value.encode()) for name, value in basic_auth(f"user{number}", "x").items()]
        assert (await run_app(app, http_scope(headers=headers))).status == 401
        clock.move(1)

    assert [line.getMessage() for line in caplog.records] == [code_block(PAGE, "pattern spraying:").rstrip("\n")]


def test_the_figures_of_the_page_are_those_of_the_code() -> None:
    """It names the numbers, the length of a window and the time between two lines."""
    text = " ".join((DOCS / PAGE).read_text("utf-8").split())

    assert f"at least {pattern_warnings.MANY_NAMES} names" in text
    assert f"from at least {pattern_warnings.MANY_NETWORKS} networks" in text
    assert f"at least {MIN_BURST} times" in text
    assert f"Once in {pattern_warnings.EVERY / 60:.0f} minutes" in text
    assert f"{pattern_warnings.MAX_WATCHED} networks" in text
    assert pattern_warnings.WINDOW == 5 * 60
