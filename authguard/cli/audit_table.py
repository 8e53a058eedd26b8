"""An audit as a table in colours, for a terminal. It needs ``rich``, which is optional."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from authguard.audit.audit import Audit
from authguard.audit.report import COLUMNS, finding_count, table_lines, with_short_location
from authguard.cli.terminal import printable

_OPEN, _CLOSED, _FAINT, _WRONG, _RIGHT = "bold yellow", "cyan", "dim", "bold red", "bold green"


def print_table(console: Console, audit: Audit) -> None:
    """Print the rows and the findings. What lets an anonymous request in is yellow, and a finding begins red."""
    table = Table(*COLUMNS, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in audit.rows:
        for cells in table_lines(row):
            table.add_row(*_styled(cells))
    console.print(table)
    console.print(Text(finding_count(audit.findings), style=_WRONG if audit.findings else _RIGHT))
    for finding in audit.findings:
        text = Text(printable(str(with_short_location(finding))))
        text.stylize(_WRONG, 0, len(finding.code))
        console.print(text)


def _styled(cells: tuple[str, ...]) -> list[Text]:
    method, path, requires, schemes, where = map(printable, cells)
    return [
        Text(method, style="bold"),
        Text(path),
        Text(requires, style=_OPEN if requires in {"PUBLIC", "OPTIONAL"} else _CLOSED),
        Text(schemes),
        Text(where, style=_FAINT),
    ]
