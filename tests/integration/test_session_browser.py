"""A session in a browser: the login form, the time-outs, other sites, and the back button after the log-out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from authguard import LibpassHasher
from tests.support.servers.app_server import AppServer, running_servers
from tests.support.servers.browser import PROGRAM, Browser, Page, Response

pytestmark = [pytest.mark.peer, pytest.mark.skipif(PROGRAM is None, reason="chromium is not here")]

PASSWORD = "wonderland"
ICON = "/favicon.ico"


class Stage(NamedTuple):
    """Two servers of the shop on two ports, a browser, and the file that moves their clock."""

    browser: Browser
    server: AppServer
    elsewhere: AppServer
    ahead: Path

    def move(self, seconds: float) -> None:
        """Move the clock of the servers."""
        self.ahead.write_text(str(float(self.ahead.read_text()) + seconds))

    def logged_in(self, path: str = "/orders") -> Page:
        """A page that was opened without a session, and that the login form has led back to."""
        page = self.browser.page()
        page.open(self.server.url + path)
        log_in(page)
        return page

    def records(self, since: int) -> list[str]:
        """The lines of the guard since then, without those of grants and of the icon that the browser asks for."""
        lines = [line.partition(":authguard:") for line in self.server.lines_since(since)]
        return [record for _, ours, record in lines if ours and "granted" not in record and ICON not in record]


@pytest.fixture(name="stage", scope="module")
def _stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    ahead = tmp_path_factory.mktemp("clock") / "ahead"
    ahead.write_text("0")
    settings = {
        "TEST_AHEAD": str(ahead),
        "SESSION_SECRET": "s" * 32,
        "ALICE_HASH": LibpassHasher().hash(PASSWORD),
        "INSECURE_COOKIE": "1",
    }
    start = partial(AppServer, "login_form:app", **settings)
    with running_servers(start, start) as (server, elsewhere), Browser() as browser:
        yield Stage(browser, server, elsewhere, ahead)


def log_in(page: Page, password: str = PASSWORD) -> Response:
    """Fill in the login form, send it, and return what the browser shows then."""
    fill = f"const form = document.forms[0]; form.name.value = 'alice'; form.password.value = '{password}'"
    return page.follow(f"(() => {{ {fill}; form.submit() }})()")


def text(page: Page) -> str:
    """The text of the page, without its forms."""
    shown: str = page.evaluate("document.querySelector('p').innerText")
    return shown


def place(page: Page) -> str:
    """The path and the query of the page."""
    parts = urlsplit(str(page.evaluate("location.href")))
    return parts.path + (f"?{parts.query}" if parts.query else "")


def submit(url: str) -> str:
    """JavaScript that posts a form, with all that an order and a login ask for."""
    form = f'<form method="post" action="{url}"><input name="item"><input name="name" value="alice">'
    form += f'<input name="password" value="{PASSWORD}"></form>'
    return f"document.body.innerHTML = '{form}'; document.forms[0].submit()"


def test_a_browser_logs_in_and_comes_back(stage: Stage) -> None:
    """The login page knows where the browser wanted to go, and no dialog opens."""
    page, since = stage.browser.page(), stage.server.settle()
    page.open(stage.server.url + "/orders?page=2")
    assert (text(page), place(page)) == ("Please log in", "/login?next=/orders%3Fpage%3D2")

    log_in(page, "wrong")
    assert (text(page), place(page)) == ("Wrong name or password", "/login?next=/orders%3Fpage%3D2")
    log_in(page)

    assert (text(page), place(page), page.login_challenges) == ("Orders of alice", "/orders?page=2", [])
    assert stage.records(since) == ["denied login.required: GET /orders 303 cause=credentials.missing"]


def test_an_idle_session_leads_to_the_login(stage: Stage) -> None:
    """Half an hour without a request is too long. The record says so, and the login leads back."""
    page, since = stage.logged_in(), stage.server.settle()
    stage.move(1860)

    page.open(stage.server.url + "/orders")

    assert place(page) == "/login?next=/orders"
    (record,) = stage.records(since)
    assert record.startswith("denied login.required: GET /orders 303 session alice cause=session.idle idle_by=")
    log_in(page)
    assert text(page) == "Orders of alice"


def test_a_session_that_is_used_ends_after_eight_hours(stage: Stage) -> None:
    """Twenty requests keep it from being idle, and the twentieth is too late."""
    page = stage.logged_in()
    for _ in range(19):
        stage.move(1500)
        page.open(stage.server.url + "/orders")
        assert text(page) == "Orders of alice"
    since = stage.server.settle()
    stage.move(1500)

    page.open(stage.server.url + "/orders")

    assert text(page) == "Please log in"
    (record,) = stage.records(since)
    assert "session alice cause=session.expired expired_by=" in record


def test_a_fresh_login_is_asked_for_where_it_is_needed(stage: Stage) -> None:
    """``step_up`` sends the browser to the login page, although it has a session, and back."""
    page = stage.logged_in()
    stage.move(600)
    page.open(stage.server.url + "/pay")
    assert place(page) == "/login?next=/pay"

    log_in(page)

    assert text(page) == "alice pays"


def test_a_script_is_told_401(stage: Stage) -> None:
    """``fetch`` is not sent to a page, and no dialog opens."""
    page = stage.browser.page()
    page.open(stage.server.url + "/login")

    status = page.evaluate("fetch('/orders', {headers: {accept: 'text/html'}}).then(answer => answer.status)")

    assert (status, page.login_challenges) == (401, [])


def test_a_form_of_the_shop_is_accepted(stage: Stage) -> None:
    """It has no hidden token: the browser says which site has sent it."""
    page = stage.logged_in()

    assert page.follow("document.forms[0].submit()").status == 200
    assert text(page) == "alice orders tea"


@pytest.mark.parametrize(("host", "path"), [("127.0.0.1", "/orders"), ("127.0.0.1", "/login"), ("localhost", "/login")])
def test_a_form_of_another_origin_is_refused(stage: Stage, host: str, path: str) -> None:
    """Another port is another origin of the same site, to which the browser sends the cookie. A login by another site
    is refused too, though the page is open."""
    page = stage.logged_in()
    page.open(f"http://{host}:{stage.elsewhere.port}/login")
    since = stage.server.settle()

    response = page.follow(submit(stage.server.url + path))

    (record,) = stage.records(since)
    assert (response.status, record.partition(":")[0]) == (403, "denied origin.foreign")


@pytest.mark.parametrize(
    "target", ["//evil.example/", "/%5Cevil.example", "https://evil.example/", "/%09/evil.example"]
)
def test_the_login_leads_to_no_other_site(stage: Stage, target: str) -> None:
    """Somebody else has written ``next`` into the link: the browser stays on this site."""
    page = stage.browser.page()
    page.open(f"{stage.server.url}/login?next={target}")

    log_in(page)

    assert (page.evaluate("location.origin"), place(page)) == (stage.server.url, "/")
    assert text(page) == "Welcome alice"


def test_the_back_button_shows_nothing_after_the_log_out(stage: Stage) -> None:
    """The page was not stored, so the browser asks for it again, and is sent to the login page."""
    page = stage.logged_in()
    page.command("Network.setCacheDisabled", cacheDisabled=False)
    page.open(stage.server.url + "/orders")
    page.follow("document.forms[1].submit()")
    assert place(page) == "/login"

    page.follow("history.back()")

    assert (text(page), place(page)) == ("Please log in", "/login?next=/orders")


def test_a_copy_of_the_cookie_is_refused_after_the_log_out(stage: Stage) -> None:
    """Somebody has kept the cookie: the log-out was entered, so it is good for nothing."""
    page = stage.logged_in()
    (cookie,) = page.command("Network.getCookies", urls=[stage.server.url])["cookies"]
    page.follow("document.forms[1].submit()")
    since = stage.server.settle()
    page.command("Network.setCookie", name=cookie["name"], value=cookie["value"], url=stage.server.url)

    page.open(stage.server.url + "/orders")

    assert text(page) == "Please log in"
    (record,) = stage.records(since)
    assert "session alice cause=session.revoked" in record
