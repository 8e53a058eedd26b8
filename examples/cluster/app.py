"""An app that runs in several processes: they share used nonces, login attempts and revocations through Redis.

``make demo-cluster`` runs two of them behind nginx. With settings of your own, on as many hosts as you like:

export REDIS_URL=redis://127.0.0.1:6379 REVOCATIONS=sqlite+aiosqlite:///revoked.db
export ISSUER_PUBLIC_KEY="$(cat public.pem)" DIGEST_SECRET=$(authguard secret) THROTTLE_SECRET=$(authguard secret)
export ALICE_HASH=$(authguard hash) ALICE_HA1=$(authguard htdigest orders alice | cut -d: -f3)
uvicorn examples.cluster.app:app --workers 2
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from redis.asyncio import Redis

from authguard import (
    PEM,
    PUBLIC,
    Account,
    Basic,
    Bearer,
    Digest,
    DigestAccount,
    Guard,
    Issuer,
    LoginThrottle,
    MemoryDigests,
    MemoryUsers,
    Revocation,
    Rule,
    SqlRevocations,
    via,
)
from authguard.fastapi import CurrentPrincipal, install
from authguard.state.redis import RedisBackend, RedisNonces, RedisRevocations, RedisThrottleStore

logging.basicConfig()
logging.getLogger("authguard").setLevel(os.environ.get("LOG_LEVEL", "NOTSET"))

redis = RedisBackend(lambda: Redis.from_url(os.environ["REDIS_URL"]))
# What is revoked must outlive Redis: the database keeps it, and Redis tells all workers of it.
database = SqlRevocations(os.environ["REVOCATIONS"])
revocations = RedisRevocations(redis, source=database)
# All workers have one clock here. Leave clock_skew out where there are several hosts.
nonces = RedisNonces(redis, clock_skew=0)
throttle = LoginThrottle(store=RedisThrottleStore(redis), secret=os.environ["THROTTLE_SECRET"])

passwords = MemoryUsers([Account("alice", os.environ["ALICE_HASH"])])
digests = MemoryDigests([DigestAccount("alice", os.environ["ALICE_HA1"])], realm="orders")
issuer = Issuer(
    "https://login.example/", audience="orders", algorithms=["RS256"], keys=PEM(os.environ["ISSUER_PUBLIC_KEY"])
)
guard = Guard(
    Digest(digests, realm="orders", secret=os.environ["DIGEST_SECRET"], nonces=nonces, throttle=throttle),
    Bearer(issuer, realm="orders"),
    Basic(passwords, realm="orders", throttle=throttle),
    rules=[
        Rule("/health", PUBLIC),
        Rule("/orders", via("bearer")),
        Rule("/log-out", via("bearer")),
        Rule("/invoices", via("basic")),
        Rule("/snapshot", via("digest")),
    ],
    revocations=revocations,
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Make the table, which Alembic may do too, and reach Redis. The app does not start if it cannot be reached."""
    await database.create_table()
    await guard.warm()
    yield


app = FastAPI(title="orders", lifespan=lifespan)
install(app, guard)


@app.get("/health")
def health() -> dict[str, str]:
    """Public, and does not ask Redis: a probe that did would restart workers that have nothing wrong."""
    return {"status": "up"}


@app.get("/orders")
def orders(principal: CurrentPrincipal) -> dict[str, str]:
    """For bearer tokens."""
    return {"orders of": principal.subject}


@app.post("/log-out", status_code=204)
async def log_out(principal: CurrentPrincipal) -> None:
    """End the token of this request, for all workers. It is a 503 if that could not be stored."""
    assert principal.expires_at is not None  # noqa: S101 - an issuer's tokens always expire
    await revocations.revoke(Revocation.token(principal.claims["jti"], expires_at=principal.expires_at))


@app.get("/invoices")
def invoices(principal: CurrentPrincipal) -> dict[str, str]:
    """For passwords by Basic."""
    return {"invoices of": principal.subject}


@app.get("/snapshot")
def snapshot(principal: CurrentPrincipal) -> dict[str, str]:
    """For passwords by Digest."""
    return {"snapshot for": principal.subject}
