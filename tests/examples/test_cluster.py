"""The tour of shared state: what it shows is so, plain when piped, and its programs end with it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from examples.cluster.cluster import Worker, is_record, worker_of
from examples.cluster.processes import PROGRAMS, missing
from examples.cluster.steps import ClusterStep, Event, parts
from examples.tour.server import HOST
from examples.tour.step import Response

ROOT = Path(__file__).parents[2]
PATIENCE = 120
ALL = [step for part in parts({}, ["redis-server"]) for step in part.steps]
RECORD = "worker 1  WARNING:authguard:denied nonce.replayed: GET /snapshot 401 digest subject?=alice count=1"

needs_programs = pytest.mark.skipif(
    bool(missing()) and "CI" not in os.environ, reason=f"{' and '.join(missing())} is not installed"
)


@contextmanager
def tour(**variables: str) -> Iterator[subprocess.Popen[str]]:
    """Start the tour in its own process, with its output in a pipe and no variable that asks for colour."""
    colour_variables = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "CLICOLOR_FORCE")
    env = {name: value for name, value in os.environ.items() if name not in colour_variables}
    with subprocess.Popen(
        [sys.executable, "-m", "examples.cluster"],
        cwd=ROOT,
        env={**env, "PYTHONUNBUFFERED": "1", **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def outcome(printed: str, title: str) -> list[str]:
    """What is printed below this title, up to the next step."""
    _, _, after = printed.partition(f"  {title}\n")
    return [line.strip() for line in after.partition("\n\n")[0].splitlines()]


def ports_of(first_line: str) -> list[int]:
    """The ports of both workers, nginx and redis-server."""
    return [int(port) for port in re.findall(r"at (\d+)", first_line)]


def is_free(port: int) -> bool:
    """Whether nothing listens at this port."""
    with socket.socket() as client:
        return client.connect_ex((HOST, port)) != 0


@pytest.mark.peer
@needs_programs
def test_the_cluster_shows_what_it_promises() -> None:
    """A replay is refused at the other worker, ten guesses are hashed, and a crash is 503, then stale, never replayed.

    Each step has its status, and its record comes from the worker that it names.
    """
    with tour() as process:
        printed, _ = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, printed
    assert "UNEXPECTED" not in printed
    assert f"\n{len(ALL)} steps. Every response and every record was as expected.\n" in printed
    granted, replayed = (outcome(printed, ALL[number].title) for number in (1, 2))
    assert granted[1] == "200 OK"
    assert replayed[1] == "401 Unauthorized"
    assert any("denied nonce.replayed" in line for line in replayed)
    statuses = [outcome(printed, step.title)[1] for step in ALL if not isinstance(step, Event)]
    assert [status.split()[0] for status in statuses] == [
        *("200", "200", "401", "429", "401"),
        *("503", "503", "401"),
        *("401", "200", "401"),
    ]
    assert "\x1b" not in printed
    assert "eyJ" not in printed


@pytest.mark.peer
@needs_programs
@pytest.mark.parametrize(
    ("number", "returncode"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)],
    ids=["Ctrl-C", "terminated"],
)
def test_every_program_ends_with_the_tour(tmp_path: Path, number: signal.Signals, returncode: int) -> None:
    """Nothing listens any more at the ports of the workers, of nginx and of redis-server, and the folder is gone."""
    with tour(TMPDIR=str(tmp_path)) as process:
        assert process.stdout is not None
        ports = ports_of(process.stdout.readline())
        before = [is_free(port) for port in ports]
        process.send_signal(number)
        process.communicate(timeout=PATIENCE)

    assert before == [False] * 4
    assert process.returncode == returncode
    assert [is_free(port) for port in ports] == [True] * 4
    assert list(tmp_path.iterdir()) == []


def test_missing_programs_are_named() -> None:
    """The tour says what it needs and how to get it, and exits with 2."""
    code = (
        "import sys; from examples.cluster import __main__ as tour; tour.missing = lambda: ['redis-server', 'nginx'];"
        "sys.exit(tour.main())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stdout == (
        "This needs redis-server and nginx, which this machine does not have.\n"
        "On Debian and Ubuntu: sudo apt-get install redis-server nginx. As root, make demo-cluster installs them.\n"
    )
    assert set(PROGRAMS) == {"redis-server", "nginx"}


def test_a_step_that_crosses_needs_two_workers() -> None:
    """Two records of one worker are a difference, and those of two are none."""
    step = next(step for step in ALL if isinstance(step, ClusterStep) and step.crosses)
    one, other = Response(401, [], [RECORD]), Response(401, [], [RECORD.replace("worker 1", "worker 2")])

    assert step.crossing_differences(one, one) == ["worker 1 has answered twice"]
    assert step.crossing_differences(one, other) == []
    assert step.crossing_differences(None, one) == []
    assert replace(step, crosses=False).crossing_differences(one, one) == []
    assert worker_of(Response(200, [], [])) == ""


def test_what_a_worker_logs_is_read_once(tmp_path: Path) -> None:
    """Each line has the name of the worker, and is read once; only decisions count as records."""
    with (tmp_path / "log").open("w+b") as output:
        worker = Worker("worker 1", 0, output)
        output.write(b"WARNING:authguard:denied a: b\nERROR:authguard:redis is gone\n")
        output.flush()

        lines = worker.new_lines()

        assert lines == ["worker 1  WARNING:authguard:denied a: b", "worker 1  ERROR:authguard:redis is gone"]
        assert [is_record(line) for line in lines] == [True, False]
        assert worker.new_lines() == []
