"""A file that is read again when it changes. Its last good content is used for a while if the file turns bad."""

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

#: The least time between two checks of a file, in seconds.
CHECK_INTERVAL = 0.5
#: How long a request waits for a check, in seconds.
CHECK_DEADLINE = 1.0
#: A file that has not changed for so many seconds is read at the first check that finds it changed.
SETTLED_AFTER = 2.0
#: How long the last good content of a bad file is used, in seconds.
KEEP_FOR = 300.0
#: The largest file that is read. No file of accounts is larger, but a log that was moved to its path by mistake may be.
MAX_BYTES = 64 * 1024 * 1024


class BadFile(ValueError):
    """The content of a file has the wrong format. The text names the line, and quotes nothing of it."""


class _Stamp(NamedTuple):
    """What changes when a file changes."""

    modified_ns: int
    changed_ns: int  # also changes with the mode and the owner, and cannot be set back (`cp -p`, `rsync -t`)
    size: int
    inode: int
    device: int


class WatchedFile(Generic[T]):
    """What ``parse`` makes of the bytes of a file, kept up to date.

    A request triggers a check, at most every half second: a ``stat`` in a thread. A changed file is read once nobody
    writes to it any more: two checks in a row have found it the same, or it has not changed for two seconds (``wall``
    is the clock of the file system). The content is used only if the file is still the same after reading.

    If the file is gone, unreadable or bad, or if the disk does not answer, one ERROR is logged, and the last good
    content is used for five minutes. Then ``value`` and ``current`` raise ``BackendUnavailable``. The file is read for
    the first time by the constructor, which raises ``ConfigurationError``. A forked child checks with a thread of its
    own.
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
        self._pool = ThreadPool(threads=1, waiting=10_000, deadline=CHECK_DEADLINE)
        # The state of the file that the value was read from. None at first: no check came before that reading, so the
        # file may have been half written, and is read again soon.
        self._value_stamp: _Stamp | None = None
        # The state at the last check that found the file changed, and the state in which its content was bad.
        self._changed_stamp: _Stamp | None = None
        self._bad_stamp: _Stamp | None = None
        self._bad_since: float | None = None
        try:
            self._read_stamp()
            self._value = parse(self._path.read_bytes())
        except (OSError, BadFile) as error:
            raise ConfigurationError(argument, f"{self._path}: {_problem(error)}") from None
        self._check_began = self._checked_at = clock()

    @property
    def last(self) -> T:
        """The last good content, however old it is. Does not check the file."""
        return self._value

    @property
    def current(self) -> T:
        """The last good content. Does not check the file.

        Raises ``BackendUnavailable`` if the file has been bad for five minutes.
        """
        if self._bad_since is not None and self._clock() - self._bad_since >= KEEP_FOR:
            raise BackendUnavailable(f"{self._path} has been bad for five minutes", reason=STORE_UNAVAILABLE)
        return self._value

    @property
    def is_check_due(self) -> bool:
        """Whether ``value`` would check the file first."""
        return self._clock() - self._checked_at >= CHECK_INTERVAL

    async def value(self) -> T:
        """The last good content, after a check of the file if one is due.

        Raises ``BackendUnavailable`` if the file has been bad for five minutes.
        """
        if self.is_check_due:
            if not self._pool.working:
                self._check_began = self._clock()
            # If a check hangs, later callers do not wait for it. They cannot rely on an earlier caller to report that,
            # because it may have given up at a deadline of its own.
            if self._clock() - self._check_began < CHECK_DEADLINE:
                with suppress(BackendUnavailable):
                    await self._pool.run(self._check)
            else:
                self._report_bad(f"reading it takes more than {CHECK_DEADLINE:g} s")
        return self.current

    def _check(self) -> None:
        """Check the file, and read it if it has changed. Runs in the thread, one call at a time."""
        if not self.is_check_due:
            return  # the check for another request came first
        try:
            self._update(self._read_stamp())
        except (OSError, BadFile) as error:
            self._report_bad(_problem(error))
        finally:
            self._checked_at = self._clock()

    def _update(self, stamp: _Stamp) -> None:
        if stamp == self._bad_stamp:
            return
        if stamp != self._value_stamp:
            if stamp != self._changed_stamp and not self._is_settled(stamp):
                self._changed_stamp = stamp
                return
            content = self._path.read_bytes()
            if self._read_stamp() != stamp:
                return  # the file is being written
            try:
                self._value = self._parse(content)
            except BadFile:
                self._bad_stamp = stamp
                raise
            self._value_stamp = stamp
        if self._bad_since is not None:
            self._bad_since = None
            _log.warning("%s is good again", self._path)

    def _is_settled(self, stamp: _Stamp) -> bool:
        return self._wall() - max(stamp.modified_ns, stamp.changed_ns) / 1e9 >= SETTLED_AFTER

    def _report_bad(self, problem: str) -> None:
        if self._bad_since is None:
            self._bad_since = self._clock()
            _log.error("%s: %s; the last good content is used for five minutes", self._path, problem)

    def _read_stamp(self) -> _Stamp:
        status = self._path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadFile("it is not a regular file")
        if status.st_size > MAX_BYTES:
            raise BadFile(f"it is larger than {MAX_BYTES} bytes")
        return _Stamp(status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev)


def _problem(error: OSError | BadFile) -> str:
    return str(error) if isinstance(error, BadFile) else error.strerror or type(error).__name__
