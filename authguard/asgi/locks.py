"""Behind the guard: what a lock on a route asks, and what code asks that branches."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from starlette.requests import HTTPConnection

from authguard.asgi.request_context import Passage
from authguard.errors import ConfigurationError
from authguard.model import Principal, Requirement
from authguard.policy.requirements import PUBLIC, check_requirement
from authguard.source_location import caller_location


@dataclass(frozen=True, slots=True)
class Lock:
    """A requirement on one route. ``said`` is where that was said: a file and a line."""

    requirement: Requirement
    location: str = field(default="", compare=False)

    async def open(self, connection: HTTPConnection) -> Principal | None:
        """Whom the guard proved; None only where the requirement is OPTIONAL. Raises ``AccessDenied``."""
        return await passage_of(connection).require(self.requirement, _params(connection), connection.scope)


def lock(requirement: Requirement) -> Lock:
    """The lock of a requirement, said by whoever called the function that called this."""
    check_requirement("requirement", requirement)
    if requirement == PUBLIC:
        raise ConfigurationError("requirement", "a lock opens nothing; PUBLIC belongs in the rules")
    return Lock(requirement, caller_location(2))


def passage_of(connection: HTTPConnection) -> Passage:
    """The passage of this request; ``ConfigurationError`` where there is no guard in front of the app."""
    passage = connection.scope.get("authguard")
    if not isinstance(passage, Passage):
        raise ConfigurationError(
            "app",
            "no guard is in front of this app, or the request is over: install(app, guard) on FastAPI, else "
            "app.add_middleware(AuthGuardMiddleware, guard=guard)",
        )
    return passage


def allows(connection: HTTPConnection, requirement: Requirement) -> Coroutine[Any, Any, bool]:
    """Whether who asks meets the requirement: ``if await allows(request, role("editor")):``, for code that branches.

    Nobody is denied by it, save who presents credentials that are no good: that raises ``AccessDenied``. Raises
    ``ConfigurationError`` where no guard is in front of the app, and where ``await`` was forgotten.
    """
    check_requirement("requirement", requirement)
    return _Answer(partial(_allows, connection, requirement))


class _Answer(Coroutine[Any, Any, bool]):
    """A coroutine that is not true where nobody waits for it."""

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        self._ask = ask

    @cached_property
    def _asked(self) -> Coroutine[Any, Any, bool]:
        return self._ask()

    def __await__(self) -> Generator[Any, Any, bool]:
        return self._asked.__await__()

    def __bool__(self) -> bool:
        raise ConfigurationError("allows", "write await allows(...): without it, it would always be true")

    def send(self, value: Any, /) -> Any:
        return self._asked.send(value)

    def throw(self, *error: Any) -> Any:
        return self._asked.throw(*error)

    def close(self) -> None:
        self._asked.close()


async def _allows(connection: HTTPConnection, requirement: Requirement) -> bool:
    passage = passage_of(connection)
    return requirement == PUBLIC or await passage.meets(requirement, _params(connection), connection.scope)


def _params(connection: HTTPConnection) -> Mapping[str, str]:
    return {name: str(value) for name, value in connection.path_params.items()}


def lock_marker(function: object) -> tuple[Any, ...]:
    """What ``requires`` has put on this very object, or what was copied to it."""
    found: tuple[Any, ...] = getattr(function, "__authguard__", ())
    return found
