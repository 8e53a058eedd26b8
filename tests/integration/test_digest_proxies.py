"""Digest behind nginx: a client digests the target that it sees, which a proxy may change for the app."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import httpx2
import pytest

from tests.integration.accounts import ALICE
from tests.integration.apps.common import DIGEST_PREFIX
from tests.integration.digest_clients import CURL, Client, Step, aiohttp_, curl, httpx2_, requests_
from tests.integration.digest_servers import (
    CHALLENGED,
    GRANTED,
    LIFE,
    SECRET,
    STALE,
    advance_clock,
    new_folder,
    server_records,
)
from tests.integration.nginx import NGINX, running_nginx
from tests.support.servers.app_server import AppServer, running_servers

pytestmark = [pytest.mark.peer, pytest.mark.skipif(NGINX is None, reason="nginx is not here")]

#: With a variable, nginx passes the target on unchanged. Otherwise it decodes it, and encodes some characters again.
AS_SENT = r"map $request_uri $below_api { ~^/api(?<below>/.*)$ $below; }"
PLAIN, ENCODED = "a.txt?x=%20y&z=a/b&%C3%BC=%c3%bc&&", "a%2Fb.txt?x=%2F"


class ProxyStage(NamedTuple):
    """The servers behind the proxy, and its URLs."""

    pair: list[AppServer]
    prefixed: AppServer
    rooted: AppServer
    #: The proxy of the pair, and of two servers whose prefix /api is removed, from the raw and from the decoded target.
    balanced: str
    as_sent: str
    as_nginx_has_it: str
    to_rooted: str


@pytest.fixture(name="stage", scope="module")
def _stage() -> Iterator[ProxyStage]:
    one = partial(AppServer, "digest:app", **SECRET)
    with running_servers(
        one, one, partial(one, **{DIGEST_PREFIX: "/api"}), partial(one, "--root-path", "/api")
    ) as servers:
        first, second, prefixed, rooted = servers
        hosts = [f"127.0.0.1:{server.port}" for server in servers]
        shared = f"upstream pair {{ server {hosts[0]}; server {hosts[1]}; }} {AS_SENT}"
        with running_nginx(
            "location / { proxy_pass http://pair; } location /api/ { proxy_pass http://pair$below_api; }",
            f"location /api/ {{ proxy_pass http://{hosts[2]}$below_api; }}",
            f"location /api/ {{ proxy_pass http://{hosts[2]}/; }}",
            f"location /api/ {{ proxy_pass http://{hosts[3]}/; }}",
            shared=shared,
        ) as urls:
            yield ProxyStage([first, second], prefixed, rooted, *urls)


CLIENTS = [
    pytest.param(curl, id="curl", marks=pytest.mark.skipif(CURL is None, reason="curl is not here")),
    pytest.param(httpx2_, id="httpx2"),
    pytest.param(requests_, id="requests"),
    pytest.param(aiohttp_, id="aiohttp"),
]


def test_processes_with_one_secret_accept_each_others_nonces(stage: ProxyStage) -> None:
    """Two processes answer in turn: one 401 in all, and one more when the nonce has expired."""
    here = new_folder()
    with httpx2.Client(auth=httpx2.DigestAuth(*ALICE), trust_env=False, timeout=20) as client:
        for _ in range(2):
            answers = [client.get(f"{stage.balanced}{here}/{number}.txt") for number in range(10)]
            assert [answer.status_code for answer in answers] == [200] * 10
            for server in stage.pair:
                advance_clock(server, LIFE + 1)

    records = [[one.said for one in server_records(server)] for server in stage.pair]
    assert sorted(records[0] + records[1]) == sorted([CHALLENGED, STALE, *[GRANTED] * 20])
    assert min(map(len, records)) == 11


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("target", [PLAIN, ENCODED], ids=["plain", "encoded"])
def test_a_proxy_that_changes_nothing_needs_nothing(stage: ProxyStage, client: Client, target: str) -> None:
    """``proxy_pass`` without a path passes the target on unchanged."""
    answers = client(
        stage.balanced, ALICE, [Step(f"{new_folder()}/{target}"), Step(f"{new_folder()}/posted.txt", "a=b")]
    )

    for server in stage.pair:
        server_records(server)
    assert answers == ['{"by":"alice","body":""}', '{"by":"alice","body":"a=b"}']


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("target", [PLAIN, ENCODED], ids=["plain", "encoded"])
def test_a_prefix_that_the_proxy_removes_is_configured(stage: ProxyStage, client: Client, target: str) -> None:
    """With ``public_prefix`` the uri is what the client sent, percent-escapes included."""
    answers = client(stage.as_sent, ALICE, [Step(f"/api{new_folder()}/{target}")])

    assert answers == ['{"by":"alice","body":""}']
    # urllib3 writes percent-escapes in upper case.
    assert server_records(stage.prefixed)[-1].target.lower().endswith(f"/{target}".lower())


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("url", ["as_nginx_has_it", "to_rooted"])
def test_what_nginx_decodes_is_another_uri(stage: ProxyStage, client: Client, url: str) -> None:
    """``proxy_pass`` with a path works for targets that nginx passes on unchanged. An encoded slash is a 400."""
    steps = [Step(f"/api{new_folder()}/{target}") for target in (PLAIN, ENCODED)]

    answers = client(getattr(stage, url), ALICE, steps)

    assert answers[0] == '{"by":"alice","body":""}'
    records = server_records(stage.rooted if url == "to_rooted" else stage.prefixed)
    assert records[-1].said == "400 uri.mismatch"
    assert "%2F" not in records[-1].target.partition("?")[0]


def test_without_the_prefix_every_uri_is_another(stage: ProxyStage) -> None:
    """Without ``public_prefix`` every request is a 400, and not another 401, because the password was right."""
    (answer,) = httpx2_(stage.balanced, ALICE, [Step(f"/api{new_folder()}/a.txt")])

    assert json.loads(answer)["status"] == 400
    assert {one.said for server in stage.pair for one in server_records(server)} == {CHALLENGED, "400 uri.mismatch"}
