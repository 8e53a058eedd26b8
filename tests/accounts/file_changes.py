"""Ways to change a watched file, and what its reader does about it."""

from __future__ import annotations

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
    """As careless programs write: cut off, and then filled."""
    path.write_bytes(content)


def rewrite_unseen(path: Path, write: Callable[[Path, bytes], None], content: bytes, *, aged: int = 0) -> None:
    """Writes, and restores the time that the file had before, or sets it back by so many seconds more."""
    before = path.stat()
    write(path, content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns - aged * 10**9))


def delete(path: Path) -> None:
    path.unlink()


def replace(path: Path, content: bytes) -> None:
    """As careful programs write: beside the file, and then over it."""
    beside = path.with_name("beside")
    beside.write_bytes(content)
    beside.replace(path)


async def until(holds: Callable[[], bool]) -> None:
    """Waits for another thread, and not for long."""
    with anyio.fail_after(30):
        while not holds():
            await anyio.lowlevel.checkpoint()


def log_levels(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The levels of what was logged, in order."""
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
    """What it returns, without ever waiting, and how many lines of Python were run for it."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value, count
    finally:
        sys.settrace(before)
    raise AssertionError("it waited")
