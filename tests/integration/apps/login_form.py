"""The example with a login form, and a clock that a file moves: guard and middleware read the same one."""

from __future__ import annotations

import os
import time
from pathlib import Path

# The file holds by how many seconds the clock is ahead.
_file, _now = Path(os.environ["TEST_AHEAD"]), time.time
time.time = lambda: _now() + float(_file.read_text())

os.environ["LOG_LEVEL"] = "DEBUG"

from examples.login_form import app  # noqa: E402, F401 - the clock and the level must be there first
