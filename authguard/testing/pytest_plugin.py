"""The helpers as pytest fixtures: ``pytest_plugins = ["authguard.testing.pytest_plugin"]`` in ``conftest.py``.

No other module imports pytest. There is no entry point: it would load this plugin in every project that has authguard
installed, and import authguard before coverage starts to measure.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from os import PathLike

import pytest

from authguard.core.guard import Guard
from authguard.testing.acting import Acting, ActingAs, P
from authguard.testing.clock import ManualClock
from authguard.testing.recording import Recording, RecordList
from authguard.testing.route_matrix import AssertMatrix
from authguard.testing.route_matrix import assert_matrix as compare_matrix


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("authguard")
    group.addoption(
        "--authguard-update",
        action="store_true",
        help="write the files of assert_matrix instead of comparing with them",
    )


@pytest.fixture
def acting_as() -> Iterator[ActingAs]:
    """``acting_as(guard, principal)`` acts until the test ends, or to the end of a ``with``."""
    with ExitStack() as blocks:

        def act(guard: Guard, principal: P) -> AbstractContextManager[P]:
            block = Acting(guard, principal)
            block.open()
            blocks.push(block)
            return block

        yield act


@pytest.fixture
def recording() -> Iterator[Recording]:
    """``recording(guard)`` lists the guard's decisions until the test ends."""
    with ExitStack() as lists:
        yield lambda *guards: lists.enter_context(RecordList(guards))


@pytest.fixture
def manual_clock() -> ManualClock:
    """A ``ManualClock``, new for each test."""
    return ManualClock()


@pytest.fixture
def assert_matrix(request: pytest.FixtureRequest) -> AssertMatrix:
    """``assert_matrix(app, guard, "routes.txt")`` compares with a file in the folder of the test."""

    def compare(app: object, guard: Guard, path: str | PathLike[str]) -> None:
        __tracebackhide__ = True
        update = request.config.getoption("--authguard-update") is True
        compare_matrix(app, guard, request.path.parent / path, update=update)

    return compare
