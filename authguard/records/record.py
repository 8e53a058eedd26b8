"""The record of a decision: one line for a person and the same facts for a program, without any secret."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import field
from typing import Literal, TypeAlias, cast

from authguard.app_code import plain_function
from authguard.errors import WrongAnswer
from authguard.model import NO_FACTS, Decision, Denied
from authguard.reasons import OUTAGE, Reason
from authguard.records.counts import Event
from authguard.request import AuthRequest
from authguard.server_value import ServerValue
from authguard.value_types import value
from authguard.wire.methods import REGISTERED_METHODS

log = logging.getLogger("authguard")

#: The longest text, in characters, that a record takes from a request.
MAX_TEXT = 128
#: The longest list that a record takes: of values, of members of a mapping, of frames.
_MAX_ITEMS = 8

#: The ``method`` of a record of any other method. A hook may make it a metric label: a client cannot invent labels.
OTHER_METHOD = "_OTHER"

#: Matches a text that needs no quotes.
_is_one_word = re.compile(r"[\w@.:+/*{}~!$&',;%()\[\]-]+", re.ASCII).fullmatch


@value
class Record(ServerValue):
    """What happened to one request. Text that a client chose is escaped and at most 128 characters long.

    ``event`` is ``granted``, ``denied``, or ``would_deny`` for a denial that is not enforced, because what denies is
    report-only. ``method`` is a registered one, one that a rule names, or ``_OTHER``. ``reason`` is a ``Reason.code``,
    and ``status`` the status of the response, or the one that it would have had; both are None for a request that was
    granted. ``subject_proven`` says whether ``subject`` was authenticated. ``missing`` is what the requirement demands
    and the principal does not have; ``offered`` is what it has. ``facts`` belong to the reason; durations such as
    ``expired_by`` are in seconds.

    It is a copy: what the app changes later does not change it, and it keeps neither request nor principal alive. All
    hooks get the same record, so none of them may change it; type checkers see an assignment.
    """

    event: Event
    reason: str | None
    status: int | None
    scheme: str | None
    subject: str | None
    subject_proven: bool
    method: str
    path: str
    client: str | None
    requirement: str | None
    rule: str | None = None
    missing: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.head} {self.line()}"

    @property
    def head(self) -> str:
        """``denied token.expired:``, which is constant for a reason, so that log tools can group by it."""
        return f"{self.event} {self.reason}:" if self.reason else f"{self.event}:"

    def line(self) -> str:
        """The text after the head: ``GET /admin 401 bearer alice expired_by=4.2s``."""
        words = [format_value(self.method), format_value(self.path)]
        if self.status is not None:
            words.append(str(self.status))
        if self.scheme is not None:
            words.append(str(self.scheme))
        if self.subject is not None:
            subject = format_value(self.subject)
            words.append(subject if self.subject_proven else f"subject?={subject}")
        facts = self.facts
        if self.missing:
            facts = {"requirement": self.requirement, "missing": self.missing, "offered": self.offered, **facts}
        if facts:
            words += [f"{name}={format_value(value)}" for name, value in facts.items() if value is not None]
        return " ".join(words)

    def extra(self) -> dict[str, object]:
        """The fields and the facts as keys of a ``logging.LogRecord``, such as ``authguard.reason``."""
        # A fact does not replace a field of the same name.
        extra: dict[str, object] = {f"authguard.{name}": value for name, value in self.facts.items()}
        extra |= {
            "authguard.event": self.event,
            "authguard.reason": self.reason,
            "authguard.status": self.status,
            "authguard.scheme": self.scheme,
            "authguard.subject": self.subject,
            "authguard.subject_proven": self.subject_proven,
            "authguard.method": self.method,
            "authguard.path": self.path,
            "authguard.client": self.client,
            "authguard.requirement": self.requirement,
            "authguard.rule": self.rule,
            "authguard.missing": self.missing,
            "authguard.offered": self.offered,
        }
        return extra


class LogLine:
    """The line of a record, as the argument of a log message. Its text is made when a handler first asks for it."""

    __slots__ = ("_record", "_text")

    def __init__(self, record: Record) -> None:
        self._record = record
        self._text: str | None = None

    def __str__(self) -> str:
        text = self._text
        if text is None:
            text = self._text = self._record.line()
        return text

    def __repr__(self) -> str:
        return repr(str(self))

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other) if isinstance(other, str | LogLine) else NotImplemented

    def __hash__(self) -> int:
        return hash(str(self))

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """A copy is plain text: another process may not have this class."""
        return str, (str(self),)


#: Gets the record of every decision. It must not be async, and must not block. One that has the attribute
#: ``wants_grants = False`` gets only the records of denials; ``denials`` makes such a hook of a function.
Hook: TypeAlias = Callable[[Record], None]


#: What has decided: the rule; a lock on an open route; or what came behind a grant that was recorded before.
Stage: TypeAlias = Literal["rule", "lock", "second"]


class DecisionHook:
    """A hook that gets the request and the decision, with the principal, in place of the record."""

    __slots__ = ()

    def __call__(self, record: Record) -> None:
        """Do nothing: a record does not hold what such a hook wants."""

    def write(self, request: AuthRequest, decision: Decision, rule: str | None, stage: Stage) -> None:
        """Take one decision. ``rule`` is the pattern of the rule; None for the default."""
        raise NotImplementedError


class _DenialHook:
    """A hook that gets only the records of denials."""

    __slots__ = ("_hook",)

    wants_grants = False

    def __init__(self, hook: Hook) -> None:
        self._hook = plain_function("hook", hook, "hook(record)", None)

    def __repr__(self) -> str:
        return f"denials({self._hook!r})"

    def __call__(self, record: Record) -> None:
        self._hook(record)


def denials(hook: Hook) -> Hook:
    """``Guard(..., hooks=[denials(alert)])`` calls ``alert`` with the record of each denial, and not for grants.

    If no hook wants grants and DEBUG is not logged, a grant costs only its count, because no record of it is made.
    Raises ``ConfigurationError`` for what is not a function, is async, or cannot be called with one record.
    """
    return _DenialHook(hook)


def level_of(reason: Reason) -> int:
    """The log level of a denial.

    ERROR if the server is at fault, WARNING if credentials were refused or a limit is reached, INFO if the request had
    none. A request that is granted is logged at DEBUG.
    """
    # The property `outage` would cost half of all this.
    if (reason.status == OUTAGE and not reason.by_limit) or reason.ours:
        return logging.ERROR
    return logging.WARNING if reason.presented else logging.INFO


def record_of(
    request: AuthRequest, decision: Decision, rule: str | None = None, methods: AbstractSet[str] = REGISTERED_METHODS
) -> Record:
    """The record of a decision. A method that is not one of ``methods`` is ``_OTHER``, and the fact ``method_sent``.

    If the requirement or a fact raises while it is turned into text, the record has neither, and the fact ``untold``
    names the type of the exception.
    """
    event: Event
    if isinstance(decision, Denied):
        event = "denied" if decision.enforced else "would_deny"
        reason, status = decision.reason.code, decision.reason.status
        scheme, name, is_proven = decision.scheme, decision.subject, decision.authenticated
    else:
        principal = decision.principal
        event, reason, status = "granted", None, None
        scheme, name, is_proven = (
            (None, None, False) if principal is None else (principal.scheme, principal.subject, True)
        )
    subject: str | None = None
    requirement: str | None = None
    missing: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()
    facts: dict[str, object] = {}
    try:
        if name is not None:
            subject = escape(name)
        if decision.requirement is not None:
            requirement = str(decision.requirement)
        if decision.facts is not NO_FACTS:
            facts = {key: _recordable(value) for key, value in decision.facts.items()}
        if isinstance(decision, Denied) and (decision.missing != () or decision.offered != ()):
            missing, offered = _escape_all(decision.missing), _escape_all(decision.offered)
    except Exception as error:  # noqa: BLE001 - the app may have written the requirement or the fact
        requirement, facts = None, {"untold": exception_facts(error)["error"]}
    if request.unchecked:
        facts = {**facts, "unchecked": ", ".join(request.unchecked)}
    method = request.method
    if method not in methods:
        method, facts = OTHER_METHOD, {**facts, "method_sent": escape(method)}
    client = request.client
    return Record(
        event,
        reason,
        status,
        scheme,
        subject,
        is_proven,
        method,
        escape(request.path),
        None if client is None else escape(client),
        requirement,
        rule,
        missing,
        offered,
        facts,
    )


_AS_THEY_ARE = frozenset({int, float, bool, type(None)})


def _recordable(value: object) -> object:
    """The value if a record may hold it, with its texts escaped; of any other value the name of its type."""
    kind = type(value)
    if kind is str:
        return escape(cast("str", value))
    if kind in _AS_THEY_ARE:
        return value
    match value:
        case int() | float():
            return value
        case str():
            return escape(value)
        case tuple() | list() | set() | frozenset():
            return _escape_all([str(item) for item in value])
        case Mapping():
            return {escape(str(key)): _recordable(item) for key, item in list(value.items())[:_MAX_ITEMS]}
        case _:
            return type(value).__name__


def _escape_all(texts: Sequence[str]) -> tuple[str, ...]:
    escaped = tuple(escape(text) for text in texts[:_MAX_ITEMS])
    return (*escaped, f"and {len(texts) - _MAX_ITEMS} more") if len(texts) > _MAX_ITEMS else escaped


def escape(text: str) -> str:
    """The text with an escape sequence for each character that is not printable, cut off after 128 characters."""
    escaped = text[: MAX_TEXT + 1]
    if not escaped.isprintable():
        escaped = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in escaped)
    return escaped if len(escaped) <= MAX_TEXT else escaped[:MAX_TEXT] + "..."


def format_value(value: object) -> str:
    """The value as a line of the log shows it: a text in quotes unless it is one plain word, a float as seconds."""
    # The mapping comes last, because to find out whether something is one costs the most.
    match value:
        case str():
            return value if _is_one_word(value) else '"' + value.replace('"', "'") + '"'
        case float():
            return f"{value:.3f}".rstrip("0").rstrip(".") + "s"
        case tuple():
            return "[" + ", ".join(map(format_value, value)) + "]"
        case Mapping():
            return ",".join(f"{key}:{format_value(item)}" for key, item in value.items())
        case _:
            return str(value)


def log_failure(name: str, error: Exception) -> None:
    """Log one ERROR: code of the app, such as ``a hook``, has raised, and the request went on as if it had not."""
    facts = exception_facts(error)
    with suppress(Exception):  # a logging filter or handler of the app may raise
        if isinstance(error, WrongAnswer):
            log.error("%s failed: %s", name, error.problem, extra={"authguard.event": "failed"})
        else:
            log.error("%s failed: %s at %s", name, facts["error"], facts["frames"], extra={"authguard.event": "failed"})


def exception_facts(error: BaseException) -> dict[str, object]:
    """The type of an exception and its last eight frames. Its text and its local variables may hold a secret."""
    frames = list(traceback.walk_tb(error.__traceback__))[-_MAX_ITEMS:]
    locations = tuple(
        f"{_last_two_parts(frame.f_code.co_filename)}:{line} {frame.f_code.co_name}" for frame, line in frames
    )
    return {"error": f"{type(error).__module__}.{type(error).__qualname__}", "frames": locations}


def _last_two_parts(filename: str) -> str:
    return "/".join(re.split(r"[/\\]", filename)[-2:])
