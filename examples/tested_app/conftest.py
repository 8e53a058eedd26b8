"""The plug-in, and the app as the tests have it."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from authguard import Guard
from authguard.testing import ManualClock, TestIssuer
from examples.tested_app.app import app_behind, guard_of

pytest_plugins = ["authguard.testing.pytest_plugin"]


@pytest.fixture
def minting(manual_clock: ManualClock) -> TestIssuer:
    """Stands for the real issuer; its tokens are really verified."""
    return TestIssuer(audience="till", clock=manual_clock)


@pytest.fixture
def guard(minting: TestIssuer, manual_clock: ManualClock) -> Guard:
    """The app's own guard, but for the issuer and the clock."""
    return guard_of(minting.as_issuer(), manual_clock)


@pytest.fixture
def client(guard: Guard) -> TestClient:
    """A client of the app."""
    return TestClient(app_behind(guard))
