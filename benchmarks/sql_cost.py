"""The time of a request with an API key of an SQL database, compared with the look-up alone, on SQLite."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping, Sequence
from time import perf_counter_ns

from sqlalchemy import MetaData, select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from authguard import ApiKey, Guard, SqlApiKeys, new_key
from authguard.accounts.api_key_table import api_key_table
from benchmarks.digest_cost import Exchange
from benchmarks.measure import Sample, measure, spread
from benchmarks.paths import get_request, guarded, quiet
from benchmarks.results import Goal, PartResult, Progress

ALONE, REQUEST = "the look-up alone", "authguard, SqlApiKeys, the whole request"
#: A request should take at most so many times as long as the look-up alone.
LIMIT = 1.3


async def samples(url: str, engine: AsyncEngine) -> Mapping[str, Sample]:
    """The two rows, with one key in a new database."""
    keys = SqlApiKeys(url)
    await keys.create_table()
    new = new_key("alice", "ci", prefix="acme", environment="live", scopes={"orders"}, now=time.time())
    await keys.add(new.stored)
    table, key_id = api_key_table(MetaData()), new.stored.id
    app = guarded(Guard(ApiKey(keys, realm="orders", prefix="acme", environment="live")))

    async def alone() -> int:
        start = perf_counter_ns()
        async with engine.connect() as connection:
            (await connection.execute(select(table).where(table.c.id == key_id))).first()
        return perf_counter_ns() - start

    async def request() -> int:
        scope, exchange = get_request(new.text.encode(), field=b"x-api-key"), Exchange()
        start = perf_counter_ns()
        await app(scope, exchange.receive, exchange.send)
        elapsed = perf_counter_ns() - start
        if exchange.start["status"] != 200:
            raise SystemExit(f"{REQUEST}: the status is {exchange.start['status']}, expected was 200")
        return elapsed

    return {ALONE: alone, REQUEST: request}


async def _measure(rounds: int, calls: int) -> Mapping[str, Sequence[float]]:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite+aiosqlite:///{folder}/keys.db"
        engine = create_async_engine(url)
        try:
            rows = await samples(url, engine)
            return await measure(rows, rounds=rounds, calls=calls, progress=Progress("sql", rounds).step)
        finally:
            await engine.dispose()


def sql_cost(*, rounds: int, calls: int) -> PartResult:
    """Measure both rows in this many rounds, with this many timed calls per row and round."""
    quiet()
    figures = asyncio.run(_measure(rounds, calls))
    width = max(map(len, figures))
    lines = [f"{'microseconds':{width}}  median   middle half"]
    for name, microseconds in figures.items():
        quartiles = spread(microseconds)
        lines.append(f"{name:{width}}  {quartiles.median:6.1f}  {quartiles.low:5.1f} - {quartiles.high:5.1f}")
    ratio = spread([over / under for over, under in zip(figures[REQUEST], figures[ALONE], strict=True)]).median
    lines += ["", f"ratio {ratio:.2f}"]
    return PartResult("\n".join(lines), [Goal(f"{REQUEST} / {ALONE}", ratio, LIMIT)])
