"""The example of users in an SQL database, with SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx2
import pytest
from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from authguard.accounts.account import Account, Verdict
from authguard.accounts.memory import UserLookup
from authguard.errors import BackendUnavailable
from authguard.reasons import STORE_UNAVAILABLE
from examples.sql_users import SqlUsers, Table, User, UserRole, make_app
from tests.accounts.file_changes import until
from tests.accounts.postgres import database_url
from tests.support.servers.ports import free_port

SHA = "{SHA}hvfkN/qlp/zhXR3cuerq6jd2Z7g="  # "a"


@pytest.fixture(name="anyio_backend")
def _anyio_backend() -> str:
    """SQLAlchemy's async engine needs asyncio."""
    return "asyncio"


@pytest.fixture(name="url", params=["sqlite", pytest.param("postgres", marks=pytest.mark.peer)])
def _url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    return database_url(request, tmp_path)


@pytest.fixture(name="engine")
async def _engine(url: str) -> AsyncIterator[AsyncEngine]:
    """A database with four users."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Table.metadata.drop_all)
        await connection.run_sync(Table.metadata.create_all)
    async with SqlUsers(engine).sessions.begin() as session:
        alice = [UserRole(user="alice", role="admin"), UserRole(user="alice", role="staff")]
        session.add(User(name="alice", password_hash=SHA, roles=alice))
        session.add(User(name="am\u00e9lie", password_hash=SHA))
        session.add(User(name="mallory", password_hash=SHA, disabled=True))
        session.add(User(name="robot", password_hash=None))
    yield engine
    await engine.dispose()


async def test_a_row_is_an_account(engine: AsyncEngine) -> None:
    """The hash, the roles and the disabled flag come from the row. A name without a row is unknown."""
    store = UserLookup(SqlUsers(engine).find)

    assert await store.find("alice") == Account("alice", SHA, roles={"admin", "staff"})
    assert await store.find("am\u00e9lie") == Account("am\u00e9lie", SHA)
    assert await store.find("mallory") == Account("mallory", SHA, disabled=True)
    assert await store.find("nobody") is None
    assert await store.find("") is None


async def test_no_password_fits_where_the_row_has_none(engine: AsyncEngine) -> None:
    """A hash of NULL is an account that logs in by other means, and no error."""
    store = UserLookup(SqlUsers(engine).find)

    robot = await store.find("robot")

    assert robot is not None
    assert robot == Account("robot", "")
    assert store.hasher.verify("", robot.password_hash) is Verdict.UNREADABLE


@pytest.mark.parametrize("username", ["' OR 1=1 --", "alice'; DROP TABLE users; --", "%", "_lice", "ALICE", "alice "])
async def test_a_name_is_a_value_and_no_sql(engine: AsyncEngine, username: str) -> None:
    """A name from a client is a bound value of the query, and never a part of its SQL."""
    store = UserLookup(SqlUsers(engine).find)

    assert await store.find(username) is None
    assert await store.find("alice") is not None


async def test_parallel_look_ups_have_sessions_of_their_own(engine: AsyncEngine) -> None:
    """Each request has a database session of its own."""
    store = UserLookup(SqlUsers(engine).find)
    accounts: list[Account | None] = []

    async def ask(username: str) -> None:
        accounts.append(await store.find(username))

    async with anyio.create_task_group() as tasks:
        for _ in range(30):
            tasks.start_soon(ask, "alice")

    assert accounts == [Account("alice", SHA, roles={"admin", "staff"})] * 30


async def test_a_change_is_noticed_at_the_next_request(engine: AsyncEngine) -> None:
    """A removed role and a disabled account are noticed at the next request."""
    users = SqlUsers(engine)
    store = UserLookup(users.find)
    await store.find("alice")

    async with users.sessions.begin() as session:
        await session.execute(delete(UserRole).where(UserRole.role == "admin"))
        await session.execute(update(User).values(disabled=True))

    assert await store.find("alice") == Account("alice", SHA, roles={"staff"}, disabled=True)


async def test_a_hash_is_renewed_unless_it_has_changed(engine: AsyncEngine) -> None:
    """An outdated hash is replaced after a login, unless the password was changed meanwhile."""
    users = SqlUsers(engine)

    await users.renew(Account("alice", SHA), "$new$")
    await users.renew(Account("alice", SHA), "$newer$")
    alice, other = await users.find("alice"), await users.find("am\u00e9lie")

    assert alice is not None
    assert alice.password_hash == "$new$"
    assert other == Account("am\u00e9lie", SHA)


async def test_a_database_that_is_away_is_an_outage(url: str, tmp_path: Path) -> None:
    """If the database is down the login is an outage and no rejection, and neither its address nor a name is
    recorded."""
    nowhere = url if "@" not in url else f"postgresql+asyncpg://tests@127.0.0.1:{free_port()}/postgres"
    engine = create_async_engine(nowhere.replace("tests.db", "no/such/folder/tests.db"))
    store = UserLookup(SqlUsers(engine).find)
    threads = set(threading.enumerate())

    with pytest.raises(BackendUnavailable) as caught:
        await store.find("alice")
    await engine.dispose()
    await until(lambda: threads >= set(threading.enumerate()))  # aiosqlite's thread still needs the loop to end

    assert caught.value.reason is STORE_UNAVAILABLE
    assert "alice" not in str(caught.value)
    assert "127" not in str(caught.value)


async def test_the_whole_app_answers_by_the_database(engine: AsyncEngine) -> None:
    """The right password is accepted, a missing role is a 403, the rest a 401, and an outdated hash is renewed."""
    transport = httpx2.ASGITransport(make_app(engine))
    expected = {
        ("/orders", "alice", "b"): 401,
        ("/orders", "mallory", "a"): 401,
        ("/orders", "robot", ""): 401,
        ("/orders", "robot", "a"): 401,
        ("/orders", "nobody", "a"): 401,
        ("/admin/users", "am\u00e9lie", "a"): 403,
        ("/admin/users", "alice", "a"): 200,
    }

    async with httpx2.AsyncClient(transport=transport, base_url="http://orders") as client:
        answers = {
            (path, name, password): (await client.get(path, auth=(name, password))).status_code
            for path, name, password in expected
        }
    account = await SqlUsers(engine).find("alice")

    assert answers == expected
    assert account is not None
    assert account.password_hash.startswith("$pbkdf2-sha256$600000$")
