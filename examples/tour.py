"""A tour of authguard: the quickstart behind uvicorn, and what it answers and records, request by request.

python -m examples.tour            walks through it; ends with 1 if an answer or a record is not what the tour says
python -m examples.tour --serve    leaves the quickstart running, with tokens to try
"""

from __future__ import annotations

import argparse
import http.client
import signal
import socket
import sys
import tempfile
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from examples.touring.server import HOST, ServerDied, get, serving, uvicorn
from examples.touring.steps import STEPS, Answer, Get, Step
from examples.touring.tokens import HOUR, new_key, public_pem, tokens

PORT = 8000
TO_TRY = (
    Get("/health"),
    Get("/orders"),
    Get("/orders", ["BOB"]),
    Get("/orders", ["EXPIRED"]),
    Get("/admin/users", ["BOB"]),
    Get("/admin/users", ["ALICE"]),
)


class Screen:
    """Coloured and indented in a terminal; plain, and one line for one line, where it is piped."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)

    def line(self, text: str = "", style: str = "") -> None:
        """A line that is not broken, so that it can be copied."""
        self._console.print(Text(text, style), soft_wrap=True)

    def block(self, text: str, style: str = "") -> None:
        """Some text with an indent, which the lines that it is broken into have too."""
        if self._console.is_terminal:
            self._console.print(Padding(Text(text, style), (0, 0, 0, 4), expand=False))
        else:
            self.line(f"    {text}")

    def step(self, number: int, step: Step, answer: Answer, differences: list[str]) -> None:
        """One step, with what really came."""
        self.line(f"\n{number:2}  {step.title}", "bold")
        self.line(f"    $ {step.get.curl}", "cyan")
        self.block(f"{answer.status} {HTTPStatus(answer.status).phrase}", "green" if answer.status == 200 else "yellow")
        for challenge in answer.challenges:
            self.block(f"WWW-Authenticate: {challenge}", "yellow")
        for line in answer.printed or ["(no record)"]:
            self.block(line, "magenta")
        self.block(step.lesson, "dim")
        for difference in differences:
            self.block(f"NOT AS TOLD: {difference}", "bold red")


def walk(screen: Screen) -> int:
    """The tour: 0 where every answer and every record is what it says."""
    key = new_key()
    screen.line("The quickstart runs behind uvicorn. Each step shows a request, its answer, and the record in the log.")
    screen.line("To send the requests yourself, `make serve` keeps it running and hands you $API and the tokens.")
    with ExitStack() as stack:
        servers = {leeway: stack.enter_context(serving(public_pem(key), leeway)) for leeway in (0, 60)}
        for server in servers.values():
            server.get("/health")
        known = tokens(key, expired_by=4)
        wrong: list[int] = []
        for number, step in enumerate(STEPS, 1):
            presented = [known.get(text, text) for text in step.get.presented]
            answer = servers[step.get.leeway].get(step.get.target, presented)
            differences = step.told.differences(answer)
            screen.step(number, step, answer, differences)
            if differences:
                wrong.append(number)
    if wrong:
        screen.line(f"\nNot as told: {', '.join(map(str, wrong))} of {len(STEPS)} steps.", "bold red")
        return 1
    screen.line(f"\n{len(STEPS)} requests; every answer and every record was as told.", "bold")
    return 0


def serve(screen: Screen) -> int:
    """The quickstart, until Ctrl-C."""
    try:
        listener = socket.create_server((HOST, PORT))
    except OSError:
        listener = socket.create_server((HOST, 0))
        screen.line(f"Port {PORT} is taken; here is a free one.")
    port = listener.getsockname()[1]
    key = new_key()
    with uvicorn(listener, public_pem(key), 60) as process, tempfile.TemporaryDirectory(prefix="authguard-") as folder:
        try:
            get(port, "/health")
        except (OSError, http.client.HTTPException):
            raise ServerDied from None
        variables = {"API": f"http://{HOST}:{port}", **tokens(key, expired_by=HOUR)}
        file = Path(folder) / "tokens"
        file.write_text("".join(f"export {name}={value}\n" for name, value in variables.items()), "utf-8")
        screen.line(f"Serving the quickstart at {variables['API']} with a leeway of 60 s. Ctrl-C ends it.\n", "bold")
        for name, who in (("ALICE", "alice, role admin"), ("BOB", "bob, no role"), ("EXPIRED", "alice, an hour late")):
            screen.line(f"{name}: {who}", "dim")
            screen.line(f"{variables[name]}\n")
        screen.line("In another terminal, first this, for the lines below and all those of `make demo`:\n")
        screen.line(f"    . {file}\n", "cyan")
        for request in TO_TRY:
            screen.line(f"    {request.curl}", "cyan")
        screen.line("\nThe log:", "bold")
        process.wait()
    screen.line("The server ended by itself.", "bold red")
    return 1


def main() -> int:
    parser = argparse.ArgumentParser(description="A tour of authguard.")
    parser.add_argument("--serve", action="store_true", help="leave the quickstart running, with tokens to try")
    to_serve: bool = parser.parse_args().serve
    # What is asked to end, by whatever means, ends its server first.
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
