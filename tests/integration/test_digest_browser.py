"""Digest in a browser: one dialog for a password, and no further dialog when a nonce has expired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.integration.accounts import ALICE, JUERGEN, Login
from tests.integration.apps.common import DIGEST_SECRET
from tests.integration.digest_servers import (
    CHALLENGED,
    GRANTED,
    LIFE,
    REPLAYED,
    SECRET,
    STALE,
    UNKNOWN,
    WRONG,
    advance_clock,
    new_folder,
    server_records,
)
from tests.support.servers.app_server import AppServer, running_servers
from tests.support.servers.browser import PROGRAM, Browser, Page

pytestmark = [pytest.mark.peer, pytest.mark.skipif(PROGRAM is None, reason="chromium is not here")]

AT_ONCE = 20


class BrowserStage(NamedTuple):
    """A server, and a browser."""

    browser: Browser
    server: AppServer

    def logged_in(self, login: Login = ALICE) -> tuple[Page, str]:
        """A page in a browser that has learned the password, and its folder."""
        page, here = self.browser.page(), self.server.url + new_folder()
        page.logins.append(login)
        advance_clock(self.server, LIFE)
        assert page.open(f"{here}/first.txt").status == 200
        assert [(one["scheme"], one["realm"]) for one in page.login_challenges] == [("digest", "cameras")]
        assert responses_since(self.server) == [CHALLENGED, GRANTED]
        return page, here


def responses_since(server: AppServer) -> list[str]:
    """How the server has answered since the last call."""
    return [one.said for one in server_records(server)]


def fetched(here: str, count: int) -> str:
    """JavaScript that fetches so many paths at once and returns their statuses."""
    one = f"fetch('{here}/' + number + '.txt').then(answer => answer.status)"
    return f"Promise.all(Array.from({{length: {count}}}, (_, number) => {one}))"


@pytest.fixture(name="stage", scope="module")
def _stage() -> Iterator[BrowserStage]:
    with running_servers(partial(AppServer, "digest:app", **SECRET)) as (server,), Browser() as browser:
        yield BrowserStage(browser, server)


def test_a_browser_asks_for_the_password_once(stage: BrowserStage) -> None:
    """The next page, a query and a POST are accepted without a 401."""
    page, here = stage.logged_in()

    opened = page.open(f"{here}/a%2Fb.txt?x=%20y&z=a/b&%C3%BC=%c3%bc&&")
    posted = page.evaluate(f"fetch('{here}/posted', {{method: 'POST', body: 'a=ü'}}).then(answer => answer.text())")

    assert (opened.status, posted, len(page.login_challenges)) == (200, '{"by":"alice","body":"a=ü"}', 1)
    assert responses_since(stage.server) == [GRANTED, GRANTED]


def test_a_name_outside_ascii_is_accepted(stage: BrowserStage) -> None:
    """The name is sent in UTF-8, as the challenge asks."""
    page, _ = stage.logged_in(JUERGEN)

    assert page.evaluate("document.body.innerText") == '{"by":"jürgen","body":""}'


def test_twenty_requests_at_once_share_a_nonce(stage: BrowserStage) -> None:
    """Twenty parallel requests over several connections, in any order, are accepted without a 401."""
    page, here = stage.logged_in()

    statuses = page.evaluate(fetched(here, AT_ONCE))

    assert (statuses, len(page.login_challenges)) == ([200] * AT_ONCE, 1)
    assert responses_since(stage.server) == [GRANTED] * AT_ONCE


def test_an_aged_nonce_costs_one_round_trip_and_no_dialog(stage: BrowserStage) -> None:
    """The page is loaded, and the requests after it use the new nonce."""
    page, here = stage.logged_in()
    advance_clock(stage.server, LIFE + 1)

    response = page.open(f"{here}/aged.txt")

    assert (response.status, page.evaluate(fetched(here, AT_ONCE)), len(page.login_challenges)) == (
        200,
        [200] * AT_ONCE,
        1,
    )
    assert responses_since(stage.server) == [STALE, *[GRANTED] * (AT_ONCE + 1)]


def test_a_nonce_that_aged_under_many_requests_opens_no_dialog(stage: BrowserStage) -> None:
    """Parallel requests with an expired nonce are challenged once more, and all of them succeed."""
    page, here = stage.logged_in()
    advance_clock(stage.server, LIFE + 1)

    statuses = page.evaluate(fetched(here, AT_ONCE))

    counted = Counter(responses_since(stage.server))
    assert (statuses, len(page.login_challenges)) == ([200] * AT_ONCE, 1)
    assert counted[GRANTED] == AT_ONCE
    # While the browser changes its nonce it may use a count twice.
    assert counted.keys() - {REPLAYED} == {GRANTED, STALE}
    assert counted.total() - counted[GRANTED] <= 2 * AT_ONCE


def test_a_wrong_password_is_asked_for_again(stage: BrowserStage) -> None:
    """The 401 is not stale, so the dialog opens again, and the right password is then accepted."""
    page = stage.browser.page()
    page.logins += [ALICE.wrong, ALICE]

    response = page.open(f"{stage.server.url}{new_folder()}/wrong.txt")

    assert (response.status, len(page.login_challenges)) == (200, 2)
    assert responses_since(stage.server) == [CHALLENGED, WRONG, GRANTED]


def test_a_redeploy_with_another_secret_opens_no_dialog(stage: BrowserStage) -> None:
    """A nonce of the old secret with a right response is stale, so no dialog opens."""
    page = stage.browser.page()
    page.logins.append(ALICE)
    with running_servers(partial(AppServer, "digest:app", **SECRET)) as (old,):
        here = old.url + new_folder()
        assert page.open(f"{here}/before.txt").status == 200
    again = partial(AppServer, "digest:app", "--port", str(urlsplit(here).port))
    with running_servers(partial(again, **{DIGEST_SECRET: "another secret that has at least 32 octets"})) as (new,):
        response = page.open(f"{here}/after.txt")

        assert (response.status, len(page.login_challenges)) == (200, 1)
        assert responses_since(new) == [UNKNOWN, GRANTED]
