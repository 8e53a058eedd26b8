"""Digest with real programs: how many 401s each of them gets, and what it can and cannot do."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.integration.accounts import ALICE, JUERGEN
from tests.integration.digest_clients import (
    CURL,
    DIGEST_FETCH,
    JAVA,
    LWP,
    WGET,
    Client,
    Step,
    aiohttp_,
    curl,
    curl_anyauth,
    digest_fetch,
    digest_fetch_md5,
    httpx2_,
    java,
    java_validating,
    lwp,
    requests_,
    urllib_,
    wget,
)
from tests.integration.digest_servers import (
    CHALLENGED,
    GRANTED,
    LIFE,
    MALFORMED,
    STALE,
    WRONG,
    DigestServers,
    running_digest_servers,
)
from tests.integration.strict_digest_client import strict_client

pytestmark = pytest.mark.peer

#: The 401s before the response to each request of ``DAY``: "a" for a request without credentials, "s" for a stale
#: nonce, "." for none. A nonce expires five times: in the two gaps, and at the fourth, the eighth and the twelfth of
#: the last requests, which are 80 seconds apart. Those gaps are too short to miss nextnonce.
KEEPS = "a... s s ...s ...s ...s"
HONOURS = "a... s s .... .... ...."
FORGETS = "aaaa a a aaaa aaaa aaaa"

BODY = "bestellung=" + "ü" * 20_000
DAY = [
    Step("{}/first.txt"),
    Step("{}/again.txt"),
    Step("{}/a%2Fb.txt?x=%20y&z=a/b&%C3%BC=%c3%bc&&"),
    Step("{}/posted.txt", BODY),
    Step(f"/advance/{LIFE + 100}"),
    Step("{}/aged.txt"),
    Step(f"/advance/{LIFE + 100}"),
    Step("{}/aged-and-posted.txt", BODY),
    *(step for number in range(12) for step in (Step("/advance/80"), Step(f"{{}}/watched-{number}.txt"))),
]


class Row(NamedTuple):
    """What a client does by itself. If versions differ, both values are listed."""

    client: Client
    offered: str = "SHA-256"
    day: str = KEEPS
    #: How often the client sends a wrong password before it gives up.
    guesses: int = 1
    #: The result for a name outside ASCII.
    beyond_ascii: tuple[str, ...] = (GRANTED,)
    #: The algorithm that the client chooses if SHA-256 is offered, and MD5 after it.
    of_both: tuple[str, ...] = ("SHA-256",)


def needs(program: object, name: str) -> pytest.MarkDecorator:
    """Skip the test if the program is not installed."""
    return pytest.mark.skipif(not program, reason=f"{name} is not here")


_CURL, _WGET, _LWP = needs(CURL, "curl"), needs(WGET, "wget"), needs(LWP, "lwp-request")
_JAVA, _DIGEST_FETCH = needs(JAVA, "java"), needs(DIGEST_FETCH, "digest-fetch")
# Java asks its Authenticator until that returns nothing, and the one of these tests always returns the password, so the
# throttle stops it. Java writes names in UTF-8, and digests them in Latin-1.
_JAVAS = Row(java, guesses=10, beyond_ascii=(WRONG, GRANTED), of_both=("MD5", "SHA-256"))
TABLE = [
    # Each URL of a command line is a session of its own. For several requests in a session, see the redirects below.
    pytest.param(Row(curl, day=FORGETS), id="curl", marks=_CURL),
    pytest.param(Row(curl_anyauth, day=FORGETS), id="curl_anyauth", marks=_CURL),
    pytest.param(Row(wget, "MD5", FORGETS, of_both=("MD5",)), id="wget", marks=_WGET),
    pytest.param(Row(lwp, "MD5", of_both=("MD5",)), id="lwp", marks=_LWP),
    pytest.param(_JAVAS, id="java", marks=_JAVA),
    pytest.param(_JAVAS._replace(client=java_validating, day=HONOURS), id="java_validating", marks=_JAVA),
    # digest-fetch uses the configured algorithm with any nonce. It sends names in Latin-1.
    pytest.param(Row(digest_fetch, beyond_ascii=(MALFORMED,)), id="digest_fetch", marks=_DIGEST_FETCH),
    pytest.param(
        Row(digest_fetch_md5, "MD5", beyond_ascii=(MALFORMED,), of_both=("MD5",)),
        id="digest_fetch_md5",
        marks=_DIGEST_FETCH,
    ),
    pytest.param(Row(httpx2_), id="httpx2"),
    # It joins all challenges, so that the last nonce and the last algorithm win. It sends names in Latin-1.
    pytest.param(Row(requests_, beyond_ascii=(MALFORMED,), of_both=("MD5",)), id="requests"),
    pytest.param(Row(aiohttp_), id="aiohttp"),
    # urllib raises for a name outside ASCII, and for a first challenge with SHA-256.
    pytest.param(Row(urllib_, "MD5", FORGETS, 6, (CHALLENGED, GRANTED), ("", "SHA-256")), id="urllib"),
    pytest.param(Row(strict_client, day=HONOURS), id="honouring"),
]


@pytest.fixture(name="stage", scope="module")
def _stage() -> Iterator[DigestServers]:
    with running_digest_servers("SHA-256", "MD5", "SHA-256, MD5") as stage:
        yield stage


@pytest.mark.parametrize("row", TABLE)
def test_a_client_gets_its_usual_401s_and_one_for_each_expired_nonce(stage: DigestServers, row: Row) -> None:
    """Every request is answered in the end, with its query unchanged and its body complete."""
    answers, records = stage.run_client(row.offered, row.client, ALICE, *DAY)

    requests = [step for step in DAY if step.target.startswith("{}")]
    said_before = {"a": [CHALLENGED], "s": [STALE], ".": []}
    groups = [(target, list(group)) for target, group in itertools.groupby(records, key=lambda one: one.target)]
    assert [[one.said for one in group] for _, group in groups] == [
        [*said_before[before], GRANTED] for before in row.day.replace(" ", "")
    ]
    # urllib3 writes percent-escapes in upper case.
    asked_for = [target.partition("/mine/")[2].partition("/")[2].lower() for target, _ in groups]
    assert asked_for == [step.target.removeprefix("{}/").lower() for step in requests]
    bodies = [answer for answer in answers if "later" not in answer]
    assert bodies == [{"by": "alice", "body": step.body or ""} for step in requests]


@pytest.mark.parametrize("row", [row for row in TABLE if row.id != "java_validating"])
def test_a_name_outside_ascii_is_accepted_or_a_401(stage: DigestServers, row: Row) -> None:
    """Some programs cannot send such a name. The table lists the result, which is never worse than a 401."""
    answers, records = stage.run_client(row.offered, row.client, JUERGEN, Step("{}/name.txt"))

    responses = [one.said for one in records]
    assert responses[0] == CHALLENGED
    assert responses[1 if len(responses) > 1 else 0] in row.beyond_ascii
    assert (answers == [{"by": "jürgen", "body": ""}]) is (responses[-1] == GRANTED)


@pytest.mark.parametrize("row", [row for row in TABLE if row.id != "java_validating"])
def test_a_wrong_password_is_never_stale(stage: DigestServers, row: Row) -> None:
    """RFC 7616 section 3.3: a stale 401 would make a client retry a wrong password without asking its user."""
    _, records = stage.run_client(row.offered, row.client, ALICE.wrong, Step("{}/wrong.txt"))

    responses = [one.said for one in records]
    assert responses[: row.guesses + 1] == [CHALLENGED, *[WRONG] * row.guesses]
    assert responses[row.guesses + 1 :] in ([], ["429 attempts.exceeded"])


@pytest.mark.parametrize("row", [row for row in TABLE if row.id != "java_validating"])
def test_md5_after_sha_256_serves_old_clients(stage: DigestServers, row: Row) -> None:
    """Most clients choose SHA-256. Some choose MD5 although they know better, and urllib reads only the first
    challenge."""
    _, records = stage.run_client("SHA-256, MD5", row.client, ALICE, Step("{}/both.txt"))

    assert "".join(records[-1].chosen[:1]) in row.of_both
    assert (records[-1].said == GRANTED) is bool(records[-1].chosen)
