"""One record a decision: a line for a person, the same facts for a program, and nothing that is secret in either."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from authguard.model import Decision, Denied
from authguard.reasons import Reason
from authguard.request import AuthRequest

log = logging.getLogger("authguard")

#: The longest value, in characters, that a record takes over from a request.
CLIP = 128
_MANY = 8

_PLAIN = re.compile(r"[\w@.:+/*{}~!$&',;%()\[\]-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Record:
    """What happened to one request. Text that a client chose is escaped and at most 128 characters long.

    ``reason`` is a ``Reason.code``; ``status`` is None where the request was granted. ``subject`` was proven where
    ``subject_proven`` says so. ``missing`` and ``offered`` say what a principal lacked and had. ``facts`` belong to the
    reason: ``expired_by`` and its like are in seconds.
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
        """``denied token.expired:``; a constant for each reason, so that log tools can group by it."""
        return f"{self.event} {self.reason}:" if self.reason else f"{self.event}:"

    def line(self) -> str:
        """What follows: ``GET /admin 401 bearer alice expired_by=4.2s``."""
        words = [shown(self.method), shown(self.path)]
        words += [str(word) for word in (self.status, self.scheme) if word is not None]
        if self.subject is not None:
            words.append(shown(self.subject) if self.subject_proven else f"subject?={shown(self.subject)}")
        told: dict[str, object] = dict(self.facts)
        if self.event == "denied" and self.missing:
            told = {"requirement": self.requirement, "missing": self.missing, "offered": self.offered, **told}
        words += [f"{name}={shown(value)}" for name, value in told.items() if value is not None]
        return " ".join(words)

    def extra(self) -> dict[str, object]:
        """The facts as keys of a ``logging.LogRecord``: ``authguard.reason`` and so on."""
        named = {
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
        return {f"authguard.{name}": value for name, value in {**self.facts, **named}.items()}


Hook: TypeAlias = Callable[[Record], None]


def escaped(text: str) -> str:
    """The text with all that is not printable written as an escape, at most 128 characters long."""
    shown = text[: CLIP + 1]
    if not shown.isprintable():
        shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in shown)
    return shown if len(shown) <= CLIP else shown[:CLIP] + "..."


def level_of(reason: Reason) -> int:
    """INFO where nothing was presented, WARNING refused, ERROR where the fault is ours. Granted is DEBUG."""
    if reason.outage or reason.ours:
        return logging.ERROR
    return logging.WARNING if reason.presented else logging.INFO


def record_of(request: AuthRequest, decision: Decision, rule: str | None = None) -> Record:
    """The record of a decision. What cannot be put into words is left out, and told as ``untold``."""
    missing: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()
    denied = decision if isinstance(decision, Denied) else None
    who = decision if isinstance(decision, Denied) else decision.principal
    subject: str | None = None
    try:
        if who is not None and who.subject is not None:
            subject = escaped(who.subject)
        requirement = None if decision.requirement is None else str(decision.requirement)
        facts = {name: _told(value) for name, value in decision.facts.items()}
        if denied is not None:
            missing, offered = _clipped(denied.missing), _clipped(denied.offered)
    except Exception as error:  # noqa: BLE001 - a requirement or a fact that is not ours
        requirement, facts = None, {"untold": exception_facts(error)["error"]}
    return Record(
        event="denied" if denied else "granted",
        reason=denied.reason.code if denied else None,
        status=denied.reason.status if denied else None,
        scheme=who.scheme if who else None,
        subject=subject,
        subject_proven=denied.authenticated if denied else who is not None,
        method=escaped(request.method),
        path=escaped(request.path),
        client=None if request.client is None else escaped(request.client),
        requirement=requirement,
        rule=rule,
        missing=missing,
        offered=offered,
        facts=facts,
    )


def log_failure(what: str, error: Exception) -> None:
    """Tells of something of the app's own that failed and changed nothing."""
    told = exception_facts(error)
    with suppress(Exception):  # a filter or a handler of the app's own
        log.error("%s failed: %s at %s", what, told["error"], told["frames"], extra={"authguard.event": "failed"})


def exception_facts(error: BaseException) -> dict[str, object]:
    """What may be told of an exception: its type and its frames. Its text and its locals may hold a secret."""
    frames = list(traceback.walk_tb(error.__traceback__))[-_MANY:]
    where = tuple(f"{_short(frame.f_code.co_filename)}:{line} {frame.f_code.co_name}" for frame, line in frames)
    return {"error": f"{type(error).__module__}.{type(error).__qualname__}", "frames": where}


def _short(filename: str) -> str:
    return "/".join(re.split(r"[/\\]", filename)[-2:])


def _clipped(values: Sequence[str]) -> tuple[str, ...]:
    shown = tuple(escaped(value) for value in values[:_MANY])
    return (*shown, f"and {len(values) - _MANY} more") if len(values) > _MANY else shown


def _told(value: object) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return escaped(value)
        case tuple() | list() | set() | frozenset():
            return _clipped([str(item) for item in value])
        case Mapping():
            return {escaped(str(key)): _told(item) for key, item in list(value.items())[:_MANY]}
        case _:
            return type(value).__name__


def shown(value: object) -> str:
    """The value as it stands in the line: quoted where it is more than one plain word."""
    match value:
        case str():
            return value if _PLAIN.fullmatch(value) else '"' + value.replace('"', "'") + '"'
        case tuple():
            return "[" + ", ".join(map(shown, value)) + "]"
        case Mapping():
            return ",".join(f"{key}:{shown(item)}" for key, item in value.items())
        case float():
            return f"{value:.3f}".rstrip("0").rstrip(".") + "s"
        case _:
            return str(value)
