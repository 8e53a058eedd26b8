"""How the tour looks."""

from __future__ import annotations

from http import HTTPStatus

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from examples.touring.telling import Answer, Step


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
        self.line(f"    $ {step.asks.curl}", "cyan")
        self.block(f"{answer.status} {HTTPStatus(answer.status).phrase}", "green" if answer.status == 200 else "yellow")
        for challenge in answer.challenges:
            self.block(f"WWW-Authenticate: {challenge}", "yellow")
        if answer.retry_after is not None:
            self.block(f"Retry-After: {answer.retry_after}", "yellow")
        for line in answer.printed or ["(no record)"]:
            self.block(line, "magenta")
        self.block(step.lesson, "dim")
        for difference in differences:
            self.block(f"NOT AS TOLD: {difference}", "bold red")
