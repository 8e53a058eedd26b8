"""Basic with real programs: names and passwords outside ASCII, and the answer to a challenge."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from requests.auth import HTTPBasicAuth

from tests.integration.accounts import (
    ALICE,
    ANDRE,
    CHALLENGE,
    HTPASSWD,
    JUERGEN,
    Login,
    htpasswd_server,
    new_path,
    records,
)
from tests.integration.basic_clients import (
    CURL,
    WGET,
    Client,
    ClientResult,
    curl,
    curl_anyauth,
    curl_by_url,
    httpx2_,
    httpx2_by_url,
    requests_,
    run_curl,
    run_requests,
    run_wget,
    url_with_login,
    wget,
    wget_by_url,
    wget_unasked,
)
from tests.support.servers.app_server import AppServer, running_servers

pytestmark = [pytest.mark.peer, pytest.mark.skipif(HTPASSWD is None, reason="htpasswd is not here")]
needs_curl = pytest.mark.skipif(CURL is None, reason="curl is not here")
needs_wget = pytest.mark.skipif(WGET is None, reason="wget is not here")


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    with running_servers(htpasswd_server(tmp_path_factory.mktemp("apache"))) as (server,):
        yield server


def recorded(subject: str) -> str:
    """The subject as a record shows it: quoted if it is not plain ASCII."""
    return subject if subject.isascii() else f'"{subject}"'


UNASKED = [
    *(pytest.param(client, marks=needs_curl, id=client.__name__) for client in (curl, curl_by_url)),
    pytest.param(wget_unasked, marks=needs_wget, id="wget_unasked"),
    *(pytest.param(client, id=client.__name__.rstrip("_")) for client in (httpx2_, httpx2_by_url, requests_)),
]
# curl and wget learn the scheme, and that it expects UTF-8, from the 401.
ASKED = [
    pytest.param(curl_anyauth, marks=needs_curl, id="curl_anyauth"),
    *(pytest.param(client, marks=needs_wget, id=client.__name__) for client in (wget, wget_by_url)),
]
LOGINS = [
    pytest.param(ALICE, "alice", id="ascii"),
    pytest.param(JUERGEN, "jürgen", id="utf-8"),
    pytest.param(JUERGEN.decomposed, "jürgen", id="decomposed"),
]


@pytest.mark.parametrize(("login", "subject"), LOGINS)
@pytest.mark.parametrize("client", UNASKED)
def test_a_preemptive_client_is_accepted(server: AppServer, client: Client, login: Login, subject: str) -> None:
    """A client that sends its password at once gets a 200, in either normal form of Unicode."""
    path = new_path()

    result = client(server, path, login)

    assert (result.status, json.loads(result.body)["by"]) == (200, subject)
    assert records(server, path, "granted: GET") == [f"DEBUG granted: GET basic {recorded(subject)}"]


@pytest.mark.parametrize(("login", "subject"), LOGINS)
@pytest.mark.parametrize("client", ASKED)
def test_a_client_answers_the_challenge(server: AppServer, client: Client, login: Login, subject: str) -> None:
    """A client that waits for the 401 is accepted after it. The 401 is recorded as missing credentials, not as a
    guess."""
    path = new_path()

    result = client(server, path, login)

    assert (result.status, json.loads(result.body)["by"]) == (200, subject)
    assert records(server, path, "granted: GET") == [
        "INFO denied credentials.missing: GET 401",
        f"DEBUG granted: GET basic {recorded(subject)}",
    ]


# The eleventh wrong password of a name and address is a 429, and the twenty-first record of a kind is aggregated.
@pytest.mark.parametrize("client", [*UNASKED, *ASKED])
def test_a_wrong_password_is_challenged_again(server: AppServer, client: Client) -> None:
    """A wrong password is a 401 with a challenge for UTF-8, and the record marks the name as not authenticated."""
    path = new_path()

    result = client(server, path, JUERGEN.wrong)

    assert (result.status, result.challenge) == (401, CHALLENGE)
    assert records(server, path, "denied password.wrong: GET")[-1] == (
        'WARNING denied password.wrong: GET 401 basic subject?="jürgen"'
    )


@pytest.mark.parametrize(
    "post",
    [
        pytest.param(lambda url, body: run_curl(url, "--anyauth", "--data", body), marks=needs_curl, id="curl_anyauth"),
        pytest.param(lambda url, body: run_wget(url, b"--post-data=" + body), marks=needs_wget, id="wget"),
    ],
)
def test_a_post_that_was_challenged_is_posted_again_with_its_body(
    server: AppServer, post: Callable[[str, bytes], ClientResult]
) -> None:
    """After a 401 to a POST, the connection still works, and the second POST has the whole body."""
    path, body = new_path(), "bestellung=" + "ü" * 20_000

    result = post(url_with_login(server, path, JUERGEN), body.encode())

    assert (result.status, json.loads(result.body)) == (200, {"by": "jürgen", "body": body})
    assert records(server, path, "granted: POST") == [
        "INFO denied credentials.missing: POST 401",
        'DEBUG granted: POST basic "jürgen"',
    ]


def test_requests_cannot_send_a_str_outside_latin_1(server: AppServer) -> None:
    """The library requests raises before it sends anything. Users have to pass bytes, as ``basic_clients`` does."""
    with pytest.raises(UnicodeEncodeError, match="latin-1"):
        run_requests(server.url + new_path(), HTTPBasicAuth(*JUERGEN))


LATIN_1 = [part.encode("latin-1") for part in ANDRE]


@pytest.mark.parametrize(
    "client",
    [
        pytest.param(lambda server, path: run_requests(server.url + path, HTTPBasicAuth(*ANDRE)), id="requests"),
        pytest.param(
            lambda server, path: run_curl(server.url + path, "--user", b":".join(LATIN_1)), marks=needs_curl, id="curl"
        ),
        pytest.param(
            lambda server, path: run_wget(server.url + path, b"--user=" + LATIN_1[0], b"--password=" + LATIN_1[1]),
            marks=needs_wget,
            id="wget",
        ),
    ],
)
def test_a_password_in_latin_1_is_a_clean_401(
    server: AppServer, client: Callable[[AppServer, str], ClientResult]
) -> None:
    """Credentials that are not UTF-8 are a 401 with a challenge for UTF-8, and the record says why."""
    path = new_path()

    result = client(server, path)

    assert (result.status, result.challenge) == (401, CHALLENGE)
    assert records(server, path, "denied credentials.malformed: GET")[-1] == (
        'WARNING denied credentials.malformed: GET 401 basic problem="the user-pass is not UTF-8"'
    )


def test_the_same_password_in_utf_8_is_accepted(server: AppServer) -> None:
    """The password that was rejected in Latin-1 is accepted in UTF-8."""
    assert requests_(server, new_path(), ANDRE).status == 200
