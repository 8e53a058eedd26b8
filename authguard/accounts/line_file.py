"""A JSON file with one entry a line, which the command changes while apps read it.

An app reads such a file in slices, line by line. Its first and its last line are constant, so that a file which
somebody is writing, or which was cut off, is told from a whole one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from authguard.accounts.file_lock import locked
from authguard.accounts.watched_file import BadFile
from authguard.errors import BackendUnavailable
from authguard.reasons import STORE_UNAVAILABLE

#: The last line.
LAST = b"]}"
#: How long a change waits for another one to end, in seconds.
LOCK_WAIT = 10.0


def content_of(first: bytes, entries: Iterable[Mapping[str, object]]) -> bytes:
    """The content of a file with this first line and these entries. This is the reverse of ``entry_lines``."""
    lines = [json.dumps(entry).encode() for entry in entries]
    return b"\n".join([first, *([b",\n".join(lines)] if lines else []), LAST, b""])


def entry_lines(content: bytes, first: bytes, command: str) -> Iterator[tuple[int, bytes]]:
    """The number of each line with an entry, and the line without the comma at its end.

    Raises ``BadFile`` for a file that does not begin with the line ``first``, as ``command`` writes it, and as soon as
    it shows that a part of the file is missing. What was yielded until then must not be used.
    """
    if not content.startswith(first + b"\n"):
        raise BadFile(f"it is not a file of `{command}`" if content else "it is empty")
    number, begin, has_comma, has_entries = 2, len(first) + 1, False, False
    while True:
        end = content.find(b"\n", begin)
        line = content[begin:] if end < 0 else content[begin:end]
        if line == LAST and not has_comma:
            break
        if end < 0 or (has_entries and not has_comma):
            raise BadFile(f"line {number} may be incomplete, or the last line is missing")
        has_comma, has_entries = line.endswith(b","), True
        yield number, line.removesuffix(b",")
        number, begin = number + 1, end + 1
    if content[begin + len(LAST) :].strip():
        raise BadFile(f"line {number} is not the last one")


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """Hold the lock ``PATH.lock`` while the block reads the file and writes it anew.

    Raises ``BackendUnavailable`` if another change takes longer than ten seconds, and in place of ``OSError``.
    """
    try:
        with locked(path.with_name(f"{path.name}.lock"), seconds=LOCK_WAIT):
            yield
    except OSError as error:
        raise unavailable(path, error) from None


def unavailable(path: Path, error: OSError) -> BackendUnavailable:
    """The error for a file that cannot be read or written."""
    return BackendUnavailable(f"{path}: {error.strerror or type(error).__name__}", reason=STORE_UNAVAILABLE)


def replace_file(path: Path, content: bytes) -> None:
    """Write the file anew, in one step, and so that it is there after a crash.

    Whoever reads it sees the old content or the new one, and never a part. The caller holds a lock, so that nobody else
    writes it. A new file can be read by its owner alone; a file that is replaced keeps its mode and its group. Raises
    ``OSError``.
    """
    draft = path.with_name(f"{path.name}.new")
    with suppress(FileNotFoundError):
        draft.unlink()  # of a change that was killed; the lock is ours
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with suppress(FileNotFoundError, PermissionError):
            status = path.stat()
            os.fchmod(file, status.st_mode & 0o777)
            os.fchown(file, status.st_uid, status.st_gid)
        with open(file, "wb", closefd=False) as stream:
            stream.write(content)
        os.fsync(file)
    finally:
        os.close(file)
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
