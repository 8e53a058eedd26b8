"""``strict=True`` behind a real server: an app with a finding is not served, and the operator learns why."""

from __future__ import annotations

import pytest

from tests.support.servers.app_server import AppServer, request_bytes, running_servers

pytestmark = pytest.mark.peer


@pytest.mark.parametrize("lifespan", ["auto", "on"])
def test_an_app_with_a_finding_is_not_served(lifespan: str) -> None:
    """The server logs each finding with its fix and without a traceback, and exits."""
    server = AppServer("strict:unnamed", "--lifespan", lifespan)

    status = server.wait()

    lines = "\n".join(server.lines)
    assert status != 0
    assert "authguard: strict=True, and the audit has " in lines
    assert "route.unnamed GET /late/orders: no rule names it and no lock is on it" in lines
    assert "rule.unmet /orders: it matches no route" in lines
    assert "Application startup failed. Exiting." in lines
    assert "Traceback" not in lines
    assert "Uvicorn running on" not in lines


def test_without_a_lifespan_every_request_is_an_outage() -> None:
    """Without a lifespan every request is an outage, and one ERROR has the findings."""
    with running_servers(lambda: AppServer("strict:unnamed", "--lifespan", "off")) as (server,):
        answers = [server.send(request_bytes(path)).status for path in ("/late/orders", "/orders", "/nothing")]

    assert answers == [503, 503, 503]
    assert "\n".join(server.lines).count("rule.unmet /orders") == 1


def test_an_app_without_a_finding_is_served() -> None:
    """An app without findings is served, and so is one with findings without ``strict``."""
    with running_servers(lambda: AppServer("strict:fitting"), lambda: AppServer("strict:lax")) as (fitting, lax):
        assert fitting.send(request_bytes("/orders")).status == 200
        assert lax.send(request_bytes("/late/orders")).status == 401
        assert "route.unnamed" not in "\n".join(lax.lines)
