"""``authguard explain``: why a request is refused, what would change that, and what to do."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import anyio

from authguard.cli.app import first_guard, load_app
from authguard.cli.request_text import MAX_TEXT, RequestText, add_argument, check_target, read_curl, read_fields
from authguard.cli.terminal import write
from authguard.errors import ConfigurationError
from authguard.explain.app import GuardedApp
from authguard.explain.explainer import explain
from authguard.explain.explanation import Explanation, dump
from authguard.explain.recorded import explain_record, read_record

DESCRIPTION = """Walks the decision about a request by the code that decides live: the path, the rule and its line, the
credentials, each check with its figures, what is missing, the answer, and what to do. Nothing is spent, and no
credential is printed.
Without METHOD and PATH, standard input has a curl line, or a record: a line of the log or its JSON, for which no APP is
needed. The exit status is 0 if the request passes, 1 if it is refused, 2 if nothing can be explained."""
EPILOG = """Examples:
  authguard explain shop:app GET /admin/users -H @request.txt
  pbpaste | authguard explain shop:app
  tail -1 app.log | authguard explain"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("app", nargs="?", metavar="APP", help='"module:app", or "module:make_app()"')
    parser.add_argument("method", nargs="?", metavar="METHOD", help="GET, POST, ..., or WEBSOCKET for a handshake")
    parser.add_argument("path", nargs="?", metavar="PATH", help="/admin/users, with a query if there is one")
    parser.add_argument(
        "-H",
        dest="fields",
        action="append",
        default=[],
        metavar="@FILE",
        help="a file of header fields, as curl -H @FILE reads it; @- is standard input; may be repeated",
    )
    parser.add_argument("--body", metavar="@FILE", help="a file with the body, for a scheme that verifies it")
    parser.add_argument("--client", default="127.0.0.1", metavar="ADDRESS", help="the address of the client")
    parser.add_argument("--http", action="store_true", help="the server was asked by http; https is assumed")
    parser.add_argument("--at", type=_time, metavar="TIME", help="decide at 2026-11-29T23:00:00+00:00; now by default")
    parser.add_argument("--offline", action="store_true", help="ask no key server and no introspection endpoint")
    parser.add_argument(
        "--run-checks", action="store_true", help="call the app's checks and schemes too, which may change something"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _time(argument: str) -> float:
    """A time in seconds since the epoch. Raises ``argparse.ArgumentTypeError``."""
    try:
        found = datetime.fromisoformat(argument)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise argparse.ArgumentTypeError("it is not a time; write 2026-11-29T23:00:00+00:00 with its offset")
    return found.timestamp()


def run(arguments: argparse.Namespace) -> int:
    """Print the explanation; return 1 if the request is refused. Raises ``ConfigurationError``."""
    explanation = _explanation(arguments)
    write(dump(explanation) if arguments.json else str(explanation))
    return 0 if explanation.outcome in {"granted", "would_deny"} else 1


def _explanation(arguments: argparse.Namespace) -> Explanation:
    if arguments.method is None:
        text = _stdin()
        if not text.lstrip().startswith("curl"):
            return _of_record(text)
        request = read_curl(text.strip())
    elif arguments.path is None:
        raise ConfigurationError("PATH", "name it after the method: authguard explain shop:app GET /admin/users")
    else:
        request = RequestText(arguments.method, check_target(arguments.path))
    if arguments.app is None:
        raise ConfigurationError("APP", 'name the app that was asked: "module:app"')
    _add_fields(request, arguments.fields)
    if arguments.body is not None:
        request.body = _read("--body", arguments.body).encode("utf-8", "surrogateescape")
    if arguments.http:
        request.secure = False
    return anyio.run(partial(_of_request, arguments, request))


def _of_record(text: str) -> Explanation:
    try:
        record = read_record(text)
    except ValueError as error:
        raise ConfigurationError(
            "standard input", f"it is neither a curl line nor a record: {error}; or name METHOD and PATH"
        ) from None
    return explain_record(record)


async def _of_request(arguments: argparse.Namespace, request: RequestText) -> Explanation:
    app = load_app(arguments.app)
    websocket = request.method == "WEBSOCKET"
    scope = request.scope(arguments.client, websocket=websocket)
    explain_with = partial(
        explain,
        body=request.body,
        at=arguments.at,
        offline=arguments.offline,
        run_checks=arguments.run_checks,
    )
    try:
        guarded = GuardedApp.of(app)
    except ConfigurationError:
        note = "The guard is in front of a part of the app, so its rules are explained without the routers before it."
        return _with_notes(await explain_with(first_guard(app), scope), [note])
    scope, notes = await guarded.prepared(scope)
    return _with_notes(await explain_with(guarded.middleware, scope), notes)


def _with_notes(explanation: Explanation, notes: Sequence[str]) -> Explanation:
    fields = {name: getattr(explanation, name) for name in Explanation.__match_args__}
    return Explanation(**{**fields, "notes": (*explanation.notes, *notes)})


def _add_fields(request: RequestText, fields: Sequence[str]) -> None:
    for argument in fields:
        if not argument.startswith("@"):
            add_argument(request, argument)
            continue
        named = RequestText()
        read_fields(named, _read("-H", argument))
        request.fields += named.fields
        request.body = request.body or named.body


def _read(option: str, argument: str) -> str:
    """The text of a file that an option names as ``@FILE``. Raises ``ConfigurationError``."""
    if not argument.startswith("@"):
        raise ConfigurationError(
            option, "write @FILE: what a request holds is no argument, because others would see it"
        )
    if argument == "@-":
        return _stdin()
    try:
        content = Path(argument[1:]).read_bytes()
    except OSError as error:
        raise ConfigurationError(option, f"{argument[1:]}: {error.strerror}") from None
    if len(content) > MAX_TEXT:
        raise ConfigurationError(option, f"{argument[1:]} is too long for a request")
    return content.decode("utf-8", "surrogateescape")


def _stdin() -> str:
    if sys.stdin is None or sys.stdin.isatty():
        raise ConfigurationError("standard input", "name METHOD and PATH, or pass a curl line or a record to it")
    return sys.stdin.buffer.read(MAX_TEXT + 1).decode("utf-8", "surrogateescape")
