"""What a CORSMiddleware outside of a guard lets scripts of other origins read, and what the schemes need them to."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from authguard.asgi.framework_code import class_path
from authguard.audit.endpoint import Endpoint
from authguard.audit.findings import Finding
from authguard.core.guard import Guard

_MIDDLEWARE = "starlette.middleware.cors.CORSMiddleware"


def exposed_fields(middleware: Any) -> frozenset[str] | None:
    """The fields, in lower case, of a middleware that exists; None if it is not Starlette's CORSMiddleware."""
    if class_path(type(middleware)) != _MIDDLEWARE:
        return None
    listed = middleware.simple_headers.get("Access-Control-Expose-Headers", "")
    return frozenset(name.strip().lower() for name in listed.split(",") if name.strip())


def declared_fields(factory: Any, arguments: Sequence[object], options: Mapping[str, object]) -> frozenset[str] | None:
    """The same of a middleware that an app will make with these arguments."""
    if class_path(factory) != _MIDDLEWARE:
        return None
    try:
        given: Any = inspect.signature(factory).bind(None, *arguments, **options).arguments
        return frozenset(name.lower() for name in given.get("expose_headers", ()))
    except (TypeError, AttributeError):  # the app does not start with it
        return None


def fields_to_expose(guard: Guard) -> tuple[str, ...]:
    """What the schemes of a guard need scripts of other origins to read of a response."""
    needed = (name for scheme in guard.schemes for name in getattr(scheme, "fields_to_expose", ()))
    return tuple(dict.fromkeys(needed))


def unexposed(guard: Guard, exposed: frozenset[str]) -> tuple[str, ...]:
    """Those that are not exposed. ``*`` stands for all of them; no credentials are sent then."""
    return () if "*" in exposed else tuple(name for name in fields_to_expose(guard) if name.lower() not in exposed)


def expose_fix(guard: Guard) -> str:
    """How to expose what the schemes of a guard need."""
    return f"Write CORSMiddleware(..., expose_headers={list(fields_to_expose(guard))!r})"


def about_exposure(endpoints: Iterable[Endpoint], guard: Guard) -> Iterator[Finding]:
    """A finding if a CORSMiddleware outside of the guard hides a field that a scheme needs scripts to read."""
    hidden: dict[str, None] = {}
    for endpoint in endpoints:
        at = next((index for index, layer in enumerate(endpoint.layers) if layer.guard is guard), 0)
        for layer in endpoint.layers[:at]:
            if layer.exposed is not None:
                hidden.update(dict.fromkeys(unexposed(guard, layer.exposed)))
    if hidden:
        problem = f"it does not expose {' and '.join(hidden)}, so scripts of other origins cannot read that"
        yield Finding("cors.unexposed", "CORSMiddleware", problem, "", expose_fix(guard))
