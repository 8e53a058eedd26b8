"""``authguard echo``: show the marked requests of ``authguard probe --through`` as they arrive behind a proxy."""

from __future__ import annotations

import argparse
import asyncio

from authguard.cli.terminal import note, write
from authguard.probe.echo import serve
from authguard.probe.marked import new_mark

DESCRIPTION = """Listens where an app would, behind a proxy, and answers the requests of `authguard probe --through`: it
shows each as it arrived. It prints the mark that such a request must have, and answers 404 to all others. It shows no
credentials but those that the probe made up. It ends when the probe has, or after ten minutes."""
EPILOG = """Example:
  authguard echo --port 8000
  authguard probe https://api.example/ --through MARK"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address to listen at; 127.0.0.1, for this machine alone"
    )
    parser.add_argument("--port", type=int, default=8000, help="the port; 8000, and 0 is any that is free")


def run(arguments: argparse.Namespace) -> int:
    """Print the mark, and answer until the probe has ended. Raises ``ConfigurationError``."""
    mark = new_mark()

    def listening(address: str) -> None:
        note(f"listening at {address} for ten minutes; run authguard probe URL --through with this mark:")
        write(mark)

    is_done = asyncio.run(serve(mark, host=arguments.host, port=arguments.port, listening=listening))
    note("the probe has ended" if is_done else "the ten minutes are over")
    return 0
