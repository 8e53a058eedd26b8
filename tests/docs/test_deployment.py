"""The page about deployment is true: its app starts and reports, and its nginx passes on and counts what it says."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import bcrypt
import httpx2
import pytest
import redis as blocking
from fastapi import FastAPI
from fastapi.testclient import TestClient
from redis.asyncio import Redis

from authguard import (
    AUTHENTICATED,
    PUBLIC,
    BackendUnavailable,
    Bearer,
    Digest,
    DigestAccount,
    Guard,
    Issuer,
    MemoryDigests,
    MemoryNonces,
    Principal,
    RemoteJWKS,
    Revocation,
    Rule,
    digest_ha1,
)
from authguard.fastapi import CurrentPrincipal, docs, install
from authguard.keys import Fetched
from authguard.state import NonceUse
from authguard.state.redis import RedisBackend, RedisNonces, RedisRevocations
from authguard.testing import acting_as, digest_auth
from examples.cluster.processes import find, redis_server
from tests.docs.pages import run_program
from tests.integration.nginx import NGINX, running_nginx
from tests.support.markdown import DOCS, code_blocks
from tests.support.tokens import mint, public_jwk, rsa_key

pytestmark = pytest.mark.block("deployment.md")

PAGE = "deployment"
SERVER, UPGRADE, LIMIT = code_blocks("nginx", DOCS / f"{PAGE}.md")
WORKERS, NONCES, PROGRAM = code_blocks("python", DOCS / f"{PAGE}.md")
ROOT = Path(__file__).parents[2]

needs_redis = pytest.mark.skipif(find("redis-server") is None, reason="redis-server is not here")


# --- Start and health ------------------------------------------------------------------------------------------------


@pytest.fixture(name="orders")
def _orders() -> ModuleType:
    return run_program(PAGE, PROGRAM, "orders")


def key_set() -> bytes:
    """The key set of an issuer whose key signs the tokens of these tests."""
    return json.dumps({"keys": [{**public_jwk(rsa_key()), "kid": "1", "use": "sig", "alg": "RS256"}]}).encode()


def issuer_with(fetch: Any) -> Issuer:
    """An issuer whose keys this function fetches."""
    keys = RemoteJWKS("https://sso.example/keys", fetch=fetch)
    return Issuer("https://login.example/", audience="orders", algorithms=["RS256"], keys=keys)


def test_the_app_does_not_start_without_keys(orders: ModuleType) -> None:
    """``warm()`` in the lifespan of the page keeps the app from starting while no key can be fetched."""

    async def down(url: str) -> bytes:
        raise OSError

    (bearer,) = orders.guard.schemes
    bearer.replace(issuer_with(down))

    with pytest.raises(BackendUnavailable), TestClient(orders.app):
        pass


def test_the_app_starts_and_reports(orders: ModuleType) -> None:
    """With keys the app of the page starts under ``strict``, ``/health`` is open, and the guard's health is not."""

    async def up(url: str) -> bytes:
        return key_set()

    (bearer,) = orders.guard.schemes
    bearer.replace(issuer_with(up))

    with TestClient(orders.app) as client:
        answers = [client.get(path).status_code for path in ("/health", "/internal/guard")]
        with acting_as(orders.guard, Principal("olga", roles={"operator"})):
            health = client.get("/internal/guard").json()

    assert answers == [200, 401]
    assert {"last_error", "age", "keys", "next_try_in"} <= set(health["bearer"]["keys"][0])
    assert list(health["bearer"]) == ["keys", "clocks", "tokens"]


# --- Several processes -----------------------------------------------------------------------------------------------


def camera(nonces: Any) -> FastAPI:
    """One of several processes: an app with this store of nonces, and the secret that all of them have."""
    account = DigestAccount("alice", digest_ha1("alice", "cameras", "a"))
    accounts = MemoryDigests([account], realm="cameras")
    app = FastAPI()
    secret = "a secret of thirty-two octets or so"
    install(app, Guard(Digest(accounts, realm="cameras", secret=secret, nonces=nonces)))
    app.get("/")(lambda: "in")
    return app


@pytest.mark.parametrize("shared", [True, False])
def test_a_recorded_request_passes_once_for_all_processes(tmp_path: Path, shared: bool) -> None:
    """With the store of the page a replay is refused at the other process, and without it passes there once."""
    store = run_program(PAGE, NONCES, "file_nonces").FileNonces
    path = str(tmp_path / "nonces.db")
    first, second = (TestClient(camera(store(path) if shared else MemoryNonces())) for _ in range(2))
    challenge = first.get("/").headers["www-authenticate"]
    recorded = digest_auth(challenge, "alice", "a")

    statuses = [client.get("/", headers=recorded).status_code for client in (first, second, second)]

    assert statuses == [200, *([401, 401] if shared else [200, 401])]
    assert second.get("/", headers=digest_auth(challenge, "alice", "a", count=2)).status_code == 200


async def test_used_nonces_are_removed_when_they_have_ended(tmp_path: Path) -> None:
    """A use is forgotten after ``expires_at``, when nobody may claim it again."""
    path = tmp_path / "nonces.db"
    store = run_program(PAGE, NONCES, "file_nonces").FileNonces(str(path))

    store.begin(0)
    answers = [
        await store.claim(nonce, 1, minted_at=0, expires_at=end, now=now)
        for nonce, end, now in ((b"a", 10, 0), (b"a", 10, 5), (b"b", 30, 20))
    ]

    assert answers == [NonceUse.FRESH, NonceUse.REPLAYED, NonceUse.FRESH]
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT nonce FROM used").fetchall() == [(b"b",)]


async def test_a_file_that_cannot_be_written_is_an_outage(tmp_path: Path) -> None:
    """The store raises ``BackendUnavailable``, so that the response is a 503 and no grant."""
    path = tmp_path / "nonces.db"
    store = run_program(PAGE, NONCES, "file_nonces").FileNonces(str(path))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP TABLE used")

    with pytest.raises(BackendUnavailable):
        await store.claim(b"a", 1, minted_at=0, expires_at=10, now=0)


# --- What a failover can lose ----------------------------------------------------------------------------------------


async def nothing_revoked() -> Sequence[Revocation]:
    """The durable list of an app in which nothing is revoked."""
    return ()


@pytest.mark.peer
@needs_redis
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_master_that_has_lost_its_replicas_counts_nothing(tmp_path: Path, anyio_backend: str) -> None:
    """With the lines of the page, a claim is an outage. What is only read goes on: whether a token is revoked."""
    (lines,) = code_blocks("text", DOCS / f"{PAGE}.md")
    with redis_server(tmp_path) as server, closing(blocking.Redis.from_url(server.url)) as operator:
        redis = RedisBackend(lambda: Redis.from_url(server.url))
        nonces, revocations = RedisNonces(redis, clock_skew=0), RedisRevocations(redis, source=nothing_revoked)
        await redis.warm()
        now = time.time()
        times = {"minted_at": now + 1, "expires_at": now + 300, "now": now + 1}
        fresh = await nonces.claim(b"a", 1, **times)
        before = await revocations.find([b"r" * 16])
        for line in lines.splitlines():
            operator.config_set(*line.split())

        with pytest.raises(BackendUnavailable, match="min-replicas-to-write"):
            await nonces.claim(b"b", 1, **times)
        after = await revocations.find([b"r" * 16])
        await redis.aclose()

    assert fresh is NonceUse.FRESH
    assert (before, after) == ({}, {})


@pytest.mark.peer
@needs_redis
def test_the_password_of_redis_changes_without_an_outage(tmp_path: Path) -> None:
    """Between the two commands of the page, the old password and the new one are both right."""
    page = (DOCS / f"{PAGE}.md").read_text("utf-8")
    commands = [command.split() for command in re.findall(r"`(ACL SETUSER authguard [<>]\w+)`", page)]

    def works(password: str, port: int) -> bool:
        try:
            with closing(blocking.Redis(port=port, username="authguard", password=password)) as client:
                return bool(client.ping())
        except blocking.AuthenticationError:
            return False

    with redis_server(tmp_path) as server, closing(blocking.Redis.from_url(server.url)) as operator:
        operator.execute_command("ACL", "SETUSER", "authguard", "on", ">old", "~*", "+@all")  # type: ignore[no-untyped-call]
        found = [(works("old", server.port), works("new", server.port))]
        for command in commands:
            operator.execute_command(*command)  # type: ignore[no-untyped-call]
            found.append((works("old", server.port), works("new", server.port)))

    assert found == [(True, False), (True, True), (False, True)]


# --- Without a lifespan ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loops", ["one", "another for each request"])
def test_requests_fetch_the_keys_without_a_lifespan(loops: str) -> None:
    """Without a lifespan, and with a new event loop for each request, one fetch serves all, and ``strict`` passes."""
    fetched: list[str] = []

    async def fetch(url: str) -> Fetched:
        fetched.append(url)
        return Fetched(key_set())

    app = FastAPI()
    guard = Guard(
        Bearer(issuer_with(fetch), realm="orders"),
        rules=[Rule("/orders", AUTHENTICATED), *docs(app, AUTHENTICATED)],
    )
    install(app, guard, strict=True)

    @app.get("/orders")
    def orders(principal: CurrentPrincipal) -> str:
        return principal.subject

    async def ask() -> int:
        now = time.time()
        token = mint(rsa_key(), headers={"kid": "1"}, iat=now - 60, exp=now + 600, jti=str(now))
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="https://api.example") as client:
            return (await client.get("/orders", headers={"Authorization": f"Bearer {token}"})).status_code

    with asyncio.Runner() as runner:
        statuses = [runner.run(ask()) if loops == "one" else asyncio.run(ask()) for _ in range(3)]

    assert (statuses, len(fetched)) == ([200] * 3, 1)


# --- A prefix --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status"),
    [("/api/files/open", 200), ("/files/open", 400)],
    ids=["uvicorn has added it again, or the proxy has passed it on", "the proxy has removed it, and nobody added it"],
)
def test_who_removes_the_prefix(path: str, status: int) -> None:
    """With the ``root_path`` of the server, a path without it is ambiguous where the app has a mount."""
    app = FastAPI()
    install(app, Guard(Bearer(issuer_with(asyncio.sleep), realm="orders"), rules=[Rule("/files/open", PUBLIC)]))
    inner = FastAPI()
    inner.get("/open")(lambda: "in")
    app.mount("/files", inner)

    assert TestClient(app, root_path="/api").get(path).status_code == status


def test_the_worker_of_the_page_names_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """The class adds ``root_path`` to the settings of uvicorn-worker, which need not be installed here."""
    stub = ModuleType("uvicorn_worker")
    vars(stub)["UvicornWorker"] = type("UvicornWorker", (), {"CONFIG_KWARGS": {"loop": "auto"}})
    monkeypatch.setitem(sys.modules, "uvicorn_worker", stub)

    assert run_program(PAGE, WORKERS, "workers").Worker.CONFIG_KWARGS == {"loop": "auto", "root_path": "/api"}


# --- Behind nginx ----------------------------------------------------------------------------------------------------

#: Says what the server knows of a request.
_APP = """
import os
from fastapi import FastAPI, Request, WebSocket
from authguard import PUBLIC, Account, Basic, Guard, MemoryUsers, Rule
from authguard.fastapi import install

app = FastAPI()
accounts = MemoryUsers([Account("alice", os.environ["ALICE_HASH"])])
guard = Guard(Basic(accounts, realm="orders"), rules=[Rule("/who", PUBLIC), Rule("/live", PUBLIC)])
install(app, guard)

@app.get("/who")
def who(request: Request):
    return {"client": request.client.host, "url": str(request.url), "path": request.scope["path"]}

@app.get("/orders")
def orders():
    return os.getpid()

@app.websocket("/live")
async def live(websocket: WebSocket):
    await websocket.accept()
    await websocket.send_text("in")
    await websocket.close()
"""


@contextmanager
def served(folder: Path, *options: str) -> Iterator[str]:
    """The address of the app, which uvicorn serves with these options."""
    (folder / "asked.py").write_text(_APP)
    hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "asked:app", "--port", "0", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "ALICE_HASH": hashed},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        lines = iter(process.stderr.readline, "")
        (port,) = next(found for line in lines if (found := re.findall(r"running on http://127\.0\.0\.1:(\d+)", line)))
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=60)


def location(address: str) -> str:
    """The ``location`` of the page's nginx, with this address. TLS and the name are left out."""
    (found,) = re.findall(r"^    location / \{.*?^    \}\n", SERVER, re.DOTALL | re.MULTILINE)
    return str(found).replace("127.0.0.1:8000", address)


nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not here")


@pytest.mark.peer
@nginx
def test_nginx_passes_on_what_the_page_says(tmp_path: Path) -> None:
    """The app sees the client's address as nginx does, the scheme, the name, and a WebSocket."""
    from websockets.sync.client import connect

    with served(tmp_path) as address, running_nginx(location(address), shared=UPGRADE) as [url]:
        sent = {"X-Forwarded-For": "203.0.113.7", "Host": "api.example"}
        known = httpx2.get(f"{url}/who", headers=sent, trust_env=False).json()
        with connect(f"{url.replace('http', 'ws')}/live", proxy=None) as socket:
            said = socket.recv()

    # nginx is at 127.0.0.1 for uvicorn, and so is this test for nginx: what the test made up is gone.
    assert known == {"client": "127.0.0.1", "url": "http://api.example/who", "path": "/who"}
    assert said == "in"


@pytest.mark.peer
@nginx
def test_a_server_that_knows_its_proxy_believes_it(tmp_path: Path) -> None:
    """By default uvicorn takes address and scheme from 127.0.0.1, and not if another proxy is named."""
    sent = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
    known: list[Any] = []

    for options in ([], ["--forwarded-allow-ips", "10.0.0.1"]):
        with served(tmp_path, *options) as address:
            known.append(httpx2.get(f"http://{address}/who", headers=sent, trust_env=False).json())

    assert [(one["client"], one["url"].partition(":")[0]) for one in known] == [
        ("203.0.113.7", "https"),
        ("127.0.0.1", "http"),
    ]


@pytest.mark.peer
@nginx
def test_rules_do_not_name_the_prefix(tmp_path: Path) -> None:
    """With ``--root-path /api`` behind a proxy that removes ``/api``, the rule for ``/who`` opens ``/api/who``."""
    with (
        served(tmp_path, "--root-path", "/api") as address,
        running_nginx(f"location /api/ {{ proxy_pass http://{address}/; }}") as [url],
    ):
        answers = [httpx2.get(f"{url}/api/{path}", trust_env=False).status_code for path in ("who", "orders")]

    assert answers == [200, 401]


@pytest.mark.peer
@nginx
def test_nginx_counts_the_logins_of_all_processes(tmp_path: Path) -> None:
    """With the page's limit, at a rate that no test is slow enough for, guesses beyond the burst do not reach the app.

    Requests without a password are not counted.
    """
    limited = location("ADDRESS").replace("location / {", "location / { limit_req zone=logins burst=20 nodelay;")
    counting = LIMIT.replace("rate=5r/s", "rate=1r/m") + "limit_req_log_level notice;"
    with (
        served(tmp_path) as address,
        running_nginx(limited.replace("ADDRESS", address), shared=UPGRADE + counting) as [url],
        httpx2.Client(trust_env=False, timeout=60) as client,
    ):
        open_ones = [client.get(f"{url}/who").status_code for _ in range(40)]
        guesses = [client.get(f"{url}/orders", auth=("alice", f"guess {number}")) for number in range(40)]

    by_the_app = [answer.status_code for answer in guesses if "cache-control" in answer.headers]
    assert set(open_ones) == {200}
    assert by_the_app == [401] * 10 + [429] * 11
    assert [answer.status_code for answer in guesses if "cache-control" not in answer.headers] == [429] * 19
