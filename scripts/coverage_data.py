"""Keep what coverage.py records, and combine it: one part of the suite may run in `make test`, the other later.

Each part has a folder under .coverage_data/, with one file for each process of pytest-xdist. A stamp is written after a
part has passed. It names the interpreter and a digest of the tree, so that data of older code is never used.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from environments import ROOT
from interpreters import Interpreter

HOME = ROOT / ".coverage_data"
SETTINGS = ROOT / "pyproject.toml"

# Folders whose files are results, and not what the tests read. So is each folder whose name begins with a dot.
_RESULTS = ("__pycache__", "dist")


class Part:
    """The data of one part of the suite, for the tree as it is now."""

    def __init__(self, name: str, interpreter: Interpreter) -> None:
        self.folder = HOME / name
        self._stamp = self.folder / "stamp"
        self._interpreter = interpreter
        self._state = self._state_now()

    def _state_now(self) -> str:
        return f"{self._interpreter.name} {tree_digest()}"

    def is_fresh(self) -> bool:
        """Whether this part has passed with this interpreter and tree."""
        return self._stamp.is_file() and self._stamp.read_text("utf-8") == self._state

    def clear(self) -> None:
        """Remove older data. Call it before the part runs."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def variables(self) -> dict[str, str]:
        """Environment variables with which coverage.py starts in each Python process, and writes to this folder."""
        return {"COVERAGE_PROCESS_START": str(SETTINGS), "COVERAGE_FILE": str(self.folder / ".coverage")}

    def stamp(self) -> None:
        """Say that this part has passed. If the tree changed meanwhile, the data is of neither tree: write no stamp."""
        if self._state_now() == self._state:
            self._stamp.write_text(self._state, "utf-8")


def tree_digest() -> str:
    """A digest of the names and contents of all files of the tree, except for results."""
    digest = hashlib.sha256()
    for file in _files():
        name, content = str(file.relative_to(ROOT)).encode(), file.read_bytes()
        digest.update(b"%d %s %d " % (len(name), name, len(content)))
        digest.update(content)
    return digest.hexdigest()


def _files() -> Iterator[Path]:
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _RESULTS)
        for name in sorted(files):
            if not name.startswith(".coverage"):
                yield Path(folder, name)
