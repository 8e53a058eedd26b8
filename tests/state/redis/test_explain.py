"""An explanation reads what other processes share in Redis, and writes nothing there."""

from __future__ import annotations

import random
from typing import Any

import pytest
from redis.asyncio import Redis

from authguard import Account, AuthGuardMiddleware, Guard, LoginThrottle
from authguard.explain import explain
from authguard.schemes.scheme import Scheme
from authguard.state.nonce_store import WITHOUT_COUNT, NonceUse
from authguard.state.proof_store import ProofUse
from authguard.state.redis import RedisBackend, RedisNonces, RedisProofs, RedisThrottleStore
from tests.docs.refusals import answer, password
from tests.explain.causes import request
from tests.support.asgi import RecordingApp, run_app
from tests.support.clock import NOW
from tests.support.schemes.basic import Users, basic_scheme
from tests.support.schemes.digest import digest_scheme

pytestmark = pytest.mark.peer

SECRET = "a secret of thirty-two bytes, and more"


def backend(port: int) -> RedisBackend:
    """The way to the server at this port, as each process has one. Its deadline is for a busy machine."""
    return RedisBackend(lambda: Redis(port=port), deadline=30.0)


async def kept(port: int) -> dict[Any, Any]:
    """All that the server keeps, without the times to live."""
    async with Redis(port=port) as redis:
        return {key: await redis.dump(key) for key in await redis.keys("*")}


def guarded(*schemes: Scheme) -> AuthGuardMiddleware:
    """A guard in front of an app, at NOW."""
    return AuthGuardMiddleware(RecordingApp(), guard=Guard(*schemes, clock=lambda: NOW, log=False))


async def test_peek_says_what_claim_would_answer(redis_port: int) -> None:
    """Over random counts, ``peek`` answers as the ``claim`` that follows it, and leaves the server as it was."""
    nonces, chance = RedisNonces(backend(redis_port)), random.Random(7)
    times: dict[str, Any] = {"minted_at": NOW + 60, "expires_at": NOW + 360, "now": NOW}
    seen: set[NonceUse] = set()
    highest = 500
    for number in range(300):
        count = WITHOUT_COUNT if number == 290 else highest + chance.randint(-140, 3)
        highest = max(highest, count) if count != WITHOUT_COUNT else highest
        before = await kept(redis_port)
        peeked = await nonces.peek(b"n", count, **times)
        if number % 20 == 0:
            assert await kept(redis_port) == before or number == 0  # the first script begins the epoch
        assert await nonces.claim(b"n", count, **times) is peeked
        seen.add(peeked)
    assert seen == {NonceUse.FRESH, NonceUse.REPLAYED, NonceUse.OUTSIDE}
    old = {**times, "minted_at": NOW - 9_999}
    assert await nonces.peek(b"o", 1, **old) is await nonces.claim(b"o", 1, **old) is NonceUse.FORGOTTEN


async def test_peek_says_what_claim_would_answer_about_a_proof(redis_port: int) -> None:
    """A proof is fresh until it was claimed, and one of before the epoch is forgotten."""
    proofs = RedisProofs(backend(redis_port))
    times: dict[str, Any] = {"not_before": NOW + 60, "expires_at": NOW + 360, "now": NOW}
    assert await proofs.peek(b"p", **times) is await proofs.peek(b"p", **times) is ProofUse.FRESH
    assert await proofs.claim(b"p", **times) is ProofUse.FRESH
    assert await proofs.peek(b"p", **times) is await proofs.claim(b"p", **times) is ProofUse.REPLAYED
    assert await proofs.peek(b"q", **{**times, "not_before": NOW - 9_999}) is ProofUse.FORGOTTEN


async def test_a_response_that_another_process_has_accepted_is_explained(redis_port: int) -> None:
    """A new process knows by the shared store that the response was used, and uses nothing itself."""
    digests = [digest_scheme(nonces=RedisNonces(backend(redis_port))) for _ in range(2)]
    live, other = map(guarded, digests)
    await run_app(live, request("Digest x", "/orders"))  # it learns of the epoch
    await run_app(live, request(answer(digests[0]), "/orders"))
    used, fresh = answer(digests[0]), answer(digests[0])
    await run_app(live, request(used, "/orders"))
    before = await kept(redis_port)

    explained = [(await explain(other, request(field, "/orders"))).reason for field in (used, fresh, fresh)]

    assert explained == ["nonce.replayed", None, None]
    assert await kept(redis_port) == before


async def test_attempts_that_processes_share_are_not_counted(redis_port: int) -> None:
    """Wrong passwords can be explained again and again: none of them is counted, and no login is remembered."""
    throttle = LoginThrottle(store=RedisThrottleStore(backend(redis_port)), secret=SECRET)
    app = guarded(basic_scheme(Users(Account("alice", "$fast$wonderland")), throttle=throttle))
    await run_app(app, request(password("alice:wrong"), "/orders"))
    before = await kept(redis_port)

    reasons = {(await explain(app, request(password("alice:guess"), "/orders"))).reason for _ in range(15)}
    granted = await explain(app, request(password(), "/orders"))

    assert (reasons, granted.outcome) == ({"password.wrong"}, "granted")
    assert await kept(redis_port) == before
