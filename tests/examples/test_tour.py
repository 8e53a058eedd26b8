"""The tour tells the truth, tells it plainly, and cleans up."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from examples.touring.server import HOST, Server, ServerDied, get, serving
from examples.touring.steps import STEPS, Answer, Get, Told
from examples.touring.tokens import new_key, public_pem, tokens

ROOT = Path(__file__).parents[2]
PATIENCE = 60

TOLD = Told(401, "Bearer", "denied token.expired", "expired_by=")
RECORD = "WARNING:authguard:denied token.expired: GET /orders 401 bearer alice expired_by=4s"
AS_TOLD = Answer(401, ["Bearer"], [RECORD])


@contextmanager
def tour(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The tour in a process of its own, piped, where nothing asks for colours."""
    asks_for_colour = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "CLICOLOR_FORCE")
    env = {name: value for name, value in os.environ.items() if name not in asks_for_colour}
    with subprocess.Popen(
        [sys.executable, "-m", "examples.tour", *arguments],
        cwd=ROOT,
        env={**env, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What it prints up to the first line that holds the text; all of it where there is none."""
    assert process.stdout is not None
    read = ""
    for line in process.stdout:
        read += line
        if text in line:
            break
    return read


@pytest.mark.peer
def test_the_tour_holds_and_is_plain_where_piped() -> None:
    """Every answer and every record is as told; each step is named, with its curl line; no control code, no token."""
    with tour() as process:
        printed, _ = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, printed
    assert [step.title for step in STEPS if f"{step.title}\n" not in printed] == []
    assert [step.get.curl for step in STEPS if f"    $ {step.get.curl}\n" not in printed] == []
    assert [step.lesson for step in STEPS if f"    {step.lesson}\n" not in printed] == []
    assert "\x1b" not in printed
    assert "eyJ" not in printed


@pytest.mark.peer
def test_what_is_served_can_be_tried_and_ends_cleanly() -> None:
    """`--serve` hands out whole tokens and a file with all of them, logs what is asked, and ends with Ctrl-C."""
    with tour("--serve") as process:
        printed = read_until(process, "The log:")
        address, port = printed.partition("http://")[2].partition(" ")[0].split(":")
        file = Path(printed.partition("    . ")[2].partition("\n")[0])
        shell = dict(line.removeprefix("export ").split("=", 1) for line in file.read_text("utf-8").splitlines())
        answers = [get(int(port), "/admin/users", [shell[name]])[0] for name in ("ALICE", "BOB", "EXPIRED")]
        log = read_until(process, "token.expired")
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=PATIENCE)

    assert shell["API"] == f"http://{address}:{port}"
    assert [name for name in ("ALICE", "BOB", "EXPIRED") if f"\n{shell[name]}\n" not in printed] == []
    assert answers == [200, 403, 401]
    assert [line.split(":")[2] for line in log.splitlines()] == [
        "granted",
        "denied role.missing",
        "denied token.expired",
    ]
    assert (process.returncode, "Traceback" in rest, file.exists()) == (0, False, False)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, int(port)))


@pytest.mark.peer
def test_a_port_that_is_taken_is_said() -> None:
    """Where the fixed port is taken, another one serves, and the first line says so."""
    try:
        taken = socket.create_server((HOST, 8000))
    except OSError:  # by somebody else, which serves as well
        taken = socket.socket()

    with taken, tour("--serve") as process:
        printed = read_until(process, "Serving")

    assert printed.startswith("Port 8000 is taken; here is a free one.\n")
    assert f"http://{HOST}:8000 " not in printed


@pytest.mark.peer
def test_a_server_that_cannot_start_is_told() -> None:
    """A first request does not wait for a server that is gone, and what the server printed is at hand."""
    with serving("no key at all", 60) as server, pytest.raises(ServerDied, match="this PEM holds no public key"):
        server.get("/health")


@pytest.mark.peer
def test_no_token_and_no_key_is_in_the_log() -> None:
    """All that the server prints on the whole tour holds no part of a token that was sent, nor of the key."""
    key = new_key()
    known = tokens(key, expired_by=4)
    with serving(public_pem(key), 60) as server:
        printed = [line for step in STEPS for line in _printed(server, step.get, known)]

    parts = (
        {part for token in known.values() for part in token.split(".")} | set(public_pem(key).splitlines()) | {"eyJ"}
    )
    assert len(printed) == sum(step.told.record is not None for step in STEPS)
    assert [part for part in parts if len(part) > 2 and part in "\n".join(printed)] == []


def _printed(server: Server, request: Get, known: dict[str, str]) -> Sequence[str]:
    return server.get(request.target, [known.get(text, text) for text in request.presented]).printed


def test_what_is_as_told_differs_in_nothing() -> None:
    """An answer and a record that are what the tour says are no difference."""
    assert TOLD.differences(AS_TOLD) == []


def test_silence_can_be_told() -> None:
    """A step without a record holds where nothing was printed, and only there."""
    told = Told(200, None, None)

    assert told.differences(Answer(200, [], [])) == []
    assert len(told.differences(Answer(200, [], [RECORD]))) == 1


@pytest.mark.parametrize(
    "answer",
    [
        replace(AS_TOLD, status=200),
        replace(AS_TOLD, status=403),
        replace(AS_TOLD, challenges=[]),
        replace(AS_TOLD, challenges=["Bearer", "Bearer"]),
        replace(AS_TOLD, challenges=['Bearer realm="orders"']),
        replace(AS_TOLD, printed=[]),
        replace(AS_TOLD, printed=[RECORD, RECORD]),
        replace(AS_TOLD, printed=[RECORD.replace("token.expired", "token.expired_badly")]),
        replace(AS_TOLD, printed=[RECORD.replace("expired_by=4s", "")]),
        replace(AS_TOLD, printed=["Traceback (most recent call last):"]),
    ],
)
def test_a_difference_is_found(answer: Answer) -> None:
    """Another status, challenge or record than the tour tells is a difference, and just one."""
    assert len(TOLD.differences(answer)) == 1


@pytest.mark.peer
def test_a_tour_that_does_not_hold_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where an answer is not what the tour says, the step shows how it differs, and the exit status tells."""
    from examples import tour as module

    wrong = replace(STEPS[0], told=replace(STEPS[0].told, status=403))
    monkeypatch.setattr(module, "STEPS", (wrong, STEPS[1]))

    status = module.walk(module.Screen())

    printed = capsys.readouterr().out
    assert status == 1
    assert printed.count("NOT AS TOLD: the status is 401, told was 403\n") == 1
    assert printed.endswith("Not as told: 1 of 2 steps.\n")


def test_the_curl_line_is_the_request() -> None:
    """Tokens stand in shell variables, other text as it is, and curl is kept from tidying a path that climbs."""
    assert Get("/orders", ["ALICE"]).curl == 'curl -i -H "Authorization: Bearer $ALICE" $API/orders'
    assert Get("/a/../b").curl == "curl -i --path-as-is $API/a/../b"
    assert Get("/", ["BOB", "text"]).curl.count("-H") == 2
