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


def commands(main: bool, arguments: list[str]) -> Iterator[tuple[str, list[str]]]:
    """What to run with an environment's Python, each under the name by which its failure is told."""
    pytest = ["-m", "pytest", *arguments]
    if not main:
        # What fails everywhere is told at length by the first.
        yield "tests", [*pytest, "-p", "no:cacheprovider", "--tb=short", "-m", "not peer"]
    elif arguments:
        yield "tests", pytest
    else:
        yield "tests", ["-m", "coverage", "run", *pytest]
        yield "coverage", ["-m", "coverage", "report"]


def suite(interpreter: Interpreter, main: bool, arguments: list[str]) -> Outcome:
    told: list[str] = []
    try:
        python = venvs.ensure(interpreter, venvs.tell if main else told.append, checkers=main)
        if main:
            venvs.ensure_fastapis(python, venvs.tell)
            npm.ensure(python, venvs.tell)
    except SetUpError as failure:
        return Outcome("set-up", "\n".join([*told, str(failure)]))
    for name, command in commands(main, arguments):
        done = subprocess.run(
            [str(python), *command],
            cwd=venvs.ROOT,
            env=venvs.environment(),
            stdin=subprocess.DEVNULL,
            stdout=None if main else subprocess.PIPE,
            stderr=None if main else subprocess.STDOUT,
            text=True,
            check=False,
        )
        told.append((done.stdout or "").rstrip())
        empty = arguments and not main and done.returncode == NOTHING_SELECTED
        if done.returncode and not empty:
            return Outcome(name, "\n".join(told))
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
