"""A tour of authguard: three of its examples behind uvicorn, and what they answer and record, request by request.

python -m examples.tour            walks through it; ends with 1 if an answer or a record is not what the tour says
python -m examples.tour --serve    leaves the examples running, with tokens and passwords to try
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

from examples.touring import digests, logins
from examples.touring.digests import DIGESTS, Answering
from examples.touring.logins import LOGINS, Login
from examples.touring.screen import Screen
from examples.touring.server import HEALTH, HOST, ServerDied, ask, serving, uvicorn
from examples.touring.steps import TOKENS, Get
from examples.touring.tokens import HOUR, new_key, public_pem, tokens

PORT = 8000
PARTS = (TOKENS, LOGINS, DIGESTS)
TO_TRY = (
    Get("/health"),
    Get("/orders"),
    Get("/orders", ["BOB"]),
    Get("/orders", ["EXPIRED"]),
    Get("/admin/users", ["BOB"]),
    Get("/admin/users", ["ALICE"]),
    Login("/orders"),
    Login("/orders", "bob:builder"),
    Login("/orders", "bob:wrecker"),
    Login("/admin/users", "bob:builder"),
    Login("/admin/users", "alice:wonderland"),
    Answering("/snapshot?width=640", "bob:builder"),
    Answering("/ptz/left", "bob:builder", "POST"),
    Answering("/ptz/left", "alice:wonderland", "POST"),
)


def walk(screen: Screen) -> int:
    """The tour: 0 where every answer and every record is what it says."""
    key = new_key()
    pem = public_pem(key)
    screen.line("Examples run behind uvicorn. Each step shows a request, its answer, and the record in the log.")
    screen.line(
        "To send them yourself, `make serve` keeps the examples running and hands you $API, $BASIC, $DIGEST and tokens."
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="authguard-")))
        starts = {
            "quickstart, LEEWAY=0": ("quickstart", {"ISSUER_PUBLIC_KEY": pem, "LEEWAY": "0"}),
            "quickstart": ("quickstart", {"ISSUER_PUBLIC_KEY": pem, "LEEWAY": "60"}),
            "htpasswd": ("htpasswd", logins.write_files(folder)),
            "camera": ("camera", digests.write_files(folder)),
        }
        servers = {name: stack.enter_context(serving(*start)) for name, start in starts.items()}
        for server in servers.values():
            server.ask(HEALTH)
        known = tokens(key, expired_by=4)
        number = 0
        wrong: list[int] = []
        for part in PARTS:
            screen.line(f"\n{part.title}", "bold underline")
            for step in part.steps:
                number += 1
                answers = step.asks.answers(servers[step.asks.served_by].ask, known)
                differences = step.differences(answers)
                screen.step(number, step, answers[-1], differences)
                if differences:
                    wrong.append(number)
    if wrong:
        screen.line(f"\nNot as told: {', '.join(map(str, wrong))} of {number} steps.", "bold red")
        return 1
    screen.line(f"\n{number} steps; every answer and every record was as told.", "bold")
    return 0


def listen(screen: Screen, port: int) -> socket.socket:
    """A socket on this port, or on a free one."""
    try:
        return socket.create_server((HOST, port))
    except OSError:
        screen.line(f"Port {port} is taken; here is a free one.")
        return socket.create_server((HOST, 0))


def serve(screen: Screen) -> int:
    """The examples, until Ctrl-C."""
    key = new_key()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="authguard-")))
        files = logins.write_files(folder)
        starts = {
            "API": ("quickstart", {"ISSUER_PUBLIC_KEY": public_pem(key), "LEEWAY": "60"}),
            "BASIC": ("htpasswd", files),
            "DIGEST": ("camera", digests.write_files(folder)),
        }
        listeners = {name: listen(screen, port) for port, name in enumerate(starts, PORT)}
        ports: dict[str, int] = {name: listener.getsockname()[1] for name, listener in listeners.items()}
        processes = [stack.enter_context(uvicorn(listeners[name], *start)) for name, start in starts.items()]
        try:
            for port in ports.values():
                ask(port, HEALTH)
        except (OSError, http.client.HTTPException):
            raise ServerDied from None
        variables = {name: f"http://{HOST}:{port}" for name, port in ports.items()} | tokens(key, expired_by=HOUR)
        file = folder / "tokens"
        file.write_text("".join(f"export {name}={value}\n" for name, value in variables.items()), "utf-8")
        screen.line(f"Serving the quickstart at {variables['API']} with a leeway of 60 s,", "bold")
        screen.line(f"examples/camera.py at {variables['DIGEST']}, for Digest,", "bold")
        screen.line(f"and examples/htpasswd.py at {variables['BASIC']} with {files['USER_FILE']}:", "bold")
        screen.line("an edit of it takes effect within three seconds. Ctrl-C ends all.\n")
        for name, who in (("ALICE", "alice, role admin"), ("BOB", "bob, no role"), ("EXPIRED", "alice, an hour late")):
            screen.line(f"{name}: {who}", "dim")
            screen.line(f"{variables[name]}\n")
        screen.line("In another terminal, first this, for the lines below and all those of `make demo`:\n")
        screen.line(f"    . {file}\n", "cyan")
        for request in TO_TRY:
            screen.line(f"    {request.curl}", "cyan")
        screen.line("\nThe log:", "bold")
        while all(process.poll() is None for process in processes):
            time.sleep(0.2)
    screen.line("A server ended by itself.", "bold red")
    return 1


def main() -> int:
    parser = argparse.ArgumentParser(description="A tour of authguard.")
    parser.add_argument("--serve", action="store_true", help="leave the examples running, with tokens to try")
    to_serve: bool = parser.parse_args().serve
    # What is asked to end, by whatever means, ends its servers first.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    screen = Screen()
    try:
        return serve(screen) if to_serve else walk(screen)
    except KeyboardInterrupt:
        screen.line("\nEnded." if to_serve else "\nInterrupted.")
        return 0 if to_serve else 130
    except ServerDied as error:
        screen.line(f"\nThe server did not answer.\n{error}", "bold red")
        return 1


if __name__ == "__main__":
    sys.exit(main())
