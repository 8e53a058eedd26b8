"""Fixtures that import an example as a user starts it: with its settings in the environment, and new for each test."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
from starlette.testclient import TestClient

from tests.examples.webhooks import SECRET, guarded_app

Start = Callable[..., ModuleType]

SETTINGS = (
    "ALICE_HASH",
    "APP_SOCKET",
    "BOB_HASH",
    "CAROL_HASH",
    "CLIENT_SECRET",
    "DPOP_SECRET",
    "INTROSPECTION_URL",
    "ISSUER",
    "ISSUER_PUBLIC_KEY",
    "KEYCLOAK_URL",
    "LEEWAY",
    "LOG_LEVEL",
    "PARTNER_PUBLIC_KEY",
    "PUBLIC_URL",
    "TOKEN_SECRET",
    "USER_FILE",
    "WEBHOOK_SECRET",
)


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """``start("quickstart", LEEWAY="0")`` imports the example with these settings and no others."""
    level = logging.getLogger("authguard").level

    def run(name: str, **settings: str) -> ModuleType:
        for setting in SETTINGS:
            monkeypatch.delenv(setting, raising=False)
        for setting, value in settings.items():
            monkeypatch.setenv(setting, value)
        monkeypatch.delitem(sys.modules, f"examples.{name}", raising=False)
        return importlib.import_module(f"examples.{name}")

    yield run
    logging.getLogger("authguard").setLevel(level)


@pytest.fixture
def example(start: Start) -> ModuleType:
    """The module of the signed webhook."""
    return start("signed_webhook", WEBHOOK_SECRET=SECRET.decode())


@pytest.fixture
def webhook_client(example: ModuleType, caplog: pytest.LogCaptureFixture) -> TestClient:
    """A client of an app that accepts webhooks of at most 64 bytes. Grants are recorded too."""
    caplog.set_level(logging.DEBUG, "authguard")
    return TestClient(guarded_app(example.Webhook("shop", SECRET, limit=64)))
