"""Databases for tests: SQLite, and a PostgreSQL server with a folder and a port of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.support.servers.ports import free_port


def server_programs() -> Path | None:
    """The folder of the server's programs, which Debian does not put on the path."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name), default=None)


class _Privileges(TypedDict, total=False):
    user: str
    group: str
    extra_groups: list[str]


def _privileges() -> _Privileges:
    """The user that runs the server: root must not, so the user of the package does."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}


@contextmanager
def running_postgres() -> Iterator[str]:
    """The URL of an empty database, whose server runs until the end of the block and leaves nothing behind."""
    folder = server_programs()
    assert folder is not None
    port = free_port()
    options: dict[str, Any] = {**_privileges(), "cwd": "/", "env": {**os.environ, "LC_ALL": "C"}, "text": True}
    with tempfile.TemporaryDirectory() as name:
        if os.geteuid() == 0:
            shutil.chown(name, "postgres", "postgres")
        making = ["-D", name, "--auth=trust", "--username=tests", "--encoding=UTF8", "--no-locale", "--no-sync"]
        subprocess.run([folder / "initdb", *making], check=True, capture_output=True, **options)
        running = ["-D", name, "-h", "127.0.0.1", "-p", str(port), "-k", "", "-F"]
        with subprocess.Popen([folder / "postgres", *running], stderr=subprocess.PIPE, **options) as server:
            try:
                assert server.stderr is not None
                lines = []
                for line in server.stderr:
                    lines.append(line)
                    if "ready to accept connections" in line:
                        break
                else:
                    raise AssertionError("".join(lines))
                yield f"postgresql+asyncpg://tests@127.0.0.1:{port}/postgres"
            finally:
                server.send_signal(signal.SIGINT)  # fast shutdown: clients are disconnected and the server ends
                server.wait(60)


def database_url(request: pytest.FixtureRequest, folder: Path) -> str:
    """The URL of a database, for a fixture with the parameters ``sqlite`` and ``postgres``."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{folder}/tests.db"
    url: str = request.getfixturevalue("postgres")
    return url


async def drop_table(url: str, name: str) -> None:
    """Remove a table that an earlier test has made."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text(f"DROP TABLE IF EXISTS {name}"))
    await engine.dispose()
