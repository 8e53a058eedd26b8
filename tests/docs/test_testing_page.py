"""The page about testing is true, as far as its blocks do not show it themselves when they are run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from authguard import PUBLIC, ConfigurationError, Guard, Principal, Rule, role
from authguard.fastapi import CurrentPrincipal, install, requires
from authguard.testing import acting_as
from tests.support.markdown import code_block
from tests.support.schemes.badge import Badge

PAGE = "guide/testing.md"
ROUTES = Path(__file__).parents[2] / "examples" / "tested_app" / "routes.txt"


@pytest.mark.block("guide/testing.md", "POST /refunds/{number}: role(manager)")
def test_the_matrix_looks_as_the_page_shows() -> None:
    """The lines are some of those of the file of the example, in its order."""
    written = ROUTES.read_text("utf-8").splitlines()
    shown = code_block(PAGE, "POST /refunds/{number}: role(manager)").splitlines()

    assert [line for line in written if line in shown] == shown


def test_overriding_the_principal_raises_with_the_line_to_write() -> None:
    """An override of ``CurrentPrincipal`` or of ``requires(...)`` names ``acting_as``."""
    app = FastAPI()
    install(app, Guard(Badge()))

    overridden: list[Any] = [CurrentPrincipal, requires(role("admin"))]
    for key in overridden:
        with pytest.raises(ConfigurationError, match="with acting_as"):
            app.dependency_overrides[key] = lambda: Principal("alice")


def test_acting_as_changes_nothing_on_a_public_route() -> None:
    """On PUBLIC the guard asks nobody, so ``request.user`` is anonymous."""
    app = FastAPI()
    guard = Guard(Badge(), rules=[Rule("/open", PUBLIC)])
    install(app, guard)

    @app.get("/open")
    def open_to_all(request: Request) -> bool:
        return bool(request.user.is_authenticated)

    with acting_as(guard, Principal("alice")):
        assert TestClient(app).get("/open").json() is False
