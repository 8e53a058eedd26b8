"""Where in the app's own code something was said, for the audit."""

from __future__ import annotations

import inspect
import sys
from typing import Any

_NOT_THE_APPS = frozenset({"builtins", "fastapi", "functools", "starlette"})


def caller_location(depth: int) -> str:
    """``file:line`` of what called the function that asks (``depth`` 1), or of what called that (2)."""
    frame = sys._getframe(depth + 1)  # noqa: SLF001 - as logging does; inspect.stack reads every source file
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def name_of(what: object) -> str:
    """What a person calls a function, a class, or the class of anything else."""
    name: str = getattr(what, "__qualname__", type(what).__qualname__)
    return name.rpartition("<locals>.")[2]


def definition_location(what: Any) -> str:
    """The file and the line of what an app's own code defines."""
    what = inspect.unwrap(what) if callable(what) else what
    code = getattr(what, "__code__", None)
    kind = what if isinstance(what, type) else type(what)
    if str(getattr(kind if code is None else what, "__module__", "")).partition(".")[0] in _NOT_THE_APPS:
        return ""
    if code is not None:
        return f"{code.co_filename}:{code.co_firstlineno}"
    try:
        return f"{inspect.getsourcefile(kind)}:{inspect.getsourcelines(kind)[1]}"
    except (OSError, TypeError):
        return ""
