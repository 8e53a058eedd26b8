"""The official MCP Python SDK as a client: from a 401 it finds the authorization server, logs in, and is accepted."""

from __future__ import annotations

import importlib
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx2
import pytest
import uvicorn
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
    ProtectedResourceMetadata,
)
from pydantic import AnyUrl

from authguard import Issuer, Record
from authguard.testing import recording
from tests.integration.apps.authorization import AuthorizationServer
from tests.support.tokens import ec_key, public_pem

pytestmark = pytest.mark.peer

CALLBACK = "http://127.0.0.1:1/callback"


@contextmanager
def served(app: Any, listener: socket.socket) -> Iterator[None]:
    """Serve the app with uvicorn on a socket that is bound already."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


class McpStage:
    """An MCP server, its authorization server, and the records of the first."""

    def __init__(self, login: AuthorizationServer, example: ModuleType, url: str, records: list[Record]) -> None:
        self.login, self.example, self.url, self.records = login, example, url, records

    @property
    def denied(self) -> list[str | None]:
        """The reasons of all denials, in order."""
        return [record.reason for record in self.records if record.event == "denied"]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[McpStage]:
    """Both servers, on ports that the system chose."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        issuer, origin = (f"http://127.0.0.1:{one.getsockname()[1]}" for one in sockets)
        settings = {"RESOURCE": f"{origin}/mcp", "ISSUER": issuer, "ISSUER_PUBLIC_KEY": public_pem(ec_key()).decode()}
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delitem(sys.modules, "examples.mcp_server", raising=False)
        example, login = importlib.import_module("examples.mcp_server"), AuthorizationServer(issuer)
        records = stack.enter_context(recording(example.guard))
        stack.enter_context(served(login.app, sockets[0]))
        stack.enter_context(served(example.app, sockets[1]))
        yield McpStage(login, example, f"{origin}/mcp", records)


class Memory:
    """The client's storage for its tokens and its registration."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class Browser:
    """Follows the login link of the client, and returns the redirect."""

    def __init__(self) -> None:
        self.visited: list[str] = []
        self._location = ""

    async def visit(self, url: str) -> None:
        self.visited.append(url)
        async with httpx2.AsyncClient(trust_env=False) as client:
            self._location = (await client.get(url)).headers["location"]

    async def came_back(self) -> AuthorizationCodeResult:
        assert self._location.startswith(CALLBACK)
        found = {name: values[0] for name, values in parse_qs(urlsplit(self._location).query).items()}
        return AuthorizationCodeResult(code=found["code"], state=found["state"], iss=found["iss"])


def provider(url: str, memory: Memory, browser: Browser) -> OAuthClientProvider:
    """The SDK's own OAuth client, which knows only the URL of the MCP server."""
    about = OAuthClientMetadata(client_name="tests", redirect_uris=[AnyUrl(CALLBACK)])
    return OAuthClientProvider(url, about, memory, browser.visit, browser.came_back)


async def call_tool(url: str, tool: str, memory: Memory, browser: Browser, **arguments: str) -> list[str]:
    """The answer of a tool to the SDK's client."""
    with anyio.fail_after(120):
        async with (
            httpx2.AsyncClient(auth=provider(url, memory, browser), trust_env=False) as http,
            Client(streamable_http_client(url, http_client=http)) as client,
        ):
            result = await client.call_tool(tool, dict(arguments))
    return [part.text for part in result.content if part.type == "text"]


async def test_a_client_that_knows_only_the_url_is_accepted(stage: McpStage) -> None:
    """9728: the challenge leads to the metadata, the authorization server, and a token for this resource."""
    memory, browser = Memory(), Browser()

    answer = await call_tool(stage.url, "write_note", memory, browser, text="milk")

    assert answer == ["this token may read notes, but not write them"]
    assert stage.denied[0] == "credentials.missing"
    assert set(stage.denied) == {"credentials.missing"}
    ((request),) = stage.login.requests
    assert (request["resource"], request["scope"]) == (stage.url, "notes:read")
    assert [record.subject for record in stage.records if record.event == "granted"][-1] == "alice"
    assert len(browser.visited) == 1


async def test_a_stored_token_needs_no_login(stage: McpStage) -> None:
    """With a stored token the client does not ask the authorization server again."""
    memory, browser = Memory(), Browser()
    await call_tool(stage.url, "read_notes", memory, browser)
    denied = len(stage.denied)

    await call_tool(stage.url, "read_notes", memory, browser)

    assert (len(browser.visited), len(stage.denied)) == (1, denied)


async def test_a_token_with_too_few_scopes_is_stepped_up(stage: McpStage) -> None:
    """A 403 with ``insufficient_scope`` names the scopes of the route, and the SDK logs in again for them."""
    memory, browser = Memory(), Browser()
    stage.login.withheld = {"notes:read"}

    await call_tool(stage.url, "read_notes", memory, browser)

    assert [request["scope"] for request in stage.login.requests] == ["notes:read", "notes:read"]
    assert "scope.missing" in stage.denied
    assert memory.tokens is not None
    assert memory.tokens.scope == "notes:read"


async def test_a_token_for_another_resource_is_rejected(stage: McpStage) -> None:
    """The audience is the resource itself (RFC 8707), so a server cannot reuse a token that it received."""
    memory, browser = Memory(), Browser()
    await call_tool(stage.url, "read_notes", memory, browser)
    assert memory.tokens is not None
    keys = stage.example.issuer.keys
    stage.example.guard.schemes[0].replace(
        Issuer(stage.login.issuer, audience="https://other.example/mcp", algorithms=["ES256"], keys=keys)
    )

    async with httpx2.AsyncClient(trust_env=False) as client:
        fields = {"Authorization": f"Bearer {memory.tokens.access_token}"}
        answer = await client.post(stage.url, headers=fields, json={})

    assert (answer.status_code, stage.denied[-1]) == (401, "token.audience_mismatch")
    assert f'resource_metadata="{stage.example.resource.metadata_url}"' in answer.headers["www-authenticate"]


async def test_the_metadata_are_what_the_sdk_reads(stage: McpStage) -> None:
    """The SDK's own model accepts the metadata, and they name the server that it asks."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.get(stage.example.resource.metadata_url)
    read = ProtectedResourceMetadata.model_validate_json(answer.content)

    assert (str(read.resource), [str(one) for one in read.authorization_servers]) == (stage.url, [stage.login.issuer])
    assert read.scopes_supported == ["notes:read", "notes:write"]
