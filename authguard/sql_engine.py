"""Async SQLAlchemy engines, one for each event loop, and what an error of a database means.

SQLAlchemy is an extra: nothing here imports it before the first ``SqlEngines`` is made.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeAlias

from authguard.app_code import plain_function, shown, wrong_answer
from authguard.errors import BackendUnavailable, ConfigurationError, WrongAnswer
from authguard.event_loop import close_with_loop
from authguard.fork import ForkSafeLock, renew_after_fork
from authguard.reasons import STORE_UNAVAILABLE

if TYPE_CHECKING:
    from sqlalchemy import Executable, Row
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

#: Makes an async engine: ``lambda: create_async_engine(url)``.
EngineFactory: TypeAlias = Callable[[], "AsyncEngine"]

#: The detail of the outage that is a missing table.
NO_TABLE = "a table is missing in the database; make it with Alembic or create_table()"

# How many seconds a request waits for a connection of the pool. It is less than the deadline of a scheme, so that the
# record says that the pool is exhausted, and not only that there was no answer.
_POOL_TIMEOUT = 3
# "The table does not exist": the SQLSTATE of PostgreSQL, and the text of SQLite.
_MISSING = ("42P01", "no such table")

_TRIO = "SQLAlchemy does not run on trio; run the server on asyncio, or keep the keys in a file"


class SqlEngines:
    """The engines of one database, one for each event loop: a connection belongs to the loop that has opened it.

    ``engine`` is the URL of the database for an async driver, or a function that makes an engine. It is called once
    for each loop that uses the database. When a loop ends, as each one of a ``TestClient`` does, its connections are
    closed. A forked child makes engines of its own. Raises ``ConfigurationError``, which shows no part of a URL.
    """

    def __init__(self, engine: str | EngineFactory) -> None:
        check_sqlalchemy()
        self._make = _engine_factory(engine)
        self._lock = ForkSafeLock()
        self._engines: dict[asyncio.AbstractEventLoop, AsyncEngine] = {}
        self._given: weakref.WeakSet[AsyncEngine] = weakref.WeakSet()
        self._of_parents: list[object] = []
        renew_after_fork(self)

    def renew(self) -> None:
        """Make new engines in a forked child, and close nothing: the connections of the parent are open there."""
        # They are kept, because an object that nobody needs any more would close its connection.
        self._of_parents.append(self._engines)
        self._engines = {}

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """A connection that reads. Raises ``BackendUnavailable`` for whatever the database cannot do."""
        with outages():
            async with self._engine().connect() as connection:
                yield connection

    async def first_row(self, statement: Executable, parameters: Mapping[str, object]) -> Row[Any] | None:
        """The first row of a query of at most one. Raises ``BackendUnavailable``, as ``rows`` does."""
        rows = await self.rows(statement, parameters)
        return rows[0] if rows else None

    async def rows(self, statement: Executable, parameters: Mapping[str, object]) -> Sequence[Row[Any]]:
        """The rows of a query. Raises ``BackendUnavailable``.

        If the server has closed the connection meanwhile, as when it was restarted, it is asked again by a new one.
        """
        from sqlalchemy.exc import DBAPIError  # noqa: PLC0415 - an extra

        with outages():
            engine = self._engine()
            try:
                return await _rows(engine, statement, parameters)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
            return await _rows(engine, statement, parameters)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction, which is committed at the end. Raises ``BackendUnavailable``."""
        with outages():
            async with self._engine().begin() as connection:
                yield connection

    def check_library(self) -> None:
        """Raise ``ConfigurationError`` on trio. An app calls it when it starts."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            on_asyncio = False
        else:
            on_asyncio = True
        if not on_asyncio:
            raise ConfigurationError("engine", _TRIO)

    def loop_count(self) -> int:
        """How many event loops have an engine."""
        return len(self._engines)

    def _engine(self) -> AsyncEngine:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise BackendUnavailable(_TRIO, reason=STORE_UNAVAILABLE) from None
        return self._engines.get(loop) or self._open(loop)

    def _open(self, loop: asyncio.AbstractEventLoop) -> AsyncEngine:
        """Make the engine of this loop."""
        from sqlalchemy.ext.asyncio import AsyncEngine  # noqa: PLC0415 - an extra

        with self._lock:
            for ended in [known for known in self._engines if known.is_closed()]:
                del self._engines[ended]
            engine = self._make()
            if not isinstance(engine, AsyncEngine):
                raise wrong_answer(self._make, engine, "create_async_engine(...), a new one at each call")
            if engine in self._given:
                raise WrongAnswer(
                    f"{shown(self._make)} returned the engine of another event loop; make a new one at each call: "
                    "return create_async_engine(...)"
                )
            self._given.add(engine)
            self._engines[loop] = engine
            close_with_loop(loop, engine.dispose)
            return engine


async def _rows(engine: AsyncEngine, statement: Executable, parameters: Mapping[str, object]) -> Sequence[Row[Any]]:
    async with engine.connect() as connection:
        return (await connection.execute(statement, parameters)).all()


@contextmanager
def outages() -> Iterator[None]:
    """Turn an error of a database into ``BackendUnavailable``. Its text may have addresses and values, and is left out.

    The detail is the type of the error, and the fix where it is known.
    """
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError  # noqa: PLC0415 - an extra
    from sqlalchemy.exc import TimeoutError as PoolTimeout  # noqa: PLC0415 - an extra

    try:
        yield
    except PoolTimeout:
        detail = "every connection of the pool is in use; give create_async_engine(...) a larger pool_size"
    except (SQLAlchemyError, OSError) as error:
        detail = type(error).__name__
        if isinstance(error, DBAPIError):
            code, text = getattr(error.orig, "sqlstate", None), str(error.orig)
            if code == _MISSING[0] or _MISSING[1] in text:
                detail = NO_TABLE
    else:
        return
    raise BackendUnavailable(detail, reason=STORE_UNAVAILABLE)


def check_sqlalchemy() -> None:
    """Raise ``ConfigurationError`` if SQLAlchemy with its async part is not installed."""
    # Its async part needs greenlet, which it does not install by itself.
    if any(find_spec(name) is None for name in ("sqlalchemy", "greenlet")):
        raise ConfigurationError("engine", 'SQLAlchemy is not installed; run pip install "authguard[sql]"')


def _engine_factory(engine: str | EngineFactory) -> EngineFactory:
    from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine  # noqa: PLC0415 - an extra

    if isinstance(engine, AsyncEngine):
        raise ConfigurationError(
            "engine", "an engine serves one event loop; give a function: lambda: create_async_engine(url)"
        )
    if not isinstance(engine, str):
        return plain_function("engine", engine, "make_engine()")
    options = _checked_options(engine)
    return partial(create_async_engine, engine, **options)


def _checked_options(url: str) -> dict[str, int]:
    """The options for an engine of this URL. Raises ``ConfigurationError`` for one that no async engine takes."""
    from sqlalchemy import make_url  # noqa: PLC0415 - an extra
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError  # noqa: PLC0415 - an extra

    problem = None
    try:
        parsed = make_url(url)
        dialect = parsed.get_dialect()
        if not dialect.is_async:
            problem = (
                f"{parsed.drivername} has no async driver; write sqlite+aiosqlite:///keys.db or "
                "postgresql+asyncpg://host/database"
            )
        else:
            dialect.import_dbapi()
    except (ArgumentError, NoSuchModuleError, ValueError):
        problem = "it is not a URL of a database; write sqlite+aiosqlite:///keys.db or postgresql+asyncpg://host/name"
    except ImportError as error:
        problem = f"the driver {error.name} is not installed; run pip install {error.name}"
    else:
        if problem is None and dialect.name == "sqlite" and parsed.database in {None, "", ":memory:"}:
            problem = "each event loop would have a database of its own in memory; name a file"
    if problem is not None:
        raise ConfigurationError("engine", problem)
    return {"pool_timeout": _POOL_TIMEOUT}
