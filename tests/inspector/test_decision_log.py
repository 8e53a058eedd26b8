"""What the inspector keeps of the decisions of a guard, and what that costs a guard that nobody looks at."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from authguard.inspector.decision_log import MAX_DECISIONS, MAX_VIEWERS, DecisionLog
from tests.records.test_patterns import denied
from tests.support.asgi import RecordingApp
from tests.support.forks import held_by_another_thread, needs_fork, run_in_child
from tests.support.guards import RecordingGuard


class Logged:
    """A guard with a log, and a way to send it requests."""

    def __init__(self) -> None:
        self.site = RecordingGuard(hooks=())
        self.log = DecisionLog(self.site.guard)

    async def send(self, times: int = 1, *, field: str | None = None, path: str = "/") -> None:
        """Send requests, without credentials unless there is a field."""
        for _ in range(times):
            await self.site.request(RecordingApp(), path, field)

    def events(self, *, with_grants: bool = False) -> list[str]:
        """One word for each decision that is kept."""
        return [decision.record.event for decision in self.log.since(0, with_grants=with_grants)]


async def test_refusals_are_kept_and_grants_are_not() -> None:
    """While no page is open, a granted request does not even get a record."""
    logged = Logged()
    await logged.send()
    await logged.send(field="Badge alice")

    assert logged.events(with_grants=True) == ["denied"]
    assert logged.site.guard._recorder._hooks_for_grants == ()


async def test_grants_are_kept_while_a_page_asks_for_them() -> None:
    """The last page that asks for grants ends that; one that does not ask for them changes nothing."""
    logged = Logged()
    with logged.log.viewing(with_grants=False):
        await logged.send(field="Badge alice")
        with logged.log.viewing(with_grants=True), logged.log.viewing(with_grants=True):
            await logged.send(field="Badge alice")
            await logged.send()
        await logged.send(field="Badge alice")

    assert logged.events(with_grants=True) == ["granted", "denied"]
    assert logged.events() == ["denied"]
    assert logged.site.guard._recorder.hooks == (logged.log,)


def test_the_last_thousand_are_kept() -> None:
    """Grants do not crowd out refusals, and all numbers grow."""
    log = DecisionLog(RecordingGuard(hooks=()).guard)
    for _ in range(MAX_DECISIONS + 5):
        log(denied())
        log.note_grant(denied(event="granted", reason=None))

    numbers = [decision.number for decision in log.since(0, with_grants=True)]

    assert len(log.since(0)) == MAX_DECISIONS
    assert (len(numbers), numbers) == (2 * MAX_DECISIONS, sorted(numbers))
    assert len(log.sightings()) == MAX_DECISIONS


def test_strangers_do_not_crowd_out_principals() -> None:
    """A refusal of somebody who was authenticated outlasts a flood of those who were not."""
    log = DecisionLog(RecordingGuard(hooks=()).guard)
    log(denied("role.missing", subject="alice", subject_proven=True))
    for _ in range(MAX_DECISIONS + 5):
        log(denied("credentials.missing", subject=None, subject_proven=False))

    assert [decision.record.subject for decision in log.since(0)[:2]] == ["alice", None]
    assert len(log.sightings()) == MAX_DECISIONS + 1


async def test_decisions_after_a_number() -> None:
    """A page asks for what it does not have yet."""
    logged = Logged()
    await logged.send(5)

    assert [decision.number for decision in logged.log.since(3)] == [4, 5]


async def test_the_oldest_page_makes_room() -> None:
    """So many pages may be open; one more takes the place of the oldest."""
    logged = Logged()
    with ExitStack() as stack:
        viewers = [stack.enter_context(logged.log.viewing(with_grants=False)) for _ in range(MAX_VIEWERS + 1)]

        assert [viewer.displaced for viewer in viewers] == [True] + [False] * MAX_VIEWERS
        assert logged.log.viewers == MAX_VIEWERS
    assert logged.log.viewers == 0


@needs_fork
async def test_a_forked_child_begins_with_nothing() -> None:
    """The child is another process, and says so. Pages that were open belong to the parent, and so does a lock."""
    logged = Logged()
    await logged.send()
    with logged.log.viewing(with_grants=True):
        before = logged.log.worker

        def child() -> tuple[object, ...]:
            log = logged.log
            log(denied())
            return len(log.since(0)), len(log.tallies()), log.viewers, log.worker.pid == before.pid

        with held_by_another_thread(logged.log._lock):
            assert run_in_child(child) == "(1, 1, 0, False)"
    assert repr(logged.log) == "the inspector"


async def test_a_grant_takes_the_hook_away_that_no_page_wants() -> None:
    """As in a child that was forked while its parent had a page open: nobody has closed that page there."""
    logged = Logged()
    with logged.log.viewing(with_grants=True):
        logged.log._viewers.clear()
        await logged.send(field="Badge alice")

        assert logged.events(with_grants=True) == []
        assert logged.site.guard._recorder.hooks == (logged.log,)


@needs_fork
def test_a_forked_child_records_no_grants_for_the_pages_of_its_parent() -> None:
    """The first grant in the child takes the hook away that the parent has added, and is not kept."""
    logged = Logged()

    def child() -> tuple[object, ...]:
        asyncio.run(logged.send(2, field="Badge alice"))
        return logged.events(with_grants=True), logged.site.guard._recorder._hooks_for_grants

    with logged.log.viewing(with_grants=True):
        assert run_in_child(child) == "([], ())"
        asyncio.run(logged.send(field="Badge alice"))

    assert logged.events(with_grants=True) == ["granted"]
