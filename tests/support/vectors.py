"""The test vectors under tests/vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parents[1] / "vectors"


def load_vectors(name: str) -> Any:
    """The content of a file of vectors. The file itself says where they come from."""
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))
