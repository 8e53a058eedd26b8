"""The instruments of OpenTelemetry that observe a guard, and the event of a denial on the current span."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice

from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, Histogram, MeterProvider, Observation

from authguard.core.guard import Guard
from authguard.errors import ConfigurationError
from authguard.records.record import Record, log_failure
from authguard.telemetry.figures import (
    BOUNDARIES,
    DECISIONS,
    MAX_SERIES,
    METRICS,
    WAITED,
    Attributes,
    Figure,
    Metric,
    decisions,
    figures,
)

#: For how many seconds a reading of the health is good at most.
MAX_AGE = 1.0
#: The name of the event that a denial adds to the current span.
EVENT = "authguard.denied"
#: The name where what denies is report-only, so that the request passes.
REPORTED = "authguard.would_deny"


def telemetry(guard: Guard, meter_provider: MeterProvider | None = None, *, name: str | None = None) -> None:
    """Export the counts and the health of a guard as metrics, and add an event to the current span at each denial.

    - ``meter_provider``: the default is the one that is set for the process, now or later. Without an SDK nothing is
      exported.
    - ``name``: becomes the attribute ``authguard.guard``. An app with several guards gives each a name.

    Decisions that had to wait are timed. All other metrics are read when they are exported, so a request that is
    granted at once costs nothing more. No name of a user, path or address is an attribute, and each metric has at most
    1000 series. Whatever fails here changes no response.
    Raises ``ConfigurationError`` for what is not a guard, for one that has telemetry already, and for an empty name.
    """
    if not isinstance(guard, Guard):
        raise ConfigurationError("guard", f"{type(guard).__name__} is not a Guard")
    if name is not None and not (isinstance(name, str) and name):
        raise ConfigurationError("name", f"{name!r} is not a name")
    if guard.on_waited is not None:
        raise ConfigurationError("guard", "it has telemetry already; call telemetry(guard) once")
    common: Attributes = {} if name is None else {"authguard.guard": name}
    # A meter of its own for each guard: of two instruments with one name in a meter, the SDK warns.
    meter = metrics.get_meter("authguard", meter_provider=meter_provider, attributes=common or None)

    def observe(metric: Metric, read: Callable[[], Iterable[Figure]]) -> None:
        create = meter.create_observable_counter if metric.is_counter else meter.create_observable_gauge
        callback = _callback(metric, read, common)
        create(metric.name, callbacks=[callback], unit=metric.unit, description=metric.description)

    observe(DECISIONS, lambda: decisions(guard.counts()))
    health = _Health(guard)
    for metric in METRICS:
        observe(metric, partial(health.figures_of, metric))
    duration = meter.create_histogram(
        WAITED.name, WAITED.unit, WAITED.description, explicit_bucket_boundaries_advisory=BOUNDARIES
    )
    guard.on_waited = partial(_record_wait, duration, common)
    guard.add_hook(SpanEvents())


class _Health:
    """What the health of a guard says, read once for each collection.

    OpenTelemetry asks for each metric by itself. The metric that asks a second time begins the next collection. Other
    readers may ask for other metrics, so nobody gets a reading of more than ``MAX_AGE`` seconds ago.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._figures: Mapping[Metric, Sequence[Figure]] = {}
        self._asked: set[Metric] = set()
        self._read_at = 0.0

    def figures_of(self, metric: Metric) -> Sequence[Figure]:
        """The figures of one metric. Raises what ``Guard.health`` does, for one metric of each collection."""
        # Two threads that collect at the same time may read twice, which changes nothing of what they get.
        now = self._guard.monotonic()
        if not self._asked or metric in self._asked or now - self._read_at > MAX_AGE:
            self._figures, self._asked, self._read_at = {}, set(), now
            self._asked.add(metric)
            found: dict[Metric, list[Figure]] = {}
            for figure in figures(self._guard.health()):
                found.setdefault(figure.metric, []).append(figure)
            self._figures = found
        self._asked.add(metric)
        return self._figures.get(metric, ())


def _record_wait(duration: Histogram, common: Attributes, scheme: str | None, seconds: float) -> None:
    of_scheme = {} if scheme is None else {"authguard.scheme": scheme}
    try:
        duration.record(max(0.0, seconds), {**of_scheme, **common})
    except Exception as error:  # noqa: BLE001 - an SDK that fails must not change the response
        log_failure(f"telemetry: {WAITED.name}", error)


def _callback(
    metric: Metric, read: Callable[[], Iterable[Figure]], common: Attributes
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    has_failed = False

    def observe(_options: CallbackOptions) -> Iterable[Observation]:
        nonlocal has_failed
        try:
            found = list(islice(read(), MAX_SERIES))
        except Exception as error:  # noqa: BLE001 - a scheme or a store of the app may have written the health
            if not has_failed:
                log_failure(f"telemetry: {metric.name}", error)
            has_failed = True
            return []
        return [Observation(figure.value, {**figure.attributes, **common}) for figure in found]

    return observe


class SpanEvents:
    """A hook that adds an event to the span of the request that is denied. It has no name, path or address."""

    __slots__ = ()

    wants_grants = False

    def __repr__(self) -> str:
        return "telemetry"

    def __call__(self, record: Record) -> None:
        """Add the event, if the span is recorded."""
        span = trace.get_current_span()
        if not span.is_recording():
            return
        attributes: dict[str, str | int | tuple[str, ...] | None] = {
            "error.type": record.reason,
            "http.response.status_code": record.status,
            "authguard.scheme": record.scheme,
            "authguard.rule": record.rule,
            "authguard.requirement": record.requirement,
            "authguard.missing": record.missing or None,
        }
        span.add_event(
            EVENT if record.event == "denied" else REPORTED,
            {key: value for key, value in attributes.items() if value is not None},
        )
