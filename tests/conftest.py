"""Settings of the whole suite: Hypothesis has no deadline, and with CI=true a skipped test fails the run."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support.canary import LogRecorder

CI = os.environ.get("CI") == "true"

# Files whose tests take up to a minute each. At the end, one process would run such a test while the others wait.
LONGEST = {"test_agreement.py", "test_benchmarks.py", "test_distribution.py", "test_instructions.py"}

# If coverage is recorded, it has started in this process before now. The programs that tests start are not measured:
# many of them end by a signal, which would leave no data.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.pop("COVERAGE_PROCESS_START", None)

# Hypothesis has a profile for CI: no deadline, and the same examples at every run.
settings.register_profile("local", deadline=None)
settings.load_profile("ci" if CI else "local")


class FailOnSkip:
    """Fails the run if a test was skipped: a test that did not run proves nothing, and nobody reads the log of a green
    run.

    An expected failure counts as a skip, because it would be a way around this.
    """

    def __init__(self) -> None:
        self.skipped: list[str] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        # Each process of pytest-xdist collects everything, so the same report can come several times.
        if report.skipped and report.nodeid not in self.skipped:
            self.skipped.append(report.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # An unexpected pass has `wasxfail` too; its outcome is "passed" where xfail is not strict.
        if report.skipped or hasattr(report, "wasxfail"):
            self.skipped.append(report.nodeid)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.skipped and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.skipped:
            terminalreporter.section("CI=true, and these did not run", red=True)
            for nodeid in self.skipped:
                terminalreporter.line(f"NOT RUN {nodeid}")


@pytest.fixture
def log_recorder() -> Iterator[LogRecorder]:
    """Keep all log records, from DEBUG on, during one test."""
    handler, root = LogRecorder(), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(before)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL database. Each test removes what it finds of its own tables."""
    from tests.accounts.postgres import running_postgres, server_programs

    if server_programs() is None:
        pytest.skip("PostgreSQL is not here")
    with running_postgres() as url:
        yield url


@pytest.fixture(autouse=True)
def _logger_of_authguard() -> None:
    """Each test begins with the logger as the package leaves it, whatever an example or a page set before."""
    logger = logging.getLogger("authguard")
    if logger.level != logging.NOTSET:
        logger.setLevel(logging.NOTSET)
    logger.disabled, logger.propagate = False, True


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--brief",
        action="store_true",
        help="run each test on asyncio alone, and none that is marked `once`: what differs between Pythons is asked",
    )


def pytest_configure(config: pytest.Config) -> None:
    if CI:
        config.pluginmanager.register(FailOnSkip())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the longest tests first. With ``--brief``, leave out what would give the same answer on every Python."""
    items.sort(key=lambda item: item.path.name not in LONGEST)
    if not config.getoption("brief"):
        return
    names = {item.nodeid for item in items}
    left_out = [item for item in items if item.get_closest_marker("once") or _repeats_on_trio(item, names)]
    config.hook.pytest_deselected(items=left_out)
    dropped = set(left_out)
    items[:] = [item for item in items if item not in dropped]


def _repeats_on_trio(item: pytest.Item, names: set[str]) -> bool:
    """Whether this is the run on trio of a test that runs on asyncio too."""
    return any(
        item.nodeid.replace(f"{before}trio", f"{before}asyncio", 1) in names
        for before in "[-"
        if f"{before}trio" in item.nodeid
    )
