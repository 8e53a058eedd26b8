"""Ways to change a watched file, and to measure what its reader does."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import anyio
import pytest

T = TypeVar("T")


def overwrite(path: Path, content: bytes) -> None:
    """Write in place: the file is truncated and then filled."""
    path.write_bytes(content)


def rewrite_unseen(path: Path, write: Callable[[Path, bytes], None], content: bytes, *, aged: int = 0) -> None:
    """Write, and restore the modification time, or set it back by ``aged`` seconds more."""
    before = path.stat()
    write(path, content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns - aged * 10**9))


def delete(path: Path) -> None:
    """Delete the file."""
    path.unlink()


def replace(path: Path, content: bytes) -> None:
    """Write another file beside it, and rename that over it."""
    beside = path.with_name("beside")
    beside.write_bytes(content)
    beside.replace(path)


async def until(holds: Callable[[], bool]) -> None:
    """Wait for another thread. Fails after 30 seconds."""
    with anyio.fail_after(120):
        while not holds():
            await anyio.lowlevel.checkpoint()


def log_levels(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The levels of all log records, in order."""
    return [logging.getLevelName(record.levelno) for record in caplog.records]


class CountingName(str):
    """A name that counts how often it is compared."""

    __slots__ = ("compared",)
    compared: int

    def __eq__(self, other: object) -> bool:
        self.compared = getattr(self, "compared", 0) + 1
        return super().__eq__(other)

    __hash__ = str.__hash__


def count_lines(coroutine: Coroutine[Any, Any, T]) -> tuple[T, int]:
    """Run a coroutine that never waits, and return its result and the number of lines of Python that ran."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    gc.disable()  # the lines of gc callbacks would be counted too
    sys.settrace(trace)
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value, count
    finally:
        sys.settrace(before)
        gc.enable()
    raise AssertionError("it waited")
