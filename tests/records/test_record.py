"""The record: one line for a person, and the same facts for a program."""

from __future__ import annotations

import dataclasses
import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog

from authguard.core.guard import Guard
from authguard.errors import BackendUnavailable
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
from authguard.records import record as module
from authguard.records.record import MAX_TEXT, Record, escape, exception_facts, level_of, record_of
from authguard.records.recorder import Recorder
from authguard.request import AuthRequest
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


def test_a_record_cannot_be_changed() -> None:
    """A record is immutable, so that one hook cannot change what the next one gets."""
    record: Any = make_record(Denied(BADGE_WRONG))

    with pytest.raises(dataclasses.FrozenInstanceError):
        record.event = "granted"


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
