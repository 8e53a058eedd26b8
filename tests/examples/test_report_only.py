"""The example of a rule that is tried before it is enforced: it counts whom it would lock out, and refuses nobody."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from tests.examples.callers import PUBLIC_KEY, bearer, reasons
from tests.examples.conftest import Start


def test_everybody_passes_and_is_counted(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Who has the role is granted. Others pass as who they are, and anonymous requests as nobody. The page that takes
    the principal stays closed to them, and so does the one with the numbers."""
    client = TestClient(start("report_only", ISSUER_PUBLIC_KEY=PUBLIC_KEY).app)
    users = {name: bearer(name, aud="reports", sub=name) for name in ("analyst", "clerk", "operator")}

    passed = [client.get("/reports/july", headers=headers).json()["for"] for headers in ({}, *users.values())]
    notes = client.get("/reports/july/notes").status_code
    numbers = client.get("/locked-out", headers=users["operator"]).json()

    assert passed == ["", "analyst", "clerk", "operator"]
    assert notes == client.get("/locked-out").status_code == 401
    assert numbers == {"/reports/{name} credentials.missing": 1, "/reports/{name} role.missing": 2}
    assert not [record for record in caplog.records if "report_only" in record.getMessage()]
    assert reasons(caplog) == ["role.missing", "role.missing"]
