"""Programs that speak Digest: each takes some steps in one session, and returns the responses."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias
from urllib.error import HTTPError

import aiohttp
import httpx2
import requests
from requests.auth import HTTPDigestAuth
from yarl import URL

from tests.integration.accounts import Login
from tests.support.servers.app_server import ROOT
from tests.support.servers.node import NODE, NODE_MODULES, has_package

CURL, WGET = shutil.which("curl"), shutil.which("wget")
LWP = shutil.which("lwp-request") and shutil.which("perl")
# Java runs the program from its source.
JAVA = shutil.which("javac") and shutil.which("java")
DIGEST_FETCH = has_package("digest-fetch")

_PEERS = ROOT / "tests" / "peers"
_NOT_LET_IN = 6  # the exit status of wget for a failed login


class Step(NamedTuple):
    """A GET, or a POST if there is a body."""

    target: str
    body: str | None = None

    @property
    def encoded_body(self) -> bytes | None:
        """The body as it is sent."""
        return None if self.body is None else self.body.encode()


#: ``client(url, login, steps)`` returns the bodies of the responses. An exception becomes ``{"error": ...}``.
Client: TypeAlias = Callable[[str, Login, Sequence[Step]], list[str]]


def _error(error: Exception) -> str:
    return json.dumps({"error": type(error).__name__})


def _run(command: Sequence[str | bytes | Path], said: str = "", fails: int = 0) -> list[str]:
    done = subprocess.run(command, input=said.encode(), capture_output=True, timeout=300, check=False)
    assert done.returncode in {0, fails}, done.stderr.decode()
    return done.stdout.decode().splitlines()


def _peer_input(url: str, login: Login, steps: Sequence[Step], algorithm: str = "", together: str = "") -> str:
    """The input of the programs in ``tests/peers``."""
    taken = ["\t".join(part for part in step if part is not None) for step in steps]
    return "".join(f"{line}\n" for line in (url, *login, algorithm, together, *taken))


def _curl(*options: str) -> Client:
    def client(url: str, login: Login, steps: Sequence[Step]) -> list[str]:
        assert CURL is not None
        common = [*options, "--silent", "--noproxy", "*", "--max-time", "20", "--write-out", "\n"]
        command: list[str | bytes] = [CURL, "-q"]
        for step in steps:
            data = [] if step.body is None else ["--data", step.body]
            command += ["--next", *common, "--user", ":".join(login).encode(), *data, url + step.target]
        return _run(command)

    return client


curl, curl_anyauth, curl_location = _curl("--digest"), _curl("--anyauth"), _curl("--digest", "--location")


def wget(url: str, login: Login, steps: Sequence[Step]) -> list[str]:
    """One run for consecutive steps with the same body, or without one."""
    assert WGET is not None
    quiet = ["--no-config", "--no-proxy", "--no-netrc", "--tries=1", "--timeout=20", "--quiet", "--output-document=-"]
    who = [b"--user=" + login.name.encode(), b"--password=" + login.password.encode()]
    found: list[str] = []
    for body, alike in itertools.groupby(steps, lambda step: step.body):
        data = [] if body is None else ["--post-data", body]
        urls = [url + step.target for step in alike]
        # The documents follow each other directly, and a failed login has none.
        found += (
            "\n".join(_run([WGET, *quiet, *who, *data, *urls], fails=_NOT_LET_IN)).replace("}{", "}\n{").splitlines()
        )
    return found


def lwp(url: str, login: Login, steps: Sequence[Step]) -> list[str]:
    assert LWP
    return _run([LWP, _PEERS / "digest.pl"], _peer_input(url, login, steps))


def _java(together: str = "", *options: str) -> Client:
    def client(url: str, login: Login, steps: Sequence[Step]) -> list[str]:
        assert JAVA is not None
        # From version 20 on MD5 has to be enabled. For one run the compiler need not optimize.
        command = [JAVA, "-XX:TieredStopAtLevel=1", "-Dhttp.auth.digest.reEnabledAlgorithms=MD5", *options]
        return _run([*command, _PEERS / "Digest.java"], _peer_input(url, login, steps, together=together))

    return client


java, java_validating = _java(), _java("", "-Dhttp.auth.digest.validateServer=true")
java_together = _java("together")


def _digest_fetch(algorithm: str, together: str = "") -> Client:
    def client(url: str, login: Login, steps: Sequence[Step]) -> list[str]:
        stdin = _peer_input(url, login, steps, algorithm, together)
        return _run([NODE, _PEERS / "node" / "digest.mjs", NODE_MODULES], stdin)

    return client


digest_fetch, digest_fetch_md5 = _digest_fetch("SHA-256"), _digest_fetch("MD5")
digest_fetch_together = _digest_fetch("SHA-256", "together")


def httpx2_(url: str, login: Login, steps: Sequence[Step]) -> list[str]:
    with httpx2.Client(auth=httpx2.DigestAuth(*login), trust_env=False, timeout=20) as client:
        return [client.request("POST" if body else "GET", url + target, content=body).text for target, body in steps]


def httpx2_together(url: str, login: Login, steps: Sequence[Step]) -> list[str]:
    async def take() -> list[str]:
        async with httpx2.AsyncClient(auth=httpx2.DigestAuth(*login), trust_env=False, timeout=20) as client:
            first = await client.get(url + steps[0].target)
            others = await asyncio.gather(*(client.get(url + step.target) for step in steps[1:]))
            return [answer.text for answer in (first, *others)]

    return asyncio.run(take())


def requests_(url: str, login: Login, steps: Sequence[Step]) -> list[str]:
    with requests.Session() as session:
        session.trust_env = False
        session.auth = HTTPDigestAuth(*login)
        answers = (
            session.request("POST" if step.body else "GET", url + step.target, data=step.encoded_body, timeout=20)
            for step in steps
        )
        return [answer.text for answer in answers]


def _aiohttp(*, together: bool = False) -> Client:
    def client(url: str, login: Login, steps: Sequence[Step]) -> list[str]:
        async def take() -> list[str]:
            middleware = aiohttp.DigestAuthMiddleware(*login)
            async with aiohttp.ClientSession(middlewares=(middleware,), timeout=aiohttp.ClientTimeout(20)) as session:

                async def one(step: Step) -> str:
                    method = "POST" if step.body else "GET"
                    # yarl would change some percent-escapes.
                    target = URL(url + step.target, encoded=True)
                    async with session.request(method, target, data=step.body) as answer:
                        return await answer.text()

                if together:
                    return [await one(steps[0]), *await asyncio.gather(*map(one, steps[1:]))]
                return [await one(step) for step in steps]

        return asyncio.run(take())

    return client


aiohttp_, aiohttp_together = _aiohttp(), _aiohttp(together=True)


def urllib_(url: str, login: Login, steps: Sequence[Step]) -> list[str]:
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, url, *login)
    handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPDigestAuthHandler(passwords)
    opener = urllib.request.build_opener(*handlers)

    def one(step: Step) -> str:
        try:
            with opener.open(url + step.target, step.encoded_body, timeout=20) as answer:
                return str(answer.read().decode())
        except HTTPError as error:
            with error:
                return _error(error)
        except ValueError as error:  # urllib raises for what it does not support
            return _error(error)

    return [one(step) for step in steps]
