"""Digest in sessions of real programs: parallel requests, redirects, protected bodies, and a new secret."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial

import httpx2
import pytest

from tests.integration.accounts import ALICE
from tests.integration.apps.common import DIGEST_SECRET
from tests.integration.digest_clients import (
    CURL,
    DIGEST_FETCH,
    JAVA,
    Client,
    Step,
    aiohttp_,
    aiohttp_together,
    curl_location,
    digest_fetch_together,
    httpx2_together,
    java_together,
)
from tests.integration.digest_servers import (
    CHALLENGED,
    GRANTED,
    LIFE,
    REPLAYED,
    STALE,
    UNKNOWN,
    DigestServers,
    new_folder,
    running_digest_servers,
    server_records,
)
from tests.support.servers.app_server import AppServer, running_servers

pytestmark = pytest.mark.peer

FIRST, OTHERS = Step("{}/first.txt"), [Step(f"{{}}/{number}.txt") for number in range(20)]
SEEN = {"by": "alice", "body": ""}


@pytest.fixture(name="stage", scope="module")
def _stage() -> Iterator[DigestServers]:
    with running_digest_servers("SHA-256", "auth, auth-int") as stage:
        yield stage


@pytest.mark.parametrize(
    "client",
    [
        pytest.param(aiohttp_together, id="aiohttp"),
        pytest.param(httpx2_together, id="httpx2"),
        pytest.param(java_together, id="java", marks=pytest.mark.skipif(JAVA is None, reason="java is not here")),
    ],
)
def test_requests_that_are_sent_at_once_share_a_nonce(stage: DigestServers, client: Client) -> None:
    """Parallel requests, each with its own count, are accepted in any order without a 401."""
    answers, records = stage.run_client("SHA-256", client, ALICE, FIRST, *OTHERS)

    assert answers == [SEEN] * 21
    assert Counter(one.said for one in records) == {CHALLENGED: 1, GRANTED: 21}


@pytest.mark.skipif(not DIGEST_FETCH, reason="digest-fetch is not here")
def test_requests_at_once_that_share_a_count_are_sent_again_with_another(stage: DigestServers) -> None:
    """Parallel requests of digest-fetch share a count. All but one are stale replays, and it retries them."""
    answers, records = stage.run_client("SHA-256", digest_fetch_together, ALICE, FIRST, *OTHERS)

    assert answers == [SEEN] * 21
    assert Counter(one.said for one in records) == {CHALLENGED: 1, REPLAYED: 19, GRANTED: 21}


@pytest.mark.skipif(CURL is None, reason="curl is not here")
def test_curl_keeps_its_nonce_as_long_as_it_follows_redirects(stage: DigestServers) -> None:
    """Curl is challenged once for each URL on its command line. A nonce that expires on the way costs one round
    trip."""
    steps = Step("/moved/0{}/soon.txt"), Step(f"/moved/{LIFE + 1}{{}}/late.txt")

    answers, records = stage.run_client("SHA-256", curl_location, ALICE, *steps)

    assert answers[-2:] == [SEEN, SEEN]
    assert [one.said for one in records] == [
        CHALLENGED,
        "307 granted",
        GRANTED,
        CHALLENGED,
        "307 granted",
        STALE,
        GRANTED,
    ]


def test_aiohttp_protects_the_body_if_that_is_offered(stage: DigestServers) -> None:
    """Aiohttp chooses auth-int for every request, and the app still gets the whole body."""
    body = "bestellung=" + "ü" * 20_000

    answers, records = stage.run_client("auth, auth-int", aiohttp_, ALICE, FIRST, Step("{}/posted.txt", body))

    assert answers == [SEEN, {"by": "alice", "body": body}]
    assert [(one.said, *one.chosen) for one in records] == [
        (CHALLENGED,),
        (GRANTED, "SHA-256", "auth-int"),
        (GRANTED, "SHA-256", "auth-int"),
    ]


def test_a_new_secret_prompts_nobody(stage: DigestServers) -> None:
    """A nonce of the old secret is stale, and the client answers with the next one at once."""
    first = stage.servers["SHA-256"]
    with (
        running_servers(
            partial(AppServer, "digest:app", **{DIGEST_SECRET: "another secret that has at least 32 octets"})
        ) as (new,),
        httpx2.Client(auth=httpx2.DigestAuth(*ALICE), trust_env=False, timeout=20) as client,
    ):
        here = new_folder()
        assert client.get(f"{first.url}{here}/old").status_code == 200

        answers = [client.get(f"{new.url}{here}/{number}") for number in range(3)]

        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert [one.said for one in server_records(new)] == [UNKNOWN, GRANTED, GRANTED, GRANTED]
        assert [one.said for one in server_records(first)] == [CHALLENGED, GRANTED]
