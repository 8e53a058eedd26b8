"""What OpenTelemetry's ``FastAPIInstrumentor.instrument_app`` does to an app: it replaces ``build_middleware_stack``.

The audit knows this code by its module and its qualified name, so both are those of opentelemetry-instrumentation-
fastapi 0.66b2, from which the steps are re-made without tracing.
"""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette

_MODULE = "opentelemetry.instrumentation.fastapi"
_ASGI_MODULE = "opentelemetry.instrumentation.asgi"
_SOURCE = """
import functools
import types

from starlette.middleware.errors import ServerErrorMiddleware


class FastAPIInstrumentor:
    @staticmethod
    def instrument_app(app):
        original_build_middleware_stack = app.build_middleware_stack

        def build_middleware_stack(self):
            class ExceptionHandlerMiddleware:
                def __init__(self, app):
                    self.app = app

                async def __call__(self, scope, receive, send):
                    await self.app(scope, receive, send)

            inner_server_error_middleware = original_build_middleware_stack()
            exception_middleware = ExceptionHandlerMiddleware(inner_server_error_middleware.app)
            error_middleware = ServerErrorMiddleware(
                app=exception_middleware,
                handler=inner_server_error_middleware.handler,
                debug=inner_server_error_middleware.debug,
            )
            return ServerErrorMiddleware(app=OpenTelemetryMiddleware(error_middleware))

        app.build_middleware_stack = types.MethodType(
            functools.wraps(app.build_middleware_stack)(build_middleware_stack), app
        )
"""
_ASGI_SOURCE = """
class OpenTelemetryMiddleware:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        await self.app(scope, receive, send)
"""


def instrument_app(app: Starlette, *, module: str = _MODULE) -> None:
    """Patch an app; as if the code stood in another module, if one is named."""
    asgi_names: dict[str, Any] = {"__name__": _ASGI_MODULE}
    exec(_ASGI_SOURCE, asgi_names)
    names: dict[str, Any] = {"__name__": module, "OpenTelemetryMiddleware": asgi_names["OpenTelemetryMiddleware"]}
    exec(_SOURCE, names)
    names["FastAPIInstrumentor"].instrument_app(app)
