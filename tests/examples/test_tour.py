"""The tour tells the truth, tells it plainly, and cleans up."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from examples.touring import digests, logins
from examples.touring.digests import DIGESTS, Answering
from examples.touring.logins import GUESSES, LOGINS, Login
from examples.touring.screen import Screen
from examples.touring.server import HEALTH, HOST, Server, ServerDied, ask, serving
from examples.touring.steps import TOKENS, Get
from examples.touring.telling import Answer, Part, Sent
from examples.touring.tokens import new_key, public_pem, tokens

ROOT = Path(__file__).parents[2]
PATIENCE = 60
STEPS = (*TOKENS.steps, *LOGINS.steps, *DIGESTS.steps)
SERVED = ("API", "BASIC", "DIGEST")


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
    """Every answer and every record is as told; each step is there with its curl line; no control code, no token."""
    with tour() as process:
        printed, _ = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, printed
    assert [step.title for step in STEPS if f"{step.title}\n" not in printed] == []
    assert [step.asks.curl for step in STEPS if f"    $ {step.asks.curl}\n" not in printed] == []
    assert [step.lesson for step in STEPS if f"    {step.lesson}\n" not in printed] == []
    assert "\x1b" not in printed
    assert "eyJ" not in printed


@pytest.mark.peer
def test_what_is_served_can_be_tried_and_ends_cleanly() -> None:
    """`--serve` hands out whole tokens and a file with all that the lines name, logs, and ends with Ctrl-C."""
    with tour("--serve") as process:
        printed = read_until(process, "The log:")
        file = Path(printed.partition("    . ")[2].partition("\n")[0])
        shell = dict(line.removeprefix("export ").split("=", 1) for line in file.read_text("utf-8").splitlines())
        port, basic, digest = (int(shell[name].removeprefix(f"http://{HOST}:")) for name in SERVED)
        asked = [Get("/admin/users", [name]).sends(shell)[0] for name in ("ALICE", "BOB", "EXPIRED")]
        answers = [ask(port, sent).status for sent in asked]
        log = read_until(process, "token.expired")
        answers += [ask(basic, sent).status for sent in Login("/admin/users", "bob:builder").sends({})]
        log += read_until(process, "role.missing")
        ours = Answering("/ptz/left", "bob:builder", "POST").answers(partial(ask, digest), {})
        answers += [answer.status for answer in ours]
        log += read_until(process, "role.missing")
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=PATIENCE)

    assert [name for name in SERVED if f" at {shell[name]}" not in printed] == []
    assert [name for name in ("ALICE", "BOB", "EXPIRED") if f"\n{shell[name]}\n" not in printed] == []
    assert answers == [200, 403, 401, 403, 401, 403]
    assert [line.split(":")[2] for line in log.splitlines()] == [
        "granted",
        "denied role.missing",
        "denied token.expired",
        "denied role.missing",
        "denied credentials.missing",
        "denied role.missing",
    ]
    assert (process.returncode, "Traceback" in rest, file.exists()) == (0, False, False)
    for ended in (port, basic, digest):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, ended))


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
    settings = {"ISSUER_PUBLIC_KEY": "no key at all"}

    with serving("quickstart", settings) as server, pytest.raises(ServerDied, match="this is no PEM"):
        server.ask(HEALTH)


@pytest.mark.peer
def test_no_token_and_no_key_is_in_the_log() -> None:
    """All that the server prints on the whole tour holds no part of a token that was sent, nor of the key."""
    key = new_key()
    known = tokens(key, expired_by=4)
    with serving("quickstart", {"ISSUER_PUBLIC_KEY": public_pem(key)}) as server:
        answers = [answer for step in TOKENS.steps for answer in step.asks.answers(server.ask, known)]
    printed = [line for answer in answers for line in answer.printed]

    parts = (
        {part for token in known.values() for part in token.split(".")} | set(public_pem(key).splitlines()) | {"eyJ"}
    )
    assert len(printed) == sum(step.told.record is not None for step in TOKENS.steps)
    assert [part for part in parts if len(part) > 2 and part in "\n".join(printed)] == []


def walked(part: Part, server: Server) -> tuple[list[Sent], list[str]]:
    """What is sent in a part of the tour, and what the server prints meanwhile."""
    sent: list[Sent] = []
    printed: list[str] = []

    def noted(request: Sent) -> Answer:
        answer = server.ask(request)
        sent.append(request)
        printed.extend(answer.printed)
        return answer

    for step in part.steps:
        step.asks.answers(noted, {})
    return sent, printed


def presented(sent: list[Sent]) -> set[str]:
    """All that stood in Authorization, without the scheme."""
    return {value.partition(" ")[2] for request in sent for name, value in request.fields if name == "Authorization"}


@pytest.mark.peer
def test_no_password_is_in_the_log(tmp_path: Path) -> None:
    """All that the server prints on the whole tour holds no password, guess, credentials or hash."""
    settings = logins.write_files(tmp_path)
    with serving("htpasswd", settings) as server:
        sent, printed = walked(LOGINS, server)

    hashes = {line.partition(":")[2] for line in Path(settings["USER_FILE"]).read_text().splitlines()}
    secrets = {*logins.PASSWORDS.values(), "looking-glass", *hashes, *presented(sent)}
    assert len(printed) == len(sent) == len(LOGINS.steps) - 1 + GUESSES
    assert [secret for secret in secrets if secret in "\n".join(printed)] == []


@pytest.mark.peer
def test_no_digest_is_in_the_log(tmp_path: Path) -> None:
    """Nor is there, of Digest, a response, a nonce, what the file keeps, or the secret."""
    settings = digests.write_files(tmp_path)
    with serving("camera", settings) as server:
        sent, printed = walked(DIGESTS, server)

    kept = {line.rpartition(":")[2] for line in Path(settings["USER_FILE"]).read_text().splitlines()}
    long = {value for fields in presented(sent) for value in fields.split('"') if len(value) > 20}
    secrets = {*digests.PASSWORDS.values(), "looking-glass", settings["DIGEST_SECRET"], *kept, *long}
    assert len(printed) == len(sent)
    assert len(long) > len(DIGESTS.steps)
    assert [secret for secret in secrets if secret in "\n".join(printed)] == []


@pytest.mark.peer
def test_a_wrong_password_and_an_unknown_user_are_one_to_the_client(tmp_path: Path) -> None:
    """Their answers are the same octet for octet, but for the date."""
    answers = []
    with serving("htpasswd", logins.write_files(tmp_path)) as server:
        server.ask(HEALTH)
        for name in ("alice", "eve"):
            url = f"http://{HOST}:{server.port}/orders"
            command = ["curl", "-si", "-u", f"{name}:looking-glass", url]
            answers.append(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    wrong, unknown = ([line for line in answer.splitlines() if "date: " not in line] for answer in answers)
    assert wrong == unknown
    assert wrong[0] == "HTTP/1.1 401 Unauthorized"


@pytest.mark.peer
def test_the_curl_lines_of_the_logins_hold_in_a_shell(tmp_path: Path) -> None:
    """Copied into a shell, each line is answered as the tour tells, and the line of guesses asks eleven times."""
    statuses = []
    with serving("htpasswd", logins.write_files(tmp_path)) as server:
        server.ask(HEALTH)
        for step in LOGINS.steps:
            line = step.asks.curl.replace("curl -i", "curl -si")
            env = {**os.environ, "BASIC": f"http://{HOST}:{server.port}"}
            printed = subprocess.run(["sh", "-c", line], env=env, capture_output=True, check=True, text=True).stdout
            statuses.append([int(text.split()[0]) for text in printed.split("HTTP/1.1 ")[1:]])

    *others, guesses = [(step.before, step.told.status) for step in LOGINS.steps]
    assert statuses == [*([status] for _, status in others), [guesses[0]] * (GUESSES - 1) + [guesses[1]]]


@pytest.mark.peer
def test_a_tour_that_does_not_hold_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where an answer is not what the tour says, the step shows how it differs, and the exit status tells."""
    from examples import tour as module

    first, second, *_ = TOKENS.steps
    wrong = replace(first, told=replace(first.told, status=403))
    monkeypatch.setattr(module, "PARTS", (Part("Tokens", [wrong]), Part("More of them", [second])))

    status = module.walk(Screen())

    printed = capsys.readouterr().out
    assert status == 1
    assert printed.count("NOT AS TOLD: the status is 401, told was 403\n") == 1
    assert printed.endswith("Not as told: 1 of 2 steps.\n")
