"""``authguard revoke``: revoke a token, a session, an API key or a subject, in a file or in a database."""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import anyio

from authguard.accounts.revocation_file import RevocationFileAdmin, StoredRevocation
from authguard.cli.durations import duration
from authguard.cli.key_store import database_url, option_names
from authguard.cli.terminal import note, printable, write
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.sql_engine import NO_TABLE
from authguard.state.revocations import Revocation

DESCRIPTION = """Enters a revocation into a file, as RevocationFile(...) reads it, where it counts a second later; or
into a database, as SqlRevocations(...) has it. A password is in the variable AUTHGUARD_REVOCATIONS or in a file.
A subject is revoked up to a time: what was issued until then is refused, and a new login passes.
Whatever has ended for more than a day is left out at times."""
EPILOG = """Examples:
  authguard revoke --store revoked.json --init
  authguard revoke --store revoked.json --subject alice --before now
  authguard revoke --store revoked.json --jti 5f0c2a77 --expires-in 8h
  authguard revoke --store postgresql+asyncpg://orders@localhost/orders --password-file password --list"""

#: The variable that names the store, where the URL may have a password.
VARIABLE = "AUTHGUARD_REVOCATIONS"
#: How long a revocation is kept, in seconds, if nothing is said: as long as a browser keeps a cookie, 400 days.
_KEPT = 34_560_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("--store", metavar="STORE", help=f"a file, or the URL of a database; or set {VARIABLE}")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="the password for the URL of a database")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--jti", metavar="ID", help="revoke the token with this jti")
    what.add_argument("--session", metavar="ID", help="revoke the session with this id; the file has only its hash")
    what.add_argument("--api-key", metavar="ID", help="revoke the API key with this id")
    what.add_argument("--subject", metavar="NAME", help="revoke all that was issued to this subject until --before")
    what.add_argument("--list", action="store_true", help="print what is revoked, the oldest first")
    what.add_argument("--prune", action="store_true", help="leave out what has ended for more than a day")
    what.add_argument("--init", action="store_true", help="make an empty file or the table, if there is none")
    parser.add_argument(
        "--before", type=_time, metavar="TIME", help="for --subject: now (the default), or 2026-11-29T23:00:00+00:00"
    )
    parser.add_argument(
        "--expires-in",
        type=duration,
        metavar="TIME",
        help="when all that is revoked has ended by itself: 8h, 90d; 400d by default, and never for an API key",
    )
    parser.add_argument("--json", action="store_true", help="for --list: print JSON")


def _time(argument: str) -> float:
    """A time in seconds since the epoch. Raises ``argparse.ArgumentTypeError``."""
    if argument == "now":
        return time.time()
    try:
        found = datetime.fromisoformat(argument)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise argparse.ArgumentTypeError("it is not a time; write now, or 2026-11-29T23:00:00+00:00 with its offset")
    return found.timestamp()


def run(arguments: argparse.Namespace) -> int:
    """Do what is asked and return the exit status. Raises ``ConfigurationError``."""
    name: str = arguments.store or os.environ.get(VARIABLE, "")
    if not name:
        raise ConfigurationError("--store", f"name a file or the URL of a database, or set {VARIABLE}")
    try:
        with option_names():
            _act(arguments, _open(name, arguments), name)
    except BackendUnavailable as error:
        problem = error.detail
    else:
        return 0
    if problem == NO_TABLE:
        problem = "the database has no table of revocations; make it with Alembic, or with --init"
    raise ConfigurationError("--store", problem)


class _Database:
    """Lists and changes the revocations of a database, with the methods of ``RevocationFileAdmin``."""

    def __init__(self, url: str) -> None:
        from authguard.accounts.revocation_sql import SqlRevocations  # noqa: PLC0415 - what only this store needs

        self._store = SqlRevocations(url)

    def revocations(self) -> Sequence[StoredRevocation]:
        return anyio.run(self._store.revocations)

    def make(self) -> bool:
        anyio.run(self._store.create_table)
        return True

    def revoke(self, revocation: Revocation) -> StoredRevocation:
        anyio.run(self._store.revoke, revocation)
        return StoredRevocation.of(revocation, time.time())

    def prune(self) -> int:
        return anyio.run(self._store.prune)


def _open(name: str, arguments: argparse.Namespace) -> RevocationFileAdmin | _Database:
    if "://" in name:
        in_argument, may_be_new = bool(arguments.store), arguments.init
        password_file: Path | None = arguments.password_file
        return _Database(database_url(name, password_file, VARIABLE, in_argument=in_argument, may_be_new=may_be_new))
    if arguments.password_file is not None:
        raise ConfigurationError("--password-file", "a file of revocations has no password; leave it out")
    return RevocationFileAdmin(name)


def _act(arguments: argparse.Namespace, store: RevocationFileAdmin | _Database, name: str) -> None:
    shown = "the database" if isinstance(store, _Database) else name
    if arguments.list:
        stored = store.revocations()
        write(_as_json(stored) if arguments.json else _as_text(stored))
    elif arguments.prune:
        note(f"{shown}: {store.prune()} left out")
    elif arguments.init:
        made = "made" if store.make() else "it exists, and is left as it is"
        note(f"{shown}: {made}" if shown == name else "the table is there")
    else:
        revocation = _revocation(arguments)
        if shown == name and not Path(name).exists():
            # Of a typing mistake, no app would read it; of a lost file, it would give back all that was revoked.
            raise ConfigurationError("--store", f"there is no file {name}; make it with --init")
        note(f"revoked {_line(store.revoke(revocation))}")


def _revocation(arguments: argparse.Namespace) -> Revocation:
    now = time.time()
    expires_in: float | None = arguments.expires_in
    if arguments.before is not None and arguments.subject is None:
        raise ConfigurationError("--before", "it is for --subject; a token, a session or a key is revoked as a whole")
    if arguments.subject is not None:
        before = now if arguments.before is None else arguments.before
        expires_at = max(now, before) + (expires_in or _KEPT)
        return Revocation.subject(arguments.subject, before=before, expires_at=expires_at)
    if arguments.api_key is not None:
        return Revocation.api_key(arguments.api_key, expires_at=now + (expires_in or math.inf))
    expires_at = now + (expires_in or _KEPT)
    if arguments.session is not None:
        return Revocation.session(arguments.session, expires_at=expires_at)
    return Revocation.token(arguments.jti, expires_at=expires_at)


def _as_text(stored: Sequence[StoredRevocation]) -> str:
    return "\n".join(map(_line, stored)) if stored else "nothing is revoked"


def _line(each: StoredRevocation) -> str:
    """One revocation for a person: ``subject alice: what was issued until ..., kept until ...``."""
    name = f"{each.key.hex()[:8]}... (a hash)" if each.name is None else printable(each.name)
    until = "" if math.isinf(each.before) else f"what was issued until {_shown(each.before)}, "
    return f"{each.kind.replace('_', ' ')} {name}: {until}kept until {_shown(each.expires_at)}"


def _as_json(stored: Sequence[StoredRevocation]) -> str:
    fields = [
        {
            "kind": each.kind,
            "name": each.name,
            "key": each.key.hex(),
            "before": _shown_or_none(each.before),
            "expires_at": _shown_or_none(each.expires_at),
            "revoked": _shown(each.revoked),
        }
        for each in stored
    ]
    return json.dumps(fields, indent=2)


def _shown_or_none(seconds: float) -> str | None:
    return None if math.isinf(seconds) else _shown(seconds)


def _shown(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (OSError, OverflowError, ValueError):  # it is infinite, or after the year 9999
        return "the end of time"
