"""What the findings say of clients is true: real clients log in, or do not, with such challenges."""

from __future__ import annotations

import asyncio
import gc
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable

import aiohttp
import httpx2
import pytest
import requests
import requests.auth

from tests.probe.servers import answering, response
from tests.support.servers.browser import PROGRAM, Browser

pytestmark = pytest.mark.peer

BASIC = 'Basic realm="r"'
DIGEST = 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'
ALICE = "alice", "wonderland"


def _urllib(url: str, handler: type[urllib.request.BaseHandler]) -> str:
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, url, *ALICE)
    try:
        with urllib.request.build_opener(handler(passwords)).open(url) as answer:  # type: ignore[call-arg]
            return str(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return str(error.code)
    except ValueError:
        return "an error"


def urllib_basic(url: str) -> str:
    """The status that urllib ends with, by Basic."""
    return _urllib(url, urllib.request.HTTPBasicAuthHandler)


def urllib_digest(url: str) -> str:
    """The status that urllib ends with, by Digest, or that it raises an error."""
    return _urllib(url, urllib.request.HTTPDigestAuthHandler)


def httpx_digest(url: str) -> str:
    """The status that httpx2 ends with, or that it raises an error."""
    try:
        return str(httpx2.get(url, auth=httpx2.DigestAuth(*ALICE), trust_env=False).status_code)
    except NotImplementedError:
        return "an error"


def aiohttp_digest(url: str) -> str:
    """The status that aiohttp ends with."""

    async def get() -> str:
        middleware = aiohttp.DigestAuthMiddleware(*ALICE)
        async with aiohttp.ClientSession(middlewares=(middleware,)) as session, session.get(url) as answer:
            return str(answer.status)

    return asyncio.run(get())


def requests_digest(url: str) -> str:
    """The status that requests ends with."""
    return str(requests.get(url, auth=requests.auth.HTTPDigestAuth(*ALICE), timeout=60).status_code)


def curl_digest(url: str) -> str:
    """The status that curl ends with."""
    command = ["curl", "--silent", "--digest", "--user", ":".join(ALICE), "--output", "/dev/null", "--write-out"]
    return subprocess.run([*command, "%{http_code}", url], capture_output=True, text=True, check=True).stdout


def chromium(url: str) -> str:
    """The status of the page, in a Chromium whose user knows the password."""
    with Browser() as browser:
        page = browser.page()
        page.logins.append(ALICE)
        return str(page.open(url).status)


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")
needs_chromium = pytest.mark.skipif(PROGRAM is None, reason="chromium is not here")


@pytest.mark.parametrize(
    ("client", "lines", "status"),
    [
        # basic.realm
        pytest.param(urllib_basic, ["Basic"], "401", id="urllib, no realm"),
        pytest.param(urllib_basic, [BASIC], "200", id="urllib, a realm"),
        # challenge.joined
        pytest.param(httpx_digest, [f"Negotiate, {DIGEST}"], "401", id="httpx, joined"),
        pytest.param(aiohttp_digest, [f"{BASIC}, {DIGEST}"], "401", id="aiohttp, joined"),
        pytest.param(urllib_digest, [f"{BASIC}, {DIGEST}"], "401", id="urllib, joined"),
        pytest.param(chromium, [f'Newauth realm="r", {BASIC}'], "401", id="chromium, joined", marks=needs_chromium),
        pytest.param(chromium, ['Newauth realm="r"', BASIC], "200", id="chromium, two lines", marks=needs_chromium),
        pytest.param(requests_digest, [f"{BASIC}, {DIGEST}"], "200", id="requests, joined"),
        pytest.param(curl_digest, [f"{BASIC}, {DIGEST}"], "200", id="curl, joined", marks=needs_curl),
        # challenge.order
        pytest.param(aiohttp_digest, [BASIC, DIGEST], "401", id="aiohttp, Digest second"),
        pytest.param(urllib_digest, ["Negotiate", DIGEST], "an error", id="urllib, Digest second"),
        pytest.param(urllib_digest, [BASIC, DIGEST], "401", id="urllib, Digest after Basic"),
        pytest.param(aiohttp_digest, [DIGEST, BASIC], "200", id="aiohttp, Digest first"),
        pytest.param(urllib_digest, [DIGEST, BASIC], "200", id="urllib, Digest first"),
        pytest.param(httpx_digest, [BASIC, DIGEST], "200", id="httpx, Digest second"),
        # digest.qop
        pytest.param(httpx_digest, [DIGEST.replace('"auth"', '"auth-int"')], "an error", id="httpx, auth-int"),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_which_clients_log_in(client: Callable[[str], str], lines: list[str], status: str) -> None:
    """The server takes any credentials for good, so only the challenge decides."""
    refusal = response(401, *(f"WWW-Authenticate: {line}" for line in lines), body="no")
    with answering(lambda head: response(200) if b"\nauthorization: " in head.lower() else refusal) as url:
        assert client(url) == status
    gc.collect()  # urllib leaves the connection open if it raises an error; say so here and not in another test
