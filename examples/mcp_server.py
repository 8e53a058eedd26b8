"""An MCP server behind authguard: a client that comes without a token finds out by itself where to get one.

RESOURCE=https://notes.example/mcp ISSUER=https://login.example ISSUER_PUBLIC_KEY="$(cat public.pem)" \
uvicorn examples.mcp_server:app
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.transport_security import TransportSecuritySettings

from authguard import PEM, AuthGuardMiddleware, Bearer, Guard, Issuer, Principal, ProtectedResource, Rule, scopes

RESOURCE, ISSUER = os.environ["RESOURCE"], os.environ["ISSUER"]
HOST = urlsplit(RESOURCE)

resource = ProtectedResource(
    RESOURCE,
    authorization_servers=[ISSUER],
    scopes=["notes:read", "notes:write"],
    metadata={"resource_name": "Notes"},
    insecure_http=HOST.hostname == "127.0.0.1",  # to try it out; nobody else gets at what goes over the loopback
)
# RFC 8707: the client asks for a token for this very resource, and no other token is taken.
issuer = Issuer(ISSUER, audience=RESOURCE, algorithms=["ES256"], keys=PEM(os.environ["ISSUER_PUBLIC_KEY"]))
guard = Guard(
    Bearer(issuer, realm="notes", resource=resource),
    rules=[Rule("/mcp", scopes("notes:read"))],
)

mcp = MCPServer("notes")
NOTES: dict[str, list[str]] = {}


@mcp.tool()
def read_notes(ctx: Context[Any]) -> list[str]:
    """The notes of whoever asks."""
    return NOTES.get(_principal(ctx).subject, [])


@mcp.tool()
def write_note(text: str, ctx: Context[Any]) -> str:
    """Adds one, where the token says more than the rule asks."""
    who = _principal(ctx)
    if "notes:write" not in who.scopes:
        return "this token may read, and not write"
    NOTES.setdefault(who.subject, []).append(text)
    return "noted"


def _principal(ctx: Context[Any]) -> Principal:
    request: Any = ctx.request_context.request
    who: Principal = request.user
    return who


app = mcp.streamable_http_app(
    # Each request is judged by its own token. The sessions of the SDK are tied to users that it proved itself, and who
    # knows the name of another's session could go on with it.
    stateless_http=True,
    json_response=True,
    transport_security=TransportSecuritySettings(allowed_hosts=[HOST.netloc]),
)
app.add_middleware(AuthGuardMiddleware, guard=guard)
