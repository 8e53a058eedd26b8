"""Libraries that speak DPoP, with tokens of a certified provider that are bound to their keys, and an API on uvicorn.

The API requires nonces. It is reached directly, and behind nginx, which removes a prefix of the path.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx2
import pytest

from tests.integration.apps.common import PROVIDER, PUBLIC_URL
from tests.integration.nginx import NGINX, running_nginx
from tests.support.servers.app_server import ROOT, TIMEOUT, AppServer, running_servers
from tests.support.servers.node import NODE, NODE_MODULES, has_package
from tests.support.servers.oidc_provider import OIDC_PROVIDER, ORDERS, SECRET, Provider, running_provider
from tests.support.servers.ports import free_port

LIBRARIES = ("dpop", "oauth4webapi", "openid-client")
#: The algorithms of the provider for DPoP that both the API and the libraries have.
ALGORITHMS = ("ES256", "Ed25519")
#: Paths that a client, a proxy and a server may write differently.
PATHS = ("/orders?page=2", "/a%2Fb", "/caf%C3%A9", "/a;b=1,c", "/~x/%7Ex", "/a/./b/../c")

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        not OIDC_PROVIDER or not all(has_package(name) for name in LIBRARIES), reason="the npm packages are not here"
    ),
]


class Call(NamedTuple):
    """One request of a library, and its response."""

    status: int
    body: str
    request: dict[str, str]


@pytest.fixture(name="provider", scope="module")
def _provider() -> Iterator[Provider]:
    with running_provider(0) as provider:
        yield provider


def start(provider: Provider, port: int, url: str) -> AppServer:
    """The API on this port, which its clients know by this URL."""
    return AppServer("bound:app", "--port", str(port), **{PROVIDER: provider.url, PUBLIC_URL: url})


@pytest.fixture(name="direct", scope="module")
def _direct(provider: Provider) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running_servers(lambda: start(provider, port, url)):
        yield url


class Prefixes(NamedTuple):
    """The URL of the API behind nginx, which removes the prefix ``/shop`` from the path as it was sent, or as nginx has
    decoded it; or which leaves it.
    """

    as_sent: str
    decoded: str
    kept: str


@pytest.fixture(name="proxied", scope="module")
def _proxied(provider: Provider) -> Iterator[Prefixes]:
    if NGINX is None:
        pytest.skip("nginx is not here")
    port = free_port()
    app = f"http://127.0.0.1:{port}"
    as_sent = r"map $request_uri $below_shop { ~^/shop(?<below>/.*)$ $below; }"
    targets = (f"{app}$below_shop", f"{app}/", app)
    with running_nginx(*(f"location /shop/ {{ proxy_pass {to}; }}" for to in targets), shared=as_sent) as urls:
        public = " ".join([f"{urls[0]}/shop", f"{urls[1]}/shop", urls[2]])
        with running_servers(lambda: start(provider, port, public)):
            yield Prefixes(*(f"{url}/shop" for url in urls))


def calls(provider: Provider, api: str, library: str, algorithm: str, *sent: tuple[str, str]) -> list[Call]:
    """What the library sends for these calls, with one token and one key, and the responses."""
    job = {
        "library": library,
        "algorithm": algorithm,
        "issuer": provider.url,
        "client": "batch-ES256",
        "secret": SECRET,
        "resource": ORDERS,
        "api": api,
        "calls": sent,
    }
    program = ROOT / "tests" / "peers" / "node" / "dpop.mjs"
    done = subprocess.run(
        [NODE, program, NODE_MODULES], input=json.dumps(job).encode(), capture_output=True, timeout=TIMEOUT, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return [Call(**json.loads(line)) for line in done.stdout.decode().splitlines()]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_calls_the_api(provider: Provider, direct: str, library: str, algorithm: str) -> None:
    """The first request brings the nonce, and each call after it passes at once, with the nonce of the last answer."""
    made = calls(provider, direct, library, algorithm, ("GET", "/orders"), ("POST", "/orders"), ("GET", "/orders"))

    assert [call.status for call in made] == [401, 200, 200, 200]
    assert {call.body for call in made[1:]} == {"batch-ES256 by dpop"}


@pytest.mark.parametrize("library", LIBRARIES)
def test_paths_are_compared_as_the_library_writes_them(provider: Provider, direct: str, library: str) -> None:
    """With a query, an escaped slash, other escapes, and dot segments."""
    made = calls(provider, direct, library, "ES256", *(("GET", path) for path in PATHS))

    assert [call.status for call in made] == [401, *[200] * len(PATHS)]


@pytest.mark.parametrize("library", ["dpop", "openid-client"])
def test_a_library_calls_the_api_below_a_prefix(provider: Provider, proxied: Prefixes, library: str) -> None:
    """The proof names the URL with the prefix, whether nginx removes it or leaves it."""
    for api in (proxied.as_sent, proxied.kept):
        made = calls(provider, api, library, "ES256", *(("GET", path) for path in PATHS))
        assert [call.status for call in made] == [401, *[200] * len(PATHS)]


def test_a_path_that_nginx_decodes_is_another_one(provider: Provider, proxied: Prefixes) -> None:
    """``proxy_pass`` with a path decodes what it passes on: an escaped slash is one of the path then."""
    made = calls(provider, proxied.decoded, "openid-client", "ES256", ("GET", "/orders?page=2"), ("GET", "/a%2Fb"))

    assert [call.status for call in made] == [401, 200, 401]


def test_what_was_recorded_or_stolen_is_of_no_use(provider: Provider, direct: str) -> None:
    """The same request a second time; its token under Bearer; and its proof with another method and another path."""
    *_, call = calls(provider, direct, "openid-client", "ES256", ("GET", "/orders"))
    fields: dict[str, str] = {name.lower(): value for name, value in call.request.items()}
    token = fields["authorization"].removeprefix("DPoP ")
    sent: list[tuple[str, str, Any]] = [
        ("GET", "/orders", fields),
        ("GET", "/orders", {"authorization": f"Bearer {token}"}),
        ("POST", "/orders", fields),
        ("GET", "/other", fields),
        ("GET", "/orders", {**fields, "dpop": ""}),
    ]

    with httpx2.Client(base_url=direct, trust_env=False, timeout=TIMEOUT) as thief:
        answers = [thief.request(method, path, headers=headers) for method, path, headers in sent]

    assert [answer.status_code for answer in answers] == [401] * len(sent)
    assert all("dpop-nonce" in answer.headers for answer in answers if answer.request.headers.get("dpop") is not None)


def test_tokens_that_are_not_bound_go_on_beside(provider: Provider, direct: str) -> None:
    """A client that has not moved yet is accepted under Bearer."""
    with httpx2.Client(base_url=direct, trust_env=False, timeout=TIMEOUT) as client:
        answer = client.get("/orders", headers={"Authorization": f"Bearer {provider.token()}"})

    assert (answer.status_code, answer.text) == (200, "batch-RS256 by bearer")
