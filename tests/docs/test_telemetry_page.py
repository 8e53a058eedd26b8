"""The page about telemetry is true: its program exports decisions, and its table lists what is exported."""

from __future__ import annotations

import io
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter
from starlette.testclient import TestClient

from authguard import AuthGuardMiddleware
from authguard.telemetry.figures import DECISIONS, MAX_SERIES, METRICS, WAITED
from tests.support.asgi import RecordingApp
from tests.support.markdown import DOCS, code_block
from tests.support.tokens import public_pem, rsa_key

PAGE = (DOCS / "telemetry.md").read_text("utf-8")


@pytest.mark.block("telemetry.md", "ConsoleMetricExporter()")
def test_the_program_exports_decisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its exporter writes a refusal with its reason."""
    written = io.StringIO()
    exporter = partial(ConsoleMetricExporter, out=written)
    monkeypatch.setattr("opentelemetry.sdk.metrics.export.ConsoleMetricExporter", exporter)
    monkeypatch.chdir(tmp_path)
    Path("public.pem").write_bytes(public_pem(rsa_key()))
    names: dict[str, Any] = {}

    exec(code_block("telemetry.md", "ConsoleMetricExporter()"), names)
    TestClient(AuthGuardMiddleware(RecordingApp(), guard=names["guard"])).get("/")
    names["provider"].shutdown()

    assert '"error.type": "credentials.missing"' in written.getvalue()


def test_the_page_lists_each_metric_with_its_kind_and_unit() -> None:
    """No metric is missing, and none is there that is not exported."""
    rows = dict(
        re.findall(r"^\| `(authguard\.[\w.]+)` \| ((?:counter|gauge|histogram)(?:, s)?) \|", PAGE, re.MULTILINE)
    )

    kinds = {
        metric.name: ("counter" if metric.is_counter else "gauge") + (", s" if metric.unit == "s" else "")
        for metric in (DECISIONS, *METRICS)
    }
    assert rows == {WAITED.name: "histogram, s", **kinds}


def test_the_page_says_how_many_series_there_are() -> None:
    """The number is that of the code."""
    assert f"at most {MAX_SERIES:,} series" in PAGE
