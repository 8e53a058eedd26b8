"""Write a file anew in one step: whoever reads it sees the old content or the new one, and never a part."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Write the file anew, in one step, and so that it is there after a crash.

    The caller holds a lock, so that nobody else writes it. A new file can be read by its owner alone; a file that is
    replaced keeps its mode and its group. Raises ``OSError``.
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
