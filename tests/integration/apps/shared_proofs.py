"""An app behind DPoP whose workers remember together in Redis which proofs were used."""

from __future__ import annotations

import os

from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from authguard import PEM, AuthGuardMiddleware, Dpop, Guard, Issuer
from authguard.state.redis import RedisBackend, RedisProofs
from tests.integration.apps.common import PUBLIC_KEY, PUBLIC_URL, REDIS
from tests.support.tokens import AUDIENCE, ISSUER


async def me(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.user.subject)


redis = RedisBackend(lambda: Redis.from_url(os.environ[REDIS]), deadline=30.0)
dpop = Dpop(
    Issuer(ISSUER, audience=AUDIENCE, algorithms=["ES256"], keys=PEM(os.environ[PUBLIC_KEY])),
    realm="orders",
    public_url=os.environ[PUBLIC_URL],
    secret="s" * 32,
    require_nonce=True,
    proofs=RedisProofs(redis),
    deadline=60.0,
)
app = AuthGuardMiddleware(Starlette(routes=[Route("/orders", me)]), guard=Guard(dpop, log=False))
