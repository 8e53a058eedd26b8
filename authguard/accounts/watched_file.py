"""A file that is read again when it changes. Its last good content is used for a while if the file turns bad."""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from authguard.concurrency.slices import Slices, at_once, with_pauses
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
#: For how many seconds after a change the file may still be incomplete. A file that was cut at the end of a line looks
#: like one whose last lines were removed.
INCOMPLETE_FOR = 5.0
#: The largest file that is read. No file of accounts is larger, but a log that was moved to its path by mistake may be.
MAX_BYTES = 64 * 1024 * 1024


class BadFile(ValueError):
    """The content of a file has the wrong format. The text names the line, and quotes nothing of it."""


class EmptyFile(BadFile):
    """A file without any entry. Either all were removed, or somebody has emptied the file to write it again."""


class _Stamp(NamedTuple):
    """What changes when a file changes."""

    modified_ns: int
    changed_ns: int  # also changes with the mode and the owner, and cannot be set back (`cp -p`, `rsync -t`)
    size: int
    inode: int
    device: int

    @property
    def last_change(self) -> float:
        """When the file was changed last, in seconds since the epoch."""
        return max(self.modified_ns, self.changed_ns) / 1e9

    @property
    def identity(self) -> tuple[int, int]:
        """Which file it is. A file that is renamed over another one is another file."""
        return self.inode, self.device


class WatchedFile(Generic[T]):
    """What ``parse`` makes of the bytes of a file, kept up to date.

    A request triggers a check, at most every half second: a ``stat`` in a thread. A changed file is read once nobody
    writes to it any more: two checks in a row have found it the same, or it has not changed for two seconds (``wall``
    is the clock of the file system). The content is used only if the file is still the same after reading. It is parsed
    in slices, between which the event loop runs.

    Some programs write a file in several pieces, with a pause between them. If a file was written in place, or if it
    contains only the beginning of what it contained before, the content before counts as ``recent`` until five seconds
    after the change: what only that contains may still be to come. A file that was renamed over the old one is
    complete, and counts at once.

    If the file is gone, unreadable or bad, or if the disk does not answer, one ERROR is logged, and the last good
    content is used for five minutes; of a file that is empty, until five seconds after the change, because its last
    entry may have been removed. Then ``value`` and ``current`` raise ``BackendUnavailable``. The file is read for the
    first time by the constructor, which raises ``ConfigurationError``. A forked child checks with a thread of its own.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        parse: Callable[[bytes], Slices[T]],
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
        #: When the last good content of a bad file is no longer used, and why. None while the file is good.
        self._unusable_at: float | None = None
        self._outage = ""
        #: The content before the last changes, the newest first, each with the time until which it is recent.
        self._replaced: tuple[tuple[T, float], ...] = ()
        #: The file that the content was read from. None if it was gone since: the next one was not renamed over it.
        self._file: tuple[int, int] | None
        try:
            self._file = self._read_stamp().identity
            self._content = self._path.read_bytes()
            self._value = at_once(parse(self._content))
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

        Raises ``BackendUnavailable`` if the file has been bad for five minutes, or is empty.
        """
        if self._is_unusable:
            raise BackendUnavailable(f"{self._path} {self._outage}", reason=STORE_UNAVAILABLE)
        return self._value

    @property
    def recent(self) -> Sequence[T]:
        """What the file contained a moment ago and may contain again, the newest first. Nearly always empty."""
        if not self._replaced:
            return ()
        now = self._clock()
        return tuple(value for value, until in self._replaced if now < until)

    @property
    def is_check_due(self) -> bool:
        """Whether ``value`` would check the file first."""
        return self._clock() - self._checked_at >= CHECK_INTERVAL

    async def value(self) -> T:
        """The last good content, after a check of the file if one is due.

        Raises ``BackendUnavailable`` as ``current`` does.
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
            self._replaced = tuple(replaced for replaced in self._replaced if self._clock() < replaced[1])
            stamp = self._read_stamp()
            try:
                self._update(stamp)
            except EmptyFile as error:
                seconds = self._incomplete_for(stamp)
                self._report_bad(str(error), seconds, f"{seconds:.0f} seconds", "is empty")
        except (OSError, BadFile) as error:
            if isinstance(error, OSError):
                self._file = None
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
                value = with_pauses(self._parse(content))
            except BadFile:
                self._bad_stamp = stamp
                raise
            self._replace_value(value, content, stamp)
        if self._unusable_at is not None:
            self._unusable_at = None
            _log.warning("%s is good again", self._path)

    def _replace_value(self, value: T, content: bytes, stamp: _Stamp) -> None:
        incomplete_for = self._incomplete_for(stamp)
        is_renamed = self._file is not None and self._file != stamp.identity
        is_complete = incomplete_for == 0 or (is_renamed and not self._content.startswith(content))
        if is_complete or self._is_unusable:
            self._replaced = ()
        elif content != self._content:
            # Before the new value, so that no request misses what only the old one contains.
            self._replaced = ((self._value, self._clock() + incomplete_for), *self._replaced)
        self._value, self._content, self._value_stamp, self._file = value, content, stamp, stamp.identity

    def _is_settled(self, stamp: _Stamp) -> bool:
        return self._wall() - stamp.last_change >= SETTLED_AFTER

    def _incomplete_for(self, stamp: _Stamp) -> float:
        """For how many more seconds the file may be incomplete. The clock of the file system may be another one."""
        return min(max(stamp.last_change + INCOMPLETE_FOR - self._wall(), 0.0), INCOMPLETE_FOR)

    @property
    def _is_unusable(self) -> bool:
        """Whether the file has been bad for so long that its last good content is no longer used."""
        return self._unusable_at is not None and self._clock() >= self._unusable_at

    def _report_bad(
        self,
        problem: str,
        keep_for: float = KEEP_FOR,
        period: str = "five minutes",
        outage: str = "has been bad for five minutes",
    ) -> None:
        """Use the last good content for so many seconds. A file that turns bad in another way gets no more time."""
        if self._unusable_at is None:
            _log.error("%s: %s; the last good content is used for %s", self._path, problem, period)
        unusable_at = self._clock() + keep_for
        if self._unusable_at is None or unusable_at < self._unusable_at:
            self._unusable_at, self._outage = unusable_at, outage

    def _read_stamp(self) -> _Stamp:
        status = self._path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadFile("it is not a regular file")
        if status.st_size > MAX_BYTES:
            raise BadFile(f"it is larger than {MAX_BYTES} bytes")
        return _Stamp(status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev)


def _problem(error: OSError | BadFile) -> str:
    return str(error) if isinstance(error, BadFile) else error.strerror or type(error).__name__
