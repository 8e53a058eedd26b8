"""All that a guard keeps in memory, as text: two of these are equal if nothing has changed."""

from __future__ import annotations

import re
import threading
import types
from collections.abc import Iterator
from enum import Enum
from functools import partial
from typing import Any

from authguard.caching import Dropped, KeyedHash
from authguard.explain.rehearsal import _is_ours, _slots_of
from authguard.fork import ForkSafeLock

_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_LEFT_OUT = (type(threading.Lock()), type(threading.RLock()), threading.Condition, threading.Thread, types.ModuleType)


def state_of(value: object) -> list[str]:
    """A line for each value that can be reached from this one through authguard's own objects."""
    return list(_lines(value, "", {}))


def _lines(value: Any, path: str, seen: dict[int, Any]) -> Iterator[str]:
    kind = type(value)
    if isinstance(value, (*_PLAIN, Enum, type)):
        yield f"{path} = {value!r}"
    elif isinstance(value, (*_LEFT_OUT, ForkSafeLock, KeyedHash, Dropped, re.Pattern, BaseException)):
        return
    elif id(value) in seen:
        yield f"{path} is {kind.__name__} again"
    elif isinstance(value, types.MethodType | types.BuiltinMethodType):
        yield f"{path} = {value.__name__}"
        yield from _lines(value.__self__, f"{path}.__self__", seen)
    elif isinstance(value, types.FunctionType):
        yield f"{path} = {value.__qualname__}"
    elif isinstance(value, partial):
        yield from _lines((value.func, value.args, value.keywords), f"{path}.partial", seen)
    else:
        seen[id(value)] = value
        yield from _lines_of_parts(value, path, seen)


def _lines_of_parts(value: Any, path: str, seen: dict[int, Any]) -> Iterator[str]:
    if isinstance(value, dict | types.MappingProxyType):
        yield f"{path} has {len(value)}"
        for key, item in value.items():
            yield from _lines(item, f"{path}[{_key(key)}]", seen)
    elif isinstance(value, set | frozenset):
        yield f"{path} = {sorted(map(repr, value))}"
    elif isinstance(value, list | tuple):
        yield f"{path} has {len(value)}"
        for number, item in enumerate(value):
            yield from _lines(item, f"{path}[{number}]", seen)
    elif _is_ours(type(value)):  # and no store of a test that counts its calls
        yield f"{path} is {type(value).__name__}"
        for name, item in _slots_of(value).items():
            yield from _lines(item, f"{path}.{name}", seen)
    else:
        yield f"{path} is {type(value).__name__} of another package"


def _key(key: object) -> str:
    return repr(key) if isinstance(key, (*_PLAIN, tuple)) else type(key).__name__
