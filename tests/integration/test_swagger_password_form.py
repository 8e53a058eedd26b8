"""Swagger UI's password form logs in at the token endpoint of the example, in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.examples.callers import hash_of
from tests.integration.test_swagger_ui import HELPERS
from tests.support.servers.app_server import AppServer, running_servers
from tests.support.servers.browser import PROGRAM, Browser, Page

pytestmark = [pytest.mark.peer, pytest.mark.skipif(PROGRAM is None, reason="chromium is not here")]

#: Fills in the form, and returns what it shows then: an error, or "" after a login.
FORM = """
window.login = async (name, password) => {
  (await seen("button.authorize.unlocked, button.authorize.locked")).click();
  type(await seen("#oauth_username"), name);
  type(await seen("#oauth_password"), password);
  (await seen(".dialog-ux .auth-btn-wrapper button.authorize")).click();
  for (;;) {
    const error = document.querySelector(".dialog-ux .errors");
    const done = document.querySelector(".dialog-ux #oauth_password") === null;
    if (error || done) {
      document.querySelector(".dialog-ux .btn-done").click();
      return error ? error.innerText : "";
    }
    await new Promise(requestAnimationFrame);
  }
};
"""


class FormStage(NamedTuple):
    """A server, and a browser."""

    browser: Browser
    server: AppServer

    def page(self) -> Page:
        """Swagger UI, with the scripts that drive it."""
        page = self.browser.page()
        assert page.open(f"{self.server.url}/swagger").status == 200
        page.evaluate(HELPERS + FORM)
        return page


@pytest.fixture(name="stage", scope="module")
def _stage() -> Iterator[FormStage]:
    settings = {"ALICE_HASH": hash_of("wonderland"), "TOKEN_SECRET": "5f8c1de0a7b94e3d9c6b2f1a08e7d4c3" * 2}
    with running_servers(lambda: AppServer("token_endpoint:app", **settings)) as (server,), Browser() as browser:
        yield FormStage(browser, server)


def test_the_form_gets_a_token_that_the_page_sends(stage: FormStage) -> None:
    """After the login the page sends ``Authorization: Bearer`` with each request."""
    page = stage.page()

    assert page.evaluate("login('alice', 'wonderland')") == ""
    status, text = page.evaluate("execute('orders_orders_get')")
    assert (status, '"orders of": "alice"' in text) == ("200", True)


def test_a_wrong_password_is_shown_in_the_form(stage: FormStage) -> None:
    """The form shows that it failed, the browser opens no dialog of its own, and the log says why."""
    page, before = stage.page(), stage.server.settle()

    assert "Unauthorized" in page.evaluate("login('alice', 'builder')")
    assert page.login_challenges == []
    assert any(
        "denied password.wrong: POST /token 401 password-form" in line for line in stage.server.lines_since(before)
    )
