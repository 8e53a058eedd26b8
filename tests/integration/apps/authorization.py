"""A small authorization server: metadata (RFC 8414), registration (RFC 7591), and codes with PKCE (RFC 7636)."""

from __future__ import annotations

import secrets
import time
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.support.tokens import ec_key


class AuthorizationServer:
    """An authorization server whose only user is alice, who agrees to everything.

    Scopes in ``withheld`` are left out of the next token.
    """

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.requests: list[dict[str, str]] = []
        self.withheld: set[str] = set()
        self._codes: dict[str, dict[str, str]] = {}
        self.app = Starlette(
            routes=[
                Route("/.well-known/oauth-authorization-server", self.metadata),
                Route("/register", self.register, methods=["POST"]),
                Route("/authorize", self.authorize),
                Route("/token", self.token, methods=["POST"]),
            ]
        )

    async def metadata(self, request: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "registration_endpoint": f"{self.issuer}/register",
                "response_types_supported": ["code"],
                "grant_types_supported": ["authorization_code"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["none"],
                "authorization_response_iss_parameter_supported": True,
            }
        )

    async def register(self, request: Request) -> Response:
        wanted: dict[str, Any] = await request.json()
        return JSONResponse({**wanted, "client_id": "an-mcp-client", "token_endpoint_auth_method": "none"}, 201)

    async def authorize(self, request: Request) -> Response:
        parameters = dict(request.query_params)
        self.requests.append(parameters)
        assert parameters["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe()
        self._codes[code] = parameters
        answer = urlencode({"code": code, "state": parameters["state"], "iss": self.issuer})
        return RedirectResponse(f"{parameters['redirect_uri']}?{answer}", 302)

    async def token(self, request: Request) -> Response:
        form = dict(await request.form())
        parameters = self._codes.pop(str(form["code"]))
        challenge = urlsafe_b64encode(sha256(str(form["code_verifier"]).encode()).digest()).rstrip(b"=").decode()
        assert (challenge, form["resource"]) == (parameters["code_challenge"], parameters["resource"])
        granted = [name for name in parameters.get("scope", "").split() if name not in self.withheld]
        self.withheld = set()
        now = int(time.time())
        said = {
            "iss": self.issuer,
            "aud": form["resource"],
            "sub": "alice",
            "scope": " ".join(granted),
            "iat": now,
            "exp": now + 300,
        }
        minted = jwt.encode(said, ec_key(), "ES256")
        return JSONResponse(
            {"access_token": minted, "token_type": "Bearer", "expires_in": 300, "scope": said["scope"]},
            headers={"Cache-Control": "no-store"},
        )
