"""Real programs that need an option for old clients: by themselves, or because their challenge has no ``qop``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import requests

from tests.integration.accounts import ALICE, ANDRE, Login
from tests.integration.apps.old_clients import KEY
from tests.integration.basic_clients import CURL, WGET, run_curl, run_wget
from tests.integration.digest_clients import (
    DIGEST_FETCH,
    LWP,
    Client,
    Step,
    aiohttp_,
    curl,
    digest_fetch_md5,
    httpx2_,
    lwp,
    requests_,
    urllib_,
    wget,
)
from tests.support.servers.app_server import AppServer, running_servers

pytestmark = pytest.mark.peer
needs_curl = pytest.mark.skipif(CURL is None, reason="curl is not here")
needs_wget = pytest.mark.skipif(WGET is None, reason="wget is not here")
needs_lwp = pytest.mark.skipif(not LWP, reason="lwp-request is not here")
needs_digest_fetch = pytest.mark.skipif(not DIGEST_FETCH, reason="digest-fetch is not here")

LATIN1 = {"charset": "ISO-8859-1"}
CHALLENGED, NO_QOP, STALE = ["credentials.missing", {}], ["granted", {"qop": "none"}], ["nonce.replayed", {}]


@pytest.fixture(name="server", scope="module")
def _server() -> Iterator[AppServer]:
    with running_servers(lambda: AppServer("old_clients:app")) as (server,):
        yield server


def records(server: AppServer) -> list[Any]:
    """The records since they were last read: the reason, and what was tolerated."""
    answer = httpx2.get(f"{server.url}/records", trust_env=False, timeout=20).json()
    assert isinstance(answer, list)
    return answer


DIGEST_CLIENTS = [
    pytest.param(curl, id="curl", marks=needs_curl),
    pytest.param(wget, id="wget", marks=needs_wget),
    pytest.param(lwp, id="lwp", marks=needs_lwp),
    pytest.param(digest_fetch_md5, id="digest-fetch", marks=needs_digest_fetch),
    pytest.param(httpx2_, id="httpx2"),
    pytest.param(requests_, id="requests"),
    pytest.param(aiohttp_, id="aiohttp"),
    pytest.param(urllib_, id="urllib"),
]


@pytest.mark.parametrize("client", DIGEST_CLIENTS)
def test_a_client_in_the_form_of_rfc_2069_is_accepted(server: AppServer, client: Client) -> None:
    """R024: a program that finds no ``qop`` answers in the form of RFC 2069, and its response is the expected one."""
    (body,) = client(server.url, ALICE, [Step("/rfc2069")])

    assert (json.loads(body), records(server)) == ({"by": "alice"}, [CHALLENGED, NO_QOP])


@pytest.mark.parametrize("client", [httpx2_, requests_, aiohttp_])
def test_a_session_in_the_form_of_rfc_2069_costs_a_401_each_time(server: AppServer, client: Client) -> None:
    """R024: a program that goes on with its nonce gets a 401 with ``stale=true``, and answers that without its user."""
    bodies = client(server.url, ALICE, [Step("/rfc2069")] * 3)

    assert [json.loads(body) for body in bodies] == [{"by": "alice"}] * 3
    said = records(server)
    assert said[:2] == [CHALLENGED, NO_QOP]
    assert [record for record in said[2:] if record not in (CHALLENGED, STALE, NO_QOP)] == []
    assert said.count(NO_QOP) == 3


@pytest.mark.parametrize("client", DIGEST_CLIENTS)
def test_a_client_that_sends_no_opaque_is_accepted(server: AppServer, client: Client) -> None:
    """A program that finds no ``opaque`` sends none, and is accepted with ``missing_opaque``."""
    (body,) = client(server.url, ALICE, [Step("/no-opaque")])

    assert json.loads(body) == {"by": "alice"}
    assert records(server) == [CHALLENGED, ["granted", {"opaque": "none"}]]


@pytest.mark.parametrize("client", DIGEST_CLIENTS)
def test_a_client_that_knows_neither_is_accepted(server: AppServer, client: Client) -> None:
    """R024: several options apply to one request."""
    (body,) = client(server.url, ALICE, [Step("/bare")])

    assert json.loads(body) == {"by": "alice"}
    assert records(server) == [CHALLENGED, ["granted", {"opaque": "none", "qop": "none"}]]


@pytest.mark.parametrize("client", DIGEST_CLIENTS)
def test_a_usual_client_needs_no_option(server: AppServer, client: Client) -> None:
    """Beside the options a program that gets the whole challenge is not tolerated."""
    (body,) = client(server.url, ALICE, [Step("/digest")])

    assert (json.loads(body), records(server)) == ({"by": "alice"}, [CHALLENGED, ["granted", {}]])


LATIN1_DIGEST = [
    pytest.param(requests_, id="requests"),
    pytest.param(digest_fetch_md5, id="digest-fetch", marks=needs_digest_fetch),
]


@pytest.mark.parametrize("client", LATIN1_DIGEST)
def test_a_name_in_iso_8859_1_is_accepted_for_digest(server: AppServer, client: Client) -> None:
    """R020: requests and digest-fetch send the name in ISO-8859-1 and digest it in UTF-8."""
    (body,) = client(server.url, ANDRE, [Step("/digest")])

    assert (json.loads(body), records(server)) == ({"by": "andré"}, [CHALLENGED, ["granted", LATIN1]])


@pytest.mark.parametrize(
    ("client", "tolerated"),
    [
        pytest.param(requests_, {"username": "a backslash"}, id="requests"),
        pytest.param(httpx2_, {"username": "a backslash"}, id="httpx2"),
        pytest.param(aiohttp_, {}, id="aiohttp"),
        pytest.param(curl, {}, id="curl", marks=needs_curl),
    ],
)
def test_a_name_with_a_backslash_is_accepted_for_digest(server: AppServer, client: Client, tolerated: Any) -> None:
    """Requests and httpx2 do not escape the backslash of a Windows name. Curl and aiohttp do."""
    (body,) = client(server.url, Login("DOMAIN\\user", "correct horse"), [Step("/digest")])

    assert (json.loads(body), records(server)) == ({"by": "DOMAIN\\user"}, [CHALLENGED, ["granted", tolerated]])


def _requests(url: str) -> str:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, auth=(ANDRE.name, ANDRE.password), timeout=20).text


def _curl(url: str) -> str:
    return run_curl(url, "--user", ":".join(ANDRE).encode("latin-1")).body


def _wget(url: str) -> str:
    name, password = (part.encode("latin-1") for part in ANDRE)
    return run_wget(url, b"--user=" + name, b"--password=" + password, "--auth-no-challenge").body


@pytest.mark.parametrize(
    "get",
    [
        pytest.param(_requests, id="requests"),
        pytest.param(_curl, id="curl", marks=needs_curl),
        pytest.param(_wget, id="wget", marks=needs_wget),
    ],
)
def test_a_password_in_iso_8859_1_is_accepted_for_basic(server: AppServer, get: Any) -> None:
    """R020: requests encodes a ``str`` in ISO-8859-1; curl and wget send what such a terminal gives them."""
    body = get(f"{server.url}/basic")

    assert (json.loads(body), records(server)) == ({"by": "andré"}, [["granted", LATIN1]])


@needs_curl
@pytest.mark.parametrize(
    ("login", "tolerated"), [(f"{KEY}:", {"password": "empty"}), (f":{KEY}", {"username": "empty"})]
)
def test_an_api_key_of_curl_is_accepted_for_basic(server: AppServer, login: str, tolerated: dict[str, str]) -> None:
    """R021: ``curl -u key:`` sends the key as the name, and ``curl -u :key`` as the password."""
    result = run_curl(f"{server.url}/basic", "--user", login)

    assert (json.loads(result.body), records(server)) == ({"by": "customer"}, [["granted", tolerated]])
