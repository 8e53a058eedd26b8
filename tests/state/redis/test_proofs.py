"""Proofs in Redis and in Valkey: each is accepted once, whatever happens to the server."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from redis.asyncio import Redis

from authguard.errors import BackendUnavailable
from authguard.state.proof_store import ProofUse, proof_key
from authguard.state.redis import RedisBackend, RedisProofs
from authguard.testing import ManualClock
from tests.schemes.dpop.site import Site
from tests.state.redis.servers import command
from tests.support.clock import NOW
from tests.support.servers.ports import free_port

LIFE = 120.0


def backend(port: int, **options: Any) -> RedisBackend:
    """The way to the server at this port. Its deadline is for a busy machine."""
    return RedisBackend(lambda: Redis(port=port), **{"deadline": 30.0, **options})


async def claim(proofs: RedisProofs, key: bytes = b"p", *, not_before: float = NOW + 60, now: float = NOW) -> ProofUse:
    """Claim a proof, by default one that could not be accepted before the server began to remember."""
    return await proofs.claim(key, not_before=not_before, expires_at=not_before + LIFE, now=now)


@pytest.mark.peer
async def test_of_200_claims_at_the_same_time_one_is_fresh(redis_port: int) -> None:
    """It is so however many workers claim the proof."""
    stores = [RedisProofs(backend(redis_port)) for _ in range(4)]
    for index in range(20):
        key = proof_key("holder", str(index))
        claims = [claim(stores[number % 4], key) for number in range(200)]
        assert Counter(await asyncio.gather(*claims)) == {ProofUse.FRESH: 1, ProofUse.REPLAYED: 199}


@pytest.mark.peer
async def test_a_proof_is_kept_under_a_hash_until_it_expires(redis_port: int) -> None:
    """It is kept longer by the skew, because a host whose clock is behind accepts it for so long, and takes less than
    150 bytes."""
    clock = ManualClock(5_000.0)
    proofs = RedisProofs(backend(redis_port, clock=clock), clock_skew=7)
    assert await claim(proofs, b"first of all", not_before=NOW) is ProofUse.FORGOTTEN
    clock.move(80)
    await claim(proofs, b"a proof", not_before=NOW + 60, now=NOW + 80)
    async with Redis(port=redis_port) as redis:
        (key,) = [key async for key in redis.scan_iter("authguard:p:*")]
        left, size = await redis.pttl(key), await redis.memory_usage(key)

    assert b"a proof" not in key
    assert len(key) == len("authguard:p:") + 16
    assert 107_000 - 5_000 < left <= 107_000
    assert size is not None
    assert size < 150


@pytest.mark.peer
async def test_what_could_be_accepted_before_the_server_began_to_remember_is_forgotten(redis_port: int) -> None:
    """After FLUSHALL no used proof is accepted again, nor an unused one of that time. Younger ones are."""
    clock = ManualClock(5_000.0)
    proofs = RedisProofs(backend(redis_port, clock=clock), clock_skew=5)
    assert await claim(proofs, b"used", not_before=NOW + 5.001) is ProofUse.FRESH
    command(redis_port, "FLUSHALL")
    clock.move(10)

    for key in (b"used", b"unused"):
        assert await claim(proofs, key, not_before=NOW + 5.001, now=NOW + 10) is ProofUse.FORGOTTEN
    assert await claim(proofs, b"edge", not_before=NOW + 15, now=NOW + 10) is ProofUse.FORGOTTEN
    assert await claim(proofs, b"young", not_before=NOW + 15.001, now=NOW + 10) is ProofUse.FRESH


@pytest.mark.peer
async def test_what_is_known_after_a_failover_is_still_a_replay(redis_port: int) -> None:
    """A server that has begun anew may know proofs of before."""
    clock = ManualClock(5_000.0)
    proofs = RedisProofs(backend(redis_port, clock=clock), clock_skew=0)
    assert await claim(proofs, not_before=NOW + 5) is ProofUse.FRESH
    command(redis_port, "DEL", "authguard:epoch")
    clock.move(10)

    assert await claim(proofs, not_before=NOW + 5, now=NOW + 10) is ProofUse.REPLAYED
    assert await claim(proofs, b"unknown", not_before=NOW + 5, now=NOW + 10) is ProofUse.FORGOTTEN


@pytest.mark.peer
async def test_a_full_server_is_an_outage(redis_port: int) -> None:
    """A server without memory for another proof accepts none, because it could not remember it."""
    proofs = RedisProofs(backend(redis_port))
    assert await claim(proofs) is ProofUse.FRESH
    command(redis_port, "CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(BackendUnavailable):
            await claim(proofs, b"another")
    finally:
        command(redis_port, "CONFIG", "SET", "maxmemory", "0")

    assert await claim(proofs, b"another") is ProofUse.FRESH


@pytest.mark.peer
async def test_a_client_of_dpop_needs_one_more_round_trip_after_the_server_has_forgotten(redis_port: int) -> None:
    """Its proof is forgotten, because it could be accepted before. A proof with the nonce of that answer is accepted,
    once, whatever the clocks say."""
    site = Site(proofs=RedisProofs(backend(redis_port), clock_skew=60))
    for _ in range(2):
        command(redis_port, "FLUSHALL")
        asked = await site.send(site.headers())
        [nonce] = asked.lines(b"dpop-nonce")
        headers = site.headers(nonce=nonce)
        assert [await site.reason(headers) for _ in range(2)] == [None, "proof.replayed"]
        assert [record.reason for record in site.records[-3:]] == ["proof.forgotten", None, "proof.replayed"]


async def test_an_outage_is_denied_unless_the_app_says_otherwise() -> None:
    """The store raises, and tells its scheme what that means."""
    proofs = RedisProofs(backend(free_port()))

    with pytest.raises(BackendUnavailable):
        await claim(proofs)
    assert (proofs.on_outage, RedisProofs(backend(1), on_outage="allow").on_outage) == ("deny", "allow")
