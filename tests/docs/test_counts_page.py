"""The page about counts is true: its route exports what it shows, and its hook gets denials alone."""

from __future__ import annotations

import time
from types import ModuleType
from typing import Any

import pytest
from starlette.testclient import TestClient

from authguard import PEM, AuthGuardMiddleware, Guard
from authguard.records.counts import MAX_COUNTS, MAX_OTHER_RULES, CountKey
from tests.support.asgi import RecordingApp
from tests.support.markdown import DOCS, code_blocks
from tests.support.schemes.badge import Badge
from tests.support.tokens import mint, public_pem, rsa_key

PAGE = DOCS / "counts.md"
KEY, EXPORT, HOOK, EXTENSION = code_blocks("python", PAGE)


def run_block(code: str, **names: object) -> dict[str, Any]:
    """The names after a block of the page has run with these."""
    module = ModuleType("shop")
    vars(module).update(names)
    exec(compile(code, PAGE.name, "exec", dont_inherit=True), vars(module))
    return vars(module)


@pytest.mark.block("counts.md", "@app.get")
@pytest.mark.block("counts.md", "decisions_total{event")
def test_the_route_exports_what_the_page_shows() -> None:
    """After a request without credentials and one with a token, the route answers as the page says."""
    names = run_block(EXPORT, keys=PEM(public_pem(rsa_key())))
    client = TestClient(names["app"])
    now = time.time()
    claims: dict[str, Any] = {"iss": "https://login.example/", "aud": "orders", "roles": ["monitoring"]}
    token = mint(rsa_key(), "RS256", **claims, iat=now - 60, exp=now + 600)

    refused = client.get("/metrics")
    shown = client.get("/metrics", headers={"authorization": f"Bearer {token}"})

    assert (refused.status_code, shown.status_code) == (401, 200)
    assert shown.text == code_blocks("text", PAGE)[0]


@pytest.mark.block("counts.md", "CountKey(event=")
def test_a_key_names_one_kind_of_decision() -> None:
    """The page looks up one count, which is zero before the first such decision."""
    guard = run_block(HOOK, schemes=[Badge()])["guard"]

    names = run_block(KEY, guard=guard)

    assert names["key"] == CountKey("denied", "token.expired", "bearer", "/admin/**")
    assert names["expired"] == 0


@pytest.mark.block("counts.md", "denials(alert)")
def test_the_hook_of_the_page_gets_denials(capsys: pytest.CaptureFixture[str]) -> None:
    """It prints the record of a refused request, and nothing for a granted one."""
    guard = run_block(HOOK, schemes=[Badge()])["guard"]
    client = TestClient(AuthGuardMiddleware(RecordingApp(), guard=guard))

    client.get("/", headers={"authorization": "Badge alice"})
    client.get("/", headers={"authorization": "Badge wrong"})

    assert capsys.readouterr().out == "denied badge.wrong: GET / 401 badge\n"


@pytest.mark.block("counts.md", "guard.add_hook(denials(")
def test_the_extension_of_the_page_gets_denials(capsys: pytest.CaptureFixture[str]) -> None:
    """It adds its hook to a guard that the app has made."""
    guard = Guard(Badge())
    run_block(EXTENSION)["page_the_operator"](guard)
    client = TestClient(AuthGuardMiddleware(RecordingApp(), guard=guard))

    client.get("/", headers={"authorization": "Badge alice"})
    client.get("/", headers={"authorization": "Badge wrong"})

    assert capsys.readouterr().out == "refused: denied badge.wrong: GET / 401 badge\n"


def test_the_bounds_of_the_page_are_those_of_the_code() -> None:
    """The page names how many keys are counted apart."""
    text = PAGE.read_text("utf-8")

    assert f"{MAX_COUNTS:,} keys" in text
    assert f"beyond {MAX_COUNTS + MAX_OTHER_RULES:,}," in text
