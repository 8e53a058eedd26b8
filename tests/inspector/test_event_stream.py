"""The events of an open page: what is sent, in which order, when it ends, and what it costs."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from starlette.types import Message

from authguard.inspector import event_stream
from authguard.inspector.decision_log import MAX_DECISIONS, MAX_VIEWERS, DecisionLog
from authguard.inspector.event_stream import MOST_AT_ONCE, MOST_SECONDS, EventStream, event_bytes
from authguard.inspector.filters import DecisionFilter
from authguard.testing import ManualClock
from tests.records.test_patterns import denied
from tests.support.asgi import http_scope
from tests.support.guards import RecordingGuard

Event = tuple[str, str, Any]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six looks, without a pause."""
    monkeypatch.setattr(event_stream, "TICK", 0)
    monkeypatch.setattr(event_stream, "TICKS", 6)


class Page:
    """A page that reads the events of a log. ``act`` is called with the name of each event that has come."""

    def __init__(self, log: DecisionLog, act: Callable[[str], Awaitable[None] | None] | None = None) -> None:
        self.log, self.sent, self._act = log, list[Message](), act
        self.goes_away = anyio.Event()
        self.states = 0

    async def read(self, query: dict[str, str] | None = None, after: str = "", method: str = "GET") -> list[Event]:
        """All events of one response."""

        async def receive() -> Message:
            if not self.sent:
                return {"type": "http.request", "body": b"", "more_body": False}
            await self.goes_away.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            self.sent.append(message)
            for name, _, _ in events_of(message.get("body", b"")):
                if self._act is not None and (awaited := self._act(name)) is not None:
                    await awaited

        def state() -> dict[str, Any]:
            self.states += 1
            return {"number": self.states}

        wanted = DecisionFilter.from_query(query or {})
        stream = EventStream(self.log, wanted, after, [(b"x-policy", b"closed")], lambda: {"title": "orders"}, state)
        await stream(http_scope(method=method), receive, send)
        return events_of(b"".join(message.get("body", b"") for message in self.sent))


def events_of(body: bytes) -> list[Event]:
    """The events in a body: the name, the id, and the content of each."""
    events = []
    for block in body.decode("ascii").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if "event" in fields:
            events.append((fields["event"], fields.get("id", ""), json.loads(fields["data"])))
    return events


def new_log(count: int = 0) -> DecisionLog:
    """A log with so many refusals."""
    log = DecisionLog(RecordingGuard(hooks=()).guard)
    for number in range(count):
        log(denied(subject=f"user{number}"))
    return log


def numbers(events: list[Event]) -> list[int]:
    """The numbers of the decisions in these events."""
    return [one["n"] for name, _, content in events if name == "decisions" for one in content["decisions"]]


async def test_a_page_gets_who_tells_it_the_state_and_the_decisions() -> None:
    """They come in this order; the response cannot be stored or buffered, and ends by itself."""
    page = Page(new_log(2))

    events = await page.read()

    assert [name for name, _, _ in events] == ["hello", "state", "decisions", "state"]
    assert numbers(events) == [1, 2]
    assert (b"content-type", b"text/event-stream; charset=utf-8") in page.sent[0]["headers"]
    assert (b"x-policy", b"closed") in page.sent[0]["headers"]
    assert page.sent[-1] == {"type": "http.response.body", "body": b""}
    assert page.log.viewers == 0


async def test_all_that_is_kept_comes_first_in_parts() -> None:
    """The page gets the whole log, the oldest first, and no event is larger than fifty decisions."""
    events = await Page(new_log(130)).read()

    parts = [content for name, _, content in events if name == "decisions"]

    assert [len(part["decisions"]) for part in parts] == [50, 50, 30]
    assert [part["more"] for part in parts] == [True, True, False]
    assert numbers(events) == list(range(1, 131))


@pytest.mark.parametrize("slow_at", ["hello", "state", "decisions"])
async def test_a_page_that_reads_slowly_gets_nothing_from_after_the_end(slow_at: str) -> None:
    """Otherwise somebody who has lost the role could go on reading, one event at a time."""
    clock = ManualClock(0)
    log = DecisionLog(RecordingGuard(hooks=(), monotonic=clock).guard)
    for _ in range(130):
        log(denied())
    page = Page(log, lambda name: clock.move(MOST_SECONDS) if name == slow_at else None)

    events = await page.read()

    assert [name for name, _, _ in events][-1] == slow_at
    assert len(events) <= 3
    assert page.sent[-1] == {"type": "http.response.body", "body": b""}


async def test_a_page_that_was_slow_goes_on_where_it_was() -> None:
    """The next response has what the one that ended did not send."""
    clock = ManualClock(0)
    log = DecisionLog(RecordingGuard(hooks=(), monotonic=clock).guard)
    for _ in range(130):
        log(denied())
    slow = await Page(log, lambda name: clock.move(MOST_SECONDS) if name == "decisions" else None).read()

    events = await Page(log).read(after=slow[-1][1])

    assert (numbers(slow), numbers(events)) == (list(range(1, 51)), list(range(51, 131)))


async def test_of_too_many_new_ones_the_newest_come() -> None:
    """A page that is slower than the decisions is told how many it was not sent."""
    log = new_log()

    def flood(name: str) -> None:
        if name == "state" and not log.since(0):
            for _ in range(MOST_AT_ONCE + 30):
                log(denied())

    # The first look is over when the state comes for the first time: it is sent before.
    page = Page(log, None)
    page._act = lambda name: flood(name) if page.states == 2 else None
    events = await page.read()

    ((_, event_id, content),) = [event for event in events if event[0] == "decisions"]
    assert (len(content["decisions"]), content["skipped"], content["more"]) == (MOST_AT_ONCE, 30, False)
    assert content["decisions"][-1]["n"] == 80
    assert event_id == f"{log.worker.id}:80"


async def test_a_page_that_comes_back_gets_what_is_new() -> None:
    """The id of the last event says what it has. One of another process, or of anybody's making, says nothing."""
    log = new_log(5)

    read = [await Page(log).read(after=f"{log.worker.id}:3")]
    read += [await Page(log).read(after=after) for after in ("1-2-elsewhere:3", "nonsense", f"{log.worker.id}:-3", "٣")]

    assert [numbers(events) for events in read] == [[4, 5], *[[1, 2, 3, 4, 5]] * 4]


async def test_a_page_gets_what_it_asks_for() -> None:
    """Others are not sent, and do not count as too fast."""
    log = new_log(100)

    events = await Page(log).read({"subject": "user42"})

    assert numbers(events) == [43]


async def test_a_rare_decision_is_found_behind_a_flood() -> None:
    """The filter comes first, and then the number of decisions that a page gets."""
    log = new_log()
    log(denied("role.missing", subject="alice", subject_proven=True))
    for _ in range(MAX_DECISIONS):
        log(denied("credentials.missing", subject=None, subject_proven=False))

    assert numbers(await Page(log).read({"subject": "alice"})) == [1]
    assert numbers(await Page(log).read()) == list(range(2, MAX_DECISIONS + 2))


async def test_nothing_is_sent_twice_where_nothing_fits() -> None:
    """The next look begins behind what did not fit."""
    assert numbers(await Page(new_log(100)).read({"reason": "role.missing"})) == []


async def test_grants_come_if_they_are_asked_for() -> None:
    """The guard records grants as long as the page is open."""
    site = RecordingGuard(hooks=())
    log = DecisionLog(site.guard)
    grant = denied(event="granted", reason=None, status=None)

    def act(name: str) -> None:
        if name == "state":
            for hook in site.guard._recorder._hooks_for_grants:
                hook(grant)

    events = await Page(log, act).read({"grants": "1"})
    without = await Page(log, act).read()

    assert [one["event"] for _, _, content in events for one in content.get("decisions", ())] == ["granted", "granted"]
    assert numbers(without) == []


async def test_a_page_that_goes_away_ends_the_response() -> None:
    """Nothing is sent after it, and it is no viewer any more."""
    page = Page(new_log(1))
    page._act = lambda name: page.goes_away.set() if name == "decisions" else None

    events = await page.read()

    assert [name for name, _, _ in events] == ["hello", "state", "decisions"]
    assert page.log.viewers == 0


async def test_a_connection_that_breaks_is_no_error() -> None:
    """Some servers raise when the client is gone."""

    def act(name: str) -> None:
        if name == "state":
            raise OSError

    page = Page(new_log(1), act)

    assert [name for name, _, _ in await page.read()] == ["hello", "state"]
    assert page.log.viewers == 0


async def test_an_error_of_the_page_is_not_hidden() -> None:
    """Only a broken connection is."""

    def act(name: str) -> None:
        raise KeyError(name)

    with pytest.raises(KeyError, match="hello"):
        await Page(new_log(), act).read()


async def test_a_page_whose_place_is_taken_is_told() -> None:
    """The oldest of too many pages gets one event more, and its response ends."""
    log = new_log()
    others: list[Any] = []

    def act(name: str) -> None:
        if name == "state":
            others.extend(log.viewing(with_grants=False) for _ in range(MAX_VIEWERS))
            for other in others:
                other.__enter__()

    events = await Page(log, act).read()

    assert [name for name, _, _ in events] == ["hello", "state", "displaced"]
    for other in others:
        other.__exit__(None, None, None)


async def test_a_head_request_has_no_events() -> None:
    """It gets the fields alone."""
    page = Page(new_log(1))

    assert await page.read(method="HEAD") == []
    assert [message["type"] for message in page.sent] == ["http.response.start", "http.response.body"]


def test_nothing_in_an_event_can_end_it() -> None:
    """A text with line feeds, a separator of lines or an event of its own stays one line of ASCII."""
    hostile = "a\n\nevent: state\ndata: {}\r\n\u2028\x00é</script>"

    event = event_bytes("decisions", {"path": hostile})

    assert event.count(b"\n") == 3
    assert events_of(event) == [("decisions", "", {"path": hostile})]
