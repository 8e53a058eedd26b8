"""The process that serves one path, or one peer, for ``server_cpu``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from starlette.types import ASGIApp

from benchmarks.material import Material
from benchmarks.paths import PATHS, quiet
from benchmarks.peers import PEERS
from benchmarks.processes import serve


def main(arguments: Sequence[str]) -> None:
    """Serve the app of this name, with the material in this file."""
    name, saved = arguments
    quiet()
    material = Material.load(Path(saved))
    app: ASGIApp
    if name in PATHS:
        app = asyncio.run(PATHS[name].prepare(material, 0)).app
    else:
        app = cast("ASGIApp", PEERS[name].build(material, "RS256"))
    serve(app)


if __name__ == "__main__":
    main(sys.argv[1:])
