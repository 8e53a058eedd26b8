"""Rotation and revocation by the command while an app answers thousands of requests."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import pytest

from authguard import ApiKey, ApiKeyFile, AuthGuardMiddleware, Guard, SqlApiKeys
from authguard.accounts.api_key import StoredKey
from authguard.accounts.api_key_file import ApiKeyFileAdmin, write_keys
from tests.cli.programs import ENVIRONMENT, PROGRAM, start
from tests.support.asgi import http_scope
from tests.support.schemes.api_key import KEY_ID, key_text, stored_key

REQUESTS = 10_000
#: The status of a request with this key.
Ask: TypeAlias = Callable[[str], Awaitable[int]]


@pytest.fixture(name="anyio_backend")
def _anyio_backend() -> str:
    """SQLAlchemy's async engine needs asyncio."""
    return "asyncio"


@pytest.fixture(name="store", params=["file", "sqlite"])
def _store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The argument ``--store``."""
    return f"{tmp_path}/keys.json" if request.param == "file" else f"sqlite+aiosqlite:///{tmp_path}/keys.db"


@pytest.fixture(name="ask")
async def _ask(store: str) -> AsyncIterator[Ask]:
    """A running app with one key in its store."""
    key = stored_key(created=time.time() - 10)
    keys: Any
    if "://" in store:
        keys = SqlApiKeys(store)
        await keys.create_table()
        await keys.add(key)
    else:
        await ApiKeyFileAdmin(store).add(key)
        keys = ApiKeyFile(store)
    guard = Guard(ApiKey(keys, realm="orders", prefix="acme", environment="live"))
    app = AuthGuardMiddleware(_app, guard=guard)

    async def ask(text: str) -> int:
        statuses: list[int] = []

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        await app(http_scope(headers=[(b"x-api-key", text.encode())]), receive, send)
        return statuses[0]

    async with guard.running():
        yield ask


async def _app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})


async def _command(*arguments: str) -> str:
    """What the program prints."""
    done = await anyio.run_process([*PROGRAM, "apikey", *arguments], env=ENVIRONMENT)
    return done.stdout.decode().strip()


@pytest.mark.peer
async def test_no_request_is_refused_during_a_rotation(ask: Ask, store: str) -> None:
    """Ten thousand requests before, while and after the command rotates the key: the old key and the new one, from the
    moment at which the command has printed it, are accepted."""
    statuses: list[int] = []
    printed: list[str] = []

    async def rotate() -> None:
        printed.append(await _command("rotate", KEY_ID, "--overlap", "7d", "--store", store))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(rotate)
        while not printed or len(statuses) < REQUESTS:
            statuses.append(await ask(key_text()))
            if printed:
                statuses.append(await ask(printed[0]))
            await anyio.lowlevel.checkpoint()

    assert len(statuses) >= REQUESTS
    assert set(statuses) == {200}
    assert [await ask(key) for key in (key_text(), printed[0])] == [200, 200]


@pytest.mark.peer
async def test_a_revoked_key_is_refused_when_the_command_has_ended(
    ask: Ask, store: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Until it is in force, every request is accepted, and none is an error. The record of the first one that is
    refused says how long ago the key was revoked: up to 2.5 seconds with a file, if the machine is not slow."""
    statuses: list[int] = []
    ended = anyio.Event()

    async def revoke() -> None:
        await _command("revoke", KEY_ID, "--store", store)
        ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(revoke)
        while not ended.is_set() and (not statuses or statuses[-1] == 200):
            statuses.append(await ask(key_text()))
            await anyio.lowlevel.checkpoint()
    statuses.append(await ask(key_text()))

    assert set(statuses[:-2]) <= {200}
    assert statuses[-1] == 401
    record: Any = next(record for record in caplog.records if record.levelname == "WARNING")
    assert getattr(record, "authguard.reason") == "api_key.revoked"
    assert 0 <= getattr(record, "authguard.revoked_for") < 60


@pytest.mark.peer
@pytest.mark.parametrize("store", ["keys.json", "sqlite+aiosqlite:///keys.db"])
def test_a_hundred_thousand_keys_are_audited(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command finds the one that is of a test environment."""
    monkeypatch.chdir(tmp_path)
    keys = [_numbered(number) for number in range(100_000)]
    keys[4711] = replace(keys[4711], environment="test")
    if "://" in store:
        anyio.run(_fill, SqlApiKeys(store), keys)
    else:
        Path(store).write_bytes(write_keys(keys))

    done = start("apikey", "audit", "--store", store, cwd=tmp_path)

    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "1 finding"), done.stderr
    assert "key.test 000000004711 " in done.stdout


async def _fill(store: SqlApiKeys, keys: Sequence[StoredKey]) -> None:
    await store.create_table()
    async with store._engines.begin() as connection:
        await connection.execute(store._statements.add, [store._rows.row_of(key) for key in keys])


def _numbered(number: int) -> StoredKey:
    now = time.time()
    return stored_key(f"{number:012}", created=now, expires=now + 99 * 86_400, scopes={"orders"})
