"""``explain`` decides as the guard does, asks nothing that it should not ask, and spends nothing."""

from __future__ import annotations

import copy
import logging
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute

from authguard import (
    OPTIONAL,
    PUBLIC,
    Account,
    AuthGuardMiddleware,
    AuthRequest,
    Bearer,
    ConfigurationError,
    Guard,
    Introspection,
    Issuer,
    LoginThrottle,
    MemoryRevocations,
    MemoryUsers,
    Principal,
    ProtectedResource,
    Rejected,
    RemoteJWKS,
    Rule,
    Secret,
    Session,
    role,
)
from authguard.accounts.api_key import StoredKey
from authguard.explain import Explanation, explain
from authguard.explain.app import GuardedApp
from authguard.explain.rehearsal import without_log
from authguard.keys.source import VerificationKey
from authguard.reasons import CHECK_REFUSED, PASSWORD_WRONG, Reason
from authguard.records.record import Record
from authguard.starlette import requires
from authguard.state.nonce_store import NonceUse
from authguard.state.throttle_store import Bucket, Exceeded
from tests.docs.refusals import answer, bearer, password, session_of, token
from tests.explain.causes import request
from tests.explain.state import state_of
from tests.support.asgi import RecordingApp, auth_request, http_scope, run_app, websocket_scope
from tests.support.clock import NOW
from tests.support.schemes.api_key import KEY_ID, api_key_scheme, key_text, stored_key
from tests.support.schemes.badge import Badge
from tests.support.schemes.basic import SpyHasher, Users, basic_scheme
from tests.support.schemes.digest import digest_scheme
from tests.support.tokens import AUDIENCE, HMAC_SECRET, ISSUER, mint


def guarded(*schemes: Any, app: Any = None, rules: Sequence[Rule] = (), **options: Any) -> AuthGuardMiddleware:
    """A guard in front of an app, at NOW."""
    guard = Guard(*schemes, rules=rules, clock=lambda: NOW, log=False, **options)
    return AuthGuardMiddleware(RecordingApp() if app is None else app, guard=guard)


def step(explanation: Explanation, title: str) -> tuple[str, str]:
    """How the step of this title has come out, and what was found."""
    return next((step.outcome, step.found) for step in explanation.steps if step.title == title)


# --- nothing is spent -------------------------------------------------------------------------------------------------


class CountedNonces:
    """A ``NonceStore`` of the app, which keeps what it was asked."""

    def __init__(self, *, peeks: bool) -> None:
        self.calls: list[str] = []
        if peeks:
            self.peek = self._peek

    def begin(self, now: float) -> None:
        self.calls.append("begin")

    async def claim(self, nonce: bytes, count: int, **times: float) -> NonceUse:
        self.calls.append("claim")
        return NonceUse.FRESH

    async def _peek(self, nonce: bytes, count: int, **times: float) -> NonceUse:
        self.calls.append("peek")
        return NonceUse.REPLAYED


class CountedThrottle:
    """A ``ThrottleStore`` of the app that has no attempt left, and keeps which of its methods were called."""

    is_idle = False

    def __init__(self, left: bool) -> None:
        self.calls: list[str] = []
        self._left = left

    async def acquire(self, pair: bytes, buckets: Sequence[Bucket]) -> Sequence[Bucket] | Exceeded:
        self.calls.append("acquire")
        return buckets

    async def remaining(
        self, pair: bytes, buckets: Sequence[Bucket], *, authenticated: bool = False
    ) -> Exceeded | None:
        self.calls.append("remaining")
        return None if self._left else Exceeded(30, "account")

    async def refund(self, buckets: Sequence[Bucket]) -> None:
        self.calls.append("refund")

    async def remember(self, pair: bytes) -> None:
        self.calls.append("remember")

    async def knows(self, pair: bytes) -> bool:
        self.calls.append("knows")
        return False


def counted_throttle(left: bool) -> tuple[LoginThrottle, CountedThrottle]:
    """A throttle that counts in a store of the app."""
    store = CountedThrottle(left)
    return LoginThrottle(store=store, secret="a secret of thirty-two bytes, and more"), store


async def test_a_grant_spends_nothing_in_any_store_or_cache() -> None:
    """All that the guard keeps is the same after the explanation of a request of each scheme, again and again."""
    key = api_key_scheme()
    digest = digest_scheme()
    basic = basic_scheme(MemoryUsers([Account("alice", "$fast$wonderland")], hasher=SpyHasher()))
    records: list[Record] = []
    schemes = bearer(), basic, digest, key, Session(realm="orders")
    rules = [Rule("/admin/**", role("admin"))]
    app = guarded(*schemes, rules=rules, revocations=MemoryRevocations(), hooks=[records.append])
    refusals: list[tuple[dict[str, Any], str | None]] = [
        (request(token(), "/orders", session={}), None),
        (request(token(roles=[]), "/admin/users", session={}), "role.missing"),
        (request(password(), "/orders", session={}), None),
        (request(password("alice:wrong"), "/orders", session={}), "password.wrong"),
        (request(answer(digest), "/orders", session={}), None),
        (request(path="/orders", fields={"x-api-key": key_text()}, session={}), None),
        (request(path="/orders", session=session_of(600)), None),
        (request(path="/orders", session=session_of(99_999)), "session.expired"),
    ]
    for _ in range(2):  # of a new guard, and of one that has been used
        for scope, reason in refusals:
            before, session = state_of(app.guard), copy.deepcopy(scope["session"])
            assert (await explain(app, scope)).reason == reason
            assert state_of(app.guard) == before
            assert scope["session"] == session
            assert "authguard" not in scope
        assert not records
        for scope, _ in refusals[:4]:
            await run_app(app, copy.deepcopy(scope))
        records.clear()


async def test_a_store_of_nonces_of_the_app_is_only_peeked_into() -> None:
    """A store that has ``peek`` says whether the response was used; ``claim`` and ``begin`` are never called."""
    store = CountedNonces(peeks=True)
    digest = digest_scheme(nonces=store)
    app, scope = guarded(digest), request(answer(digest), "/orders")
    store.calls.clear()

    explanation = await explain(app, scope)

    assert (explanation.reason, store.calls) == ("nonce.replayed", ["peek"])


async def test_a_store_of_nonces_without_peek_is_not_asked() -> None:
    """Without ``peek`` nobody knows whether the response was used: the explanation says so."""
    store = CountedNonces(peeks=False)
    digest = digest_scheme(nonces=store)
    app, scope = guarded(digest), request(answer(digest), "/orders")
    store.calls.clear()

    explanation = await explain(app, scope)

    assert (explanation.outcome, store.calls) == ("undecided", [])
    assert "CountedNonces, whether this response was used before, was not asked" in explanation.notes[0]


@pytest.mark.parametrize(
    ("left", "reason"), [(True, "password.wrong"), (False, "attempts.exceeded")], ids=["left", "none"]
)
async def test_a_store_of_attempts_of_the_app_is_only_read(left: bool, reason: str) -> None:
    """A throttle that counts elsewhere is asked what is left, and nothing is counted, refunded or remembered."""
    throttle, store = counted_throttle(left)
    basic = basic_scheme(Users(Account("alice", "$fast$wonderland")), throttle=throttle)
    app = guarded(basic)

    explanation = await explain(app, request(password("alice:wrong"), "/orders"))
    await explain(app, request(password(), "/orders"))

    assert explanation.reason == reason
    assert set(store.calls) <= {"knows", "remaining"}


async def test_the_last_use_of_a_key_is_not_noted() -> None:
    """A store that keeps last uses is told of none."""
    uses: dict[str, float] = {}

    class Keys:
        async def find(self, key_id: str) -> StoredKey | None:
            return stored_key() if key_id == KEY_ID else None

        async def write_last_uses(self, noted: Mapping[str, float]) -> None:
            uses.update(noted)

    app, scope = guarded(api_key_scheme(store=Keys())), request(path="/orders", fields={"x-api-key": key_text()})
    before = app.guard.health()
    assert (await explain(app, scope)).outcome == "granted"
    assert (uses, app.guard.health()) == ({}, before)
    await run_app(app, scope)
    assert app.guard.health() != before


async def test_a_new_hash_is_not_made() -> None:
    """``on_rehash`` is not called for an outdated hash."""
    rehashed: list[str] = []

    async def on_rehash(account: Account, new_hash: str) -> None:
        rehashed.append(account.subject)

    basic = basic_scheme(Users(Account("alice", "$old$wonderland")), on_rehash=on_rehash)
    await explain(guarded(basic), request(password(), "/orders"))
    assert rehashed == []


async def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the decision nor a clock that drifts is logged, while other tasks log as always."""
    guard = Guard(bearer(), clock=lambda: NOW)
    with caplog.at_level(logging.DEBUG, "authguard"):
        await explain(guard, request(token(iat=NOW + 50)))
        assert caplog.text == ""
        with without_log(), without_log():
            logging.getLogger("authguard").warning("inside")
        logging.getLogger("authguard").warning("outside")
    assert [record.message for record in caplog.records] == ["outside"]


# --- what is asked ----------------------------------------------------------------------------------------------------


class Directory:
    """A ``PasswordCheck`` that refuses everybody, and counts."""

    asked = 0

    async def check(self, username: str, password: str) -> Account | Reason:
        self.asked += 1
        return PASSWORD_WRONG


async def test_a_directory_is_asked_only_if_that_is_wanted() -> None:
    """A ``PasswordCheck`` may count a question as an attempt, so it is asked with ``run_checks`` alone."""
    directory = Directory()
    app, scope = guarded(basic_scheme(directory)), request(password(), "/orders")

    explanation = await explain(app, scope)
    assert (explanation.outcome, directory.asked) == ("undecided", 0)
    assert explanation.notes == ("the directory that checks passwords was not asked, which may change the answer.",)

    assert (await explain(app, scope, run_checks=True)).reason == "password.wrong"
    assert directory.asked == 1


async def test_a_check_is_asked_only_if_that_is_wanted() -> None:
    """``checks=`` run with ``run_checks`` alone; without it, the explanation names each that was not asked."""
    asked: list[str] = []

    async def is_active(request: AuthRequest, principal: Principal) -> Principal | Rejected:
        asked.append(principal.subject)
        return Rejected(CHECK_REFUSED)

    app, scope = guarded(bearer(), checks=[is_active]), request(token(), "/orders")

    explanation = await explain(app, scope)
    assert (explanation.outcome, asked) == ("undecided", [])
    assert step(explanation, "check")[0] == "not asked"
    assert "is_active" in explanation.notes[0]

    explanation = await explain(app, scope, run_checks=True)
    assert (explanation.reason, asked) == ("check.refused", ["alice"])
    assert step(explanation, "check")[0] == "failed"


async def test_a_check_that_is_not_reached_leaves_nothing_open() -> None:
    """A token that the scheme refuses is refused, whatever a check would say."""

    async def check(request: AuthRequest, principal: Principal) -> Principal:
        return principal

    explanation = await explain(guarded(bearer(), checks=[check]), request(token(exp=NOW - 99), "/orders"))
    assert (explanation.outcome, explanation.reason) == ("denied", "token.expired")


async def test_a_scheme_of_the_app_is_asked_only_if_that_is_wanted() -> None:
    """A scheme of the app's own may do anything, so it is asked with ``run_checks`` alone."""
    app, scope = guarded(Badge()), request("Badge wrong", "/orders")

    explanation = await explain(app, scope)
    assert explanation.outcome == "undecided"
    assert step(explanation, "badge")[0] == "not asked"

    explanation = await explain(app, scope, run_checks=True)
    assert (explanation.outcome, explanation.reason) == ("denied", "badge.wrong")
    assert explanation.answer is not None
    assert explanation.answer.challenges


async def test_key_servers_are_asked_unless_offline() -> None:
    """A key server is asked if the live guard would ask it, and never with ``offline``."""
    asked: list[str] = []

    async def fetch(url: str) -> bytes:
        asked.append(url)
        raise OSError

    issuer = Issuer(
        ISSUER, audience=AUDIENCE, algorithms=["RS256"], keys=RemoteJWKS("https://login.example/jwks", fetch=fetch)
    )
    app, scope = guarded(Bearer(issuer, realm="orders")), request(f"Bearer {mint()}", "/orders")

    explanation = await explain(app, scope, offline=True)
    assert (explanation.outcome, asked) == ("undecided", [])
    assert "the key server https://login.example/jwks was not asked" in explanation.notes[0]

    explanation = await explain(app, scope)
    assert (explanation.outcome, explanation.reason, len(asked)) == ("denied", "keys.unavailable", 1)
    assert app.guard.health()["bearer"]["keys"][0]["fetches"] == 0  # type: ignore[index]


async def test_a_key_source_of_the_app_is_not_asked_offline() -> None:
    """A source of the app's own may ask a server, so ``offline`` leaves it alone."""

    class Vault:
        asked = 0

        async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
            self.asked += 1
            return ()

    vault = Vault()
    app = guarded(Bearer(Issuer(ISSUER, audience=AUDIENCE, algorithms=["RS256"], keys=vault), realm="orders"))
    scope = request(f"Bearer {mint()}", "/orders")
    assert (await explain(app, scope, offline=True)).outcome == "undecided"
    assert vault.asked == 0
    assert (await explain(app, scope)).reason == "key.unknown"
    assert vault.asked == 1


async def test_an_introspection_endpoint_is_asked_unless_offline() -> None:
    """An opaque token is asked about, if the live guard would ask, and never with ``offline``."""
    asked: list[str] = []

    async def post(url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        asked.append(url)
        return 200, b'{"active": false}'

    source = Introspection(
        "https://login.example/introspect",
        client_id="orders",
        client_secret="s",
        issuer=ISSUER,
        audience=AUDIENCE,
        post=post,
    )
    app, scope = guarded(Bearer(source, realm="orders")), request("Bearer opaque", "/orders")

    explanation = await explain(app, scope, offline=True)
    assert (explanation.outcome, asked) == ("undecided", [])

    explanation = await explain(app, scope)
    assert (explanation.reason, len(asked)) == ("token.inactive", 1)
    assert step(explanation, "asked") == ("failed", "https://login.example/introspect")
    assert app.guard.health()["bearer"]["introspection"]["asked"] == 0  # type: ignore[index]


# --- the decision -----------------------------------------------------------------------------------------------------


async def test_the_time_may_be_another() -> None:
    """``at`` is the time to decide by: a token that has expired was good before."""
    app, scope = guarded(bearer()), request(token(exp=NOW - 99), "/orders")
    assert (await explain(app, scope)).reason == "token.expired"
    assert (await explain(app, scope, at=NOW - 120.0)).outcome == "granted"


async def test_a_guard_alone_reads_the_path_below_root_path() -> None:
    """Without the middleware, the path is that of the scope below ``root_path``, or that of the ``AuthRequest``."""
    guard = Guard(bearer(), rules=[Rule("/health", PUBLIC)], clock=lambda: NOW, log=False)
    below = http_scope("/api/health", root_path="/api")
    assert [step.title for step in (await explain(guard, below)).steps] == ["path", "rule", "open"]
    assert "below root_path /api" in str(await explain(guard, below))
    assert (await explain(guard, auth_request(path="/health"))).outcome == "granted"
    assert (await explain(guard, http_scope("/health"))).outcome == "granted"


async def test_an_anonymous_request_is_granted_where_that_is_optional() -> None:
    """OPTIONAL grants a request without credentials, and says so."""
    explanation = await explain(guarded(bearer(), rules=[Rule("/maybe", OPTIONAL)]), request(path="/maybe"))
    assert explanation.outcome == "granted"
    assert step(explanation, "credentials") == ("passed", "none")


async def test_a_document_of_a_scheme_is_served() -> None:
    """The metadata of a protected resource are served by the guard itself."""
    resource = ProtectedResource("https://orders.example", authorization_servers=[ISSUER])
    issuer = Issuer(ISSUER, audience=AUDIENCE, algorithms=["HS256"], keys=Secret(HMAC_SECRET))
    scheme = Bearer(issuer, realm="orders", resource=resource)
    explanation = await explain(guarded(scheme), http_scope("/.well-known/oauth-protected-resource"))
    assert explanation.answer is not None
    assert (explanation.outcome, explanation.answer.status) == ("granted", 200)


async def test_an_ambiguous_path_is_the_only_step() -> None:
    """A path that can be read in two ways is refused before any rule is looked for."""
    explanation = await explain(guarded(bearer(), rules=[Rule("/a/**", role("admin"))]), request(path="/a/../b"))
    assert [(step.title, step.outcome) for step in explanation.steps] == [("path", "failed")]
    assert explanation.reason == "path.ambiguous"


async def test_a_handshake_says_what_its_client_sees() -> None:
    """The explanation of a WebSocket has the fact that its record has."""
    explanation = await explain(guarded(bearer()), websocket_scope("/live"))
    assert explanation.request == "WEBSOCKET /live"
    assert any(fact.name == "websocket" for fact in explanation.facts)


async def test_a_carrier_that_raises_is_told() -> None:
    """Without the middleware that has the session, the credentials cannot be looked for."""
    explanation = await explain(guarded(Session(realm="orders")), request(path="/orders"))
    assert (explanation.reason, step(explanation, "credentials")[0]) == ("backend.failed", "failed")


async def test_a_revocation_is_a_step_of_its_own() -> None:
    """A token that was revoked has passed all checks of its scheme."""
    from authguard import Revocation

    store = MemoryRevocations()
    await store.revoke(Revocation.subject("alice", before=NOW, expires_at=NOW + 999))
    explanation = await explain(guarded(bearer(), revocations=store), request(token(), "/orders"))
    assert (explanation.reason, step(explanation, "revocations")[0]) == ("subject.revoked", "failed")
    assert step(explanation, "aud")[0] == "passed"

    other = await explain(guarded(bearer(), revocations=store), request(token(sub="bob"), "/orders"))
    assert (other.outcome, step(other, "revocations")) == ("granted", ("passed", "not revoked"))


async def test_a_page_of_another_origin_is_a_step_of_its_own() -> None:
    """Credentials that a browser sends by itself are refused before their scheme is asked."""
    fields = {"origin": "https://evil.example"}
    explanation = await explain(guarded(basic_scheme()), request(password(), "/orders", "POST", fields=fields))
    assert (explanation.reason, step(explanation, "origin")[0]) == ("origin.foreign", "failed")


# --- the app around it ------------------------------------------------------------------------------------------------


@requires(role("editor"))
async def edited(request: Request) -> PlainTextResponse:
    """What editors get."""
    return PlainTextResponse("edited")


class Pages(HTTPEndpoint):
    async def get(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse("page")


def app_with_locks(*middleware: Middleware, rules: Sequence[Rule] = ()) -> Starlette:
    """An app with a lock on one route, behind a guard and this middleware outside of it."""
    guard = Guard(bearer(), Session(realm="orders"), rules=rules, clock=lambda: NOW, log=False)
    return Starlette(
        routes=[Route("/pages/{name}", edited), Route("/other", Pages), WebSocketRoute("/live", edited)],
        middleware=[*middleware, Middleware(AuthGuardMiddleware, guard=guard)],
    )


async def explained(app: Any, scope: dict[str, Any]) -> Explanation:
    """The explanation of a request to a whole app."""
    guarded_app = GuardedApp.of(app)
    prepared, _ = await guarded_app.prepared(scope)
    return await explain(guarded_app.middleware, prepared)


async def test_a_lock_on_the_route_is_asked() -> None:
    """A lock refuses what the guard has let through, as it does live; with its line."""
    app = app_with_locks(Middleware(SessionMiddleware, secret_key="s"))
    scope = request(token(), "/pages/one")
    explanation = await explained(app, scope)
    live = await run_app(app, dict(scope))
    assert explanation.answer is not None
    assert (explanation.reason, explanation.answer.status, live.status) == ("role.missing", 403, 403)
    (lock,) = [step for step in explanation.steps if step.title == "lock"]
    assert (lock.outcome, "test_explain.py" in lock.source) == ("failed", True)

    granted = await explained(app, request(token(roles=["editor"]), "/pages/one"))
    assert (granted.outcome, step(granted, "lock")[0]) == ("granted", "passed")


async def test_a_lock_on_an_open_route_asks_for_credentials() -> None:
    """On a PUBLIC route, the first lock has the credentials verified."""
    app = app_with_locks(Middleware(SessionMiddleware, secret_key="s"), rules=[Rule("/pages/{name}", PUBLIC)])
    anonymous = await explained(app, request(path="/pages/one"))
    assert (anonymous.reason, step(anonymous, "open")[0]) == ("credentials.missing", "passed")
    assert (await explained(app, request(token(roles=["editor"]), "/pages/one"))).outcome == "granted"
    assert (await explained(app, request(path="/pages/one", method="PUT"))).outcome == "granted"
    assert (await explained(app, request(token(), "/other"))).outcome == "granted"


async def test_a_session_is_read_from_its_cookie() -> None:
    """Starlette's SessionMiddleware outside of the guard reads the session that the scheme looks at."""
    from itsdangerous import TimestampSigner

    signed = TimestampSigner("s").sign(b64encode(b'{"authguard": {"sub": "alice"}}')).decode()
    app = app_with_locks(Middleware(SessionMiddleware, secret_key="s"))
    explanation = await explained(app, request(path="/other", fields={"cookie": f"session={signed}"}))
    assert explanation.reason == "session.malformed"


class Unknown:
    """A middleware of the app's own."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


async def test_what_is_outside_of_the_guard_is_told() -> None:
    """Other middleware outside of the guard is not run, and named; CORS answers a preflight before the guard."""
    app = app_with_locks(Middleware(Unknown), Middleware(CORSMiddleware, allow_origins=["*"]))
    guarded_app = GuardedApp.of(app)
    fields = {"origin": "https://a.example", "access-control-request-method": "GET"}
    _, notes = await guarded_app.prepared(request(path="/other", method="OPTIONS", fields=fields))
    assert [note.partition(" is outside")[0] for note in notes] == ["Unknown", "CORSMiddleware"]
    assert guarded_app.guard is guarded_app.middleware.guard


def test_an_app_without_a_guard_in_front_of_it_is_refused() -> None:
    """A guard in front of a part of the app is none of the whole app."""
    inner = Starlette(routes=[Route("/x", Pages)], middleware=[Middleware(AuthGuardMiddleware, guard=Guard(bearer()))])
    with pytest.raises(ConfigurationError, match="no AuthGuardMiddleware in front of all"):
        GuardedApp.of(Starlette(routes=[Mount("/in", inner)]))
