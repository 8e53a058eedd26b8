"""What OpenTelemetry gets of a guard: its metrics when they are exported, and an event for each denial."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, cast

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from authguard import AuthGuardMiddleware, ConfigurationError, Guard, Rule, role
from authguard.explain.rehearsal import Rehearsal
from authguard.model import Outcome
from authguard.request import AuthRequest
from authguard.telemetry import telemetry
from authguard.telemetry.figures import MAX_SERIES, METRICS
from authguard.telemetry.instruments import _Health
from authguard.testing import ManualClock
from authguard.wire.authorization import Credentials
from tests.support.asgi import RecordingApp
from tests.support.schemes.badge import Badge

ALICE = {"authorization": "Badge alice"}


def points(reader: InMemoryMetricReader) -> dict[str, list[tuple[Mapping[str, Any], float]]]:
    """The attributes and the value of each point, by the name of the metric. Histograms are left out."""
    data = reader.get_metrics_data()
    found: dict[str, list[tuple[Mapping[str, Any], float]]] = {}
    for resource in data.resource_metrics if data else []:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                rows: Any = metric.data.data_points
                values = [(dict(row.attributes), row.value) for row in rows if hasattr(row, "value")]
                if values:
                    found.setdefault(metric.name, []).extend(values)
    return found


def client_of(guard: Guard) -> TestClient:
    """A client of an app behind this guard."""
    return TestClient(AuthGuardMiddleware(RecordingApp(), guard=guard))


class SickBadge(Badge):
    """A scheme of an app whose health cannot be read."""

    def health(self) -> Mapping[str, object]:
        """Raise, as a store that has lost its connection may."""
        raise RuntimeError("s3cret")


def test_decisions_are_counted_by_reason_scheme_and_rule() -> None:
    """A path and a name of a user are no attribute, whatever the client sends."""
    reader = InMemoryMetricReader()
    guard = Guard(Badge(), rules=[Rule("/admin/**", role("owner"))])
    telemetry(guard, MeterProvider([reader]))
    client = client_of(guard)

    for number in range(3):
        client.get(f"/admin/{number}", headers=ALICE)
    client.get("/", headers=ALICE)

    assert points(reader)["authguard.decisions"] == [
        (
            {
                "authguard.event": "denied",
                "error.type": "role.missing",
                "http.response.status_code": 403,
                "authguard.scheme": "badge",
                "authguard.rule": "/admin/**",
            },
            3,
        ),
        ({"authguard.event": "granted", "authguard.scheme": "badge"}, 1),
    ]


def test_two_guards_with_names_are_told_apart() -> None:
    """Each name is an attribute of all that its guard exports."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    guards = {name: Guard(Badge()) for name in ("shop", "admin")}
    for name, guard in guards.items():
        telemetry(guard, provider, name=name)
        client_of(guard).get("/")

    found = points(reader)["authguard.decisions"]

    assert sorted(attributes["authguard.guard"] for attributes, _ in found) == ["admin", "shop"]
    assert [value for _, value in found] == [1, 1]


def test_a_health_that_raises_leaves_the_counts(caplog: pytest.LogCaptureFixture) -> None:
    """One ERROR says where it failed, whatever is exported later. It has no text of the exception."""
    reader = InMemoryMetricReader()
    guard = Guard(SickBadge())
    telemetry(guard, MeterProvider([reader]))
    client_of(guard).get("/")

    first, second = points(reader), points(reader)

    assert [list(found) for found in (first, second)] == [["authguard.decisions"]] * 2
    (failed,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert failed.startswith("telemetry: authguard.hash.queue.length failed: builtins.RuntimeError at ")
    assert "s3cret" not in caplog.text


class CountingBadge(Badge):
    """A scheme that counts how often its health is read, and says it as the length of a queue."""

    read = 0

    def health(self) -> Mapping[str, object]:
        """Count the reading."""
        self.read += 1
        return {"threads": self.read, "working": 0}


def test_the_health_is_read_once_for_each_collection() -> None:
    """All metrics of a collection are of one reading, and the next collection has the next one."""
    clock, reader, scheme = ManualClock(), InMemoryMetricReader(), CountingBadge()
    telemetry(Guard(scheme, monotonic=clock), MeterProvider([reader]))

    readings = [points(reader)["authguard.hash.threads"][0][1] for _ in range(3)]

    assert (readings, scheme.read) == ([1, 2, 3], 3)


def test_a_reader_of_other_metrics_gets_the_health_of_now() -> None:
    """What another reader has asked for a minute ago is not what this one gets."""
    clock, scheme = ManualClock(), CountingBadge()
    health = _Health(Guard(scheme, monotonic=clock))
    queue, threads = METRICS[:2]

    health.figures_of(queue)
    clock.move(60.0)
    (figure,) = health.figures_of(threads)

    assert (figure.metric.name, figure.value) == ("authguard.hash.threads", 2)


class SlowBadge(Badge):
    """A scheme whose verification takes 0.3 seconds by the clock of the test."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    async def authenticate(self, request: AuthRequest, credentials: Credentials) -> Outcome:
        """Let time pass."""
        self._clock.move(0.3)
        return await super().authenticate(request, credentials)


def durations(reader: InMemoryMetricReader) -> list[tuple[dict[str, Any], int, float]]:
    """The attributes, the count and the sum of each point of the histogram."""
    data = reader.get_metrics_data()
    return [
        (dict(row.attributes), row.count, round(row.sum, 3))
        for resource in (data.resource_metrics if data else [])
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "authguard.verification.duration"
        for row in cast("Any", metric.data).data_points
    ]


def test_a_decision_that_waits_is_timed() -> None:
    """A request without credentials is decided at once, and is not timed."""
    clock, reader = ManualClock(), InMemoryMetricReader()
    guard = Guard(SlowBadge(clock), monotonic=clock)
    telemetry(guard, MeterProvider([reader]), name="shop")
    client = client_of(guard)

    for headers in (ALICE, {"authorization": "Badge wrong"}, {}):
        client.get("/", headers=headers)

    assert durations(reader) == [({"authguard.scheme": "badge", "authguard.guard": "shop"}, 2, 0.6)]


def test_a_decision_without_a_scheme_has_none_in_its_time() -> None:
    """A clock that goes backwards gives no negative time."""
    reader = InMemoryMetricReader()
    guard = Guard(Badge())
    telemetry(guard, MeterProvider([reader]))

    assert guard.on_waited is not None
    guard.on_waited(None, -1.0)

    assert durations(reader) == [({}, 1, 0.0)]


def test_a_histogram_that_fails_changes_no_response(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One ERROR says what failed."""
    guard = Guard(Badge())
    provider = MeterProvider([InMemoryMetricReader()])
    telemetry(guard, provider)

    def broken(*_: object) -> None:
        raise RuntimeError("s3cret")

    monkeypatch.setattr("opentelemetry.sdk.metrics.Histogram.record", broken)

    assert client_of(guard).get("/", headers=ALICE).status_code == 200
    assert "telemetry: authguard.verification.duration failed: builtins.RuntimeError" in caplog.text
    assert "s3cret" not in caplog.text


def test_explain_leaves_no_trace_in_the_metrics() -> None:
    """A rehearsal of a decision is neither counted nor timed, nor is it an event."""
    reader = InMemoryMetricReader()
    guard = Guard(Badge())
    telemetry(guard, MeterProvider([reader]))

    rehearsed, records = Rehearsal(run_checks=True).guard(guard)
    client_of(rehearsed).get("/", headers=ALICE)

    assert [record.event for record in records] == ["granted"]
    assert (points(reader), durations(reader)) == ({}, [])


class ManyKeys(Badge):
    """A scheme of an app with more key servers than there may be series."""

    def health(self) -> Mapping[str, object]:
        """The age of the keys of each."""
        return {"keys": [{"source": f"https://{number}.example/", "age": 1.0} for number in range(MAX_SERIES + 10)]}


def test_a_metric_has_only_so_many_series() -> None:
    """What is beyond the bound is left out."""
    reader = InMemoryMetricReader()
    telemetry(Guard(ManyKeys()), MeterProvider([reader]))

    assert len(points(reader)["authguard.keys.age"]) == MAX_SERIES


def spans_of(guard: Guard, headers: Mapping[str, str]) -> ReadableSpan:
    """The span around one request to ``/admin/alice``."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("tests")
    guarded = AuthGuardMiddleware(RecordingApp(), guard=guard)

    async def traced(scope: Scope, receive: Receive, send: Send) -> None:
        with tracer.start_as_current_span("GET"):
            await guarded(scope, receive, send)

    TestClient(traced).get("/admin/alice", headers=headers)
    (span,) = exporter.get_finished_spans()
    return span


def test_a_denial_is_an_event_of_the_current_span() -> None:
    """It has the reason and what was missing, and neither the path nor the name."""
    guard = Guard(Badge(), rules=[Rule("/admin/**", role("owner"))])
    telemetry(guard, MeterProvider())

    (event,) = spans_of(guard, ALICE).events

    assert (event.name, dict(event.attributes or {})) == (
        "authguard.denied",
        {
            "error.type": "role.missing",
            "http.response.status_code": 403,
            "authguard.scheme": "badge",
            "authguard.rule": "/admin/**",
            "authguard.requirement": "role(owner)",
            "authguard.missing": ("owner",),
        },
    )


def test_a_denial_that_is_not_enforced_is_an_event_of_another_name() -> None:
    """The request passes, so nobody may look for its error in it."""
    guard = Guard(Badge(), rules=[Rule("/admin/**", role("owner"), report_only=True)])
    telemetry(guard, MeterProvider())

    (event,) = spans_of(guard, ALICE).events

    assert (event.name, (event.attributes or {})["error.type"]) == ("authguard.would_deny", "role.missing")


def test_a_grant_is_no_event() -> None:
    """A granted request gets no record either."""
    guard = Guard(Badge())
    telemetry(guard, MeterProvider())

    assert spans_of(guard, ALICE).events == ()


def test_without_an_sdk_nothing_happens() -> None:
    """The API alone makes instruments that nobody reads, and no span is recorded."""
    guard = Guard(Badge())

    telemetry(guard)

    assert client_of(guard).get("/").status_code == 401
    assert repr(guard._recorder.hooks) == "(telemetry,)"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"guard": "guard"}, "guard"), ({"name": ""}, "name"), ({"name": 3}, "name")],
    ids=["not a guard", "an empty name", "a number"],
)
def test_a_wrong_argument_is_refused(arguments: dict[str, Any], named: str) -> None:
    """The error says which one."""
    with pytest.raises(ConfigurationError, match=f"^{named}: "):
        telemetry(**{"guard": Guard(Badge()), **arguments})


def test_a_guard_has_telemetry_once() -> None:
    """A second call would count each decision twice."""
    guard = Guard(Badge())
    telemetry(guard, MeterProvider())

    with pytest.raises(ConfigurationError, match="has telemetry already"):
        telemetry(guard, MeterProvider())


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The import says what to install."""
    for name in [name for name in sys.modules if name.startswith("authguard.telemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.metrics", None)

    with pytest.raises(ModuleNotFoundError, match=r"pip install 'authguard\[otel\]'"):
        import authguard.telemetry  # noqa: F401


def test_authguard_itself_does_not_import_it() -> None:
    """An app without telemetry needs no OpenTelemetry."""
    program = "import sys, authguard, authguard.fastapi; print('authguard.telemetry' in sys.modules)"

    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "False\n"
