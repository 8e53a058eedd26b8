"""An API whose tokens may be bound to client certificates, which a proxy passes on."""

from __future__ import annotations

import os
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from authguard import AuthGuardMiddleware, Bearer, ForwardedCertificate, Guard
from tests.integration.apps.common import CERTIFICATE_HEADER, TRUSTED, bearer, clock


class Bound(Bearer):
    """Compares certificates in PEM, as nginx sends them."""

    def __init__(self, *issuers: Any, realm: str) -> None:
        source = ForwardedCertificate(CERTIFICATE_HEADER, format="pem", trusted=os.environ[TRUSTED].split())
        super().__init__(*issuers, realm=realm, client_certificate=source)


def me(request: Request) -> PlainTextResponse:
    """Who has got in."""
    return PlainTextResponse(str(request.user.subject))


app = AuthGuardMiddleware(Starlette(routes=[Route("/orders", me)]), guard=Guard(bearer(Bound), clock=clock))
