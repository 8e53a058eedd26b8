"""``Guard.add_hook``: how an extension hears of the decisions of a guard that the app has made."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest

from authguard import ConfigurationError, Record
from authguard.model import Decision
from authguard.records import denials
from authguard.records.record import DecisionHook, Stage
from authguard.request import AuthRequest
from tests.support.asgi import RecordingApp
from tests.support.guards import RecordingGuard


def tell(told: list[str], name: str, record: Record) -> None:
    """A hook that notes its name."""
    told.append(name)


async def tell_later(record: Record) -> None:
    """An async hook, which nobody would await."""


class Decisions(DecisionHook):
    """A hook that gets the decisions themselves."""

    def __init__(self) -> None:
        self.seen: list[Decision] = []

    def write(self, request: AuthRequest, decision: Decision, rule: str | None, stage: Stage) -> None:
        """Keep it."""
        self.seen.append(decision)


async def test_a_hook_is_added_to_a_guard_and_taken_away() -> None:
    """It comes after those of ``hooks=``. Taking it away twice leaves the same one that somebody else has added."""
    told: list[str] = []
    site = RecordingGuard(hooks=[partial(tell, told, "first")])
    hook = partial(tell, told, "added")
    stop = site.guard.add_hook(hook)
    site.guard.add_hook(hook)

    await site.request(RecordingApp(), field=None)
    assert told == ["first", "added", "added"]
    stop()
    stop()
    await site.request(RecordingApp(), field=None)

    assert told[3:] == ["first", "added"]


async def test_a_hook_that_is_added_may_want_denials_or_decisions() -> None:
    """What a hook says of itself counts as for one of ``hooks=``."""
    site, decisions = RecordingGuard(hooks=()), Decisions()
    denied: list[Record] = []
    site.guard.add_hook(denials(denied.append))
    site.guard.add_hook(decisions)

    await site.request(RecordingApp())
    await site.request(RecordingApp(), field=None)

    assert [record.event for record in denied] == ["denied"]
    assert [type(decision).__name__ for decision in decisions.seen] == ["Granted", "Denied"]


async def test_threads_add_hooks_at_the_same_time() -> None:
    """None of them is lost, and none stays that was taken away."""
    site = RecordingGuard(hooks=())
    told: list[str] = []

    def work(name: str) -> None:
        for _ in range(200):
            site.guard.add_hook(partial(tell, told, "taken away"))()
        site.guard.add_hook(partial(tell, told, name))

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    await site.request(RecordingApp())

    assert sorted(told) == list("abcdefgh")


@pytest.mark.parametrize("hook", [None, "print", tell_later, lambda: None], ids=["none", "text", "async", "no record"])
def test_what_cannot_be_a_hook_is_not_added(hook: Any) -> None:
    """It is refused as in ``hooks=``, and the guard stays as it was."""
    site = RecordingGuard(hooks=())

    with pytest.raises(ConfigurationError, match=r"^hook: "):
        site.guard.add_hook(hook)

    assert site.guard._recorder.hooks == ()
