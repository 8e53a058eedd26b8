"""Counts: how many decisions there were of each kind, without a record of any."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import Any

import pytest

from authguard.core.guard import Guard
from authguard.middleware import AuthGuardMiddleware
from authguard.model import Accepted, Rejected
from authguard.policy.requirements import OPTIONAL, PUBLIC, role
from authguard.policy.rules import Rule
from authguard.records import CountKey, Record
from authguard.records.counts import MAX_COUNTS, MAX_OTHER_RULES, DecisionCounts
from tests.records.samples import ALICE
from tests.support.asgi import RecordingApp, header_list, http_scope, run_app
from tests.support.forks import held_by_another_thread, needs_fork, run_in_child
from tests.support.schemes.badge import BADGE_WRONG, Badge

REQUESTS = [
    ("Badge alice", "/"),
    ("Badge alice", "/"),
    ("Badge alice", "/boss"),
    ("Badge wrong", "/"),
    ("Basic YTpi", "/boss"),
    (None, "/"),
    (None, "/maybe"),
    (None, "/a/../b"),
    ("Badge wrong", "/open"),
]
COUNTED = {
    CountKey("granted", None, "badge", None): 2,
    CountKey("granted", None, None, "/maybe"): 1,
    CountKey("denied", "role.missing", "badge", "/boss"): 1,
    CountKey("denied", "badge.wrong", "badge", None): 1,
    CountKey("denied", "scheme.unsupported", None, "/boss"): 1,
    CountKey("denied", "credentials.missing", None, None): 1,
    CountKey("denied", "path.ambiguous", None, None): 1,
}


async def send_requests(**options: Any) -> Guard:
    """Send ``REQUESTS`` to an app, and return its guard."""
    rules = [Rule("/boss", role("boss")), Rule("/maybe", OPTIONAL), Rule("/open", PUBLIC)]
    scheme = Badge(table={"alice": Accepted(ALICE), "wrong": Rejected(BADGE_WRONG)})
    guard = Guard(scheme, rules=rules, **options)
    app = AuthGuardMiddleware(RecordingApp(), guard=guard)
    for field, path in REQUESTS:
        await run_app(app, http_scope(path, headers=header_list(field)))
    return guard


async def test_decisions_are_counted_without_a_record() -> None:
    """Each decision counts for its event, reason, scheme and rule, where neither the log nor a hook wants a record."""
    guard = await send_requests(log=False)

    assert guard.counts() == COUNTED
    assert guard.counts() == COUNTED, "reading changes nothing"


async def test_what_is_aggregated_in_the_log_is_counted() -> None:
    """A flood of denials counts in full, although the log has few records of it."""
    guard = await send_requests()
    app = AuthGuardMiddleware(RecordingApp(), guard=guard)

    for _ in range(1000):
        await run_app(app, http_scope(headers=header_list("Badge wrong")))

    assert guard.counts()[CountKey("denied", "badge.wrong", "badge", None)] == 1001


async def test_there_is_a_count_for_each_record_of_a_hook() -> None:
    """The fields of a count are those of the records: a hook could count the same."""
    records: list[Record] = []

    guard = await send_requests(hooks=[records.append])

    assert guard.counts() == Counter(
        CountKey(record.event, record.reason, record.scheme, record.rule) for record in records
    )


def test_rules_without_end_make_no_counts_without_end() -> None:
    """Beyond the bound, the other rules of a reason are counted together, and no count that was there is lost."""
    counts = DecisionCounts()
    for number in range(MAX_COUNTS + 500):
        counts.add("granted", None, "bearer", f"/{number}")
    counts.add("granted", None, "bearer", "/0")

    found = counts.snapshot()

    assert len(found) == MAX_COUNTS + 1
    assert found[CountKey("granted", None, "bearer", "/0")] == 2
    assert found[CountKey("granted", None, "bearer", "*")] == 500


def test_reasons_without_end_make_no_counts_without_end() -> None:
    """If a scheme invents reasons, those beyond the bound are counted together."""
    counts = DecisionCounts()
    for number in range(MAX_COUNTS + MAX_OTHER_RULES + 500):
        counts.add("denied", f"badge.r{number}", "badge", "/")
    counts.add("granted", None, None, "/")

    found = counts.snapshot()

    assert len(found) == MAX_COUNTS + MAX_OTHER_RULES + 2
    assert found[CountKey("denied", f"badge.r{MAX_COUNTS}", "badge", "*")] == 1
    assert found[CountKey("denied", "*", "*", "*")] == 500
    assert found[CountKey("granted", "*", "*", "*")] == 1


def test_several_threads_lose_no_decision() -> None:
    """What threads count at the same time is counted, while another one reads."""
    counts, begin = DecisionCounts(), threading.Barrier(5)

    def flood() -> None:
        begin.wait()
        for number in range(3000):
            counts.add("denied", "badge.wrong", "badge", f"/{number % 7}")

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    begin.wait()
    readings = [sum(counts.snapshot().values()) for _ in range(200)]
    for thread in threads:
        thread.join()

    assert readings == sorted(readings)
    assert sum(counts.snapshot().values()) == 12_000


@needs_fork
def test_a_forked_child_counts_from_zero() -> None:
    """A forked child has no count of its parent, which exports its own, and no lock that a thread of the parent
    held."""
    counts = DecisionCounts()
    for _ in range(3):
        counts.add("granted", None, "badge", "/")

    def count_in_child() -> object:
        counts.add("granted", None, "badge", "/")
        return list(counts.snapshot().values())

    with held_by_another_thread(counts._lock):
        answer = run_in_child(count_in_child)

    assert answer == "[1]"
    assert list(counts.snapshot().values()) == [3]


async def test_a_level_that_is_not_logged_changes_no_count(caplog: pytest.LogCaptureFixture) -> None:
    """A denial below the level of the log is counted all the same."""
    caplog.set_level(logging.CRITICAL, "authguard")

    guard = await send_requests()

    assert guard.counts() == COUNTED
    assert caplog.records == []
