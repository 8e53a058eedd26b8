"""``ApiKeys`` and ``TokenLookup`` under ``Bearer``: which token is given to which source, and what it says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import anyio
import pytest
from starlette.types import Receive, Scope, Send

from authguard import (
    ApiKeys,
    BackendUnavailable,
    Bearer,
    ConfigurationError,
    Guard,
    LoginThrottle,
    Principal,
    Rate,
    Reason,
    Rejected,
    TokenLookup,
)
from authguard.accounts.api_key import StoredKey
from authguard.accounts.api_key_memory import ApiKeyLookup, MemoryApiKeys
from authguard.testing import ManualClock
from tests.support.asgi import Exchange, header_list, http_scope, run_app
from tests.support.clock import NOW
from tests.support.guards import RecordingGuard
from tests.support.schemes.api_key import KEY_ID, key_text, stored_key
from tests.support.schemes.bearer import issuer
from tests.support.schemes.introspection import introspection
from tests.support.tokens import mint

OPAQUE = "2YotnFZFEjr1zCsicMWpAA"
BANNED = Reason("user.banned", 401)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that answers 200."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})


async def ask(guard: RecordingGuard, token: str) -> Exchange:
    """The response to a request with this token."""
    return await run_app(guard.wrap(app), http_scope(headers=header_list(f"Bearer {token}")))


async def said(guard: RecordingGuard, *tokens: str) -> Sequence[str | None]:
    """The reason or the subject of a request with each of these tokens."""
    for token in tokens:
        await ask(guard, token)
    return [record.reason or record.subject for record in guard.records]


def api_keys(*keys: StoredKey, **options: Any) -> ApiKeys:
    """The source for these keys. Without any, it is one of alice's."""
    given: dict[str, Any] = {"prefix": "acme", "environment": "live", **options}
    return ApiKeys(given.pop("store", MemoryApiKeys(keys or [stored_key(owner="robot")])), **given)


class Tokens:
    """A database of digests, which keeps what it was asked."""

    def __init__(self, answer: object = None) -> None:
        self.answer, self.asked = answer, [""][:0]

    async def find(self, digest: str) -> Any:
        self.asked.append(digest)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def lookup(answer: object = None, **options: Any) -> RecordingGuard:
    """A guard whose look-up has this answer."""
    return RecordingGuard(Bearer(TokenLookup(Tokens(answer).find, **options), realm="orders"))


# --- API keys ---------------------------------------------------------------------------------------------------------


async def test_keys_and_jwts_are_told_apart_by_the_prefix() -> None:
    """What begins with it is a key, and whatever else is left to the issuers."""
    guard = RecordingGuard(Bearer(issuer(), api_keys(), realm="orders"))

    assert await said(guard, mint(), key_text(), key_text("000000000000"), "acme_garbage", OPAQUE, "acme") == [
        *("alice", "robot", "api_key.unknown", "api_key.malformed", "token.malformed", "token.malformed")
    ]
    assert {record.scheme for record in guard.records} == {"bearer"}


async def test_keys_are_told_apart_from_opaque_tokens() -> None:
    """Introspection and a look-up are not asked about a key."""
    tokens = Tokens(Principal("bob"))
    guard = RecordingGuard(Bearer(issuer(), TokenLookup(tokens.find), api_keys(), realm="orders"))

    assert await said(guard, mint(), key_text(), OPAQUE) == ["alice", "robot", "bob"]
    assert tokens.asked == [sha256(OPAQUE.encode()).hexdigest()]
    both = RecordingGuard(Bearer(introspection(), api_keys(), realm="orders"))
    assert await said(both, key_text(), OPAQUE) == ["robot", "alice"]


async def test_keys_alone_take_every_token() -> None:
    """The record then says what is wrong with a key, and not that it is no JWT."""
    guard = RecordingGuard(Bearer(api_keys(), realm="orders"))

    assert await said(guard, key_text(), OPAQUE, mint()) == ["robot", "api_key.malformed", "api_key.malformed"]


async def test_a_refused_key_is_an_invalid_token() -> None:
    """The challenge says so, and that a key has expired. Unknown and revoked look the same."""
    keys = [
        stored_key(expires=NOW),
        stored_key("111111111111", text=key_text("111111111111"), revoked=NOW),
    ]
    guard = RecordingGuard(Bearer(issuer(), api_keys(*keys), realm="orders"))

    expired, revoked, unknown = [
        await ask(guard, token) for token in (key_text(), key_text("111111111111"), key_text("222222222222"))
    ]

    assert expired.lines(b"www-authenticate") == [
        'Bearer realm="orders", error="invalid_token", error_description="The API key expired"'
    ]
    assert b'"code": "expired"' in expired.body
    assert revoked.lines(b"www-authenticate") == ['Bearer realm="orders", error="invalid_token"']
    assert revoked.sent == unknown.sent


async def test_a_store_of_keys_may_have_to_be_awaited() -> None:
    """As with the scheme of its own."""

    async def find(key_id: str) -> StoredKey | None:
        await anyio.lowlevel.checkpoint()
        return stored_key() if key_id == KEY_ID else None

    guard = RecordingGuard(Bearer(issuer(), api_keys(store=ApiKeyLookup(find)), realm="orders"))

    assert await said(guard, key_text(), key_text("000000000000")) == ["alice", "api_key.unknown"]


async def test_refused_keys_are_throttled_and_documented() -> None:
    """429 is one of the responses of the scheme then."""
    throttle = LoginThrottle(pair=Rate(1, 30.0), clock=ManualClock(1000))
    scheme = Bearer(issuer(), api_keys(throttle=throttle), realm="orders")

    assert await said(RecordingGuard(scheme), *[key_text("000000000000")] * 2) == [
        *("api_key.unknown", "attempts.exceeded")
    ]
    assert [reason.code for reason in scheme.denial_reasons] == ["attempts.exceeded"]
    assert Bearer(issuer(), api_keys(throttle=None), realm="orders").denial_reasons == ()
    with pytest.raises(ConfigurationError, match="throttle"):
        api_keys(throttle=5)


async def test_last_uses_are_written_while_the_app_runs() -> None:
    """The scheme has the service of its keys."""
    store = MemoryApiKeys([stored_key()])
    scheme = Bearer(issuer(), api_keys(store=store), realm="orders")
    guard = RecordingGuard(scheme)
    async with guard.guard.running():
        await ask(guard, key_text())

    assert [key.last_used for key in await store.keys()] == [NOW]
    assert scheme.health()["api_keys"] == {"last_uses_written": 1, "last_uses_waiting": 0, "failed": False}
    assert scheme.health()["keys"] == []


async def test_sources_can_be_replaced() -> None:
    """As issuers can."""
    scheme = Bearer(issuer(), realm="orders")
    guard = RecordingGuard(scheme)
    scheme.replace(issuer(), api_keys())

    assert await said(guard, key_text(), mint()) == ["robot", "alice"]
    assert [reason.code for reason in scheme.denial_reasons] == ["attempts.exceeded"]


# --- Look-up ----------------------------------------------------------------------------------------------------------


async def test_a_look_up_sees_the_digest_alone() -> None:
    """It gets the SHA-256 of the token, and its principal is that of the request."""
    tokens = Tokens(Principal("alice", roles={"reader"}, expires_at=NOW + 60))
    guard = RecordingGuard(Bearer(issuer(), TokenLookup(tokens.find), realm="orders"))

    assert await said(guard, OPAQUE, mint(), "a.b.c") == ["alice", "alice", "alice"]
    assert tokens.asked == [sha256(token.encode()).hexdigest() for token in (OPAQUE, "a.b.c")]


async def test_a_token_that_is_bound_to_a_key_is_no_bearer_token() -> None:
    """As with JWTs and introspection: without the proof of the key, whoever has stolen it could use it."""
    guard = lookup(Principal("alice", claims={"cnf": {"jkt": "x"}}))

    assert await said(guard, OPAQUE) == ["token.bound"]
    assert guard.records[-1].facts["cnf"] == ("jkt",)


@pytest.mark.parametrize(
    ("answer", "reason", "facts"),
    [
        (None, "token.inactive", {"problem": "the look-up does not know it"}),
        (Rejected(BANNED, "bob", {"since": 5}), "user.banned", {"since": 5}),
        (Principal("bob", expires_at=NOW - 61), "token.expired", {"expired_by": 61.0, "leeway": 60.0}),
    ],
)
async def test_a_token_is_refused_for_its_reason(answer: object, reason: str, facts: dict[str, object]) -> None:
    """The record names the token by its digest."""
    guard = lookup(answer)

    assert await said(guard, OPAQUE) == [reason]
    assert guard.records[0].facts == {**facts, "token": sha256(OPAQUE.encode()).hexdigest()[:8]}


async def test_the_leeway_applies_to_the_end_of_a_token() -> None:
    """As it does to ``exp``."""
    assert await said(lookup(Principal("bob", expires_at=NOW - 59)), OPAQUE) == ["bob"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (BackendUnavailable("no route to host"), "store.unavailable"),
        ("bob", "backend.failed"),
        (True, "backend.failed"),
    ],
)
async def test_a_look_up_that_cannot_answer_is_an_outage(answer: object, reason: str) -> None:
    """The token may be good, so it is no 401."""
    guard = lookup(answer)

    assert (await ask(guard, OPAQUE)).status == 503
    assert [record.reason for record in guard.records] == [reason]


async def test_a_look_up_has_a_deadline() -> None:
    """A database that does not answer holds nobody up."""

    async def find(digest: str) -> None:
        await anyio.sleep_forever()

    guard = RecordingGuard(Bearer(TokenLookup(find, deadline=0.01), realm="orders"))

    assert await said(guard, OPAQUE) == ["store.timeout"]


async def test_other_characters_are_taken_by_name() -> None:
    """Only a token68 is a bearer token, unless the app says otherwise."""
    assert await said(lookup(Principal("bob")), "12|abc") == ["credentials.malformed"]
    assert await said(lookup(Principal("bob"), visible_ascii=True), "12|abc") == ["bob"]


# --- Mistakes ---------------------------------------------------------------------------------------------------------


async def _find(digest: str) -> Principal | None:
    return None


def _not_async(digest: str) -> None:
    return None


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ((), "at least one"),
        (([api_keys()],), "is a list"),
        ((api_keys(), api_keys()), "at most one ApiKeys"),
        ((TokenLookup(_find), TokenLookup(_find)), "give one TokenLookup"),
        ((TokenLookup(_find), introspection()), "give one TokenLookup"),
        ((MemoryApiKeys(),), "is not an issuer"),
        ((type("ApiKeys", (), {})(),), "is not an issuer"),
    ],
)
def test_a_wrong_combination_is_refused(members: Any, problem: str) -> None:
    """While the app is built."""
    with pytest.raises(ConfigurationError, match=problem):
        Bearer(*members, realm="orders")


@pytest.mark.parametrize(
    ("argument", "make"),
    [
        ("find", lambda: TokenLookup(_not_async)),  # type: ignore[arg-type]
        ("visible_ascii", lambda: TokenLookup(_find, visible_ascii=1)),  # type: ignore[arg-type]
        ("deadline", lambda: TokenLookup(_find, deadline=0)),
        ("prefix", lambda: api_keys(prefix="A")),
    ],
)
def test_a_wrong_argument_is_refused(argument: str, make: Any) -> None:
    """The error names it."""
    with pytest.raises(ConfigurationError, match=argument):
        make()


def test_openapi_does_not_promise_jwts() -> None:
    """A client may send something else."""
    assert Bearer(issuer(), api_keys(), realm="orders").openapi == {"type": "http", "scheme": "bearer"}
    assert Bearer(TokenLookup(_find), realm="orders").openapi == {"type": "http", "scheme": "bearer"}


def test_an_app_with_introspection_alone_imports_no_accounts() -> None:
    """Nor does one with issuers alone."""
    code = (
        "import sys; from authguard import Bearer, Introspection;"
        "Bearer(Introspection('https://a.example/i', client_id='a', client_secret='b', issuer='https://a.example',"
        " audience='a'), realm='a'); print([name for name in sys.modules if 'api_key' in name or 'accounts' in name])"
    )

    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_no_secret_is_shown() -> None:
    """A function that is to be awaited shows neither the token nor its digest."""
    scheme = Bearer(TokenLookup(_find), api_keys(), realm="orders")
    guard = Guard(scheme)

    assert "sssss" not in repr([scheme, guard, scheme._issuers])
