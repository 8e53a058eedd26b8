"""Where in the app's own code something was said, for the audit."""

from __future__ import annotations

import sys


def caller(depth: int) -> str:
    """``file:line`` of what called the function that asks (``depth`` 1), or of what called that (2)."""
    frame = sys._getframe(depth + 1)  # noqa: SLF001 - as logging does; inspect.stack reads every source file
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
