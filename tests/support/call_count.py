"""Count the calls of a piece of code, to show how its cost grows."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable


def count_calls(function: Callable[[], object]) -> int:
    """The number of calls, of Python and C functions, that are made while the function runs."""
    count = 0

    def count_call(_frame: object, event: str, _arg: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    gc.disable()  # gc callbacks would be counted too
    previous = sys.getprofile()
    sys.setprofile(count_call)
    try:
        function()
    finally:
        sys.setprofile(previous)
        gc.enable()
    return count
