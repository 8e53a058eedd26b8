"""One request behind the guard: whom it proved, what was decided since, and how an endpoint says no by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, MutableMapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import anyio
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authguard.asgi.messages import POLICY_VIOLATION, messages
from authguard.asgi.user import ANONYMOUS_CREDENTIALS, ANONYMOUS_USER, PrincipalCredentials
from authguard.core.csrf import Origins
from authguard.core.guard import LONG_WAIT, Guard
from authguard.core.responses import Render, Reply
from authguard.errors import ConfigurationError
from authguard.model import Denied, Facts, Header, Principal, Requirement
from authguard.policy.requirements import OPTIONAL
from authguard.policy.rules import Match, Rule
from authguard.reasons import BACKEND_FAILED, Reason
from authguard.records.record import failure
from authguard.request import AuthRequest, BodyReader


@dataclass(frozen=True, slots=True)
class MiddlewareOptions:
    """How one middleware answers: the same for all its requests."""

    guard: Guard
    origins: Origins = frozenset()
    render: Render | None = None


class PendingDenial(NamedTuple):
    """A denial, and the answer to it."""

    denied: Denied
    reply: Reply


class Passage:
    """A request that a guard let in: whom it proved, and what is asked and decided from here on.

    It stands in ``scope["authguard"]``. On PUBLIC nobody was proved yet: the first lock that asks has it done, once.
    """

    # Most requests change none of these, and are not to pay for them.
    #: Whom this guard, or one outside of it, has proved.
    principal: Principal | None = None
    #: Whether this guard has looked at the credentials.
    verified = False
    #: The guard further out in this very request.
    outer: Passage | None = None
    response_headers: Sequence[Header] = ()
    read: BodyReader | None = None
    #: The denial that holds: the first.
    noted: PendingDenial | None = None
    #: Whether the app is done with the request; nothing can be denied any more.
    over = False
    _request: AuthRequest | None = None
    #: When the request read the clock, by the guard's monotonic one.
    _read_at = 0.0
    _asking: anyio.Lock | None = None
    _late = False
    _opened: tuple[Requirement, ...] = ()

    def __init__(
        self, options: MiddlewareOptions, scope: MutableMapping[str, Any], path: str, rule: Rule | None
    ) -> None:
        self.options = options
        self.scope = scope
        self.headers: object = scope["headers"]
        self.path = path
        self.rule = rule

    def enter(self, principal: Principal | None) -> None:
        """What the app finds in its scope. Whatever stood there was not written by this guard, and goes."""
        self.principal = principal
        scope = self.scope
        scope["authguard"] = self
        self.show(scope)

    def show(self, scope: MutableMapping[str, Any]) -> None:
        """Puts into a scope who it is, in the words of its framework."""

    @property
    def request(self) -> AuthRequest:
        """The request as schemes see it."""
        if self._request is None:
            guard = self.options.guard
            self._request = AuthRequest(self.scope, self.path, guard.moment(), self.read)
            self._read_at = guard.monotonic()
        return self._request

    async def require(
        self, requirement: Requirement, params: Mapping[str, str], scope: MutableMapping[str, Any]
    ) -> Principal | None:
        """Whom the guard proved, where they may do this. Raises ``AccessDenied``. ``scope`` is what the route sees."""
        denied = await self._refusal(requirement, params)
        if denied is not None:
            raise AccessDenied._of(self, denied)  # noqa: SLF001 - a friend
        if self._late and scope is not self.scope:
            self.show(scope)  # a middleware further in has passed a copy on
        if requirement is not OPTIONAL and all(requirement is not one for one in self._opened):
            self._opened = (*self._opened, requirement)
        return self.principal

    async def meets(self, requirement: Requirement, params: Mapping[str, str], scope: MutableMapping[str, Any]) -> bool:
        """Whether they may. Invalid credentials and outages are no answer to that: they raise ``AccessDenied``."""
        await self.require(OPTIONAL, {}, scope)
        denied = await self._refusal(requirement, params)
        if denied is not None and denied.reason.outage:
            raise AccessDenied._of(self, denied)  # noqa: SLF001 - a friend
        return denied is None

    async def _refusal(self, requirement: Requirement, params: Mapping[str, str]) -> Denied | None:
        try:
            if not self.verified and self.noted is None:
                # Two that ask at the same time are not to verify twice: what may be used once would be refused.
                self._asking = self._asking or anyio.Lock()
                async with self._asking:
                    if not self.verified and self.noted is None:
                        denied = await self._verify(requirement, params)
                        # Before another one asks.
                        return None if denied is None else self.note(denied)
            return self._lacks(requirement, params) if self.noted is None else self.noted.denied
        except ConfigurationError as error:
            return _failed(requirement, {"problem": str(error)})
        except Exception as error:  # noqa: BLE001 - whatever fails, the lock stays closed
            return _failed(requirement, failure(error))

    async def _verify(self, requirement: Requirement, params: Mapping[str, str]) -> Denied | None:
        guard, match = self.options.guard, Match(requirement, None, params)
        self._wake()
        decision = await guard.decide(self.request, match, self.principal, self.options.origins)
        if isinstance(decision, Denied):
            return decision
        self.response_headers = (*self.response_headers, *decision.response_headers)
        self.verified = self._late = True
        self.enter(decision.principal)
        guard.record(self.request, decision, self.rule)
        return None

    def _lacks(self, requirement: Requirement, params: Mapping[str, str]) -> Denied | None:
        self._wake()
        decision = self.options.guard.judge(self.request, Match(requirement, None, params), self.principal)
        return decision if isinstance(decision, Denied) else None

    def _wake(self) -> None:
        """Reads the clock again, where the last reading is long ago: a WebSocket may be open for days."""
        guard = self.options.guard
        if self._request is not None and guard.monotonic() - self._read_at > LONG_WAIT:
            self._request.moment, self._read_at = guard.moment(), guard.monotonic()

    def refused(self, reason: Reason, facts: Facts) -> Denied:
        """The endpoint's own denial of whom the guard proved, in the words of what this route asks."""
        guard, who = self.options.guard, self.principal
        rule = guard.table.default if self.rule is None else self.rule
        asked = (rule.requirement, *self._opened)
        accepted = frozenset.intersection(*(guard.requirements[one].accepted for one in asked))
        refuse = partial(Denied, reason, requirement=asked[-1], accepted=accepted, facts=facts)
        return refuse() if who is None else refuse(who.scheme, who.subject, True)

    def note(self, denied: Denied) -> Denied:
        """Denies the request for good, whatever becomes of the exception. The denial that holds: the first."""
        if self.over:
            return denied
        if self.noted is None:
            if self.response_headers:
                denied = replace(denied, response_headers=(*self.response_headers, *denied.response_headers))
            # What `render` raises is no denial of this request.
            token = CURRENT.set(None)
            try:
                reply, denied = self.options.guard.reply(self.request, denied, self.options.render)
            finally:
                CURRENT.reset(token)
            # Of two threads one is the first.
            self.__dict__.setdefault("noted", PendingDenial(denied, reply))
        return denied if self.noted is None else self.noted.denied


def _failed(requirement: Requirement, facts: Facts) -> Denied:
    # A lock that nobody can open stays closed; the audit finds it before.
    return Denied(BACKEND_FAILED, requirement=requirement, facts=facts)


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
        self._take(passage, Denied(reason, facts=facts) if passage is None else passage.refused(reason, facts))

    @property
    def headers(self) -> Headers:
        """The challenges and the like, each line by itself, as a framework's own handler reads them.

        It does so in the request's own context: what was made where nobody knew of that, in a bare thread or once for
        all requests, denies it then.
        """
        passage = CURRENT.get()
        if self._noted or passage is None or passage.over:
            return self._headers
        passage.note(passage.refused(self.reason, self.facts))
        return _told(passage)

    @headers.setter
    def headers(self, headers: Headers) -> None:
        self._headers = headers

    @classmethod
    def _of(cls, passage: Passage, denied: Denied) -> AccessDenied:
        made = cls.__new__(cls)
        # A guard further in may be done with the request that one further out still holds.
        made._take(CURRENT.get() if passage.over else passage, denied)  # noqa: SLF001
        return made

    def _take(self, passage: Passage | None, denied: Denied) -> None:
        self._noted = passage is not None
        if passage is not None:
            denied = passage.note(denied)
        self.reason, self.facts = denied.reason, denied.facts
        super().__init__(denied.reason.status, denied.reason.detail, _told(passage))


def _told(passage: Passage | None) -> Headers:
    headers = () if passage is None or passage.noted is None else passage.noted.reply.headers
    return Headers(raw=[(name, value) for name, value in headers if not name.startswith(b"content-")])


_STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})


class Crossing(Passage):
    """A passage on its way through the app: what the app sends goes out, unless the request was denied meanwhile."""

    #: Whether the answer has begun, so that nothing can be put in its place; a WebSocket can still be closed.
    _begun = False
    _accepted = False
    _answering = False
    _left: list[Message] | None = None

    def __init__(self, options: MiddlewareOptions, scope: Scope, path: str, rule: Rule | None, send: Send) -> None:
        # Not by the class below: this is on the path of every request.
        self.options = options
        self.scope = scope
        self.headers = scope["headers"]
        self.path = path
        self.rule = rule
        self._send = send

    def show(self, scope: Scope) -> None:
        """Who it is, as Starlette is told."""
        principal = self.principal
        if principal is None:
            scope["user"], scope["auth"] = ANONYMOUS_USER, ANONYMOUS_CREDENTIALS
        else:
            scope["user"], scope["auth"] = principal, PrincipalCredentials(principal)

    async def through(self, app: ASGIApp, receive: Receive) -> None:
        """Runs the app. What it raises after a denial that still has its answer to come goes no further."""
        token = CURRENT.set(self)
        try:
            await app(self.scope, receive, self.send)
        except Exception as error:
            if isinstance(error, AccessDenied) and self.noted is None:
                # Made where nobody knew of this request: in a bare thread, or once for all requests.
                self.note(self.refused(error.reason, error.facts))
            if self.noted is None or self._begun:
                raise
        finally:
            self.over = True
            # The scope and this hold each other, which only the garbage collector would find out.
            if self.outer is None:
                self.scope.pop("authguard", None)
            else:
                self.scope["authguard"] = self.outer
            try:  # noqa: SIM105 - one `suppress` costs a tenth of what PUBLIC costs
                CURRENT.reset(token)
            except ValueError:
                pass  # of a task that its loop left behind; the collector ends it, in a context of its own
            if self.noted is not None:
                self.options.guard.record(self.request, self.noted.denied, self.rule)
        if self.noted is not None:
            await self._deny()

    # Not async: a coroutine more for each message would cost as much as all else that PUBLIC costs.
    def send(self, message: Message) -> Awaitable[None]:
        """What the app sends."""
        if self._begun:
            return self._send(message)
        if self.noted is not None:
            return self._deny()
        kind = message["type"]
        if kind == "http.response.start" and not self.response_headers:  # nearly all
            self._begun = True
        elif kind in _STARTS:
            if kind == "websocket.accept":
                self._accepted = True
            else:
                self._begun = True
            if self.response_headers:
                message = {**message, "headers": [*message.get("headers", ()), *self.response_headers]}
        elif kind == "websocket.close":
            self._left = []  # and so a denial has nothing to add
        return self._send(message)

    async def _deny(self) -> None:
        """Answers once; what the app sends is dropped. Where a task is cancelled that does so, another goes on."""
        if self._begun or self._answering or self.noted is None:
            return
        if self._left is None:
            closed: list[Message] = [{"type": "websocket.close", "code": POLICY_VIOLATION}]
            self._left = closed if self._accepted else messages(self.scope, self.noted.reply)
        self._answering = True
        try:
            while self._left:
                await self._send(self._left[0])
                del self._left[0]
        except Exception:
            self._left.clear()  # the client is gone, or the server has had enough
            raise
        finally:
            self._answering = False
