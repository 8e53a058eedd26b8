"""A guard with revocations: what they are asked, what they refuse, and what happens if one cannot answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import pytest

from authguard import (
    PUBLIC,
    BackendUnavailable,
    ConfigurationError,
    MemoryRevocations,
    Principal,
    Revocation,
    Rule,
    role,
)
from authguard.model import Accepted
from authguard.schemes.carriers import AUTHORIZATION
from authguard.starlette import requires
from authguard.state.revocations import Revocations
from authguard.testing import acting_as
from tests.support.asgi import RecordingApp, function_app, send_response
from tests.support.clock import NOW
from tests.support.guards import RecordingGuard, denial
from tests.support.schemes.api_key import KEY_ID, api_key_scheme, key_text
from tests.support.schemes.badge import Badge
from tests.support.schemes.basic import basic_scheme, user_pass
from tests.support.schemes.bearer import bearer, issuer
from tests.support.tokens import mint

ALICE = Revocation.subject("alice", before=NOW - 10, expires_at=NOW + 600)


def memory(*revocations: Revocation) -> MemoryRevocations:
    """A store with these revocations."""
    store = MemoryRevocations(clock=lambda: NOW)
    for revocation in revocations:
        store.revoke_now(revocation)
    return store


class Asked(Revocations):
    """A store that must be awaited, and keeps what it was asked."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = {} if answer is None else answer
        self.keys: list[Sequence[bytes]] = []

    async def find(self, keys: Sequence[bytes]) -> Mapping[bytes, float]:
        self.keys.append(keys)
        await anyio.lowlevel.checkpoint()
        if isinstance(self.answer, Exception):
            raise self.answer
        found: Mapping[bytes, float] = self.answer
        return found


async def asked(guarded: RecordingGuard, field: str | bytes, **more: Any) -> str:
    """One word for what came of a request."""
    await guarded.request(RecordingApp(), field=field, **more)  # type: ignore[arg-type]
    return guarded.outcomes[-1]


async def test_a_token_is_refused_from_the_next_request_on_although_it_is_remembered() -> None:
    """A token that has passed, and is in the cache, is refused with the first request after its revocation."""
    store = memory()
    guarded = RecordingGuard(bearer(), revocations=store)
    field = f"Bearer {mint(jti='t-1')}"
    before = [await asked(guarded, field) for _ in range(3)]
    await store.revoke(Revocation.token("t-1", expires_at=NOW + 600))

    assert (before, await asked(guarded, field)) == (["granted"] * 3, "token.revoked")
    assert await asked(guarded, f"Bearer {mint(jti='t-2')}") == "granted"


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"iat": NOW - 11}, "subject.revoked"),
        ({"iat": NOW - 10}, "subject.revoked"),
        ({"iat": NOW - 9.5}, "granted"),
        ({"iat": NOW, "auth_time": NOW - 300}, "subject.revoked"),
        ({"iat": NOW, "auth_time": NOW - 5}, "granted"),
        ({"iat": ...}, "subject.revoked"),
        ({"sub": "bob", "iat": NOW - 100}, "granted"),
    ],
    ids=str,
)
async def test_a_revoked_subject_needs_a_new_login(changes: dict[str, Any], outcome: str) -> None:
    """A new token of a revoked subject passes, and one that was only renewed since does not."""
    guarded = RecordingGuard(bearer(), revocations=memory(ALICE))

    assert await asked(guarded, f"Bearer {mint(**changes)}") == outcome


async def test_a_password_is_not_concerned_and_a_key_is() -> None:
    """A revocation of a subject refuses the keys that were made before, and no password."""
    guarded = RecordingGuard(api_key_scheme(carrier=AUTHORIZATION), basic_scheme(), revocations=memory(ALICE))

    assert await asked(guarded, f"ApiKey {key_text()}") == "subject.revoked"
    assert await asked(guarded, b"Basic " + user_pass("alice", "wonderland")) == "granted"


async def test_the_refusal_names_the_most_particular_revocation() -> None:
    """Of several revocations that concern a request, the record names the token, then the session, then the key."""
    session = Revocation.session("s-1", expires_at=NOW + 600)
    key = Revocation.api_key(KEY_ID, expires_at=NOW + 600)
    token = f"Bearer {mint(sid='s-1', jti='t-1')}"

    assert await asked(RecordingGuard(bearer(), revocations=memory(ALICE, session)), token) == "session.revoked"
    keys = RecordingGuard(api_key_scheme(carrier=AUTHORIZATION), revocations=memory(ALICE, key))
    assert await asked(keys, f"ApiKey {key_text()}") == "api_key.revoked"


async def test_the_refusal_is_a_401_that_says_nothing_of_why() -> None:
    """The client learns that its token is not valid, and the response has what the scheme adds."""
    guarded = RecordingGuard(bearer(), revocations=memory(ALICE))
    answer = await guarded.request(RecordingApp(), field=f"Bearer {mint()}")

    assert answer.status == 401
    assert 'error="invalid_token"' in answer.lines(b"www-authenticate")[0]
    assert b"revoked" not in answer.body + b"".join(value for _, value in answer.headers)


async def test_a_principal_that_was_taken_over_is_asked_about_too() -> None:
    """A principal that no credentials of this request have shown, such as that of a test, can be revoked too, by a
    store that must be awaited."""
    revoked = Revocation.token("t-1", expires_at=NOW + 600)
    guarded = RecordingGuard(bearer(), revocations=Asked({revoked.key: math.inf}))
    with acting_as(guarded.guard, Principal("alice", claims={"jti": "t-1"})):
        await guarded.request(RecordingApp(), field=None)

    assert guarded.outcomes == ["token.revoked"]


async def test_several_stores_are_all_asked() -> None:
    """A revocation in any of them counts, whether or not it must be awaited, and each is asked once for a request."""
    awaited = Asked()
    guarded = RecordingGuard(bearer(), revocations=[memory(), awaited])
    first = await asked(guarded, f"Bearer {mint(jti='t-1')}")
    awaited.answer = {Revocation.token("t-1", expires_at=NOW).key: float("inf")}

    assert (first, await asked(guarded, f"Bearer {mint(jti='t-1')}")) == ("granted", "token.revoked")
    assert len(awaited.keys) == 2
    assert awaited.keys[0] is awaited.keys[1]  # they are kept with the token


async def test_they_are_asked_before_the_checks() -> None:
    """A check does not see a principal that has been revoked."""
    seen: list[str] = []

    async def check(request: Any, principal: Principal) -> Principal:
        seen.append(principal.subject)
        return Principal("someone", roles={"admin"})

    for store in (memory(ALICE), Asked(memory(ALICE).find_now([ALICE.key]))):
        guarded = RecordingGuard(bearer(), revocations=store, checks=[check])
        assert await asked(guarded, f"Bearer {mint()}") == "subject.revoked"
        assert await asked(guarded, f"Bearer {mint(sub='bob')}") == "granted"
    assert seen == ["bob", "bob"]


async def test_a_store_that_answers_at_once_is_asked_once() -> None:
    """Also where checks are awaited after it."""

    class Counted(MemoryRevocations):
        count = 0

        def find_now(self, keys: Any) -> Any:
            self.count += 1
            return super().find_now(keys)

    async def check(request: Any, principal: Principal) -> Principal:
        return principal

    store = Counted()
    assert await asked(RecordingGuard(bearer(), revocations=store, checks=[check]), f"Bearer {mint()}") == "granted"
    assert store.count == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (BackendUnavailable("redis.internal refuses connections"), "store.unavailable"),
        (RuntimeError("no"), "backend.failed"),
        ([b"key"], "backend.failed"),
        ({ALICE.key.hex(): math.inf}, "backend.failed"),
    ],
    ids=str,
)
async def test_a_store_that_cannot_answer_is_a_503(answer: object, reason: str) -> None:
    """Nobody passes while it cannot be known who has been revoked."""
    guarded = RecordingGuard(bearer(), revocations=Asked(answer))

    assert await asked(guarded, f"Bearer {mint()}") == reason
    assert guarded.records[-1].status == 503


async def test_a_store_that_does_not_answer_in_time_is_a_503() -> None:
    """A store has as long as a check."""

    class Silent(Asked):
        async def find(self, keys: Sequence[bytes]) -> Mapping[bytes, float]:
            await anyio.sleep_forever()
            return {}

    guarded = RecordingGuard(bearer(), revocations=Silent(), deadline=0.01)

    assert await asked(guarded, f"Bearer {mint()}") == "store.timeout"


async def test_a_lock_asks_again() -> None:
    """A request that is revoked while the app handles it does not pass the next lock."""
    store = memory()
    guarded = RecordingGuard(bearer(), revocations=store)

    @requires(role("admin"))
    async def locked(request: Any) -> None:
        raise AssertionError("it was revoked")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        from starlette.requests import Request

        store.revoke_now(ALICE)
        await locked(Request(scope, receive, send))
        await send_response(send)

    answer = await guarded.request(function_app(app), field=f"Bearer {mint()}")

    assert (answer.status, guarded.outcomes) == (401, ["granted", "subject.revoked"])


async def test_an_open_route_asks_nothing_before_a_lock_does() -> None:
    """On a PUBLIC route nothing is verified, so nothing is asked."""
    store = Asked()
    guarded = RecordingGuard(bearer(), rules=[Rule("/**", PUBLIC)], revocations=store)
    await guarded.request(RecordingApp(), field=f"Bearer {mint()}")

    assert store.keys == []


async def test_the_claims_of_a_request_are_still_its_own() -> None:
    """To read the claims for a revocation neither shares them nor changes what the next request sees."""
    guarded = RecordingGuard(bearer(issuer()), revocations=memory())
    app = RecordingApp()
    for _ in range(3):
        await guarded.request(app, field=f"Bearer {mint(team=['a'])}")
        app.scopes[-1]["user"].claims["team"].append("b")

    assert [scope["user"].claims["team"] for scope in app.scopes] == [["a", "b"]] * 3


@pytest.mark.parametrize("wrong", [object(), MemoryRevocations, [memory(), 5]], ids=["an object", "a class", "a list"])
def test_what_is_no_store_raises(wrong: Any) -> None:
    """The guard is not built with something that could not answer."""
    with pytest.raises(ConfigurationError, match="revocations"):
        RecordingGuard(Badge(), revocations=wrong)


async def test_a_scheme_of_an_app_may_make_a_principal_for_each_request() -> None:
    """The keys are found for any principal, with the claims that the app gave it."""
    table = {"alice": Accepted(Principal("alice", claims={"jti": "t-1"}))}
    store = memory(Revocation.token("t-1", expires_at=NOW))
    guarded = RecordingGuard(Badge(table=table), revocations=store)

    assert await asked(guarded, "Badge alice") == "token.revoked"


class Away(Asked):
    """A store that cannot answer, and says what that means."""

    def __init__(self, on_outage: str) -> None:
        super().__init__(BackendUnavailable("redis.internal refuses connections"))
        self.on_outage = on_outage


@pytest.mark.parametrize(
    ("on_outage", "outcome", "unchecked"), [("deny", "store.unavailable", None), ("allow", "granted", "revocations")]
)
async def test_a_store_says_what_an_outage_means(on_outage: str, outcome: str, unchecked: str | None) -> None:
    """By name a request passes while a store is away, and its record says what was not checked."""
    store = Away(on_outage)
    guarded = RecordingGuard(bearer(), revocations=[store, memory()])

    assert await asked(guarded, f"Bearer {mint()}") == outcome
    assert guarded.records[-1].facts.get("unchecked") == unchecked


async def test_what_another_store_has_is_refused_during_an_outage() -> None:
    """All stores are asked, and the record of the refusal says that one of them was not."""
    guarded = RecordingGuard(bearer(), revocations=[Away("allow"), Away("allow"), memory(ALICE)])

    assert await asked(guarded, f"Bearer {mint()}") == "subject.revoked"
    assert guarded.records[-1].facts["unchecked"] == "revocations"


async def test_a_refusal_after_an_outage_says_what_was_not_checked() -> None:
    """Each record of the request does: also that of a rule, and that of a lock."""
    guarded = RecordingGuard(bearer(), revocations=Away("allow"), rules=[Rule("/admin", role("owner"))])
    await asked(guarded, f"Bearer {mint()}", path="/admin")

    async def endpoint(scope: Any, receive: Any, send: Any) -> None:
        raise denial()

    await guarded.request(endpoint, field=f"Bearer {mint()}")

    assert [(record.reason, record.facts["unchecked"]) for record in guarded.records] == [
        ("role.missing", "revocations"),
        (None, "revocations"),
        ("order.not_owner", "revocations"),
    ]
