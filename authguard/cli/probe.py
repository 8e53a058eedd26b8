"""``authguard probe``: say what is wrong in how a server refuses."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

from authguard.cli.terminal import write
from authguard.errors import ConfigurationError
from authguard.probe.exchange import Target
from authguard.probe.refusal_probe import probe_refusal
from authguard.probe.way import probe_way

DESCRIPTION = """Asks a server without credentials, and reads its refusal as a strict client would: is the challenge
right, which clients misread it, does a browser get to see it, may a cache keep it. Any server can be probed. Nothing is
followed to another place. With --through it says what a proxy does to requests that have credentials.
The exit status is 0 if there is no fault, 1 if there is one, 2 if there is no answer."""
EPILOG = """Examples:
  authguard probe https://api.example/orders
  authguard probe https://api.example/orders --origin https://app.example --json
  authguard probe https://api.example/ --through 8c3f2a...   (the mark that authguard echo prints behind the proxy)"""

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]{1,255}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("url", metavar="URL", help="what is protected, without credentials")
    parser.add_argument("--method", choices=_METHODS, default="GET", help="the method of the requests; GET by default")
    parser.add_argument("--origin", metavar="ORIGIN", help="a site whose scripts should get an answer (CORS)")
    parser.add_argument("--through", metavar="MARK", help="send marked requests to authguard echo behind the URL")
    parser.add_argument("--timeout", type=_seconds, default=10.0, metavar="SECONDS", help="of each request; 10")
    parser.add_argument("--ca-file", type=Path, metavar="FILE", help="trust these certificates (PEM)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; return 1 if one is a fault. Raises ``ConfigurationError``."""
    if arguments.origin is not None and not _ORIGIN.fullmatch(arguments.origin):
        raise ConfigurationError("--origin", "write a scheme and a host: https://app.example")
    target = Target(arguments.url, timeout=arguments.timeout, ca_file=arguments.ca_file)
    if arguments.through is not None:
        report = probe_way(target, arguments.through)
    else:
        report = probe_refusal(target, method=arguments.method, origin=arguments.origin)
    write(report.to_json() if arguments.json else str(report))
    return 1 if report.has_fault else 0


def _seconds(argument: str) -> float:
    try:
        seconds = float(argument)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= 60:
        raise argparse.ArgumentTypeError("write a number of seconds above 0, at most 60")
    return seconds
