"""Patterns in refusals: bursts of one cause, who is refused most, and a memory that no client can make grow."""

from __future__ import annotations

from typing import Any

import pytest

from authguard.records.patterns import (
    MAX_CAUSES,
    MAX_DISTINCT,
    MINUTES,
    Burst,
    DenialWindow,
    find_bursts,
    find_offenders,
    format_seconds,
    format_span,
    refusals_by_minute,
)
from authguard.records.record import Record

#: The beginning of a minute.
START = 1_800_000_000.0


def denied(reason: str | None = "token.expired", **changes: Any) -> Record:
    """The record of a refusal."""
    fields: dict[str, Any] = {
        "event": "denied",
        "reason": reason,
        "status": 401,
        "scheme": "bearer",
        "subject": "alice",
        "subject_proven": True,
        "method": "GET",
        "path": "/orders",
        "client": "192.0.2.7",
        "requirement": "AUTHENTICATED",
        "rule": "/orders",
        **changes,
    }
    return Record(**fields)


def window(*minutes: tuple[int, int], **changes: Any) -> DenialWindow:
    """A window with so many refusals in each of these minutes after START: pairs of minute and count."""
    counted = DenialWindow()
    for minute, count in minutes:
        for number in range(count):
            counted.add(denied(**changes), START + 60 * minute + number * 60 / count)
    return counted


def bursts(counted: DenialWindow, minute: float) -> list[Burst]:
    """The bursts in this minute after START."""
    return list(find_bursts(counted.snapshot(), START + 60 * minute))


def only(counted: DenialWindow, minute: float) -> Burst:
    """The only burst in this minute after START."""
    (burst,) = bursts(counted, minute)
    return burst


# --- bursts -----------------------------------------------------------------------------------------------------------


def test_one_cause_that_comes_often_is_a_burst() -> None:
    """The burst has the number of its refusals and the time of the first."""
    burst = only(window((0, 1), (30, 12), (31, 12)), 31)

    assert (burst.reason, burst.scheme, burst.count, burst.since) == ("token.expired", "bearer", 24, START + 1800)
    assert (burst.is_steady, burst.is_over) == (False, False)


def test_a_few_refusals_are_no_burst() -> None:
    """Less than twenty, or less than five a minute, is what happens every day."""
    assert bursts(window((30, 19)), 30) == []
    assert bursts(window(*((minute, 4) for minute in range(20))), 19) == []


def test_a_burst_goes_on_over_short_pauses() -> None:
    """After three quiet minutes it is the same burst, and after four it is another one."""
    assert only(window((20, 15), (24, 15)), 24).count == 30
    assert bursts(window((20, 15), (25, 15)), 25) == []


def test_a_burst_that_is_over_says_so() -> None:
    """Four minutes after the last refusal it is over, and stays in the list for the rest of the hour."""
    counted = window((10, 40), (11, 40))

    assert [only(counted, minute).is_over for minute in (11, 14, 15, 60)] == [False, False, True, True]
    assert only(counted, 30).last == pytest.approx(START + 720, abs=2)
    assert bursts(counted, 80) == []


def test_each_burst_of_an_hour_is_listed() -> None:
    """The one that goes on comes first. How many clients an older one had is not known any more."""
    now, before = bursts(window((10, 40), (40, 25)), 41)

    assert (now.count, now.clients, now.is_over) == (25, 1, False)
    assert (before.count, before.clients, before.is_over) == (40, 0, True)
    assert before.last == pytest.approx(START + 660, abs=2)


def test_what_comes_all_the_time_is_steady() -> None:
    """A cause that fills the hour is no news, and neither is one that is only a little more frequent."""
    assert only(window(*((minute, 6) for minute in range(60))), 59).is_steady
    assert only(window(*((minute, 4) for minute in range(50)), (50, 12), (51, 12)), 51).is_steady
    assert not only(window(*((minute, 1) for minute in range(50)), (50, 12), (51, 12)), 51).is_steady


def test_a_burst_does_not_make_another_one_usual() -> None:
    """Two bursts of one cause within an hour are both bursts."""
    assert [burst.is_steady for burst in bursts(window((10, 60), (50, 60)), 51)] == [False, False]


def test_outages_come_first() -> None:
    """What the guard cannot decide matters more than a larger number of refusals."""
    counted = window((0, 90))
    for second in range(30):
        counted.add(
            denied("keys.unavailable", status=503, facts={"detail": "https://login.example/jwks: away"}), START + second
        )

    outage, other = bursts(counted, 0)

    assert (outage.reason, other.reason) == ("keys.unavailable", "token.expired")
    assert outage.what == "tokens could not be checked, because keys could not be fetched"
    assert outage.meaning == "Clients keep their credentials, and try again. https://login.example/jwks: away"


# --- what a burst says ------------------------------------------------------------------------------------------------


def about(reason: str, *facts: dict[str, object], **changes: Any) -> Burst:
    """The burst of thirty refusals, with these facts in turn."""
    counted = DenialWindow()
    for number in range(30):
        counted.add(denied(reason, facts=facts[number % len(facts)] if facts else {}, **changes), START + number)
    return only(counted, 0)


def test_tokens_that_expired_at_one_time_are_about_a_clock() -> None:
    """Durations that hardly differ are two clocks that do."""
    burst = about("token.expired", {"expired_by": 58.2}, {"expired_by": 61.0})

    assert (burst.what, burst.meaning) == (
        "tokens expired by 58 to 61 s",
        "Their clock or yours: all by about the same time",
    )


def test_tokens_that_expired_at_many_times_are_about_clients() -> None:
    """Durations that differ are clients that get no new tokens."""
    facts: list[dict[str, object]] = [{"expired_by": 70.0 * number} for number in range(1, 17)]
    burst = about("token.expired", *facts)

    assert (burst.what, burst.meaning) == (
        "tokens expired by 70 s to 19 min",
        "Clients go on with old tokens: look at how they get new ones",
    )


def test_one_old_token_does_not_hide_a_clock() -> None:
    """Between thirty tokens that expired a minute ago there is one of yesterday."""
    counted = DenialWindow()
    for number in range(40):
        counted.add(denied(facts={"expired_by": 90_000.0 if number == 3 else 60.0 + number % 3}), START + 4 * number)

    assert only(counted, 2).what == "tokens expired by 60 to 62 s"


def test_tokens_from_the_future_are_about_a_clock() -> None:
    """R012: one of two clocks is ahead."""
    burst = about("token.not_yet_valid", {"valid_in": 90.0})

    assert burst.what == "tokens are not valid for another 90 s"
    assert burst.meaning == "Their clock or yours: one is ahead of the other"


def test_idle_sessions_are_not_about_clocks() -> None:
    """Users come back at about the same time after a break."""
    burst = about("session.idle", {"idle_by": 60.0})

    assert burst.what == "sessions had been idle for too long by 60 s"
    assert burst.meaning.startswith("Users come back")


@pytest.mark.parametrize(
    ("clients", "names", "meaning"),
    [
        (1, 30, "Many names from few addresses: somebody tries common passwords"),
        (30, 1, "Few names from many addresses: somebody tries passwords that leaked"),
        (2, 2, "Guesses, or a client that keeps an old password"),
    ],
)
def test_wrong_passwords_say_who_guesses(clients: int, names: int, meaning: str) -> None:
    """Spraying has many names from few addresses, and stuffing few names from many."""
    counted = DenialWindow()
    for number in range(30):
        record = denied("password.wrong", client=f"192.0.2.{number % clients}", subject=f"user{number % names}")
        counted.add(record, START + number)

    assert only(counted, 0).meaning == meaning


def test_a_reason_of_the_app_is_named() -> None:
    """A reason that authguard does not know has its code, and no meaning is made up for it."""
    burst = about("order.not_owner", client=None, subject=None)

    assert (burst.what, burst.meaning) == ("requests were refused with order.not_owner", "")
    assert (burst.clients, burst.subjects) == (0, 0)


def test_the_facts_of_the_app_may_be_of_any_type() -> None:
    """A duration that is a text is not counted."""
    assert about("token.expired", {"expired_by": "long ago"}).what == "tokens expired"


# --- the memory -------------------------------------------------------------------------------------------------------


def test_refusals_are_counted_by_minute() -> None:
    """The last number is that of this minute; what is older than an hour is gone."""
    counted = window((0, 3), (58, 1), (60, 2))
    counted.add(denied("role.missing"), START + 3600)
    counted.add(denied("scope.missing"), START)

    series = refusals_by_minute(counted.snapshot(), START + 3610)

    assert {reason: (len(numbers), sum(numbers), numbers[-1]) for reason, numbers in series.items()} == {
        "token.expired": (MINUTES, 3, 2),
        "role.missing": (MINUTES, 1, 1),
    }


def test_a_copy_does_not_change() -> None:
    """What is read is a snapshot, because other threads go on to count."""
    counted = window((0, 1))
    before = counted.snapshot()
    counted.add(denied(client="198.51.100.1"), START + 1)

    assert [tally.minutes[int(START // 60)].count for tally in (*before, *counted.snapshot())] == [1, 2]
    assert before[0].clients == {"192.0.2.7"}


def test_neither_names_nor_addresses_nor_reasons_make_it_grow() -> None:
    """So many causes, so many minutes, and of each so many names and addresses."""
    counted, at = DenialWindow(), START
    for number in range(500):
        at = START + 60 * number
        counted.add(denied(client=f"2001:db8::{number:x}", subject=f"user{number}", facts={"expired_by": 1.0}), at)
        counted.add(denied(f"app.reason{number}"), at + 1)
    for number in range(500):
        counted.add(denied(client=f"2001:db8::{number:x}", subject=f"user{number}", facts={"expired_by": 1.0}), at + 2)
    tallies = counted.snapshot()
    (expired,) = (tally for tally in tallies if tally.reason == "token.expired")

    assert len(tallies) == MAX_CAUSES
    assert len(expired.minutes) == MINUTES
    assert (len(expired.clients), len(expired.subjects)) == (MAX_DISTINCT, MAX_DISTINCT)
    assert max(len(minute.durations) for minute in expired.minutes.values()) == 16


def test_the_clients_are_those_of_the_last_run() -> None:
    """After a pause the clients of an older burst are not counted for the new one."""
    counted = window((0, 30), client="192.0.2.1")
    for number in range(30):
        counted.add(denied(client="192.0.2.2"), START + 1800 + number)

    assert [burst.clients for burst in bursts(counted, 30)] == [1, 0]


# --- who is refused most ----------------------------------------------------------------------------------------------


def test_offenders_are_clients_names_and_rules() -> None:
    """Each kind has its most refused ones, with their most frequent reason."""
    records = [
        *(denied(client="192.0.2.1", subject=f"user{number}") for number in range(4)),
        *(denied("role.missing", client="192.0.2.2", subject="bob", rule="/admin/**") for _ in range(3)),
        denied("password.wrong", client="192.0.2.2", subject="bob", rule=None),
        denied("credentials.missing", client=None, subject=None, rule=None),
    ]
    found = find_offenders([(START + number, record) for number, record in enumerate(records)], most=1)

    assert [(one.kind, one.name, one.count, one.reason, one.others) for one in found] == [
        ("client", "192.0.2.1", 4, "token.expired", 4),
        ("subject", "bob", 4, "role.missing", 1),
        ("rule", "/orders", 4, "token.expired", 1),
    ]
    assert (found[1].first, found[1].last, found[1].note) == (START + 4, START + 7, "")


def test_offenders_that_try_passwords_are_marked() -> None:
    """Eight names from one address, or eight addresses for one name."""
    records = [
        *(denied("user.unknown", client="192.0.2.1", subject=f"user{number}") for number in range(8)),
        *(denied("password.wrong", client=f"198.51.100.{number}", subject="bob") for number in range(8)),
    ]
    found = find_offenders([(START, record) for record in records], most=1)

    assert [one.note for one in found] == ["tries many names", "tried from many addresses", ""]


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (58.2, 61.0, "58 to 61 s"),
        (4.0, 4.04, "4 s"),
        (0.5, 3.25, "0.5 to 3.2 s"),
        (30.0, 600.0, "30 s to 10 min"),
        (7200.0, 7200.0, "2 h"),
        (86_400.0 * 3, 86_400.0 * 5, "3 to 5 d"),
    ],
)
def test_a_span_is_written_with_its_unit(low: float, high: float, text: str) -> None:
    """The unit stands once if both have the same."""
    assert format_span(low, high) == text


def test_a_duration_is_written_in_its_largest_unit() -> None:
    """A duration below two of a unit is in the smaller one."""
    assert [format_seconds(seconds) for seconds in (119.0, 120.0, 7199.0, 172_800.0)] == [
        "119 s",
        "2 min",
        "120 min",
        "2 d",
    ]


def test_a_burst_is_of_one_issuer() -> None:
    """Two issuers with one fault are two bursts, which name them. The name that a stranger wrote into a token makes no
    cause, and neither does a fact that is no text."""
    counted = DenialWindow()
    for number in range(40):
        for name, late in (("https://login.example/", 58.0), ("https://partner.example", 3.0)):
            counted.add(denied(facts={"expired_by": late + number % 4, "issuer": name}), START + number)
        counted.add(denied("token.issuer_unknown", facts={"issuer": f"https://{number}.example"}), START + number)
        counted.add(denied("token.not_yet_valid", facts={"issuer": number}), START + number)

    found = sorted(f"{burst.count} {burst.what}" for burst in bursts(counted, 0))

    assert found == [
        "40 tokens are not valid for another",
        "40 tokens came from an issuer that is not configured",
        "40 tokens of https://login.example/ expired by 58 to 61 s",
        "40 tokens of https://partner.example expired by 3 to 6 s",
    ]
