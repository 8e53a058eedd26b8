"""``authguard echo`` and ``authguard probe --through``, in this process and as programs."""

from __future__ import annotations

import asyncio
import re
import subprocess
import threading
import time
from pathlib import Path

import pytest

from authguard.cli import echo
from authguard.errors import ConfigurationError
from authguard.probe.exchange import Target
from authguard.probe.way import probe_way
from tests.cli.programs import ENVIRONMENT, PROGRAM, TIMEOUT, run, start
from tests.support.servers.ports import free_port

MARK = "0123456789abcdef" * 2


def test_the_mark_is_the_output(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It is alone on standard output; where it listens is on standard error. It ends with the probe."""
    monkeypatch.setattr(echo, "new_mark", lambda: MARK)
    port = free_port()

    def probe() -> None:
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            try:
                probe_way(Target(f"http://127.0.0.1:{port}/"), MARK)
            except ConfigurationError:
                time.sleep(0.02)
            else:
                return

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    assert run("echo", "--port", str(port)) == 0
    thread.join()

    out, err = capsys.readouterr()
    assert out == f"{MARK}\n"
    assert err.splitlines() == [
        f"listening at http://127.0.0.1:{port} for ten minutes; run authguard probe URL --through with this mark:",
        "the probe has ended",
    ]


def test_it_ends_without_a_probe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """After ten minutes, which are over at once here."""

    async def serve(mark: str, **options: object) -> bool:
        await asyncio.sleep(0)
        return False

    monkeypatch.setattr(echo, "serve", serve)

    assert run("echo", "--host", "::1") == 0
    assert capsys.readouterr() == ("", "the ten minutes are over\n")


def test_a_port_that_is_taken_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """One line says so, and the status is 2."""
    assert run("echo", "--port", "99999") == 2
    assert capsys.readouterr().err.startswith("--port: nothing can listen at port 99999 of 127.0.0.1: ")


def test_a_mark_that_is_none_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """It is not repeated, because it may be a password."""
    assert run("probe", "http://127.0.0.1:1/", "--through", "s3cret") == 2
    assert capsys.readouterr() == ("", "--through: it is not the mark that authguard echo has printed\n")


@pytest.mark.peer
def test_the_two_programs(tmp_path: Path) -> None:
    """The second reads what the first prints, and both end."""
    with subprocess.Popen(
        [*PROGRAM, "echo", "--port", "0"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        address = re.search(r"http://\S+", process.stderr.readline())
        mark = process.stdout.readline().strip()
        assert address is not None
        done = start("probe", address[0], "--through", mark, cwd=tmp_path)
        _, errors = process.communicate(timeout=TIMEOUT)

    assert (done.returncode, done.stderr, process.returncode, errors) == (0, "", 0, "the probe has ended\n")
    assert done.stdout.splitlines()[-1] == "0 faults, 1 warning, 0 notes"
