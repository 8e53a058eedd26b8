"""What a step of the tour is: what is sent, and what the tour says of the answer and of its record."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Sent(NamedTuple):
    """A request as it goes out."""

    method: str
    target: str
    fields: Sequence[tuple[str, str]] = ()


#: What the tour tells in the place of a nonce, which is never twice the same.
NONCE = "..."
_NONCE = re.compile(r'(?<= nonce=")[^"]+')


class Asking(Protocol):
    """What a step asks."""

    @property
    def served_by(self) -> str:
        """Which of the tour's servers is asked."""
        ...

    @property
    def curl(self) -> str:
        """The same for a shell that has the addresses and the tokens in variables."""
        ...

    def answers(self, ask: Callable[[Sent], Answer], known: Mapping[str, str]) -> Sequence[Answer]:
        """What comes back, in order; the last is the one to look at. ``known`` are the tokens by name."""
        ...


class OneByOne:
    """Requests of which none goes by the answer to another."""

    def sends(self, known: Mapping[str, str]) -> Sequence[Sent]:
        """The requests in order."""
        raise NotImplementedError

    def answers(self, ask: Callable[[Sent], Answer], known: Mapping[str, str]) -> Sequence[Answer]:
        """What comes back, in order."""
        return [ask(sent) for sent in self.sends(known)]


@dataclass(frozen=True, slots=True)
class Answer:
    """The status, the WWW-Authenticate lines, Retry-After, and what the server printed meanwhile."""

    status: int
    challenges: Sequence[str]
    printed: Sequence[str]
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What the tour says of an answer.

    ``record`` is how the one record begins; without it there is none. ``retried`` says that there is a Retry-After.
    """

    status: int
    challenge: str | None
    record: str | None
    fact: str = ""
    retried: bool = False

    def differences(self, answer: Answer) -> list[str]:
        """In what the answer is not as told; empty where it is."""
        challenges = [] if self.challenge is None else [self.challenge]
        records = [] if self.record is None else [f"{self.record}: ... {self.fact}"]
        found: list[str] = []
        if answer.status != self.status:
            found.append(f"the status is {answer.status}, told was {self.status}")
        if [_NONCE.sub(NONCE, line) for line in answer.challenges] != challenges:
            found.append(f"the challenges are {list(answer.challenges)}, told were {challenges}")
        if len(answer.printed) != len(records) or not all(map(self._tells, answer.printed)):
            found.append(f"the records are {list(answer.printed)}, told were {records}")
        if (answer.retry_after is not None) != self.retried:
            found.append(f"Retry-After is {answer.retry_after}, told was {'one' if self.retried else 'none'}")
        return found

    def _tells(self, line: str) -> bool:
        record = line.partition(":authguard:")[2]
        return record.startswith(f"{self.record}:") and self.fact in record


@dataclass(frozen=True, slots=True)
class Step:
    """One request, or several of which the last one matters; what is told of its answer, and what to see in it.

    ``before`` is the status of all that are sent before the last.
    """

    title: str
    asks: Asking
    told: Told
    lesson: str
    before: int = 401

    def differences(self, answers: Sequence[Answer]) -> list[str]:
        """In what the answers are not as told; empty where they are."""
        *before, last = answers
        found = [
            f"the status of request {number} is {answer.status}, told was {self.before}"
            for number, answer in enumerate(before, 1)
            if answer.status != self.before
        ]
        return [*found, *self.told.differences(last)]


@dataclass(frozen=True, slots=True)
class Part:
    """Steps that go together."""

    title: str
    steps: Sequence[Step]
