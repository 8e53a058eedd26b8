"""Fixtures: the app with a test issuer and a manual clock. authguard's own fixtures need no line here."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from authguard import Guard
from authguard.testing import ManualClock, TestIssuer
from examples.tested_app.app import app_behind, guard_of


@pytest.fixture
def issuer(manual_clock: ManualClock) -> TestIssuer:
    """Replaces the real issuer. Its tokens are verified like real ones."""
    return TestIssuer(audience="till", clock=manual_clock)


@pytest.fixture
def guard(issuer: TestIssuer, manual_clock: ManualClock) -> Guard:
    """The app's own guard, with the test issuer and the manual clock."""
    return guard_of(issuer.as_issuer(), manual_clock)


@pytest.fixture
def client(guard: Guard) -> TestClient:
    """A test client of the app."""
    return TestClient(app_behind(guard))
