"""``Session``: a login that a browser keeps in the app's own session, with time-outs and a log-out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping, Sequence
from functools import partial
from hashlib import sha256
from inspect import isawaitable
from secrets import token_urlsafe
from types import MappingProxyType
from typing import Any, NoReturn, Protocol, cast

from authguard.concurrency.deadline import ask, is_overtaken, optional_method
from authguard.errors import BackendUnavailable, ConfigurationError, WrongAnswer
from authguard.model import Accepted, Denied, Facts, Header, Outcome, Principal, Rejected
from authguard.reasons import (
    CREDENTIALS_AMBIGUOUS,
    SESSION_EXPIRED,
    SESSION_IDLE,
    SESSION_MALFORMED,
    SESSION_NOT_YET,
    SESSION_REVOKED,
    STORE_UNAVAILABLE,
    Reason,
)
from authguard.request import AuthRequest
from authguard.schemes.scheme import AuthenticateNow, Carrier, Continuation, Scheme, check_name
from authguard.schemes.session_entry import SessionEntry, entry_of, read_entry
from authguard.validation import check_flag, check_seconds, functions
from authguard.wire.authorization import Credentials
from authguard.wire.challenge import Challenge
from authguard.wire.cookie import stripped_cookie_names
from authguard.wire.grammar import is_token
from authguard.wire.local_path import is_local_path

#: The longest time-out, in seconds: 400 days, after which browsers drop any cookie.
LONGEST = 34_560_000
# The page of somebody who has logged out must not come back from the browser's history, nor from a cache.
_NO_STORE: tuple[Header, ...] = ((b"cache-control", b"no-store"),)
_NO_HEADERS: tuple[Header, ...] = ()
_ADD = "app.add_middleware(SessionMiddleware, secret_key=..., https_only=True), after the guard, so that it is outside"


class SessionRevocations(Protocol):
    """The port for sessions that have been logged out: a signed cookie cannot be recalled, only refused.

    A store that knows the answer without waiting may also have ``is_session_revoked_now(session_id)``, not async. A
    method that cannot answer raises ``BackendUnavailable``.
    """

    async def revoke_session(self, session_id: str, until: float) -> None:
        """Refuse this session from now on. It ends by itself at ``until``, in seconds since the epoch."""
        ...

    async def is_session_revoked(self, session_id: str) -> bool:
        """Whether this session has been revoked."""
        ...


class SessionCarrier(Carrier):
    """Where a session travels: in the cookie of a middleware, which puts what it holds into ``scope["session"]``."""

    sent_by_browsers = True
    #: The field, as records name it.
    header = "cookie"

    def __init__(self, auth_scheme: str, key: str, cookie: str) -> None:
        self._auth_scheme, self._key, self._cookie = auth_scheme, key, cookie
        self._bytes = cookie.encode("ascii")

    def find(self, request: AuthRequest) -> Sequence[Credentials] | Rejected:
        """The session of the request, if somebody has logged in with it.

        Two cookies of its name are ambiguous: the browser does not say which of them this site has set. Raises
        ``WrongAnswer`` if there is no session at all, because no middleware is outside of the guard that has one.
        """
        session = request.scope.get("session")
        if session is None:
            raise WrongAnswer(f"the request has no session: {_ADD}")
        lines = [line for name, line in request.headers if name == b"cookie"]
        # The name is hardly ever there twice, and to count it costs less than to look for whole cookies.
        if sum([line.count(self._bytes) for line in lines]) > 1 or not b"".join(lines).isascii():
            names = stripped_cookie_names(lines, self._cookie)
            problem = None
            if len(names) > 1:
                problem = "two cookies of one name: another path or a host of the same domain has set one"
            elif names and names[0].strip(b" \t") != self._bytes:
                # If the name has __Host-, browsers let no other host set it, but they do with such a blank.
                problem = "a blank that is no space belongs to its name: a host of the same domain may have set it"
            if problem is not None:
                facts = {"cookie": self._cookie, "cookies": len(names), "problem": problem}
                return Rejected(CREDENTIALS_AMBIGUOUS, facts=facts)
        return (Credentials(self._auth_scheme, b""),) if self._key in session else ()


class Session(Scheme):
    """Logins that a browser keeps: ``Session(realm="shop", login_url="/login")``.

    It rides on the app's session, ``scope["session"]``: Starlette's SessionMiddleware, or any other middleware that
    puts a mutable mapping there. That middleware must be outside of the guard.

    - ``realm``: the protection space, which the challenge names.
    - ``idle``: the seconds without a request after which the session ends. ``absolute``: the seconds after the login.
    - ``renew_after``: how old the last noted request must be, in seconds, before a request is noted again, which sets
      the cookie. The default is a tenth of ``idle``.
    - ``login_url``: the path of the login page, which must be PUBLIC. A browser that opens a page without a session is
      sent there. ``next_path`` says where it wanted to go.
    - ``revocations``: where a log-out is entered, and asked at each request. Without it an old copy of a signed cookie
      is good until its time-outs.
    - ``new_id``: ``(request)``, async or not, called by ``login`` and ``logout``. It gives the session another id,
      where the cookie holds no more than that.
    - ``cookie``: the name of the cookie. ``key``: where the login stands in the session, ``"authguard"`` or
      ``"authguard.NAME"`` by default. Two schemes must not share one, or a login of one would be one of the other.
    - ``no_store``: whether pages behind a session get ``Cache-Control: no-store``.
    - ``name``: for ``via``, if the guard has two. ``deadline``: the seconds that ``revocations`` may take, at most 60.

    Denies with ``session.idle``, ``session.expired``, ``session.revoked``, ``session.not_yet`` and
    ``session.malformed``. Raises ``ConfigurationError``.
    """

    #: The audit looks for the middleware that it rides on.
    needs_session = True
    reports_login_time = True
    sent_by_browsers = True
    constant_challenges = True

    def __init__(
        self,
        *,
        realm: str,
        idle: float = 1800,
        absolute: float = 12 * 3600,
        renew_after: float | None = None,
        login_url: str = "",
        revocations: SessionRevocations | None = None,
        new_id: Callable[[Any], object] | None = None,
        cookie: str = "session",
        key: str | None = None,
        no_store: bool = True,
        name: str = "session",
        deadline: float = 5.0,
    ) -> None:
        self.name = check_name(name)
        self.idle = check_seconds("idle", idle, most=LONGEST)
        self.absolute = check_seconds("absolute", absolute, most=LONGEST)
        if self.idle > self.absolute:
            raise ConfigurationError("idle", f"{idle!r} is longer than absolute={absolute!r}, so it would never count")
        self.renew_after = check_seconds("renew_after", idle / 10 if renew_after is None else renew_after, most=idle)
        if login_url != "" and not (isinstance(login_url, str) and _is_page(login_url)):
            raise ConfigurationError("login_url", f'{login_url!r} is not a path of this app, such as "/login"')
        self.login_url = login_url
        if not isinstance(cookie, str) or not is_token(cookie):
            raise ConfigurationError("cookie", f"{cookie!r} is not the name of a cookie")
        if key is None:
            # Another one for each scheme, so that a login of one is none of the other.
            key = "authguard" if name == "session" else f"authguard.{name}"
        if not isinstance(key, str) or not key:
            raise ConfigurationError("key", f"{key!r} is not a key; give a non-empty string")
        self.cookie, self.key = cookie, key
        self._headers = _NO_STORE if check_flag("no_store", no_store) else _NO_HEADERS
        self._deadline = check_seconds("deadline", deadline, most=60)
        self._new_id = None if new_id is None else functions("new_id", [new_id])[0]
        for method in ("revoke_session", "is_session_revoked") if revocations is not None else ():
            if not callable(getattr(revocations, method, None)):
                raise ConfigurationError("revocations", f"{revocations!r} has no async {method}(...)")
        self._revocations = revocations
        self._is_revoked_now: Callable[[str], bool] | None = None
        if revocations is not None:
            self._is_revoked_now = optional_method(revocations, "is_session_revoked_now", beside="is_session_revoked")
        self._challenges = (Challenge("Session", {"realm": realm}),)
        self.carrier = SessionCarrier(self.name, key, cookie)
        self.openapi = MappingProxyType({"type": "apiKey", "in": "cookie", "name": cookie})

    # --- each request -------------------------------------------------------------------------------------------------

    def authenticate_now(
        self, request: AuthRequest, credentials: Credentials, *, is_asked_later: bool = False
    ) -> Outcome | Continuation:
        """What ``authenticate`` returns, if nothing must be awaited for it.

        ``is_asked_later``: whether the guard itself asks ``revocations`` after this.
        """
        session: MutableMapping[str, Any] = request.scope["session"]
        entry = read_entry(session.get(self.key))
        if entry is None:
            session.clear()
            return Rejected(SESSION_MALFORMED, facts={"key": self.key})
        failure = self._failure(entry, request)
        if failure is not None:
            # A clock that goes wrong for a moment must not log everybody out.
            if failure.reason is not SESSION_NOT_YET:
                session.clear()
            return failure
        if self._revocations is None or is_asked_later:
            return self._accept(session, entry, request.moment.now)
        if self._is_revoked_now is not None:
            return self._unless_revoked(self._is_revoked_now(entry.session_id), session, entry, request)

        async def ask_revocations() -> Outcome:
            revocations = cast("SessionRevocations", self._revocations)
            try:
                is_revoked = await ask(revocations.is_session_revoked(entry.session_id), self._deadline)
            except BackendUnavailable:
                if not request.pass_unchecked("revocations", revocations):
                    raise
                is_revoked = False
            return self._unless_revoked(is_revoked, session, entry, request)

        return ask_revocations

    def leave_revocations_to(self, stores: Sequence[object]) -> AuthenticateNow | None:
        """``authenticate_now`` for a guard that asks these stores, if its own store is one of them: one request asks
        a store once. None if it must ask, or can do it without waiting. ``forget`` is for the guard then."""
        must_wait = self._revocations is not None and self._is_revoked_now is None
        if not must_wait or all(store is not self._revocations for store in stores):
            return None
        for method in ("authenticate_now", "authenticate"):
            if is_overtaken(self, "leave_revocations_to", by=method):
                return None  # a subclass does more than that
        return partial(self.authenticate_now, is_asked_later=True)

    def forget(self, request: AuthRequest) -> None:
        """Empty the session of this request, which was revoked."""
        request.scope["session"].clear()

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        """``Accepted`` for a session that is neither timed out nor revoked."""
        answer = self.authenticate_now(request, credentials)
        return answer if isinstance(answer, Accepted | Rejected) else await answer()

    def challenges(self, request: AuthRequest, why: Denied | None) -> Sequence[Challenge]:
        """One challenge of a scheme that no browser asks a password for (RFC 9110 section 15.5.2 wants one)."""
        return self._challenges

    def _failure(self, entry: SessionEntry, request: AuthRequest) -> Rejected | None:
        """Why a session is not good at this time. The guard's own stamps need no leeway, unless a host is behind."""
        moment = request.moment
        latest = max(entry.began, entry.seen)
        ends, idle_at = self._ends(entry), entry.seen + self.idle
        reason: Reason
        facts: dict[str, object]
        if moment.not_yet(latest):
            reason, facts = SESSION_NOT_YET, {"begins_in": -moment.by(latest), "leeway": moment.leeway}
        elif moment.now >= ends:
            reason, facts = SESSION_EXPIRED, {"expired_by": moment.by(ends), "absolute": float(self.absolute)}
        elif moment.now >= idle_at:
            reason, facts = SESSION_IDLE, {"idle_by": moment.by(idle_at), "idle": float(self.idle)}
        else:
            return None
        return Rejected(reason, entry.subject, {**facts, **_named(entry)}, authenticated=True)

    def _unless_revoked(
        self, is_revoked: object, session: MutableMapping[str, Any], entry: SessionEntry, request: AuthRequest
    ) -> Outcome:
        if is_revoked is False:
            return self._accept(session, entry, request.moment.now)
        if is_revoked is not True:
            raise WrongAnswer(f"is_session_revoked returned {type(is_revoked).__name__}; return True or False")
        session.clear()
        return Rejected(SESSION_REVOKED, entry.subject, _named(entry), authenticated=True)

    def _accept(self, session: MutableMapping[str, Any], entry: SessionEntry, now: float) -> Accepted:
        if now - entry.seen >= self.renew_after:
            session[self.key] = {**session[self.key], "seen": now}
        claims = {**entry.claims, "auth_time": entry.auth_time, "sid": entry.session_id}
        if entry.acr is not None:
            claims["acr"] = entry.acr
        roles, scopes = frozenset(entry.roles), frozenset(entry.scopes)
        principal = Principal.checked(entry.subject, roles, scopes, claims, self._ends(entry), None)
        return Accepted(principal, self._headers)

    def _ends(self, entry: SessionEntry) -> float:
        ends = entry.began + self.absolute
        return ends if entry.ends is None else min(ends, entry.ends)

    # --- login and log-out --------------------------------------------------------------------------------------------

    async def login(
        self,
        request: object,
        principal: Principal,
        *,
        auth_time: float | None = None,
        acr: str | None = None,
        keep: Collection[str] = (),
    ) -> None:
        """Begin a session for a principal, whose name and password or ID token the app has verified.

        ``request`` is Starlette's, or its scope. The session is emptied first, and has a new id, so that nothing is
        left of what somebody else may have put into it. ``keep`` names what stays, such as a cart. An earlier login of
        the same session is revoked.

        ``auth_time`` (seconds since the epoch) and ``acr`` are what ``step_up`` asks for; by default they are those of
        the principal's claims, and else now and none. The session ends with ``principal.expires_at`` too.

        Raises ``AccessDenied`` if a page of another origin has sent the request, or if ``revocations`` cannot answer,
        and ``ConfigurationError`` outside of the guard, without a session, and for claims that do not fit into it.
        """
        context, session = self._here(request)
        context.refuse_cross_origin()
        if not isinstance(principal, Principal):
            raise ConfigurationError("principal", f"a {type(principal).__name__} is not a Principal(...)")
        now = context.request.moment.now
        entry = entry_of(principal, token_urlsafe(16), now, auth_time=auth_time, acr=acr)
        kept = {name: session[name] for name in keep if name in session and name != self.key}
        await self._end(request, context, session)
        session.update(kept)
        session[self.key] = entry.to_session()

    async def logout(self, request: object) -> None:
        """End the session, and revoke it. ``request`` is Starlette's, or its scope.

        Raises ``AccessDenied`` if a page of another origin has sent the request, and 503 if ``revocations`` cannot take
        the session: the cookie is deleted then, but a copy of it stays good. Raises ``ConfigurationError`` outside of
        the guard, and without a session.
        """
        context, session = self._here(request)
        context.refuse_cross_origin()
        await self._end(request, context, session)

    async def _end(self, request: object, context: _Context, session: MutableMapping[str, Any]) -> None:
        """Empty the session, give it another id, and revoke the login that it holds."""
        entry = read_entry(session.get(self.key))
        session.clear()
        if self._new_id is not None:
            renewed = self._new_id(request)
            if isawaitable(renewed):
                await cast("Awaitable[object]", renewed)
        if entry is None or self._revocations is None:
            return
        try:
            await ask(self._revocations.revoke_session(entry.session_id, self._ends(entry)), self._deadline)
        except BackendUnavailable as error:
            context.refuse(error.reason or STORE_UNAVAILABLE, {"detail": error.detail, **_named(entry)})

    def _here(self, request: object) -> tuple[_Context, MutableMapping[str, Any]]:
        """The context of the guard, and the session. Raises ``ConfigurationError`` where there is none."""
        scope: Mapping[str, Any] = request if isinstance(request, Mapping) else getattr(request, "scope", {})
        context: _Context | None = scope.get("authguard")
        if context is None:
            raise ConfigurationError("request", "it did not pass a guard; call login and logout in a route of the app")
        session = scope.get("session")
        if not isinstance(session, MutableMapping):
            raise ConfigurationError("request", f"it has no session: {_ADD}")
        return context, session

    @staticmethod
    def next_path(value: object, default: str = "/") -> str:
        """Where to go after the login: ``value``, which the client has sent as ``next``, if it is a path of this site.

        ``default`` for everything else: another site, however it is written (``//evil``, ``/\\evil``), control
        characters, and more than 2048 characters.
        """
        return value if isinstance(value, str) and is_local_path(value) else default


class _Context(Protocol):
    """What ``scope["authguard"]`` is to ``login`` and ``logout``."""

    @property
    def request(self) -> AuthRequest: ...

    def refuse_cross_origin(self) -> None: ...

    def refuse(self, reason: Reason, facts: Facts) -> NoReturn: ...


def _is_page(login_url: str) -> bool:
    return is_local_path(login_url) and "?" not in login_url


def _named(entry: SessionEntry) -> Facts:
    """The session by the first digits of its hash."""
    return {"session": sha256(entry.session_id.encode("utf-8", "surrogatepass")).hexdigest()[:8]}
