"""The steps of the tour: the requests that a step sends, and the response and the log record that it expects."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Request(NamedTuple):
    """A request as it is sent."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """A response, its ``Set-Cookie`` fields, and the lines that the server logged for it."""

    status: int
    challenges: Sequence[str]
    log: Sequence[str]
    retry_after: str | None = None
    cookies: Sequence[str] = ()


Send = Callable[[Request], Response]

#: Stands for the nonce in an expected challenge, because every challenge has a new nonce.
ANY_NONCE = "..."
_NONCE = re.compile(r'(?<= nonce=")[^"]+')


class Action(Protocol):
    """What a step does."""

    @property
    def served_by(self) -> str:
        """The name of the server that gets the requests."""
        ...

    @property
    def curl(self) -> str:
        """The same as a shell command, with the addresses and the tokens in variables."""
        ...

    def run(self, send: Send, tokens: Mapping[str, str]) -> Sequence[Response]:
        """Send the requests and return the responses in order; the tour shows the last one."""
        ...


class IndependentRequests:
    """Requests that do not depend on the response to an earlier one."""

    def requests(self, tokens: Mapping[str, str]) -> Sequence[Request]:
        """The requests in order."""
        raise NotImplementedError

    def run(self, send: Send, tokens: Mapping[str, str]) -> Sequence[Response]:
        """Send the requests and return the responses in order."""
        return [send(request) for request in self.requests(tokens)]


@dataclass(frozen=True, slots=True)
class Expected:
    """The expected response, and the expected record in the log.

    ``record`` is the beginning of the record; None means that nothing is logged. ``fact`` must be part of the record.
    ``retry_after`` is True if there must be a ``Retry-After``.
    """

    status: int
    challenge: str | None
    record: str | None
    fact: str = ""
    retry_after: bool = False

    def differences(self, response: Response) -> list[str]:
        """One sentence for each difference between the response and the expectation."""
        challenges = [] if self.challenge is None else [self.challenge]
        records = [] if self.record is None else [f"{self.record}: ... {self.fact}"]
        differences: list[str] = []
        if response.status != self.status:
            differences.append(f"the status is {response.status}, expected was {self.status}")
        if [_NONCE.sub(ANY_NONCE, challenge) for challenge in response.challenges] != challenges:
            differences.append(f"the challenges are {list(response.challenges)}, expected were {challenges}")
        if len(response.log) != len(records) or not all(map(self._matches, response.log)):
            differences.append(f"the records are {list(response.log)}, expected were {records}")
        if (response.retry_after is not None) != self.retry_after:
            expected = "one" if self.retry_after else "none"
            differences.append(f"Retry-After is {response.retry_after}, expected was {expected}")
        return differences

    def _matches(self, line: str) -> bool:
        record = line.partition(":authguard:")[2]
        return record.startswith(f"{self.record}:") and self.fact in record


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what it does, what is expected of the last response, and why the response is as it is.

    ``earlier_status`` is the expected status of all responses before the last one.
    """

    title: str
    action: Action
    expected: Expected
    explanation: str
    earlier_status: int = 401

    def differences(self, responses: Sequence[Response]) -> list[str]:
        """One sentence for each difference between the responses and the expectation."""
        *earlier, last = responses
        differences = [
            f"the status of request {number} is {response.status}, expected was {self.earlier_status}"
            for number, response in enumerate(earlier, 1)
            if response.status != self.earlier_status
        ]
        return [*differences, *self.expected.differences(last)]


@dataclass(frozen=True, slots=True)
class Part:
    """Steps under a common title."""

    title: str
    steps: Sequence[Step]
