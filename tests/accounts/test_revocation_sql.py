"""Revocations in an SQL database, with SQLite and PostgreSQL."""

from __future__ import annotations

import math
from pathlib import Path

import anyio
import pytest
from sqlalchemy import CheckConstraint, MetaData, text
from sqlalchemy.ext.asyncio import create_async_engine

from authguard import BackendUnavailable, Revocation, SqlRevocations
from authguard.accounts import revocation_sql
from authguard.accounts.revocation_file import KEPT_LONGER
from authguard.accounts.revocation_table import revocation_table
from authguard.state.revocations import revocation_key
from authguard.testing import ManualClock
from tests.accounts.postgres import database_url, drop_table
from tests.support.asgi import RecordingApp
from tests.support.clock import NOW
from tests.support.guards import RecordingGuard
from tests.support.schemes.bearer import bearer
from tests.support.tokens import mint

ALICE = Revocation.subject("alice", before=NOW - 5.25, expires_at=NOW + 60)
SESSION = Revocation.session("s-1", expires_at=NOW + 60)
KEY = Revocation.api_key("abc", expires_at=math.inf)


@pytest.fixture(name="anyio_backend")
def _anyio_backend() -> str:
    """SQLAlchemy's async engine needs asyncio."""
    return "asyncio"


@pytest.fixture(name="url", params=["sqlite", pytest.param("postgres", marks=pytest.mark.peer)])
def _url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without the table."""
    url = database_url(request, tmp_path)
    anyio.run(drop_table, url, "authguard_revocations")
    return url


async def made(url: str, clock: ManualClock | None = None) -> SqlRevocations:
    """A store with its table."""
    clock = clock or ManualClock(NOW)
    store = SqlRevocations(url, clock=clock, monotonic=clock)
    await store.create_table()
    return store


async def test_what_the_database_refuses_is_not_taken_for_revoked(tmp_path: Path) -> None:
    """A rule of the database that refuses the row is an outage, and not a log-out that did not happen."""
    url = f"sqlite+aiosqlite:///{tmp_path}/revoked.db"
    metadata = MetaData()
    revocation_table(metadata).append_constraint(CheckConstraint("kind <> 'session'"))
    store = SqlRevocations(url, table=metadata.tables["authguard_revocations"])
    await store.create_table()

    with pytest.raises(BackendUnavailable, match="refuses the row"):
        await store.revoke(SESSION)

    assert await store.find([SESSION.key]) == {}


async def test_what_is_revoked_is_found_and_nothing_else_is(url: str) -> None:
    """With its time, which may be infinite, by each worker, and by no other kind."""
    store = await made(url)
    for revocation in (ALICE, SESSION, KEY):
        await store.revoke(revocation)
    other = SqlRevocations(url)

    assert await other.find([ALICE.key, KEY.key]) == {ALICE.key: NOW - 5.25, KEY.key: math.inf}
    assert await other.find([revocation_key("token", "alice")]) == {}
    assert await other.is_session_revoked("s-1")
    assert [(each.kind, each.name, each.expires_at) for each in await other.revocations()].count(
        ("session", None, NOW + 60)
    ) == 1


async def test_the_later_times_hold(url: str) -> None:
    """A second revocation takes nothing back, and may add."""
    store = await made(url)
    for before, expires_at in ((NOW, NOW + 9), (NOW - 50, NOW + 99), (NOW + 7, NOW + 1)):
        await store.revoke(Revocation.subject("alice", before=before, expires_at=expires_at))
    (stored,) = await store.revocations()

    assert (stored.before, stored.expires_at, stored.revoked) == (NOW + 7, NOW + 99, NOW)


async def test_workers_that_revoke_the_same_at_once_all_succeed(url: str) -> None:
    """One of them enters it, and the others find it there."""
    stores = [await made(url) for _ in range(4)]
    async with anyio.create_task_group() as tasks:
        for index, store in enumerate(stores):
            before = NOW + index
            tasks.start_soon(store.revoke, Revocation.subject("alice", before=before, expires_at=NOW + 60))

    assert (await stores[0].find([ALICE.key]))[ALICE.key] == NOW + 3


async def test_what_has_ended_is_deleted_a_day_later(url: str) -> None:
    """By hand, and at times when something is revoked."""
    clock = ManualClock(NOW)
    store = await made(url, clock)
    await store.revoke(ALICE)
    await store.revoke(SESSION)
    clock.move(60 + KEPT_LONGER - 1)
    kept = await store.prune()
    clock.move(max(1, revocation_sql.PRUNED_EVERY))
    await store.revoke(KEY)

    assert kept == 0
    assert [each.key for each in await store.revocations()] == [KEY.key]


async def test_a_table_of_the_metadata_of_the_app_is_used(url: str) -> None:
    """Its name and its schema are those of the app, whose Alembic makes it."""
    metadata = MetaData()
    store = SqlRevocations(url, table=revocation_table(metadata, name="revoked"))
    await store.create_table()
    await store.revoke(KEY)

    assert list(metadata.tables) == ["revoked"]
    assert await store.find([KEY.key])
    await _drop(url)


async def _drop(url: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text("DROP TABLE revoked"))
    await engine.dispose()


async def test_without_its_table_each_request_is_a_503(url: str) -> None:
    """The record says how to make the table, and nobody passes."""
    store = SqlRevocations(url)
    guard = RecordingGuard(bearer(), revocations=store)
    answer = await guard.request(RecordingApp(), field=f"Bearer {mint()}")

    assert (answer.status, guard.outcomes) == (503, ["store.unavailable"])
    assert "create_table()" in str(guard.records[-1].facts["detail"])
    with pytest.raises(BackendUnavailable):
        await store.revoke(KEY)


async def test_a_guard_refuses_what_another_worker_has_revoked(url: str) -> None:
    """From the next request on."""
    guard = RecordingGuard(bearer(), revocations=await made(url))
    await guard.request(RecordingApp(), field=f"Bearer {mint(jti='t-1')}")
    await SqlRevocations(url).revoke(Revocation.token("t-1", expires_at=NOW + 60))
    await guard.request(RecordingApp(), field=f"Bearer {mint(jti='t-1')}")

    assert guard.outcomes == ["granted", "token.revoked"]


async def listed(store: SqlRevocations, since: float = -math.inf) -> list[list[bytes]]:
    """The keys of each slice that the store lists."""
    return [[each.key for each in part] for part in [part async for part in store.live(since)]]


async def test_all_that_have_not_ended_are_listed_in_slices(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once, with its times. What has ended ten minutes ago is left out, although it is still stored."""
    monkeypatch.setattr(revocation_sql, "SLICE", 2)
    clock = ManualClock(NOW)
    store = await made(url, clock)
    ended = Revocation.token("ended", expires_at=NOW - 601)
    for revocation in (ALICE, SESSION, KEY, ended):
        await store.revoke(revocation)
    parts = [part async for part in store.live(-math.inf)]

    assert [len(part) for part in parts] == [2, 1]
    assert {each.key: (each.before, each.expires_at) for part in parts for each in part} == {
        each.key: (each.before, each.expires_at) for each in (ALICE, SESSION, KEY)
    }


async def test_those_that_were_entered_or_extended_since_are_listed(url: str) -> None:
    """Who has listed all of them before asks for the later ones alone."""
    clock = ManualClock(NOW)
    store = await made(url, clock)
    for revocation in (ALICE, SESSION):
        await store.revoke(revocation)
    clock.move(10)
    await store.revoke(KEY)
    await store.revoke(Revocation.subject("alice", before=NOW, expires_at=NOW + 60))

    assert await listed(store, NOW + 10) == [sorted([KEY.key, ALICE.key])]
    assert await listed(store, NOW + 11) == []


async def test_a_list_that_the_database_cannot_give_is_an_outage(url: str) -> None:
    """Without the table nothing is listed, which must not look like no revocation."""
    with pytest.raises(BackendUnavailable, match="a table is missing"):
        await listed(SqlRevocations(url))
