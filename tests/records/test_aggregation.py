"""Aggregation: how a flood of equal denials is logged, and which records are never aggregated."""

from __future__ import annotations

import json
import logging
import math
import threading
from typing import Any

import pytest

from authguard.core.guard import Guard
from authguard.errors import BackendUnavailable
from authguard.middleware import AuthGuardMiddleware
from authguard.model import Accepted, Denied, Moment, Principal, Rejected
from authguard.policy.requirements import OPTIONAL, role
from authguard.policy.rules import Rule
from authguard.reasons import (
    HASHING_BUSY,
    INTROSPECTION_BUSY,
    KEYS_BUSY,
    KEYS_UNAVAILABLE,
    ROLE_MISSING,
    TOKEN_EXPIRED,
    Reason,
)
from authguard.records.aggregation import (
    EXACT_SUBJECTS,
    FULL_RECORDS,
    MAX_AGGREGATES,
    MAX_SEPARATE_KEYS,
    WINDOW,
    Aggregate,
    AggregateKey,
    Aggregator,
)
from authguard.records.record import Record, record_of
from authguard.records.recorder import Recorder
from authguard.request import AuthRequest
from authguard.testing import ManualClock
from tests.records.samples import ALICE, CONTROL_TEXTS, FORGERIES
from tests.support.asgi import RecordingApp, header_list, http_scope, run_app, websocket_scope
from tests.support.clock import NOW
from tests.support.forks import held_by_another_thread, needs_fork, run_in_child
from tests.support.schemes.badge import BADGE_WRONG, Badge

KIND = AggregateKey("badge.wrong", "192.0.2.7", "/admin")


class Minute:
    """An aggregator with a clock, and what it reports."""

    def __init__(self) -> None:
        self.folder = Aggregator()
        self.ticks = 500.0

    def count(self, kind: AggregateKey = KIND, subject: str | None = None) -> Aggregate | None:
        """Count one denial."""
        now = NOW + self.ticks
        return self.folder.count(kind, logging.WARNING, ticks=self.ticks, now=now, subject=subject)

    def over(self) -> list[tuple[str, int]]:
        """What is reported at the next request: for each client the number of denials."""
        return [(str(fold.key.client), fold.count) for fold in self.folder.pop_expired(self.ticks)]


# --- Which are told ---------------------------------------------------------------------------------------------------


def test_twenty_denials_are_logged_and_then_one_at_each_power_of_two() -> None:
    """The first twenty denials of a minute are logged in full, then numbers 32, 64, 128 and so on."""
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
def test_the_rest_is_logged_when_the_minute_is_over(count: int, told: list[int]) -> None:
    """An aggregate with the count of all denials is logged once, unless every denial was logged."""
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
    """In the next minute twenty denials are logged in full again. A minute begins with the first denial."""
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
    """Each combination of reason, client and rule is counted apart, so a flood of one hides no other."""
    minute = Minute()
    for _ in range(1000):
        minute.count()

    assert minute.count(other) is None


def test_no_more_than_so_many_rows_are_kept() -> None:
    """Beyond the maximum of rows, new combinations are counted by their reason alone."""
    minute = Minute()

    folds = [minute.count(AggregateKey("badge.wrong", f"192.0.2.{n}", None)) for n in range(5000)]

    assert len(minute.folder) == MAX_SEPARATE_KEYS + 1 <= MAX_AGGREGATES
    assert folds[: MAX_SEPARATE_KEYS + 20] == [None] * (MAX_SEPARATE_KEYS + 20)
    last = folds[-1]
    assert last is not None
    assert (last.key, last.count) == (AggregateKey("badge.wrong", "*", "*"), 5000 - MAX_SEPARATE_KEYS)


def test_reasons_without_end_make_no_rows_without_end() -> None:
    """If a scheme invents reasons, the oldest row is logged and dropped."""
    minute = Minute()
    for _ in range(25):
        minute.count()

    lines = []
    for number in range(3000):
        lines += minute.over()
        minute.count(AggregateKey(f"badge.r{number}", "192.0.2.9", None))
        assert len(minute.folder) <= MAX_AGGREGATES

    assert lines == [("192.0.2.7", 25)]


def test_an_aggregator_knows_when_it_has_something_to_do() -> None:
    """When the oldest minute ends, at once if there is no room for another aggregate, and never without one."""
    minute = Minute()
    due = [minute.folder.due]
    for number in range(MAX_AGGREGATES):
        minute.count(AggregateKey(f"badge.r{number}", None, None))
        minute.ticks += 0.01
        due.append(minute.folder.due)

    minute.over()
    with_room = minute.folder.due
    minute.folder.pop_all()

    assert due == [math.inf, *[500.0 + WINDOW] * (MAX_AGGREGATES - 1), -math.inf]
    assert with_room == pytest.approx(500.01 + WINDOW)
    assert minute.folder.due == math.inf


def test_at_the_end_everything_is_logged() -> None:
    """At the end all aggregates are logged, and none is kept."""
    minute = Minute()
    for client, count in [("a", 40), ("b", 5), ("c", 32), ("d", 21)]:
        for _ in range(count):
            minute.count(AggregateKey("badge.wrong", client, None))

    assert [(fold.key.client, fold.count) for fold in minute.folder.pop_all()] == [("a", 40), ("d", 21)]
    assert (len(minute.folder), minute.folder.pop_all()) == (0, [])


def test_several_threads_lose_no_count() -> None:
    """Counting in several threads loses nothing."""
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
    """A forked child has no aggregate of its parent, which records them, and no lock that a thread of the parent
    held."""
    minute = Minute()
    for _ in range(30):
        minute.count()

    with held_by_another_thread(minute.folder._lock):
        answer = run_in_child(lambda: (minute.count(), len(minute.folder), minute.folder.pop_all()))

    assert answer == "(None, 1, [])"
    assert [fold.count for fold in minute.folder.pop_all()] == [30]


# --- What a fold knows ------------------------------------------------------------------------------------------------


def aggregate_of(*subjects: str | None) -> Aggregate:
    """The aggregate of these subjects."""
    fold = Aggregate(KIND, logging.WARNING, 0.0, NOW, NOW)
    for number, subject in enumerate(subjects):
        fold.add(NOW + number, subject)
    return fold


def test_an_aggregate_has_its_first_and_last_time() -> None:
    """An aggregate has the time of day of its first and of its last denial."""
    fold = aggregate_of("a", "b", "c")

    assert (fold.first, fold.last, fold.count) == (NOW, NOW + 2, 3)


def test_an_aggregate_shows_the_first_subjects() -> None:
    """An aggregate lists the first different subjects, and no entry for a denial without one."""
    assert aggregate_of("a", "a", None, "b", "a", "c", "d").samples == ["a", "b", "c"]
    assert aggregate_of(None, None).samples == []


@pytest.mark.parametrize("number", [0, 1, 2, 63])
def test_few_subjects_are_counted_exactly(number: int) -> None:
    """A few different subjects are counted exactly."""
    names = [f"user{one}" for one in range(number)]

    assert aggregate_of(*names, *names, None).subjects == number


@pytest.mark.parametrize("number", [64, 500, 20_000])
def test_many_subjects_are_estimated(number: int) -> None:
    """Many subjects are estimated from 64 hashes in fixed memory, within a factor of two."""
    names = [f"user{one}" for one in range(number)]

    fold = aggregate_of(*names, *names[:1000])

    assert number / 2 < fold.subjects < number * 2
    assert len(fold._smallest_hashes) == EXACT_SUBJECTS


# --- In the log of a guard --------------------------------------------------------------------------------------------


class Site:
    """An app behind a guard that logs, with clocks that stand still."""

    def __init__(self, **options: Any) -> None:
        self.seen: list[Record] = []
        self.monotonic, self.clock = ManualClock(1000), ManualClock(NOW)
        table = {
            "alice": Accepted(ALICE),
            "bob": Accepted(Principal("bob")),
            "wrong": Rejected(BADGE_WRONG),
            "mallory": Rejected(BADGE_WRONG, "mallory"),
            "expired": Rejected(TOKEN_EXPIRED, "alice", authenticated=True),
            "down": BackendUnavailable("lost"),
            "often": Rejected(Reason("badge.often", 429)),
            "odd": Rejected(Reason("badge.odd", 400)),
            "large": Rejected(Reason("badge.large", 413)),
        }
        self.badge = Badge(table=table)
        settings: dict[str, Any] = {
            "rules": [Rule("/boss/{name}", role("boss")), Rule("/maybe", OPTIONAL)],
            "hooks": [self.seen.append],
            **options,
        }
        self.guard = Guard(self.badge, clock=self.clock, monotonic=self.monotonic, **settings)
        self.app = AuthGuardMiddleware(RecordingApp(), guard=self.guard)

    async def ask(
        self, field: str | None = "Badge wrong", times: int = 1, path: str = "/", client: str = "192.0.2.7"
    ) -> None:
        """Send so many requests."""
        for _ in range(times):
            await run_app(self.app, http_scope(path, headers=header_list(field), client=(client, 1)))

    def passes(self, seconds: float) -> None:
        """Move both clocks forward."""
        self.monotonic.move(seconds)
        self.clock.move(seconds)


def heads(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The constant part of each log message."""
    return [str(record.msg).removesuffix(": %s") for record in caplog.records]


async def test_a_flood_is_logged_as_an_aggregate(caplog: pytest.LogCaptureFixture) -> None:
    """Of a hundred denials, twenty are logged, and three of the eighty that follow."""
    site = Site()

    await site.ask(times=100)
    site.passes(60)
    await site.ask("Badge alice")

    assert heads(caplog) == ["denied badge.wrong"] * 20 + ["folded badge.wrong"] * 3
    assert [vars(record)["authguard.count"] for record in caplog.records[20:]] == [32, 64, 100]


async def test_a_flood_of_a_principal_ends_with_its_minute(caplog: pytest.LogCaptureFixture) -> None:
    """What an authenticated subject has been refused is logged when its minute is over, whoever sends a request."""
    site = Site()

    await site.ask("Badge alice", 40, "/boss/me")
    site.passes(60)
    await site.ask("Badge alice")

    assert heads(caplog) == ["denied role.missing"] * 20 + ["folded role.missing"] * 2
    assert vars(caplog.records[-1])["authguard.count"] == 40


async def test_hooks_see_every_decision(caplog: pytest.LogCaptureFixture) -> None:
    """Hooks get every record, whatever the log aggregates."""
    site = Site()

    await site.ask(times=100)

    assert len(caplog.records) == 22
    assert [record.reason for record in site.seen] == ["badge.wrong"] * 100


async def test_an_aggregate_is_a_line_and_its_facts(caplog: pytest.LogCaptureFixture) -> None:
    """An aggregate is logged at the level of its denials, with a constant template for each reason."""
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


async def test_unknown_values_are_not_in_the_line(caplog: pytest.LogCaptureFixture) -> None:
    """Without a client or a rule, the line does not name one."""
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
async def test_denials_that_anybody_can_cause_are_aggregated(
    caplog: pytest.LogCaptureFixture, field: str, path: str, reason: str
) -> None:
    """Denials with 400, 401, 413 and 429 are aggregated."""
    await Site().ask(field, 40, path)

    assert heads(caplog) == [f"denied {reason}"] * 20 + [f"folded {reason}"]


async def test_missing_credentials_are_aggregated_at_info(caplog: pytest.LogCaptureFixture) -> None:
    """Denials without credentials are aggregated at INFO, and not counted if INFO is not logged."""
    site = Site()
    await site.ask(None, 40)
    unheard = len(site.guard._recorder._strangers)
    caplog.set_level(logging.INFO)

    await site.ask(None, 40)

    assert unheard == 0
    assert heads(caplog) == ["denied credentials.missing"] * 20 + ["folded credentials.missing"]
    assert {record.levelname for record in caplog.records} == {"INFO"}


# A client sends a thousand requests of each kind: a missing role, an outage, a token that expired long ago.
FLOODS = [
    ("Badge alice", "/boss/me", "role.missing"),
    ("Badge down", "/", "store.unavailable"),
    ("Badge expired", "/", "token.expired"),
    ("Badge wrong", "/", "badge.wrong"),
    (None, "/", "credentials.missing"),
    ("Basic YTpi", "/", "scheme.unsupported"),
]


@pytest.mark.parametrize(("field", "path", "reason"), FLOODS)
async def test_a_thousand_refusals_of_any_kind_are_thirty_records_at_most(
    caplog: pytest.LogCaptureFixture, field: str | None, path: str, reason: str
) -> None:
    """Denials with 403, outages and denials of an authenticated subject are aggregated as all others are."""
    caplog.set_level(logging.INFO)

    await Site().ask(field, 1000, path)

    assert heads(caplog)[:20] == [f"denied {reason}"] * 20
    assert set(heads(caplog)[20:]) == {f"folded {reason}"}
    assert len(heads(caplog)) <= 30


async def test_the_denials_of_one_principal_hide_no_others(caplog: pytest.LogCaptureFixture) -> None:
    """An authenticated subject is counted by itself, from the same address too."""
    site = Site()

    await site.ask("Badge alice", 100, "/boss/me")
    await site.ask("Badge bob", 1, "/boss/me")

    assert heads(caplog)[-1] == "denied role.missing"
    assert "bob" in caplog.records[-1].getMessage()


def test_strangers_with_many_addresses_hide_no_principal(caplog: pytest.LogCaptureFixture) -> None:
    """However many rows strangers use up, those of authenticated principals are kept apart."""
    recorder = Recorder((), to_log=True, monotonic=lambda: 0.0)
    for number in range(2000):
        scope = http_scope("/", client=(f"10.0.{number >> 8}.{number & 255}", 1))
        recorder.record(AuthRequest(scope, "/", Moment(NOW, 60.0)), Denied(BADGE_WRONG, "badge"))
    caplog.clear()

    denied = Denied(ROLE_MISSING, "badge", "alice", authenticated=True)
    recorder.record(AuthRequest(http_scope("/"), "/", Moment(NOW, 60.0)), denied)

    assert heads(caplog) == ["denied role.missing"]


def test_another_outage_is_not_counted_as_the_first(caplog: pytest.LogCaptureFixture) -> None:
    """A second server that fails is logged, however often the first one was."""
    recorder = Recorder((), to_log=True, monotonic=lambda: 0.0)
    request = AuthRequest(http_scope("/"), "/", Moment(NOW, 60.0))

    for _ in range(100):
        recorder.record(request, Denied(KEYS_UNAVAILABLE, facts={"detail": "one.example: it cannot be reached"}))
    recorder.record(request, Denied(KEYS_UNAVAILABLE, facts={"detail": "two.example: it cannot be reached"}))

    assert heads(caplog)[-1] == "denied keys.unavailable"


@pytest.mark.parametrize("reason", [HASHING_BUSY, INTROSPECTION_BUSY, KEYS_BUSY], ids=lambda reason: reason.code)
def test_denials_by_a_limit_are_aggregated_whatever_their_details(
    caplog: pytest.LogCaptureFixture, reason: Reason
) -> None:
    """The expected waiting time in the detail is another one for each request. Strangers cause such a flood, and it is
    twenty-five records, not a thousand."""
    recorder = Recorder((), to_log=True, monotonic=lambda: 0.0)
    request = AuthRequest(http_scope("/"), "/", Moment(NOW, 60.0))

    for number in range(1000):
        recorder.record(request, Denied(reason, facts={"detail": f"it would take {number}.5 s"}))

    assert heads(caplog) == [f"denied {reason.code}"] * 20 + [f"folded {reason.code}"] * 5
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


async def test_grants_are_never_aggregated(caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG every grant is logged."""
    caplog.set_level(logging.DEBUG)

    await Site().ask("Badge alice", 100)

    assert heads(caplog) == ["granted"] * 100


@pytest.mark.parametrize(("field", "path"), [("Badge alice", "/"), (None, "/maybe"), ("Badge expired", "/")])
async def test_the_next_request_logs_the_rest(caplog: pytest.LogCaptureFixture, field: str | None, path: str) -> None:
    """After the minute, the next request of any client, with any outcome, logs the aggregate at the level of the
    flood."""
    site = Site(hooks=[])
    await site.ask(times=30)
    site.passes(3600)
    caplog.clear()

    await site.ask(field, 1, path, client="198.51.100.9")

    assert heads(caplog)[0] == "folded badge.wrong"
    assert vars(caplog.records[0])["authguard.count"] == 30


async def test_the_end_of_the_app_logs_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    """The end of the lifespan logs the aggregates, even if the app fails."""
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
    """With ``log=False`` nothing is counted."""
    site = Site(log=False)

    await site.ask(times=100)

    assert (caplog.records, len(site.guard._recorder._strangers), len(site.seen)) == ([], 0, 100)


async def test_without_hooks_an_aggregated_denial_is_not_formatted(monkeypatch: pytest.MonkeyPatch) -> None:
    """An aggregated denial is not formatted, so that logging a flood costs little."""
    instances: list[Record] = []

    def counting(*given: Any) -> Record:
        instances.append(record_of(*given))
        return instances[-1]

    monkeypatch.setattr("authguard.records.recorder.record_of", counting)

    await Site(hooks=[]).ask(times=100)

    assert len(instances) == 20


async def test_a_websocket_denial_is_aggregated_too(caplog: pytest.LogCaptureFixture) -> None:
    """Denials of WebSocket handshakes are aggregated like those of requests."""
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
    """An IPv6 /64 counts as one client, because its customer has all of its addresses."""
    site = Site()

    for address in addresses:
        await site.ask(times=16, client=address)

    told = [getattr(record, "authguard.client", None) for record in caplog.records if "folded" in record.message]
    assert told == folded


# --- What the client chose --------------------------------------------------------------------------------------------


KEYS = ["count", "first", "last", "client", "subjects", "samples"]


@pytest.mark.parametrize("text", [*CONTROL_TEXTS.values(), *FORGERIES, "x" * 10_000, "a]", "a, b"], ids=ascii)
async def test_values_of_the_client_are_escaped_in_an_aggregate(caplog: pytest.LogCaptureFixture, text: str) -> None:
    """Subject and address are one printable, clipped word each, and cannot imitate the text of the record."""
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


async def test_an_aggregate_has_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    """An aggregate has the subject that the scheme named, and no header, fact or path of the requests."""
    site = Site()
    site.badge.table = {CANARY: Rejected(BADGE_WRONG, "alice", {"password": CANARY})}
    caplog.set_level(logging.ERROR)  # the facts of a full record come from the scheme
    await site.ask(f"Badge {CANARY}", 31, f"/{CANARY}")
    caplog.set_level(logging.WARNING)
    await site.ask(f"Badge {CANARY}", 31, f"/{CANARY}")
    caplog.clear()

    await site.ask(f"Badge {CANARY}", 1, f"/{CANARY}")

    assert heads(caplog) == ["folded badge.wrong"]
    assert CANARY not in repr(vars(caplog.records[0])) + caplog.text


async def test_a_clock_with_another_unit_breaks_no_response(caplog: pytest.LogCaptureFixture) -> None:
    """A time that is not a date is logged as the number that it is."""
    site = Site()
    site.clock.now = NOW * 1e9

    await site.ask(times=32)

    assert f"first={NOW * 1e9}" in caplog.messages[-1]
