"""Servers behind Digest, and the records of their responses."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import httpx2

from tests.integration.accounts import Login
from tests.integration.apps.common import DIGEST_ALGORITHMS, DIGEST_QOP, DIGEST_SECRET
from tests.integration.digest_clients import Client, Step
from tests.support.servers.app_server import AppServer, running_servers

#: The life of a nonce, in seconds.
LIFE = 300
SECRET = {DIGEST_SECRET: "a secret that has at least 32 octets"}
SETTINGS = {
    "SHA-256": {},
    "MD5": {DIGEST_ALGORITHMS: "MD5"},
    "SHA-256, MD5": {DIGEST_ALGORITHMS: "SHA-256 MD5"},
    "auth, auth-int": {DIGEST_QOP: "auth auth-int"},
}

CHALLENGED, STALE, GRANTED = "401 credentials.missing", "401 nonce.stale stale", "200 granted"
REPLAYED, UNKNOWN = "401 nonce.replayed stale", "401 nonce.unknown stale"
WRONG, MALFORMED = "401 response.wrong", "401 credentials.malformed"

_numbers = itertools.count(1)


class ServerRecord(NamedTuple):
    """How a request was answered: the status, the reason, and whether with ``stale=true``."""

    target: str
    said: str
    #: The algorithm and the qop, if the request has them.
    chosen: tuple[str, ...]


def new_folder() -> str:
    """A folder that no test has used yet."""
    return f"/mine/{next(_numbers)}"


def server_records(server: AppServer) -> list[ServerRecord]:
    """The records of a server since they were last read."""
    found = httpx2.get(f"{server.url}/records", trust_env=False, timeout=20).json()
    return [ServerRecord(target, said.removesuffix(" nextnonce"), tuple(chosen)) for target, said, *chosen in found]


def advance_clock(server: AppServer, seconds: float) -> None:
    """Move the clock of a server forward."""
    httpx2.get(f"{server.url}/advance/{seconds}", trust_env=False, timeout=20).raise_for_status()


class DigestServers(NamedTuple):
    """Servers with different settings."""

    servers: dict[str, AppServer]

    def run_client(
        self, offered: str, client: Client, login: Login, *steps: Step
    ) -> tuple[list[dict[str, str]], list[ServerRecord]]:
        """The responses that a client got, and the records of the server. ``{}`` in a target becomes a new folder."""
        server, here = self.servers[offered], new_folder()
        # Long enough for the throttle to forget earlier guesses.
        advance_clock(server, 3600)
        bodies = client(server.url, login, [step._replace(target=step.target.format(here)) for step in steps])
        records = server_records(server)
        assert all(here in one.target for one in records)
        return [json.loads(body) for body in bodies], records


@contextmanager
def running_digest_servers(*offered: str) -> Iterator[DigestServers]:
    """Run a server for each of these ``SETTINGS``."""
    with running_servers(
        *(partial(AppServer, "digest:app", **SECRET, **SETTINGS[name]) for name in offered)
    ) as servers:
        yield DigestServers(dict(zip(offered, servers, strict=True)))
