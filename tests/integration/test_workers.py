"""Real servers: start-up warns where several of their processes serve the app, and nowhere else."""

from __future__ import annotations

import pytest

from tests.support.servers.app_server import AppServer

pytestmark = pytest.mark.peer

#: What a server logs once when a process of it has started the app. Of hypercorn, the root logger has it a second time.
STARTED = {"uvicorn": "Application startup complete", "hypercorn": "[INFO] Running on"}


def lines_at_start(program: str, options: list[str], env: dict[str, str], processes: int = 1) -> list[str]:
    """The lines about stores of one process, once so many processes have started the app."""
    server, seen = AppServer("workers:app", *options, program=program, **env), 0
    try:
        for _ in range(processes):
            line = server.wait_for(STARTED[program], seen)
            seen = server.lines.index(line, seen) + 1
    finally:
        server.stop()
    return [line for line in server.lines if "state.unshared" in line]


@pytest.mark.parametrize(
    ("program", "options", "env"),
    [
        ("uvicorn", ["--workers", "2"], {}),
        ("uvicorn", [], {"WEB_CONCURRENCY": "2"}),
        ("hypercorn", ["--workers", "2"], {}),
    ],
    ids=["uvicorn", "environment", "hypercorn"],
)
def test_each_of_two_workers_warns_once(program: str, options: list[str], env: dict[str, str]) -> None:
    """One WARNING of each has the throttle, the nonces and the revocations."""
    lines = lines_at_start(program, options, env, processes=2)

    assert len(lines) == 2 * 3
    assert sum(line.startswith("WARNING") for line in lines) == 2
    assert all(f"({program} runs 2 workers)" in line for line in lines)


@pytest.mark.parametrize(
    ("program", "options", "env"),
    [
        ("uvicorn", [], {}),
        ("uvicorn", ["--reload", "--reload-dir", "tests/integration/apps"], {}),
        ("uvicorn", ["--reload", "--reload-dir", "tests/integration/apps"], {"WEB_CONCURRENCY": "3"}),
        ("hypercorn", [], {}),
        ("hypercorn", ["--workers", "1", "--reload"], {}),
    ],
    ids=["one", "reload", "reload and environment", "hypercorn", "hypercorn and reload"],
)
def test_one_process_does_not_warn(program: str, options: list[str], env: dict[str, str]) -> None:
    """Not even where the server has another process start it, to reload it or to watch it."""
    assert lines_at_start(program, options, env) == []
