"""Revocations in an SQL database, by async SQLAlchemy (extra ``sql``)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING

from authguard.accounts.revocation_file import KEPT_LONGER, SLICE, StoredRevocation
from authguard.concurrency.deadline import ask
from authguard.errors import BackendUnavailable
from authguard.model import Clock, wall_clock
from authguard.reasons import STORE_UNAVAILABLE
from authguard.sql_engine import EngineFactory, SqlEngines
from authguard.state.revocations import KEPT_AFTER, Revocation, RevocationSource, RevocationStore, RevokedKey
from authguard.validation import check_seconds
from authguard.value_types import value

if TYPE_CHECKING:
    from sqlalchemy import Table

#: The least time between two looks for what has ended, in seconds.
PRUNED_EVERY = 3600.0


@value
class _Listed:
    """What is listed of a revocation: nothing that names it."""

    key: bytes
    before: float
    expires_at: float


class SqlRevocations(RevocationStore, RevocationSource):
    """Revocations in an SQL database, which all workers and hosts share: ``SqlRevocations("postgresql+asyncpg://...")``.

    - ``engine``: the URL of the database, for an async driver; or a function that makes an engine, which is called once
      for each event loop. It may be that of ``SqlApiKeys``.
    - ``table``: what ``revocation_table(metadata)`` of ``authguard.accounts.revocation_table`` returns, if the table is
      to be in the metadata of the app, where Alembic sees it.
    - ``deadline``: how many seconds a call may take that is not ``find``, whose deadline the guard sets.

    A revocation counts at the next request: nothing is cached, so each request asks the database once. What has ended
    for a day is deleted at times, when something is revoked. It needs asyncio. Methods raise ``BackendUnavailable`` if
    the database cannot answer. The constructor raises ``ConfigurationError``.
    """

    def __init__(
        self,
        engine: str | EngineFactory,
        *,
        table: Table | None = None,
        deadline: float = 30.0,
        clock: Clock = wall_clock,
        monotonic: Clock = time.monotonic,
    ) -> None:
        self._engines = SqlEngines(engine)
        from authguard.accounts.revocation_table import RevocationStatements  # noqa: PLC0415 - it needs the extra

        self._statements = RevocationStatements(table)
        self._deadline = check_seconds("deadline", deadline, most=3600)
        self._clock, self._monotonic = clock, monotonic
        self._prune_at = monotonic()

    async def find(self, keys: Sequence[bytes]) -> Mapping[bytes, float]:
        """Those of the keys that are revoked. Raises ``BackendUnavailable``."""
        rows = await self._engines.rows(self._statements.find, {"keys": [key.hex() for key in keys]})
        return {bytes.fromhex(row.key): row.before for row in rows}

    async def revoke(self, revocation: Revocation) -> None:
        """Refuse this at the next request of each worker. Raises ``BackendUnavailable``."""
        await ask(self._revoke(revocation), self._deadline)

    async def revocations(self) -> Sequence[StoredRevocation]:
        """All that are stored, the oldest first. Raises ``BackendUnavailable``."""
        rows = await ask(self._engines.rows(self._statements.all, {}), self._deadline)
        return [
            StoredRevocation(bytes.fromhex(row.key), row.kind, row.name, row.before, row.expires_at, row.revoked)
            for row in rows
        ]

    async def live(self, since: float) -> AsyncIterator[Sequence[RevokedKey]]:
        """Those that have not ended ten minutes ago and were entered at ``since`` or later, a thousand at a time.

        ``deadline`` counts for each thousand. Raises ``BackendUnavailable``.
        """
        parameters = {"after": "", "now": self._clock() - KEPT_AFTER, "since": since, "most": SLICE}
        while rows := await ask(self._engines.rows(self._statements.live, parameters), self._deadline):
            yield [_Listed(bytes.fromhex(row.key), row.before, row.expires_at) for row in rows]
            parameters["after"] = rows[-1].key

    async def prune(self) -> int:
        """Delete what has ended for more than a day. Returns how many these were."""
        return await ask(self._prune(), self._deadline)

    async def create_table(self) -> None:
        """Make the table, unless it is there. An app with Alembic needs no such call."""
        await ask(self._create_table(), self._deadline)

    async def _revoke(self, revocation: Revocation) -> None:
        from sqlalchemy.exc import IntegrityError  # noqa: PLC0415 - an extra

        new = StoredRevocation.of(revocation, self._clock())
        key, before, expires_at = new.key.hex(), float(new.before), float(new.expires_at)
        later = {"revoked_key": key, "new_before": before, "new_expires_at": expires_at, "new_revoked": new.revoked}
        row = {
            "key": key,
            "kind": new.kind,
            "name": new.name,
            "before": before,
            "expires_at": expires_at,
            "revoked": new.revoked,
        }
        for _ in range(2):
            async with self._engines.begin() as connection:
                if (await connection.execute(self._statements.extend, later)).rowcount:
                    break
                try:
                    await connection.execute(self._statements.add, row)
                except IntegrityError:  # another worker has just entered it
                    await connection.rollback()
                else:
                    break
        else:
            raise BackendUnavailable("the database refuses the row of a revocation", reason=STORE_UNAVAILABLE)
        if self._monotonic() >= self._prune_at:
            self._prune_at = self._monotonic() + PRUNED_EVERY
            await self._prune()

    async def _prune(self) -> int:
        async with self._engines.begin() as connection:
            pruned = await connection.execute(self._statements.prune, {"now": self._clock() - KEPT_LONGER})
        return int(pruned.rowcount)

    async def _create_table(self) -> None:
        async with self._engines.begin() as connection:
            await connection.run_sync(self._statements.table.metadata.create_all, tables=[self._statements.table])
