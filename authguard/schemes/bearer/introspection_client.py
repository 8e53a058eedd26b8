"""What a server says of a token: asked with a deadline, by few at a time, and not at all while it is in trouble."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from inspect import isawaitable
from typing import TypeAlias
from urllib.parse import quote_plus, urlencode

from authguard.concurrency.circuit_breaker import CircuitBreaker
from authguard.concurrency.deadline import ask
from authguard.concurrency.limiter import Admission, ConcurrencyLimiter
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.http_client import MAX_RESPONSE, Post
from authguard.model import Clock
from authguard.reasons import INTROSPECTION_BUSY, INTROSPECTION_TIMEOUT, INTROSPECTION_UNAVAILABLE, Reason
from authguard.validation import functions
from authguard.wire.grammar import WireError
from authguard.wire.jws import read_object

#: ``(headers, form)``, to which it adds what proves who asks.
ClientAuth: TypeAlias = Callable[[dict[str, str], dict[str, str]], Awaitable[None] | None]

#: So many tokens are asked about at the same time, and so many wait for that. Who comes when the queue is full is
#: refused at once.
AT_ONCE, WAITING = 64, 1000

#: What counts as a failure, beside 5xx.
_FAILURES = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)
_REDIRECTION, _REDIRECT = 3, ": a redirect, which is not followed"
_HINTS: Mapping[int, str] = {
    HTTPStatus.FORBIDDEN: ": this client may not ask, or something before it objects",
    HTTPStatus.NOT_FOUND: ": is the URL right?",
    HTTPStatus.METHOD_NOT_ALLOWED: ": is the URL right?",
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: ": a proxy wants to know who asks",
    HTTPStatus.TOO_MANY_REQUESTS: ": it is asked too often",
}


@dataclass(frozen=True, slots=True)
class IntrospectionAnswer:
    """What the server said: the octets, or None for a token that is not active; or why it said nothing.

    Octets and not claims: what a principal is given, an app may change.
    """

    octets: bytes | None = field(default=None, repr=False)
    trouble: Reason | None = None
    detail: str = ""
    retry_after: int | None = None


INACTIVE = IntrospectionAnswer()


class IntrospectionClient:
    """Asks one server about tokens, and answers with its trouble too, so that all who wait for it get the same."""

    def __init__(self, url: str, auth: ClientAuth, post: Post, *, deadline: float, clock: Clock) -> None:
        self._told = url.partition("?")[0]
        self._url, self._auth, self._post, self._deadline = url, auth, post, deadline
        self._breaker = CircuitBreaker(clock)
        self._limiter = ConcurrencyLimiter(limit=AT_ONCE, max_waiting=WAITING)
        self._asked = 0
        self._last: str | None = None

    async def about(self, octets: bytes) -> IntrospectionAnswer:
        """What the server says of a token. Trouble in the client authentication is told as the server's is."""
        wait = self._breaker.wait()
        if wait > 0:
            return self._unasked(wait)
        # A turn has a deadline of its own: what waited for long would else be cut off, and told as the server's fault.
        turn = await self._limiter.acquire(self._deadline)
        if turn is Admission.FULL:
            return IntrospectionAnswer(None, INTROSPECTION_BUSY, f"{WAITING} tokens wait to be asked about already", 1)
        if turn is Admission.TIMED_OUT:
            return IntrospectionAnswer(None, INTROSPECTION_TIMEOUT, f"no turn to ask within {self._deadline:g} s", 1)
        try:
            wait = self._breaker.wait()
            if wait > 0:  # the circuit has opened meanwhile; his turn goes on to the next, who goes too
                return self._unasked(wait)
            with self._breaker.call() as call:
                answer, call.succeeded = await self._tried(octets)
            if answer.trouble is not None:
                self._last = answer.detail
            return answer
        finally:
            self._limiter.release()

    def _unasked(self, wait: float) -> IntrospectionAnswer:
        detail = f"not asked, after {self._breaker.failures} failures: {self._last}"
        return IntrospectionAnswer(None, INTROSPECTION_UNAVAILABLE, detail, math.ceil(wait))

    async def _tried(self, octets: bytes) -> tuple[IntrospectionAnswer, bool | None]:
        """What the server says, and whether that is a sign of its health."""
        # RFC 7662 section 2.1.
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        form = {"token": octets.decode("ascii"), "token_type_hint": "access_token"}
        authenticated = False

        async def call() -> tuple[int, bytes]:
            nonlocal authenticated
            added = self._auth(headers, form)
            if isawaitable(added):
                await added
            authenticated = True
            self._asked += 1
            return await self._post(self._url, headers, urlencode(form).encode())

        try:
            status, body = await ask(call(), self._deadline, INTROSPECTION_TIMEOUT)
        except BackendUnavailable as error:
            reason, problem, retry_after = error.reason or INTROSPECTION_UNAVAILABLE, str(error), error.retry_after
        except Exception as error:  # noqa: BLE001 - whatever it raises, there is no answer; its text may tell the token
            reason, problem, retry_after = INTROSPECTION_UNAVAILABLE, type(error).__name__, None
        else:
            if status == HTTPStatus.OK:
                return _read(body, self._told)
            return _trouble(f"{self._told} answers with status {status}{self._hint(status)}"), _is_failure(status)
        return IntrospectionAnswer(
            None, reason, f"{self._told}: {'' if authenticated else 'auth= failed: '}{problem}", retry_after
        ), False

    def _hint(self, status: int) -> str:
        if status == HTTPStatus.UNAUTHORIZED:
            ours = "our client_id and client_secret" if isinstance(self._auth, Basic) else "what auth= adds"
            return f": it does not take {ours}"
        return _HINTS.get(status, _REDIRECT if status // 100 == _REDIRECTION else "")

    def health(self) -> Mapping[str, object]:
        """``open``: whether the circuit breaker keeps tokens from being asked about. ``waiting``: for their turn."""
        return {
            "url": self._told,
            "asked": self._asked,
            "waiting": self._limiter.waiting,
            "open": self._breaker.open,
            "failures": self._breaker.failures,
            "last_error": self._last,
        }


def _trouble(detail: str) -> IntrospectionAnswer:
    return IntrospectionAnswer(None, INTROSPECTION_UNAVAILABLE, detail)


def _is_failure(status: int) -> bool | None:
    """The ``Call.succeeded`` of a status other than 200: False for a failure, None for any other.

    A request that a client made up may be refused by the server or by a firewall before it. That is no sign of trouble,
    and must not open the circuit for everybody.
    """
    return False if status in _FAILURES or status >= HTTPStatus.INTERNAL_SERVER_ERROR else None


def _read(body: bytes, told: str) -> tuple[IntrospectionAnswer, bool | None]:
    """RFC 7662 section 2.2. A firewall's page of objections comes with status 200 too, and is no sign of trouble."""
    if len(body) > MAX_RESPONSE:
        return _trouble(f"{told}: an answer of over {MAX_RESPONSE} octets"), None
    try:
        active = read_object(body).get("active")
    except WireError as error:
        return _trouble(f"{told}: its answer cannot be read: {error.problem}"), None
    # A boolean. A string that says true is none, and neither is 1.
    if active is True:
        return IntrospectionAnswer(body), True
    if active is False:
        return INACTIVE, True
    return _trouble(f"{told}: its answer does not say whether the token is active"), None


class Basic:
    """HTTP Basic. Not a partial, whose repr would show it."""

    __slots__ = ("_proof",)

    def __init__(self, proof: str) -> None:
        self._proof = proof

    def __call__(self, headers: dict[str, str], form: dict[str, str]) -> None:
        """Adds the field."""
        headers["Authorization"] = self._proof


def authentication(client_id: str | None, client_secret: str | None, auth: ClientAuth | None) -> ClientAuth:
    """What proves to the server who asks; ``ConfigurationError`` where nothing does."""
    if auth is not None:
        if client_id is not None or client_secret is not None:
            raise ConfigurationError("auth", "it takes the place of client_id and client_secret; leave them out")
        functions("auth", [auth])
        return auth
    # RFC 7662 section 2.1: whoever may ask about any token could scan for them.
    for name, value in (("client_id", client_id), ("client_secret", client_secret)):
        if not isinstance(value, str) or not value:
            raise ConfigurationError(
                name, "the server wants to know who asks: give client_id and client_secret, or auth="
            )
    pair = ":".join(quote_plus(str(part), safe="") for part in (client_id, client_secret))
    proof = "Basic " + b64encode(pair.encode()).decode()

    return Basic(proof)
