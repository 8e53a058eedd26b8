"""The explanation of a record alone: of a hook, of a line of the log, or of its JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast, get_args

from authguard.explain.advice import advice_for
from authguard.explain.explanation import Explanation, Fact, Step
from authguard.explain.times import time_line
from authguard.records.counts import Event
from authguard.records.record import Record, format_value

#: The longest record that is read from a text, in characters. A line of the log is far shorter.
MAX_RECORD = 16_384


def explain_record(record: Record) -> Explanation:
    """The cause of a decision and what to do about it, from its record alone. Nothing else is known of the request."""
    request = f"{record.method} {record.path}"
    steps = tuple(_steps(record))
    if record.reason is None:
        return Explanation(request, "granted", steps=steps, facts=facts_of(record, ""))
    code = cause_of(record.reason, record.facts)
    advice = advice_for(code)
    cause = advice.cause
    if code != record.reason:  # `login.required` is what a browser gets in place of the cause
        cause = f"{advice_for(record.reason).cause} The cause is {code}: {advice.cause}"
    facts = {**record.facts, **({"missing": record.missing} if record.missing else {})}
    return Explanation(
        request,
        "would_deny" if record.event == "would_deny" else "denied",
        record.reason,
        record.status,
        cause,
        advice.text(facts),
        steps,
        facts_of(record, code),
    )


def cause_of(reason: str, facts: Mapping[str, object]) -> str:
    """The code of the reason that a person wants to know of: of a browser that is sent to the login page, the cause."""
    stated = facts.get("cause") if reason == "login.required" else None
    return stated if isinstance(stated, str) and stated != "credentials.missing" else reason


def facts_of(record: Record, reason: str) -> Sequence[Fact]:
    """The facts of a record, each with what it says for this reason."""
    advice = advice_for(reason)
    facts = record.facts
    if record.missing:
        facts = {"requirement": record.requirement, "missing": record.missing, "offered": record.offered, **facts}
    shown = []
    for name, stated in facts.items():
        if stated is not None:
            meaning = advice.meaning(name)
            shown.append(Fact(name, format_value(stated), meaning.kind, meaning.text))
    return tuple(shown)


def _steps(record: Record) -> Iterator[Step]:
    yield Step("request", found=f"{record.method} {record.path}" + (f" from {record.client}" if record.client else ""))
    if record.requirement is not None or record.rule is not None:
        yield Step("rule", found=record.rule or "no rule: the default", wanted=record.requirement or "")
    if record.scheme is not None:
        proven = "" if record.subject_proven else ", which is not proven"
        subject = "" if record.subject is None else f" of {format_value(record.subject)}{proven}"
        yield Step("credentials", found=f"{record.scheme}{subject}")
    if record.reason is not None:
        found, wanted = (
            ", ".join(f"{fact.name}={fact.text}" for fact in facts_of(record, record.reason) if fact.kind == kind)
            for kind in ("found", "wanted")
        )
        yield Step(record.reason, "failed", found, wanted, line_of(record.facts))


def line_of(facts: Mapping[str, object]) -> str:
    """The times that the facts of a refusal name, in one line; "" if they name none."""
    leeway = _number(facts.get("leeway")) or 0.0
    for name, mark, sign in (
        ("expired_by", "exp", -1),
        ("valid_in", "nbf", 1),
        ("issued_in", "iat", 1),
        ("idle_by", "idle", -1),
        ("begins_in", "begins", 1),
    ):
        seconds = _number(facts.get(name))
        if seconds is not None:
            return time_line({mark: sign * seconds}, 0.0, leeway)
    return ""


def _number(stated: object) -> float | None:
    is_number = isinstance(stated, int | float) and not isinstance(stated, bool)
    # A record may come from anywhere, and no duration is longer. NaN is not within these bounds either.
    return float(stated) if is_number and -_MAX_SECONDS < stated < _MAX_SECONDS else None  # type: ignore[operator, arg-type]


_MAX_SECONDS = 10**12


# --- reading a record -------------------------------------------------------------------------------------------------


def read_record(text: str) -> Record:
    """The record of a line of the log, or of the JSON object of a record. Raises ``ValueError`` for any other text.

    The line may have anything before it, as a formatter writes it: ``WARNING authguard: denied token.expired: GET /``.
    """
    text = text.strip()
    if len(text) > MAX_RECORD:
        msg = "it is too long for a record"
        raise ValueError(msg)
    if text.startswith("{"):
        return _of_json(text)
    found = _HEAD.search(text)
    if found is None:
        msg = "it has neither 'denied REASON: METHOD /path' nor the JSON of a record"
        raise ValueError(msg)
    return _of_line(found["event"], found["reason"], text[found.end() :])


_HEAD = re.compile(
    r"(?<![\w.])(?P<event>denied|granted|would_deny)"
    r"(?: (?P<reason>[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+))?: (?=[A-Z_]+ )"
)
# A word of a line: pieces in quotes, lists, and anything else up to the next blank. A list in a list is none of ours.
_WORD = re.compile(r'(?:(?P<name>[\w?]+)=)?(?P<text>(?:"[^"]*+"|\[(?:[^\]"\[]|"[^"]*+")*+\]|[^ "\[])++|[^ ]++)(?: |\Z)')
_SECONDS = re.compile(r"-?[0-9]+(?:\.[0-9]+)?s")
_INTEGER = re.compile(r"0|[1-9][0-9]{0,14}")
_STATUS = re.compile(r"[1-5][0-9][0-9]")
_ITEM = re.compile(r'("[^"]*"|[^,]+?)(?:, |\Z)')


def _of_line(event: str, reason: str | None, line: str) -> Record:
    plain: list[str] = []
    facts: dict[str, object] = {}
    subject, is_proven = None, False
    for word in _WORD.finditer(line):
        name, text = word["name"], word["text"]
        if name == "subject?":
            subject = str(_value(text))
        elif name is not None and len(plain) > 1:  # a path may have an equals sign
            facts[name] = _value(text)
        else:
            plain.append(str(_value(word[0].strip())) if name is None else word[0].strip())
    method, path, *others = [*plain, "", ""][: max(2, len(plain))]
    status = int(others.pop(0)) if others and _STATUS.fullmatch(others[0]) else None
    scheme = others.pop(0) if others else None
    if others and subject is None:
        subject, is_proven = others[0], True
    return Record(
        cast("Event", event),
        reason,
        status,
        scheme,
        subject,
        is_proven,
        method,
        path,
        None,
        _text(facts.pop("requirement", None)),
        None,
        _texts(facts.pop("missing", ())) if "offered" in facts else (),
        _texts(facts.pop("offered", ())),
        facts,
    )


def _value(text: str) -> object:
    """A value as ``format_value`` has written it."""
    if text.startswith('"'):
        return text.strip('"')
    if text.startswith("["):
        return tuple(str(_value(item[1])) for item in _ITEM.finditer(text[1:-1]))
    if _SECONDS.fullmatch(text):
        return float(text[:-1])
    if text in {"True", "False"}:
        return text == "True"
    return int(text) if _INTEGER.fullmatch(text) else text


def _of_json(text: str) -> Record:
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError):
        msg = "it is no JSON"
        raise ValueError(msg) from None
    prefix = "authguard."
    if f"{prefix}event" in document:  # among them are those of the logging set-up, such as the time
        document = {name.removeprefix(prefix): value for name, value in document.items() if name.startswith(prefix)}
    event, method, path = (document.get(name) for name in ("event", "method", "path"))
    if event not in get_args(Event) or not isinstance(method, str) or not isinstance(path, str):
        msg = "its JSON has no event, method and path of a record"
        raise ValueError(msg)
    facts = document.get("facts")
    if not isinstance(facts, dict):
        # As the extra fields of the log have them: beside the fields of the record.
        facts = {name: value for name, value in document.items() if name not in _FIELDS}
    status = document.get("status")
    return Record(
        cast("Event", event),
        _text(document.get("reason")),
        status if type(status) is int else None,
        _text(document.get("scheme")),
        _text(document.get("subject")),
        document.get("subject_proven") is True,
        method,
        path,
        _text(document.get("client")),
        _text(document.get("requirement")),
        _text(document.get("rule")),
        _texts(document.get("missing")),
        _texts(document.get("offered")),
        {name: _fact(value) for name, value in facts.items()},
    )


_FIELDS = frozenset(Record.__match_args__)


def _text(stated: object) -> str | None:
    return None if stated is None else str(stated)


def _texts(stated: object) -> tuple[str, ...]:
    return tuple(str(_flat(item)) for item in stated) if isinstance(stated, list | tuple) else ()


def _fact(stated: object) -> object:
    """A fact as records have them: nothing is nested more than once. So no JSON is too deep to be shown."""
    if isinstance(stated, dict):
        return {name: _flat(value) for name, value in stated.items()}
    return _texts(stated) if isinstance(stated, list) else stated


def _flat(stated: object) -> object:
    return type(stated).__name__ if isinstance(stated, dict | list) else stated
