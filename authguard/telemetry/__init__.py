"""Metrics and span events of OpenTelemetry.

``telemetry(guard)`` observes the counts and the health of a guard, and adds an event to the current span at each
denial. It needs the extra ``otel``; the app chooses the SDK and the exporter.
"""

from __future__ import annotations

try:
    import opentelemetry.metrics  # noqa: F401
except ModuleNotFoundError as error:
    msg = "authguard.telemetry needs the API of OpenTelemetry: pip install 'authguard[otel]'"
    raise ModuleNotFoundError(msg, name="opentelemetry") from error

from authguard.telemetry.instruments import telemetry

__all__ = ["telemetry"]
