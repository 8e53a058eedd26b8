"""Source locations in the app's own code, which the audit prints beside its findings."""

from __future__ import annotations

import inspect
import sys
from typing import Any

_LIBRARY_PACKAGES = frozenset({"builtins", "fastapi", "functools", "starlette"})


def caller_location(depth: int) -> str:
    """Return the ``file:line`` where the calling function was called (``depth`` 1), or where its caller was (2)."""
    frame = sys._getframe(depth + 1)  # noqa: SLF001 - as logging does; inspect.stack would read every source file
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def raised_at(error: BaseException) -> str:
    """Return the ``file:line`` where an exception was raised, with the last folder alone; "" if that is not known."""
    at, frame = error.__traceback__, ""
    while at is not None:
        frame, at = f"{at.tb_frame.f_code.co_filename}:{at.tb_lineno}", at.tb_next
    return short(frame)


def short(location: str) -> str:
    """Return a location without the folders of this machine but the last."""
    return "/".join(location.replace("\\", "/").split("/")[-2:])


def name_of(value: object) -> str:
    """Return the name of a function or a class, or the name of the class of any other value."""
    name: str = getattr(value, "__qualname__", type(value).__qualname__)
    return name.rpartition("<locals>.")[2]


def definition_location(value: Any) -> str:
    """Return the ``file:line`` of the definition of a function, or of a class or the class of an instance.

    It is "" for the standard library's builtins and functools, for FastAPI and Starlette, and if no source is found.
    """
    value = inspect.unwrap(value) if callable(value) else value
    code = getattr(value, "__code__", None)
    kind = value if isinstance(value, type) else type(value)
    if str(getattr(kind if code is None else value, "__module__", "")).partition(".")[0] in _LIBRARY_PACKAGES:
        return ""
    if code is not None:
        return f"{code.co_filename}:{code.co_firstlineno}"
    try:
        return f"{inspect.getsourcefile(kind)}:{inspect.getsourcelines(kind)[1]}"
    except (OSError, TypeError):
        return ""
