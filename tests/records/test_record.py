"""The record: one line for a person, the same facts for a program."""

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
from tests.records.samples import ALICE, CONTROL_TEXTS, FORGERIES
from tests.support.asgi import Exchange, RecordingApp, auth_request, header_list, http_scope, run_app
from tests.support.schemes.badge import BADGE_WRONG, Badge

ROOT = Path(__file__).resolve().parents[2]


def told(decision: Decision, path: str = "/admin", **scope: Any) -> Record:
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
    """What happened, to which request, to whom, by how much or for lack of what."""
    assert str(told(decision)) == line


def test_a_program_finds_the_same_facts() -> None:
    """Each under a key of its own; what belongs to the reason stands beside them."""
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

    assert told(denied).extra() == {
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
    """Those that say nothing are None or empty."""
    assert told(Granted(None, OPTIONAL), client=None).extra() == {
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


def test_a_fact_cannot_take_the_place_of_what_happened() -> None:
    """A scheme that names one of its facts ``event`` or ``status`` does not turn a denial into a grant."""
    extra = told(Denied(BADGE_WRONG, facts={"event": "granted", "status": 200, "message": "x"})).extra()

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
]


@pytest.mark.parametrize(("reason", "level"), LEVELS, ids=lambda value: getattr(value, "code", value))
def test_the_level_goes_by_whose_matter_it_is(reason: Reason, level: int) -> None:
    """INFO where nothing was presented, WARNING where something was refused, ERROR where the fault is ours."""
    assert level_of(reason) == level


# --- What the log gets -----------------------------------------------------------------------------------------------


class World:
    """An endpoint behind a guard that logs, and what its hooks saw."""

    def __init__(self, *hooks: module.Hook, **options: Any) -> None:
        self.seen: list[Record] = []
        table = {"alice": Accepted(ALICE), "down": BackendUnavailable("lost"), "wrong": Rejected(BADGE_WRONG)}
        rules = [Rule("/boss", role("boss")), Rule("/open", PUBLIC), Rule("/maybe", OPTIONAL)]
        given: dict[str, Any] = {"rules": rules, "hooks": [*hooks, self.seen.append], **options}
        self.guard = Guard(Badge(table=table), **given)
        self.app = AuthGuardMiddleware(RecordingApp(), guard=self.guard)

    async def ask(self, field: str | None = "Badge alice", path: str = "/", method: str = "GET") -> Exchange:
        """One request."""
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
    """By the logger ``authguard``, without traceback: its template is a constant of the reason, the line its argument,
    its facts are those that the hook sees.
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
    """Its pattern, of a denial and of a grant; None where no rule says anything."""
    world = World()

    for field, path in [("Badge alice", "/boss"), ("Badge alice", "/maybe"), ("Badge wrong", "/"), (None, "/a/../b")]:
        await world.ask(field, path)

    assert [record.rule for record in world.seen] == ["/boss", "/maybe", None, None]
    assert vars(caplog.records[0])["authguard.rule"] == "/boss"


async def test_public_is_no_decision(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing was asked there, so nothing is told."""
    caplog.set_level(logging.DEBUG)
    world = World()

    await world.ask("Badge wrong", "/open")

    assert (caplog.records, world.seen) == ([], [])


async def test_a_percent_sign_in_a_path_breaks_no_template(caplog: pytest.LogCaptureFixture) -> None:
    """It is in the argument."""
    await World().ask("Badge wrong", "/%s%(x)d%")

    assert caplog.messages == ['denied badge.wrong: GET "/%s%(x)d%" 401 badge'.replace('"', "")]


async def test_a_silent_guard_still_calls_its_hooks(caplog: pytest.LogCaptureFixture) -> None:
    """``log=False`` is about the logger."""
    caplog.set_level(logging.DEBUG)
    world = World(log=False)

    await world.ask("Badge wrong")
    await world.ask()

    assert caplog.records == []
    assert [record.event for record in world.seen] == ["denied", "granted"]


async def test_a_hook_that_raises_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The answer is the same, the hooks behind it are called, and the log says by type that it failed."""

    def broken(record: Record) -> None:
        raise LookupError("s3cr3t")

    with_broken, without = World(broken), World()

    answers = [(await world.ask("Badge wrong")).sent for world in (with_broken, without)]
    granted = await with_broken.ask()

    assert answers[0] == answers[1]
    assert granted.status == 200
    assert [record.event for record in with_broken.seen] == ["denied", "granted"]
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [line.partition(" at ")[0] for line in told] == ["a hook failed: builtins.LookupError"] * 2
    assert all("test_record.py" in line and " broken" in line for line in told)
    assert "s3cr3t" not in caplog.text


class Counted:
    """A requirement that counts how often it is put into words."""

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
    """Neither a log of this level nor a hook: not one value is put into words. Else it is done once for all."""
    caplog.set_level(level, "authguard")
    counted = Counted()

    await World(**{"rules": [Rule("/**", counted)], "hooks": [], **options}).ask(field)

    assert counted.shown == times


class Mute(Counted):
    """A requirement that cannot be put into words."""

    def __str__(self) -> str:
        raise LookupError("s3cr3t")


class Unspeakable:
    """A fact that cannot be put into words."""

    def __str__(self) -> str:
        raise LookupError("s3cr3t")


UNSPEAKABLE: list[tuple[object, Requirement]] = [
    (Accepted(ALICE), Mute()),
    (Rejected(BADGE_WRONG), Mute()),
    (Rejected(BADGE_WRONG, facts={"who": [Unspeakable()]}), AUTHENTICATED),
    (Rejected(BADGE_WRONG, facts=None), AUTHENTICATED),  # type: ignore[arg-type]
    (Accepted(ALICE, facts=None), AUTHENTICATED),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("outcome", "requirement"), UNSPEAKABLE)
async def test_what_cannot_be_told_costs_nobody_an_answer(
    caplog: pytest.LogCaptureFixture, outcome: object, requirement: Requirement
) -> None:
    """A fact or a requirement that breaks the record is no reason for a 500: the answer is an outage at worst."""
    caplog.set_level(logging.DEBUG)
    guard = Guard(Badge(table={"alice": outcome}), rules=[Rule("/**", requirement)])

    answer = await run_app(
        AuthGuardMiddleware(RecordingApp(), guard=guard), http_scope(headers=header_list("Badge alice"))
    )

    assert answer.status in ({200, 503} if isinstance(outcome, Accepted) else {401, 503})


# --- What the client chose -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", CONTROL_TEXTS.values(), ids=list(CONTROL_TEXTS))
def test_what_the_client_chose_is_escaped(text: str) -> None:
    """Wherever it stands, the record is printable text on one line, which every handler can write."""
    facts = {"issuer": text, "audience": [text], "of": {text: text}}
    denied = Denied(BADGE_WRONG, "bearer", text, False, None, missing=(text,), offered=(text,), facts=facts)

    found = told(denied, text, method=text, client=(text, 1))

    assert str(found).isprintable()
    assert json.dumps(found.extra(), ensure_ascii=False).isprintable()
    assert str(found).encode()


def test_an_escape_says_what_stood_there() -> None:
    """As Python writes it."""
    assert escape("a\n\x1b\u2028\ud800\u202e\U000e0001ü ") == "a\\n\\x1b\\u2028\\ud800\\u202e\\U000e0001ü "


def outside_quotes(found: Record) -> list[str]:
    """What stands in the line beside the quoted words: that which we wrote."""
    return [words.strip() for words in str(found).split('"')[::2]]


@pytest.mark.parametrize("text", FORGERIES)
def test_what_the_client_chose_is_one_word_of_the_line(text: str) -> None:
    """A path, a subject or a fact with a space or a quote in it cannot be read as the words that follow."""
    found = told(Denied(BADGE_WRONG, "bearer", text, facts={"issuer": text}), text)

    assert outside_quotes(found) == ["denied badge.wrong: GET", "401 bearer subject?=", "issuer=", ""]


@pytest.mark.parametrize("text", FORGERIES)
def test_a_method_is_one_word_of_the_line(text: str) -> None:
    """A server may let spaces by in it: ASGI promises no token."""
    found = told(Denied(BADGE_WRONG, "bearer"), method=text)

    assert outside_quotes(found) == ["denied badge.wrong:", "/admin 401 bearer"]


@pytest.mark.parametrize("text", ["x" * 10_000_000, "\n" * 10_000_000, "\U000e0001" * 1000])
def test_what_the_client_chose_is_clipped(text: str) -> None:
    """Ten megabytes of subject cost the log no more than a line."""
    denied = Denied(BADGE_WRONG, "bearer", text, facts={"issuer": text, "audience": [text] * 1000, "of": {text: text}})

    found = told(denied, text)

    assert max(len(value) for value in (found.subject or "", found.path, str(found.facts["issuer"]))) <= MAX_TEXT + 3
    assert len(str(found)) < 100 * MAX_TEXT


def test_long_lists_are_cut_and_say_so() -> None:
    """Eight names are told, and how many more there were; of a mapping, the first eight."""
    names = tuple(f"n{number}" for number in range(20))
    denied = Denied(ROLE_MISSING, missing=names, offered=names[:8], facts={"of": dict.fromkeys(names, 1), "in": set()})

    found = told(denied)

    assert found.missing == (*names[:8], "and 12 more")
    assert found.offered == names[:8]
    assert found.facts == {"of": dict.fromkeys(names[:8], 1), "in": ()}


# --- Exceptions ------------------------------------------------------------------------------------------------------


def test_an_exception_is_told_by_type_and_place() -> None:
    """Without its text; one that was never raised has no place."""
    with pytest.raises(LookupError) as caught:
        raise LookupError("s3cr3t")

    assert exception_facts(caught.value) == {
        "error": "builtins.LookupError",
        "frames": (f"records/test_record.py:{caught.tb.tb_lineno} test_an_exception_is_told_by_type_and_place",),
    }
    assert exception_facts(LookupError("s3cr3t")) == {"error": "builtins.LookupError", "frames": ()}


def test_a_record_cannot_be_changed() -> None:
    """A hook that tries does not change what the next one sees."""
    found: Any = told(Denied(BADGE_WRONG))

    with pytest.raises(dataclasses.FrozenInstanceError):
        found.event = "granted"


# --- Other people's logging ------------------------------------------------------------------------------------------

UVICORN = """
import logging.config
from uvicorn.config import LOGGING_CONFIG
from authguard.model import Denied, Granted, Moment, Principal
from authguard.policy.requirements import AUTHENTICATED, role
from authguard.reasons import CREDENTIALS_MISSING, KEYS_UNAVAILABLE, ROLE_MISSING
from authguard.records.recorder import Recorder
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
    """Uvicorn configures its own loggers alone: what is refused and what is broken stands on stderr all the same."""
    ran = subprocess.run([sys.executable, "-c", UVICORN], cwd=ROOT, capture_output=True, text=True, check=True)

    assert ran.stderr.splitlines() == [
        "denied role.missing: GET /admin 403 bearer alice requirement=role(admin) missing=[admin] offered=[]",
        "denied keys.unavailable: GET /admin 503",
    ]
    assert ran.stdout == ""


def test_structlog_sees_the_facts(caplog: pytest.LogCaptureFixture) -> None:
    """Its ``ExtraAdder`` finds each under its key, and JSON takes them all."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
    )
    denied = Denied(TOKEN_EXPIRED, "bearer", "alice", True, role("admin"), facts={"expired_by": 4.2})

    Recorder((), to_log=True, monotonic=lambda: 0.0).record(auth_request(), denied)
    found = json.loads(formatter.format(caplog.records[0]))

    assert found["event"] == "denied token.expired: GET / 401 bearer alice expired_by=4.2s"
    assert {key: value for key, value in found.items() if key.startswith("authguard.")} == json.loads(
        json.dumps(record_of(auth_request(), denied).extra())
    )
