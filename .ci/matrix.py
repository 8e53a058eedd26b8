"""Run the test suite on every CPython 3.11 to 3.14 of this machine.

    python3 .ci/matrix.py [PYTEST ARGUMENT...]

The lowest version goes first and is shown as it runs: it carries the tests with real peers and the coverage gate. The
others run beside it, without those, and each is shown when it is its turn. With arguments only that part of the suite
runs, and no coverage is asked of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import npm
import venvs
from pythons import MINORS, Interpreter, SetUpError, find_interpreters

# Programs that some tests talk to, each with the Debian package that brings it.
PEERS = {
    "chromium": "chromium",
    "curl": "curl",
    "htpasswd": "apache2-utils",
    "javac": "default-jdk-headless",
    "lwp-request": "libwww-perl",
    "nginx": "nginx",
    "psql": "postgresql",
    "wget": "wget",
}
# Chromium comes with a hundred megabytes, and Java with as many.
NOT_SO_LONG = 300
# Debian has these where only root's path leads.
SYSTEM = "/usr/sbin"
# pytest's exit code where a part of the suite was asked for that has only tests with peers.
NOTHING_SELECTED = 5


class Outcome(NamedTuple):
    failed: str
    output: str


class Job(NamedTuple):
    """A command with an environment's Python. What it prints is ``shown`` as it comes, or when its step is over."""

    name: str
    command: list[str]
    shown: bool


def steps(main: bool, arguments: list[str]) -> Iterator[list[Job]]:
    """What to run, one step after the other; the jobs of a step side by side."""
    pytest = ["-m", "pytest", *arguments]
    if not main:
        # What fails everywhere is told at length by the first.
        yield [Job("tests", [*pytest, "-p", "no:cacheprovider", "--tb=short", "-m", "not peer"], shown=False)]
    elif arguments:
        yield [Job("tests", pytest, shown=True)]
    else:
        # The tests with peers mostly wait.
        covered = [["-m", "coverage", "run", f"--data-file=.coverage.{part}", *pytest] for part in ("alone", "peers")]
        yield [
            Job("tests", [*covered[0], "-m", "not peer"], shown=True),
            Job("tests with peers", [*covered[1], "-p", "no:cacheprovider", "-m", "peer"], shown=False),
        ]
        yield [Job("coverage", ["-m", "coverage", "combine", "--quiet"], shown=True)]
        yield [Job("coverage", ["-m", "coverage", "report"], shown=True)]


def run(python: Path, job: Job) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), *job.command],
        cwd=venvs.ROOT,
        env=venvs.environment(),
        stdin=subprocess.DEVNULL,
        stdout=None if job.shown else subprocess.PIPE,
        stderr=None if job.shown else subprocess.STDOUT,
        text=True,
        check=False,
    )


def suite(interpreter: Interpreter, main: bool, arguments: list[str]) -> Outcome:
    told: list[str] = []
    try:
        python = venvs.ensure(interpreter, venvs.tell if main else told.append, checkers=main)
        if main:
            venvs.ensure_fastapis(python, venvs.tell)
            npm.ensure(python, venvs.tell)
    except SetUpError as failure:
        return Outcome("set-up", "\n".join([*told, str(failure)]))
    for jobs in steps(main, arguments):
        with ThreadPoolExecutor(len(jobs)) as pool:
            done = list(pool.map(partial(run, python), jobs))
        told += [(one.stdout or "").rstrip() for one in done]
        fine = {0, NOTHING_SELECTED} if arguments and not main else {0}
        failed = [job.name for job, one in zip(jobs, done, strict=True) if one.returncode not in fine]
        if failed:
            return Outcome(", ".join(failed), "\n".join(told))
    return Outcome("", "\n".join(told))


def heading(interpreter: Interpreter) -> str:
    return f"\n== {interpreter.name}, {interpreter.executable}\n"


def absent() -> list[str]:
    return [name for name in PEERS if not shutil.which(name) and not shutil.which(name, path=SYSTEM)]


def missing_peers() -> list[str]:
    """The peers that are not here, after root has tried to install them."""
    missing = absent()
    if not missing or os.geteuid() != 0 or not shutil.which("apt-get"):
        return missing
    venvs.tell(f"installing {', '.join(missing)} (some tests talk to it)")
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=60"]
    # One at a time: a package that this distribution does not have keeps none of the others away.
    installs = [["install", "--yes", "--no-install-recommends", PEERS[name]] for name in missing]
    for command in (["update"], *installs):
        try:
            subprocess.run(
                [*apt, *command],
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=NOT_SO_LONG,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            break
    return absent()


def main(arguments: list[str]) -> int:
    try:
        first, *others = find_interpreters()
    except SetUpError as failure:
        venvs.tell(str(failure))
        return 1
    missing = missing_peers()
    failures: list[str] = []
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    print(heading(first), flush=True)
    running = [(one, pool.submit(suite, one, one is first, arguments)) for one in (first, *others)]
    try:
        for interpreter, job in running:
            outcome = job.result()
            if interpreter is not first:
                print(heading(interpreter), flush=True)
            if outcome.output.strip():
                print(outcome.output, flush=True)
            if outcome.failed:
                failures.append(f"{interpreter.name} ({outcome.failed})")
    except KeyboardInterrupt:
        pool.shutdown(cancel_futures=True)
        return 130
    print()
    untried = [f"3.{minor}" for minor in MINORS if f"3.{minor}" not in {one.minor for one, _ in running}]
    if untried:
        print(f"Not on this machine, so not tried: Python {', '.join(untried)}.")
    missing += npm.missing()
    if missing:
        print(f"Not on this machine, so the tests that talk to it were skipped: {', '.join(missing)}.")
    if failures:
        print(f"FAILED on {', '.join(failures)}.")
        return 1
    gate = "" if arguments else ", every line and branch covered"
    print(f"Passed on {', '.join(one.name for one, _ in running)}{gate}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
