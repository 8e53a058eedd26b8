"""The last uses of the keys of an ``ApiKeyFile``, in files beside it: each worker writes its own one.

A file has a line of 24 bytes for each key: its id and the second of its last use. A worker writes a line in its place,
so that nothing is copied, and whoever reads the files while they are written finds each line as it was before or after.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from authguard.accounts.file_lock import open_own, try_lock
from authguard.errors import BackendUnavailable
from authguard.fork import renew_after_fork
from authguard.reasons import STORE_UNAVAILABLE
from authguard.wire.api_key import ID_LENGTH, is_key_id

#: The digits of a time, in seconds since the epoch, and the length of a line: the id, a space, the time, a line feed.
_DIGITS = 10
LINE_LENGTH = ID_LENGTH + 1 + _DIGITS + 1
#: How many workers may write at the same time.
MOST_PARTS = 256


class LastUsePart:
    """The part of one worker: the first file ``PATH.uses.N`` that no other worker holds.

    A worker that starts later goes on with the file of one that has ended. ``path`` is that of the keys.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._places: dict[str, int] = {}
        self._lock = threading.Lock()
        renew_after_fork(self)

    def renew(self) -> None:
        """Take another part: that of the parent is locked by the parent."""
        self._lock = threading.Lock()
        self._close()

    def write(self, uses: Mapping[str, float], known: Container[str]) -> None:
        """Write the times of these keys. ``known`` are the ids that there are.

        Lines of others are dropped when the part is taken. Raises ``OSError`` and ``BackendUnavailable``.
        """
        with self._lock:
            if self._file is not None and not os.fstat(self._file).st_nlink:  # somebody has removed it
                self._close()
            file = self._take(known) if self._file is None else self._file
            added: list[bytes] = []
            end = len(self._places)
            for key_id, used in uses.items():
                place, line = self._places.get(key_id), _line(key_id, used)
                if place is None:
                    self._places[key_id] = end + len(added)
                    added.append(line)
                else:
                    os.pwrite(file, line, place * LINE_LENGTH)
            os.pwrite(file, b"".join(added), end * LINE_LENGTH)

    def _take(self, known: Container[str]) -> int:
        for number in range(1, MOST_PARTS + 1):
            file = open_own(self._path.with_name(f"{self._path.name}.uses.{number}"))
            if try_lock(file):
                break
            os.close(file)
        else:
            problem = f"more than {MOST_PARTS} workers write last uses beside {self._path}"
            raise BackendUnavailable(problem, reason=STORE_UNAVAILABLE)
        content = os.pread(file, os.fstat(file).st_size, 0)
        kept = {key_id: used for key_id, used in _lines(content) if key_id in known}
        content_kept = b"".join(_line(key_id, used) for key_id, used in kept.items())
        if content_kept != content:
            os.pwrite(file, content_kept, 0)
            os.ftruncate(file, len(content_kept))
        self._file, self._places = file, {key_id: place for place, key_id in enumerate(kept)}
        return file

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                os.close(file)


def read_last_uses(path: Path) -> dict[str, float]:
    """When each key was last used, by its id, out of the parts of all workers.

    What is no part is left out. Raises ``PermissionError`` for one that only other users may read: without it a key
    that is in use would look unused.
    """
    found: dict[str, float] = {}
    for part in path.parent.glob(f"{path.name}.uses.*"):
        try:
            content = _content(part)
        except PermissionError:
            raise
        except OSError:  # a link, or a worker's that has just gone
            continue
        for key_id, used in _lines(content):
            found[key_id] = max(used, found.get(key_id, 0.0))
    return found


def _content(part: Path) -> bytes:
    """What a part holds. A symbolic link and a pipe are no parts, and the command must not wait for a pipe's writer."""
    file = os.open(part, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(file)
        return os.pread(file, status.st_size, 0) if stat.S_ISREG(status.st_mode) else b""
    finally:
        os.close(file)


def _line(key_id: str, used: float) -> bytes:
    # A clock that is wrong by centuries must not make a line longer.
    second = min(max(int(used), 0), 10**_DIGITS - 1)
    return f"{key_id} {second:0{_DIGITS}d}\n".encode()


def _lines(content: bytes) -> Iterator[tuple[str, float]]:
    for begin in range(0, len(content), LINE_LENGTH):
        key_id, _, used = content[begin : begin + LINE_LENGTH].decode("latin-1").partition(" ")
        if is_key_id(key_id) and used[:-1].isascii() and used[:-1].isdigit() and len(used) == _DIGITS + 1:
            yield key_id, float(used)
