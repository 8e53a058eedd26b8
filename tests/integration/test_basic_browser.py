"""Basic in a browser, which asks for a password once and then sends it by itself, whichever site caused the request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

import pytest

from tests.integration.accounts import CHALLENGE, HTPASSWD, JUERGEN, Login, htpasswd_server, new_path, records
from tests.support.servers.app_server import AppServer, running_servers
from tests.support.servers.browser import PROGRAM, Browser, Page

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(PROGRAM is None, reason="chromium is not here"),
    pytest.mark.skipif(HTPASSWD is None, reason="htpasswd is not here"),
]

MISSING = "INFO denied credentials.missing: GET 401"
WRONG = 'WARNING denied password.wrong: GET 401 basic subject?="jürgen"'
GRANTED = 'DEBUG granted: GET basic "jürgen"'
SOCKET = ' websocket="the handshake is answered with the status"'
MINE = '{"by":"jürgen","body":""}'


class BrowserStage(NamedTuple):
    """A server, and a browser."""

    browser: Browser
    server: AppServer
    elsewhere: AppServer

    @property
    def compared(self) -> str:
        """What ``Origin`` is compared with, in a record."""
        return f"host=[{self.server.url.removeprefix('http://')}] origins=[]"

    def logged_in(self) -> Page:
        """A page of the server, in a browser that has learned the password."""
        page = self.browser.page()
        page.logins.append(JUERGEN)
        assert page.open(self.server.url + new_path()).status == 200
        return page

    def foreign(self, host: str) -> tuple[Page, str]:
        """A page of another origin, in a browser that has learned the password of the server, and that origin."""
        page, origin = self.logged_in(), f"http://{host}:{self.elsewhere.port}"
        assert page.open(f"{origin}/health").status == 200
        return page, origin


@pytest.fixture(name="stage", scope="module")
def _stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserStage]:
    start = htpasswd_server(tmp_path_factory.mktemp("apache"))
    with running_servers(start, start) as (server, elsewhere), Browser() as browser:
        yield BrowserStage(browser, server, elsewhere)


def submitted(url: str) -> str:
    """JavaScript that posts a form."""
    form = f'<form method="post" action="{url}"><input name="amount" value="3"></form>'
    return f"document.body.innerHTML = '{form}'; document.forms[0].submit()"


def fetched(url: str, **init: str) -> str:
    """JavaScript that posts with ``fetch`` and returns the status that the page sees."""
    return f"fetch('{url}', { ({'method': 'POST', 'body': 'amount=3', **init})!r}).then(answer => answer.status)"


def greeted(url: str) -> str:
    """JavaScript that opens a WebSocket and returns its first message, or the code with which it is closed."""
    return (
        f"new Promise(done => {{const feed = new WebSocket('{url.replace('http:', 'ws:')}');"
        "feed.onmessage = event => done(event.data); feed.onclose = event => done(event.code)})"
    )


@pytest.mark.parametrize("login", [JUERGEN, JUERGEN.decomposed], ids=["composed", "decomposed"])
def test_a_browser_asks_for_the_password(stage: BrowserStage, login: Login) -> None:
    """The dialog names the realm, and the input is sent in UTF-8, as the challenge asks."""
    page, path = stage.browser.page(), new_path()
    page.logins.append(login)

    response = page.open(stage.server.url + path)

    assert [(one["origin"], one["realm"]) for one in page.login_challenges] == [(stage.server.url, "orders")]
    assert (response.status, page.evaluate("document.body.innerText")) == (200, MINE)
    assert records(stage.server, path, "granted: GET") == [MISSING, GRANTED]


def test_a_browser_takes_the_password_from_the_url(stage: BrowserStage) -> None:
    """A name and a password in a URL answer the first challenge without a dialog."""
    page, path = stage.browser.page(), new_path()

    response = page.open(stage.server.url.replace("//", "//{}:{}@".format(*map(quote, JUERGEN))) + path)

    assert (response.status, page.login_challenges) == (200, [])
    assert records(stage.server, path, "granted: GET") == [MISSING, GRANTED]


def test_a_browser_sends_the_password_to_the_next_page_by_itself(stage: BrowserStage) -> None:
    """A browser asks once for a server, and sends the password with the next page without a challenge."""
    page, path = stage.logged_in(), new_path()

    response = page.open(stage.server.url + path)

    assert (response.status, page.evaluate("document.body.innerText")) == (200, MINE)
    assert len(page.login_challenges) == 1
    assert records(stage.server, path, "granted: GET") == [GRANTED]


def test_a_browser_asks_again_after_a_wrong_password(stage: BrowserStage) -> None:
    """The second 401 opens the dialog again, and the right password is then accepted."""
    page, path = stage.browser.page(), new_path()
    page.logins += [JUERGEN.wrong, JUERGEN]

    response = page.open(stage.server.url + path)

    assert (response.status, len(page.login_challenges)) == (200, 2)
    assert records(stage.server, path, "granted: GET") == [MISSING, WRONG, GRANTED]


@pytest.mark.parametrize(
    ("logins", "told"), [([], [MISSING]), ([JUERGEN.wrong], [MISSING, WRONG])], ids=["at once", "after a wrong one"]
)
def test_a_cancelled_dialog_shows_the_401(stage: BrowserStage, logins: list[Login], told: list[str]) -> None:
    """The page is the body of the 401, which does not say why."""
    page, path = stage.browser.page(), new_path()
    page.logins += logins

    response = page.open(stage.server.url + path)

    assert (response.status, response.headers["www-authenticate"]) == (401, CHALLENGE)
    assert '"detail": "Not authenticated"' in page.evaluate("document.body.innerText")
    assert records(stage.server, path, told[-1].split(" ", 1)[1].partition(" 401")[0]) == told


def test_a_page_of_the_same_origin_may_post(stage: BrowserStage) -> None:
    """A form and a ``fetch`` of the same origin reach the app with the password that the browser adds."""
    page, form, fetch = stage.logged_in(), new_path(), new_path()

    status = page.evaluate(fetched(stage.server.url + fetch))
    response = page.follow(submitted(stage.server.url + form))

    assert (status, response.status) == (200, 200)
    assert page.evaluate("document.body.innerText") == '{"by":"jürgen","body":"amount=3"}'
    for path in (form, fetch):
        assert records(stage.server, path, "granted: POST") == ['DEBUG granted: POST basic "jürgen"']


HOSTS = pytest.mark.parametrize(("host", "site"), [("localhost", "cross-site"), ("127.0.0.1", "same-site")])


@HOSTS
def test_a_form_of_another_origin_is_refused(stage: BrowserStage, host: str, site: str) -> None:
    """The browser adds the password to a form of another origin, and authguard denies it. Another port is another
    origin."""
    (page, origin), path = stage.foreign(host), new_path()

    response = page.follow(submitted(stage.server.url + path))

    assert (response.status, len(page.login_challenges)) == (403, 1)
    assert records(stage.server, path, "denied origin.foreign: POST") == [
        f"WARNING denied origin.foreign: POST 403 basic origin=[{origin}] sec_fetch_site=[{site}] {stage.compared}"
    ]


def test_a_fetch_of_another_origin_is_refused(stage: BrowserStage) -> None:
    """A cross-origin ``fetch`` is denied, and its page does not see the response."""
    (page, origin), path = stage.foreign("127.0.0.1"), new_path()

    shown = page.evaluate(fetched(stage.server.url + path, mode="no-cors", credentials="include"))

    (record,) = records(stage.server, path, "denied origin.foreign: POST")
    assert record == (
        f"WARNING denied origin.foreign: POST 403 basic origin=[{origin}] sec_fetch_site=[same-site] {stage.compared}"
    )
    page.wait_until(lambda: any(one.url.endswith(path) for one in page.responses()), "the response")
    assert (shown, [one.status for one in page.responses() if one.url.endswith(path)]) == (0, [403])


def test_a_fetch_of_another_site_comes_without_the_password(stage: BrowserStage) -> None:
    """Chromium keeps passwords for each site apart, so a cross-site ``fetch`` has none, and opens no dialog."""
    (page, _), path = stage.foreign("localhost"), new_path()

    page.evaluate(fetched(stage.server.url + path, mode="no-cors", credentials="include"))

    assert records(stage.server, path, "denied credentials.missing: POST") == [MISSING.replace("GET", "POST")]
    assert len(page.login_challenges) == 1


@HOSTS
def test_a_link_of_another_origin_is_followed(stage: BrowserStage, host: str, site: str) -> None:
    """A safe method (RFC 9110 section 9.2.1) may come from any origin, or no link would work."""
    (page, _), path = stage.foreign(host), new_path()

    response = page.follow(f"location.href = '{stage.server.url}{path}'")

    assert (response.status, page.evaluate("document.body.innerText")) == (200, MINE)
    assert records(stage.server, path, "granted: GET") == [GRANTED]


def test_a_websocket_of_the_same_origin_is_opened(stage: BrowserStage) -> None:
    """The browser answers the challenge to a handshake from the realm, since a page cannot add a password."""
    page, path = stage.logged_in(), new_path("feed")

    result = page.evaluate(greeted(stage.server.url + path))

    assert (result, len(page.login_challenges)) == ("hello jürgen", 1)
    assert records(stage.server, path, "granted: GET") == [MISSING + SOCKET, GRANTED]


def test_a_websocket_of_another_origin_is_refused(stage: BrowserStage) -> None:
    """Only ``Origin`` identifies the page, because a handshake over plain HTTP has no ``Sec-Fetch-Site``."""
    (page, origin), path = stage.foreign("127.0.0.1"), new_path("feed")

    result = page.evaluate(greeted(stage.server.url + path))

    assert result == 1006
    page.wait_until(lambda: bool(page.events("Network.webSocketFrameError")), "the error of the handshake")
    assert [event["errorMessage"] for event in page.events("Network.webSocketFrameError")] == [
        "Error during WebSocket handshake: Unexpected response code: 403"
    ]
    assert records(stage.server, path, "denied origin.foreign: GET") == [
        MISSING + SOCKET,
        f"WARNING denied origin.foreign: GET 403 basic origin=[{origin}] {stage.compared}{SOCKET}",
    ]


def test_a_page_that_hides_its_origin_may_post_to_its_own_site(stage: BrowserStage) -> None:
    """Under ``no-referrer`` a form of the same origin has ``Origin: null``; ``Sec-Fetch-Site`` tells whose it is."""
    page, path = stage.logged_in(), new_path()
    page.evaluate('document.head.innerHTML = \'<meta name="referrer" content="no-referrer">\'')

    response = page.follow(submitted(stage.server.url + path))

    sent = [event["headers"] for event in page.events("Network.requestWillBeSentExtraInfo")][-1]
    fields = {name.lower(): value for name, value in sent.items()}
    assert (fields["origin"], fields["sec-fetch-site"]) == ("null", "same-origin")
    assert response.status == 200
    assert records(stage.server, path, "granted: POST") == ['DEBUG granted: POST basic "jürgen"']
