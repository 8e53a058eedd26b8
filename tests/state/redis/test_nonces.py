"""The nonces of Digest in Redis and in Valkey: each count is accepted once, whatever happens to the server."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis, RedisCluster

from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.state.nonce_store import WINDOW, WITHOUT_COUNT, MemoryNonces, NonceUse
from authguard.state.redis import RedisBackend, RedisNonces
from authguard.testing import ManualClock
from authguard.wire.nonce import RANDOM, Nonce
from tests.state.redis.servers import KINDS, command, running_cluster, running_server, server_program
from tests.support.clock import NOW
from tests.support.guards import RecordingGuard
from tests.support.schemes.digest import answer_challenge, challenge, digest_scheme, serialize
from tests.support.servers.ports import free_port

LIFE = 300.0


def backend(port: int, **options: Any) -> RedisBackend:
    """The way to the server at this port. Its deadline is for a busy machine."""
    return RedisBackend(lambda: Redis(port=port), **{"deadline": 30.0, **options})


async def begun(redis: RedisBackend, **options: Any) -> RedisNonces:
    """A store whose server has begun to remember at some time before ``NOW`` by the guard's clock."""
    nonces = RedisNonces(redis, **options)
    assert await claim(nonces, nonce=b"first of all", minted_at=NOW - 200) is NonceUse.FORGOTTEN
    return nonces


async def claim(
    nonces: RedisNonces, count: int = 1, *, nonce: bytes = b"n", minted_at: float = NOW + 60, now: float = NOW
) -> NonceUse:
    """Claim a count of a nonce. By default it was minted by a host whose clock is ahead, after all epochs."""
    return await nonces.claim(nonce, count, minted_at=minted_at, expires_at=minted_at + LIFE, now=now)


@pytest.mark.peer
async def test_of_200_claims_of_one_count_at_the_same_time_one_is_fresh(redis_port: int) -> None:
    """It is so however many workers claim it, and for each count again."""
    stores = [await begun(backend(redis_port)) for _ in range(4)]
    for count in range(1, 51):
        claims = [claim(stores[index % 4], count) for index in range(200)]
        assert Counter(await asyncio.gather(*claims)) == {NonceUse.FRESH: 1, NonceUse.REPLAYED: 199}


@pytest.mark.peer
@pytest.mark.parametrize("above", [1, 2, 31, 32, 33, 63, 64, 65, 96, WINDOW - 1, WINDOW, WINDOW + 1, 5 * WINDOW])
async def test_the_window_is_that_of_the_memory(redis_port: int, above: int) -> None:
    """Whichever words of the value a step crosses, all counts are answered as by the store in memory."""
    nonces, memory = await begun(backend(redis_port)), MemoryNonces(clock=ManualClock(0.0))
    memory.begin(NOW)
    times: dict[str, float] = {"minted_at": NOW + 60, "expires_at": NOW + 60 + LIFE, "now": NOW}

    for count in (200, 190, 163, 200 + above, *range(200 + above - WINDOW - 2, 200 + above + 2)):
        assert await nonces.claim(b"n", count, **times) is memory.claim_now(b"n", count, **times), count


@pytest.mark.peer
async def test_a_use_without_a_count_is_the_only_one(redis_port: int) -> None:
    """A nonce that was used in the form of RFC 2069 is spent, and one that was used with a count is none for it."""
    nonces = await begun(backend(redis_port))

    spent = [await claim(nonces, count, nonce=b"spent") for count in (WITHOUT_COUNT, WITHOUT_COUNT, 1, 2**32 - 1)]
    counted = [await claim(nonces, count, nonce=b"counted") for count in (2**32 - 1, WITHOUT_COUNT, 1)]

    assert spent == [NonceUse.FRESH, NonceUse.REPLAYED, NonceUse.OUTSIDE, NonceUse.OUTSIDE]
    assert counted == [NonceUse.FRESH, NonceUse.REPLAYED, NonceUse.OUTSIDE]


@pytest.mark.peer
async def test_a_key_is_a_hash_that_expires_after_the_nonce(redis_port: int) -> None:
    """A nonce is remembered for the rest of its life, and longer by the skew, because a host whose clock is behind
    accepts it for so long."""
    clock = ManualClock(5_000.0)
    nonces = await begun(backend(redis_port, clock=clock), clock_skew=7)
    clock.move(20)
    assert await claim(nonces, nonce=b"a nonce", minted_at=NOW + 10, now=NOW + 20) is NonceUse.FRESH
    clock.move(10)
    assert await claim(nonces, 2, nonce=b"a nonce", minted_at=NOW + 10, now=NOW + 30) is NonceUse.FRESH
    async with Redis(port=redis_port) as redis:
        (key,) = [key async for key in redis.scan_iter("authguard:n:*")]
        left = await redis.pttl(key)

    assert b"a nonce" not in key
    assert len(key) == len("authguard:n:") + 16
    assert 290_000 + 7_000 - 5_000 < left <= 290_000 + 7_000


@pytest.mark.peer
async def test_a_nonce_takes_less_than_200_bytes(redis_port: int) -> None:
    """Whatever its counts."""
    nonces = await begun(backend(redis_port))
    for count in (1, 40, 2**32 - 1):
        await claim(nonces, count)
    async with Redis(port=redis_port) as redis:
        (key,) = [key async for key in redis.scan_iter("authguard:n:*")]
        size = await redis.memory_usage(key)
    assert size is not None
    assert size < 200


@pytest.mark.peer
async def test_a_server_that_has_forgotten_refuses_what_was_minted_before(redis_port: int) -> None:
    """After FLUSHALL no used nonce is accepted again, nor an unused one of that time. Younger ones are."""
    clock = ManualClock(5_000.0)
    nonces = await begun(backend(redis_port, clock=clock), clock_skew=0)
    clock.move(10)
    assert await claim(nonces, nonce=b"used", minted_at=NOW + 9, now=NOW + 10) is NonceUse.FRESH
    command(redis_port, "FLUSHALL")
    clock.move(10)

    for nonce in (b"used", b"unused"):
        assert await claim(nonces, 2, nonce=nonce, minted_at=NOW + 9, now=NOW + 20) is NonceUse.FORGOTTEN
    clock.move(10)
    assert await claim(nonces, nonce=b"young", minted_at=NOW + 21, now=NOW + 30) is NonceUse.FRESH


@pytest.mark.peer
async def test_what_a_new_epoch_still_knows_is_refused_too(redis_port: int) -> None:
    """A replica that became the master may know a nonce, and miss its last uses."""
    clock = ManualClock(5_000.0)
    nonces = await begun(backend(redis_port, clock=clock), clock_skew=0)
    clock.move(10)
    assert await claim(nonces, minted_at=NOW + 5, now=NOW + 10) is NonceUse.FRESH
    command(redis_port, "DEL", "authguard:epoch")

    assert await claim(nonces, 2, minted_at=NOW + 5, now=NOW + 10) is NonceUse.FORGOTTEN


@pytest.mark.peer
async def test_a_nonce_from_within_the_skew_is_forgotten(redis_port: int) -> None:
    """A host whose clock is ahead may have minted it before the server began to remember."""
    clock = ManualClock(5_000.0)
    nonces = await begun(backend(redis_port, clock=clock), clock_skew=5)

    assert await claim(nonces, nonce=b"a", minted_at=NOW + 5) is NonceUse.FORGOTTEN
    assert await claim(nonces, nonce=b"b", minted_at=NOW + 5.001) is NonceUse.FRESH


def minted(nonces: RedisNonces) -> bytes:
    """A new nonce with the mark of the store."""
    return Nonce.mint(NOW, nonces.mark(secrets.token_bytes(RANDOM))).identity


@pytest.mark.peer
async def test_a_nonce_that_knows_the_epoch_is_accepted_whatever_the_clocks_say(redis_port: int) -> None:
    """A process that has heard of the epoch minted it, so it is younger. It ends with the epoch."""
    nonces = await begun(backend(redis_port), clock_skew=60)
    marked = minted(nonces)
    assert [await claim(nonces, nonce=marked, minted_at=NOW - 50) for _ in range(2)] == [
        NonceUse.FRESH,
        NonceUse.REPLAYED,
    ]
    for _ in range(2):
        command(redis_port, "FLUSHALL")
        for count in (1, 2):
            assert await claim(nonces, count, nonce=marked, minted_at=NOW - 50) is NonceUse.FORGOTTEN
        fresh = minted(nonces)
        assert await claim(nonces, nonce=fresh, minted_at=NOW - 50) is NonceUse.FRESH
        assert fresh[8:12] != marked[8:12]


def answer(scheme: Any, text: str, count: int = 1) -> str:
    """The field of a client that answers a challenge of the scheme with this nonce."""
    offer = challenge(scheme)
    params = answer_challenge(offer, count=count, nonce=text)
    return "Digest " + serialize(params).decode("latin-1")


def guarded(port: int, **options: Any) -> tuple[RecordingGuard, Any]:
    """A guard with Digest, whose nonces are in the server at this port; and the scheme."""
    scheme = digest_scheme(nonces=RedisNonces(backend(port), **options))
    return RecordingGuard(scheme), scheme


async def app(scope: Any, receive: Any, send: Any) -> None:
    """An app that answers 200."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def nonce_in(exchange: Any) -> str:
    """The nonce of the challenge in a response, which must be stale."""
    (field,) = [value for name, value in exchange.headers if name == b"www-authenticate"]
    assert b"stale=true" in field
    return str(field.split(b'nonce="')[1].split(b'"')[0].decode())


@pytest.mark.peer
@pytest.mark.parametrize("kind", KINDS)
async def test_after_a_restart_a_client_needs_one_more_round_trip(kind: str, tmp_path: Path) -> None:
    """The server comes back empty, at the same port. Its first client is told to use a new nonce, which is accepted
    at once, and no response of before is."""
    program = server_program(kind)
    if program is None:
        pytest.skip(f"{kind}-server is not installed")
    with running_server(program, folder=tmp_path) as port:
        guard, scheme = guarded(port)
        first = await guard.request(app, field=answer(scheme, dict(challenge(scheme).params)["nonce"]))
        used = answer(scheme, nonce_in(first))
        statuses = [(await guard.request(app, field=used)).status for _ in range(2)]
    unavailable = await guard.request(app, field=used)
    with running_server(program, port=port, folder=tmp_path):
        again = await guard.request(app, field=used)
        for _ in range(1000):
            if again.status != 503:
                break
            await asyncio.sleep(0.01)
            again = await guard.request(app, field=used)
        after = await guard.request(app, field=answer(scheme, nonce_in(again)))

    assert (statuses, unavailable.status, again.status, after.status) == ([200, 401], 503, 401, 200)
    assert guard.outcomes[-1] == "granted"
    assert set(guard.outcomes[3:-2]) <= {"store.unavailable", "store.timeout"}
    assert guard.outcomes[-2] == "nonce.forgotten"


@pytest.mark.peer
@pytest.mark.parametrize(
    ("on_outage", "statuses", "unchecked"), [("deny", [503, 503], None), ("allow", [200, 200], "nonces")]
)
async def test_an_outage_is_what_the_app_says(
    redis_port: int, on_outage: str, statuses: list[int], unchecked: str | None
) -> None:
    """Without a server nobody can tell a replay. By name both pass, and each record says that it was not checked."""
    guard, scheme = guarded(free_port(), on_outage=on_outage)
    field = answer(scheme, dict(challenge(scheme).params)["nonce"])

    assert [(await guard.request(app, field=field)).status for _ in range(2)] == statuses
    assert [record.facts.get("unchecked") for record in guard.records] == [unchecked] * 2


@pytest.mark.peer
async def test_a_wrong_response_is_refused_during_an_outage() -> None:
    """Only the count is not checked: the password is, and the age of the nonce."""
    guard, scheme = guarded(free_port(), on_outage="allow")
    offer = challenge(scheme)
    wrong = "Digest " + serialize(answer_challenge(offer, "not the password")).decode("latin-1")
    old = "Digest " + serialize(answer_challenge(challenge(scheme, now=NOW - 301))).decode("latin-1")

    assert [(await guard.request(app, field=field)).status for field in (wrong, old)] == [401, 401]
    assert guard.denial_reasons == ["response.wrong", "nonce.stale"]


@pytest.mark.peer
@pytest.mark.parametrize("kind", KINDS)
async def test_on_a_cluster_one_nonce_is_forgotten_and_not_one_of_each_partition(kind: str) -> None:
    """A partition begins to remember at its first script. After the first nonce that may have been forgotten all of
    them do, so that the next nonce is accepted wherever it is."""
    program = server_program(kind)
    if program is None:
        pytest.skip(f"{kind}-server is not installed")
    with running_cluster(program) as servers:
        redis = RedisBackend(lambda: RedisCluster(host="127.0.0.1", port=servers.ports[0]), deadline=30)
        nonces = RedisNonces(redis)
        old = minted(nonces)
        forgotten = [await claim(nonces, nonce=old, minted_at=NOW) for _ in range(2)]
        new = [minted(nonces) for _ in range(300)]
        first, again = [
            await asyncio.gather(*(claim(nonces, nonce=nonce, minted_at=NOW) for nonce in new)) for _ in range(2)
        ]
        # A part of the Cluster that is down is left for later.
        servers.processes[2].kill()
        servers.processes[2].wait()
        place = next(byte for byte in range(256) if servers.owner(f"{{{byte:02x}}}") == servers.ports[0])
        forgotten.append(await claim(RedisNonces(redis), nonce=bytes(19) + bytes([place]), minted_at=NOW - 200))

    assert set(forgotten) == {NonceUse.FORGOTTEN}
    assert len({nonce[-1] for nonce in new}) > 150
    assert set(first) == {NonceUse.FRESH}
    assert set(again) == {NonceUse.REPLAYED}


async def test_without_a_server_a_claim_is_an_outage() -> None:
    """The store raises, and the scheme decides what that means. Its health is that of the backend."""
    redis = backend(free_port())
    nonces = RedisNonces(redis)
    nonces.begin(NOW)

    with pytest.raises(BackendUnavailable):
        await claim(nonces)
    with pytest.raises(BackendUnavailable):
        await nonces.warm()
    assert nonces.health().keys() == redis.health().keys()
    assert nonces.health()["servers"]


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("redis", {"redis": Redis(port=1)}),
        ("redis", {"redis": None}),
        ("on_outage", {"on_outage": "memory"}),
        ("on_outage", {"on_outage": True}),
        ("clock_skew", {"clock_skew": -1}),
        ("clock_skew", {"clock_skew": 61}),
        ("clock_skew", {"clock_skew": "5"}),
    ],
    ids=["client", "nothing", "memory", "flag", "negative", "long", "text"],
)
def test_the_arguments_are_checked(argument: str, options: dict[str, Any]) -> None:
    """A wrong argument raises while the app is built, and the error names it."""
    with pytest.raises(ConfigurationError) as caught:
        RedisNonces(**{"redis": backend(1), **options})

    assert caught.value.argument == argument
