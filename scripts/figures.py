"""Write the figures of the documentation again: the way of a request, the statuses, recordings of a terminal, and the
inspector in a browser.

    python scripts/figures.py

The drawings are made of boxes with a ground of their own, so that they can be read on a light and on a dark page. The
recordings are what `make demo`, up to its fifth step, and `authguard routes` print in a terminal. The plots of
docs/benchmarks.md are not among them: `make bench ARGS="--plots"` measures and draws those, on a quiet machine. The
pictures of the inspector need Chromium; without it they stay as they are. `figures.py inspector` makes them alone.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from base64 import b64decode
from collections.abc import Iterator, Sequence
from functools import partial
from html import escape, unescape
from pathlib import Path
from textwrap import wrap

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs"

# --- drawings ---------------------------------------------------------------------------------------------------------

#: The ground of a box, by what it says. Each has a contrast of more than 7 to the text, and shows on white and black.
GROUNDS = {
    "step": "#e8edf4",
    "app": "#b5e2c0",
    "400": "#f8d3a8",
    "401": "#fbe39a",
    "403": "#f6bcbc",
    "429": "#dcc7f0",
    "503": "#bcd3f2",
}
STYLE = (
    "<style>text{font:14px system-ui,sans-serif;fill:#1b2330}.strong{font-weight:600}"
    ".label{fill:#7a8593;font-weight:600}.line{stroke:#7a8593;stroke-width:1.5;fill:none}</style>"
)
ARROW = (
    '<defs><marker id="arrow" markerWidth="9" markerHeight="9" refX="8" refY="4.5" orient="auto">'
    '<path d="M0,0 L9,4.5 L0,9 z" fill="#7a8593"/></marker></defs>'
)
LINE, PADDING = 19, 12
STRONG = ' class="strong"'


def _svg(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return "\n".join([f'{head} role="img">', f"<title>{escape(title)}</title>", STYLE, ARROW, *parts, "</svg>", ""])


def _box(x: int, y: int, width: int, height: int, ground: str, lines: Sequence[str]) -> str:
    """A box with text, whose first line is strong."""
    top = y + (height - LINE * len(lines)) / 2 + 14
    text = "".join(
        f'<text x="{x + PADDING}" y="{top + LINE * index:.0f}"{"" if index else STRONG}>{escape(line)}</text>'
        for index, line in enumerate(lines)
    )
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{GROUNDS[ground]}"/>{text}'


def _arrow(x1: int, y1: int, x2: int, y2: int, label: str = "") -> str:
    line = f'<path class="line" marker-end="url(#arrow)" d="M{x1},{y1} L{x2},{y2}"/>'
    if not label:
        return line
    x, y, anchor = ((x1 + x2) // 2, y1 - 6, "middle") if y1 == y2 else (x1 + 8, (y1 + y2) // 2 + 5, "start")
    return f'{line}<text class="label" x="{x}" y="{y}" text-anchor="{anchor}">{escape(label)}</text>'


#: The questions that a request is asked, in order: the answer that leads to the question, the question and a line about
#: it, and for each answer that ends the way: the answer, the status or "app", and what the response is.
QUESTIONS: Sequence[tuple[str, tuple[str, str], Sequence[tuple[str, str, str]]]] = (
    (
        "",
        ("Which rule has the path?", "the most specific; no rule means: log in"),
        [("two readings", "400", "path.ambiguous")],
    ),
    (
        "",
        ("Does the rule ask for anything?", "PUBLIC asks for nothing"),
        [("no", "app", "The app runs, and nobody is known")],
    ),
    (
        "yes",
        ("Are there credentials?", "one set, of a scheme that the rule accepts"),
        [("none", "401", "every challenge, no error"), ("two", "400", "credentials.ambiguous")],
    ),
    (
        "yes",
        ("Does the scheme accept them?", "signature, password or digest, and time"),
        [
            ("no", "401", "the error that the RFC has for it"),
            ("cannot tell", "503", "an outage, with Retry-After"),
            ("too often", "429", "too many guesses, with Retry-After"),
        ],
    ),
    (
        "yes",
        ("Does the caller meet the rule?", "roles, scopes, checks and locks"),
        [("no", "403", "a new login would not help"), ("login too old", "401", "step_up.required, with max_age")],
    ),
)


def request_flow() -> str:
    """The questions in a column, with their ends on the right, and the app at the bottom."""
    left, width, right, end, step, gap = 20, 330, 500, 380, 46, 10
    middle = left + width // 2
    y, parts = 60, [_box(left, 20, width, 40, "step", ["A request"])]
    for before, lines, ends in QUESTIONS:
        height = max(60, len(ends) * (step + gap) - gap)
        parts.append(_arrow(middle, y, middle, y + 30, before))
        y += 30
        parts.append(_box(left, y, width, height, "step", lines))
        for index, (answer, status, text) in enumerate(ends):
            top = y + (height - len(ends) * (step + gap) + gap) // 2 + index * (step + gap)
            parts.append(_arrow(left + width, top + step // 2, right, top + step // 2, answer))
            parts.append(_box(right, top, end, step, status, [text] if status == "app" else [status, text]))
        y += height
    parts.append(_arrow(middle, y, middle, y + 30, "yes"))
    parts.append(_box(left, y + 30, width, step, "app", ["The app runs", "request.user is the principal"]))
    parts.append(
        _box(right, y + 30, end, step, "step", ["Each decision writes one record", "in the log, and for each hook"])
    )
    return _svg(900, y + 96, "The way of a request through authguard", parts)


#: The statuses: the code, what it means, what the response has, and what a client does.
STATUSES = (
    (
        "401",
        "Not authenticated",
        "WWW-Authenticate: a challenge for each scheme",
        "log in, or refresh the token; then try again",
    ),
    (
        "403",
        "Not allowed",
        "no challenge, except insufficient_scope after Bearer",
        "do not try again: this caller may not",
    ),
    (
        "503",
        "Cannot tell at the moment",
        "Retry-After; the credentials may be good",
        "keep the token, wait, and try again",
    ),
    ("429", "Too many guesses", "Retry-After", "wait, and ask for the password again"),
    (
        "400",
        "Can be read in two ways",
        "for two Authorization lines: invalid_request",
        "fix the client: two readers would differ",
    ),
)


def statuses() -> str:
    """A row for each status."""
    columns = ((20, 240), (268, 290), (566, 314))
    parts, y = [], 20
    for x, heading in zip((20, 268, 566), ("Status", "The response has", "What a client does"), strict=True):
        parts.append(f'<text class="label" x="{x + PADDING}" y="{y + 12}">{heading}</text>')
    y += 24
    for status, meaning, response, action in STATUSES:
        cells = ([status, meaning], wrap(response, 34), wrap(action, 38))
        for index, ((x, width), lines) in enumerate(zip(columns, cells, strict=True)):
            box = _box(x, y, width, 56, status if index == 0 else "step", lines)
            parts.append(box if index == 0 else box.replace(STRONG, ""))
        y += 64
    return _svg(900, y + 12, "401, 403, 503, 429 and 400", parts)


# --- the recording ----------------------------------------------------------------------------------------------------

STEPS, COLUMNS = 5, 130
# Black, red, green, yellow, blue, magenta, cyan and white, and the same bright.
NORMAL = "181b21 f07178 98c379 e5c07b 61afef c678dd 56b6c2 d6dce4"
BRIGHT = "808a96 ff878c aad78c f5d28c 78c3ff d791f0 6ecdd7 ffffff"


def _rgb(colours: str) -> list[tuple[int, int, int]]:
    return [(int(one[:2], 16), int(one[2:4], 16), int(one[4:], 16)) for one in colours.split()]


THEME = TerminalTheme(_rgb(NORMAL)[0], _rgb(NORMAL)[7], _rgb(NORMAL), _rgb(BRIGHT))


def in_a_terminal(*arguments: str, folder: Path = ROOT) -> str:
    """What a Python program of this tree prints in a terminal, with its colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 60, COLUMNS, 0, 0))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    with subprocess.Popen(
        [sys.executable, *arguments], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=theirs
    ) as process:
        os.close(theirs)
        printed = b"".join(iter(partial(_read, ours), b""))
        os.close(ours)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments)
    return printed.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # nobody writes to it any more
        return b""


def demo_output() -> str:
    """What `make demo` prints, up to the end of step ``STEPS``."""
    lines = in_a_terminal("-m", "examples.tour").splitlines()
    end = next(index for index, line in enumerate(lines) if re.match(rf" ?{STEPS + 1}  ", Text.from_ansi(line).plain))
    return "\n".join(lines[:end]).rstrip()


def routes_output() -> str:
    """What `authguard routes` prints of the first program of the README."""
    (program, *_) = re.findall(
        r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "orders.py").write_text(program, "utf-8")
        in_a_terminal("-m", "authguard", "keygen", "--public", "public.pem", folder=folder)
        printed = in_a_terminal("-m", "authguard", "routes", "orders:app", folder=folder)
    return f"$ authguard routes orders:app\n{printed}".rstrip()


def recording(title: str, output: str) -> str:
    """The output as a drawing of a terminal. It names no font of another host."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(output))
    drawn = console.export_svg(title=title, theme=THEME, unique_id="recording")
    return re.sub(r"@font-face\s*\{.*?\}\s*", "", drawn, flags=re.DOTALL)


RECORDINGS = {"demo": ("make demo", demo_output), "routes": ("authguard routes", routes_output)}


def recorded_lines(drawing: str) -> list[str]:
    """The lines of text of a recording, without the title."""
    lines: dict[float, str] = {}
    for y, text in re.findall(r'<text class="recording-r\d+" x="[\d.]+" y="([\d.]+)"[^>]*>(.*?)</text>', drawing):
        lines[float(y)] = lines.get(float(y), "") + text
    return [unescape(lines[y]).replace("\xa0", " ").strip() for y in sorted(lines)]


# --- the inspector ----------------------------------------------------------------------------------------------------

#: The pictures of the inspector: whether it is dark, the height of the window, and whether a decision is explained.
PICTURES = {
    "inspector-light": (False, 980, False),
    "inspector-dark": (True, 980, False),
    "inspector-decision": (False, 700, True),
}
_READY = "document.querySelectorAll('#rows tr').length > 20 && document.querySelector('#routes tr')"
_EXPLAINED = "[...document.querySelectorAll('#rows button')].find(button => button.innerText === 'token.expired')"


def pictures() -> Iterator[tuple[str, bytes]]:
    """The inspector of an app after an hour in which much went wrong, each picture with its name."""
    # They are for the tests, which are not a part of every checkout of the scripts.
    from tests.support.inspected import MOUNT, OPERATOR, InspectedApp, served  # noqa: PLC0415
    from tests.support.servers.browser import PROGRAM, Browser  # noqa: PLC0415

    if PROGRAM is None:
        return
    app = InspectedApp()
    app.live_through_an_hour()
    app.log.worker = app.log.worker._replace(pid=4711, host="orders-1")
    with served(app.app) as url, Browser() as browser:
        for name, (is_dark, height, is_explained) in PICTURES.items():
            page = browser.page()
            page.logins = [OPERATOR]
            size = {"width": 1360, "height": height, "deviceScaleFactor": 1, "mobile": False}
            scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
            page.command("Emulation.setTimezoneOverride", timezoneId="UTC")
            page.command("Emulation.setEmulatedMedia", features=[scheme])
            page.command("Emulation.setDeviceMetricsOverride", **size)
            page.open(f"{url}{MOUNT}/")
            page.evaluate(
                f"new Promise(done => {{ const look = () => ({_READY}) ? done(1) : setTimeout(look, 50); look() }})"
            )
            if is_explained:
                page.evaluate(f"{_EXPLAINED}.click()")
                page.evaluate("document.getElementById('decisions').scrollIntoView()")
            page.evaluate("new Promise(done => setTimeout(done, 500))")  # until the chart is drawn
            yield name, b64decode(page.command("Page.captureScreenshot", format="png")["data"])
            page.command("Page.close")


def main() -> int:
    for name, picture in pictures():
        (FOLDER / f"{name}.png").write_bytes(picture)
        print(f"docs/{name}.png")
    if sys.argv[1:] == ["inspector"]:
        return 0
    drawings = {"request-flow": request_flow(), "statuses": statuses()}
    drawings |= {name: recording(title, output()) for name, (title, output) in RECORDINGS.items()}
    for name, drawing in drawings.items():
        (FOLDER / f"{name}.svg").write_text(drawing, "utf-8")
        print(f"docs/{name}.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
