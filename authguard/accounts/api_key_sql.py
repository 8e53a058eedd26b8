"""API keys in an SQL database, by async SQLAlchemy (extra ``sql``)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from authguard.accounts.api_key import StoredKey, check_key_id
from authguard.concurrency.deadline import ask
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.model import Clock
from authguard.reasons import STORE_UNAVAILABLE
from authguard.sql_engine import EngineFactory, SqlEngines
from authguard.validation import check_seconds

if TYPE_CHECKING:
    from sqlalchemy import Row, Table
    from sqlalchemy.ext.asyncio import AsyncConnection

# How many last uses one transaction writes, so that none holds its locks for long.
_BATCH = 500


class SqlApiKeys:
    """API keys in an SQL database: ``SqlApiKeys("sqlite+aiosqlite:///keys.db")``.

    - ``engine``: the URL of the database, for an async driver; or a function that makes an engine, which is called once
      for each event loop: ``SqlApiKeys(lambda: create_async_engine(url, pool_size=20))``.
    - ``table``: what ``api_key_table(metadata)`` of ``authguard.accounts.api_key_table`` returns, if the table is to be
      in the metadata of the app, where Alembic sees it.
    - ``deadline``: how many seconds a call may take that is not ``find``, whose deadline the scheme sets.

    A key that is changed, revoked or added counts at the next request: nothing is cached. The last use of a key is
    written at most once a minute, whatever number of workers see it. It needs asyncio; on trio, the app does not start.

    Methods raise ``BackendUnavailable`` if the database cannot answer or every connection is in use. The constructor
    raises ``ConfigurationError``.
    """

    def __init__(self, engine: str | EngineFactory, *, table: Table | None = None, deadline: float = 30.0) -> None:
        self._engines = SqlEngines(engine)
        from authguard.accounts import api_key_table as rows  # noqa: PLC0415 - it needs SQLAlchemy, an extra

        self._rows = rows
        self._statements = rows.KeyStatements(table)
        self._deadline = check_seconds("deadline", deadline, most=3600)

    async def find(self, key_id: str) -> StoredKey | None:
        """The key of this id; None if there is none. Raises ``BackendUnavailable``."""
        row = await self._engines.first_row(self._statements.find, {"key_id": key_id})
        return None if row is None else self._key(row)

    async def write_last_uses(self, uses: Mapping[str, float]) -> None:
        """Store when each of these keys was last used, unless one less than a minute older is stored."""
        # In one order everywhere, so that two workers never wait for each other.
        parameters = [{"key_id": key_id, "used": used} for key_id, used in sorted(uses.items())]
        for start in range(0, len(parameters), _BATCH):
            async with self._engines.begin() as connection:
                await connection.execute(self._statements.last_use, parameters[start : start + _BATCH])

    async def keys(self) -> Sequence[StoredKey]:
        """All keys, the oldest first. Raises ``BackendUnavailable``."""
        return await ask(self._keys(), self._deadline)

    async def add(self, key: StoredKey) -> None:
        """Store a new key. Raises ``ConfigurationError`` for an id that is taken, and ``BackendUnavailable``."""
        await ask(self._add(key), self._deadline)

    async def change(self, key_id: str, change: Callable[[StoredKey], Sequence[StoredKey]]) -> Sequence[StoredKey]:
        """Store what ``change`` makes of a key, in one transaction. It is locked until that is done.

        Raises ``ConfigurationError`` for an id that is unknown, and ``BackendUnavailable``.
        """
        check_key_id("key_id", key_id)
        return await ask(self._change(key_id, change), self._deadline)

    async def create_table(self) -> None:
        """Make the table, unless it is there. An app with Alembic needs no such call."""
        await ask(self._create_table(), self._deadline)

    @asynccontextmanager
    async def running(self, clock: Clock) -> AsyncIterator[None]:
        """Raise ``ConfigurationError`` if the app starts on trio."""
        self._engines.check_library()
        yield

    def health(self) -> Mapping[str, object]:
        """How many event loops have connections."""
        return {"event_loops": self._engines.loop_count()}

    async def _keys(self) -> Sequence[StoredKey]:
        async with self._engines.connect() as connection:
            rows = (await connection.execute(self._statements.all)).all()
        return [self._key(row) for row in rows]

    async def _add(self, key: StoredKey) -> None:
        async with self._engines.begin() as connection:
            await self._insert(connection, key)

    async def _insert(self, connection: AsyncConnection, key: StoredKey) -> None:
        from sqlalchemy.exc import IntegrityError  # noqa: PLC0415 - an extra

        try:
            await connection.execute(self._statements.add, self._rows.row_of(key))
        except IntegrityError:
            taken = True
        else:
            taken = False
        if taken:
            raise ConfigurationError("key", f"the id {key.id} is taken")

    async def _change(self, key_id: str, change: Callable[[StoredKey], Sequence[StoredKey]]) -> Sequence[StoredKey]:
        statements, parameters = self._statements, {"key_id": key_id}
        async with self._engines.begin() as connection:
            await connection.execute(statements.lock, parameters)
            row = (await connection.execute(statements.find, parameters)).first()
            if row is None:
                raise ConfigurationError("key_id", f"there is no key {key_id}")
            changed = tuple(change(self._key(row)))
            for key in changed:
                written = await connection.execute(statements.change, self._rows.changed_row_of(key))
                if not written.rowcount:
                    await self._insert(connection, key)
        return changed

    async def _create_table(self) -> None:
        async with self._engines.begin() as connection:
            await connection.run_sync(self._statements.table.metadata.create_all, tables=[self._statements.table])

    def _key(self, row: Row[tuple[object, ...]]) -> StoredKey:
        """The key of a row. A row that is no key is a fault of the database, and no key."""
        try:
            return self._rows.key_of(row)
        except ConfigurationError as error:
            problem = f"a row is no API key: {error.argument}"
        raise BackendUnavailable(problem, reason=STORE_UNAVAILABLE)
