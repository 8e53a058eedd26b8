"""The audit of an app with its guard in front."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from authguard import AuthGuardMiddleware, Guard
from authguard.audit import audit as auditing
from authguard.audit.audit import Audit
from authguard.audit.route_discovery import discover_endpoints


def installed(served: Any, front: Guard) -> Any:
    """The app behind the guard; the app itself if it holds the guard already."""
    guards = [layer.guard for endpoint in discover_endpoints(served) for layer in endpoint.layers]
    return served if front in guards else AuthGuardMiddleware(served, guard=front)


def audit(served: Any, front: Guard, *, ignore: Collection[str] = ()) -> Audit:
    """``audit`` of that app."""
    return auditing.audit(installed(served, front), front, ignore=ignore)


def assert_closed(served: Any, front: Guard, *, public: Collection[str] = (), ignore: Collection[str] = ()) -> None:
    """``assert_closed`` of that app."""
    auditing.assert_closed(installed(served, front), front, public=public, ignore=ignore)
