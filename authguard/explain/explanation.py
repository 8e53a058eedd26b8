"""What ``explain`` returns: the steps of a decision in their order, the answer, the cause, and what to do."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

from authguard.explain.advice import FactKind
from authguard.server_value import ServerValue
from authguard.value_types import value

#: ``passed``, ``failed``; ``not asked``: the guard would ask it, and ``explain`` was told not to; ``not reached``: the
#: decision was made before.
StepOutcome: TypeAlias = Literal["passed", "failed", "not asked", "not reached"]

_MARKS: Mapping[StepOutcome, str] = {"passed": "ok", "failed": "FAIL", "not asked": "?", "not reached": "-"}
_WIDTH = 100


@value
class Step(ServerValue):
    """One step of a decision.

    ``title`` says what is looked at, such as ``exp``. ``found`` and ``wanted`` are what is there, and what would pass;
    ``line`` is a drawing of times in one line of text. ``source`` is the ``file:line`` that decides it. Each is "" if
    there is none. No text holds a secret.
    """

    title: str
    outcome: StepOutcome = "passed"
    found: str = ""
    wanted: str = ""
    line: str = ""
    source: str = ""


@value
class Fact(ServerValue):
    """A fact of a record. ``text`` is as in a line of the log; ``meaning`` is "" for a fact of the app's own."""

    name: str
    text: str
    kind: FactKind
    meaning: str


@value
class Answer(ServerValue):
    """What the client gets. ``headers`` are pairs of name and value; a challenge is a pair of its own."""

    status: int
    headers: Sequence[tuple[str, str]] = ()
    body: str = ""

    @property
    def challenges(self) -> Sequence[str]:
        """The values of ``WWW-Authenticate``, one for each line."""
        return [text for name, text in self.headers if name == "www-authenticate"]


@value
class Explanation(ServerValue):
    """Why a request is granted or refused.

    - ``outcome``: ``would_deny`` if what denies is report-only, so that the request passes; ``undecided`` if
      what decides was not asked: an offline key server, a check of the app.
    - ``reason``, ``status``: those of the refusal, or of the one that is only reported; None for a request that is
      granted.
    - ``cause``: what has happened. ``advice``: what to do about it. Both are "" for a request that is granted.
    - ``steps``: in the order of the decision. ``facts``: those of the record, with what each says.
    - ``answer``: what the client gets; None if the app answers, and for an explanation of a record.
    - ``notes``: what the explanation leaves open, such as a store that only the live app can ask.

    ``str()`` is a text for a terminal, without control characters, and ``as_json()`` the same for programs.
    """

    request: str
    outcome: Literal["granted", "denied", "would_deny", "undecided"]
    reason: str | None = None
    status: int | None = None
    cause: str = ""
    advice: str = ""
    steps: Sequence[Step] = ()
    facts: Sequence[Fact] = ()
    answer: Answer | None = None
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        return "\n".join(map(_without_controls, _lines(self)))

    def as_json(self) -> dict[str, object]:
        """The explanation as values of JSON."""
        answer = self.answer
        return {
            "request": self.request,
            "outcome": self.outcome,
            "reason": self.reason,
            "status": self.status,
            "cause": self.cause,
            "advice": self.advice,
            "steps": [_fields(step) for step in self.steps],
            "facts": [_fields(fact) for fact in self.facts],
            "answer": None
            if answer is None
            else {"status": answer.status, "headers": [list(pair) for pair in answer.headers], "body": answer.body},
            "notes": list(self.notes),
        }


def _fields(item: Step | Fact) -> dict[str, object]:
    return {name: getattr(item, name) for name in type(item).__match_args__}


def _lines(explanation: Explanation) -> Iterator[str]:
    verdict = " ".join(str(word) for word in (explanation.status, explanation.reason) if word is not None)
    passes = "passes, report-only: " if explanation.outcome == "would_deny" else ""
    yield f"{explanation.request}: {passes}{verdict or explanation.outcome}"
    yield ""
    width = max((len(step.title) for step in explanation.steps), default=0)
    for step in explanation.steps:
        yield from _step_lines(step, width)
    if explanation.facts:
        yield ""
        yield "The record says:"
        for fact in explanation.facts:
            yield from _wrapped(f"  {fact.name}={fact.text}" + (f"   ({fact.meaning})" if fact.meaning else ""), 6)
    if explanation.answer is not None:
        yield ""
        yield "The answer:"
        yield f"  {explanation.answer.status}"
        for name, text in explanation.answer.headers:
            yield f"  {_field_name(name)}: {text}"
        if explanation.answer.body:
            yield ""
            yield from (f"  {line}" for line in explanation.answer.body.split("\n"))
    for title, text in (("Why", explanation.cause), ("What to do", explanation.advice)):
        if text:
            yield ""
            yield from _wrapped(f"{title}: {text}", 2)
    for note in explanation.notes:
        yield ""
        yield from _wrapped(f"Note: {note}", 2)


def _without_controls(line: str) -> str:
    """A record that somebody has written by hand may hold what a terminal takes for commands."""
    return line if line.isprintable() else "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)


def _step_lines(step: Step, width: int) -> Iterator[str]:
    mark = _MARKS[step.outcome]
    text = step.found
    if step.wanted:
        text = f"{text}; wanted: {step.wanted}" if text else f"wanted: {step.wanted}"
    if step.outcome in {"not asked", "not reached"}:
        text = f"({step.outcome}) {text}".rstrip()
    if step.source:
        text = f"{text}   {step.source}".lstrip()
    indent = 8 + width + 2
    yield from _wrapped(f"  {mark:<4}  {step.title:<{width}}  {text}".rstrip(), indent)
    if step.line:
        yield " " * indent + step.line


def _wrapped(text: str, indent: int) -> Sequence[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


_SPELLED = {"www-authenticate": "WWW-Authenticate"}


def _field_name(name: str) -> str:
    """The name of a header field as RFCs write it."""
    return _SPELLED.get(name) or "-".join(part.capitalize() for part in name.split("-"))


def dump(explanation: Explanation) -> str:
    """The explanation as the text of a JSON document."""
    return json.dumps(explanation.as_json(), indent=2)
