"""Tests of the access rules: who may do what, until when, and that no change of a route goes unnoticed."""

from __future__ import annotations

from fastapi.testclient import TestClient

from authguard import Guard, Principal
from authguard.testing import ActingAs, AssertMatrix, ManualClock, Recording, TestIssuer, assert_denied
from examples.tested_app.app import app_behind

CASHIER = Principal("carol", roles={"cashier"})
MANAGER = Principal("mike", roles={"manager"})


def test_cashiers_sell(client: TestClient, guard: Guard, acting_as: ActingAs) -> None:
    """``acting_as`` replaces the login, without any credentials. The guard still checks the role."""
    acting_as(guard, CASHIER)

    assert client.post("/sales").json() == {"sold by": "carol"}
    assert_denied(client.post("/refunds/5"), 403, reason="role.missing", challenge="Bearer")


def test_managers_do_both(client: TestClient, guard: Guard, acting_as: ActingAs) -> None:
    """The role manager implies the role cashier, by the guard's role hierarchy."""
    acting_as(guard, MANAGER)

    assert client.post("/sales").status_code == 200
    assert client.post("/refunds/5").json() == {"refunded": 5, "by": "mike"}


def test_strangers_see_nothing(client: TestClient, guard: Guard, recording: Recording) -> None:
    """Without credentials, a closed route is a 401, and the recorded reason is ``credentials.missing``."""
    recording(guard)

    assert client.get("/health").status_code == 200
    assert_denied(client.get("/receipts"), 401, reason="credentials.missing", challenge='Bearer realm="till"')


def test_a_token_ends(
    client: TestClient, guard: Guard, issuer: TestIssuer, manual_clock: ManualClock, recording: Recording
) -> None:
    """A token is accepted until it expires, plus the guard's leeway of a minute, and not a second longer."""
    recording(guard)
    headers = issuer.headers("carol", roles={"cashier"}, expires_in=60)

    manual_clock.move(60 + 59)
    assert client.get("/receipts", headers=headers).json() == {"receipts of": "carol"}
    manual_clock.move(1)
    assert_denied(client.get("/receipts", headers=headers), 401, reason="token.expired")


def test_the_routes_require_what_was_agreed(guard: Guard, assert_matrix: AssertMatrix) -> None:
    """A route that is added, opened or locked changes a committed file, so a reviewer sees it."""
    assert_matrix(app_behind(guard), guard, "routes.txt")
