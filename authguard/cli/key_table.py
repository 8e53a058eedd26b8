"""API keys and findings about them in colours, for a terminal. It needs ``rich``, which is optional."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from authguard.accounts.api_key import StoredKey
from authguard.cli.key_report import COLUMNS, KeyFinding, cells, finding_count
from authguard.cli.terminal import printable

_STATES: Mapping[str, str] = {"active": "green", "rotating": "yellow", "expired": "dim", "revoked": "red"}
_WRONG, _RIGHT = "bold red", "bold green"


def print_keys(console: Console, keys: Sequence[StoredKey], now: float) -> None:
    """Print a table of keys, with a colour for the state of each."""
    table = Table(*COLUMNS, box=box.SIMPLE_HEAD, pad_edge=False)
    for key in keys:
        table.add_row(*(Text(cell, style=_STATES.get(cell, "")) for cell in cells(key, now)))
    console.print(table)


def print_findings(console: Console, findings: Sequence[KeyFinding]) -> None:
    """Print the findings. Each begins red."""
    console.print(Text(finding_count(findings), style=_WRONG if findings else _RIGHT))
    for finding in findings:
        text = Text(printable(str(finding)))
        text.stylize(_WRONG, 0, len(finding.code))
        console.print(text)
