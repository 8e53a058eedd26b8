"""The record: one line for a person, and the same facts for a program."""

from __future__ import annotations

import copy
import gc
import json
import logging
import logging.handlers
import pickle
import queue
import re
import subprocess
import sys
import weakref
from collections.abc import Mapping
from enum import IntEnum
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar

import pytest
import structlog

from authguard.core.guard import Guard
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.middleware import AuthGuardMiddleware
from authguard.model import Accepted, Decision, Denied, Failure, Granted, Moment, Principal, Rejected, Requirement
from authguard.policy.requirements import AUTHENTICATED, OPTIONAL, PUBLIC, any_role, role
from authguard.policy.rules import Rule
from authguard.reasons import (
    BACKEND_FAILED,
    CREDENTIALS_MISSING,
    HASHING_BUSY,
    INTROSPECTION_BUSY,
    KEYS_BUSY,
    KEYS_UNAVAILABLE,
    PATH_AMBIGUOUS,
    ROLE_MISSING,
    SCHEME_UNSUPPORTED,
    TOKEN_EXPIRED,
    Reason,
)
from authguard.records import denials
from authguard.records import record as module
from authguard.records import recorder as recorder_module
from authguard.records.record import MAX_TEXT, LogLine, Record, escape, exception_facts, level_of, record_of
from authguard.records.recorder import Recorder
from authguard.request import AuthRequest
from authguard.testing import recording
from tests.records.samples import ALICE, CONTROL_TEXTS, FORGERIES
from tests.support.asgi import Exchange, RecordingApp, auth_request, header_list, http_scope, run_app
from tests.support.schemes.badge import BADGE_WRONG, Badge

ROOT = Path(__file__).resolve().parents[2]


def make_record(decision: Decision, path: str = "/admin", **scope: Any) -> Record:
    """The record of a decision about this path."""
    return record_of(auth_request(http_scope(path, **scope), path=path), decision)


# --- The line --------------------------------------------------------------------------------------------------------

LINES: list[tuple[Decision, str]] = [
    (Denied(CREDENTIALS_MISSING), "denied credentials.missing: GET /admin 401"),
    (
        Denied(TOKEN_EXPIRED, "bearer", "alice", True, facts={"expired_by": 4.2}),
        "denied token.expired: GET /admin 401 bearer alice expired_by=4.2s",
    ),
    (
        Denied(TOKEN_EXPIRED, "bearer", "alice", True, facts={"expired_by": 1209600.5}),
        "denied token.expired: GET /admin 401 bearer alice expired_by=1209600.5s",
    ),
    (Denied(BADGE_WRONG, "badge", "alice"), "denied badge.wrong: GET /admin 401 badge subject?=alice"),
    (Denied(BADGE_WRONG, "badge", "a b"), 'denied badge.wrong: GET /admin 401 badge subject?="a b"'),
    (
        Denied(ROLE_MISSING, "bearer", "alice", True, role("admin"), missing=("admin",), offered=("a", "b")),
        "denied role.missing: GET /admin 403 bearer alice requirement=role(admin) missing=[admin] offered=[a, b]",
    ),
    (
        Denied(ROLE_MISSING, "bearer", "alice", True, any_role("a", "b"), missing=("a", "b")),
        'denied role.missing: GET /admin 403 bearer alice requirement="any_role(a, b)" missing=[a, b] offered=[]',
    ),
    (
        Denied(KEYS_UNAVAILABLE, facts={"detail": "no route to host", "retry_after": None}),
        'denied keys.unavailable: GET /admin 503 detail="no route to host"',
    ),
    (
        Denied(
            BADGE_WRONG, facts={"n": 3, "yes": True, "names": ("a", "b c"), "of": {"exp": 1.5, "x": "y"}, "odd": b"s"}
        ),
        'denied badge.wrong: GET /admin 401 n=3 yes=True names=[a, "b c"] of=exp:1.5s,x:y odd=bytes',
    ),
    (Granted(ALICE, AUTHENTICATED), "granted: GET /admin bearer alice"),
    (
        Granted(ALICE, AUTHENTICATED, facts={"tolerated": {"exp": 4.2}}),
        "granted: GET /admin bearer alice tolerated=exp:4.2s",
    ),
    (Granted(None, OPTIONAL), "granted: GET /admin"),
]


@pytest.mark.parametrize(("decision", "line"), LINES)
def test_a_person_can_read_the_line(decision: Decision, line: str) -> None:
    """The line says what was decided, about which request and subject, and by how much or for lack of what."""
    assert str(make_record(decision)) == line


def test_a_program_finds_the_same_facts() -> None:
    """Each fact of the line is an attribute with a key of its own, and so are the facts of the reason."""
    denied = Denied(
        ROLE_MISSING,
        "bearer",
        "alice",
        True,
        role("admin"),
        missing=("admin",),
        offered=("editor",),
        facts={"since": 1.5},
    )

    assert make_record(denied).extra() == {
        "authguard.since": 1.5,
        "authguard.event": "denied",
        "authguard.reason": "role.missing",
        "authguard.status": 403,
        "authguard.scheme": "bearer",
        "authguard.subject": "alice",
        "authguard.subject_proven": True,
        "authguard.method": "GET",
        "authguard.path": "/admin",
        "authguard.client": "192.0.2.7",
        "authguard.requirement": "role(admin)",
        "authguard.rule": None,
        "authguard.missing": ("admin",),
        "authguard.offered": ("editor",),
    }


def test_a_grant_has_the_same_keys() -> None:
    """The record of a grant has the same keys, with None or empty values."""
    assert make_record(Granted(None, OPTIONAL), client=None).extra() == {
        "authguard.event": "granted",
        "authguard.reason": None,
        "authguard.status": None,
        "authguard.scheme": None,
        "authguard.subject": None,
        "authguard.subject_proven": False,
        "authguard.method": "GET",
        "authguard.path": "/admin",
        "authguard.client": None,
        "authguard.requirement": "OPTIONAL",
        "authguard.rule": None,
        "authguard.missing": (),
        "authguard.offered": (),
    }


def test_a_fact_cannot_replace_a_field_of_the_record() -> None:
    """A scheme's fact named ``event`` or ``status`` does not turn a denial into a grant."""
    extra = make_record(Denied(BADGE_WRONG, facts={"event": "granted", "status": 200, "message": "x"})).extra()

    assert (extra["authguard.event"], extra["authguard.status"], extra["authguard.message"]) == ("denied", 401, "x")


LEVELS = [
    (CREDENTIALS_MISSING, logging.INFO),
    (SCHEME_UNSUPPORTED, logging.WARNING),
    (TOKEN_EXPIRED, logging.WARNING),
    (ROLE_MISSING, logging.WARNING),
    (PATH_AMBIGUOUS, logging.WARNING),
    (Reason("attempts.exceeded", 429), logging.WARNING),
    (Reason("cookie.missing", 401, presented=False), logging.INFO),
    (KEYS_UNAVAILABLE, logging.ERROR),
    (BACKEND_FAILED, logging.ERROR),
    (HASHING_BUSY, logging.WARNING),
    (INTROSPECTION_BUSY, logging.WARNING),
    (KEYS_BUSY, logging.WARNING),
]


@pytest.mark.parametrize(("reason", "level"), LEVELS, ids=lambda value: getattr(value, "code", value))
def test_the_level_depends_on_who_is_to_act(reason: Reason, level: int) -> None:
    """Missing credentials are INFO, other denials WARNING, and outages ERROR unless a limit is the reason."""
    assert level_of(reason) == level


# --- What the log gets -----------------------------------------------------------------------------------------------


class World:
    """An app behind a guard that logs, and the records that its hooks got."""

    def __init__(self, *hooks: module.Hook, **options: Any) -> None:
        self.seen: list[Record] = []
        table = {"alice": Accepted(ALICE), "down": BackendUnavailable("lost"), "wrong": Rejected(BADGE_WRONG)}
        rules = [Rule("/boss", role("boss")), Rule("/open", PUBLIC), Rule("/maybe", OPTIONAL)]
        settings: dict[str, Any] = {"rules": rules, "hooks": [*hooks, self.seen.append], **options}
        self.guard = Guard(Badge(table=table), **settings)
        self.app = AuthGuardMiddleware(RecordingApp(), guard=self.guard)

    async def ask(self, field: str | None = "Badge alice", path: str = "/", method: str = "GET") -> Exchange:
        """Send one request."""
        return await run_app(self.app, http_scope(path, method, header_list(field)))


ASKED: list[tuple[str | None, str, int, str]] = [
    ("Badge alice", "/", logging.DEBUG, "granted:"),
    (None, "/maybe", logging.DEBUG, "granted:"),
    (None, "/", logging.INFO, "denied credentials.missing:"),
    ("Badge wrong", "/", logging.WARNING, "denied badge.wrong:"),
    ("Badge alice", "/boss", logging.WARNING, "denied role.missing:"),
    ("Badge down", "/", logging.ERROR, "denied store.unavailable:"),
    (None, "/a/../b", logging.WARNING, "denied path.ambiguous:"),
]


@pytest.mark.parametrize(("field", "path", "level", "head"), ASKED)
async def test_a_decision_is_one_record(
    caplog: pytest.LogCaptureFixture, field: str | None, path: str, level: int, head: str
) -> None:
    """A decision is one log record of the logger ``authguard``, without a traceback.

    Its template is a constant of the reason, the line is its argument, and its facts are those that the hook gets.
    """
    caplog.set_level(logging.DEBUG)
    world = World()

    await world.ask(field, path)

    (record,), (seen,) = caplog.records, world.seen
    assert (record.name, record.levelno, record.msg) == ("authguard", level, f"{head} %s")
    assert record.getMessage() == str(seen)
    assert {key: value for key, value in vars(record).items() if key.startswith("authguard.")} == seen.extra()
    assert (record.exc_info, record.stack_info) == (None, None)


async def test_the_record_names_the_rule(caplog: pytest.LogCaptureFixture) -> None:
    """The records of denials and grants name the pattern of the rule, or None for the default."""
    world = World()

    for field, path in [("Badge alice", "/boss"), ("Badge alice", "/maybe"), ("Badge wrong", "/"), (None, "/a/../b")]:
        await world.ask(field, path)

    assert [record.rule for record in world.seen] == ["/boss", "/maybe", None, None]
    assert vars(caplog.records[0])["authguard.rule"] == "/boss"


async def test_public_is_no_decision(caplog: pytest.LogCaptureFixture) -> None:
    """A PUBLIC route needs no decision, and is not recorded."""
    caplog.set_level(logging.DEBUG)
    world = World()

    await world.ask("Badge wrong", "/open")

    assert (caplog.records, world.seen) == ([], [])


async def test_a_percent_sign_in_a_path_breaks_no_template(caplog: pytest.LogCaptureFixture) -> None:
    """A percent sign in a path is part of an argument, and never of the template."""
    await World().ask("Badge wrong", "/%s%(x)d%")

    assert caplog.messages == ['denied badge.wrong: GET "/%s%(x)d%" 401 badge'.replace('"', "")]


async def test_a_silent_guard_still_calls_its_hooks(caplog: pytest.LogCaptureFixture) -> None:
    """``log=False`` switches off the logger only."""
    caplog.set_level(logging.DEBUG)
    world = World(log=False)

    await world.ask("Badge wrong")
    await world.ask()

    assert caplog.records == []
    assert [record.event for record in world.seen] == ["denied", "granted"]


async def test_a_hook_that_raises_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """After a hook that raises the response is the same, the next hooks are called, and the type of the error is
    logged."""

    def broken(record: Record) -> None:
        raise LookupError("s3cr3t")

    with_broken, without = World(broken), World()

    answers = [(await world.ask("Badge wrong")).sent for world in (with_broken, without)]
    granted = await with_broken.ask()

    assert answers[0] == answers[1]
    assert granted.status == 200
    assert [record.event for record in with_broken.seen] == ["denied", "granted"]
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [line.partition(" at ")[0] for line in messages] == ["a hook failed: builtins.LookupError"] * 2
    assert all("test_record.py" in line and " broken" in line for line in messages)
    assert "s3cr3t" not in caplog.text


class CountingRequirement:
    """A requirement that counts how often it is formatted."""

    def __init__(self) -> None:
        self.shown = 0

    def unmet(self, principal: Principal, params: Mapping[str, str], moment: Moment) -> Failure | None:
        return None

    def schemes(self, every: frozenset[str]) -> frozenset[str]:
        return every

    def scopes_named(self) -> tuple[str, ...]:
        return ()

    def __str__(self) -> str:
        self.shown += 1
        return "counted"


@pytest.mark.parametrize(
    ("level", "options", "field", "times"),
    [
        (logging.INFO, {}, "Badge alice", 0),
        (logging.DEBUG, {}, "Badge alice", 1),
        (logging.ERROR, {}, "Badge wrong", 0),
        (logging.WARNING, {}, "Badge wrong", 1),
        (logging.DEBUG, {"log": False}, "Badge wrong", 0),
        (logging.ERROR, {"hooks": [lambda _: None] * 3}, "Badge wrong", 1),
    ],
)
async def test_nothing_is_formatted_where_nobody_listens(
    caplog: pytest.LogCaptureFixture, level: int, options: dict[str, Any], field: str, times: int
) -> None:
    """Without a log of this level and without hooks no value is formatted. Otherwise each is formatted once."""
    caplog.set_level(level, "authguard")
    counted = CountingRequirement()

    await World(**{"rules": [Rule("/**", counted)], "hooks": [], **options}).ask(field)

    assert counted.shown == times


class UnprintableRequirement(CountingRequirement):
    """A requirement whose text raises."""

    def __str__(self) -> str:
        raise LookupError("s3cr3t")


class UnprintableFact:
    """A fact whose text raises."""

    def __str__(self) -> str:
        raise LookupError("s3cr3t")


UNSPEAKABLE: list[tuple[object, Requirement]] = [
    (Accepted(ALICE), UnprintableRequirement()),
    (Rejected(BADGE_WRONG), UnprintableRequirement()),
    (Rejected(BADGE_WRONG, facts={"who": [UnprintableFact()]}), AUTHENTICATED),
    (Rejected(BADGE_WRONG, facts=None), AUTHENTICATED),  # type: ignore[arg-type]
    (Accepted(ALICE, facts=None), AUTHENTICATED),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("outcome", "requirement"), UNSPEAKABLE)
async def test_a_value_that_cannot_be_formatted_breaks_no_response(
    caplog: pytest.LogCaptureFixture, outcome: object, requirement: Requirement
) -> None:
    """A fact or a requirement that raises when it is formatted does not cause a 500."""
    caplog.set_level(logging.DEBUG)
    guard = Guard(Badge(table={"alice": outcome}), rules=[Rule("/**", requirement)])

    answer = await run_app(
        AuthGuardMiddleware(RecordingApp(), guard=guard), http_scope(headers=header_list("Badge alice"))
    )

    assert answer.status in ({200, 503} if isinstance(outcome, Accepted) else {401, 503})


# --- What the client chose -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", CONTROL_TEXTS.values(), ids=list(CONTROL_TEXTS))
def test_values_of_the_client_are_escaped(text: str) -> None:
    """With any client value the record is printable text on one line, which every handler can write."""
    facts = {"issuer": text, "audience": [text], "of": {text: text}}
    denied = Denied(BADGE_WRONG, "bearer", text, False, None, missing=(text,), offered=(text,), facts=facts)

    record = make_record(denied, text, method=text, client=(text, 1))

    assert str(record).isprintable()
    assert json.dumps(record.extra(), ensure_ascii=False).isprintable()
    assert str(record).encode()


def test_an_escape_shows_the_original_character() -> None:
    """Characters are escaped in Python's notation."""
    assert escape("a\n\x1b\u2028\ud800\u202e\U000e0001ü ") == "a\\n\\x1b\\u2028\\ud800\\u202e\\U000e0001ü "


def outside_quotes(found: Record) -> list[str]:
    """The parts of the line outside of quotes, which authguard itself wrote."""
    return [words.strip() for words in str(found).split('"')[::2]]


@pytest.mark.parametrize("text", FORGERIES)
def test_values_of_the_client_are_one_word_of_the_line(text: str) -> None:
    """A path, a subject or a fact with a space or a quote cannot imitate the words after it."""
    record = make_record(Denied(BADGE_WRONG, "bearer", text, facts={"issuer": text}), text)

    assert outside_quotes(record) == ["denied badge.wrong: GET", "401 bearer subject?=", "issuer=", ""]


@pytest.mark.parametrize("text", FORGERIES)
def test_an_invented_method_is_one_word_of_the_line(text: str) -> None:
    """A method with spaces, which ASGI does not exclude, is a quoted fact."""
    record = make_record(Denied(BADGE_WRONG, "bearer"), method=text)

    assert record.method == "_OTHER"
    assert outside_quotes(record) == ["denied badge.wrong: _OTHER /admin 401 bearer method_sent=", ""]


def test_a_client_invents_no_metric_labels() -> None:
    """Of 200 invented methods a hook sees one name; registered ones and those that rules name keep theirs."""
    records: list[Record] = []
    guard = Guard(Badge(), rules=[Rule("/cache", PUBLIC, methods={"PURGE"})], hooks=[records.append], log=False)
    methods = ["GET", "PROPFIND", "PURGE", "get", *(f"M{number}" for number in range(200))]

    for method in methods:
        request = AuthRequest(http_scope("/admin", method=method), "/admin", Moment(0.0, 60.0))
        guard.record(request, Denied(BADGE_WRONG, "badge"))

    assert {record.method for record in records} == {"GET", "PROPFIND", "PURGE", "_OTHER"}
    assert [record.facts.get("method_sent") for record in records[:4]] == [None, None, None, "get"]


@pytest.mark.parametrize("text", ["x" * 10_000_000, "\n" * 10_000_000, "\U000e0001" * 1000])
def test_values_of_the_client_are_clipped(text: str) -> None:
    """A subject of ten megabytes makes the line no longer than the limit."""
    denied = Denied(BADGE_WRONG, "bearer", text, facts={"issuer": text, "audience": [text] * 1000, "of": {text: text}})

    record = make_record(denied, text)

    assert max(len(value) for value in (record.subject or "", record.path, str(record.facts["issuer"]))) <= MAX_TEXT + 3
    assert len(str(record)) < 100 * MAX_TEXT


def test_long_lists_are_cut() -> None:
    """Eight names of a list, or eight entries of a mapping, are recorded, with the number of the others."""
    names = tuple(f"n{number}" for number in range(20))
    denied = Denied(ROLE_MISSING, missing=names, offered=names[:8], facts={"of": dict.fromkeys(names, 1), "in": set()})

    record = make_record(denied)

    assert record.missing == (*names[:8], "and 12 more")
    assert record.offered == names[:8]
    assert record.facts == {"of": dict.fromkeys(names[:8], 1), "in": ()}


# --- Exceptions ------------------------------------------------------------------------------------------------------


def test_an_exception_is_recorded_by_type_and_place() -> None:
    """An exception is recorded without its text. One that was never raised has no place."""
    with pytest.raises(LookupError) as caught:
        raise LookupError("s3cr3t")

    assert exception_facts(caught.value) == {
        "error": "builtins.LookupError",
        "frames": (f"records/test_record.py:{caught.tb.tb_lineno} test_an_exception_is_recorded_by_type_and_place",),
    }
    assert exception_facts(LookupError("s3cr3t")) == {"error": "builtins.LookupError", "frames": ()}


# --- What a record keeps ---------------------------------------------------------------------------------------------


class Name(str):  # noqa: SLOT000 - it is to have a `__dict__`
    """A text of the app that can be referred to weakly, and that drags a request along."""

    request: object = None


class Scope(dict[str, Any]):
    """An ASGI scope that can be referred to weakly."""


class Listed(list[str]):
    """A list of the app that can be referred to weakly."""


def test_a_record_keeps_nothing_of_the_request_alive() -> None:
    """A hook may keep records for an hour. They hold texts and numbers, and not what these were taken from."""
    name, listed, requirement = Name("alice"), Listed(["a"]), CountingRequirement()
    scope = Scope(http_scope(Name("/admin"), client=(Name("192.0.2.7"), 1)))
    name.request = scope
    facts = {"issuer": name, "audience": listed, "of": {name: name}}
    denied = Denied(BADGE_WRONG, "badge", name, False, requirement, missing=(name,), facts=facts)
    alive = [weakref.ref(each) for each in (name, listed, requirement, scope)]

    record = record_of(AuthRequest(scope, name, Moment(0.0, 60.0)), denied)
    del name, listed, requirement, scope, facts, denied
    gc.collect()

    assert [each() for each in alive] == [None] * 4
    assert (record.subject, record.client, record.facts["audience"]) == ("alice", "192.0.2.7", ("a",))


def test_a_record_does_not_change_with_what_it_was_taken_from() -> None:
    """Facts are copied, so that a handler that writes the line later writes what was decided."""
    facts: dict[str, Any] = {"names": ["a"], "of": {"exp": 1.5}}

    record = make_record(Denied(BADGE_WRONG, facts=facts))
    facts["names"].append("b")
    facts["of"]["exp"] = facts["late"] = 2.5

    assert record.facts == {"names": ("a",), "of": {"exp": 1.5}}


class Grade(IntEnum):
    """A number with a name."""

    GOLD = 3


def test_a_number_with_a_name_is_a_number() -> None:
    """A fact that is an ``IntEnum``, such as ``http.HTTPStatus``, stays a number for JSON and is one in the line."""
    record = make_record(Denied(BADGE_WRONG, facts={"grade": Grade.GOLD, "status": HTTPStatus.OK}))

    assert json.loads(json.dumps(record.facts)) == {"grade": 3, "status": 200}
    assert str(record).endswith(" grade=3 status=200")


def test_a_record_has_no_other_attributes() -> None:
    """A hook that misspells a field, or notes something of its own on a record, gets an error."""
    record: Any = make_record(Denied(BADGE_WRONG))

    with pytest.raises(AttributeError):
        record.events = "granted"


# --- The line in the log ---------------------------------------------------------------------------------------------

EXPIRED = Denied(TOKEN_EXPIRED, "bearer", "alice", True, role("admin"), facts={"expired_by": 4.2})
EXPIRED_LINE = "GET / 401 bearer alice expired_by=4.2s"


class CountingRecord(Record):
    """A record that counts how often its line was made."""

    lines: ClassVar[int] = 0

    def line(self) -> str:
        type(self).lines += 1
        return super().line()


def test_a_line_is_made_once_and_only_for_a_handler_that_asks() -> None:
    """Two handlers share one text, and a handler that takes the facts alone costs none."""
    record = record_of(auth_request(), EXPIRED)
    line = LogLine(CountingRecord(*(getattr(record, name) for name in Record.__match_args__)))
    before = CountingRecord.lines

    texts = [str(line), f"{line}", "%s" % line]  # noqa: UP031 - as logging does

    assert before == 0
    assert texts == [EXPIRED_LINE] * 3
    assert CountingRecord.lines == 1


def test_a_line_is_like_its_text() -> None:
    """A test, or a handler that groups by arguments, may compare it with a text, hash it and show it."""
    line, same, other = (
        LogLine(record_of(auth_request(), denied)) for denied in (EXPIRED, EXPIRED, Denied(BADGE_WRONG))
    )

    assert line == same == EXPIRED_LINE
    assert line != other
    assert line != 3
    assert {line, same, EXPIRED_LINE} == {EXPIRED_LINE}
    assert repr(line) == repr(EXPIRED_LINE)


def test_a_line_is_written_as_json_by_its_text() -> None:
    """A formatter that writes the arguments of a message as JSON gets the text with ``default=str``."""
    line = LogLine(record_of(auth_request(), EXPIRED))

    assert json.dumps({"args": (line,)}, default=str) == json.dumps({"args": [EXPIRED_LINE]})


def test_a_copy_of_a_line_is_plain_text() -> None:
    """A handler that sends log records to another process, or keeps a copy, has a text and no object of authguard."""
    line = LogLine(record_of(auth_request(), EXPIRED))

    copies = [copy.copy(line), copy.deepcopy(line), pickle.loads(pickle.dumps(line))]

    assert [type(each) for each in copies] == [str] * 3
    assert copies == [EXPIRED_LINE] * 3


def test_a_queue_carries_the_line_and_the_facts() -> None:
    """Behind a ``QueueHandler``, which copies the record, a handler sees the same text and keys as without one."""
    received: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler = logging.handlers.QueueHandler(received)
    module.log.addHandler(handler)
    try:
        Recorder((), to_log=True, monotonic=lambda: 0.0).record(auth_request(), EXPIRED)
    finally:
        module.log.removeHandler(handler)
    sent = pickle.loads(pickle.dumps(received.get_nowait()))

    assert sent.getMessage() == f"denied token.expired: {EXPIRED_LINE}"
    assert authguard_keys(sent) == record_of(auth_request(), EXPIRED).extra()


def authguard_keys(record: logging.LogRecord) -> dict[str, object]:
    """The attributes of a log record that authguard has given it."""
    return {key: value for key, value in vars(record).items() if key.startswith("authguard.")}


def test_a_record_says_which_module_has_logged_it(caplog: pytest.LogCaptureFixture) -> None:
    """A formatter may show file, function and line: they are those of the recorder, as ``Logger.log`` finds them."""
    Recorder((), to_log=True, monotonic=lambda: 0.0).record(auth_request(), EXPIRED)

    (record,) = caplog.records
    assert (record.module, record.pathname) == ("recorder", recorder_module.__file__)
    lines = Path(record.pathname).read_text("utf-8").splitlines()
    assert f"def {record.funcName}(" in lines[record.lineno - 1]


class NotingLogger(logging.Logger):
    """A logger of an app, which notes the ``extra`` of each record as a whole."""

    def makeRecord(self, *args: Any, **kwargs: Any) -> logging.LogRecord:  # noqa: N802 - the name of logging
        record = super().makeRecord(*args, **kwargs)
        vars(record)["noted"] = kwargs["extra"]
        return record


def test_a_logger_of_the_app_gets_the_facts(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that an app gives to ``logging.setLoggerClass`` sees ``extra`` where it makes the log record."""
    monkeypatch.setattr(module.log, "__class__", NotingLogger)

    Recorder((), to_log=True, monotonic=lambda: 0.0).record(auth_request(), EXPIRED)

    (record,) = caplog.records
    assert vars(record)["noted"] == authguard_keys(record) == record_of(auth_request(), EXPIRED).extra()


# --- Hooks for denials -----------------------------------------------------------------------------------------------


class AlertHook:
    """A hook of an app that says by itself that it wants denials."""

    wants_grants = False

    def __init__(self) -> None:
        self.seen: list[Record] = []

    def __call__(self, record: Record) -> None:
        self.seen.append(record)


async def test_a_hook_says_whether_it_wants_grants() -> None:
    """A hook gets every record, or with ``denials(...)`` or ``wants_grants = False`` those of denials."""
    wrapped: list[Record] = []
    alert = AlertHook()
    world = World(denials(wrapped.append), alert)

    for field in ("Badge alice", "Badge wrong", None):
        await world.ask(field)

    denied = ["badge.wrong", "credentials.missing"]
    assert [record.reason for record in world.seen] == [None, *denied]
    assert [record.reason for record in wrapped] == [record.reason for record in alert.seen] == denied


async def test_no_record_of_a_grant_is_made_where_hooks_want_denials() -> None:
    """A grant then costs as little as without hooks."""
    counted = CountingRequirement()
    world = World(rules=[Rule("/**", counted)], hooks=[denials(lambda _: None), AlertHook()])

    await world.ask()

    assert counted.shown == 0


async def test_a_test_records_grants_beside_a_hook_for_denials() -> None:
    """``recording(guard)`` lists every decision, and then the hooks are as before."""
    alert = AlertHook()
    world = World(hooks=[alert])

    with recording(world.guard) as records:
        await world.ask()
        await world.ask("Badge wrong")
    await world.ask()

    assert [record.event for record in records] == ["granted", "denied"]
    assert [record.event for record in alert.seen] == ["denied"]


async def alert_later(record: Record) -> None:
    """An async hook, which nobody would await."""


@pytest.mark.parametrize(
    ("hook", "text"),
    [
        (None, "None is not a function; give hook(record)"),
        (alert_later, "must not be async"),
        (lambda: None, "is called as hook(record)"),
    ],
)
def test_what_cannot_be_a_hook_is_refused_where_it_is_written(hook: Any, text: str) -> None:
    """``denials`` checks its function as ``Guard(hooks=[...])`` does."""
    with pytest.raises(ConfigurationError, match=re.escape(text)):
        denials(hook)


def test_a_hook_for_denials_shows_its_function() -> None:
    """An error or a debugger that shows the hooks of a guard names the function of the app."""
    assert repr(denials(print)) == f"denials({print!r})"


# --- Clocks ----------------------------------------------------------------------------------------------------------


def test_a_denial_reads_the_monotonic_clock_once() -> None:
    """And a decision that is not logged does not read it, unless a flood is open that may be over."""
    readings: list[float] = []

    def monotonic() -> float:
        readings.append(float(len(readings)))
        return readings[-1]

    recorder = Recorder((), to_log=True, monotonic=monotonic)
    granted, found = Granted(ALICE, AUTHENTICATED), list[int]()
    decisions: list[Decision] = [granted, EXPIRED, EXPIRED, granted]
    for decision in decisions:
        recorder.record(auth_request(), decision)
        found.append(len(readings))

    assert found == [0, 1, 2, 3]


# --- Other people's logging ------------------------------------------------------------------------------------------

UVICORN = """
import logging.config
from uvicorn.config import LOGGING_CONFIG
from authguard.model import Denied, Granted, Moment, Principal
from authguard.policy.requirements import AUTHENTICATED, role
from authguard.reasons import CREDENTIALS_MISSING, KEYS_UNAVAILABLE, ROLE_MISSING
from authguard.records.recorder import Recorder
from authguard.request import AuthRequest
from authguard.request import AuthRequest

logging.config.dictConfig(LOGGING_CONFIG)
scope = {"type": "http", "method": "GET", "path": "/admin", "headers": [], "client": ("192.0.2.7", 1)}
request = AuthRequest(scope, path="/admin", moment=Moment(0.0, 0.0))
denied = Denied(ROLE_MISSING, "bearer", "alice", True, role("admin"), missing=("admin",))
recorder = Recorder((), to_log=True, monotonic=lambda: 0.0)
for decision in (denied, Denied(CREDENTIALS_MISSING), Denied(KEYS_UNAVAILABLE), Granted(None, AUTHENTICATED)):
    recorder.record(request, decision)
"""


def test_the_line_is_readable_under_uvicorns_own_logging() -> None:
    """With only uvicorn's logging set up, warnings and errors of authguard still appear on stderr."""
    ran = subprocess.run([sys.executable, "-c", UVICORN], cwd=ROOT, capture_output=True, text=True, check=True)

    assert ran.stderr.splitlines() == [
        "denied role.missing: GET /admin 403 bearer alice requirement=role(admin) missing=[admin] offered=[]",
        "denied keys.unavailable: GET /admin 503",
    ]
    assert ran.stdout == ""


def test_structlog_sees_the_facts(caplog: pytest.LogCaptureFixture) -> None:
    """The ``ExtraAdder`` of structlog finds each fact under its key, and all of them can be written as JSON."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
    )
    denied = Denied(TOKEN_EXPIRED, "bearer", "alice", True, role("admin"), facts={"expired_by": 4.2})

    Recorder((), to_log=True, monotonic=lambda: 0.0).record(auth_request(), denied)
    record = json.loads(formatter.format(caplog.records[0]))

    assert record["event"] == "denied token.expired: GET / 401 bearer alice expired_by=4.2s"
    assert {key: value for key, value in record.items() if key.startswith("authguard.")} == json.loads(
        json.dumps(record_of(auth_request(), denied).extra())
    )
