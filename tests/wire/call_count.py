"""Count the calls of a function, to show that its cost is linear."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from contextlib import suppress

from authguard.wire import jws
from authguard.wire.grammar import WireError


def steps(function: Callable[[bytes], object], data: bytes) -> int:
    """The number of calls, of Python and C functions, that are made while the function runs."""
    count = 0

    def count_calls(_frame: object, event: str, _arg: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    with suppress(WireError):
        function(data)  # a first, uncounted run, because one-time work does not depend on the input
    jws._cached_header.cache_clear()
    gc.disable()  # gc callbacks would be counted too
    previous = sys.getprofile()
    sys.setprofile(count_calls)
    try:
        with suppress(WireError):
            function(data)
    finally:
        sys.setprofile(previous)
        gc.enable()
    return count
