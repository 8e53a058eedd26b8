"""An API that accepts tokens of a provider, those that are bound to a key and others, and says by which scheme."""

from __future__ import annotations

import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from authguard import AuthGuardMiddleware, Bearer, Dpop, Guard, Issuer, ProtectedResource
from tests.integration.apps.common import PROVIDER, PUBLIC_URL


def me(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{request.user.subject} by {request.user.scheme}")


urls = os.environ[PUBLIC_URL].split()
issuer = Issuer.discover(
    os.environ[PROVIDER],
    audience="orders",
    algorithms=["RS256", "ES256", "EdDSA", "PS256"],
    typ="at+jwt",
    insecure_http=True,
)
# Only those who reach the app directly find them: nginx would have to pass them on.
resource = ProtectedResource(urls[0], insecure_http=True)
dpop = Dpop(issuer, realm="orders", public_url=urls, secret="s" * 32, require_nonce=True, resource=resource)
guard = Guard(dpop, Bearer(issuer, realm="orders"))
routes = [Route("/{path:path}", me, methods=["GET", "POST"])]
app = AuthGuardMiddleware(Starlette(routes=routes), guard=guard)
