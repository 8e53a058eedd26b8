"""The output of the tour."""

from __future__ import annotations

from http import HTTPStatus

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from examples.tour.step import Response, Step


class Screen:
    """Prints in colour and with an indent in a terminal, and as plain unbroken lines into a pipe."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)

    def line(self, text: str = "", style: str = "") -> None:
        """Print one line without wrapping it, so that it can be copied."""
        self._console.print(Text(text, style), soft_wrap=True)

    def block(self, text: str, style: str = "") -> None:
        """Print an indented text. In a terminal, wrapped lines are indented too."""
        if self._console.is_terminal:
            self._console.print(Padding(Text(text, style), (0, 0, 0, 4), expand=False))
        else:
            self.line(f"    {text}")

    def step(self, number: int, step: Step, response: Response, differences: list[str]) -> None:
        """Print one step, its actual response, and how the response differs from the expected one."""
        self.line(f"\n{number:2}  {step.title}", "bold")
        self.line(f"    $ {step.action.curl}", "cyan")
        status = f"{response.status} {HTTPStatus(response.status).phrase}"
        self.block(status, "green" if response.status == 200 else "yellow")
        for challenge in response.challenges:
            self.block(f"WWW-Authenticate: {challenge}", "yellow")
        if response.retry_after is not None:
            self.block(f"Retry-After: {response.retry_after}", "yellow")
        for line in response.log or ["(no record)"]:
            self.block(line, "magenta")
        self.block(step.explanation, "dim")
        for difference in differences:
            self.block(f"UNEXPECTED: {difference}", "bold red")
