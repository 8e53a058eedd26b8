"""The copy of a guard: stores of other processes are only read, and memories that schemes share are copied once."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from authguard import (
    OPTIONAL,
    Account,
    AuthGuardMiddleware,
    Bearer,
    Guard,
    Introspection,
    Issuer,
    LoginThrottle,
    Requirement,
    Rule,
    Secret,
    role,
    via,
)
from authguard.accounts.api_key_memory import MemoryApiKeys
from authguard.accounts.digest_account import DigestAccount
from authguard.explain import Explanation, explain
from authguard.explain.advice import ADVICE
from authguard.explain.app import GuardedApp
from authguard.explain.explanation import Answer
from authguard.explain.rehearsal import Rehearsal
from authguard.explain.times import clock_time, duration, time_line
from authguard.model import Failure, Moment
from authguard.schemes.api_key.token_source import ApiKeys
from authguard.starlette import requires
from authguard.state.proof_store import ProofUse
from authguard.state.throttle_store import Exceeded, MemoryThrottleStore, ThrottleStore
from tests.docs.refusals import answer, bearer, password, token
from tests.explain.causes import request
from tests.explain.state import state_of
from tests.explain.test_explain import Unknown, explained, guarded, step
from tests.schemes.dpop.site import Site
from tests.support.asgi import http_scope, run_app
from tests.support.clock import NOW
from tests.support.key_source import StubbedSource
from tests.support.schemes.api_key import key_text, stored_key
from tests.support.schemes.badge import Badge
from tests.support.schemes.basic import Users, basic_scheme
from tests.support.schemes.digest import REALM, digest_scheme, stored_ha1
from tests.support.tokens import AUDIENCE, HMAC_SECRET, ISSUER, mint, rsa_key

# --- stores that are only read ----------------------------------------------------------------------------------------


async def test_the_view_of_a_throttle_writes_nothing() -> None:
    """Each method that would write answers as the store would, and the store stays as it is."""
    from authguard.explain.rehearsal import _ReadOnlyThrottle

    store = MemoryThrottleStore()
    throttle = LoginThrottle()
    keys = throttle.keys("alice", "192.0.2.1")
    view, before = _ReadOnlyThrottle(store), state_of(store)

    assert view.acquire_now(keys.pair, keys.buckets) == ()
    assert view.allow_now(keys.pair, keys.buckets) is None
    view.refund_now(keys.pair, keys.buckets)
    assert not view.passes_now(keys.pair, keys.buckets)
    assert not view.knows_now(keys.pair)
    assert await view.acquire(keys.pair, keys.buckets) == ()
    assert await view.remaining(keys.pair, keys.buckets, authenticated=True) is None
    await view.refund(keys.buckets)
    await view.remember(keys.pair)
    assert not await view.knows(keys.pair)
    assert view.is_idle
    assert state_of(store) == before

    for _ in range(99):
        store.acquire_now(keys.pair, keys.buckets)
    assert isinstance(view.acquire_now(keys.pair, keys.buckets), Exceeded)


async def test_a_store_that_answers_at_once_is_read_at_once() -> None:
    """A store of the app with methods that are not async is read by these."""

    class Counted:
        """It delegates to a memory, and is none itself."""

        is_idle = False

        def __init__(self) -> None:
            self._memory = MemoryThrottleStore()
            self.called: Counter[str] = Counter()

        def __getattr__(self, name: str) -> Any:
            self.called[name] += 1
            return getattr(self._memory, name)

    store = Counted()
    throttle = LoginThrottle(store=cast("ThrottleStore", store), secret="a secret of thirty-two bytes, and more")
    app = guarded(basic_scheme(Users(Account("alice", "$fast$wonderland")), throttle=throttle))
    before = state_of(store._memory)
    assert (await explain(app, request(password("alice:wrong"), "/orders"))).reason == "password.wrong"
    assert state_of(store._memory) == before


async def test_a_shared_cache_gets_no_new_value() -> None:
    """Answers of an introspection endpoint and key sets that an explanation has fetched stay with it."""
    kept: dict[bytes, bytes] = {}

    class Cache:
        """A cache of the app, which other processes share."""

        async def get(self, key: bytes) -> bytes | None:
            return kept.get(key)

        async def put(self, key: bytes, value: bytes, seconds: float) -> None:
            kept[key] = value

    cache = Cache()

    async def post(url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        return 200, b'{"active": true, "sub": "alice", "iss": "https://login.example/", "aud": "orders"}'

    source = StubbedSource("new", shared_cache=cache)
    issuer = Issuer(ISSUER, audience=AUDIENCE, algorithms=["RS256"], keys=source.keys)
    opaque = Introspection(
        "https://login.example/introspect", client_id="orders", client_secret="s", issuer="https://opaque.example/",
        audience=AUDIENCE, post=post, shared_cache=cache,
    )  # fmt: skip
    app = guarded(Bearer(issuer, opaque, realm="orders"))

    await explain(app, request("Bearer opaque", "/orders"))
    await explain(app, request(f"Bearer {mint(rsa_key(), headers={'kid': 'new'})}", "/orders"))
    assert kept == {}

    await run_app(app, request("Bearer opaque", "/orders"))
    assert len(kept) == 1


async def test_the_memory_of_another_scheme_counts() -> None:
    """Two schemes of one secret share their nonces: a new guard knows what the other one has accepted."""
    first, second = digest_scheme(), digest_scheme()
    field = answer(first)
    used, fresh = guarded(first), guarded(second)
    await run_app(used, request(field, "/orders"))
    before = state_of(fresh.guard)

    assert (await explain(fresh, request(field, "/orders"))).reason == "nonce.replayed"
    assert state_of(fresh.guard) == before


async def test_an_account_that_must_be_awaited_stays_as_it_is() -> None:
    """A store of Digest accounts without ``find_now`` is awaited, and its account keeps nothing of it."""
    account = DigestAccount("alice", stored_ha1("alice", "wonderland"))

    class Accounts:
        finds_hashed = False

        async def find(self, username: str, *, realm: str, algorithm: str, hashed: bool) -> DigestAccount | None:
            return account if (username, realm) == ("alice", REALM) else None

    digest = digest_scheme(Accounts())
    before = state_of(account)
    assert (await explain(guarded(digest), request(answer(digest), "/orders"))).outcome == "granted"
    assert state_of(account) == before


async def test_a_store_of_proofs_of_the_app_is_only_peeked_into() -> None:
    """A proof that was used is told by ``peek``, and is not used; without ``peek`` nobody knows."""
    called: list[str] = []

    class Proofs:
        async def claim(self, key: bytes, **times: float) -> ProofUse:
            called.append("claim")
            return ProofUse.FRESH

    class Peeked(Proofs):
        async def peek(self, key: bytes, **times: float) -> ProofUse:
            called.append("peek")
            return ProofUse.REPLAYED

    for store, outcome, reason, notes in (
        (Peeked(), "denied", "proof.replayed", 0),
        (Proofs(), "undecided", None, 1),
    ):
        site = Site(proofs=store)
        fields = [(name.lower().encode(), text.encode()) for name, text in site.headers().items()]
        explanation = await explain(site.guard, http_scope("/orders", headers=fields))
        assert (explanation.outcome, explanation.reason, len(explanation.notes)) == (outcome, reason, notes)
    assert called == ["peek"]


async def test_revocations_that_must_be_awaited_are_asked() -> None:
    """A store of revocations that answers later is awaited: to ask it changes nothing."""

    class Store:
        async def find(self, keys: Sequence[bytes]) -> Mapping[bytes, float]:
            return dict.fromkeys(keys, NOW)

    explanation = await explain(guarded(bearer(), revocations=Store()), request(token(), "/orders"))
    assert (explanation.reason, step(explanation, "revocations")[0]) == ("subject.revoked", "failed")


async def test_a_scheme_that_is_not_asked_has_its_challenges() -> None:
    """A scheme of the app's own writes its challenges, whether or not it is asked about credentials."""
    explanation = await explain(guarded(Badge()), request(path="/orders"))
    assert explanation.answer is not None
    assert explanation.answer.challenges == ['Badge realm="tests"']


def test_what_is_not_asked_is_told_once() -> None:
    """Two questions to one server are one note."""
    rehearsal = Rehearsal()
    assert str(rehearsal.refuse("the key server")) == str(rehearsal.refuse("the key server"))
    assert rehearsal.not_asked == ["the key server"]


# --- copies -----------------------------------------------------------------------------------------------------------


def test_collections_and_locks_are_copied() -> None:
    """Each kind of container is another object with equal content, and each lock a new one."""
    rehearsal = Rehearsal()
    held = threading.Lock()
    held.acquire()
    for value in (OrderedDict(a=[1]), Counter("ab"), deque([[1], [2]], 2), {"a": {1}}, {1, 2}, [b"x"]):
        copied = rehearsal._copy(value)
        assert (copied, type(copied)) == (value, type(value))
        assert copied is not value
    assert rehearsal._copy(held).acquire(blocking=False)
    assert rehearsal._copy(threading.RLock()).acquire(blocking=False)
    assert isinstance(rehearsal._copy(threading.Condition()), threading.Condition)
    plain = (1, ("a", None))
    assert rehearsal._copy(plain) is plain
    assert rehearsal._copy("x".join) is not None


# --- what is shown ----------------------------------------------------------------------------------------------------


async def test_a_key_among_tokens_has_the_checks_of_keys() -> None:
    """An API key that is sent as a bearer token is explained as a key."""
    keys = ApiKeys(MemoryApiKeys([stored_key(revoked=NOW - 60)]), prefix="acme", environment="live")
    issuer = Issuer(ISSUER, audience=AUDIENCE, algorithms=["HS256"], keys=Secret(HMAC_SECRET))
    app = guarded(Bearer(issuer, keys, realm="orders"))
    explanation = await explain(app, request(f"Bearer {key_text()}", "/orders"))
    assert step(explanation, "not revoked") == ("failed", "1 min ago")
    garbage = await explain(app, request("Bearer acme_live_x", "/orders"))
    assert (garbage.reason, step(garbage, "key")[0]) == ("api_key.malformed", "failed")


async def test_a_jwt_of_an_introspected_issuer_is_asked_about() -> None:
    """A JWT whose issuer is that of the endpoint is explained by what the endpoint answers."""

    async def post(url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        return 200, b'{"active": true, "sub": "alice", "iss": "https://login.example/", "aud": "others"}'

    source = Introspection(
        "https://login.example/introspect",
        client_id="orders",
        client_secret="s",
        issuer=ISSUER,
        audience=AUDIENCE,
        post=post,
    )
    explanation = await explain(guarded(Bearer(source, realm="orders")), request(f"Bearer {mint()}", "/orders"))
    assert (explanation.reason, step(explanation, "its answer")[0]) == ("token.audience_mismatch", "failed")


async def test_types_audiences_and_attempts_are_shown_as_they_are_configured() -> None:
    """Several types and audiences are listed, and a scheme without a throttle counts nothing."""
    scheme = bearer(typ=["at+jwt", None])
    explanation = await explain(guarded(scheme), request(token(aud=["a", "b"]), "/orders"))
    wanted = {step.title: step.wanted for step in explanation.steps}
    assert wanted["typ"] == "at+jwt or none"
    assert step(explanation, "aud")[0] == "not reached"

    audience = await explain(guarded(bearer()), request(token(aud=["a", "b"]), "/orders"))
    assert step(audience, "aud") == ("failed", "[a, b]")

    basic = basic_scheme(Users(Account("alice", "$fast$wonderland")), throttle=None)
    assert step(await explain(guarded(basic), request(password(), "/orders")), "attempts") == ("passed", "not counted")


async def test_a_field_that_no_scheme_reads_is_told() -> None:
    """Where ``Authorization`` is there and nothing in it is for a carrier, the explanation says so."""
    from tests.support.schemes.api_key import api_key_scheme

    explanation = await explain(guarded(api_key_scheme()), request(token(), "/orders"))
    assert step(explanation, "credentials") == ("failed", "none that a scheme reads")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "0.5 s"), (64, "1 min 4 s"), (3600, "1 h"), (90_061, "1 d 1 h"), (-7200, "-2 h"), (10, "10 s")],
)
def test_a_duration_has_two_units_at_most(seconds: float, text: str) -> None:
    """A duration is told in the units that people use."""
    assert duration(seconds) == text


def test_a_time_that_is_no_date_stays_a_number() -> None:
    """A number far out of the calendar is shown as it is."""
    assert clock_time(1e30) == "1e+30"


def test_times_are_drawn_in_their_order() -> None:
    """The leeway is drawn where it decides, and equal times have an equals sign."""
    assert time_line({"iat": 0.0, "exp": 60.0}, 60.0, 60.0) == "iat -- 1 min -- exp = NOW"
    assert time_line({"nbf": 90.0}, 0.0, 60.0) == "NOW -- 30 s -- leeway begins -- 1 min -- nbf"


def test_an_answer_may_have_no_body() -> None:
    """The text of a response to HEAD ends with its fields."""
    explanation = Explanation("HEAD /", "denied", "token.expired", 401, answer=Answer(401, (("etag", "x"),)))
    assert str(explanation).endswith("The answer:\n  401\n  Etag: x")


def test_the_table_is_read_only() -> None:
    """No app can change what an explanation says."""
    with pytest.raises(TypeError):
        ADVICE["token.expired"] = ADVICE["token.bound"]  # type: ignore[index]


# --- locks and preflights ---------------------------------------------------------------------------------------------


class Broken(Requirement):
    """A requirement of the app that raises: while it is resolved, or when it is asked."""

    def __init__(self, *, resolves: bool) -> None:
        self._resolves = resolves

    def schemes(self, every: frozenset[str]) -> frozenset[str]:
        if not self._resolves:
            raise LookupError
        return every

    def unmet(self, principal: Any, params: Mapping[str, str], moment: Moment) -> Failure | None:
        raise LookupError

    def scopes_named(self) -> tuple[str, ...]:
        return ()


@pytest.mark.parametrize("resolves", [True, False], ids=["asked", "resolved"])
async def test_a_lock_that_raises_is_an_outage(resolves: bool) -> None:
    """A lock that cannot be evaluated stays closed, in an explanation too."""

    @requires(Broken(resolves=resolves))
    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse("page")

    app = AuthGuardMiddleware(
        Starlette(routes=[Route("/page", page)]), guard=Guard(bearer(), clock=lambda: NOW, log=False)
    )
    scope = request(token(), "/page")
    explanation = await explain(app, scope)
    live = await run_app(app, dict(scope))
    assert explanation.answer is not None
    assert (explanation.reason, explanation.answer.status, live.status) == ("backend.failed", 503, 503)


async def test_a_lock_that_no_scheme_can_meet_is_an_outage() -> None:
    """A lock for a scheme that the guard does not have stays closed."""

    @requires(via("nowhere"))
    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse("page")

    explanation = await explain(
        guarded(bearer(), app=Starlette(routes=[Route("/page", page)])), request(token(), "/page")
    )
    assert (explanation.reason, step(explanation, "lock")[0]) == ("backend.failed", "failed")


async def test_an_anonymous_request_passes_a_lock_that_is_optional() -> None:
    """Two locks that anybody passes are two steps."""

    @requires(OPTIONAL)
    @requires(OPTIONAL)
    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse("page")

    app = guarded(bearer(), app=Starlette(routes=[Route("/page", page)]), rules=[Rule("/page", OPTIONAL)])
    explanation = await explain(app, request(path="/page"))
    assert [step.found for step in explanation.steps if step.title == "lock"] == ["anonymous", "anonymous"]


async def test_a_path_outside_of_root_path_is_ambiguous() -> None:
    """A path that a mount inside would read anew is refused, as the middleware does."""
    inner = Starlette(routes=[Mount("/in", Starlette())])
    app = guarded(bearer(), app=inner, rules=[Rule("/in/**", role("admin"))])
    explanation = await explain(app, request(token(), "/in/x", root_path="/api"))
    assert (explanation.reason, step(explanation, "path")[0]) == ("path.ambiguous", "failed")


async def test_a_path_that_no_rule_can_have_has_no_lock() -> None:
    """A route whose path cannot be written as a rule is passed over, and the explanation ends at the guard."""

    @requires(role("nobody"))
    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse("page")

    inner = Starlette(routes=[Route("/a{name}b", page), Route("/other", page, methods=["PUT"])])
    app = AuthGuardMiddleware(inner, guard=Guard(bearer(), clock=lambda: NOW, log=False))
    assert (await explain(app, request(token(), "/axb"))).outcome == "granted"
    assert (await explain(app, request(token(), "/other"))).outcome == "granted"


async def test_a_preflight_that_passes_is_told() -> None:
    """A preflight that the CORSMiddleware inside answers passes unasked."""
    inner = CORSMiddleware(Starlette(), allow_origins=["*"])
    app = AuthGuardMiddleware(inner, guard=Guard(bearer(), rules=[Rule("/x", role("a"))], clock=lambda: NOW, log=False))
    fields = {"origin": "https://a.example", "access-control-request-method": "GET"}
    explanation = await explain(app, request(path="/x", method="OPTIONS", fields=fields))
    assert (explanation.outcome, step(explanation, "preflight")[0]) == ("granted", "passed")


async def test_an_app_that_has_started_is_not_built_again() -> None:
    """The middleware that runs is found, and a class of the app's own in between is seen through."""
    guard = Guard(bearer(), clock=lambda: NOW, log=False)
    app = Starlette(middleware=[Middleware(Unknown), Middleware(AuthGuardMiddleware, guard=guard)])
    await run_app(app, request(path="/x"))
    assert (await explained(app, request(path="/x"))).reason == "credentials.missing"


def test_a_guard_that_is_wrapped_is_found() -> None:
    """The guard of an app that is wrapped by hand is found, with what is outside of it."""
    middleware = guarded(bearer())
    outer = Unknown(middleware)
    found = GuardedApp.of(outer)
    assert (found.middleware, list(found.outside)) == (middleware, [outer])
