"""The types of the fixtures, for who annotates tests. The fixtures are the functions, and last until the test ends."""

from __future__ import annotations

from contextlib import AbstractContextManager
from os import PathLike
from typing import Protocol

from authguard.guard import Guard
from authguard.record import Record
from authguard.testing.acting import P


class ActingAs(Protocol):
    """``acting_as(guard, Principal("alice"))``: from here until the test ends, or to the end of a ``with``."""

    def __call__(self, guard: Guard, principal: P) -> AbstractContextManager[P]: ...


class Recording(Protocol):
    """``records = recording(guard)``: what it decides from here until the test ends."""

    def __call__(self, *guards: Guard) -> list[Record]: ...


class AssertMatrix(Protocol):
    """``assert_matrix(app, guard, "routes.txt")``: the file is beside that of the test."""

    def __call__(self, app: object, guard: Guard, path: str | PathLike[str]) -> None: ...
