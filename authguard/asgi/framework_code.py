"""Tell framework code from user code, and known middleware from unknown.

The audit and the guard trust a method only where Starlette or FastAPI defines it and nothing has overridden it; they
trust a middleware only by its exact class.
"""

from __future__ import annotations

_FRAMEWORKS = frozenset({"fastapi", "starlette"})

# Known to hand on each request with its path and method, if they do not refuse it; and to be right inside the guard.
_PASSES_UNCHANGED = frozenset(
    {
        "asgi_correlation_id.middleware.CorrelationIdMiddleware",
        "fastapi.middleware.asyncexitstack.AsyncExitStackMiddleware",
        "opentelemetry.instrumentation.asgi.OpenTelemetryMiddleware",
        "prometheus_fastapi_instrumentator.middleware.PrometheusInstrumentatorMiddleware",
        "sentry_sdk.integrations.asgi.SentryAsgiMiddleware",
        "starlette.middleware.body_limit.RequestBodyLimitMiddleware",
        "starlette.middleware.errors.ServerErrorMiddleware",
        "starlette.middleware.exceptions.ExceptionMiddleware",
        "starlette.middleware.gzip.GZipMiddleware",
        "starlette.middleware.httpsredirect.HTTPSRedirectMiddleware",
        "starlette.middleware.sessions.SessionMiddleware",
        "starlette.middleware.trustedhost.TrustedHostMiddleware",
        "starlette_exporter.middleware.PrometheusMiddleware",
    }
)
_CORS = "starlette.middleware.cors.CORSMiddleware"


def passes_unchanged(implementation: object) -> bool:
    """Whether a middleware class hands on each request as it is, if it does not refuse it.

    ``CORSMiddleware`` does not: it answers preflights itself.
    """
    return class_path(implementation) in _PASSES_UNCHANGED


def keeps_path(implementation: object) -> bool:
    """Whether a middleware class hands on the requests that it does not answer with their own paths."""
    return passes_unchanged(implementation) or class_path(implementation) == _CORS or is_guard(implementation)


def class_path(implementation: object) -> str:
    """The module and the name of a class or a function, ``starlette.middleware.cors.CORSMiddleware``."""
    return f"{getattr(implementation, '__module__', '')}.{getattr(implementation, '__qualname__', '')}"


def is_framework_method(thing: object, *names: str) -> bool:
    """Whether Starlette or FastAPI defines these methods, and neither a subclass nor the object itself overrides them.

    A method that was replaced on the framework's own class counts as the framework's: tracing does that for all apps.
    """
    own = getattr(thing, "__dict__", {})
    return not any(name in own for name in names) and all(
        owner is None or is_framework_code(owner) for owner in (_defining_class(type(thing), name) for name in names)
    )


def is_framework_code(definition: object) -> bool:
    """Whether a class or a function is defined in Starlette or FastAPI."""
    return str(getattr(definition, "__module__", "")).partition(".")[0] in _FRAMEWORKS


def is_guard(implementation: object) -> bool:
    """Whether this is ``AuthGuardMiddleware`` and not a subclass with another ``__call__``, which may do anything."""
    owner = _defining_class(implementation, "__call__") if isinstance(implementation, type) else None
    return getattr(implementation, "is_authguard", False) is True and "is_authguard" in vars(owner or object)


def _defining_class(kind: type, name: str) -> type | None:
    return next((parent for parent in kind.__mro__ if name in vars(parent)), None)
