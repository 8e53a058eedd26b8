"""Swagger UI in a browser: the OpenAPI document has all that its Authorize and Execute need."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import pytest

from tests.support.servers.app_server import AppServer, app_token, running_servers
from tests.support.servers.browser import PROGRAM, Browser, Page

pytestmark = [pytest.mark.peer, pytest.mark.skipif(PROGRAM is None, reason="chromium is not here")]

# React notices a value only if it is set with the element's own setter.
HELPERS = """
window.seen = async (selector, root = document) => {
  for (;;) {
    const found = root.querySelector(selector);
    if (found) return found;
    await new Promise(requestAnimationFrame);
  }
};
window.type = (input, text) => {
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(input, text);
  input.dispatchEvent(new Event("input", {bubbles: true}));
};
window.authorize = async (fields) => {
  (await seen("button.authorize.unlocked, button.authorize.locked")).click();
  for (const [label, text] of fields) type(await seen(`.dialog-ux input${label}`), text);
  for (const form of document.querySelectorAll(".dialog-ux form"))
    if ([...form.querySelectorAll("input")].some(input => input.value)) form.querySelector("button.authorize").click();
  (await seen(".dialog-ux .btn-done")).click();
};
window.execute = async (operation) => {
  const block = await seen(`#operations-default-${operation}`);
  block.querySelector(".opblock-summary-control").click();
  (await seen(".try-out__btn", block)).click();
  (await seen(".execute", block)).click();
  const answer = await seen(".live-responses-table .response", block);
  return [answer.querySelector(".response-col_status").innerText.trim(), answer.innerText];
};
"""


class SwaggerStage(NamedTuple):
    """A server, and a browser."""

    browser: Browser
    server: AppServer

    def page(self) -> Page:
        """Swagger UI, with the scripts that drive it."""
        page = self.browser.page()
        assert page.open(f"{self.server.url}/swagger").status == 200
        page.evaluate(HELPERS)
        return page


@pytest.fixture(name="stage", scope="module")
def _stage() -> Iterator[SwaggerStage]:
    with running_servers(partial(AppServer, "shop:app")) as (server,), Browser() as browser:
        yield SwaggerStage(browser, server)


def authorized(page: Page, *fields: tuple[str, str]) -> Page:
    """The page, after these credentials were entered."""
    page.evaluate(f"authorize({json.dumps(fields)})")
    return page


def executed(page: Page, operation: str) -> tuple[str, str]:
    """The status that the page shows, and the text beside it."""
    status, text = page.evaluate(f"execute('{operation}')")
    return status, text


def bearer(who: str, *roles: str) -> tuple[str, str]:
    """The field for a token. The fields of the other scheme have names."""
    return "[type=text]:not([name])", app_token(who, *roles)


def basic(who: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """The fields for a name and a password."""
    return ("[name=username]", who), ("[name=password]", who)


def test_without_credentials_the_page_shows_the_401(stage: SwaggerStage) -> None:
    """The page shows the challenge. The browser's own dialog for Basic was cancelled before."""
    page = stage.page()

    status, text = executed(page, "mine_mine_get")

    assert (status, [one["scheme"] for one in page.login_challenges]) == ("401", ["basic"])
    assert "Not authenticated" in text
    assert 'www-authenticate: Bearer realm="orders"' in text


def test_a_token_that_is_entered_is_sent(stage: SwaggerStage) -> None:
    """The dialog has a field for a token, because the document has a Bearer scheme."""
    status, text = executed(authorized(stage.page(), bearer("alice")), "mine_mine_get")

    assert status == "200"
    assert '"of": "alice"' in text


def test_a_name_and_a_password_that_are_entered_are_sent(stage: SwaggerStage) -> None:
    """The dialog has fields for a name and a password, because the document has a Basic scheme."""
    status, text = executed(authorized(stage.page(), *basic("bob")), "mine_mine_get")

    assert status == "200"
    assert '"of": "bob"' in text


@pytest.mark.parametrize(("operation", "scheme"), [("proved_tokens_get", "bearer"), ("proved_passwords_get", "basic")])
def test_the_page_sends_the_credentials_that_the_operation_accepts(
    stage: SwaggerStage, operation: str, scheme: str
) -> None:
    """The document lists the accepted schemes of each operation."""
    status, text = executed(authorized(stage.page(), bearer("alice"), *basic("bob")), operation)

    assert (status, f'"{scheme}"' in text) == ("200", True)


def test_a_public_operation_is_sent_no_credentials(stage: SwaggerStage) -> None:
    """The list of schemes of a public operation is empty."""
    status, text = executed(authorized(stage.page(), bearer("alice")), "health_health_get")

    assert status == "200"
    assert "Authorization" not in text


def test_each_operation_shows_whether_it_is_locked(stage: SwaggerStage) -> None:
    """Protected operations have a padlock, and public ones have none."""
    page = stage.page()
    page.evaluate("seen('#operations-default-health_health_get').then(() => true)")

    locked = page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.opblock')].map("
        "block => [block.id.replace('operations-default-', ''), !!block.querySelector('.authorization__btn')]))"
    )

    assert locked.pop("health_health_get") is False
    assert set(locked.values()) == {True}
