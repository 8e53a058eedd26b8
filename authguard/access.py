"""Behind the guard: what a lock on a route asks, and how an endpoint says no by itself."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import anyio
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from authguard.errors import ConfigurationError
from authguard.guard import Guard
from authguard.model import Denied, Header, Principal, Requirement
from authguard.policy.origin import Origins
from authguard.policy.requirement import OPTIONAL, PUBLIC, check_requirement
from authguard.policy.rules import Rule
from authguard.policy.table import Match
from authguard.reasons import BACKEND_FAILED, Reason
from authguard.request import AuthRequest, BodyReader
from authguard.respond import Render, Reply
from authguard.said import caller


@dataclass(frozen=True, slots=True)
class Manner:
    """How one middleware answers: the same for all its requests."""

    guard: Guard
    origins: Origins = frozenset()
    render: Render | None = None


class Passage:
    """A request that a guard let in: whom it proved, and what is asked and decided from here on.

    It stands in ``scope["authguard"]``. On PUBLIC nobody was proved yet: the first lock that asks has it done, once.
    """

    # Most requests change none of these, and are not to pay for them.
    #: Whom this guard, or one outside of it, has proved.
    principal: Principal | None = None
    #: Whether this guard has looked at the credentials.
    verified = False
    response_headers: Sequence[Header] = ()
    read: BodyReader | None = None
    denied: Denied | None = None
    reply: Reply | None = None
    #: Whether the answer is out; nothing can be denied any more.
    over = False
    _request: AuthRequest | None = None
    _asking: anyio.Lock | None = None

    def __init__(self, manner: Manner, scope: MutableMapping[str, Any], path: str, rule: Rule | None) -> None:
        self.manner = manner
        self.scope = scope
        self.headers: object = scope["headers"]
        self.path = path
        self.rule = rule

    def enter(self, principal: Principal | None) -> None:
        """Puts into the scope who it is."""
        raise NotImplementedError

    @property
    def request(self) -> AuthRequest:
        """The request as schemes see it."""
        if self._request is None:
            self._request = AuthRequest(self.scope, self.path, self.manner.guard.moment(), self.read)
        return self._request

    async def require(self, requirement: Requirement, params: Mapping[str, str]) -> Principal | None:
        """Whom the guard proved, where they may do this. Raises ``AccessDenied``."""
        denied = await self._refusal(requirement, params)
        if denied is not None:
            raise AccessDenied._of(self, denied)  # noqa: SLF001 - a friend
        return self.principal

    async def meets(self, requirement: Requirement, params: Mapping[str, str]) -> bool:
        """Whether they may. Credentials that are no good are no answer to that: they raise ``AccessDenied``."""
        await self.require(OPTIONAL, {})
        return self._lacks(requirement, params) is None

    async def _refusal(self, requirement: Requirement, params: Mapping[str, str]) -> Denied | None:
        if self.denied is not None:
            return self.denied
        if not self.verified:
            # Two that ask at the same time are not to verify twice: what may be used once would be refused.
            self._asking = self._asking or anyio.Lock()
            async with self._asking:
                if not self.verified:
                    return await self._verify(requirement, params)
        return self._lacks(requirement, params)

    async def _verify(self, requirement: Requirement, params: Mapping[str, str]) -> Denied | None:
        guard, match = self.manner.guard, Match(requirement, None, params)
        try:
            decision = await guard.decide(self.request, match, self.principal, self.manner.origins)
        except ConfigurationError as error:
            return _impossible(requirement, error)
        if isinstance(decision, Denied):
            return decision
        self.response_headers = (*self.response_headers, *decision.response_headers)
        self.verified = True
        self.enter(decision.principal)
        guard.tell(self.request, decision, self.rule)
        return None

    def _lacks(self, requirement: Requirement, params: Mapping[str, str]) -> Denied | None:
        try:
            decision = self.manner.guard.judge(self.request, Match(requirement, None, params), self.principal)
        except ConfigurationError as error:
            return _impossible(requirement, error)
        return decision if isinstance(decision, Denied) else None

    def note(self, denied: Denied) -> None:
        """Denies the request for good, whatever becomes of the exception; the first denial holds."""
        if self.denied is None and not self.over:
            self.reply, self.denied = self.manner.guard.reply(self.request, denied, self.manner.render)


def _impossible(requirement: Requirement, error: ConfigurationError) -> Denied:
    # A lock that nobody can open stays closed; the audit finds it before.
    return Denied(BACKEND_FAILED, requirement=requirement, facts={"problem": str(error)})


#: The passage of the request that this code runs for.
CURRENT: ContextVar[Passage | None] = ContextVar("authguard", default=None)


class AccessDenied(HTTPException):
    """An endpoint's own denial: ``raise AccessDenied(Reason("order.not_owner", 403), order=5)``.

    Answered and recorded as the guard's own are; ``facts`` go into the record. Making one denies the request, even
    where the exception is caught on its way: until a response has started, whatever the app sends is replaced by the
    guard's answer, and afterwards an accepted WebSocket is closed with 1008. Code that wants to branch asks
    ``allows(...)``.
    """

    def __init__(self, reason: Reason, /, **facts: object) -> None:
        if not isinstance(reason, Reason):
            raise ConfigurationError("reason", f'{reason!r} is no Reason("order.not_owner", 403)')
        passage = CURRENT.get()
        denied = Denied(reason, facts=facts)
        if passage is not None:
            who = passage.principal
            known = () if who is None else (who.scheme, who.subject, True)
            denied = passage.manner.guard.requirements[OPTIONAL].refuse(reason, *known, facts=facts)
        self._deny(passage, denied)

    @classmethod
    def _of(cls, passage: Passage, denied: Denied) -> AccessDenied:
        made = cls.__new__(cls)
        cls._deny(made, passage, denied)
        return made

    def _deny(self, passage: Passage | None, denied: Denied) -> None:
        headers: list[Header] = []
        if passage is not None:
            passage.note(denied)
            denied = passage.denied or denied
            headers = [] if passage.reply is None else list(passage.reply.headers)
        self.reason = denied.reason
        told = [(name, value) for name, value in headers if not name.startswith(b"content-")]
        # As Starlette's own handler reads them, each line by itself.
        super().__init__(denied.reason.status, denied.reason.detail, Headers(raw=told))


@dataclass(frozen=True, slots=True)
class Lock:
    """A requirement on one route. ``said`` is where that was said: a file and a line."""

    requirement: Requirement
    said: str = field(default="", compare=False)

    async def open(self, connection: HTTPConnection) -> Principal | None:
        """Whom the guard proved; None only where the requirement is OPTIONAL. Raises ``AccessDenied``."""
        return await passage_of(connection).require(self.requirement, _params(connection))


def lock(requirement: Requirement) -> Lock:
    """The lock of a requirement, said by whoever called the function that called this."""
    check_requirement("requirement", requirement)
    if requirement == PUBLIC:
        raise ConfigurationError("requirement", "a lock opens nothing; PUBLIC belongs into the rules")
    return Lock(requirement, caller(2))


def passage_of(connection: HTTPConnection) -> Passage:
    """The passage of this request; ``ConfigurationError`` where there is no guard in front of the app."""
    passage = connection.scope.get("authguard")
    if not isinstance(passage, Passage):
        raise ConfigurationError(
            "app", "no guard is in front of this app: app.add_middleware(AuthGuardMiddleware, guard=guard)"
        )
    return passage


async def allows(connection: HTTPConnection, requirement: Requirement) -> bool:
    """Whether who asks meets the requirement: ``if await allows(request, role("editor")):``, for code that branches.

    Nobody is denied by it, save who presents credentials that are no good: that raises ``AccessDenied``. Raises
    ``ConfigurationError`` where no guard is in front of the app.
    """
    check_requirement("requirement", requirement)
    return await passage_of(connection).meets(requirement, _params(connection))


def _params(connection: HTTPConnection) -> Mapping[str, str]:
    return {name: str(value) for name, value in connection.path_params.items()}
