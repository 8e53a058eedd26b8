"""Revocations in one JSON file, which the command writes. The app reads it, and reads it again when it changes."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio.to_thread

from authguard.accounts.line_file import changing, content_of, entry_lines, replace_file, unavailable
from authguard.accounts.watched_file import BadFile, WatchedFile
from authguard.concurrency.slices import Slices, with_pauses
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.model import Clock
from authguard.reasons import STORE_UNAVAILABLE
from authguard.state.revocations import (
    KEPT_AFTER,
    KINDS,
    Revocation,
    RevocationKind,
    Revocations,
    RevocationSource,
    RevokedKey,
)
from authguard.value_types import value

T = TypeVar("T")

#: The first line.
_FIRST = b'{"authguard_revocations": 1, "revocations": ['
#: How many revocations are read in one slice.
_LINES = 200
#: The most revocations of a file. Each change writes all of them.
MOST = 200_000
#: How long a revocation stays after its end, in seconds: the clock of this machine may be wrong, and a revocation that
#: is gone makes good what it revoked.
KEPT_LONGER = KEPT_AFTER + 86_400.0
#: How many revocations a source lists at a time.
SLICE = 1000


@value
class StoredRevocation:
    """A revocation in a file. ``name`` is None for a session, whose id may be as good as a password.

    ``key`` is that of ``Revocation``, and ``revoked`` is when it was entered, in seconds since the epoch.
    """

    key: bytes
    kind: RevocationKind
    name: str | None
    before: float
    expires_at: float
    revoked: float

    @classmethod
    def of(cls, revocation: Revocation, now: float) -> StoredRevocation:
        """What is stored of a revocation that is entered now."""
        name = None if revocation.kind == "session" else revocation.name
        return cls(revocation.key, revocation.kind, name, revocation.before, revocation.expires_at, now)


class RevocationFile(Revocations, RevocationSource):
    """Revocations from a file that the command writes: ``RevocationFile("revoked.json")``, ``authguard revoke ...``.

    The file is read again when it changes: a revocation counts at most 2.5 seconds later, for all workers of the
    host. ``WatchedFile`` says what happens if the file is bad or gone: after five minutes each request is a 503. It is
    never used while somebody writes it. ``authguard revoke --init`` makes an empty one. Raises ``ConfigurationError``.

    ``clock`` is a monotonic clock, for these durations. ``wall`` is the time in seconds since the epoch.
    """

    def __init__(self, path: str | os.PathLike[str], *, clock: Clock = time.monotonic, wall: Clock = time.time) -> None:
        self._file = WatchedFile(path, _parse_times, argument="path", clock=clock)
        self._admin, self._wall = RevocationFileAdmin(path, clock=wall), wall

    async def find(self, keys: Sequence[bytes]) -> Mapping[bytes, float]:
        """Those of the keys that are revoked. Raises ``BackendUnavailable`` if the file was bad for too long."""
        return _found(await self._file.value(), keys)

    def find_now(self, keys: Sequence[bytes]) -> Mapping[bytes, float] | None:
        """The same answer, or None if it is time to check the file."""
        return None if self._file.is_check_due else _found(self._file.current, keys)

    async def revoke(self, revocation: Revocation) -> None:
        """Enter a revocation into the file, as the command does. Each worker sees it at most 2.5 seconds later.

        The whole file is written anew, which takes about a second with 100,000 revocations. Where many users log out,
        take ``SqlRevocations``. Raises ``BackendUnavailable``.
        """
        await anyio.to_thread.run_sync(self._revoke, revocation)

    async def live(self, since: float) -> AsyncIterator[Sequence[RevokedKey]]:
        """Those that have not ended ten minutes ago and were entered at ``since`` or later, a thousand at a time.

        The file is read for that. Raises ``BackendUnavailable`` if it is bad or gone.
        """
        listed = await anyio.to_thread.run_sync(self._live, since)
        for begin in range(0, len(listed), SLICE):
            yield listed[begin : begin + SLICE]

    def _revoke(self, revocation: Revocation) -> None:
        with _as_outage():
            self._admin.revocations()  # if the file is gone, a new one would hold this one alone, and look whole
            self._admin.revoke(revocation)

    def _live(self, since: float) -> Sequence[RevokedKey]:
        now = self._wall() - KEPT_AFTER
        with _as_outage():
            stored = self._admin.revocations()
        return [each for each in stored if each.revoked >= since and each.expires_at > now]


@contextmanager
def _as_outage() -> Iterator[None]:
    """Raise ``BackendUnavailable`` for a file that is bad or gone: the set-up was right when the app was built."""
    try:
        yield
    except ConfigurationError as error:
        raise BackendUnavailable(str(error), reason=STORE_UNAVAILABLE) from None


class RevocationFileAdmin:
    """Lists and changes the revocations of a ``RevocationFile``, as the command does.

    A change holds the lock ``PATH.lock``, writes a new file beside, and renames it over the old one. Each change leaves
    out what has ended for more than a day. Raises ``ConfigurationError`` for a file of another kind, and
    ``BackendUnavailable`` if it cannot be written, if another change takes longer than ten seconds, or if it is full.
    """

    def __init__(self, path: str | os.PathLike[str], *, clock: Clock = time.time) -> None:
        self._path, self._clock = Path(path).resolve(), clock

    def revocations(self) -> Sequence[StoredRevocation]:
        """All that are in the file, the oldest first."""
        return sorted(self._read(must_exist=True).values(), key=lambda stored: stored.revoked)

    def make(self) -> bool:
        """Make the file if there is none. Whether it was made."""

        def nothing(_: dict[bytes, StoredRevocation]) -> bool:
            return not self._path.exists()

        return self._update(nothing)

    def revoke(self, revocation: Revocation) -> StoredRevocation:
        """Enter a revocation. The later ``before`` and ``expires_at`` hold, if it is there already."""
        new = StoredRevocation.of(revocation, self._clock())

        def add(stored: dict[bytes, StoredRevocation]) -> StoredRevocation:
            old = stored.get(new.key, new)
            before, expires_at = max(old.before, new.before), max(old.expires_at, new.expires_at)
            if new.key not in stored and len(stored) >= MOST:
                raise BackendUnavailable(f"{self._path} has {MOST} revocations and is full", reason=STORE_UNAVAILABLE)
            kept = StoredRevocation(new.key, new.kind, new.name, before, expires_at, new.revoked)
            stored[new.key] = kept
            return kept

        return self._update(add)

    def prune(self) -> int:
        """Leave out what has ended for more than a day. Returns how many these were."""
        before = len(self._read(must_exist=True))
        return before - self._update(len)

    def _read(self, *, must_exist: bool = False) -> dict[bytes, StoredRevocation]:
        try:
            return with_pauses(parse_revocations(self._path.read_bytes()))
        except FileNotFoundError:
            if not must_exist:
                return {}
            problem = "there is no such file; make it with --init"
        except BadFile as error:
            problem = str(error)
        except OSError as error:
            raise unavailable(self._path, error) from None
        raise ConfigurationError("path", f"{self._path}: {problem}")

    def _update(self, change: Callable[[dict[bytes, StoredRevocation]], T]) -> T:
        with changing(self._path):
            now = self._clock()
            stored = {key: each for key, each in self._read().items() if now < each.expires_at + KEPT_LONGER}
            result = change(stored)
            replace_file(self._path, write_revocations(stored.values()))
            return result


def _found(times: Mapping[bytes, float], keys: Sequence[bytes]) -> Mapping[bytes, float]:
    return {} if times.keys().isdisjoint(keys) else {key: times[key] for key in keys if key in times}


def write_revocations(stored: Iterable[StoredRevocation]) -> bytes:
    """The content of a file with these. This is the reverse of ``parse_revocations``."""
    return content_of(_FIRST, map(_record, stored))


def _record(each: StoredRevocation) -> Mapping[str, object]:
    record: dict[str, object] = {"kind": each.kind, "revoked": each.revoked}
    record |= {"key": each.key.hex()} if each.name is None else {"name": each.name}
    # JSON has no infinity: a time that is left out is one that never comes.
    times = {"before": each.before, "expires_at": each.expires_at}
    return {**record, **{name: seconds for name, seconds in times.items() if seconds != math.inf}}


def _parse_times(content: bytes) -> Slices[Mapping[bytes, float]]:
    """For each key in a file until when what was issued is refused: all that the app needs of it."""
    stored = yield from parse_revocations(content)
    return {key: each.before for key, each in stored.items()}


def parse_revocations(content: bytes) -> Slices[dict[bytes, StoredRevocation]]:
    """The revocations in a file, by their keys. Raises ``BadFile``, which quotes nothing of it."""
    if content and not content.endswith(b"\n"):
        raise BadFile("the last line is incomplete")
    stored: dict[bytes, StoredRevocation] = {}
    for number, line in entry_lines(content, _FIRST, "authguard revoke"):
        each = _read_line(number, line)
        stored[each.key] = each
        if number % _LINES == 0:
            yield
    return stored


def _read_line(number: int, line: bytes) -> StoredRevocation:
    try:
        record: Any = json.loads(line)
        kind, before, expires_at = record["kind"], record.get("before", math.inf), record.get("expires_at", math.inf)
        if kind in KINDS and isinstance(record["revoked"], int | float):
            if kind != "session":
                revocation = Revocation(kind, record["name"], expires_at, before)
                return StoredRevocation.of(revocation, record["revoked"])
            key = bytes.fromhex(record["key"])
            if len(key) == 16 and isinstance(before, int | float) and isinstance(expires_at, int | float):
                return StoredRevocation(key, kind, None, before, expires_at, record["revoked"])
    except (ValueError, AttributeError, LookupError, TypeError, RecursionError, ConfigurationError):
        pass
    # Raised here and not in the except block, because the errors hold a part of the line.
    raise BadFile(f"line {number} is no revocation")
