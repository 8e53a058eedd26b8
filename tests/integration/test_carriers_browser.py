"""Tokens in a real browser: as a subprotocol of a WebSocket, and in Swagger's password form."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.support.servers.app_server import AppServer, running_servers
from tests.support.servers.browser import PROGRAM, Browser, Page
from tests.support.tokens import mint, public_pem, rsa_key

pytestmark = [pytest.mark.peer, pytest.mark.skipif(PROGRAM is None, reason="chromium is not here")]


class SocketStage(NamedTuple):
    """A server, and a page of it."""

    server: AppServer
    page: Page


@pytest.fixture(name="stage", scope="module", params=["websockets", "websockets-sansio", "wsproto"])
def _stage(request: pytest.FixtureRequest) -> Iterator[SocketStage]:
    key = public_pem(rsa_key(2048, 0)).decode()

    def start() -> AppServer:
        return AppServer("browser_socket:app", "--ws", request.param, ISSUER_PUBLIC_KEY=key)

    with running_servers(start) as (server,), Browser() as browser:
        page = browser.page()
        assert page.open(server.url).status == 200
        yield SocketStage(server, page)


def token(**changes: Any) -> str:
    """A token of the example's issuer, valid by the real clock."""
    now = time.time()
    claims = {"iss": "https://login.example/", "aud": "orders", "sub": "alice", "iat": now - 60, "exp": now + 600}
    return mint(rsa_key(2048, 0), **{**claims, **changes})


def seen(page: Page, *offered: str) -> list[str]:
    """What the script of a page sees of a WebSocket that offers these subprotocols."""
    script = (
        "new Promise(done => {const seen = [], socket = new WebSocket(location.origin.replace('http', 'ws') + '/feed',"
        f" {list(offered)!r}); socket.onopen = () => seen.push('open ' + socket.protocol);"
        "socket.onmessage = event => seen.push(event.data);"
        "socket.onclose = event => {seen.push('closed ' + event.code); done(seen)}})"
    )
    result: list[str] = page.evaluate(script)
    return result


def test_a_script_logs_in_with_a_subprotocol(stage: SocketStage) -> None:
    """The browser opens the connection, because the answer names one of its subprotocols; the token is not that one."""
    assert seen(stage.page, "bearer", token()) == ["open bearer", "hello alice", "closed 1000"]


def test_a_script_may_offer_other_subprotocols(stage: SocketStage) -> None:
    """The app picked none of them, so the answer names ``bearer``."""
    assert seen(stage.page, "chat.v2", "bearer", token()) == ["open bearer", "hello alice", "closed 1000"]


@pytest.mark.parametrize(
    ("offered", "reason"),
    [
        (("bearer", "nonsense"), "token.malformed"),
        (("bearer",), "credentials.malformed"),
        ((), "credentials.missing"),
    ],
    ids=["nonsense", "no token", "nothing"],
)
def test_a_script_without_a_good_token_gets_no_connection(
    stage: SocketStage, offered: tuple[str, ...], reason: str
) -> None:
    """The page sees 1006 and no more. The log says why."""
    before = stage.server.settle()

    assert seen(stage.page, *offered) == ["closed 1006"]
    assert any("403" in line or "401" in line for line in stage.server.lines_since(before))


def test_the_button_of_the_page_works(stage: SocketStage) -> None:
    """The page of the example shows what comes."""
    stage.page.evaluate(
        f"document.getElementById('token').value = {token()!r}; document.querySelector('button').click()"
    )
    script = (
        "new Promise(done => {const look = () => {const text = document.getElementById('log').textContent;"
        "text.includes('closed') ? done(text) : requestAnimationFrame(look)}; look()})"
    )

    assert stage.page.evaluate(script) == "open, bearer\nhello alice\nclosed, 1000\n"
