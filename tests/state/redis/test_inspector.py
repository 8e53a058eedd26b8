"""The pages of several processes, with a real server between them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from authguard.inspector import event_stream, shared_decisions
from authguard.inspector.decision_log import MAX_DECISIONS, DecisionLog, Worker
from authguard.inspector.shared_decisions import BEGIN, SharedDecisions
from authguard.inspector.views import state_view
from authguard.records.record import Record
from authguard.state.redis import RedisBackend
from tests.inspector.test_shared_decisions import events
from tests.records.test_patterns import denied
from tests.state.redis.servers import command
from tests.support.guards import RecordingGuard

pytestmark = [pytest.mark.peer, pytest.mark.anyio]


class Worked:
    """A process: a guard's log, and its way to Redis."""

    def __init__(self, redis: RedisBackend, pid: int) -> None:
        self.guard = RecordingGuard(hooks=()).guard
        self.log = DecisionLog(self.guard)
        self.log.worker = Worker(pid, "web", 1000.0)
        self.shared = SharedDecisions(redis, self.log, lambda: state_view(self.log, self.guard))


@pytest.fixture(name="redis")
async def _redis(redis_url: str) -> AsyncIterator[RedisBackend]:
    backend = RedisBackend(lambda: Redis.from_url(redis_url))
    yield backend
    await backend.aclose()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "TICK", 0)
    monkeypatch.setattr(event_stream, "TICKS", 2)


async def everything(shared: SharedDecisions, after: str = BEGIN) -> list[tuple[str, int]]:
    """The process and the number of each decision that is there."""
    found, more = [], True
    while more:
        decisions, after, more = await shared.read(after, with_grants=True)
        found += [(decision.process, decision.view["n"]) for decision in decisions]
    return found


async def test_nothing_is_written_while_nobody_looks(redis: RedisBackend, redis_port: int) -> None:
    """Besides the epoch that each first script writes."""
    one = Worked(redis, 1)
    one.log(denied())

    assert await one.shared.publish() is False
    assert command(redis_port, "KEYS", "*:i:*") == b"*0\r\n"


async def test_a_page_shows_the_decisions_of_all_processes(redis: RedisBackend) -> None:
    """And goes on at another process after the last that it has: nothing is lost, and nothing comes twice."""
    one, two = Worked(redis, 1), Worked(redis, 2)
    one.log(denied(subject="alice"))
    await one.shared.read(BEGIN, with_grants=False)
    two.log(denied(subject="bob"))
    await two.shared.publish()

    first = [event for event in await events(one.log, one.shared) if event[0] == "decisions"]
    one.log(denied(subject="carol"))
    two.log(denied(subject="dave"))
    await one.shared.publish()
    second = [event for event in await events(two.log, two.shared, first[-1][1]) if event[0] == "decisions"]

    subjects = [[one["subject"] for _, _, batch in found for one in batch["decisions"]] for found in (first, second)]
    assert [sorted(each) for each in subjects] == [["alice", "bob"], ["carol", "dave"]]
    of_two = await events(one.log, one.shared, process=two.log.worker.id)
    chosen = [one["subject"] for name, _, batch in of_two if name == "decisions" for one in batch["decisions"]]
    assert chosen == ["bob", "dave"]


async def test_a_decision_is_published_once(redis: RedisBackend) -> None:
    """Whoever of a process publishes, and how often."""
    one = Worked(redis, 1)
    await one.shared.read(BEGIN, with_grants=False)
    one.log(denied())
    again = SharedDecisions(redis, one.log, lambda: state_view(one.log, one.guard))

    for shared in (one.shared, again, one.shared):
        assert await shared.publish()

    assert await everything(one.shared) == [("1-1000-web", 1)]


async def test_what_a_server_forgets_is_published_again(redis: RedisBackend, redis_port: int) -> None:
    """The number of the last decision is in Redis too, and is forgotten with the rest."""
    one = Worked(redis, 1)
    await one.shared.read(BEGIN, with_grants=False)
    one.log(denied())
    await one.shared.publish()
    command(redis_port, "FLUSHALL")
    await one.shared.read(BEGIN, with_grants=False)

    await one.shared.publish()

    assert await everything(one.shared) == [("1-1000-web", 1)]


async def test_grants_are_kept_while_a_page_asks_for_them(redis: RedisBackend) -> None:
    """A page at any process. A page that does not ask for grants gets none."""
    one, two = Worked(redis, 1), Worked(redis, 2)
    await one.shared.read(BEGIN, with_grants=True)
    await two.shared.publish()
    grant = Record("granted", None, None, "bearer", "alice", True, "GET", "/", None, None)
    two.log.note_grant(grant)
    await two.shared.publish()

    with_grants, _, _ = await one.shared.read(BEGIN, with_grants=True)
    without, _, _ = await one.shared.read(BEGIN, with_grants=False)

    assert [decision.record for decision in with_grants] == [grant]
    assert without == []


async def test_a_process_that_publishes_no_more_is_gone(redis: RedisBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its decisions stay, and its figures are no longer added."""
    one, two = Worked(redis, 1), Worked(redis, 2)
    await one.shared.read(BEGIN, with_grants=False)
    two.log(denied())
    await two.shared.publish()
    monkeypatch.setattr(shared_decisions, "GONE_AFTER", -1.0)

    found = await events(one.log, one.shared)

    state = next(content for name, _, content in found if name == "state")
    assert {each["name"]: each["gone"] for each in state["processes"]} == {"1@web": True, "2@web": True}
    assert state["denied"] == 3  # what the page has of its own
    assert ("2-1000-web", 1) in await everything(one.shared)


async def test_what_is_kept_is_bounded(redis: RedisBackend, redis_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The decisions of all processes together, the processes, and how long all of it is there."""
    monkeypatch.setattr(shared_decisions, "MOST_PROCESSES", 3)
    workers = [Worked(redis, pid) for pid in range(1, 7)]
    await workers[0].shared.read(BEGIN, with_grants=False)
    for worker in workers:
        for number in range(250):
            worker.log(denied(subject=f"user{number}"))
        await worker.shared.publish()

    assert command(redis_port, "XLEN", "authguard:i:decisions") == b":%d\r\n" % MAX_DECISIONS
    assert {each.id[0] for each in await workers[0].shared.processes()} == {"4", "5", "6"}
    assert command(redis_port, "ZCARD", "authguard:i:seen") == b":3\r\n"
    for key in ("decisions", "summaries", "numbers", "seen"):
        assert 0 < int(command(redis_port, "TTL", f"authguard:i:{key}")[1:]) <= shared_decisions.KEPT_FOR
    assert 0 < int(command(redis_port, "TTL", "authguard:i:looked")[1:]) <= shared_decisions.LOOKED_FOR


async def test_a_value_of_somebody_else_is_dropped_and_counted(redis: RedisBackend, redis_port: int) -> None:
    """The page says how many there are, and shows the rest."""
    one = Worked(redis, 1)
    await one.shared.read(BEGIN, with_grants=False)
    one.log(denied())
    await one.shared.publish()
    command(redis_port, "XADD", "authguard:i:decisions", "*", "record", "[" * 5000)
    command(redis_port, "HSET", "authguard:i:summaries", one.log.worker.id, json.dumps({"granted": "<b>"}))

    found: dict[str, Any] = {name: content for name, _, content in await events(one.log, one.shared)}
    _ = await one.shared.processes()

    assert len(found["decisions"]["decisions"]) == 1
    assert one.shared.dropped >= 1
