"""Draw bars and lines as SVG, which is text, so that a change of a drawing can be read in a diff."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT = 900, 330, 70
_STYLE = (
    "<style>text{font:13px sans-serif;fill:#222}.title{font-size:16px;font-weight:bold}.small{font-size:11px;fill:#666}"
    ".base{fill:#b8c2cc}.ours{fill:#2b6cb0}.other{fill:#c05621}.grid{stroke:#e5e7eb}.line{fill:none;stroke-width:2}"
    "</style>"
)
_COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#805ad5", "#b83280", "#718096", "#b7791f")


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of this length. Up to ``base`` it is grey, because that cannot be saved. ``ours`` colours the rest."""

    value: float
    base: float = 0.0
    ours: bool = True


def _svg(height: int, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
    background = f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>'
    return "\n".join([head, _STYLE, background, *parts, "</svg>", ""])


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    attributes = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{attributes}>{escape(text)}</text>'


def _rect(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" class="{kind}"/>'


def _note(y: float, note: str) -> list[str]:
    return [_text(16, y + 14 * index, line, "small") for index, line in enumerate(note.splitlines())]


def bars(title: str, values: Mapping[str, Bar], *, base: str, note: str) -> str:
    """A horizontal bar for each value. ``base`` says what the grey parts are; the lines of ``note`` stand below."""
    scale = (WIDTH - LEFT - RIGHT) / max(bar.value for bar in values.values())
    top, step = 64, 24
    bottom = top + step * len(values)
    parts = [_text(16, 28, title, "title"), _rect(LEFT, 40, 12, 12, "base"), _text(LEFT + 18, 50, base, "small")]
    for index, (name, bar) in enumerate(values.items()):
        y, base_width = top + step * index, min(bar.base, bar.value) * scale
        parts.append(_text(LEFT - 8, y + 14, name, anchor="end"))
        parts.append(_rect(LEFT, y + 2, base_width, step - 7, "base"))
        kind = "ours" if bar.ours else "other"
        parts.append(_rect(LEFT + base_width, y + 2, bar.value * scale - base_width, step - 7, kind))
        parts.append(_text(LEFT + bar.value * scale + 6, y + 14, f"{bar.value:,.1f}"))
    return _svg(bottom + 24 + 14 * len(note.splitlines()), [*parts, *_note(bottom + 22, note)])


def lines(title: str, series: Mapping[str, Mapping[int, float]], *, note: str) -> str:
    """A line for each series of values by size. Both axes are logarithmic, so that a flat line is a cost that stays."""
    sizes = sorted({size for values in series.values() for size in values})
    every = [value for values in series.values() for value in values.values()]
    low, high = math.floor(math.log10(min(every))), math.ceil(math.log10(max(every) * 1.0001))
    first, last = math.log10(sizes[0]), max(math.log10(sizes[-1]), math.log10(sizes[0]) + 1)
    left, right, top, bottom = 70, WIDTH - 370, 56, 400

    def x_of(size: float) -> float:
        return left + (math.log10(size) - first) / (last - first) * (right - left)

    def y_of(value: float) -> float:
        return bottom - (math.log10(value) - low) / max(high - low, 1) * (bottom - top)

    parts = [_text(16, 28, title, "title")]
    for power in range(low, high + 1):
        y = y_of(10.0**power)
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" class="grid"/>')
        parts.append(_text(left - 6, y + 4, f"{10.0**power:g}", "small", "end"))
    parts += [_text(x_of(size), bottom + 18, f"{size:,}", "small", "middle") for size in sizes]
    for index, (name, values) in enumerate(series.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        points = " ".join(f"{x_of(size):.1f},{y_of(value):.1f}" for size, value in values.items())
        parts.append(f'<polyline points="{points}" class="line" stroke="{colour}"/>')
        parts += [
            f'<circle cx="{x_of(size):.1f}" cy="{y_of(value):.1f}" r="3" fill="{colour}"/>'
            for size, value in values.items()
        ]
        y = top + 20 * index
        parts.append(f'<rect x="{right + 30}" y="{y}" width="12" height="12" fill="{colour}"/>')
        parts.append(_text(right + 48, y + 11, name))
    return _svg(bottom + 48 + 14 * len(note.splitlines()), [*parts, *_note(bottom + 46, note)])
