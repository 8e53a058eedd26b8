"""An app behind Basic whose workers count login attempts together in Redis. It logs each password that it hashes."""

from __future__ import annotations

import logging
import os

from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from authguard import AuthGuardMiddleware, Basic, Guard, LoginThrottle, MemoryUsers, Rate
from authguard.accounts.account import Account, Verdict
from authguard.state.redis import RedisBackend, RedisThrottleStore
from tests.integration.apps.common import REDIS
from tests.support.schemes.basic import SpyHasher

logging.basicConfig()
log = logging.getLogger("hashes")


class LoggingHasher(SpyHasher):
    """A hasher that logs what it verifies."""

    def verify(self, password: str, stored: str) -> Verdict:
        log.warning("hashed %s", password)
        return super().verify(password, stored)


async def me(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.user.subject)


redis = RedisBackend(lambda: Redis.from_url(os.environ[REDIS]), deadline=30.0)
# No attempt comes back while the test runs.
throttle = LoginThrottle(store=RedisThrottleStore(redis), pair=Rate(10, 3600.0))
users = MemoryUsers([Account("alice", "$fast$wonderland")], hasher=LoggingHasher())
guard = Guard(Basic(users, realm="orders", throttle=throttle), log=False)
app = AuthGuardMiddleware(Starlette(routes=[Route("/me", me)]), guard=guard)
