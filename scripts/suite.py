"""Run the tests.

    python3 scripts/suite.py test                  on one Python, without real peers
    python3 scripts/suite.py rest                  with real peers, on the other Pythons, and the coverage gate
    python3 scripts/suite.py all                   both
    python3 scripts/suite.py quick ARGUMENT...     a part of the suite; the arguments are pytest's

A "peer" is a real program at the other end: curl, nginx, a browser, an OpenID provider.

The lowest supported Python runs the tests with peers, and its coverage counts: 100 % of the branches of authguard/.
Coverage makes the tests slower, so `test` records it only with CI=true, where `rest` follows. `rest` then uses that
record if no file has changed since, and otherwise runs the same tests again with coverage.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import environments
import node_packages
import system_packages
from coverage_data import Part
from interpreters import MINORS, Interpreter, SetUpError, find_interpreters
from timed import duration

CI = os.environ.get("CI") == "true"
# Each process of pytest-xdist collects the whole suite first, so more than these are of no use.
MOST_PROCESSES = 16
# pytest's exit code where no test was selected.
NO_TESTS = 5

WITHOUT_PEERS, WITH_PEERS = "not peer", "peer"
# `newest` marks a test of what only newer releases of a dependency do.
WITH_OLDEST = "not peer and not newest"
LABELS = {
    WITHOUT_PEERS: "tests without peers",
    WITH_PEERS: "tests with real peers",
    WITH_OLDEST: "tests with the oldest dependencies",
}
# The tests of what touches a dependency.
TOUCHING = (
    *(
        "asgi",
        "audit",
        "cli",
        "fastapi",
        "keys",
        "testing",
        "test_middleware.py",
        "test_openapi.py",
        "test_starlette.py",
    ),
    *("test_starlette_endpoints.py", "security/test_weak_setup.py", "accounts/test_api_key_sql.py"),
)

# NOT RUN comes from tests/conftest.py.
_FAILURE = re.compile(r"^(?:FAILED|ERROR|NOT RUN) (\S.*?)(?: - .*)?$", re.MULTILINE)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Failure(NamedTuple):
    """What failed, on which interpreter. ``names`` are the tests, if it was tests."""

    what: str
    names: Sequence[str] = ()


def processes() -> int:
    """How many processes pytest-xdist starts: one for each core that this process may use, and at least two."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(max(cores, 2), MOST_PROCESSES)


def parallel() -> list[str]:
    """pytest-xdist's options. With `worksteal` the tests of a module mostly stay in one process, so that the servers of
    its fixtures start once; a process that has finished takes tests from another."""
    return [f"--numprocesses={processes()}", "--dist=worksteal"]


def say(line: str = "") -> None:
    print(line, flush=True)


@contextlib.contextmanager
def interrupts_left_to_child() -> Iterator[None]:
    """While a child runs, Ctrl-C reaches it too. Let it print its summary and end, and raise KeyboardInterrupt then."""
    pressed: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if pressed:
        raise KeyboardInterrupt


def run(python: Path, arguments: Sequence[str], variables: dict[str, str] | None = None) -> tuple[int, str]:
    """Run an environment's Python; show what it prints as it comes, and return it with the exit code."""
    extra = dict(variables or {})
    if sys.stdout.isatty():
        extra["COLUMNS"] = str(os.get_terminal_size(sys.stdout.fileno()).columns)
    reading, writing = os.pipe()
    command = [str(python), *arguments]
    environment = {**environments.clean_variables(), **extra}
    chunks: list[bytes] = []
    with interrupts_left_to_child():
        process = subprocess.Popen(
            command, cwd=environments.ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=writing, stderr=writing
        )
        os.close(writing)
        with process, os.fdopen(reading, "rb", buffering=0) as output:
            while chunk := output.read(65536):
                chunks.append(chunk)
                sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
    return process.returncode, b"".join(chunks).decode("utf-8", "replace")


def run_tests(
    interpreter: Interpreter,
    python: Path,
    marker: str,
    part: Part | None = None,
    oldest: Path | None = None,
    *,
    brief: bool = False,
) -> Failure | None:
    """Run the tests that match this marker expression, one of ``LABELS``.

    With a part, record coverage in it. With the folder of the oldest dependencies, run the tests that touch them.
    ``brief`` leaves out what would give the same answer on every Python.
    """
    arguments = ["-m", "pytest", "--quiet", *parallel(), "-m", marker, *(["--brief"] if brief else [])]
    if sys.stdout.isatty():
        arguments.append("--color=yes")
    if oldest is not None:
        tests = [f"tests/{name}" for name in TOUCHING]
        status, output = run(python, [*arguments, *tests], {"PYTHONPATH": str(oldest)})
    elif part is None:
        status, output = run(python, arguments)
    else:
        part.clear()
        status, output = run(python, arguments, part.variables())
    if status == 0:
        if part is not None:
            part.stamp()
        return None
    names = _FAILURE.findall(_COLOUR.sub("", output))
    return Failure(f"{interpreter.name}, {LABELS[marker]}", list(dict.fromkeys(names)))


def finish(started: float, failures: Sequence[Failure], success: str) -> int:
    """Repeat what failed, and say how long everything took."""
    say()
    for failure in failures:
        say(f"FAILED: {failure.what}{':' if failure.names else '.'}")
        for name in failure.names:
            say(f"  {name}")
    if not failures:
        say(success)
    say(f"Elapsed: {duration(time.monotonic() - started)}.")
    return 1 if failures else 0


def test(interpreter: Interpreter, with_coverage: bool) -> Failure | None:
    """The tests without peers, on this interpreter."""
    say(f"The tests that need no real peer, on {interpreter.name}, in {processes()} processes.")
    if with_coverage:
        say("Coverage is recorded for `make test-rest`. Expect eight minutes on two cores, after the set-up.")
    else:
        say("No coverage is recorded: `make test-rest` does that. Expect five minutes on two cores, after the set-up.")
    python = environments.ensure(interpreter, say, checkers=True)
    say("Now the tests. They are collected first, which takes about ten seconds; then each dot is a test that passed.")
    return run_tests(interpreter, python, WITHOUT_PEERS, Part("main", interpreter) if with_coverage else None)


def rest(interpreters: Sequence[Interpreter]) -> list[Failure]:
    """What `test` leaves out: real peers, the coverage gate, and the other Pythons."""
    main, *others = interpreters
    recorded, peers = Part("main", main), Part("peers", main)
    fresh = recorded.is_fresh()
    say(f"Real peers and coverage on {main.name}; the tests without peers on {_names(others) or 'no other Python'}.")
    if fresh:
        say(f"`make test` has recorded the coverage of the tests without peers on {main.name} for exactly this tree,")
        say("so they do not run there again.")
    else:
        say(f"There is no such record of this tree, so the tests without peers run on {main.name} too, with coverage.")
    minutes = 8 + (0 if fresh else 8) + 4 * len(others)
    say(f"Expect {minutes} minutes on two cores, after the set-up.")

    failures: list[Failure] = []
    pythons = _set_up(interpreters, failures)
    if main in pythons:
        failures += _main(main, pythons[main], recorded, peers)
    for other in others:
        if other in pythons:
            say(f"\n== {other.name}: the tests without peers, on one event loop\n")
            failures += filter(None, [run_tests(other, pythons[other], WITHOUT_PEERS, brief=True)])
    say()
    found = {interpreter.minor for interpreter in interpreters}
    if absent := [f"3.{minor}" for minor in MINORS if f"3.{minor}" not in found]:
        say(f"Not found on this machine, so not tested: Python {', '.join(absent)}.")
    if missing := [*system_packages.missing(), *node_packages.missing()]:
        say(f"Not installed, so the tests that talk to them were skipped: {', '.join(missing)}.")
    return failures


def _main(interpreter: Interpreter, python: Path, recorded: Part, peers: Part) -> list[Failure]:
    """What runs on the main interpreter alone: the tests with peers, those that have no fresh record, and the gate."""
    failures: list[Failure] = []
    if not recorded.is_fresh():
        say(f"\n== {interpreter.name}: the tests without peers, with coverage\n")
        failures += filter(None, [run_tests(interpreter, python, WITHOUT_PEERS, recorded)])
    say(f"\n== {interpreter.name}: the tests with real peers, with coverage\n")
    failures += filter(None, [run_tests(interpreter, python, WITH_PEERS, peers)])
    if failures:
        say("\nCoverage is not judged, because tests failed.")
    else:
        say(f"\n== {interpreter.name}: coverage of both parts\n")
        failures += filter(None, [_judge_coverage(python, [recorded, peers])])
    say(f"\n== {interpreter.name}: the oldest version of each dependency, and the tests that touch it\n")
    oldest = environments.ensure_oldest(python, say)
    failures += filter(None, [run_tests(interpreter, python, WITH_OLDEST, oldest=oldest, brief=True)])
    return failures


def _set_up(interpreters: Sequence[Interpreter], failures: list[Failure]) -> dict[Interpreter, Path]:
    """The Python of each environment that could be set up; each failure is said, and added to the list."""
    main, *_ = interpreters

    def environment(interpreter: Interpreter) -> Path | SetUpError:
        try:
            python = environments.ensure(interpreter, say, checkers=interpreter is main)
            if interpreter is main:
                environments.ensure_fastapi_releases(python, say)
                environments.ensure_oldest(python, say)
                environments.ensure_bench(interpreter, say)
                node_packages.ensure(python, say)
        except SetUpError as failure:
            return failure
        return python

    with ThreadPoolExecutor(processes()) as pool:
        programs = pool.submit(system_packages.ensure, say)
        running = {interpreter: pool.submit(environment, interpreter) for interpreter in interpreters}
        programs.result()
    pythons: dict[Interpreter, Path] = {}
    for interpreter, future in running.items():
        result = future.result()
        if isinstance(result, Path):
            pythons[interpreter] = result
        else:
            say(f"The environment of {interpreter.name} could not be set up; the next run starts it again.\n{result}")
            failures.append(Failure(f"{interpreter.name}, set-up"))
    return pythons


def _judge_coverage(python: Path, parts: Sequence[Part]) -> Failure | None:
    combine = ["-m", "coverage", "combine", "--keep", "--quiet", "--data-file=.coverage"]
    for arguments in ([*combine, *(str(part.folder) for part in parts)], ["-m", "coverage", "report"]):
        status, _ = run(python, arguments)
        if status:
            return Failure("coverage: not every branch of authguard/ is covered")
    return None


def quick(interpreter: Interpreter, arguments: Sequence[str]) -> int:
    """A part of the suite, on this interpreter. It may ask the keyboard (`--pdb`), so pytest gets this terminal."""
    python = environments.ensure(interpreter, environments.say, checkers=True)
    options = [] if "--pdb" in arguments else parallel()
    command = [str(python), "-m", "pytest", "--quiet", *options, "-m", WITHOUT_PEERS, *arguments]
    with interrupts_left_to_child():
        done = subprocess.run(command, cwd=environments.ROOT, env=environments.clean_variables(), check=False)
    status = done.returncode
    if status == NO_TESTS:
        say("No test was selected. For those with real peers, add -m peer; `make test-rest` installs the peers.")
    return status


def _names(interpreters: Sequence[Interpreter]) -> str:
    return ", ".join(interpreter.name for interpreter in interpreters)


def main(arguments: list[str]) -> int:
    started = time.monotonic()
    command, *options = arguments or ["test"]
    try:
        if options and command != "quick":
            say(f'`make {command}` takes no ARGS. For a part of the suite: make quick ARGS="{" ".join(options)}"')
            return 2
        interpreters = find_interpreters()
        first = interpreters[0]
        if command == "quick":
            status = quick(first, options)
            say(f"Elapsed: {duration(time.monotonic() - started)}.")
            return status
        failures: list[Failure] = []
        if command in {"test", "all"}:
            failures += filter(None, [test(first, with_coverage=CI or command == "all")])
        if command in {"rest", "all"}:
            failures += rest(interpreters)
    except SetUpError as failure:
        say(f"The set-up failed; the next run starts it again.\n{failure}")
        return 1
    except KeyboardInterrupt:
        say("\nInterrupted.")
        return 130
    if command == "test":
        success = f"Passed on {first.name}. Next: `make test-rest` for real peers, coverage and the other Pythons."
    else:
        success = f"Passed on {_names(interpreters)}. Every line and branch of authguard/ is covered."
    return finish(started, failures, success)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
