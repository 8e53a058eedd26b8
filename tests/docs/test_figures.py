"""The committed figures are those that scripts/figures.py draws, and say what is true."""

from __future__ import annotations

import re

import pytest

import figures
from authguard import Reason, reasons
from tests.support.markdown import DOCS

STATUSES = {str(value.status) for value in vars(reasons).values() if isinstance(value, Reason)}


@pytest.mark.parametrize(("name", "draw"), [("request-flow", figures.request_flow), ("statuses", figures.statuses)])
def test_a_drawing_is_up_to_date(name: str, draw: object) -> None:
    """The file is what the script draws now; `make figures` writes it."""
    assert callable(draw)

    assert (DOCS / f"{name}.svg").read_text("utf-8") == draw()


def test_the_flow_names_reasons_with_their_status() -> None:
    """A reason in the drawing has the status of its box."""
    known = {value.code: str(value.status) for value in vars(reasons).values() if isinstance(value, Reason)}
    ends = [end for *_, ends in figures.QUESTIONS for end in ends]
    named = [(found[0], status) for _, status, text in ends if (found := re.findall(r"[a-z_]+\.[a-z_]+", text))]

    assert len(named) == 3
    assert [(code, status) for code, status in named if known[code] != status] == []


def test_both_drawings_have_the_statuses() -> None:
    """The statuses are those that authguard answers with. 413, which only ``auth-int`` can cause, and 303, which only
    ``login_url`` can, are left out."""
    drawn = {status for *_, ends in figures.QUESTIONS for _, status, _ in ends} - {"app"}

    assert drawn == {status for status, *_ in figures.STATUSES} == STATUSES - {"303", "413"}


@pytest.mark.parametrize("name", figures.RECORDINGS)
def test_a_recording_loads_nothing(name: str) -> None:
    """A recording has no font of another host, and names none of its rules."""
    drawing = (DOCS / f"{name}.svg").read_text("utf-8")

    assert "@font-face" not in drawing
    assert "url(http" not in drawing


@pytest.mark.peer
@pytest.mark.parametrize("name", figures.RECORDINGS)
def test_a_recording_is_what_the_program_prints(name: str) -> None:
    """Line by line, apart from durations and the hashes of tokens; `make figures` records it again."""
    title, output = figures.RECORDINGS[name]
    committed = figures.recorded_lines((DOCS / f"{name}.svg").read_text("utf-8"))

    printed = figures.recorded_lines(figures.recording(title, output()))

    assert len(committed) > 5
    assert [_masked(line) for line in committed] == [_masked(line) for line in printed]


def _masked(line: str) -> str:
    return re.sub(r"[=:][\d.]+s\b|token=[0-9a-f]{8}", "...", line)


@pytest.mark.parametrize("name", figures.PICTURES)
def test_a_picture_of_the_inspector_is_in_the_documentation(name: str) -> None:
    """It is a PNG of the size of the window, and its page shows it with a text for those who do not see it."""
    content = (DOCS / f"{name}.png").read_bytes()
    _, height, _ = figures.PICTURES[name]

    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(content[20:24], "big") == height
    assert re.search(rf"!\[[^\]]{{20,}}\]\({name}\.png\)", (DOCS / "inspector.md").read_text("utf-8"))
