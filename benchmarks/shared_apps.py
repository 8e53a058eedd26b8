"""Apps whose state is in the memory of the process, or in Redis, and the requests to them.

``shared`` calls them in its own process. ``capacity`` has each served by a process of its own: ``python -m
benchmarks.shared_apps NAME FILE URL`` serves one of them with the material in a file, and a Redis at a URL.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import itsdangerous
from redis.asyncio import Redis
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware

from authguard import (
    PUBLIC,
    Account,
    AuthGuardMiddleware,
    Basic,
    Digest,
    Guard,
    LoginThrottle,
    MemoryDigests,
    MemoryNonces,
    MemoryRevocations,
    MemoryUsers,
    Revocation,
    Rule,
    Session,
)
from authguard.state import NonceStore, RevocationStore
from authguard.state.redis import RedisBackend, RedisNonces, RedisRevocations, RedisThrottleStore
from authguard.testing import digest_auth
from benchmarks.material import PASSWORD, USER, Material
from benchmarks.paths import (
    PATH,
    REALM,
    Prepared,
    always,
    basic_credentials,
    bearer_guard,
    each,
    guarded,
    nothing,
    quiet,
    respond,
    starlette,
)
from benchmarks.processes import serve

#: The kinds of requests that ask what is shared.
DIGEST, BEARER, SESSION, BASIC = "Digest", "Bearer, known token", "Session", "Basic, remembered"
#: A kind for the simulation: a token that the process does not know.
UNKNOWN = "Bearer, new token"
#: Nothing is shared, and nothing is asked.
BARE, LOCAL = "bare Starlette route", "Bearer, known token, nothing shared"


class Stores:
    """The stores of an app: in its own memory, or in the Redis of a backend."""

    def __init__(self, redis: RedisBackend | None) -> None:
        self._redis = redis

    def nonces(self) -> NonceStore:
        """Where used nonces are counted."""
        return MemoryNonces() if self._redis is None else RedisNonces(self._redis, clock_skew=0)

    def revocations(self) -> RevocationStore:
        """Where revocations are asked."""
        return MemoryRevocations() if self._redis is None else RedisRevocations(self._redis, source=none_revoked)

    def throttle(self) -> LoginThrottle:
        """Where attempts are counted."""
        return (
            LoginThrottle()
            if self._redis is None
            else LoginThrottle(store=RedisThrottleStore(self._redis), secret="s" * 32)
        )


async def none_revoked() -> Sequence[Revocation]:
    """The durable list of what is revoked: it is empty."""
    return ()


#: Makes an app and the requests to it. The number says how many requests there will be.
PrepareShared = Callable[[Material, Stores, int], Coroutine[Any, Any, Prepared]]


async def _bare(material: Material, stores: Stores, count: int) -> Prepared:
    return Prepared(starlette(), each(material.tokens["RS256"]))


async def _local(material: Material, stores: Stores, count: int) -> Prepared:
    return Prepared(guarded(bearer_guard(material)), always(b"Bearer " + material.tokens["RS256"][0]))


async def _bearer(material: Material, stores: Stores, count: int, *, known: bool = True) -> Prepared:
    tokens = material.tokens["RS256"]
    app = guarded(bearer_guard(material, revocations=stores.revocations()))
    return Prepared(app, always(b"Bearer " + tokens[0]) if known else each(tokens))


async def _session(material: Material, stores: Stores, count: int) -> Prepared:
    now = time.time()
    login = {"id": "0" * 22, "sub": USER, "began": now, "seen": now, "auth_time": int(now), "roles": ["customer"]}
    cookie = itsdangerous.TimestampSigner("s" * 32).sign(base64.b64encode(json.dumps({"authguard": login}).encode()))
    guard = Guard(Session(realm=REALM, revocations=stores.revocations()), rules=[Rule("/health", PUBLIC)])
    app = starlette(Middleware(SessionMiddleware, secret_key="s" * 32), Middleware(AuthGuardMiddleware, guard=guard))
    return Prepared(app, always(b"session=" + cookie), field=b"cookie")


async def _digest(material: Material, stores: Stores, count: int) -> Prepared:
    accounts = MemoryDigests.of_cleartext({USER: PASSWORD}, realm=REALM)
    digest = Digest(
        accounts, realm=REALM, secret="s" * 32, life=3600, nonces=stores.nonces(), throttle=stores.throttle()
    )
    app = guarded(Guard(digest, rules=[Rule("/health", PUBLIC)]))
    if not count:  # it is asked for the challenge when it is served
        return Prepared(app, nothing)
    start = await respond(app, Prepared(app, nothing).request(0))
    challenge = next(value for name, value in start["headers"] if name == b"www-authenticate").decode()
    headers = digest_headers(challenge, count)
    return Prepared(app, lambda number: headers[number])


def digest_headers(challenge: str, count: int) -> Sequence[bytes]:
    """The header of each of so many requests. Each is valid once, so each has the next count of the nonce."""
    return [
        digest_auth(challenge, USER, PASSWORD, uri=PATH, count=number + 1)["Authorization"].encode()
        for number in range(count)
    ]


async def _basic(material: Material, stores: Stores, count: int) -> Prepared:
    users = MemoryUsers([Account(USER, material.stored)])
    basic = Basic(users, realm=REALM, remember=3600, throttle=stores.throttle())
    return Prepared(guarded(Guard(basic, rules=[Rule("/health", PUBLIC)])), always(basic_credentials()))


PREPARE: Mapping[str, PrepareShared] = {
    BARE: _bare,
    LOCAL: _local,
    DIGEST: _digest,
    BEARER: _bearer,
    UNKNOWN: partial(_bearer, known=False),
    SESSION: _session,
    BASIC: _basic,
}


def main(arguments: Sequence[str]) -> None:
    """Serve the app of this name, with the material in this file, and the Redis at this URL."""
    name, saved, url = arguments
    quiet()
    backend = RedisBackend(lambda: Redis.from_url(url))
    serve(asyncio.run(PREPARE[name](Material.load(Path(saved)), Stores(backend), 0)).app)


if __name__ == "__main__":
    main(sys.argv[1:])
