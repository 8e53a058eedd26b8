"""A file that is read again when it changes, and whose last good reading outlives a bad one for a while."""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from authguard.concurrency.thread_pool import ThreadPool
from authguard.errors import BackendUnavailable, ConfigurationError
from authguard.model import Clock
from authguard.reasons import STORE_UNAVAILABLE

T = TypeVar("T")

_log = logging.getLogger("authguard")

# All in seconds: how often a file is looked at, how long a request waits for that, after how long without a change one
# look is enough, and for how long a bad file is bridged.
EVERY = 0.5
PATIENCE = 1.0
SETTLED = 2.0
KEEP = 300.0

# No file of accounts is larger. What was put in its place by mistake may be.
MOST_OCTETS = 64 * 1024 * 1024


class BadFile(ValueError):
    """A file's content is not what it should be. The text names the line, and quotes nothing of it."""


class _Stamp(NamedTuple):
    """What tells one state of a file from another."""

    written: int
    changed: int  # the mode and the owner too, and unlike the other it cannot be set back (`cp -p`, `rsync -t`)
    size: int
    inode: int
    device: int


class WatchedFile(Generic[T]):
    """What ``parse`` makes of a file's octets, kept up to date.

    A look costs a ``stat`` in a thread, at most every half second, when somebody asks. A file that changed is read once
    it is left alone: two looks in a row have found it the same, or it has been so for two seconds (``wall`` is the
    clock by which files are stamped). It is taken only if it is still the same after reading.

    A file that is gone, unreadable or bad, or a disk that does not answer, is told in one ERROR, and the last good
    reading holds for five minutes; then ``value`` raises ``BackendUnavailable``. The first reading is made while the
    app is built, and raises ``ConfigurationError``.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        parse: Callable[[bytes], T],
        *,
        argument: str,
        clock: Clock = time.monotonic,
        wall: Clock = time.time,
    ) -> None:
        self._path = Path(path)
        self._parse = parse
        self._clock, self._wall = clock, wall
        self._pool = ThreadPool(threads=1, waiting=10_000, deadline=PATIENCE)
        # Which state of the file the value is of. None at first: what is read without having been looked at before may
        # be half written, so it is soon read again.
        self._taken: _Stamp | None = None
        self._seen: _Stamp | None = None
        self._refused: _Stamp | None = None
        self._bad_since: float | None = None
        try:
            self._stamp()
            self._value = parse(self._path.read_bytes())
        except (OSError, BadFile) as error:
            raise ConfigurationError(argument, f"{self._path}: {_problem(error)}") from None
        self._begun = self._looked_at = clock()

    @property
    def last(self) -> T:
        """The last good reading, without a look at the file, however old it is."""
        return self._value

    @property
    def current(self) -> T:
        """The last good reading, without a look at the file. Raises ``BackendUnavailable`` if that is too old."""
        if self._bad_since is not None and self._clock() - self._bad_since >= KEEP:
            raise BackendUnavailable(f"{self._path} has been bad for five minutes", reason=STORE_UNAVAILABLE)
        return self._value

    @property
    def due(self) -> bool:
        """Whether ``value`` would look at the file first."""
        return self._clock() - self._looked_at >= EVERY

    async def value(self) -> T:
        """The last good reading."""
        if self.due:
            if not self._pool.working:
                self._begun = self._clock()
            # Who comes while a look hangs waits no more. That must not hang on somebody's having waited to the end:
            # callers have deadlines of their own.
            if self._clock() - self._begun < PATIENCE:
                with suppress(BackendUnavailable):
                    await self._pool.run(self._look)
            else:
                self._bad(f"reading it takes more than {PATIENCE:g} s")
        return self.current

    def _look(self) -> None:
        """In the thread, one at a time."""
        if not self.due:
            return  # the look of another request came first
        try:
            self._take(self._stamp())
        except (OSError, BadFile) as error:
            self._bad(_problem(error))
        finally:
            self._looked_at = self._clock()

    def _take(self, stamp: _Stamp) -> None:
        if stamp == self._refused:
            return
        if stamp != self._taken:
            if stamp != self._seen and not self._settled(stamp):
                self._seen = stamp
                return
            octets = self._path.read_bytes()
            if self._stamp() != stamp:
                return  # it is being written
            try:
                self._value = self._parse(octets)
            except BadFile:
                self._refused = stamp
                raise
            self._taken = stamp
        if self._bad_since is not None:
            self._bad_since = None
            _log.warning("%s is good again", self._path)

    def _settled(self, stamp: _Stamp) -> bool:
        return self._wall() - max(stamp.written, stamp.changed) / 1e9 >= SETTLED

    def _bad(self, problem: str) -> None:
        if self._bad_since is None:
            self._bad_since = self._clock()
            _log.error("%s: %s; the last good reading holds for five minutes", self._path, problem)

    def _stamp(self) -> _Stamp:
        found = self._path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise BadFile("it is no regular file")
        if found.st_size > MOST_OCTETS:
            raise BadFile(f"it is larger than {MOST_OCTETS} octets")
        return _Stamp(found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev)


def _problem(error: OSError | BadFile) -> str:
    return str(error) if isinstance(error, BadFile) else error.strerror or type(error).__name__
