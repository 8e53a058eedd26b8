"""An app behind Digest whose workers count the uses of nonces together in Redis."""

from __future__ import annotations

import os

from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from authguard import AuthGuardMiddleware, Digest, Guard
from authguard.state.redis import RedisBackend, RedisNonces
from tests.integration.apps.common import REDIS
from tests.support.schemes.digest import REALM, SECRET, DigestAccounts


async def me(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.user.subject)


redis = RedisBackend(lambda: Redis.from_url(os.environ[REDIS]), deadline=30.0)
digest = Digest(DigestAccounts(), realm=REALM, secret=SECRET, nonces=RedisNonces(redis), deadline=60.0)
app = AuthGuardMiddleware(Starlette(routes=[Route("/", me)]), guard=Guard(digest, log=False))
