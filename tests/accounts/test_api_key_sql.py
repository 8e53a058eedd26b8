"""API keys in an SQL database, with SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from sqlalchemy import MetaData, create_engine, event, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from authguard import (
    ApiKey,
    AuthGuardMiddleware,
    BackendUnavailable,
    ConfigurationError,
    Guard,
    SqlApiKeys,
    StoredKey,
    event_loop,
    new_key,
    rotate_key,
)
from authguard.accounts.api_key_table import api_key_table
from authguard.errors import WrongAnswer
from authguard.reasons import STORE_UNAVAILABLE
from tests.accounts.file_changes import until
from tests.accounts.postgres import database_url, drop_table
from tests.support.clock import NOW
from tests.support.forks import run_in_child
from tests.support.schemes.api_key import KEY_ID, key_text, stored_key
from tests.support.servers.ports import free_port

ALL_FIELDS = stored_key(
    roles={"reader", "writer"},
    scopes={"orders"},
    networks=["192.0.2.0/24", "2001:db8::/32"],
    expires=NOW + 86_400.25,
    revoked=NOW + 1,
    last_used=NOW + 0.5,
    successor="000000000001",
)


@pytest.fixture(name="anyio_backend")
def _anyio_backend() -> str:
    """SQLAlchemy's async engine needs asyncio."""
    return "asyncio"


@pytest.fixture(name="url", params=["sqlite", pytest.param("postgres", marks=pytest.mark.peer)])
def _url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without the table."""
    url = database_url(request, tmp_path)
    anyio.run(drop_table, url, "authguard_api_keys")
    return url


@pytest.fixture(name="store")
async def _store(url: str) -> SqlApiKeys:
    """A database with an empty table. Its connections end with the loop of the test, or after it."""
    store = SqlApiKeys(url)
    await store.create_table()
    return store


async def test_a_key_comes_back_as_it_was_stored(store: SqlApiKeys) -> None:
    """With every field, to the fraction of a second; an unknown id is None."""
    await store.add(ALL_FIELDS)

    assert await store.find(KEY_ID) == ALL_FIELDS
    assert await store.find("000000000000") is None


@pytest.mark.parametrize("key_id", ["' OR 1=1 --", "x'; DROP TABLE authguard_api_keys; --", "%", "", "a" * 100_000])
async def test_an_id_is_a_value_and_no_sql(store: SqlApiKeys, key_id: str) -> None:
    """An id is a bound value of the query, and never a part of its SQL."""
    await store.add(stored_key())

    assert await store.find(key_id) is None
    assert await store.find(KEY_ID) == stored_key()


async def test_an_id_that_is_taken_stores_nothing(store: SqlApiKeys) -> None:
    """The error names the id, and the first key stays."""
    await store.add(stored_key())

    with pytest.raises(ConfigurationError, match=rf"^key: the id {KEY_ID} is taken$"):
        await store.add(stored_key(owner="mallory"))

    assert await store.find(KEY_ID) == stored_key()


async def test_the_oldest_key_is_first(store: SqlApiKeys) -> None:
    """``keys`` lists all of them, by the time at which they were made."""
    newer, older = stored_key(created=NOW + 2), stored_key("000000000001", created=NOW + 1)
    await store.add(newer)
    await store.add(older)

    assert await store.keys() == [older, newer]


async def test_a_rotation_is_one_step(store: SqlApiKeys) -> None:
    """The old key, which now ends, and the new one are stored together. The last use of the old one stays."""
    await store.add(stored_key())
    await store.write_last_uses({KEY_ID: NOW + 7})

    def rotate(key: StoredKey) -> list[StoredKey]:
        rotation = rotate_key(key, overlap=3600, now=NOW + 10)
        return [rotation.old, rotation.new.stored]

    old, new = await store.change(KEY_ID, rotate)

    assert (old.expires, old.successor, old.last_used) == (NOW + 3610, new.id, NOW + 7)
    assert await store.keys() == [old, new]


async def test_a_change_that_fails_changes_nothing(store: SqlApiKeys) -> None:
    """An exception out of ``change``, and a new key whose id is taken, roll everything back."""
    await store.add(stored_key())
    await store.add(stored_key("000000000001"))

    def fail(key: StoredKey) -> list[StoredKey]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.change(KEY_ID, fail)
    with pytest.raises(ConfigurationError, match=r"^key_id: there is no key 000000000002$"):
        await store.change("000000000002", lambda key: [key])
    with pytest.raises(ConfigurationError, match=r"^key_id: give the id of a key"):
        await store.change("no id", lambda key: [key])

    assert await store.keys() == [stored_key("000000000001"), stored_key()]


async def test_of_two_changes_at_a_time_the_second_sees_the_first(store: SqlApiKeys) -> None:
    """Twenty rotations of one key at the same time make one successor. All others find that there is one."""
    await store.add(stored_key())
    outcomes: list[str] = []

    def rotate(key: StoredKey) -> list[StoredKey]:
        rotation = rotate_key(key, overlap=3600, now=NOW)
        return [rotation.old, rotation.new.stored]

    async def attempt() -> None:
        try:
            await store.change(KEY_ID, rotate)
        except ConfigurationError:
            outcomes.append("replaced already")
        else:
            outcomes.append("rotated")

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(attempt)

    assert sorted(outcomes) == ["replaced already"] * 19 + ["rotated"]
    assert len(await store.keys()) == 2


async def test_the_last_use_of_a_key_is_written_at_most_once_a_minute(store: SqlApiKeys, url: str) -> None:
    """Three workers that each report a use every ten seconds for ten minutes write a key ten times, and no older use
    replaces a newer one."""
    await store.add(stored_key())
    workers = [SqlApiKeys(url) for _ in range(3)]
    seen = set()

    for step in range(60):
        for number, worker in enumerate(workers):
            await worker.write_last_uses({KEY_ID: NOW + step * 10 + number, "000000000009": NOW})
            found = await store.find(KEY_ID)
            assert found is not None
            seen.add(found.last_used)
    await store.write_last_uses({KEY_ID: NOW})

    found = await store.find(KEY_ID)
    assert found is not None
    assert len(seen) == 10
    assert found.last_used == max(time for time in seen if time is not None)


async def test_a_request_is_one_look_up(url: str) -> None:
    """One SELECT for each request with a key. Its last use is not written while it waits."""
    statements: list[str] = []

    def make() -> AsyncEngine:
        engine = create_async_engine(url)
        event.listen(engine.sync_engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
        return engine

    store = SqlApiKeys(make)
    await store.create_table()
    await store.add(stored_key())
    statements.clear()
    async with _client(store) as client:
        for _ in range(3):
            await client.get("/")

    assert [statement.split()[0] for statement in statements] == ["SELECT"] * 3


async def test_a_thousand_last_uses_are_two_transactions(store: SqlApiKeys) -> None:
    """A batch is written in parts, so that none holds its locks for long, and every use arrives."""
    ids = [f"{number:012}" for number in range(1000)]
    async with store._engines.begin() as connection:
        rows = [store._rows.row_of(stored_key(key_id)) for key_id in ids]
        await connection.execute(store._statements.add, rows)
        engine = connection.engine.sync_engine
    commits: list[object] = []
    event.listen(engine, "commit", commits.append)

    await store.write_last_uses(dict.fromkeys(ids, NOW + 5))

    assert {key.last_used for key in await store.keys()} == {NOW + 5}
    assert len(commits) == 2


@pytest.mark.peer
async def test_a_restarted_database_fails_no_request(postgres: str) -> None:
    """If the server has closed all connections, a look-up opens a new one."""
    await drop_table(postgres, "authguard_api_keys")
    store = SqlApiKeys(postgres)
    await store.create_table()
    await store.add(stored_key())
    other = create_async_engine(postgres)
    async with other.connect() as connection:
        await connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        )
    await other.dispose()

    assert await store.find(KEY_ID) == stored_key()


async def test_a_row_that_is_no_key_is_an_outage(store: SqlApiKeys) -> None:
    """It names the column and shows no value of it."""
    async with store._engines.begin() as connection:
        row = {**store._rows.row_of(stored_key()), "digest": "hunter2"}
        await connection.execute(store._statements.add, row)

    with pytest.raises(BackendUnavailable, match=r"^a row is no API key: digest$"):
        await store.find(KEY_ID)


# --- outages ----------------------------------------------------------------------------------------------------------


async def test_a_table_that_is_missing_is_an_outage_with_the_fix(url: str) -> None:
    """The record says how to make it."""
    with pytest.raises(
        BackendUnavailable, match=r"^a table is missing in the database; make it with Alembic or create_t"
    ):
        await SqlApiKeys(url).find(KEY_ID)


async def test_a_database_that_is_away_is_an_outage(url: str, tmp_path: Path) -> None:
    """Neither its address nor its name is in the error."""
    nowhere = url if "@" not in url else f"postgresql+asyncpg://tests@127.0.0.1:{free_port()}/postgres"
    store = SqlApiKeys(nowhere.replace("tests.db", "no/such/folder/tests.db"))
    threads = set(threading.enumerate())

    with pytest.raises(BackendUnavailable) as caught:
        await store.find(KEY_ID)
    await until(lambda: threads >= set(threading.enumerate()))  # aiosqlite's thread still needs the loop to end

    assert caught.value.reason is STORE_UNAVAILABLE
    assert "127" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


async def test_an_exhausted_pool_is_a_503(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """With every connection of the pool in use, the answer is 503 and the record has the fix. Then it is 200 again."""
    store = SqlApiKeys(lambda: create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.01))
    await store.create_table()
    await store.add(stored_key())
    async with _client(store) as client:
        async with store._engines.connect():
            refused = await client.get("/")
        accepted = await client.get("/")

    assert (refused.status_code, accepted.status_code) == (503, 200)
    record = next(record for record in caplog.records if record.levelno == logging.ERROR)
    assert "store.unavailable" in record.getMessage()
    assert "larger pool_size" in record.getMessage()


async def test_a_database_that_hangs_is_a_503(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A look-up has the deadline of the scheme, and the methods of an administrator have that of the store."""
    store = SqlApiKeys(lambda: create_async_engine(url, pool_size=1, max_overflow=0), deadline=0.01)
    await store._create_table()
    async with store._engines.connect(), _client(store, deadline=0.01) as client:
        answer = await client.get("/")
        with pytest.raises(BackendUnavailable, match=r"no answer within 0\.01 s$"):
            await store.keys()

    assert answer.status_code == 503
    assert "store.timeout" in caplog.text


@pytest.mark.peer
async def test_a_deadline_leaves_no_connection_in_use(postgres: str) -> None:
    """A query that is given up ends, and its connection, the only one of the pool, is free for the next request."""
    await drop_table(postgres, "authguard_api_keys")
    store = SqlApiKeys(lambda: create_async_engine(postgres, pool_size=1, max_overflow=0))
    await store.create_table()
    for _ in range(3):
        with anyio.move_on_after(0.05):
            await store._engines.first_row(text("SELECT pg_sleep(600)"), {})

    assert await store.find(KEY_ID) is None


# --- event loops ------------------------------------------------------------------------------------------------------


def test_each_event_loop_has_an_engine_whose_connections_end_with_it(url: str) -> None:
    """The factory is called once for each loop, and no connection and no thread outlives its loop."""
    made: list[AsyncEngine] = []
    closed: list[object] = []

    def make() -> AsyncEngine:
        made.append(create_async_engine(url))
        event.listen(made[-1].sync_engine, "close", lambda connection, _: closed.append(connection))
        return made[-1]

    store = SqlApiKeys(make)
    threads = set(threading.enumerate())

    async def use() -> None:
        await store.create_table()
        await store.find(KEY_ID)
        await store.find(KEY_ID)

    for number in (1, 2, 3):
        anyio.run(use)
        assert len(made) == len(closed) == number
        for thread in set(threading.enumerate()) - threads:
            thread.join(60)
            assert not thread.is_alive()
    assert store.health() == {"event_loops": 1}  # the last one, until another loop asks


def test_a_store_that_ends_with_its_loop_closes_its_connections(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Even if nothing else holds the store: it is not left to the garbage collector."""

    async def use() -> asyncio.AbstractEventLoop:
        store = SqlApiKeys(url)
        await store.create_table()
        return asyncio.get_running_loop()

    loop = anyio.run(use)
    gc.collect()

    assert [record.getMessage() for record in caplog.records] == []
    assert loop not in [known for known, _ in event_loop._endings.values()]


def test_a_loop_that_is_closed_at_once_leaves_nothing_behind(url: str) -> None:
    """Without ``asyncio.run``, nobody closes the connections of a loop. The next loop forgets them."""
    store = SqlApiKeys(lambda: create_async_engine(url, poolclass=NullPool))
    loop = asyncio.new_event_loop()
    loop.run_until_complete(store.create_table())
    loop.close()

    anyio.run(store.find, KEY_ID)

    assert loop not in [known for known, _ in event_loop._endings.values()]
    assert store.health() == {"event_loops": 1}


def test_test_client_opens_a_loop_for_each_request(url: str) -> None:
    """Without ``with``, each request of ``TestClient`` has an event loop of its own."""
    store = SqlApiKeys(url)

    async def prepare() -> None:
        await store.create_table()
        await store.add(stored_key())

    anyio.run(prepare)
    client = TestClient(_app(store), headers={"X-API-Key": key_text()})

    assert [client.get("/").status_code for _ in range(3)] == [200] * 3


def test_loops_in_several_threads_do_not_share_connections(url: str) -> None:
    """Four threads, each with a loop of its own, look up keys at the same time."""
    store = SqlApiKeys(url)
    found: list[StoredKey | None] = []

    async def prepare() -> None:
        await store.create_table()
        await store.add(stored_key())

    async def use() -> None:
        found.extend([await store.find(KEY_ID) for _ in range(10)])

    anyio.run(prepare)
    threads = [threading.Thread(target=anyio.run, args=(use,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [stored_key()] * 40


def test_an_engine_that_is_given_twice_is_refused_with_the_fix(url: str) -> None:
    """A factory that returns one engine for every loop is named, with file and line, in the record of a 503."""
    engine = create_async_engine(url)
    store = SqlApiKeys(lambda: engine)

    anyio.run(store.create_table)

    with pytest.raises(
        WrongAnswer, match=r"test_api_key_sql\.py:\d+\) returned the engine of another event loop; make"
    ):
        anyio.run(store.create_table)


def test_a_factory_must_return_an_async_engine(tmp_path: Path) -> None:
    """Anything else is named by its type."""
    make: Any = lambda: create_engine(f"sqlite:///{tmp_path}/keys.db")  # noqa: E731

    with pytest.raises(
        WrongAnswer, match=r"returned a Engine; return create_async_engine\(\.\.\.\), a new one at each"
    ):
        anyio.run(SqlApiKeys(make).find, KEY_ID)


def test_on_trio_the_app_does_not_start(tmp_path: Path) -> None:
    """SQLAlchemy needs asyncio. Without a lifespan the request is a 503, and its record says the same."""
    store = SqlApiKeys(f"sqlite+aiosqlite:///{tmp_path}/keys.db")
    guard = _guard(store)

    async def start() -> None:
        async with guard.running():
            pass

    with pytest.raises(
        ConfigurationError, match=r"^engine: SQLAlchemy does not run on trio; run the server on asyncio"
    ):
        anyio.run(start, backend="trio")
    with pytest.raises(BackendUnavailable, match=r"^SQLAlchemy does not run on trio; run the server on asyncio"):
        anyio.run(store.find, KEY_ID, backend="trio")
    anyio.run(start)


def test_a_forked_child_opens_connections_of_its_own(url: str) -> None:
    """It uses none of its parent's, and closes none of them."""
    store = SqlApiKeys(url)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(store.create_table())
    loop.run_until_complete(store.add(stored_key()))

    def child() -> bool:
        gc.collect()
        return anyio.run(store.find, KEY_ID) == stored_key()

    assert run_in_child(child) == "True"
    assert loop.run_until_complete(store.find(KEY_ID)) == stored_key()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


async def test_a_child_has_new_engines_and_keeps_those_of_its_parent(url: str) -> None:
    """They are kept, because an engine that is thrown away would close the connections of the parent."""
    store = SqlApiKeys(url)
    await store.create_table()
    (parents,) = store._engines._engines.values()

    store._engines.renew()
    await store.find(KEY_ID)

    (own,) = store._engines._engines.values()
    assert own is not parents
    assert parents.sync_engine.pool.checkedin() == 1  # type: ignore[attr-defined] # of a QueuePool


# --- construction -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "problem"),
    [
        ("sqlite:///keys.db", "sqlite has no async driver; write sqlite+aiosqlite:///keys.db or postgresql+asyncpg://"),
        ("keys.db", "it is not a URL of a database; write sqlite"),
        ("nosuch+thing://host/name", "it is not a URL of a database; write sqlite"),
        ("postgresql+asyncpg://host:port/name", "it is not a URL of a database; write sqlite"),
        ("mysql+aiomysql://host/name", "the driver aiomysql is not installed; run pip install aiomysql"),
        ("sqlite+aiosqlite://", "each event loop would have a database of its own in memory; name a file"),
        ("sqlite+aiosqlite:///:memory:", "each event loop would have a database of its own in memory; name a file"),
        (3, "3 is not a function; give make_engine()"),
    ],
)
def test_what_no_async_engine_can_be_made_of_is_refused(engine: Any, problem: str) -> None:
    """The error says what to write, and shows nothing of a URL but its driver."""
    with pytest.raises(ConfigurationError) as caught:
        SqlApiKeys(engine)

    assert str(caught.value).startswith(f"engine: {problem}")


def test_an_engine_is_refused_because_it_serves_one_loop(tmp_path: Path) -> None:
    """A function has to make it."""
    engine: Any = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/keys.db")

    with pytest.raises(ConfigurationError, match=r"^engine: an engine serves one event loop; give a function: lambda:"):
        SqlApiKeys(engine)


@pytest.mark.parametrize("missing", ["sqlalchemy", "greenlet"])
def test_a_missing_package_is_named_with_its_extra(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLAlchemy alone is not enough, because its async part needs greenlet."""
    find: Callable[[str], object] = lambda name: None if name == missing else name  # noqa: E731
    monkeypatch.setattr("authguard.sql_engine.find_spec", find)

    with pytest.raises(
        ConfigurationError, match=r'^engine: SQLAlchemy is not installed; run pip install "authguard\[sql'
    ):
        SqlApiKeys("sqlite+aiosqlite:///keys.db")


async def test_the_table_can_be_in_the_metadata_of_the_app(tmp_path: Path) -> None:
    """With a name of its own. Alembic then sees it beside the app's models."""
    metadata = MetaData()
    url = f"sqlite+aiosqlite:///{tmp_path}/shop.db"
    engine = create_async_engine(url)
    table = api_key_table(metadata, name="shop_keys")
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    await engine.dispose()
    store = SqlApiKeys(url, table=table)
    new = new_key("alice", "ci", prefix="acme", now=NOW)

    await store.add(new.stored)

    assert names == ["shop_keys"]
    assert await store.find(new.stored.id) == new.stored


def test_the_table_fits_the_fields_of_a_key() -> None:
    """A column for each field of ``StoredKey``, and no other."""
    fields = StoredKey.__match_args__

    assert tuple(api_key_table(MetaData()).columns.keys()) == fields


async def test_a_revoked_key_is_refused_at_the_next_request(store: SqlApiKeys) -> None:
    """Nothing is cached."""
    await store.add(stored_key())
    async with _client(store) as client:
        before = await client.get("/")
        await store.change(KEY_ID, lambda key: [replace(key, revoked=NOW)])
        after = await client.get("/")

    assert (before.status_code, after.status_code) == (200, 401)


def _guard(store: SqlApiKeys, **options: Any) -> Guard:
    return Guard(ApiKey(store, realm="orders", prefix="acme", environment="live", **options))


def _app(store: SqlApiKeys, **options: Any) -> Starlette:
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse("ok"))])
    app.add_middleware(AuthGuardMiddleware, guard=_guard(store, **options))
    return app


def _client(store: SqlApiKeys, **options: Any) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(_app(store, **options))
    return httpx2.AsyncClient(transport=transport, base_url="http://orders", headers={"X-API-Key": key_text()})
