"""A tour of authguard: five of the examples run behind uvicorn, and each step shows a request and its response.

python -m examples.tour            runs all steps; exits with 1 if a response or a record is not as expected
python -m examples.tour --serve    keeps the examples running, and prints tokens and passwords to try
"""

from __future__ import annotations

import argparse
import http.client
import signal
import socket
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from examples.tour import basic_steps, digest_steps, key_steps, session_steps
from examples.tour.basic_steps import BASIC, BasicRequest
from examples.tour.bearer_steps import BEARER, BearerRequest
from examples.tour.digest_steps import DIGEST, DigestRequest
from examples.tour.key_steps import KEYS, KeyRequest
from examples.tour.screen import Screen
from examples.tour.server import HEALTH, HOST, ServerDied, running_server, send, uvicorn_process
from examples.tour.session_steps import NAVIGATION, SESSIONS, SessionRequest
from examples.tour.tokens import HOUR, new_key, public_pem, tokens

PORT = 8000
PARTS = (BEARER, BASIC, DIGEST, KEYS, SESSIONS)
TO_TRY = (
    BearerRequest("/health"),
    BearerRequest("/orders"),
    BearerRequest("/orders", ["BOB"]),
    BearerRequest("/orders", ["EXPIRED"]),
    BearerRequest("/admin/users", ["BOB"]),
    BearerRequest("/admin/users", ["ALICE"]),
    BasicRequest("/orders"),
    BasicRequest("/orders", "bob:builder"),
    BasicRequest("/orders", "bob:wrecker"),
    BasicRequest("/admin/users", "bob:builder"),
    BasicRequest("/admin/users", "alice:wonderland"),
    DigestRequest("/snapshot?width=640", "bob:builder"),
    DigestRequest("/ptz/left", "bob:builder", "POST"),
    DigestRequest("/ptz/left", "alice:wonderland", "POST"),
    KeyRequest("/orders", "KEY"),
    KeyRequest("/orders", "TEST"),
    SessionRequest("/orders", headers=NAVIGATION),
    SessionRequest("/orders", logs_in=True),
)
#: Forty refusals of one kind, which the inspector shows as a burst.
TO_SEE = 'for n in $(seq 40); do curl -s -o /dev/null -H "Authorization: Bearer $EXPIRED" $INSPECTED/orders; done'


def walk(screen: Screen) -> int:
    """Run all steps. Returns 0 if every response and every record is as expected, and otherwise 1."""
    key = new_key()
    pem = public_pem(key)
    screen.line("The examples run behind uvicorn. Each step shows a request, the response, and the record in the log.")
    screen.line(
        "To send the requests yourself, run `make serve`: it keeps the examples running, and gives you $API, $BASIC, "
        "$DIGEST, $KEYS, $SHOP, tokens and keys."
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="authguard-")))
        key_settings, api_keys = key_steps.write_files(folder)
        examples = {
            "quickstart, LEEWAY=0": ("quickstart", {"ISSUER_PUBLIC_KEY": pem, "LEEWAY": "0"}),
            "quickstart": ("quickstart", {"ISSUER_PUBLIC_KEY": pem, "LEEWAY": "60"}),
            "htpasswd": ("htpasswd", basic_steps.write_files(folder)),
            "camera": ("camera", digest_steps.write_files(folder)),
            "api_keys": ("api_keys", key_settings),
            "login_form": ("login_form", session_steps.settings()),
        }
        servers = {name: stack.enter_context(running_server(*example)) for name, example in examples.items()}
        for server in servers.values():
            server.send(HEALTH)
        by_name = tokens(key, expired_by=4) | api_keys
        number = 0
        unexpected: list[int] = []
        for part in PARTS:
            screen.line(f"\n{part.title}", "bold underline")
            for step in part.steps:
                number += 1
                responses = step.action.run(servers[step.action.served_by].send, by_name)
                differences = step.differences(responses)
                screen.step(number, step, responses[-1], differences)
                if differences:
                    unexpected.append(number)
    if unexpected:
        screen.line(f"\nNot as expected: {', '.join(map(str, unexpected))} of {number} steps.", "bold red")
        return 1
    screen.line(f"\n{number} steps. Every response and every record was as expected.", "bold")
    return 0


def listen(screen: Screen, port: int) -> socket.socket:
    """Open a socket on this port, or on a free one if this port is taken."""
    try:
        return socket.create_server((HOST, port))
    except OSError:
        screen.line(f"Port {port} is taken; using a free one.")
        return socket.create_server((HOST, 0))


def serve(screen: Screen) -> int:
    """Serve the examples until Ctrl-C."""
    key = new_key()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="authguard-")))
        files = basic_steps.write_files(folder)
        key_settings, api_keys = key_steps.write_files(folder)
        examples = {
            "API": ("quickstart", {"ISSUER_PUBLIC_KEY": public_pem(key), "LEEWAY": "60"}),
            "BASIC": ("htpasswd", files),
            "DIGEST": ("camera", digest_steps.write_files(folder)),
            "KEYS": ("api_keys", key_settings),
            "SHOP": ("login_form", session_steps.settings()),
            "INSPECTED": ("inspector", {"ISSUER_PUBLIC_KEY": public_pem(key), **files}),
        }
        listeners = {name: listen(screen, port) for port, name in enumerate(examples, PORT)}
        ports: dict[str, int] = {name: listener.getsockname()[1] for name, listener in listeners.items()}
        processes = [
            stack.enter_context(uvicorn_process(listeners[name], *example)) for name, example in examples.items()
        ]
        try:
            for port in ports.values():
                send(port, HEALTH)
        except (OSError, http.client.HTTPException):
            raise ServerDied from None
        variables = {name: f"http://{HOST}:{port}" for name, port in ports.items()} | tokens(key, expired_by=HOUR)
        variables |= api_keys
        file = folder / "tokens"
        file.write_text("".join(f"export {name}={value}\n" for name, value in variables.items()), "utf-8")
        screen.line(
            f"Serving examples/quickstart.py, for bearer tokens with a leeway of 60 s, at {variables['API']}", "bold"
        )
        screen.line(f"Serving examples/htpasswd.py, for Basic, at {variables['BASIC']}", "bold")
        screen.line(f"Serving examples/camera.py, for Digest, at {variables['DIGEST']}", "bold")
        screen.line(f"Serving examples/api_keys.py, for API keys, at {variables['KEYS']}", "bold")
        screen.line(f"Serving examples/login_form.py, for sessions, at {variables['SHOP']}", "bold")
        screen.line(
            f"Serving examples/inspector.py, with the page that shows refusals, at {variables['INSPECTED']}", "bold"
        )
        screen.line(f"Open {variables['INSPECTED']}/inspector/ in a browser, as alice with the password wonderland.")
        screen.line(f"The passwords of Basic are in {files['USER_FILE']}; a change takes effect within three seconds.")
        screen.line("Press Ctrl-C to stop.\n")
        owners = {"ALICE": "alice, role admin", "BOB": "bob, no role", "EXPIRED": "alice, expired an hour ago"}
        for name, owner in owners.items():
            screen.line(f"{name}: {owner}", "dim")
            screen.line(f"{variables[name]}\n")
        screen.line(
            "In another terminal, run this first. It sets the variables for the lines below and in `make demo`:\n"
        )
        screen.line(f"    . {file}\n", "cyan")
        for action in TO_TRY:
            screen.line(f"    {action.curl}", "cyan")
        screen.line(f"    {TO_SEE}", "cyan")
        screen.line("\nThe log:", "bold")
        while all(process.poll() is None for process in processes):
            time.sleep(0.2)
    screen.line("A server stopped unexpectedly.", "bold red")
    return 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.tour", description="A tour of authguard.")
    parser.add_argument("--serve", action="store_true", help="keep the examples running, with tokens to try")
    serve_only: bool = parser.parse_args().serve
    # A signal that would end this process at once must stop the servers first, so it becomes an exception.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    screen = Screen()
    try:
        return serve(screen) if serve_only else walk(screen)
    except KeyboardInterrupt:
        screen.line("\nStopped." if serve_only else "\nInterrupted.")
        return 0 if serve_only else 130
    except ServerDied as error:
        screen.line(f"\nThe server did not answer.\n{error}", "bold red")
        return 1


if __name__ == "__main__":
    sys.exit(main())
