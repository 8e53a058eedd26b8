"""The store of API keys that a command is about: a file, or a database by its URL."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio

from authguard.accounts.api_key import ApiKeyAdmin
from authguard.accounts.watched_file import CHECK_INTERVAL, SETTLED_AFTER
from authguard.cli.private_file import read_file
from authguard.cli.terminal import note
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.value_types import frozen

T = TypeVar("T")

#: The variable that names the store, where the URL may have a password.
VARIABLE = "AUTHGUARD_STORE"
#: The longest password or pepper in a file, in bytes.
_MOST_SECRET = 4096
#: How many seconds after a change each request makes its app read the file, if it has not been read.
READ_AFTER = SETTLED_AFTER + CHECK_INTERVAL
#: After how many seconds a person is told that the command still waits.
_PATIENCE = 2.0
# The arguments of the functions that are called here, and what they are on the command line.
_OPTIONS = {
    "roles": "--role",
    "scopes": "--scope",
    "networks": "--network",
    "prefix": "--prefix",
    "environment": "--environment",
    "expires": "--expires",
    "overlap": "--overlap",
    "pepper": "--pepper-file",
    "key_id": "ID",
    "key": "ID",
    "owner": "OWNER",
    "name": "NAME",
    "engine": "--store",
    "path": "--store",
    "keys": "--store",
}


@frozen
class KeyStore:
    """A store of keys: what changes it, and whether apps may have read it from a file, which they watch."""

    admin: ApiKeyAdmin
    is_watched: bool


def open_store(argument: str | None, password_file: Path | None, *, may_be_new: bool = False) -> KeyStore:
    """The store of the argument, or of the variable. Raises ``ConfigurationError``, which shows no password.

    ``may_be_new``: whether a file that does not exist is right.
    """
    with option_names():
        return _open(argument, password_file, may_be_new=may_be_new)


def _open(argument: str | None, password_file: Path | None, *, may_be_new: bool) -> KeyStore:
    name = argument if argument is not None else os.environ.get(VARIABLE)
    if not name:
        raise ConfigurationError("--store", f"name a file or the URL of a database, or set {VARIABLE}")
    if "://" in name:
        in_argument = argument is not None
        database = _open_database(name, password_file, in_argument=in_argument, may_be_new=may_be_new)
        return KeyStore(database, is_watched=False)
    if password_file is not None:
        raise ConfigurationError("--password-file", "a file of keys has no password; leave it out")
    if not may_be_new:
        _check_exists(Path(name))
    from authguard.accounts.api_key_file import ApiKeyFileAdmin  # noqa: PLC0415 - what only this store needs

    return KeyStore(ApiKeyFileAdmin(name), is_watched=Path(name).exists())


def _open_database(url: str, password_file: Path | None, *, in_argument: bool, may_be_new: bool) -> ApiKeyAdmin:
    from authguard.accounts.api_key_sql import SqlApiKeys  # noqa: PLC0415 - what only this store needs

    return SqlApiKeys(database_url(url, password_file, VARIABLE, in_argument=in_argument, may_be_new=may_be_new))


def database_url(url: str, password_file: Path | None, variable: str, *, in_argument: bool, may_be_new: bool) -> str:
    """The URL of a database, with the password of a file. Raises ``ConfigurationError`` for a password in an argument.

    ``variable``: where the whole URL may stand. ``may_be_new``: whether an SQLite file that does not exist is right.
    """
    from authguard.sql_engine import check_sqlalchemy  # noqa: PLC0415 - the same

    check_sqlalchemy()
    from sqlalchemy import make_url  # noqa: PLC0415 - an extra
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415 - an extra

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return url  # the store says what is wrong with it
    if in_argument and (parsed.password is not None or any("passw" in name.lower() for name in parsed.query)):
        raise ConfigurationError(
            "--store",
            "it has a password, which other users and the shell's history now see; choose another one, and put it into "
            f"--password-file or the whole URL into {variable}",
        )
    if password_file is not None:
        parsed = parsed.set(password=read_secret("--password-file", password_file))
    if parsed.get_backend_name() == "sqlite" and parsed.database and not may_be_new:
        _check_exists(Path(parsed.database))
    return parsed.render_as_string(hide_password=False)


def _check_exists(path: Path) -> None:
    # A database or a file that is made by a typing mistake would be empty, and every answer about it wrong.
    if not path.exists():
        raise ConfigurationError("--store", f"there is no file {path}; `authguard apikey create` makes it")


def read_secret(argument: str, path: Path) -> str:
    """The secret in a file, without a line feed at its end. Raises ``ConfigurationError``."""
    content = read_file(argument, path, most=_MOST_SECRET, fix="write the secret into it")
    try:
        secret = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        secret = ""
    if not secret:
        raise ConfigurationError(argument, f"{path} is empty or not UTF-8; write the secret into it")
    return secret


def wait_for_readers(store: KeyStore) -> None:
    """After a change, wait until the next request of each app that reads the file sees it. A database needs no wait."""
    if store.is_watched:
        if sys.stderr is not None and sys.stderr.isatty():
            note(f"waiting {READ_AFTER:g} s, until every app reads the file; --no-wait leaves that out")
        time.sleep(READ_AFTER)


def call(function: Callable[..., Awaitable[T]], *arguments: object) -> T:
    """What a method of the store returns. Raises ``ConfigurationError`` with the option that is wrong."""

    async def run() -> T:
        return await function(*arguments)

    try:
        with option_names(), _patience():
            return anyio.run(run)
    except BackendUnavailable as error:
        problem = error.detail or str(error)
    except TypeError as error:
        # The driver takes the options of a URL as arguments.
        if "unexpected keyword argument" not in str(error):
            raise
        problem = "the driver of the database does not know an option of the URL"
    raise ConfigurationError("--store", _with_fix(problem))


@contextmanager
def option_names() -> Iterator[None]:
    """Let a ``ConfigurationError`` name the option, in place of the argument of a function."""
    try:
        yield
    except ConfigurationError as error:
        argument, problem = error.argument, str(error).removeprefix(f"{error.argument}: ")
    else:
        return
    raise ConfigurationError(_OPTIONS.get(argument, argument), problem)


def _with_fix(problem: str) -> str:
    from authguard.sql_engine import NO_TABLE  # noqa: PLC0415 - what only a database needs

    if problem == NO_TABLE:
        return "the database has no table of API keys; make it with Alembic, or with apikey create --create-table"
    if " " in problem:
        return problem
    return f"the database cannot be used ({problem}); look at its address, its user and whether it runs"


@contextmanager
def _patience() -> Iterator[None]:
    """Tell a person at a terminal that the command still waits."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    timer = threading.Timer(_PATIENCE, partial(note, "waiting for the store ..."))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
