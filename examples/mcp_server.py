"""An MCP server behind authguard: a client without a token finds out where to get one.

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
    insecure_http=HOST.hostname == "127.0.0.1",  # to try it out locally; loopback traffic cannot be intercepted
)
# RFC 8707: clients request a token for exactly this resource, and only such a token is accepted.
issuer = Issuer(ISSUER, audience=RESOURCE, algorithms=["ES256"], keys=PEM(os.environ["ISSUER_PUBLIC_KEY"]))
guard = Guard(
    Bearer(issuer, realm="notes", resource=resource),
    rules=[Rule("/mcp", scopes("notes:read"))],
)

mcp = MCPServer("notes")
NOTES: dict[str, list[str]] = {}


@mcp.tool()
def read_notes(ctx: Context[Any]) -> list[str]:
    """Return your notes."""
    return NOTES.get(_principal(ctx).subject, [])


@mcp.tool()
def write_note(text: str, ctx: Context[Any]) -> str:
    """Add a note. The token needs the scope notes:write, in addition to the scope that the rule requires."""
    principal = _principal(ctx)
    if "notes:write" not in principal.scopes:
        return "this token may read notes, but not write them"
    NOTES.setdefault(principal.subject, []).append(text)
    return "noted"


def _principal(ctx: Context[Any]) -> Principal:
    request: Any = ctx.request_context.request
    principal: Principal = request.user
    return principal


app = mcp.streamable_http_app(
    # Every request is authorised by its own token. Sessions of the SDK are bound to a user only if the SDK itself has
    # authenticated the user; behind authguard, anybody who knows the ID of a session could continue it.
    stateless_http=True,
    json_response=True,
    transport_security=TransportSecuritySettings(allowed_hosts=[HOST.netloc]),
)
app.add_middleware(AuthGuardMiddleware, guard=guard)
