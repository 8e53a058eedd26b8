"""Locks between processes, on a file. The system releases one when its process ends, however it ends."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from authguard.errors import BackendUnavailable
from authguard.reasons import STORE_UNAVAILABLE

#: None on Windows.
_fcntl: Any = import_module("fcntl") if find_spec("fcntl") else None

#: The time between two attempts to get a lock, in seconds.
ATTEMPT_EVERY = 0.02


def try_lock(file: int) -> bool:
    """Lock an open file, unless another process or another opening of the file holds its lock.

    Raises ``BackendUnavailable`` on a system without such locks.
    """
    if _fcntl is None:
        raise BackendUnavailable("this system has no flock; keep API keys in a database", reason=STORE_UNAVAILABLE)
    try:
        _fcntl.flock(file, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_own(path: Path) -> int:
    """Open a file of our own beside that of the app, which is made if there is none. Raises ``OSError``.

    No symbolic link is followed: whoever can write into the folder could otherwise let a process of another user make
    or overwrite a file elsewhere.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


@contextmanager
def locked(path: Path, *, seconds: float) -> Iterator[None]:
    """Hold the lock of this file, which is made if there is none. It waits so long for another process.

    Raises ``BackendUnavailable`` if that takes longer, and ``OSError``.
    """
    file = open_own(path)
    try:
        give_up_at = time.monotonic() + seconds
        while not try_lock(file):
            if time.monotonic() >= give_up_at:
                raise BackendUnavailable(f"{path} is locked by another process", reason=STORE_UNAVAILABLE)
            time.sleep(ATTEMPT_EVERY)
        yield
    finally:
        os.close(file)
