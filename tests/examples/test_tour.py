"""The tour: its output is true, plain when piped, and free of secrets, and its servers stop."""

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

from examples.tour import basic_steps, digest_steps
from examples.tour.basic_steps import BASIC, GUESSES, BasicRequest
from examples.tour.bearer_steps import BEARER, BearerRequest
from examples.tour.digest_steps import DIGEST, DigestRequest
from examples.tour.key_steps import KEYS, KeyRequest
from examples.tour.screen import Screen
from examples.tour.server import HEALTH, HOST, Server, ServerDied, running_server, send
from examples.tour.session_steps import SESSIONS, SessionRequest
from examples.tour.step import Part, Request, Response
from examples.tour.tokens import new_key, public_pem, tokens

ROOT = Path(__file__).parents[2]
PATIENCE = 300
STEPS = (*BEARER.steps, *BASIC.steps, *DIGEST.steps, *KEYS.steps, *SESSIONS.steps)
ADDRESSES = ("API", "BASIC", "DIGEST", "KEYS", "SHOP", "INSPECTED")


@contextmanager
def tour(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start the tour in its own process, with its output in a pipe and no variable that asks for colour."""
    colour_variables = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "CLICOLOR_FORCE")
    env = {name: value for name, value in os.environ.items() if name not in colour_variables}
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
    """Read the output up to the first line that contains the text, or to the end if there is none."""
    assert process.stdout is not None
    output = ""
    for line in process.stdout:
        output += line
        if text in line:
            break
    return output


@pytest.mark.peer
def test_the_tour_succeeds_and_is_plain_when_piped() -> None:
    """It exits with 0, prints each step with its curl line, and prints neither control codes nor tokens."""
    with tour() as process:
        printed, _ = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, printed
    assert [step.title for step in STEPS if f"{step.title}\n" not in printed] == []
    assert [step.action.curl for step in STEPS if f"    $ {step.action.curl}\n" not in printed] == []
    assert [step.explanation for step in STEPS if f"    {step.explanation}\n" not in printed] == []
    assert "\x1b" not in printed
    assert "eyJ" not in printed


@pytest.mark.peer
def test_serve_prints_working_credentials_and_stops_cleanly() -> None:
    """`--serve` prints tokens and a file that sets all variables, shows the log, and stops at Ctrl-C."""
    with tour("--serve") as process:
        printed = read_until(process, "The log:")
        file = Path(printed.partition("    . ")[2].partition("\n")[0])
        shell = dict(line.removeprefix("export ").split("=", 1) for line in file.read_text("utf-8").splitlines())
        ports = [int(shell[name].removeprefix(f"http://{HOST}:")) for name in ADDRESSES]
        port, basic, digest, keys, shop, inspected = ports
        requests = [BearerRequest("/admin/users", [name]).requests(shell)[0] for name in ("ALICE", "BOB", "EXPIRED")]
        statuses = [send(port, request).status for request in requests]
        log = read_until(process, "token.expired")
        requests = list(BasicRequest("/admin/users", "bob:builder").requests({}))
        statuses += [send(basic, request).status for request in requests]
        log += read_until(process, "role.missing")
        responses = DigestRequest("/ptz/left", "bob:builder", "POST").run(partial(send, digest), {})
        statuses += [response.status for response in responses]
        log += read_until(process, "role.missing")
        statuses += [response.status for response in KeyRequest("/orders", "LEAKED").run(partial(send, keys), shell)]
        log += read_until(process, "api_key.revoked")
        copied = SessionRequest("/orders", logs_in=True, logs_out=True).run(partial(send, shop), {})
        statuses += [response.status for response in copied]
        log += read_until(process, "session.revoked")
        statuses += [
            send(inspected, request).status for request in BasicRequest("/inspector/", "alice:wonderland").requests({})
        ]
        log += read_until(process, "granted")
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=PATIENCE)

    assert [name for name in ADDRESSES if f" at {shell[name]}\n" not in printed] == []
    assert [name for name in ("ALICE", "BOB", "EXPIRED") if f"\n{shell[name]}\n" not in printed] == []
    assert statuses == [200, 403, 401, 403, 401, 403, 401, 303, 303, 401, 200]
    assert [line.split(":")[2] for line in log.splitlines()] == [
        "granted",
        "denied role.missing",
        "denied token.expired",
        "denied role.missing",
        "denied credentials.missing",
        "denied role.missing",
        "denied api_key.revoked",
        "granted",
        "denied session.revoked",
        "granted",
    ]
    assert (process.returncode, "Traceback" in rest, file.exists()) == (0, False, False)
    for stopped in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, stopped))


@pytest.mark.peer
def test_a_taken_port_is_reported() -> None:
    """If the fixed port is taken, `--serve` uses another one, and its first line says so."""
    try:
        taken = socket.create_server((HOST, 8000))
    except OSError:  # another process has it already, which is just as good
        taken = socket.socket()

    with taken, tour("--serve") as process:
        printed = read_until(process, "Serving")

    assert printed.startswith("Port 8000 is taken; using a free one.\n")
    assert f"http://{HOST}:8000\n" not in printed


@pytest.mark.peer
def test_a_server_that_cannot_start_is_reported() -> None:
    """The first request fails at once, and the error contains what the server printed."""
    settings = {"ISSUER_PUBLIC_KEY": "no key at all"}

    with running_server("quickstart", settings) as server, pytest.raises(ServerDied, match="this is not PEM"):
        server.send(HEALTH)


@pytest.mark.peer
def test_no_token_and_no_key_is_in_the_log() -> None:
    """The output of the server during the whole tour contains no part of a token, nor of the key."""
    key = new_key()
    by_name = tokens(key, expired_by=4)
    with running_server("quickstart", {"ISSUER_PUBLIC_KEY": public_pem(key)}) as server:
        responses = [response for step in BEARER.steps for response in step.action.run(server.send, by_name)]
    log = [line for response in responses for line in response.log]

    parts = (
        {part for token in by_name.values() for part in token.split(".")} | set(public_pem(key).splitlines()) | {"eyJ"}
    )
    assert len(log) == sum(step.expected.record is not None for step in BEARER.steps)
    assert [part for part in parts if len(part) > 2 and part in "\n".join(log)] == []


def run_part(part: Part, server: Server) -> tuple[list[Request], list[str]]:
    """Run a part of the tour, and return the requests that were sent and the lines that the server logged."""
    requests: list[Request] = []
    log: list[str] = []

    def recording_send(request: Request) -> Response:
        response = server.send(request)
        requests.append(request)
        log.extend(response.log)
        return response

    for step in part.steps:
        step.action.run(recording_send, {})
    return requests, log


def credentials_in(requests: list[Request]) -> set[str]:
    """The values of all ``Authorization`` headers, without the scheme."""
    headers = [header for request in requests for header in request.headers]
    return {value.partition(" ")[2] for name, value in headers if name == "Authorization"}


@pytest.mark.peer
def test_no_password_is_in_the_log(tmp_path: Path) -> None:
    """The output of the server during the whole tour contains no password, guess, header or hash."""
    settings = basic_steps.write_files(tmp_path)
    with running_server("htpasswd", settings) as server:
        requests, log = run_part(BASIC, server)

    hashes = {line.partition(":")[2] for line in Path(settings["USER_FILE"]).read_text().splitlines()}
    secrets = {*basic_steps.PASSWORDS.values(), "looking-glass", *hashes, *credentials_in(requests)}
    assert len(log) == len(requests) == len(BASIC.steps) - 1 + GUESSES
    assert [secret for secret in secrets if secret in "\n".join(log)] == []


@pytest.mark.peer
def test_no_digest_is_in_the_log(tmp_path: Path) -> None:
    """With Digest, the output contains no response, nonce, stored digest or secret."""
    settings = digest_steps.write_files(tmp_path)
    with running_server("camera", settings) as server:
        requests, log = run_part(DIGEST, server)

    stored = {line.rpartition(":")[2] for line in Path(settings["USER_FILE"]).read_text().splitlines()}
    long_values = {value for params in credentials_in(requests) for value in params.split('"') if len(value) > 20}
    secrets = {*digest_steps.PASSWORDS.values(), "looking-glass", settings["DIGEST_SECRET"], *stored, *long_values}
    assert len(log) == len(requests)
    assert len(long_values) > len(DIGEST.steps)
    assert [secret for secret in secrets if secret in "\n".join(log)] == []


@pytest.mark.peer
def test_a_client_cannot_tell_a_wrong_password_from_an_unknown_user(tmp_path: Path) -> None:
    """Both responses are identical byte for byte, except for the date."""
    responses = []
    with running_server("htpasswd", basic_steps.write_files(tmp_path)) as server:
        server.send(HEALTH)
        for name in ("alice", "eve"):
            url = f"http://{HOST}:{server.port}/orders"
            command = ["curl", "-si", "-u", f"{name}:looking-glass", url]
            responses.append(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    wrong, unknown = ([line for line in response.splitlines() if "date: " not in line] for response in responses)
    assert wrong == unknown
    assert wrong[0] == "HTTP/1.1 401 Unauthorized"


@pytest.mark.peer
def test_the_curl_lines_of_basic_work_in_a_shell(tmp_path: Path) -> None:
    """In a shell, each line gets the expected status, and the line with guesses sends eleven requests."""
    statuses = []
    with running_server("htpasswd", basic_steps.write_files(tmp_path)) as server:
        server.send(HEALTH)
        for step in BASIC.steps:
            line = step.action.curl.replace("curl -i", "curl -si")
            env = {**os.environ, "BASIC": f"http://{HOST}:{server.port}"}
            printed = subprocess.run(["sh", "-c", line], env=env, capture_output=True, check=True, text=True).stdout
            statuses.append([int(text.split()[0]) for text in printed.split("HTTP/1.1 ")[1:]])

    *others, guesses = [(step.earlier_status, step.expected.status) for step in BASIC.steps]
    assert statuses == [*([status] for _, status in others), [guesses[0]] * (GUESSES - 1) + [guesses[1]]]


@pytest.mark.peer
def test_an_unexpected_response_ends_the_tour_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The step shows how the response differs from the expected one, and the exit status is 1."""
    from examples.tour import __main__ as module

    first, second, *_ = BEARER.steps
    wrong = replace(first, expected=replace(first.expected, status=403))
    monkeypatch.setattr(module, "PARTS", (Part("Tokens", [wrong]), Part("More of them", [second])))

    status = module.walk(Screen())

    printed = capsys.readouterr().out
    assert status == 1
    assert printed.count("UNEXPECTED: the status is 401, expected was 403\n") == 1
    assert printed.endswith("Not as expected: 1 of 2 steps.\n")
