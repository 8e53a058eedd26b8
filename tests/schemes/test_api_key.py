"""``ApiKey``: which keys are accepted, why others are refused, and what a record says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import pytest
from starlette.types import Receive, Scope, Send

from authguard import (
    AUTHENTICATED,
    AUTHORIZATION,
    BackendUnavailable,
    ConfigurationError,
    LoginThrottle,
    Rate,
    Rule,
    via,
)
from authguard.accounts.api_key import StoredKey, key_digest
from authguard.accounts.api_key_memory import ApiKeyLookup, MemoryApiKeys
from authguard.model import Moment
from authguard.openapi import Operation, describe
from authguard.request import AuthRequest
from authguard.schemes.throttle import CountedAttempt
from authguard.state.throttle_store import Exceeded
from authguard.testing import ManualClock
from authguard.wire.authorization import Credentials
from tests.support.asgi import Exchange, http_scope, run_app
from tests.support.clock import NOW
from tests.support.guards import RecordingGuard
from tests.support.schemes.api_key import (
    KEY_ID,
    accepted,
    api_key_scheme,
    key_text,
    rejected,
    stored_key,
)
from tests.support.schemes.basic import basic_scheme
from tests.support.schemes.bearer import bearer
from tests.support.tokens import mint

PEPPER, OLD_PEPPER = "a pepper of sixteen bytes", "the pepper of last year"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that answers 200."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})


async def ask(guard: RecordingGuard, *fields: tuple[str, str], path: str = "/") -> Exchange:
    """The response to a request with these fields."""
    headers = [(name.lower().encode(), value.encode()) for name, value in fields]
    return await run_app(guard.wrap(app), http_scope(path, headers=headers))


def test_the_owner_of_a_key_is_the_principal() -> None:
    """With the roles and scopes of the key, and claims that name it."""
    scheme = api_key_scheme(stored_key(roles={"reader"}, scopes={"orders"}))

    answer = accepted(scheme, key_text())

    principal = answer.principal
    assert (principal.subject, *principal.roles, *principal.scopes) == ("alice", "reader", "orders")
    assert answer.principal.claims == {"key_id": KEY_ID, "key_name": "ci", "key_environment": "live", "iat": NOW - 1000}
    assert answer.facts == {"key": KEY_ID}


#: What is sent, what the store has, and what a record says.
REFUSED: Mapping[str, tuple[str | bytes, StoredKey, str, str | None, dict[str, object]]] = {
    "unknown": (
        key_text("000000000000"),
        stored_key(),
        "api_key.unknown",
        None,
        {"key": "000000000000", "name": None, "problem": "no key has this id"},
    ),
    "another secret": (
        key_text(secret="t" * 27),
        stored_key(),
        "api_key.unknown",
        None,
        {"key": KEY_ID, "name": None, "problem": "another secret than that of this id"},
    ),
    "revoked": (
        key_text(),
        stored_key(revoked=NOW - 7.5),
        "api_key.revoked",
        "alice",
        {"key": KEY_ID, "name": "ci", "revoked_for": 7.5},
    ),
    "expired": (
        key_text(),
        stored_key(expires=NOW - 2),
        "api_key.expired",
        "alice",
        {"key": KEY_ID, "name": "ci", "expired_by": 2.0},
    ),
    "expired this moment": (
        key_text(),
        stored_key(expires=NOW),
        "api_key.expired",
        "alice",
        {"key": KEY_ID, "name": "ci", "expired_by": 0.0},
    ),
    "replaced": (
        key_text(),
        stored_key(expires=NOW - 2, successor="000000000000"),
        "api_key.expired",
        "alice",
        {"key": KEY_ID, "name": "ci", "expired_by": 2.0, "successor": "000000000000"},
    ),
    "another network": (
        key_text(),
        stored_key(networks=["10.0.0.0/8"]),
        "api_key.network_refused",
        "alice",
        {"key": KEY_ID, "name": "ci", "found": "192.0.2.7", "wanted": ("10.0.0.0/8",)},
    ),
    "a test key": (
        key_text(label="acme_test"),
        stored_key(environment="test"),
        "api_key.wrong_environment",
        "alice",
        {"key": KEY_ID, "name": "ci", "found": "test", "wanted": "live"},
    ),
    "a revoked test key": (
        key_text(label="acme_test"),
        stored_key(environment="test", revoked=NOW - 1),
        "api_key.wrong_environment",
        "alice",
        {"key": KEY_ID, "name": "ci", "found": "test", "wanted": "live"},
    ),
    "a test key that is not stored here": (
        key_text("000000000000", label="acme_test"),
        stored_key(),
        "api_key.wrong_environment",
        None,
        {"key": "000000000000", "name": None, "found": "test", "wanted": "live"},
    ),
    "a key without an environment": (
        key_text(label="acme"),
        stored_key(environment=""),
        "api_key.wrong_environment",
        "alice",
        {"key": KEY_ID, "name": "ci", "found": "none", "wanted": "live"},
    ),
    "another prefix": (
        key_text(label="other_live"),
        stored_key(),
        "api_key.malformed",
        None,
        {"problem": "a key of another prefix", "found": "other_live", "wanted": "acme_live"},
    ),
    "a longer prefix": (
        key_text(label="acme_shop_live"),
        stored_key(),
        "api_key.malformed",
        None,
        {"problem": "a key of another prefix", "found": "acme_shop_live", "wanted": "acme_live"},
    ),
    "a typing mistake": (
        key_text()[:-1] + "_",
        stored_key(),
        "api_key.malformed",
        None,
        {"problem": "not PREFIX_ID_SECRET; it may be cut off"},
    ),
    "nothing": (b"", stored_key(), "api_key.malformed", None, {"problem": "empty"}),
}


@pytest.mark.parametrize(("sent", "stored", "reason", "subject", "facts"), REFUSED.values(), ids=REFUSED)
def test_a_key_is_refused_for_its_reason(
    sent: str | bytes, stored: StoredKey, reason: str, subject: str | None, facts: dict[str, object]
) -> None:
    """The owner is named only if the secret is right, and then as proven."""
    answer = rejected(api_key_scheme(stored), sent)

    assert (answer.reason.code, answer.subject, answer.facts) == (reason, subject, facts)
    assert answer.authenticated is (subject is not None)


def test_a_key_is_good_until_the_moment_of_its_end() -> None:
    """No leeway applies, because the app itself has set the end."""
    scheme = api_key_scheme(stored_key(expires=NOW + 1))

    assert accepted(scheme, key_text(), now=NOW + 0.999).principal.expires_at == NOW + 1
    assert rejected(scheme, key_text(), now=NOW + 1).reason.code == "api_key.expired"


def test_a_key_may_come_from_its_networks() -> None:
    """An address that is not known is refused."""
    scheme = api_key_scheme(stored_key(networks=["192.0.2.0/24"]))

    accepted(scheme, key_text())
    assert rejected(scheme, key_text(), client=None).facts["found"] == "no address"


def test_without_environments_keys_have_none() -> None:
    """A key of an environment is refused then, because nobody said that it is good here."""
    scheme = api_key_scheme(stored_key(environment=""), environment="")

    accepted(scheme, key_text(label="acme"))
    assert rejected(scheme, key_text("000000000000", label="acme_test")).facts["wanted"] == "none"


def test_a_rotating_key_is_accepted_and_recorded() -> None:
    """The record says what replaces it, and for how long both are good."""
    scheme = api_key_scheme(stored_key(expires=NOW + 60, successor="000000000000"))

    answer = accepted(scheme, key_text())

    assert answer.facts == {"key": KEY_ID, "rotating": {"successor": "000000000000", "ends_in": 60.0}}


def test_a_rotation_may_have_no_end() -> None:
    """A store of the app's own may name a successor without one."""
    answer = accepted(api_key_scheme(stored_key(successor="000000000000")), key_text())

    assert answer.facts["rotating"] == {"successor": "000000000000", "ends_in": float("inf")}


def test_keys_of_all_peppers_are_accepted() -> None:
    """The first pepper takes the place of the second one, and no key has to be made anew."""
    new, old = stored_key(pepper=PEPPER), stored_key(pepper=OLD_PEPPER)

    accepted(api_key_scheme(new, pepper=PEPPER), key_text())
    accepted(api_key_scheme(new, pepper=[PEPPER, OLD_PEPPER]), key_text())
    accepted(api_key_scheme(old, pepper=[PEPPER, OLD_PEPPER]), key_text())
    rejected(api_key_scheme(old, pepper=PEPPER), key_text())
    rejected(api_key_scheme(new), key_text())
    rejected(api_key_scheme(stored_key(), pepper=PEPPER), key_text())


# --- Throttling -------------------------------------------------------------------------------------------------------


def throttled(*keys: StoredKey, **options: Any) -> Any:
    """A scheme that counts by a clock that stands still."""
    return api_key_scheme(*keys, throttle=LoginThrottle(pair=Rate(2, 30.0), clock=ManualClock(1000)), **options)


@pytest.mark.parametrize("kind", ["unknown", "another secret", "revoked", "expired", "another network", "a test key"])
def test_refused_keys_are_counted_alike(kind: str) -> None:
    """Whether an id exists, or was revoked, cannot be told by when the answer becomes 429."""
    sent, stored, reason, subject, facts = REFUSED[kind]
    scheme = throttled(stored)

    answers = [rejected(scheme, sent) for _ in range(3)]

    assert [answer.reason.code for answer in answers] == [reason, reason, "attempts.exceeded"]
    assert answers[2].facts == {
        "retry_after": 30,
        "bucket": "account and network",
        "refused": reason,
        "key": facts["key"],
    }
    assert answers[2].subject == subject


def test_a_stranger_cannot_slow_down_the_owner() -> None:
    """Not even from the same network: a right key is never counted, because nobody can guess one."""
    scheme = throttled()
    for _ in range(100):
        rejected(scheme, key_text(secret="t" * 27))
        rejected(scheme, key_text(secret="t" * 27), client=("198.51.100.1", 1))

    accepted(scheme, key_text())


def test_networks_are_counted_apart() -> None:
    """Those who try an id in one network do not slow down another one, and neither does another id."""
    scheme = throttled()
    for _ in range(3):
        rejected(scheme, key_text(secret="t" * 27), client=("198.51.100.1", 1))

    assert rejected(scheme, key_text(secret="t" * 27)).reason.code == "api_key.unknown"
    assert rejected(scheme, key_text("000000000000"), client=("198.51.100.1", 1)).reason.code == "api_key.unknown"


def test_many_networks_do_not_add_up() -> None:
    """However many of them try one id, the next one gets the same answer as the first one."""
    throttle = LoginThrottle(account=Rate(2, 30.0), clock=ManualClock(1000))
    scheme = api_key_scheme(throttle=throttle)

    answers = [rejected(scheme, key_text(secret="t" * 27), client=(f"198.51.100.{number}", 1)) for number in range(9)]

    assert {answer.reason.code for answer in answers} == {"api_key.unknown"}


def test_garbage_is_not_counted() -> None:
    """It costs less than counting it, and has no id to count by."""
    scheme = throttled()

    assert {rejected(scheme, "garbage").reason.code for _ in range(20)} == {"api_key.malformed"}


class AwaitedThrottle(LoginThrottle):
    """A throttle whose store must be awaited."""

    async def acquire(self, *arguments: Any, **options: Any) -> CountedAttempt | Exceeded:
        return await super().acquire(*arguments, **options)


def test_a_throttle_may_have_to_be_awaited() -> None:
    """It counts in the same way."""
    scheme = api_key_scheme(throttle=AwaitedThrottle(pair=Rate(2, 30.0), clock=ManualClock(1000)))

    reasons = [rejected(scheme, key_text("000000000000")).reason.code for _ in range(3)]

    assert reasons == ["api_key.unknown", "api_key.unknown", "attempts.exceeded"]


def test_the_throttle_can_be_switched_off() -> None:
    """Then OpenAPI does not list 429 either."""
    scheme = api_key_scheme(throttle=None)

    assert {rejected(scheme, key_text("000000000000")).reason.code for _ in range(100)} == {"api_key.unknown"}
    assert (scheme.denial_reasons, scheme.throttle) == ((), None)


def test_passwords_have_another_throttle() -> None:
    """Refused keys cost no hash: a flood of them would make a common throttle forget who has guessed passwords."""
    keys, passwords = api_key_scheme(), basic_scheme()
    RecordingGuard(keys, passwords)

    assert keys.throttle is not passwords.throttle


# --- Stores -----------------------------------------------------------------------------------------------------------


async def test_a_store_may_have_to_be_awaited() -> None:
    """A look-up of the app's own gets the id alone."""
    asked: list[str] = []

    async def find(key_id: str) -> StoredKey | None:
        asked.append(key_id)
        await anyio.lowlevel.checkpoint()
        return stored_key() if key_id == KEY_ID else None

    guard = RecordingGuard(api_key_scheme(store=ApiKeyLookup(find), throttle=AwaitedThrottle()))

    assert (await ask(guard, ("X-API-Key", key_text()))).status == 200
    assert (await ask(guard, ("X-API-Key", key_text("000000000000")))).status == 401
    assert (await ask(guard, ("X-API-Key", "garbage"))).status == 401
    assert asked == [KEY_ID, "000000000000"]


class Failing:
    """A store that raises or returns what it was given."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    async def find(self, key_id: str) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (BackendUnavailable("no route to host"), "store.unavailable"),
        (ZeroDivisionError(), "backend.failed"),
        ({"id": KEY_ID}, "backend.failed"),
    ],
)
async def test_a_store_that_cannot_answer_is_an_outage(answer: object, reason: str) -> None:
    """The key may be good, so it is no 401."""
    guard = RecordingGuard(api_key_scheme(store=Failing(answer)))

    assert (await ask(guard, ("X-API-Key", key_text()))).status == 503
    assert [record.reason for record in guard.records] == [reason]


async def test_a_store_has_a_deadline() -> None:
    """A store that does not answer holds nobody up."""

    async def find(key_id: str) -> StoredKey | None:
        await anyio.sleep_forever()
        raise AssertionError

    guard = RecordingGuard(api_key_scheme(store=ApiKeyLookup(find), deadline=0.01))

    assert (await ask(guard, ("X-API-Key", key_text()))).status == 503
    assert [record.reason for record in guard.records] == ["store.timeout"]


def test_the_roles_of_all_keys_are_listed_for_the_audit() -> None:
    """If the store can list them."""
    assert api_key_scheme(stored_key(roles={"reader"})).roles_given() == {"reader"}
    assert api_key_scheme(store=Failing(None)).roles_given() is None


# --- In the request ---------------------------------------------------------------------------------------------------


async def test_a_key_travels_in_its_field() -> None:
    """The challenge names the field, and is the same for every refusal."""
    guard = RecordingGuard(api_key_scheme())
    challenge = b'ApiKey realm="orders", header="X-API-Key"'

    answers = [
        await ask(guard),
        await ask(guard, ("X-API-Key", key_text("000000000000"))),
        await ask(guard, ("X-API-Key", "garbage")),
        await ask(guard, ("X-API-Key", "")),
        await ask(guard, ("Authorization", f"ApiKey {key_text()}")),
    ]

    assert [answer.status for answer in answers] == [401] * 5
    assert {tuple(value for name, value in answer.headers if name == b"www-authenticate") for answer in answers} == {
        (challenge,)
    }
    assert [record.reason for record in guard.records] == [
        *("credentials.missing", "api_key.unknown", "api_key.malformed"),
        *("credentials.missing", "credentials.missing"),
    ]
    assert (await ask(guard, ("x-api-key", f" {key_text()} "))).status == 200
    assert [(record.scheme, record.subject, record.facts) for record in guard.records][5:] == [
        ("api-key", "alice", {"key": KEY_ID})
    ]


async def test_unknown_and_revoked_look_the_same() -> None:
    """Status, headers and body are the same, byte for byte. Only the reason in the log differs."""
    revoked = stored_key("111111111111", text=key_text("111111111111"), revoked=NOW - 1)
    guard = RecordingGuard(api_key_scheme(stored_key(), revoked))

    answers = [
        await ask(guard, ("X-API-Key", text))
        for text in (key_text("000000000000"), key_text("111111111111"), key_text(secret="t" * 27), "garbage")
    ]

    assert all(answer.sent == answers[0].sent for answer in answers)
    assert [record.reason for record in guard.records] == [
        *("api_key.unknown", "api_key.revoked", "api_key.unknown", "api_key.malformed")
    ]


async def test_a_key_may_travel_after_an_auth_scheme() -> None:
    """In ``Authorization``, by whatever word the clients know."""
    for word in ("ApiKey", "Api-Key", "Token"):
        guard = RecordingGuard(api_key_scheme(carrier=AUTHORIZATION, auth_scheme=word))

        for spelled in (word, word.lower(), word.upper()):
            assert (await ask(guard, ("Authorization", f"{spelled} {key_text()}"))).status == 200
        assert (await ask(guard, ("X-API-Key", key_text()))).lines(b"www-authenticate") == [f'{word} realm="orders"']


CASES: Sequence[tuple[str, str, str, int, str | None]] = [
    # What is in Authorization, what is in X-API-Key, the path, the status, and the reason or the scheme.
    ("", "key", "/", 200, "api-key"),
    ("token", "", "/", 200, "bearer"),
    ("token", "key", "/", 400, "credentials.ambiguous"),
    ("token", "bad key", "/", 400, "credentials.ambiguous"),
    ("Negotiate abc", "key", "/", 200, "api-key"),
    ("token", "key", "/keys", 200, "api-key"),
    ("token", "key", "/tokens", 200, "bearer"),
    ("Bearer garbage", "key", "/keys", 200, "api-key"),
    ("", "key", "/tokens", 401, "scheme.unsupported"),
    ("token", "", "/keys", 401, "scheme.unsupported"),
    ("", "key key", "/", 400, "credentials.ambiguous"),
]


@pytest.mark.parametrize(("authorization", "key", "path", "status", "said"), CASES)
async def test_a_key_beside_a_token(authorization: str, key: str, path: str, status: int, said: str | None) -> None:
    """Two explicit credentials are ambiguous, unless the route accepts one of them only."""
    guard = RecordingGuard(
        bearer(), api_key_scheme(), rules=[Rule("/keys", via("api-key")), Rule("/tokens", via("bearer"))]
    )
    fields = [("Authorization", f"Bearer {mint()}" if authorization == "token" else authorization)] * bool(
        authorization
    )
    fields += [("X-API-Key", key_text() if each == "key" else "bad") for each in key.replace("bad key", "bad").split()]

    assert (await ask(guard, *fields, path=path)).status == status
    (record,) = guard.records
    assert (record.reason or record.scheme) == said


def test_openapi_says_where_the_key_is() -> None:
    """``apiKey`` in a field of its own, and ``http`` in ``Authorization``."""
    assert api_key_scheme().openapi == {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    assert api_key_scheme(carrier=AUTHORIZATION).openapi == {"type": "http", "scheme": "apikey"}
    document: Any = {"paths": {"/": {"get": {"responses": {}}}}}
    guard = RecordingGuard(api_key_scheme()).guard
    described: Any = describe(document, [Operation("/", "GET", [AUTHENTICATED])], guard)
    assert described["components"]["securitySchemes"] == {
        "api-key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    }
    assert "429" in described["paths"]["/"]["get"]["responses"]


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("store", {"store": object()}),
        ("store", {"store": MemoryApiKeys}),
        ("realm", {"realm": 1}),
        ("realm", {"realm": "a\nb"}),
        ("prefix", {"prefix": "Acme"}),
        ("environment", {"environment": "LIVE"}),
        ("carrier", {"carrier": "X-API-Key"}),
        ("auth_scheme", {"carrier": AUTHORIZATION, "auth_scheme": "Api Key"}),
        ("pepper", {"pepper": "short"}),
        ("pepper", {"pepper": []}),
        ("pepper", {"pepper": 5}),
        ("throttle", {"throttle": 5}),
        ("deadline", {"deadline": 0}),
        ("name", {"name": "API"}),
    ],
)
def test_a_wrong_argument_is_refused(argument: str, options: dict[str, Any]) -> None:
    """The error names the argument, while the app is built."""
    with pytest.raises(ConfigurationError, match=argument):
        api_key_scheme(**options)


def test_no_secret_is_shown() -> None:
    """Neither the text of a key nor its digest is in what a scheme returns, or in a function that it returns."""

    async def find(key_id: str) -> StoredKey | None:
        return None

    scheme = api_key_scheme(store=ApiKeyLookup(find))
    request = AuthRequest(http_scope(), "/", Moment(NOW, 60.0))
    continuation = scheme.authenticate_now(request, Credentials("api-key", key_text().encode()))

    shown = repr(
        [continuation, rejected(api_key_scheme(), key_text(secret="t" * 27)), accepted(api_key_scheme(), key_text())]
    )
    assert "sssss" not in shown
    assert "ttttt" not in shown
    assert key_digest(key_text()) not in shown
