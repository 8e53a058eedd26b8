"""What processes show together: what is written, what is read back, and what nobody who writes to Redis can do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import anyio
import pytest

from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.explain import explain_record
from authguard.inspector import event_stream, inspector, shared_decisions
from authguard.inspector.decision_log import Decision, DecisionLog
from authguard.inspector.filters import DecisionFilter
from authguard.inspector.shared_decisions import (
    BEGIN,
    GONE_AFTER,
    MOST_COUNT,
    MOST_RECORD,
    MOST_SUMMARY,
    Process,
    SharedDecisions,
    cursor_of,
    decision_of,
    joined_state,
    record_text,
    short_name,
    summary_of,
)
from authguard.inspector.views import decision_view, state_view
from authguard.policy.requirements import role
from authguard.reasons import STORE_UNAVAILABLE
from authguard.records.patterns import MINUTES
from authguard.state.redis import RedisBackend
from authguard.state.redis.script import Script
from tests.inspector.test_event_stream import events_of, new_log
from tests.records.test_patterns import denied
from tests.support.asgi import http_scope
from tests.support.guards import RecordingGuard
from tests.support.inspected import InspectedApp

OTHER = "12-1000-web-1"


def fields(**changes: bytes) -> dict[bytes, bytes]:
    """The fields of a decision in Redis."""
    good = {"process": OTHER.encode(), "number": b"7", "at": b"1000.5", "record": record_text(denied()).encode()}
    return {name.encode(): text for name, text in {**good, **changes}.items()}


def summary(**changes: object) -> dict[str, Any]:
    """The figures of a process."""
    return {
        "granted": 5,
        "denied": 3,
        "would_deny": 2,
        "refused": 1,
        "skipped": 2,
        "totals": {"token.expired": 3},
        "series": {"token.expired": [0] * (MINUTES - 1) + [3]},
        "health": {"bearer": {"keys": []}},
        **changes,
    }


# --- what is read back ------------------------------------------------------------------------------------------------


def test_a_decision_comes_back_as_it_was() -> None:
    """Its view and its explanation are those of the process that decided, and name that process."""
    record = denied(subject="alice", facts={"expired_by": 4.0, "leeway": 60.0}, missing=("role(admin)",))

    found = decision_of("5-0", fields(record=record_text(record).encode()))

    assert found is not None
    assert found.record == record
    own = decision_view(Decision(7, 1000.5, record))
    assert found.view == {**own, "worker": OTHER, "process": "12@web-1"}
    assert found.view["explanation"] == explain_record(record).as_json()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"process": b""}, id="no process"),
        pytest.param({"process": b"a" * 129}, id="a long process"),
        pytest.param({"process": b"a\x00b"}, id="a process with a control character"),
        pytest.param({"number": b"-1"}, id="a negative number"),
        pytest.param({"number": b"9" * 16}, id="a huge number"),
        pytest.param({"at": b"nan"}, id="no time"),
        pytest.param({"at": b"1e300"}, id="a time that no page can show"),
        pytest.param({"at": b"soon"}, id="a word for a time"),
        pytest.param({"record": record_text(denied()).encode() + b" " * MOST_RECORD}, id="a long record"),
        pytest.param({"record": b"\xff"}, id="bytes that are no text"),
        pytest.param({"record": b"{}"}, id="no record"),
        pytest.param({"record": b"[" * 5000}, id="a deep document"),
    ],
)
def test_what_is_no_decision_is_dropped(changes: dict[str, bytes]) -> None:
    """A value of another type, size or range is none."""
    assert decision_of("5-0", fields(**changes)) is None


def test_a_field_that_is_missing_is_no_decision() -> None:
    """An entry of somebody else has other fields."""
    assert decision_of("5-0", {b"hello": b"world"}) is None


def test_an_id_of_redis_is_digits() -> None:
    """It goes into the id of an event, which must be one line."""
    assert decision_of("5-0\n", fields()) is None


def test_a_record_that_is_too_long_loses_its_facts() -> None:
    """So one decision has a bounded size in Redis."""
    text = record_text(denied(facts={f"fact{number}": "x" * 128 for number in range(100)}))

    assert len(text) <= MOST_RECORD
    assert json.loads(text)["facts"] == {}


def test_figures_come_back_as_they_were() -> None:
    """Counts, refusals per minute, and the health."""
    assert summary_of(json.dumps(summary()).encode()) == summary()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"granted": -1}, id="a negative count"),
        pytest.param({"granted": True}, id="a truth for a count"),
        pytest.param({"granted": MOST_COUNT + 1}, id="a huge count"),
        pytest.param({"totals": {"a": "<b>"}}, id="a text for a total"),
        pytest.param({"totals": 4}, id="a number for the totals"),
        pytest.param({"totals": {str(number): 1 for number in range(300)}}, id="many reasons"),
        pytest.param({"series": {"a": [1]}}, id="a short series"),
        pytest.param({"series": {"a": [None] * MINUTES}}, id="no numbers"),
        pytest.param({"series": []}, id="a list of series"),
        pytest.param({"health": "fine"}, id="a text for the health"),
    ],
)
def test_what_are_no_figures_is_dropped(changes: dict[str, object]) -> None:
    """A value of another type, size or range is none."""
    assert summary_of(json.dumps(summary(**changes)).encode()) is None


@pytest.mark.parametrize("text", [b"", b"null", b"{}", b"[" * 5000, b"\xff", b" " * (MOST_SUMMARY + 1)], ids=range(6))
def test_what_is_no_document_has_no_figures(text: bytes) -> None:
    """It may be anything that somebody wrote."""
    assert summary_of(text) is None


def test_a_health_has_no_number_that_json_does_not_know() -> None:
    """A browser would not read the event."""
    found = summary_of(
        b'{"granted":0,"denied":0,"would_deny":0,"refused":0,"skipped":0,"totals":{},"series":{},"health":{"a":1e999}}'
    )

    assert found is not None
    assert found["health"] == {"a": "inf"}


@pytest.mark.parametrize(
    ("event_id", "cursor"),
    [("5-1/12-1000-web:9", "5-1"), ("12-1000-web:9", BEGIN), ("5-1", BEGIN), ("+/a:1", BEGIN), ("", BEGIN)],
)
def test_a_page_goes_on_where_it_was(event_id: str, cursor: str) -> None:
    """The id of an event begins with the place in Redis, which all processes understand."""
    assert cursor_of(event_id) == cursor


def test_a_process_has_a_short_name() -> None:
    """Its number and its host; a name that is none of ours is shown as it is."""
    assert [short_name(OTHER), short_name("somebody")] == ["12@web-1", "somebody"]


# --- the figures of several processes ---------------------------------------------------------------------------------


def own_state() -> dict[str, Any]:
    """The figures of a guard that has refused one request."""
    recording = RecordingGuard(hooks=())
    log = DecisionLog(recording.guard)
    log(denied())
    return state_view(log, recording.guard)


def test_the_figures_of_all_processes_are_added() -> None:
    """Except those of one that is gone, and of one whose figures cannot be read."""
    processes = [
        Process("me", 0.1, summary()),
        Process(OTHER, 1.0, summary()),
        Process("13-1000-web-1", GONE_AFTER + 1, summary()),
        Process("14-1000-web-1", 1.0, None),
    ]

    state = own_state()
    joined = joined_state(state, processes, "me", "")

    assert joined["granted"] == state["granted"] + 5
    assert joined["denied"] == state["denied"] + 3
    assert joined["would_deny"] == state["would_deny"] + 2
    assert joined["throttle"]["refused"] == state["throttle"]["refused"] + 1
    assert joined["totals"]["token.expired"] == state["totals"].get("token.expired", 0) + 3
    assert joined["series"]["token.expired"][-1] == state["series"]["token.expired"][-1] + 3
    assert joined["others"] == {"12@web-1": {"bearer": {"keys": []}}}
    assert joined["skipped"] == 4
    assert [(each["name"], each["own"], each["gone"]) for each in joined["processes"]] == [
        ("me", True, False),
        ("12@web-1", False, False),
        ("13@web-1", False, True),
        ("14@web-1", False, False),
    ]


def test_the_figures_of_one_process_are_its_own() -> None:
    """Also of one that is gone. What stands out is known of this process alone."""
    joined = joined_state(own_state(), [Process(OTHER, 99.0, summary())], "me", OTHER)

    assert (joined["granted"], joined["denied"], joined["health"]) == (5, 3, {})
    assert (joined["bursts"], joined["offenders"]) == ([], [])
    assert joined["totals"] == {"token.expired": 3}


def test_the_guard_makes_records_of_grants_while_another_process_wants_them() -> None:
    """And not before, and not longer."""
    log = new_log()
    hooks = log._guard._recorder.hooks
    numbers = [len(log._guard._recorder.hooks)]

    for is_wanted in (True, True, False):
        log.share_grants(is_wanted)
        numbers.append(len(log._guard._recorder.hooks))

    before = len(hooks)
    assert numbers == [before, before + 1, before + 1, before]


def test_only_with_redis_does_a_refusal_start_anything() -> None:
    """Without it, nothing runs in the background."""
    assert InspectedApp().log.on_refusal is None
    assert InspectedApp(redis=Backend()).log.on_refusal is not None


# --- without a server -------------------------------------------------------------------------------------------------


class Backend(RedisBackend):
    """Answers each script with what a test has laid down for it; without an answer it is away."""

    def __init__(self, **answers: Any) -> None:
        self.answers, self.asked = answers, list[str]()

    async def run(
        self,
        script: Script,
        partition: bytes,
        keys: Sequence[bytes],
        arguments: Sequence[bytes | str | int | float] = (),
    ) -> Any:
        name = script.name.removeprefix("inspector.")
        self.asked.append(name)
        if name not in self.answers:
            raise BackendUnavailable("redis: away", reason=STORE_UNAVAILABLE)
        return self.answers[name]


def no_state() -> Mapping[str, Any]:
    """The figures of this process."""
    return {**summary(), "throttle": {"refused": 0, "schemes": []}, "bursts": [], "offenders": []}


@pytest.fixture
def anyio_backend() -> str:
    """Redis-py does not run on trio."""
    return "asyncio"


def test_only_a_backend_is_redis() -> None:
    """As in the stores."""
    with pytest.raises(ConfigurationError, match="redis: give RedisBackend"):
        inspector(RecordingGuard().guard, role("operator"), redis=cast("Any", "redis://localhost"))


def test_nothing_begins_without_an_event_loop() -> None:
    """A hook may be called without one."""
    backend = Backend()

    SharedDecisions(backend, new_log(), no_state).start()

    assert backend.asked == []


@pytest.mark.anyio
async def test_one_task_asks_and_writes_nothing_while_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal starts it; it goes on when Redis is away, and ends with its event loop."""
    monkeypatch.setattr(shared_decisions, "ASK_EVERY", 0)
    log, backend = new_log(), Backend(ask=[0])
    shared = SharedDecisions(backend, log, no_state)
    log.on_refusal = shared.start
    log(denied())
    log(denied())
    assert len(shared._tasks) == 1

    for _ in range(10):
        await anyio.lowlevel.checkpoint()
    backend.answers.clear()
    for _ in range(10):
        await anyio.lowlevel.checkpoint()
    tasks = list(shared._tasks.values())
    for task in tasks:
        task.cancel()
    for task in tasks:
        with pytest.raises(asyncio.CancelledError):
            await task

    assert set(backend.asked) == {"ask"}
    assert len(backend.asked) > 2


@pytest.mark.anyio
async def test_a_task_that_was_cancelled_ends_although_the_call_went_on() -> None:
    """As ``asyncio.wait_for`` may swallow it before 3.12."""
    backend = Backend(ask=[0])
    shared = SharedDecisions(backend, new_log(), no_state)
    shared.start()
    (task,) = shared._tasks.values()
    shared.start()
    assert list(shared._tasks.values()) == [task]

    async def swallow(*_: object) -> Any:
        try:
            task.cancel()
            await anyio.lowlevel.checkpoint()
        except asyncio.CancelledError:
            return [0]

    backend.run = swallow  # type: ignore[method-assign, assignment]
    await task


@pytest.mark.anyio
async def test_what_comes_too_fast_is_counted() -> None:
    """Of many new decisions the newest are published, and the first publication of a process has no gap."""
    backend = Backend(ask=[1, 0, b"10"], publish=1)
    shared = SharedDecisions(backend, new_log(10 + 60), no_state)

    assert await shared.publish()
    assert shared.skipped == 60 - shared_decisions.MOST_PUBLISHED
    backend.answers |= {"ask": [1, 0, b"0"], "publish": 0}
    assert await shared.publish()
    assert shared.skipped == 60 - shared_decisions.MOST_PUBLISHED


@pytest.mark.anyio
async def test_a_health_that_is_too_long_is_not_published() -> None:
    """So the figures of one process have a bounded size in Redis."""
    state = {**no_state(), "health": {"bearer": {str(number): "x" * 1000 for number in range(100)}}}
    shared = SharedDecisions(Backend(), new_log(), lambda: state)

    found = summary_of(shared._summary(0).encode())

    assert found is not None
    assert found["health"] == {}


@pytest.mark.anyio
async def test_values_that_are_no_decisions_are_counted() -> None:
    """The page says how many."""
    good = [part for pair in fields().items() for part in pair]
    grant = [part for pair in fields(record=b'{"event":"granted","method":"GET","path":"/"}').items() for part in pair]
    backend = Backend(
        read=[[b"1-0", [b"a", b"b"]], [b"2-0", good], [b"3-0", grant]],
        processes=[[b"\0", b"1", b""], [OTHER.encode(), b"soon", json.dumps(summary()).encode()]],
    )
    shared = SharedDecisions(backend, new_log(), no_state)

    decisions, cursor, more = await shared.read(BEGIN, with_grants=False)
    processes = await shared.processes()

    assert [decision.cursor for decision in decisions] == ["2-0"]
    assert (cursor, more) == ("3-0", False)
    assert processes == [Process(OTHER, 0.0, summary())]
    assert shared.dropped == 2


async def events(log: DecisionLog, shared: SharedDecisions, after: str = "", **query: str) -> list[Any]:
    """What one response sends to a page."""
    sent: list[bytes] = []

    async def receive() -> Any:
        await anyio.sleep_forever()

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    wanted = DecisionFilter.from_query(query)
    stream = event_stream.EventStream(log, wanted, after, [], dict, no_state_dict, shared)
    await stream(http_scope(), receive, send)
    return events_of(b"".join(sent))


def no_state_dict() -> dict[str, Any]:
    """The same, as the page gets it."""
    return dict(no_state())


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "TICK", 0)
    monkeypatch.setattr(event_stream, "TICKS", 3)


@pytest.mark.anyio
@pytest.mark.usefixtures("_quick")
async def test_a_page_without_redis_shows_this_process_and_says_so() -> None:
    """And goes on where it was when Redis is back: the id has both places."""
    log = new_log(2)

    found = await events(log, SharedDecisions(Backend(), log, no_state), "5-0/elsewhere:9")

    states = [content for name, _, content in found if name == "state"]
    batches = [(event_id, content) for name, event_id, content in found if name == "decisions"]
    assert [state["away"] for state in states] == [True]
    assert [[each["n"] for each in batch["decisions"]] for _, batch in batches] == [[1, 2]]
    assert batches[0][0] == f"5-0/{log.worker.id}:2"
    assert batches[0][1]["decisions"][0]["worker"] == log.worker.id
    assert batches[0][1]["decisions"][0]["process"] == short_name(log.worker.id)
    assert "decisions" not in [
        name for name, _, _ in await events(log, SharedDecisions(Backend(), log, no_state), batches[0][0])
    ]


@pytest.mark.anyio
@pytest.mark.usefixtures("_quick")
async def test_a_page_of_another_process_shows_nothing_of_this_one() -> None:
    """While Redis is away, a page that has chosen another process gets no new decision."""
    log = new_log(2)

    found = await events(log, SharedDecisions(Backend(), log, no_state), process=OTHER)

    assert "decisions" not in [name for name, _, _ in found]
