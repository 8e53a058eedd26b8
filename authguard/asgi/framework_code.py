"""Tell framework code from user code, and known middleware from unknown.

The audit and the guard trust a method only where Starlette or FastAPI defines it and nothing has overridden it; they
trust a middleware only by its exact class.
"""

from __future__ import annotations

_FRAMEWORKS = frozenset({"fastapi", "starlette"})

# OpenTelemetry wraps the method that builds the middleware of one app, and puts middleware of its own around the rest.
_OPENTELEMETRY = "opentelemetry.instrumentation.fastapi"
_OPENTELEMETRY_BUILDER = "FastAPIInstrumentor.instrument_app.<locals>.build_middleware_stack"

# Known to hand on each request with its path and method, if they do not refuse it; and to be right inside the guard.
_PASSES_UNCHANGED = frozenset(
    {
        "asgi_correlation_id.middleware.CorrelationIdMiddleware",
        "ddtrace.contrib.internal.asgi.middleware.TraceMiddleware",
        "elasticapm.contrib.starlette.ElasticAPM",
        "fastapi.middleware.asyncexitstack.AsyncExitStackMiddleware",
        "fastapi.telemetry._asgi.ExceptionTelemetryMiddleware",
        "opentelemetry.instrumentation.asgi.OpenTelemetryMiddleware",
        f"{_OPENTELEMETRY}.{_OPENTELEMETRY_BUILDER}.<locals>.ExceptionHandlerMiddleware",
        "prometheus_fastapi_instrumentator.middleware.PrometheusInstrumentatorMiddleware",
        "sentry_sdk.integrations.asgi.SentryAsgiMiddleware",
        "starlette.middleware.body_limit.RequestBodyLimitMiddleware",
        "starlette.middleware.errors.ServerErrorMiddleware",
        "starlette.middleware.exceptions.ExceptionMiddleware",
        "starlette.middleware.gzip.GZipMiddleware",
        "starlette.middleware.httpsredirect.HTTPSRedirectMiddleware",
        "starlette.middleware.opentelemetry.OpenTelemetryMiddleware",
        "starlette.middleware.sessions.SessionMiddleware",
        "starlette.middleware.trustedhost.TrustedHostMiddleware",
        "starlette_exporter.middleware.PrometheusMiddleware",
    }
)
# Known to answer nothing but preflights, and to hand on all else with its path and method; but they must be outside of
# the guard: denials need the headers of CORS, and the guard needs the client that the proxy saw.
_OUTERMOST = frozenset(
    {
        "hypercorn.middleware.proxy_fix.ProxyFixMiddleware",
        "starlette.middleware.cors.CORSMiddleware",
        "uvicorn.middleware.proxy_headers.ProxyHeadersMiddleware",
    }
)
# They hold an app that speaks WSGI as `.app`, which nothing here can inspect.
_WSGI_ADAPTERS = frozenset(
    {
        "a2wsgi.wsgi.WSGIMiddleware",
        "starlette.middleware.wsgi.WSGIMiddleware",
        "uvicorn.middleware.wsgi._WSGIMiddleware",
    }
)


def passes_unchanged(implementation: object) -> bool:
    """Whether a middleware class hands on each request as it is, if it does not refuse it.

    ``CORSMiddleware`` does not: it answers preflights itself.
    """
    return class_path(implementation) in _PASSES_UNCHANGED


def keeps_path(implementation: object) -> bool:
    """Whether a middleware class hands on the requests that it does not answer with their own paths."""
    return is_known_outside(implementation) or is_guard(implementation)


def is_known_outside(implementation: object) -> bool:
    """Whether a middleware class, in front of a guard, lets the guard decide: it answers no request for the app."""
    return passes_unchanged(implementation) or class_path(implementation) in _OUTERMOST


def is_wsgi_adapter(implementation: object) -> bool:
    """Whether a class makes an ASGI app of a WSGI app."""
    return class_path(implementation) in _WSGI_ADAPTERS


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


def builds_known_stack(app: object) -> bool:
    """Whether an app of Starlette builds its middleware as the framework does, or as OpenTelemetry does around that."""
    own = getattr(app, "__dict__", {}).get("build_middleware_stack")
    if own is None:
        return is_framework_method(app, "build_middleware_stack")
    function = getattr(own, "__func__", own)
    # functools.wraps has copied the name and the module of the framework's method; the code has its own.
    module = getattr(function, "__globals__", {}).get("__name__")
    wrapped = getattr(function, "__wrapped__", None)
    return (
        (module, getattr(getattr(function, "__code__", None), "co_qualname", ""))
        == (_OPENTELEMETRY, _OPENTELEMETRY_BUILDER)
        and getattr(wrapped, "__self__", None) is app
        and is_framework_code(getattr(wrapped, "__func__", None))
        and not hasattr(wrapped, "__wrapped__")
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
