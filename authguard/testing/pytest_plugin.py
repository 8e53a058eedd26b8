"""The helpers as pytest fixtures. pytest loads this plugin by itself, in every project that has authguard installed.

It costs such a project nothing: until a test asks for a fixture, no library and no other module is imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, cast

import pytest

from authguard import testing

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from os import PathLike

    from authguard.core.guard import Guard
    from authguard.testing.acting import Acting, P


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("authguard")
    group.addoption(
        "--authguard-update",
        action="store_true",
        help="write the files of assert_matrix instead of comparing with them",
    )


@pytest.fixture
def acting_as() -> Iterator[testing.ActingAs]:
    """``acting_as(guard, principal)`` acts until the test ends, or to the end of a ``with``."""
    with ExitStack() as blocks:

        def act(guard: Guard, principal: P) -> AbstractContextManager[P]:
            block = cast("Acting[P]", testing.acting_as(guard, principal))
            block.open()
            blocks.push(block)
            return block

        yield act


@pytest.fixture
def recording() -> Iterator[testing.Recording]:
    """``recording(guard)`` lists the guard's decisions until the test ends."""
    with ExitStack() as lists:
        yield lambda *guards: lists.enter_context(testing.recording(*guards))


@pytest.fixture
def manual_clock() -> testing.ManualClock:
    """A ``ManualClock``, new for each test."""
    return testing.ManualClock()


@pytest.fixture
def assert_matrix(request: pytest.FixtureRequest) -> testing.AssertMatrix:
    """``assert_matrix(app, guard, "routes.txt")`` compares with a file in the folder of the test."""

    def compare(app: object, guard: Guard, path: str | PathLike[str]) -> None:
        __tracebackhide__ = True
        update = request.config.getoption("--authguard-update") is True
        testing.assert_matrix(app, guard, request.path.parent / path, update=update)

    return compare
