"""The explanation of a record alone, and the forms in which a record is read."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection

import pytest

import tests.docs.proof_refusals
import tests.docs.token_refusals  # noqa: F401 - they register their refusals
from authguard.explain import Explanation, explain_record, read_record
from authguard.explain.recorded import MAX_RECORD
from authguard.records.record import Record, log
from tests.docs.refusals import REFUSALS

EXPIRED = Record(
    "denied", "token.expired", 401, "bearer", "alice", True, "GET", "/orders", "192.0.2.1", "role(admin)", "/orders",
    facts={"expired_by": 64.0, "leeway": 60.0, "token": "1323fce6"},
)  # fmt: skip


def test_a_record_says_cause_and_fix() -> None:
    """The explanation of a record has its steps, the times in one line, the cause and what to do."""
    assert str(explain_record(EXPIRED)) == (
        "GET /orders: 401 token.expired\n"
        "\n"
        "  ok    request        GET /orders from 192.0.2.1\n"
        "  ok    rule           /orders; wanted: role(admin)\n"
        "  ok    credentials    bearer of alice\n"
        "  FAIL  token.expired  expired_by=64s; wanted: leeway=60s\n"
        "                       exp -- 1 min -- leeway ends -- 4 s -- NOW\n"
        "\n"
        "The record says:\n"
        "  expired_by=64s   (how long ago)\n"
        "  leeway=60s   (at most this)\n"
        "  token=1323fce6   (the first 8 hexadecimal digits of the token's SHA-256, to find the same token\n"
        "      elsewhere)\n"
        "\n"
        "Why: The token has ended.\n"
        "\n"
        "What to do: Nothing: the client gets a new one. If many end at once, compare the clocks."
    )


def test_a_grant_needs_no_cause() -> None:
    """A record of a grant has no cause and no advice."""
    record = Record("granted", None, None, "bearer", "alice", True, "GET", "/orders", None, "authenticated")
    explanation = explain_record(record)
    assert (explanation.outcome, explanation.cause, explanation.advice) == ("granted", "", "")
    assert str(explanation).startswith("GET /orders: granted\n")


def test_the_login_page_has_the_cause_behind_it() -> None:
    """A browser that is sent to the login page has the advice of the reason that sent it there."""
    facts = {"cause": "session.idle", "idle_by": 200.0, "idle": 1800.0}
    record = Record(
        "denied", "login.required", 303, "session", "alice", True, "GET", "/orders", None, None, facts=facts
    )
    explanation = explain_record(record)
    assert "The cause is session.idle: Nothing was noted of this session" in explanation.cause
    assert "raise `Session(idle=)`" in explanation.advice
    assert any(step.line == "idle -- 3 min 20 s -- NOW" for step in explanation.steps)


@pytest.mark.parametrize("code", REFUSALS)
async def test_a_line_is_read_as_the_record_that_wrote_it(code: str) -> None:
    """The explanation of a line of the log has the cause, the advice and the facts of the record itself."""
    for refusal in REFUSALS[code]:
        record = await refusal()
        by_record, by_line = explain_record(record), explain_record(read_record(f"2026 WARNING authguard: {record}"))
        assert essence(by_line) == essence(by_record)


@pytest.mark.parametrize("code", REFUSALS)
async def test_a_document_is_read_as_the_record_that_wrote_it(code: str) -> None:
    """The same for the JSON of a logging set-up, among whose keys others may be."""
    for refusal in REFUSALS[code]:
        record = await refusal()
        document = json.dumps({"level": "WARNING", "message": str(record), **record.extra()}, default=list)
        # A fact of the same name as a field is not among the keys of a log record.
        by_record, by_document = explain_record(record), explain_record(read_record(document))
        assert essence(by_document, {"rule", "missing"}) == essence(by_record, {"rule", "missing"})


def essence(explanation: Explanation, without: Collection[str] = ()) -> object:
    """What a person learns."""
    # A mapping is read as the text that it was written as, with its quotes inside of others.
    facts = {fact.name: re.sub("[\"']", "", fact.text) for fact in explanation.facts if fact.name not in without}
    return explanation.request, explanation.reason, explanation.cause, explanation.advice, facts


def test_the_fields_of_a_record_are_read_as_json() -> None:
    """A hook may write the fields of a record with the facts inside."""
    document = {name: getattr(EXPIRED, name) for name in Record.__match_args__}
    assert read_record(json.dumps(document)) == EXPIRED


def test_a_log_record_is_read(caplog: pytest.LogCaptureFixture) -> None:
    """What the logger writes is read: the head is the message, and the line its argument."""
    with caplog.at_level(logging.WARNING, "authguard"):
        log.warning("%s %s", EXPIRED.head, EXPIRED.line())
    assert read_record(caplog.text).reason == "token.expired"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("GET /orders 401", "it has neither"),
        ("{", "it is no JSON"),
        ('{"event": "denied"}', "its JSON has no event"),
        ('{"event": ["denied"], "method": "GET", "path": "/"}', "its JSON has no event"),
        ("x" * (MAX_RECORD + 1), "it is too long"),
    ],
    ids=["no line", "no JSON", "no record", "another event", "too long"],
)
def test_another_text_is_no_record(text: str, problem: str) -> None:
    """A text that is no record is refused with what it should be."""
    with pytest.raises(ValueError, match=problem):
        read_record(text)


FORGED = '"event": "denied", "reason": "token.expired", "method": "GET", "path": "/orders"'


@pytest.mark.parametrize(
    "seconds",
    ["1e999", "-1e999", "NaN", "1e300", "9" * 400, "true", '"64"'],
    ids=["infinite", "minus infinite", "not a number", "long", "huge", "true", "text"],
)
def test_a_time_that_no_record_has_is_not_drawn(seconds: str) -> None:
    """A record may be written by anybody. The fact is shown, and no line of times."""
    told = explain_record(read_record(f'{{{FORGED}, "facts": {{"expired_by": {seconds}, "leeway": {seconds}}}}}'))

    assert "NOW" not in str(told)
    assert "expired_by=" in str(told)


def test_a_line_with_endless_seconds_is_explained() -> None:
    """So many digits are no time."""
    line = f"denied token.expired: GET /orders 401 bearer alice expired_by={'9' * 400}s leeway=60s"

    assert "NOW" not in str(explain_record(read_record(line)))


@pytest.mark.parametrize("nested", ['{"a":' * 900 + "1" + "}" * 900, "[" * 900 + "]" * 900], ids=["objects", "lists"])
def test_what_is_nested_deeply_is_named_by_its_type(nested: str) -> None:
    """No fact of a record is nested more than once, so what is deeper is not shown."""
    told = str(explain_record(read_record(f'{{{FORGED}, "missing": {nested}, "facts": {{"problem": {nested}}}}}')))

    assert "problem=a:dict" in told or "problem=[list]" in told


def test_no_control_character_of_a_record_reaches_a_terminal() -> None:
    """Whoever writes a line into a log may hope that somebody shows it at a terminal."""
    escape = "\\u001b]0;x\\u0007"
    forged = (
        f'{{{FORGED.replace("/orders", f"/{escape}")}, "subject": "{escape}", "facts": {{"{escape}": "{escape}"}}}}'
    )
    texts = [str(explain_record(read_record(text))) for text in (forged, "denied a.b: GET /x 401 bearer \x1b[2Jalice")]

    assert [char for text in texts for char in text if not char.isprintable() and char != "\n"] == []
    assert "\\x1b]0;x\\x07" in texts[0]
    assert "\\x1b[2Jalice" in texts[1]
