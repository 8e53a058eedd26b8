"""The record of a decision: one line for a person and the same facts for a program, without any secret."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import field
from typing import Literal, TypeAlias

from authguard.errors import WrongAnswer
from authguard.model import Decision, Denied
from authguard.reasons import Reason
from authguard.request import AuthRequest
from authguard.server_value import ServerValue
from authguard.value_types import frozen
from authguard.wire.methods import REGISTERED_METHODS

log = logging.getLogger("authguard")

#: The longest text, in characters, that a record takes from a request.
MAX_TEXT = 128
#: The longest list that a record takes: of values, of members of a mapping, of frames.
_MAX_ITEMS = 8

#: The ``method`` of a record of any other method. A hook may make it a metric label: a client cannot invent labels.
OTHER_METHOD = "_OTHER"

_UNQUOTED = re.compile(r"[\w@.:+/*{}~!$&',;%()\[\]-]+", re.ASCII)


@frozen
class Record(ServerValue):
    """What happened to one request. Text that a client chose is escaped and at most 128 characters long.

    ``method`` is a registered one, one that a rule names, or ``_OTHER``. ``reason`` is a ``Reason.code``, and
    ``status`` the status of the response; both are None for a request that was granted. ``subject_proven`` says whether
    ``subject`` was authenticated. ``missing`` is what the requirement demands and the principal does not have;
    ``offered`` is what it has. ``facts`` belong to the reason; durations such as ``expired_by`` are in seconds.
    """

    event: Literal["denied", "granted"]
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
        words += [str(word) for word in (self.status, self.scheme) if word is not None]
        if self.subject is not None:
            subject = format_value(self.subject)
            words.append(subject if self.subject_proven else f"subject?={subject}")
        facts: dict[str, object] = dict(self.facts)
        if self.event == "denied" and self.missing:
            facts = {"requirement": self.requirement, "missing": self.missing, "offered": self.offered, **facts}
        words += [f"{name}={format_value(value)}" for name, value in facts.items() if value is not None]
        return " ".join(words)

    def extra(self) -> dict[str, object]:
        """The fields and the facts as keys of a ``logging.LogRecord``, such as ``authguard.reason``."""
        fields = {
            "event": self.event,
            "reason": self.reason,
            "status": self.status,
            "scheme": self.scheme,
            "subject": self.subject,
            "subject_proven": self.subject_proven,
            "method": self.method,
            "path": self.path,
            "client": self.client,
            "requirement": self.requirement,
            "rule": self.rule,
            "missing": self.missing,
            "offered": self.offered,
        }
        return {f"authguard.{name}": value for name, value in {**self.facts, **fields}.items()}


#: Gets the record of every decision. It must not be async, and must not block.
Hook: TypeAlias = Callable[[Record], None]


def level_of(reason: Reason) -> int:
    """The log level of a denial.

    ERROR if the server is at fault, WARNING if credentials were refused or a limit is reached, INFO if the request had
    none. A request that is granted is logged at DEBUG.
    """
    if (reason.outage and not reason.by_limit) or reason.ours:
        return logging.ERROR
    return logging.WARNING if reason.presented else logging.INFO


def record_of(
    request: AuthRequest, decision: Decision, rule: str | None = None, methods: AbstractSet[str] = REGISTERED_METHODS
) -> Record:
    """The record of a decision. A method that is not one of ``methods`` is ``_OTHER``, and the fact ``method_sent``.

    If the requirement or a fact raises while it is turned into text, the record has neither, and the fact ``untold``
    names the type of the exception.
    """
    missing: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()
    denied = decision if isinstance(decision, Denied) else None
    identity = decision if isinstance(decision, Denied) else decision.principal
    subject: str | None = None
    try:
        if identity is not None and identity.subject is not None:
            subject = escape(identity.subject)
        requirement = None if decision.requirement is None else str(decision.requirement)
        facts = {name: _recordable(value) for name, value in decision.facts.items()}
        if denied is not None:
            missing, offered = _escape_all(denied.missing), _escape_all(denied.offered)
    except Exception as error:  # noqa: BLE001 - the app may have written the requirement or the fact
        requirement, facts = None, {"untold": exception_facts(error)["error"]}
    method = request.method
    if method not in methods:
        method, facts = OTHER_METHOD, {**facts, "method_sent": escape(method)}
    return Record(
        event="denied" if denied else "granted",
        reason=denied.reason.code if denied else None,
        status=denied.reason.status if denied else None,
        scheme=identity.scheme if identity else None,
        subject=subject,
        subject_proven=denied.authenticated if denied else identity is not None,
        method=method,
        path=escape(request.path),
        client=None if request.client is None else escape(request.client),
        requirement=requirement,
        rule=rule,
        missing=missing,
        offered=offered,
        facts=facts,
    )


def _recordable(value: object) -> object:
    """The value if a record may hold it, with its texts escaped; of any other value the name of its type."""
    match value:
        case None | bool() | int() | float():
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
    match value:
        case str():
            return value if _UNQUOTED.fullmatch(value) else '"' + value.replace('"', "'") + '"'
        case tuple():
            return "[" + ", ".join(map(format_value, value)) + "]"
        case Mapping():
            return ",".join(f"{key}:{format_value(item)}" for key, item in value.items())
        case float():
            return f"{value:.3f}".rstrip("0").rstrip(".") + "s"
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
