"""Two workers of uvicorn and a real server: of many equal requests with one proof, one passes."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from authguard.testing import DpopKey
from tests.integration.apps.common import PUBLIC_URL, REDIS
from tests.support.servers.app_server import TIMEOUT, AppServer, app_token, running_servers

pytestmark = pytest.mark.peer

URL = "https://api.example"
#: How often, with a proof of its own each time.
TIMES = 20
AT_ONCE = 20


def race(ports: list[int]) -> list[Counter[int]]:
    """How often each status was answered, for each of so many proofs."""
    now, key = time.time(), DpopKey()
    token = app_token(iat=now - 60, exp=now + 600, cnf=key.cnf)
    found: list[Counter[int]] = []
    with httpx2.Client(trust_env=False, timeout=TIMEOUT) as client, ThreadPoolExecutor(AT_ONCE) as threads:

        def send(headers: dict[str, str], which: int) -> httpx2.Response:
            return client.get(f"http://127.0.0.1:{ports[which % len(ports)]}/orders", headers=headers)

        # The first proof that is claimed begins the epoch of the server, and its answer has a nonce of it, which both
        # workers accept.
        nonce: str | None = None
        for _ in range(2):
            nonce = send(key.headers(token, "GET", f"{URL}/orders", nonce=nonce), 0).headers["dpop-nonce"]
        for _ in range(TIMES):
            headers = key.headers(token, "GET", f"{URL}/orders", nonce=nonce)
            answers = list(threads.map(lambda which, sent=headers: send(sent, which), range(AT_ONCE)))
            found.append(Counter(answer.status_code for answer in answers))
    return found


def test_of_20_equal_requests_at_two_workers_one_passes(redis_url: str) -> None:
    """Twenty times: half of the requests go to each worker, side by side."""

    def start() -> AppServer:
        return AppServer("shared_proofs:app", **{REDIS: redis_url, PUBLIC_URL: URL})

    with running_servers(start, start) as workers:
        found = race([worker.port for worker in workers])

    assert found == [Counter({200: 1, 401: AT_ONCE - 1})] * TIMES
