"""The example with Prometheus: who sees the metrics, that its alerts and queries are of metrics that exist, and that a
real Prometheus scrapes it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import bcrypt
import httpx2
import pytest
from starlette.testclient import TestClient

from authguard.starlette import assert_closed
from authguard.telemetry.figures import DECISIONS, METRICS
from tests.examples.conftest import Start
from tests.support.markdown import code_block
from tests.support.servers.ports import free_port
from tests.support.tokens import mint, public_pem, rsa_key

FOLDER = Path(__file__).parents[2] / "examples" / "prometheus"
PASSWORD = "scrape"
PROMETHEUS = ("prometheus", PASSWORD)


@pytest.fixture(name="settings")
def _settings(tmp_path: Path) -> dict[str, str]:
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (tmp_path / "users").write_text(f"prometheus:{hashed}\n")
    return {"USER_FILE": str(tmp_path / "users"), "ISSUER_PUBLIC_KEY": public_pem(rsa_key()).decode()}


def names() -> set[str]:
    """The metrics of authguard, as Prometheus calls them."""
    endings = {"s": "_seconds"}
    return {
        metric.name.replace(".", "_") + endings.get(metric.unit, "") + ("_total" if metric.is_counter else "")
        for metric in (DECISIONS, *METRICS)
    } | {f"authguard_verification_duration_seconds_{part}" for part in ("bucket", "count")}


def queries() -> list[str]:
    """The queries of the dashboard, with values for what Grafana puts in."""
    dashboard = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [query.replace("$job", "orders").replace("$__rate_interval", "1m") for query in found]


def test_the_metrics_are_for_prometheus_alone(start: Start, settings: Mapping[str, str]) -> None:
    """Neither a stranger nor a token sees them, and the password opens nothing else."""
    example = start("prometheus.app", **settings)
    assert_closed(example.app, example.guard, public=["GET /health"])
    client = TestClient(example.app)
    token = {"authorization": f"Bearer {mint(rsa_key(), roles=['admin'])}"}

    answers = [client.get("/metrics"), client.get("/metrics", headers=token), client.get("/metrics", auth=PROMETHEUS)]

    assert [answer.status_code for answer in answers] == [401, 401, 200]
    assert [client.get(path, auth=PROMETHEUS).status_code for path in ("/orders", "/admin/users")] == [401, 401]
    assert client.get("/health").json() == {"status": "up"}


def test_a_refusal_is_a_line_of_the_metrics(start: Start, settings: Mapping[str, str]) -> None:
    """Prometheus gets its reason, status, scheme and rule."""
    client = TestClient(start("prometheus.app", **settings).app)
    client.get("/orders", headers={"authorization": f"Bearer {mint(rsa_key(), exp=1_000_000_000)}"})

    text = client.get("/metrics", auth=PROMETHEUS).text

    (line,) = [line for line in text.splitlines() if "token.expired" in line]
    assert (line.partition("{")[0], line.rpartition(" ")[2]) == ("authguard_decisions_total", "1.0")
    assert dict(re.findall(r'(\w+)="([^"]*)"', line)).items() >= {
        ("authguard_event", "denied"),
        ("authguard_rule", "/**"),
        ("authguard_scheme", "bearer"),
        ("error_type", "token.expired"),
        ("http_response_status_code", "401"),
    }


def test_a_remembered_password_is_decided_at_once(start: Start, settings: Mapping[str, str]) -> None:
    """Of four logins the first alone had to wait."""
    client = TestClient(start("prometheus.app", **settings).app)

    for _ in range(3):
        client.get("/metrics", auth=PROMETHEUS)
    text = client.get("/metrics", auth=PROMETHEUS).text

    lines = [line for line in text.splitlines() if 'authguard_scheme="basic"' in line]
    waited = [line for line in lines if line.startswith("authguard_verification_duration_seconds_count{")]
    decided = [line for line in lines if line.startswith("authguard_decisions_total{")]
    assert [line.rpartition(" ")[2] for line in (*waited, *decided)] == ["1.0", "4.0"]


@pytest.mark.parametrize("file", ["alerts.yml", "alerts_test.yml", "dashboard.json"])
def test_each_metric_that_is_asked_for_exists(file: str) -> None:
    """The alerts, their tests and the dashboard name no metric that the app does not export."""
    labels = {"authguard_" + name for name in ("event", "scheme", "rule", "issuer", "store", "caller", "keys_source")}
    text = (FOLDER / file).read_text("utf-8")

    assert set(re.findall(r"\bauthguard_\w+", text)) - labels <= names()


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    """It is JSON. Each panel has its place, a query, and a number that no other has. Grafana itself is not run."""
    dashboard = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))
    panels = dashboard["panels"]

    assert dashboard["title"] == "authguard"
    assert len({panel["id"] for panel in panels}) == len(panels) == 12
    assert all(panel["targets"] and set(panel["gridPos"]) == {"x", "y", "w", "h"} for panel in panels)
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == ["source", "job"]


def program(name: str) -> str:
    """The path of a program of Debian's package ``prometheus``. Without it the test is skipped, but never in CI."""
    found = shutil.which(name)
    if found is None and os.environ.get("CI") != "true":
        pytest.skip(f"{name} is not installed")
    assert found is not None, f"{name} is not installed"
    return found


@pytest.mark.peer
def test_promtool_accepts_the_alerts_and_their_tests() -> None:
    """Each alert fires when its test says so, and none does while nothing is wrong."""
    done = subprocess.run(
        [program("promtool"), "test", "rules", "alerts_test.yml"],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout.split()[-1]) == (0, "SUCCESS"), done.stdout + done.stderr


@contextlib.contextmanager
def running(command: list[str], pattern: str, **env: str) -> Iterator[str]:
    """A program that runs until the end of the block, and what the pattern found in its standard error."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **env}) as process:
        try:
            assert process.stderr is not None
            lines: list[str] = []
            for line in process.stderr:
                lines.append(line)
                if match := re.search(pattern, line):
                    yield match[1]
                    break
            else:
                raise AssertionError("".join(lines))
        finally:
            process.kill()


def wait_for(condition: Callable[[], Any]) -> Any:
    """What the condition gives, as soon as that is true; at most a minute from now."""
    end = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < end, f"{condition} was not true within a minute"
        time.sleep(0.1)
    return found


@pytest.mark.peer
@pytest.mark.block("telemetry.md", "verification_duration_seconds_count")
@pytest.mark.block("telemetry.md", "token_verifications_total")
def test_prometheus_scrapes_the_app_and_answers_the_queries(tmp_path: Path, settings: Mapping[str, str]) -> None:
    """Its target is up, a refusal is counted in it, and no query of the dashboard or of the page is an error."""
    app = [sys.executable, "-m", "uvicorn", "examples.prometheus.app:app", "--port", "0"]
    config = (FOLDER / "prometheus.yml").read_text("utf-8").replace("15s", "1s")
    (tmp_path / "prometheus.password").write_text(PASSWORD)
    shutil.copy(FOLDER / "alerts.yml", tmp_path)
    port = free_port()
    command = [
        *(program("prometheus"), f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"),
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running(app, r"http://(127\.0\.0\.1:\d+)", **settings) as address, httpx2.Client(timeout=30) as client:
        (tmp_path / "prometheus.yml").write_text(config.replace("127.0.0.1:8000", address))
        expired = {"authorization": f"Bearer {mint(rsa_key(), exp=1_000_000_000)}"}
        assert client.get(f"http://{address}/orders", headers=expired).status_code == 401
        with running(command, "(Server is ready)"):

            def query(text: str) -> Any:
                answer = client.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": text}).json()
                assert answer["status"] == "success", (text, answer)
                return answer["data"]["result"]

            (series,) = wait_for(lambda: query('authguard_decisions_total{error_type="token.expired"}'))
            assert (series["metric"]["job"], series["value"][1]) == ("orders", "1")
            assert [found["value"][1] for found in query('up{job="orders"}')] == ["1"]
            shares = ("verification_duration_seconds_count", "token_verifications_total")
            for text in (*queries(), *(code_block("telemetry.md", named) for named in shares)):
                query(text)
            rules = client.get(f"http://127.0.0.1:{port}/api/v1/rules").json()["data"]["groups"]
            assert len(rules[0]["rules"]) == 9
