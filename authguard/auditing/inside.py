"""What stands between a guard and what it guards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from authguard.auditing.finding import Finding
from authguard.auditing.rows import Row
from authguard.said import said_of
from authguard.served import Endpoint

# What is known to change neither path nor method, and to be right inside the guard. CORSMiddleware is not.
_HARMLESS = frozenset(
    {
        "fastapi.middleware.asyncexitstack.AsyncExitStackMiddleware",
        "starlette.middleware.body_limit.RequestBodyLimitMiddleware",
        "starlette.middleware.errors.ServerErrorMiddleware",
        "starlette.middleware.exceptions.ExceptionMiddleware",
        "starlette.middleware.gzip.GZipMiddleware",
        "starlette.middleware.httpsredirect.HTTPSRedirectMiddleware",
        "starlette.middleware.sessions.SessionMiddleware",
        "starlette.middleware.trustedhost.TrustedHostMiddleware",
    }
)


def of_middleware(rows: Sequence[Row]) -> Iterator[Finding]:
    """What may answer, or change the path, behind a guard."""
    for row in rows:
        for kind in _inside(row.endpoint):
            if hands_on(kind):
                continue
            name = getattr(kind, "__qualname__", type(kind).__qualname__)
            what, mend = (
                "what it does to path and method is not known",
                "Put it outside of the guard, or accept it by name",
            )
            if name == "CORSMiddleware":
                what, mend = "denials lack its headers", "Put it outermost: add it after the guard"
            yield Finding("middleware.inside", name, f"it sits inside the guard; {what}", said_of(kind), mend)


def hands_on(kind: object) -> bool:
    """Whether it hands each request on as it is, where it does not refuse it."""
    return f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', '')}" in _HARMLESS


def _inside(endpoint: Endpoint) -> Iterator[object]:
    """What made the middleware further in than the first guard."""
    inside = False
    for layer in endpoint.layers:
        if layer.guard is not None:
            inside = True
        elif inside:
            yield layer.made_by
