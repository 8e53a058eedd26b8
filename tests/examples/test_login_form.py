"""The example with a login form: a browser's way through it, without a browser."""

from __future__ import annotations

from types import ModuleType

import pytest
from starlette.testclient import TestClient

from authguard import LibpassHasher
from authguard.audit.audit import audit
from tests.examples.conftest import Start

LOGIN = {"name": "alice", "password": "wonderland"}


@pytest.fixture(name="shop")
def _shop(start: Start) -> ModuleType:
    return start("login_form", SESSION_SECRET="s" * 32, ALICE_HASH=LibpassHasher().hash("wonderland"))


@pytest.fixture(name="browser")
def _browser(shop: ModuleType) -> TestClient:
    return TestClient(shop.app, base_url="https://shop.example", headers={"Sec-Fetch-Mode": "navigate"})


@pytest.mark.parametrize("login", [{"name": "alice", "password": "no"}, {"name": "bob", "password": "wonderland"}])
def test_a_wrong_login_is_told_on_the_page(browser: TestClient, login: dict[str, str]) -> None:
    """An unknown name reads like a wrong password, and neither begins a session."""
    page = browser.post("/login", data=login)

    assert ("Wrong name or password" in page.text, dict(browser.cookies)) == (True, {})


def test_a_login_leads_to_the_page_and_a_log_out_ends_every_copy(browser: TestClient) -> None:
    """A copy of the cookie is refused after the log-out."""
    page = browser.get("/orders")
    page = browser.post(page.url, data=LOGIN)
    assert (page.url.path, "Orders of alice" in page.text) == ("/orders", True)
    assert "alice orders tea" in browser.post("/orders", data={"item": "tea"}).text
    copy = browser.cookies["shop"]

    assert browser.post("/logout").url.path == "/login"
    assert dict(browser.cookies) == {}
    browser.cookies.set("shop", copy)
    assert browser.get("/orders").url.path == "/login"


def test_the_audit_has_no_finding_about_the_session(shop: ModuleType) -> None:
    """The middleware is outside of the guard, and its options are safe."""
    assert [finding for finding in audit(shop.app, shop.guard).findings if finding.code.startswith("session")] == []


def test_the_cookie_is_safe(browser: TestClient) -> None:
    """HttpOnly, Secure, SameSite, and no Domain."""
    answer = browser.post("/login", data=LOGIN, follow_redirects=False)

    flags = answer.headers["set-cookie"].lower()
    assert all(flag in flags for flag in ("httponly", "secure", "samesite=lax"))
    assert "domain" not in flags


def test_a_payment_needs_a_fresh_login(browser: TestClient) -> None:
    """The login of just now is one."""
    browser.post("/login", data=LOGIN)

    assert "alice pays" in browser.get("/pay").text
    assert "Welcome alice" in browser.get("/").text
