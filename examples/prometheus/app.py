"""An app that Prometheus scrapes at /metrics with a password; everything else needs a token.

Serve it with the public key of your own issuer, and let Prometheus ask with the password in prometheus.password:

    htpasswd -B -c users.htpasswd prometheus
    ISSUER_PUBLIC_KEY="$(cat public.pem)" USER_FILE=users.htpasswd uvicorn examples.prometheus.app:app
    prometheus --config.file=examples/prometheus/prometheus.yml
"""

from __future__ import annotations

import os

from fastapi import FastAPI, Response
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from authguard import PEM, PUBLIC, Basic, Bearer, Guard, HtpasswdFile, Issuer, Rule, all_of, role, via
from authguard.fastapi import CurrentPrincipal, install
from authguard.telemetry import telemetry

issuer = Issuer(
    "https://login.example/",
    audience="orders",
    algorithms=["RS256"],
    keys=PEM(os.environ["ISSUER_PUBLIC_KEY"]),
)
guard = Guard(
    Bearer(issuer, realm="orders"),
    Basic(HtpasswdFile(os.environ["USER_FILE"]), realm="metrics"),
    rules=[
        Rule("/health", PUBLIC),
        Rule("/metrics", via("basic")),
        Rule("/admin/**", all_of(role("admin"), via("bearer"))),
        Rule("/**", via("bearer")),
    ],
)

registry = CollectorRegistry()
telemetry(guard, MeterProvider(metric_readers=[PrometheusMetricReader(registry=registry)]))

app = FastAPI(title="orders", docs_url=None, redoc_url=None, openapi_url=None)
install(app, guard)


@app.get("/metrics")
def metrics() -> Response:
    """For Prometheus, by the rule: the counts tell a stranger which attempt came how far."""
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


@app.get("/health")
def health() -> dict[str, str]:
    """Public, by its rule."""
    return {"status": "up"}


@app.get("/orders")
def orders(principal: CurrentPrincipal) -> dict[str, str]:
    """For everybody with a token."""
    return {"orders of": principal.subject}


@app.get("/admin/users")
def users(principal: CurrentPrincipal) -> dict[str, str]:
    """For users with the role admin, by the rule."""
    return {"asked by": principal.subject}
