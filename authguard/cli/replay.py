"""``authguard replay``: say which requests of a file would be decided otherwise now."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

from authguard.cli.app import first_guard, load_app
from authguard.cli.terminal import printable, write
from authguard.errors import ConfigurationError
from authguard.explain.replay import Change, Group, Replay, lines_of, replay

DESCRIPTION = """Judges the decisions of a file, which authguard.records.DecisionFile has written, by the rules and the
locks that the app has now: who would be refused, and who let in. No request is made, and nothing is spent.
The exit status is 0 if nothing changes, 1 if something does, 2 if a line or the app cannot be read."""
EPILOG = """Examples:
  authguard replay shop:app decisions.jsonl
  zcat decisions.jsonl.gz | authguard replay shop:app - --json"""

#: How many subjects of a group the text names. JSON has all of them.
_SHOWN = 5
_HEADS: dict[Change, str] = {"refused": "refused now", "let in": "let in now"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("app", metavar="APP", help='"module:app", or "module:make_app()"')
    parser.add_argument("file", metavar="FILE", help="the file of decisions; - is standard input")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print what changes; return 1 if something does. Raises ``ConfigurationError``."""
    app = load_app(arguments.app)
    guard = first_guard(app)
    if arguments.file == "-":
        if sys.stdin is None:
            raise ConfigurationError("standard input", "it is closed; name a file")
        found = replay(app, guard, lines_of("standard input", sys.stdin.buffer))
    else:
        try:
            with Path(arguments.file).open("rb") as file:
                found = replay(app, guard, lines_of(arguments.file, file))
        except OSError as error:
            raise ConfigurationError("FILE", f"{arguments.file}: {error.strerror}") from None
    write(_json(found) if arguments.json else printable_lines(found))
    return 1 if found.is_changed else 0


def printable_lines(found: Replay) -> str:
    """The report as text. What came from a request is escaped."""
    refused, let_in, untold = found.count("refused"), found.count("let in"), (+found.untold).total()
    requests = "1 request" if found.requests == 1 else f"{found.requests} requests"
    lines = [f"{requests}: {refused} refused now, {let_in} let in now, {untold} untold"]
    for change, head in _HEADS.items():
        for group, subjects in found.changes(change):
            lines.append("")
            lines.append(f"{head}: {subjects.total()} under {group.rule} {group.requirement}{_at(group)}")
            was = "" if change == "refused" else "was "
            lines.append(f"  {was}{group.reason}, such as {found.samples[group]}")
            lines += [f"  {number:>7} {name or '(nobody)'}" for name, number in subjects.most_common(_SHOWN)]
            if len(subjects) > _SHOWN:
                lines.append(f"          and {len(subjects) - _SHOWN} more; --json names them")
    told: Counter[str] = +found.untold
    if told or found.notes:
        lines += ["", "untold, because the file does not hold what decides:"]
        lines += [f"  {number:>7} {problem}" for problem, number in told.most_common()]
        lines += [f"        - {note}" for note in found.notes]
    return "\n".join(map(printable, lines))


def _at(group: Group) -> str:
    return f" ({group.location})" if group.location else ""


def _json(found: Replay) -> str:
    changes = [
        {**group._asdict(), "count": subjects.total(), "sample": found.samples[group], "subjects": dict(subjects)}
        for change in _HEADS
        for group, subjects in found.changes(change)
    ]
    told = {
        "requests": found.requests,
        "refused": found.count("refused"),
        "let_in": found.count("let in"),
        "changes": changes,
        "untold": dict(+found.untold),
        "not_judged": list(found.notes),
    }
    return json.dumps(told, indent=2)
