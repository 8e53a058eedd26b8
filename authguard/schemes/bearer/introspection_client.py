"""The client of an introspection server: a deadline, few calls at a time, and none while the server is in trouble."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Awaitable, Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import field
from http import HTTPStatus
from inspect import isawaitable
from typing import TypeAlias
from urllib.parse import quote_plus, urlencode

from authguard.concurrency.circuit_breaker import CircuitBreaker, Question
from authguard.concurrency.deadline import ask
from authguard.concurrency.limiter import Admission, ConcurrencyLimiter
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.http_client import MAX_RESPONSE, Post, cause_of, without_query
from authguard.model import Clock
from authguard.reasons import INTROSPECTION_BUSY, INTROSPECTION_TIMEOUT, INTROSPECTION_UNAVAILABLE, Reason
from authguard.validation import check_int, functions
from authguard.value_types import value
from authguard.wire.grammar import WireError
from authguard.wire.jws import read_object

#: A function of ``(headers, form)`` that adds to them what authenticates this client.
ClientAuth: TypeAlias = Callable[[dict[str, str], dict[str, str]], Awaitable[None] | None]

#: How many tokens are asked about at the same time, and how many wait for that. When the queue is full, a token is
#: refused at once.
AT_ONCE, WAITING = 64, 1000

#: The statuses that count as a failure of the server, beside 5xx.
_FAILURES = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)
#: Those of them that cannot be about the token.
_ABOUT_THE_SERVER = _FAILURES - {HTTPStatus.UNAUTHORIZED}
_REDIRECTION, _REDIRECT = 3, ": a redirect, which is not followed"
_UNKNOWN_TOKEN = "; or, if it does not know the token, name the status in unknown_token_statuses="
_HINTS: Mapping[int, str] = {
    HTTPStatus.BAD_REQUEST: f": it objects to the request{_UNKNOWN_TOKEN}",
    HTTPStatus.FORBIDDEN: ": this client may not ask, or something before it objects",
    HTTPStatus.NOT_FOUND: ": is the URL right?",
    HTTPStatus.METHOD_NOT_ALLOWED: ": is the URL right?",
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: ": a proxy wants to know who asks",
    HTTPStatus.TOO_MANY_REQUESTS: ": it is asked too often",
}


@value
class IntrospectionAnswer:
    """The answer about a token: the ``body`` if it is active, None if it is not; or the ``outage``.

    It holds bytes and not claims, because an app may change the claims of its principal. ``status`` is that of an
    answer which says that the token is unknown without saying that it is not active. ``asked`` is False if the server
    was not asked about this token. ``facts`` are for the record of an outage, beside ``detail``.
    """

    body: bytes | None = field(default=None, repr=False)
    outage: Reason | None = None
    detail: str = ""
    retry_after: int | None = None
    status: int | None = None
    asked: bool = True
    facts: Mapping[str, object] = field(default_factory=dict)


#: The answer about a token that is not active.
INACTIVE = IntrospectionAnswer()


class IntrospectionClient:
    """Asks one server about tokens. It returns outages instead of raising, so that all requests that wait get them.

    ``unknown_token_statuses`` are those with which the server answers about tokens that it does not know.
    """

    def __init__(
        self,
        url: str,
        auth: ClientAuth,
        post: Post,
        *,
        unknown_token_statuses: AbstractSet[int],
        deadline: float,
        clock: Clock,
    ) -> None:
        self._shown_url = without_query(url)
        self._url, self._auth, self._post, self._deadline = url, auth, post, deadline
        self._unknown_token_statuses = unknown_token_statuses
        self._breaker = CircuitBreaker(clock)
        self._limiter = ConcurrencyLimiter(limit=AT_ONCE, max_waiting=WAITING)
        self._asked = 0
        self._last_error: str | None = None

    async def introspect(self, token: bytes, question: Question) -> IntrospectionAnswer:
        """The answer about a token, which is the topic of ``question``. A failure of ``auth`` is an outage too."""
        wait = self._breaker.wait(question)
        if wait > 0:
            return self._stopped(wait)
        network, known = question.network, question.known
        # The queue has a deadline of its own. Otherwise a long wait would cut off the call, and blame the server.
        admission = await self._limiter.acquire(self._deadline, network, known=known)
        if admission is Admission.FULL:
            return _not_asked(INTROSPECTION_BUSY, f"{WAITING} tokens wait to be asked about already")
        if admission is Admission.TIMED_OUT:
            return _not_asked(INTROSPECTION_TIMEOUT, f"no turn to ask within {self._deadline:g} s")
        try:
            wait = self._breaker.wait(question)
            if wait > 0:  # the circuit has opened meanwhile
                return self._stopped(wait)
            with self._breaker.call(question) as call:
                answer, call.succeeded = await self._ask(token)
            if answer.outage is not None:
                self._last_error = answer.detail
            return answer
        finally:
            self._limiter.release(network, known=known)

    def _stopped(self, wait: float) -> IntrospectionAnswer:
        detail = f"not asked, after {self._breaker.failures} failures: {self._last_error}"
        return _not_asked(INTROSPECTION_UNAVAILABLE, detail, math.ceil(wait))

    async def _ask(self, token: bytes) -> tuple[IntrospectionAnswer, bool | None]:
        """The answer, and the ``Call.succeeded`` of the circuit breaker."""
        # RFC 7662 section 2.1.
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        form = {"token": token.decode("ascii"), "token_type_hint": "access_token"}
        authenticated = False

        async def call() -> tuple[int, bytes]:
            nonlocal authenticated
            awaitable = self._auth(headers, form)
            if isawaitable(awaitable):
                await awaitable
            authenticated = True
            self._asked += 1
            return await self._post(self._url, headers, urlencode(form).encode())

        cause: str | None = None
        try:
            status, body = await ask(call(), self._deadline, INTROSPECTION_TIMEOUT)
        except BackendUnavailable as error:
            reason, problem, retry_after = error.reason or INTROSPECTION_UNAVAILABLE, str(error), error.retry_after
        except Exception as error:  # noqa: BLE001 - any error means that there is no answer; its text may show the token
            reason, problem, retry_after = INTROSPECTION_UNAVAILABLE, type(error).__name__, None
            cause = cause_of(error)
        else:
            if status == HTTPStatus.OK:
                return read_answer(body, self._shown_url)
            if status in self._unknown_token_statuses and not _is_about_the_client(body):
                return IntrospectionAnswer(status=status), True
            hint = self._hint(status)
            facts = {"endpoint_status": status, **({"hint": hint.removeprefix(": ")} if hint else {})}
            return _outage(f"{self._shown_url} answers with status {status}{hint}", facts), _is_failure(status)
        detail = f"{self._shown_url}: {'' if authenticated else 'auth= failed: '}{problem}"
        facts = {} if cause is None else {"cause": cause}
        return IntrospectionAnswer(None, reason, detail, retry_after, facts=facts), False

    def _hint(self, status: int) -> str:
        if status == HTTPStatus.UNAUTHORIZED:
            ours = "our client_id and client_secret" if isinstance(self._auth, ClientBasicAuth) else "what auth= adds"
            return f": it does not take {ours}{_UNKNOWN_TOKEN}"
        return _HINTS.get(status, _REDIRECT if status // 100 == _REDIRECTION else "")

    def health(self) -> Mapping[str, object]:
        """Figures for an operator.

        ``asked``: how many calls were made. ``waiting``: tokens in the queue. ``open``: whether calls are stopped for
        tokens that were never active, and ``open_for_known`` for those that were. ``failures``: how many failures in a
        row were of different tokens and networks. ``last_error``: the last one, also if calls have succeeded since.
        """
        return {
            "url": self._shown_url,
            "asked": self._asked,
            "waiting": self._limiter.waiting,
            "open": self._breaker.open,
            "open_for_known": self._breaker.open_for_known,
            "failures": self._breaker.failures,
            "last_error": self._last_error,
        }


def _outage(detail: str, facts: Mapping[str, object] | None = None) -> IntrospectionAnswer:
    return IntrospectionAnswer(None, INTROSPECTION_UNAVAILABLE, detail, facts=facts or {})


def _not_asked(reason: Reason, detail: str, retry_after: int = 1) -> IntrospectionAnswer:
    return IntrospectionAnswer(None, reason, detail, retry_after, asked=False)


def _is_about_the_client(body: bytes) -> bool:
    """Whether an error response names our own credentials as the problem (RFC 6749 section 5.2)."""
    try:
        return read_object(body).get("error") in ("invalid_client", "unauthorized_client")
    except WireError:
        return False


def _is_failure(status: int) -> bool | None:
    """The ``Call.succeeded`` of a status other than 200: False for a failure, None for any other.

    A request that a client made up may be refused by the server or by a firewall before it. That is no sign of trouble,
    and must not open the circuit for everybody.
    """
    return False if status in _FAILURES or status >= HTTPStatus.INTERNAL_SERVER_ERROR else None


def read_answer(body: bytes, url: str) -> tuple[IntrospectionAnswer, bool | None]:
    """The answer of a response with status 200 (RFC 7662 section 2.2), and the ``Call.succeeded``.

    A firewall may send an error page with status 200. That is no sign of trouble, so it counts neither way.
    """
    if len(body) > MAX_RESPONSE:
        return _outage(f"{url}: an answer of over {MAX_RESPONSE} octets"), None
    try:
        active = read_object(body).get("active")
    except WireError as error:
        return _outage(f"{url}: its answer cannot be read: {error.problem}"), None
    # It must be a boolean: neither the string "true" nor 1 counts.
    if active is True:
        return IntrospectionAnswer(body), True
    if active is False:
        return INACTIVE, True
    return _outage(f"{url}: its answer does not say whether the token is active"), None


class ClientBasicAuth:
    """A ``ClientAuth`` by HTTP Basic. It is not a partial, because the repr of a partial would show the secret."""

    __slots__ = ("_authorization",)

    def __init__(self, authorization: str) -> None:
        self._authorization = authorization

    def __call__(self, headers: dict[str, str], form: dict[str, str]) -> None:
        """Add the ``Authorization`` field."""
        headers["Authorization"] = self._authorization


def check_client_auth(client_id: str | None, client_secret: str | None, auth: ClientAuth | None) -> ClientAuth:
    """``auth``, or HTTP Basic with the other two. Raises ``ConfigurationError`` if neither or both are given."""
    if auth is not None:
        if client_id is not None or client_secret is not None:
            raise ConfigurationError("auth", "give either auth=, or client_id= and client_secret=")
        functions("auth", [auth])
        return auth
    # RFC 7662 section 2.1: the server must authenticate its clients, or anybody could try tokens there.
    for name, text in (("client_id", client_id), ("client_secret", client_secret)):
        if not isinstance(text, str) or not text:
            raise ConfigurationError(
                name, "the server must know which client asks: give client_id= and client_secret=, or auth="
            )
    pair = ":".join(quote_plus(str(part), safe="") for part in (client_id, client_secret))
    return ClientBasicAuth("Basic " + b64encode(pair.encode()).decode())


def check_unknown_token_statuses(statuses: Collection[int]) -> frozenset[int]:
    """The statuses as a set. Raises ``ConfigurationError`` for any that cannot be about the token."""
    argument = "unknown_token_statuses"
    if isinstance(statuses, int):
        raise ConfigurationError(argument, f"{statuses!r} is one status; write {{{statuses!r}}}")
    if not isinstance(statuses, Collection) or isinstance(statuses, str | bytes):
        raise ConfigurationError(argument, f"a {type(statuses).__name__} is not a set of statuses; write {{400}}")
    for status in statuses:
        check_int(argument, status, least=HTTPStatus.BAD_REQUEST, most=HTTPStatus.INTERNAL_SERVER_ERROR - 1)
        if status in _ABOUT_THE_SERVER:
            raise ConfigurationError(argument, f"{status} is an answer about the server and not about the token")
    return frozenset(statuses)
