"""Real clients with a real server, and what its default logging shows of them."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import httpx2
import pytest

from tests.integration.apps.common import MORE_LOG
from tests.support.clock import NOW
from tests.support.servers.app_server import AppServer, app_token, bearer_field, request_bytes, running_servers
from tests.support.tokens import ISSUER

pytestmark = pytest.mark.peer

CURL = shutil.which("curl")
needs_curl = pytest.mark.skipif(CURL is None, reason="curl is not here")


class Servers(NamedTuple):
    quiet: AppServer
    telling: AppServer


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """One server with uvicorn's own logging only, and one with the two lines of the documentation."""
    with running_servers(
        partial(AppServer, "clients:app", "--http", "h11"),
        partial(AppServer, "clients:app", "--http", "httptools", **{MORE_LOG: "1"}),
    ) as (quiet, telling):
        yield Servers(quiet, telling)


@pytest.fixture(params=Servers._fields)
def server(request: pytest.FixtureRequest, servers: Servers) -> AppServer:
    """Each server in turn."""
    selected: AppServer = getattr(servers, request.param)
    return selected


class Seen(NamedTuple):
    status: int
    challenges: list[str]
    body: str


def by_curl(server: AppServer, path: str, *options: str) -> Seen:
    """The result of curl with these options."""
    assert CURL is not None
    command = [CURL, "--silent", "--noproxy", "*", "--max-time", "20", "--include", *options, server.url + path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    head, _, body = done.stdout.partition("\n\n")
    lines = [line.partition(": ") for line in head.splitlines()]
    challenges = [value for name, _, value in lines if name.lower() == "www-authenticate"]
    return Seen(int(head.split()[1]), challenges, body)


def by_httpx2(server: AppServer, path: str, bearer: str | None = None) -> Seen:
    """The result of httpx2."""
    fields = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    answer = httpx2.get(server.url + path, headers=fields, trust_env=False)
    return Seen(answer.status_code, answer.headers.get_list("www-authenticate"), answer.text)


def by_urllib(server: AppServer, path: str, bearer: str | None = None) -> Seen:
    """The result of urllib, which raises for every status above 399."""
    fields = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(server.url + path, headers=fields), timeout=20) as answer:
            return Seen(answer.status, answer.headers.get_all("www-authenticate", []), answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return Seen(error.code, error.headers.get_all("www-authenticate", []), error.read().decode())


def curl_with_token(server: AppServer, path: str, bearer: str | None = None) -> Seen:
    """The result of curl, with the token on its command line."""
    return by_curl(server, path, *(["--header", bearer_field(bearer)] if bearer else []))


CLIENTS = [pytest.param(curl_with_token, marks=needs_curl, id="curl"), by_httpx2, by_urllib]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_gets_the_status_for_its_token(server: AppServer, client: Callable[..., Seen]) -> None:
    """Without a token a client gets a 401 with a challenge, without the role a 403, and otherwise the page."""
    bare, insufficient = 'Bearer realm="orders"', 'Bearer realm="orders", error="insufficient_scope"'

    health, nobody, bob = client(server, "/health"), client(server, "/me"), client(server, "/admin", app_token("bob"))
    alice, admin = client(server, "/me", app_token()), client(server, "/admin", app_token("alice", "admin"))

    assert health == (200, [], '"FOR-ALL"')
    assert nobody[:2] == (401, [bare])
    assert '"detail": "Not authenticated"' in nobody.body
    assert bob[:2] == (403, [insufficient])
    assert alice == (200, [], '"hello alice"')
    assert admin == (200, [], '"FOR-ADMINS-ALONE"')


@needs_curl
@pytest.mark.parametrize(
    ("options", "path", "statuses"),
    [
        (["--oauth2-bearer", "{alice}"], "/me", {200}),
        (["--oauth2-bearer", "{alice}", "--head"], "/health", {405}),  # the app has no HEAD for this path
        (["--head"], "/me", {401}),
        (["--request", "DELETE"], "/me", {401}),
        (["--request", "get"], "/me", {400, 401}),
        (["--request", "WEBSOCKET"], "/me", {400, 401}),
        (["--path-as-is"], "/health/../me", {400}),
        ([], "/health/../me", {401}),  # curl resolves the dots itself
        ([], "/me/../health", {200}),
        (["--path-as-is"], "//me", {400}),
        (["--anyauth", "--user", "alice:x"], "/me", {401}),
        (["--digest", "--user", "alice:x"], "/me", {401}),
        (["--user", "alice:x"], "/me", {401}),
        (["--header", "Authorization: Bearer", "--header", "Authorization: Bearer x"], "/me", {400}),
        (["--http1.0"], "/me", {401}),
        (["--http2"], "/me", {401}),
        (["--data", "x=1", "--header", "X-HTTP-Method-Override: GET"], "/health", {405}),
        (["--location", "--header", "Host: app.example/health?"], "/me", {401}),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, list) else str(value),
)
def test_curl_gets_the_status_that_is_due(server: AppServer, options: list[str], path: str, statuses: set[int]) -> None:
    """Each option of curl leads to the status for what it sends."""
    spelled = [app_token() if option == "{alice}" else option for option in options]

    result = by_curl(server, path, *spelled)

    assert result.status in statuses


def test_a_warning_is_readable_under_default_logging(servers: Servers) -> None:
    """Without any logging set-up, stderr shows each denial with its reason, apart from missing credentials."""
    expired = app_token(exp=NOW - 64.25)
    named = hashlib.sha256(expired.encode()).hexdigest()[:8]
    before = servers.quiet.settle()

    by_httpx2(servers.quiet, "/me")
    by_httpx2(servers.quiet, "/me", expired)
    by_httpx2(servers.quiet, "/admin", app_token("bob", "user"))

    assert servers.quiet.lines_since(before) == [
        f"denied token.expired: GET /me 401 bearer alice expired_by=64.25s leeway=60s token={named} issuer={ISSUER}",
        "denied role.missing: GET /admin 403 bearer bob requirement=role(admin) missing=[admin] offered=[user]",
    ]


def test_two_lines_of_set_up_show_all_denials(servers: Servers) -> None:
    """``logging.basicConfig()`` and a level show missing credentials too, each record with its level."""
    before = servers.telling.settle()

    by_httpx2(servers.telling, "/me")
    by_httpx2(servers.telling, "/me", "no.token.here")
    by_httpx2(servers.telling, "/admin", app_token("bob", "clerk"))

    missing, malformed, forbidden = servers.telling.lines_since(before)
    assert missing == "INFO:authguard:denied credentials.missing: GET /me 401"
    assert malformed.startswith("WARNING:authguard:denied token.malformed: GET /me 401 bearer problem=")
    assert forbidden.startswith("WARNING:authguard:denied role.missing: GET /admin 403 bearer bob requirement=")


def test_no_client_can_write_a_line_of_the_log(server: AppServer) -> None:
    """Values of the client are escaped: a record stays on one line, and a terminal gets no control sequences."""
    before = server.settle()

    server.send(request_bytes("/x%0aINFO:authguard:granted:%20GET%20/forged%0d%1b[2J%e2%80%a8"))

    (record,) = server.lines_since(before)
    assert record.endswith(
        'GET "/x\\nINFO:authguard:granted: GET /forged\\r\\x1b[2J\\u2028" 400 problem="a control character"'
    )


def test_no_credentials_are_on_stderr(server: AppServer) -> None:
    """No token and no password is logged, in whole or in part, even if the client sent a token without a scheme."""
    canary, good = "C4n4ry-k3y", app_token("canary-bird")
    secrets = [canary, *(part[:16] for part in good.split(".")[1:])]

    for presented in (f"Bearer {canary}", f"Bearer a.{canary}.c", f"Basic {canary}", canary, good, f"Bearer{good}"):
        server.send(request_bytes(f"/me?access_token={canary}", f"Authorization: {presented}"))
    server.settle()

    assert [line for line in server.lines for secret in secrets if secret.lower() in line.lower()] == []
