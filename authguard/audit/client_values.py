"""Server values that a FastAPI route takes from the client.

A ``ServerValue`` refuses to be a parameter when the route is added. Something may still slip through: a subclass with a
constructor or a schema of its own, or a model that pydantic builds later.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

from authguard.audit.lock_discovery import unwrap_partial
from authguard.server_value import ServerValue

_FIELDS = ("path_params", "query_params", "header_params", "cookie_params", "body_params")
# An annotation may refer to itself, or to a great many models.
_MAX_PARTS = 1_000


def client_values(route: object) -> tuple[str, ...]:
    """The names of the server values that FastAPI builds from the request, for the route and its dependencies."""
    found: dict[str, None] = {}
    waiting = [getattr(route, "dependant", None)]
    while waiting:
        dependant: Any = waiting.pop()
        fields = [field for name in _FIELDS for field in getattr(dependant, name, ())]
        if fields and (constructed := _constructed(getattr(dependant, "call", None))):
            found[constructed] = None
        for field in fields:
            found.update(dict.fromkeys(_named(field.field_info.annotation)))
        waiting += getattr(dependant, "dependencies", ())
    return tuple(sorted(found))


def _constructed(call: object) -> str:
    """The name of the server value that a dependency makes, if it is the class or a method of the class; or ""."""
    function = unwrap_partial(call)
    kind: Any = function if isinstance(function, type) else getattr(function, "__self__", None)
    return str(kind.__name__) if _is_server_value(kind) else ""


def _is_server_value(kind: Any) -> bool:
    return isinstance(kind, type) and ServerValue in kind.__mro__


def _named(annotation: object) -> Iterator[str]:
    """The server values in an annotation, in what it is made of, and in the fields of the models in it."""
    waiting, seen = [annotation], dict[int, object]()  # holds the parts, so that no other gets the same id
    while waiting and len(seen) < _MAX_PARTS:
        part: Any = waiting.pop()
        if id(part) in seen:
            continue
        seen[id(part)] = part
        if _is_server_value(part):
            yield part.__name__
            continue
        waiting += get_args(part)
        if hasattr(part, "model_fields") or dataclasses.is_dataclass(part) or hasattr(part, "__total__"):
            waiting += _field_types(part)


def _field_types(model: Any) -> list[object]:
    try:
        return list(get_type_hints(model).values())
    except Exception:  # noqa: BLE001 - a name that cannot be resolved; pydantic raises for it by itself
        return []
