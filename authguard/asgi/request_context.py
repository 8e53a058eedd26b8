"""One request behind the guard: its principal, what has been decided so far, and how an endpoint denies it."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Mapping, MutableMapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from types import FrameType, MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import anyio
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authguard.asgi.live_connection import LiveConnection
from authguard.asgi.messages import POLICY_VIOLATION, STARTS, messages, with_handshake, with_private
from authguard.asgi.response_warnings import REDIRECTS, note_redirect
from authguard.asgi.user import ANONYMOUS_CREDENTIALS, ANONYMOUS_USER, PrincipalCredentials
from authguard.core.csrf import Origins, is_cross_origin, origin_facts
from authguard.core.guard import LONG_WAIT, Guard
from authguard.core.responses import Render, Reply
from authguard.errors import ConfigurationError
from authguard.fork import ForkSafeLock
from authguard.model import Decision, Denied, Facts, Header, Principal, Requirement
from authguard.policy.requirements import OPTIONAL
from authguard.policy.rules import Match, Rule
from authguard.reasons import BACKEND_FAILED, ORIGIN_FOREIGN, Reason
from authguard.records.record import exception_facts
from authguard.request import AuthRequest, BodyReader
from authguard.schemes.carriers import WebSocketProtocol, offered_subprotocols
from authguard.schemes.scheme import Carrier
from authguard.value_types import frozen

if TYPE_CHECKING:
    from authguard.asgi.locks import Lock

# Of two threads that deny one request at the same time, one must be first. It is held for two lines.
_FIRST_DENIAL = ForkSafeLock()


@frozen
class MiddlewareOptions:
    """Settings of one ``AuthGuardMiddleware``, shared by all its requests."""

    guard: Guard
    origins: Origins = frozenset()
    render: Render | None = None


class PendingDenial(NamedTuple):
    """A denial that has been decided, and the response that will be sent for it."""

    denied: Denied
    reply: Reply


class RequestContext:
    """One request that the guard has let through to the app. It is ``scope["authguard"]``.

    On a PUBLIC route nothing has been verified yet; the first lock that asks verifies the credentials, once. What the
    app sends goes out unless the request is denied meanwhile; then the guard's response takes its place.
    """

    __slots__ = (
        "_accepted",
        "_answering",
        "_asked",
        "_carrier",
        "_clock_read_at",
        "_late",
        "_nested",
        "_offered",
        "_request",
        "_send",
        "_started",
        "_unsent",
        "_verifying",
        "headers",
        "options",
        "outer",
        "over",
        "path",
        "pending",
        "principal",
        "read",
        "reported",
        "response_headers",
        "rule",
        "scope",
        "verified",
    )

    def __init__(self, options: MiddlewareOptions, scope: Scope, path: str, rule: Rule | None, send: Send) -> None:
        self.options = options
        self.scope = scope
        self.headers: object = scope["headers"]
        self.path = path
        self.rule = rule
        #: The principal that this guard, or an outer one, has authenticated.
        self.principal: Principal | None = None
        #: Whether this guard has looked at the credentials.
        self.verified = False
        #: The denial by a report-only rule or lock, which let the request pass before anybody was authenticated, or
        #: with a principal that does not meet its requirement.
        self.reported: Denied | None = None
        #: The context of an outer guard in this very request.
        self.outer: RequestContext | None = None
        #: Headers of the scheme, for whatever response follows.
        self.response_headers: Sequence[Header] = ()
        self.read: BodyReader | None = None
        #: The first denial of the request. It holds, whatever happens afterwards.
        self.pending: PendingDenial | None = None
        #: Whether the app is done with the request, so that nothing can be denied any more.
        self.over = False
        self._send = send
        self._request: AuthRequest | None = None
        self._clock_read_at = 0.0
        self._verifying: anyio.Lock | None = None
        #: Whether the credentials were verified after the app had been called.
        self._late = False
        #: The requirements of the locks that have been passed.
        self._asked: tuple[Requirement, ...] = ()
        #: Whether a response has started, so that none can take its place. A WebSocket can still be closed.
        self._started = False
        #: The contexts of inner guards that are done.
        self._nested: tuple[RequestContext, ...] = ()
        self._accepted = False
        self._answering = False
        #: The carrier of the credentials, if they did not travel in ``Authorization``.
        self._carrier: Carrier | None = None
        #: The subprotocols of a handshake, with the token, if it was among them.
        self._offered: Sequence[str] = ()
        self._unsent: list[Message] | None = None

    def join_outer(self) -> None:
        """Take over the principal of an outer guard, if the scope has one that belongs to this very request."""
        outer = self.scope.get("authguard")
        if isinstance(outer, RequestContext) and outer.headers is self.headers:
            self.outer, self.principal = outer, outer.principal

    def admit(self, decision: Decision) -> None:
        """Take the principal of a request that passes: it has been granted, or the denial is not enforced."""
        self.principal, self.response_headers, self.verified = decision.principal, decision.response_headers, True
        if self.options.guard.other_carriers:
            self._note_carrier()

    def _note_carrier(self) -> None:
        """Note where the credentials travelled, if that is not ``Authorization``, and hide a token from the app."""
        if self.principal is not None:
            self._carrier = self.options.guard.other_carriers.get(self.principal.scheme)
        if isinstance(self._carrier, WebSocketProtocol):
            self._offered = offered_subprotocols(self.request)
            self.scope["subprotocols"] = self._carrier.without_token(self._offered)

    def enter(self) -> None:
        """Write the principal into the scope, over whatever stood there and was not written by this guard."""
        scope = self.scope
        scope["authguard"] = self
        self._show_user(scope)

    def _show_user(self, scope: MutableMapping[str, Any]) -> None:
        principal = self.principal
        if principal is None:
            scope["user"], scope["auth"] = ANONYMOUS_USER, ANONYMOUS_CREDENTIALS
        else:
            scope["user"], scope["auth"] = principal, PrincipalCredentials(principal)

    @property
    def request(self) -> AuthRequest:
        """The request as schemes see it."""
        request = self._request
        if request is None:
            guard = self.options.guard
            request = self._request = AuthRequest(self.scope, self.path, guard.moment(), self.read)
            self._clock_read_at = guard.monotonic()
        return request

    @property
    def origins(self) -> Origins:
        """The other sites that this middleware trusts, and those of an outer one whose principal it takes over."""
        own, outer = self.options.origins, self.outer
        return own if outer is None or outer.principal is None else own | outer.origins

    def owns(self, scope: Mapping[str, Any]) -> bool:
        """Whether a scope is of this request: a middleware may have handed on a copy of it."""
        marker = scope.get("authguard")
        while isinstance(marker, RequestContext):
            if marker is self:
                return True
            marker = marker.outer
        return scope is self.scope or scope.get("headers") is self.headers

    # --- locks --------------------------------------------------------------------------------------------------------

    async def require(
        self,
        requirement: Requirement,
        params: Mapping[str, str],
        scope: MutableMapping[str, Any],
        lock: Lock | None = None,
    ) -> Principal | None:
        """The principal, if it meets the requirement of a lock. Raises ``AccessDenied``.

        ``params`` are the path parameters, ``scope`` is the ASGI scope that the route sees. ``lock`` may be
        report-only: then one that is not met is recorded, and passes, with None where nobody was authenticated. Without
        a ``lock`` the requirement is enforced.
        """
        if self.verified and self.pending is None:  # nearly always: the rule of the route has asked before
            denied = self._authorize(requirement, params)
        else:
            denied = await self._denial(requirement, params, lock, scope)
        if denied is not None:
            if not self._is_report_only(denied, lock, scope):
                raise AccessDenied._of(self, denied)  # noqa: SLF001 - the two classes work together
            if self.principal is not None or self.reported is None:  # else it is recorded that nobody is authenticated
                self.reported = denied = replace(denied, enforced=False)
                self.options.guard.record(self.request, denied, self.rule, is_second=True)
        if self._late and scope is not self.scope:
            self._show_user(scope)  # a middleware between guard and route has passed on a copy of the scope
        if requirement is not OPTIONAL and all(requirement is not asked for asked in self._asked):
            self._asked = (*self._asked, requirement)
        return self.principal

    def _is_report_only(self, denied: Denied, lock: Lock | None, scope: Mapping[str, Any]) -> bool:
        """Whether a lock lets the request pass that it denies. A denial that was decided before holds."""
        guard = self.options.guard
        return (
            lock is not None
            and self.pending is None
            and (lock.report_only or guard.report_only)
            and not guard.enforces(denied, report_only=True)
            and not lock.value_is_taken(scope)
        )

    async def allows(
        self, requirement: Requirement, params: Mapping[str, str], scope: MutableMapping[str, Any], lock: Lock
    ) -> bool:
        """Whether the principal meets the requirement. Bad credentials and outages still raise ``AccessDenied``.

        ``lock`` stands for this question where the guard is report-only.
        """
        if self.reported is None:
            await self.require(OPTIONAL, {}, scope, lock)
        denied = await self._denial(requirement, params)
        if denied is not None and denied.reason.outage:
            raise AccessDenied._of(self, denied)  # noqa: SLF001 - see above
        return denied is None

    async def _denial(
        self,
        requirement: Requirement,
        params: Mapping[str, str],
        lock: Lock | None = None,
        scope: Mapping[str, Any] = MappingProxyType({}),
    ) -> Denied | None:
        """Why the request does not meet the requirement; None if it does, or if the lock is report-only and the first
        one that asks."""
        try:
            if not self.verified and self.pending is None:
                # Two locks that ask at the same time must not verify twice: a Digest response is good only once.
                self._verifying = self._verifying or anyio.Lock()
                async with self._verifying:
                    if not self.verified and self.pending is None:
                        denied = await self._verify(requirement, params)
                        if denied is None:
                            return None
                        if self._is_report_only(denied, lock, scope):
                            self.reported = denied = replace(denied, enforced=False)
                            self._admit_late(denied)
                            return None
                        # Inside the lock, so that the next lock finds the denial.
                        return self.deny(denied)
            return self._authorize(requirement, params) if self.pending is None else self.pending.denied
        except ConfigurationError as error:
            return lock_failed(requirement, {"problem": str(error)})
        except Exception as error:  # noqa: BLE001 - whatever fails, the lock stays closed
            return lock_failed(requirement, exception_facts(error))

    async def _verify(self, requirement: Requirement, params: Mapping[str, str]) -> Denied | None:
        guard, match = self.options.guard, Match(requirement, None, params)
        self._refresh_clock()
        decision = await guard.decide(self.request, match, self.principal, self.origins)
        if isinstance(decision, Denied):
            return decision
        self._admit_late(decision)
        return None

    def _admit_late(self, decision: Decision) -> None:
        """Take the principal of a request whose credentials a lock had verified, and record the decision."""
        self.response_headers = (*self.response_headers, *decision.response_headers)
        self.principal = decision.principal
        self.verified = self._late = True
        self._note_carrier()
        self.enter()
        self.options.guard.record(self.request, decision, self.rule, self.origins)

    def _authorize(self, requirement: Requirement, params: Mapping[str, str]) -> Denied | None:
        """Why a request whose credentials were verified does not meet the requirement; None if it does."""
        try:
            self._refresh_clock()
            match = Match(requirement, None, params)
            decision = self.options.guard.authorize(self.request, match, self.principal, self.reported)
        except ConfigurationError as error:
            return lock_failed(requirement, {"problem": str(error)})
        except Exception as error:  # noqa: BLE001 - whatever fails, the lock stays closed
            return lock_failed(requirement, exception_facts(error))
        return decision if isinstance(decision, Denied) else None

    def _refresh_clock(self) -> None:
        """Read the clock again if the last reading is old: a WebSocket may be open for days."""
        guard = self.options.guard
        if self._request is not None and guard.monotonic() - self._clock_read_at > LONG_WAIT:
            self._request.moment, self._clock_read_at = guard.moment(), guard.monotonic()

    # --- denials ------------------------------------------------------------------------------------------------------

    def own_denial(self, reason: Reason, facts: Facts) -> Denied:
        """The denial that an endpoint itself decides, under the requirement of its route."""
        guard, principal = self.options.guard, self.principal
        rule = guard.table.default if self.rule is None else self.rule
        asked = (rule.requirement, *self._asked)
        accepted = frozenset.intersection(*(guard.requirements[requirement].accepted for requirement in asked))
        scheme, subject = (None, None) if principal is None else (principal.scheme, principal.subject)
        return Denied(
            reason, scheme, subject, principal is not None, asked[-1], accepted, facts=facts, principal=principal
        )

    def refuse(self, reason: Reason, facts: Facts) -> NoReturn:
        """Deny the request as an endpoint does. Raises ``AccessDenied``."""
        raise AccessDenied._of(self, self.own_denial(reason, facts))  # noqa: SLF001 - the two classes work together

    def refuse_cross_origin(self) -> None:
        """Deny the request if a page of another origin caused it: a login and a log-out are on open routes, where the
        guard has not asked. Raises ``AccessDenied``."""
        if is_cross_origin(self.request, self.origins):
            self.refuse(ORIGIN_FOREIGN, origin_facts(self.request, self.origins))

    def deny(self, denied: Denied) -> Denied:
        """Deny the request for good and return the denial that holds: the first one."""
        if self.over:
            return denied
        if self.pending is None:
            if self.response_headers:
                denied = replace(denied, response_headers=(*self.response_headers, *denied.response_headers))
            # An exception that `render` raises must not become a denial of this request.
            token = CURRENT.set(None)
            try:
                reply, denied = self.options.guard.reply(self.request, denied, self.options.render)
            finally:
                CURRENT.reset(token)
            if denied.principal is None and self.principal is not None:
                denied = replace(denied, principal=self.principal)
            with _FIRST_DENIAL:
                self.pending = self.pending or PendingDenial(denied, reply)
        return self.pending.denied

    def end(self, denied: Denied) -> None:
        """End an open connection, because its credentials have ended. A WebSocket is closed with the public reason."""
        self.deny(denied)
        if self._accepted and self._unsent is None:
            reason = denied.reason.detail
            self._unsent = [{"type": "websocket.close", "code": POLICY_VIOLATION, "reason": reason}]

    # --- the app ------------------------------------------------------------------------------------------------------

    async def run(self, app: ASGIApp, receive: Receive) -> None:
        """Run the app. An exception that follows a denial is swallowed, unless the response has started."""
        token = CURRENT.set(self)
        try:
            is_watched = self.options.guard.ends_connections
            await (LiveConnection(self).run(app, receive) if is_watched else app(self.scope, receive, self.send))
        except Exception as error:
            if isinstance(error, AccessDenied) and self.pending is None:
                # It was made outside of this request's context: in a bare thread, or once for all requests.
                self.deny(self.own_denial(error.reason, error.facts))
            if self.pending is None or self._started:
                raise
        finally:
            self.over = True
            # The scope and this object refer to each other; without this the garbage collector would have to part them.
            if self.outer is None:
                self.scope.pop("authguard", None)
            else:
                self.scope["authguard"] = self.outer
            try:  # noqa: SIM105 - one `suppress` costs a tenth of a PUBLIC request
                CURRENT.reset(token)
            except ValueError:
                pass  # the event loop left this task behind, and the garbage collector ends it in another context
            if self.pending is not None:
                denied = with_handshake(self.pending.denied, self.scope, accepted=self._accepted)
                self.options.guard.record(self.request, denied, self.rule, is_second=self.verified)
        if self.pending is not None:
            await self._send_denial()
        if self.outer is None:
            self._forget()
        else:
            self.outer._nested = (*self.outer._nested, self)  # noqa: SLF001 - its own class

    def _forget(self) -> None:
        """Let go of the request: a task that the app started may keep this context, and must not keep credentials.

        The context of an inner guard does so when the outermost guard is done: until then locks may still ask it.
        """
        self.scope, self.headers, self._request, self.read, self._offered = {}, (), None, None, ()
        nested, self._nested = self._nested, ()
        for context in nested:
            context._forget()  # noqa: SLF001 - its own class

    # Not async: a coroutine for each message would cost as much as everything else that a PUBLIC request costs.
    def send(self, message: Message) -> Awaitable[None]:
        """The ``send`` of the app."""
        if self._started:
            return self._send(message)
        if self.pending is not None:
            return self._send_denial()
        kind = message["type"]
        if kind == "http.response.start" and not self.response_headers and self._carrier is None:  # nearly always
            self._started = True
            if message["status"] in REDIRECTS:
                note_redirect(self.scope, message)
        elif kind in STARTS:
            message = self._start(message)
        elif kind == "websocket.close":
            self._unsent = []  # a denial has nothing to add to a closed WebSocket
        return self._send(message)

    def _start(self, message: Message) -> Message:
        """The first message of a response, with what the scheme and the place of the credentials add to it."""
        # First, because the scheme may say itself what caches may do.
        if self.response_headers:
            message = {**message, "headers": [*message.get("headers", ()), *self.response_headers]}
        if message["type"] == "websocket.accept":
            self._accepted = True
            if isinstance(self._carrier, WebSocketProtocol):
                chosen = self._carrier.answer(self._offered, message.get("subprotocol"))
                message = {**message, "subprotocol": chosen}
        else:
            self._started = True
            if self._carrier is not None:
                message = with_private(message)
        return message

    async def _send_denial(self) -> None:
        """Send the response once. If the task that sends it is cancelled, the next task goes on where it stopped."""
        if self._started or self._answering or self.pending is None:
            return
        if self._unsent is None:
            closed: list[Message] = [{"type": "websocket.close", "code": POLICY_VIOLATION}]
            self._unsent = closed if self._accepted else messages(self.scope, self.pending.reply)
        self._answering = True
        try:
            while self._unsent:
                await self._send(self._unsent[0])
                del self._unsent[0]
        except Exception:
            self._unsent.clear()  # the client is gone, or the server accepts no more
            raise
        finally:
            self._answering = False


def lock_failed(requirement: Requirement, facts: Facts) -> Denied:
    """The denial of a lock that cannot be evaluated: it stays closed. The audit finds it before a request does."""
    return Denied(BACKEND_FAILED, requirement=requirement, facts=facts)


#: The context of the request that the current code runs for.
CURRENT: ContextVar[RequestContext | None] = ContextVar("authguard", default=None)


#: How many frames up the call of an ASGI app is looked for.
_MAX_FRAMES = 256


def current_context() -> RequestContext | None:
    """The context of the request that the calling code answers; None if that is another app's request.

    An endpoint may call another ASGI app in this process, as a client does. What that app denies is its own request's:
    the nearest call of an app, up the stack, then has a scope without this context. Used for denials only.
    """
    context = CURRENT.get()
    if context is None or context.over:
        return context
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - as logging does
    for _ in range(_MAX_FRAMES):
        if frame is None:
            break
        scope = frame.f_locals.get("scope")
        if isinstance(scope, MutableMapping) and scope.get("type") in {"http", "websocket"}:
            return context if context.owns(scope) else None
        frame = frame.f_back
    return context


class AccessDenied(HTTPException):
    """An endpoint's own denial: ``raise AccessDenied(Reason("order.not_owner", 403), order=5)``.

    It is answered and recorded as the guard's own denials are; ``facts`` go into the record. Making one denies the
    request, even if the exception is caught on its way: until a response has started, whatever the app sends is
    replaced by the guard's response; afterwards an accepted WebSocket is closed with 1008. Code that wants to branch
    asks ``allows(...)``.
    """

    def __init__(self, reason: Reason, /, **facts: object) -> None:
        if not isinstance(reason, Reason):
            raise ConfigurationError("reason", f'{reason!r} is not a Reason; write Reason("order.not_owner", 403)')
        context = current_context()
        denied = Denied(reason, facts=facts) if context is None else context.own_denial(reason, facts)
        self._deny_in(context, denied)

    @property
    def headers(self) -> Headers:
        """The challenges and the other headers of the response, each field line by itself.

        A framework's exception handler reads them in the request's own context. There, an exception that was made
        outside of it (in a bare thread, or once for all requests) denies the request.
        """
        context = current_context()
        if self._in_request or context is None or context.over:
            return self._headers
        context.deny(context.own_denial(self.reason, self.facts))
        return _reply_headers(context)

    @headers.setter
    def headers(self, headers: Headers) -> None:
        self._headers = headers

    @classmethod
    def _of(cls, context: RequestContext, denied: Denied) -> AccessDenied:
        exception = cls.__new__(cls)
        # An inner guard may be done with a request that an outer guard still holds.
        exception._deny_in(CURRENT.get() if context.over else context, denied)  # noqa: SLF001 - its own class
        return exception

    def _deny_in(self, context: RequestContext | None, denied: Denied) -> None:
        self._in_request = context is not None
        if context is not None:
            denied = context.deny(denied)
        self.reason, self.facts = denied.reason, denied.facts
        super().__init__(denied.reason.status, denied.reason.detail, _reply_headers(context))


def _reply_headers(context: RequestContext | None) -> Headers:
    headers = () if context is None or context.pending is None else context.pending.reply.headers
    return Headers(raw=[(name, value) for name, value in headers if not name.startswith(b"content-")])
