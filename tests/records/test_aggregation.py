"""A flood of one kind of denial is told folded: how much, of what, and what never is."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

import pytest

from authguard.core.guard import Guard
from authguard.errors import BackendUnavailable
from authguard.middleware import AuthGuardMiddleware
from authguard.model import Accepted, Rejected
from authguard.policy.requirements import OPTIONAL, role
from authguard.policy.rules import Rule
from authguard.reasons import TOKEN_EXPIRED, Reason
from authguard.records.aggregation import (
    EXACT_SUBJECTS,
    FULL_RECORDS,
    MAX_AGGREGATES,
    MAX_SEPARATE_KEYS,
    Aggregate,
    AggregateKey,
    Aggregator,
)
from authguard.records.record import Record, record_of
from authguard.testing import ManualClock
from tests.records.samples import ALICE, CONTROL_TEXTS, FORGERIES
from tests.support.asgi import RecordingApp, header_list, http_scope, run_app, websocket_scope
from tests.support.clock import NOW
from tests.support.forks import held_by_another_thread, needs_fork, run_in_child
from tests.support.schemes.badge import BADGE_WRONG, Badge

KIND = AggregateKey("badge.wrong", "192.0.2.7", "/admin")


class Minute:
    """A folder, and what it tells."""

    def __init__(self) -> None:
        self.folder = Aggregator()
        self.ticks = 500.0

    def count(self, kind: AggregateKey = KIND, subject: str | None = None) -> Aggregate | None:
        """One more."""
        now = NOW + self.ticks
        return self.folder.count(kind, logging.WARNING, ticks=self.ticks, now=now, subject=subject)

    def over(self) -> list[tuple[str, int]]:
        """What is told at the next request: of which client, and how many."""
        return [(str(fold.key.client), fold.count) for fold in self.folder.pop_expired(self.ticks)]


# --- Which are told ---------------------------------------------------------------------------------------------------


def test_the_first_of_a_minute_are_told_in_full_and_then_one_at_each_power_of_two() -> None:
    """Twenty, and then 32, 64, 128 and so on."""
    minute = Minute()

    folds = [minute.count() for _ in range(1000)]

    assert folds[:FULL_RECORDS] == [None] * 20
    assert None not in folds[FULL_RECORDS:]
    due = []
    minute = Minute()
    for number in range(1, 1001):
        fold = minute.count()
        if fold is not None and fold.is_record_due:
            due.append(number)
    assert due == [32, 64, 128, 256, 512]


@pytest.mark.parametrize(("count", "told"), [(1, []), (20, []), (21, [21]), (32, []), (33, [33]), (100, [100])])
def test_what_is_still_untold_is_told_when_the_minute_is_over(count: int, told: list[int]) -> None:
    """Once, with the count of all; nothing where all were told."""
    minute = Minute()
    for _ in range(count):
        minute.count()

    minute.ticks += 59.9
    early = minute.over()
    minute.ticks += 0.1

    assert early == []
    assert [number for _, number in minute.over()] == told
    assert minute.over() == []


def test_the_next_minute_begins_anew() -> None:
    """Twenty in full again. The minute begins with the first, not with the last."""
    minute = Minute()
    for _ in range(30):
        minute.count()
        minute.ticks += 2

    minute.over()
    again = [minute.count() for _ in range(21)]

    assert again[:20] == [None] * 20
    assert again[20] is not None
    assert again[20].count == 21


KINDS = [
    AggregateKey("badge.old", "192.0.2.7", "/admin"),
    AggregateKey("badge.wrong", "192.0.2.8", "/admin"),
    AggregateKey("badge.wrong", "192.0.2.7", "/other"),
    AggregateKey("badge.wrong", None, "/admin"),
    AggregateKey("badge.wrong", "192.0.2.7", None),
]


@pytest.mark.parametrize("other", KINDS)
def test_another_reason_client_or_rule_is_counted_by_itself(other: AggregateKey) -> None:
    """A flood of one hides nothing of another."""
    minute = Minute()
    for _ in range(1000):
        minute.count()

    assert minute.count(other) is None


def test_no_more_than_so_many_rows_are_kept() -> None:
    """Beyond them, what is new is counted by its reason alone, and folded as anything else."""
    minute = Minute()

    folds = [minute.count(AggregateKey("badge.wrong", f"192.0.2.{n}", None)) for n in range(5000)]

    assert len(minute.folder) == MAX_SEPARATE_KEYS + 1 <= MAX_AGGREGATES
    assert folds[: MAX_SEPARATE_KEYS + 20] == [None] * (MAX_SEPARATE_KEYS + 20)
    last = folds[-1]
    assert last is not None
    assert (last.key, last.count) == (AggregateKey("badge.wrong", "*", "*"), 5000 - MAX_SEPARATE_KEYS)


def test_reasons_without_end_make_no_rows_without_end() -> None:
    """A scheme of one's own may have many; then the oldest row is told and goes."""
    minute = Minute()
    for _ in range(25):
        minute.count()

    told = []
    for number in range(3000):
        told += minute.over()
        minute.count(AggregateKey(f"badge.r{number}", "192.0.2.9", None))
        assert len(minute.folder) <= MAX_AGGREGATES

    assert told == [("192.0.2.7", 25)]


def test_at_the_end_all_is_told() -> None:
    """And nothing is kept."""
    minute = Minute()
    for client, count in [("a", 40), ("b", 5), ("c", 32), ("d", 21)]:
        for _ in range(count):
            minute.count(AggregateKey("badge.wrong", client, None))

    assert [(fold.key.client, fold.count) for fold in minute.folder.pop_all()] == [("a", 40), ("d", 21)]
    assert (len(minute.folder), minute.folder.pop_all()) == (0, [])


def test_several_threads_lose_no_count() -> None:
    """A guard may serve several event loops."""
    minute = Minute()

    def flood() -> None:
        for _ in range(2000):
            minute.count()
            minute.over()

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (fold,) = minute.folder.pop_all()
    assert fold.count == 8000


@needs_fork
def test_a_forked_child_counts_for_itself() -> None:
    """It has no aggregate of its parent, which records them, and no lock that a thread of the parent held."""
    minute = Minute()
    for _ in range(30):
        minute.count()

    with held_by_another_thread(minute.folder._lock):
        answer = run_in_child(lambda: (minute.count(), len(minute.folder), minute.folder.pop_all()))

    assert answer == "(None, 1, [])"
    assert [fold.count for fold in minute.folder.pop_all()] == [30]


# --- What a fold knows ------------------------------------------------------------------------------------------------


def folded(*subjects: str | None) -> Aggregate:
    """A fold of these."""
    fold = Aggregate(KIND, logging.WARNING, 0.0, NOW, NOW)
    for number, subject in enumerate(subjects):
        fold.add(NOW + number, subject)
    return fold


def test_a_fold_knows_when_it_began_and_ended() -> None:
    """By the time of day."""
    fold = folded("a", "b", "c")

    assert (fold.first, fold.last, fold.count) == (NOW, NOW + 2, 3)


def test_a_fold_shows_the_first_few_subjects() -> None:
    """Different ones; who names none is not shown."""
    assert folded("a", "a", None, "b", "a", "c", "d").samples == ["a", "b", "c"]
    assert folded(None, None).samples == []


@pytest.mark.parametrize("number", [0, 1, 2, 63])
def test_few_subjects_are_counted_exactly(number: int) -> None:
    """Each once."""
    names = [f"user{one}" for one in range(number)]

    assert folded(*names, *names, None).subjects == number


@pytest.mark.parametrize("number", [64, 500, 20_000])
def test_many_subjects_are_estimated(number: int) -> None:
    """Within a factor of two, which the estimate from 64 hashes misses once in millions; and in a fixed space."""
    names = [f"user{one}" for one in range(number)]

    fold = folded(*names, *names[:1000])

    assert number / 2 < fold.subjects < number * 2
    assert len(fold._smallest_hashes) == EXACT_SUBJECTS


# --- In the log of a guard --------------------------------------------------------------------------------------------


class Site:
    """An endpoint behind a guard that logs, by clocks that stand still."""

    def __init__(self, **options: Any) -> None:
        self.seen: list[Record] = []
        self.monotonic, self.clock = ManualClock(1000), ManualClock(NOW)
        table = {
            "alice": Accepted(ALICE),
            "wrong": Rejected(BADGE_WRONG),
            "mallory": Rejected(BADGE_WRONG, "mallory"),
            "expired": Rejected(TOKEN_EXPIRED, "alice", authenticated=True),
            "down": BackendUnavailable("lost"),
            "often": Rejected(Reason("badge.often", 429)),
            "odd": Rejected(Reason("badge.odd", 400)),
            "large": Rejected(Reason("badge.large", 413)),
        }
        self.badge = Badge(table=table)
        given: dict[str, Any] = {
            "rules": [Rule("/boss/{name}", role("boss")), Rule("/maybe", OPTIONAL)],
            "hooks": [self.seen.append],
            **options,
        }
        self.guard = Guard(self.badge, clock=self.clock, monotonic=self.monotonic, **given)
        self.app = AuthGuardMiddleware(RecordingApp(), guard=self.guard)

    async def ask(
        self, field: str | None = "Badge wrong", times: int = 1, path: str = "/", client: str = "192.0.2.7"
    ) -> None:
        """So many requests."""
        for _ in range(times):
            await run_app(self.app, http_scope(path, headers=header_list(field), client=(client, 1)))

    def passes(self, seconds: float) -> None:
        """Time goes on."""
        self.monotonic.move(seconds)
        self.clock.move(seconds)


def heads(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the records of the log are."""
    return [str(record.msg).removesuffix(": %s") for record in caplog.records]


async def test_a_flood_is_told_folded(caplog: pytest.LogCaptureFixture) -> None:
    """Twenty records, and three of the eighty that follow."""
    site = Site()

    await site.ask(times=100)
    site.passes(60)
    await site.ask("Badge alice")

    assert heads(caplog) == ["denied badge.wrong"] * 20 + ["folded badge.wrong"] * 3
    assert [vars(record)["authguard.count"] for record in caplog.records[20:]] == [32, 64, 100]


async def test_hooks_see_every_decision(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the log is spared."""
    site = Site()

    await site.ask(times=100)

    assert len(caplog.records) == 22
    assert [record.reason for record in site.seen] == ["badge.wrong"] * 100


async def test_a_fold_is_a_line_for_a_person_and_facts_for_a_program(caplog: pytest.LogCaptureFixture) -> None:
    """At the level of what it folds; its template is a constant of the reason."""
    site = Site()
    for number in range(31):
        site.badge.table = {"x": Rejected(BADGE_WRONG, f"user{number}")}
        await site.ask("Badge x", path="/boss/me")
    site.passes(2.5)
    caplog.clear()

    await site.ask("Badge x", path="/boss/you")

    (record,) = caplog.records
    assert (record.levelname, record.msg) == ("WARNING", "folded badge.wrong: %s")
    assert record.getMessage() == (
        "folded badge.wrong: count=32 first=2027-01-15T08:00:00+00:00 last=2027-01-15T08:00:02+00:00 "
        "client=192.0.2.7 rule=/boss/{name} subjects=31 samples=[user0, user1, user2]"
    )
    assert {key: value for key, value in vars(record).items() if key.startswith("authguard.")} == {
        "authguard.event": "folded",
        "authguard.reason": "badge.wrong",
        "authguard.count": 32,
        "authguard.first": NOW,
        "authguard.last": NOW + 2.5,
        "authguard.client": "192.0.2.7",
        "authguard.rule": "/boss/{name}",
        "authguard.subjects": 31,
        "authguard.samples": ("user0", "user1", "user2"),
    }


async def test_what_is_not_known_is_not_in_the_line(caplog: pytest.LogCaptureFixture) -> None:
    """No client, no rule."""
    site = Site()

    for _ in range(32):
        await run_app(site.app, http_scope(headers=header_list("Badge wrong"), client=None))

    line = caplog.messages[-1]
    assert line.startswith("folded badge.wrong: count=32 first=")
    assert line.endswith(" subjects=0 samples=[]")
    assert "client" not in line
    assert "rule" not in line


FOLDED = [
    ("Badge wrong", "/", "badge.wrong"),
    ("Badge mallory", "/", "badge.wrong"),
    ("Badge often", "/", "badge.often"),
    ("Badge odd", "/", "badge.odd"),
    ("Badge large", "/", "badge.large"),
    ("Basic eDp5", "/", "scheme.unsupported"),
    ("", "/", "credentials.malformed"),
    ("Badge wrong", "/a/../b", "path.ambiguous"),
]


@pytest.mark.parametrize(("field", "path", "reason"), FOLDED)
async def test_what_a_stranger_can_cause_is_folded(
    caplog: pytest.LogCaptureFixture, field: str, path: str, reason: str
) -> None:
    """400, 401, 413 and 429."""
    await Site().ask(field, 40, path)

    assert heads(caplog) == [f"denied {reason}"] * 20 + [f"folded {reason}"]


async def test_who_presents_nothing_is_folded_at_his_own_level(caplog: pytest.LogCaptureFixture) -> None:
    """INFO; and where nobody listens to that, nothing is counted."""
    site = Site()
    await site.ask(None, 40)
    unheard = len(site.guard._recorder._aggregator)
    caplog.set_level(logging.INFO)

    await site.ask(None, 40)

    assert unheard == 0
    assert heads(caplog) == ["denied credentials.missing"] * 20 + ["folded credentials.missing"]
    assert {record.levelname for record in caplog.records} == {"INFO"}


IN_FULL_ALWAYS = [
    ("Badge alice", "/boss/me", "denied role.missing"),
    ("Badge down", "/", "denied store.unavailable"),
    ("Badge expired", "/", "denied token.expired"),
]


@pytest.mark.parametrize(("field", "path", "head"), IN_FULL_ALWAYS)
async def test_what_a_stranger_cannot_cause_is_never_folded(
    caplog: pytest.LogCaptureFixture, field: str, path: str, head: str
) -> None:
    """403, outages, and denials of who has proven who he is."""
    await Site().ask(field, 100, path)

    assert heads(caplog) == [head] * 100


async def test_what_is_granted_is_never_folded(caplog: pytest.LogCaptureFixture) -> None:
    """Who listens at DEBUG sees them all."""
    caplog.set_level(logging.DEBUG)

    await Site().ask("Badge alice", 100)

    assert heads(caplog) == ["granted"] * 100


@pytest.mark.parametrize(("field", "path"), [("Badge alice", "/"), (None, "/maybe"), ("Badge expired", "/")])
async def test_the_next_request_tells_the_rest(caplog: pytest.LogCaptureFixture, field: str | None, path: str) -> None:
    """Whatever becomes of that request, and by whichever client it comes; with the level that the flood had."""
    site = Site(hooks=[])
    await site.ask(times=30)
    site.passes(3600)
    caplog.clear()

    await site.ask(field, 1, path, client="198.51.100.9")

    assert heads(caplog)[0] == "folded badge.wrong"
    assert vars(caplog.records[0])["authguard.count"] == 30


async def test_the_end_of_the_app_tells_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    """Also where the app fails."""
    for error in (None, LookupError("boom")):
        site = Site()
        caplog.clear()
        try:
            async with site.guard.running():
                await site.ask(times=30)
                if error is not None:
                    raise error
        except LookupError:
            pass

        assert heads(caplog)[20:] == ["folded badge.wrong"]


async def test_a_silent_guard_counts_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody would be told."""
    site = Site(log=False)

    await site.ask(times=100)

    assert (caplog.records, len(site.guard._recorder._aggregator), len(site.seen)) == ([], 0, 100)


async def test_without_hooks_nothing_folded_is_formatted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood costs less than what it floods."""
    made: list[Record] = []

    def counting(*given: Any) -> Record:
        made.append(record_of(*given))
        return made[-1]

    monkeypatch.setattr("authguard.records.recorder.record_of", counting)

    await Site(hooks=[]).ask(times=100)

    assert len(made) == 20


async def test_a_handshake_is_folded_as_a_request(caplog: pytest.LogCaptureFixture) -> None:
    """A WebSocket is denied as anything else is."""
    site = Site()

    for _ in range(40):
        await run_app(site.app, websocket_scope(headers=header_list("Badge wrong")))

    assert heads(caplog) == ["denied badge.wrong"] * 20 + ["folded badge.wrong"]


# --- What one client is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("addresses", "folded"),
    [
        (["2001:db8::1", "2001:db8::2:3"], ["2001:db8::/64"]),
        (["192.0.2.7", "::ffff:192.0.2.7"], ["192.0.2.7"]),
        (["2001:db8::1", "2001:db8:0:1::1"], []),
        (["192.0.2.7", "192.0.2.8"], []),
    ],
)
async def test_one_client_is_what_one_customer_gets(
    caplog: pytest.LogCaptureFixture, addresses: list[str], folded: list[str]
) -> None:
    """An IPv6 /64 is one: who has it has all its addresses, and would have a record in full for each."""
    site = Site()

    for address in addresses:
        await site.ask(times=16, client=address)

    told = [getattr(record, "authguard.client", None) for record in caplog.records if "folded" in record.message]
    assert told == folded


# --- What the client chose --------------------------------------------------------------------------------------------


KEYS = ["count", "first", "last", "client", "subjects", "samples"]


@pytest.mark.parametrize("text", [*CONTROL_TEXTS.values(), *FORGERIES, "x" * 10_000, "a]", "a, b"], ids=ascii)
async def test_what_the_client_chose_is_escaped_in_a_fold(caplog: pytest.LogCaptureFixture, text: str) -> None:
    """Name and address: one word each, printable, clipped, and nothing that reads as what we wrote."""
    site = Site()
    site.badge.table = {"x": Rejected(BADGE_WRONG, text)}

    for _ in range(32):
        await run_app(site.app, http_scope(headers=header_list("Badge x"), client=(text, 1)))

    line = caplog.messages[-1]
    assert line.isprintable()
    assert line.encode()
    assert len(line) < 2 * 1300
    words = "".join(line.split('"')[::2]).split()
    assert [word.partition("=")[0] for word in words if "=" in word] == KEYS
    assert not {"root", "200"} & set(words)
    assert json.dumps(vars(caplog.records[-1])["authguard.samples"], ensure_ascii=False).isprintable()


CANARY = "c4n4ry-Zq7"


async def test_a_fold_tells_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    """Of a request it has only what its scheme called the subject: no field, no fact, no path."""
    site = Site()
    site.badge.table = {CANARY: Rejected(BADGE_WRONG, "alice", {"password": CANARY})}
    caplog.set_level(logging.ERROR)  # what is told in full is the scheme's own matter
    await site.ask(f"Badge {CANARY}", 31, f"/{CANARY}")
    caplog.set_level(logging.WARNING)
    await site.ask(f"Badge {CANARY}", 31, f"/{CANARY}")
    caplog.clear()

    await site.ask(f"Badge {CANARY}", 1, f"/{CANARY}")

    assert heads(caplog) == ["folded badge.wrong"]
    assert CANARY not in repr(vars(caplog.records[0])) + caplog.text


async def test_a_clock_that_counts_in_something_else_breaks_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    """A time that is no date is told as the number that it is."""
    site = Site()
    site.clock.now = NOW * 1e9

    await site.ask(times=32)

    assert f"first={NOW * 1e9}" in caplog.messages[-1]
