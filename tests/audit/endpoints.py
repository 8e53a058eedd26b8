"""The endpoints that route discovery finds, in short."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette

from authguard import Guard
from authguard.audit.endpoint import Endpoint
from authguard.audit.route_discovery import discover_endpoints
from tests.support.schemes.badge import Badge

GUARD = Guard(Badge())


def only_endpoint(route: Any) -> Endpoint:
    """The only endpoint of an app with this route."""
    (endpoint,) = discover_endpoints(Starlette(routes=[route]))
    return endpoint


def summary(app: object) -> list[tuple[str, str, str]]:
    """Kind, methods and path of each endpoint of an app."""
    return [(endpoint.kind, " ".join(endpoint.methods), endpoint.path) for endpoint in discover_endpoints(app)]


def requirements(endpoint: Endpoint) -> list[str]:
    """What the locks of an endpoint require, in their order."""
    return [str(here.requirement) for here in endpoint.locks]
