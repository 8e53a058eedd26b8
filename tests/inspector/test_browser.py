"""The page of the inspector in a browser: what it shows and does, and what nobody can make it do."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import tests.docs.proof_refusals
import tests.docs.token_refusals  # noqa: F401 - they register their refusals
from authguard.inspector import event_stream
from authguard.inspector.decision_log import MAX_DECISIONS
from authguard.records.record import Record
from tests.docs.refusals import REFUSALS, Site, bearer, token
from tests.records.test_patterns import denied
from tests.support.clock import NOW
from tests.support.inspected import MOUNT, OPERATOR, InspectedApp, served
from tests.support.servers.browser import PROGRAM, TIMEOUT, Browser, Page
from tests.support.servers.node import NODE_MODULES

pytestmark = [pytest.mark.peer, pytest.mark.skipif(PROGRAM is None, reason="chromium is not here")]

AXE = NODE_MODULES / "axe-core" / "axe.min.js"


@dataclass(frozen=True, slots=True)
class Stage:
    """A served app, and a browser."""

    app: InspectedApp
    url: str
    browser: Browser
    pages: list[Page]

    def open(self, scheme: str = "light") -> Page:
        """The inspector in a new page, as the operator sees it, once it shows the newest refusal and the routes.

        The refusals of before arrive in several parts, the oldest first.
        """
        page = self.browser.page()
        self.pages.append(page)
        page.logins = [OPERATOR]
        page.command("Log.enable")
        page.command("Emulation.setTimezoneOverride", timezoneId="UTC")
        page.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        page.command("Emulation.setDeviceMetricsOverride", width=1440, height=900, deviceScaleFactor=1, mobile=False)
        newest = self.app.log.since(0, with_grants=False)[-1].number
        page.open(f"{self.url}{MOUNT}/")
        wait(page, f"+document.querySelector('#rows button')?.dataset.number >= {newest}")
        wait(page, "document.querySelector('#routes tr')")
        return page

    def close(self) -> None:
        """Close all pages, so that no other test is about them."""
        while self.pages:
            self.pages.pop().command("Page.close")

    def feed(self, *records: Record) -> None:
        """Give these refusals to the inspector, as the guard does."""
        for record in records:
            self.app.log(record)


def wait(page: Page, condition: str) -> Any:
    """Wait until the condition holds in the page, and return its value."""
    look = (
        f"const value = {condition}; if (value) done(value === true ? true : String(value)); else setTimeout(look, 20)"
    )
    return page.evaluate(f"new Promise(done => {{ const look = () => {{ {look} }}; look() }})")


def complaints(page: Page) -> list[str]:
    """What the browser has complained about: exceptions, the policy, files that are not there."""
    entries = [event["entry"]["text"] for event in page.events("Log.entryAdded")]
    exceptions = [str(event["exceptionDetails"]) for event in page.events("Runtime.exceptionThrown")]
    consoled = [str(event["args"]) for event in page.events("Runtime.consoleAPICalled")]
    # The browser asks without a password first.
    return [text for text in (*entries, *exceptions, *consoled) if "status of 401" not in text]


def text_of(page: Page, selector: str) -> str:
    """The text that a person sees there."""
    text: str = page.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")
    return text


def explain(page: Page, number: int) -> str:
    """Open the explanation of a decision, and return its text."""
    button = f'#rows button[data-number="{number}"]'
    wait(page, f"document.querySelector({json.dumps(button)})")
    page.evaluate(f"document.querySelector({json.dumps(button)}).click()")
    return text_of(page, "#detail")


@pytest.fixture(name="theatre", scope="module")
def _theatre() -> Iterator[Stage]:
    """The app after its hour."""
    app = InspectedApp()
    app.live_through_an_hour()
    with served(app.app) as url, Browser() as browser:
        yield Stage(app, url, browser, [])


@pytest.fixture(name="stage")
def _stage(theatre: Stage) -> Iterator[Stage]:
    """The same, without the pages of other tests."""
    yield theatre
    theatre.close()


@pytest.fixture(name="fresh")
def _fresh(stage: Stage) -> Iterator[Stage]:
    """Another app, on which nothing was decided yet."""
    app = InspectedApp()
    app.feed_first()
    with served(app.app) as url:
        here = Stage(app, url, stage.browser, [])
        yield here
        here.close()


# --- what it shows ----------------------------------------------------------------------------------------------------


def test_the_page_shows_what_stands_out(stage: Stage) -> None:
    """After the login dialog of the browser: sentences, the chart, decisions, clocks, keys, routes. It complains of
    nothing, and asks no other host."""
    page = stage.open()

    stands_out = text_of(page, "#bursts")
    assert "27 tokens could not be checked, because keys could not be fetched, since 02:45" in stands_out
    assert "tokens of https://login.example/ expired by 61 to 64 s, since 02:35" in stands_out
    assert "Their clock or yours" in stands_out
    assert "requests had no credentials, from 02:02 to 02:05" in stands_out
    assert "tries many names" in text_of(page, "#clients")
    assert "Ahead by 5 s" in text_of(page, "#clocks")
    assert "the fetch raised OSError" in text_of(page, "#health")
    assert "Give it a rule or a lock" in text_of(page, "#findings")
    assert page.evaluate("document.querySelectorAll('#chart canvas').length") == 1
    assert "token.expired" in page.evaluate("document.getElementById('chart').getAttribute('aria-label')")
    assert complaints(page) == []
    assert {event["request"]["url"].split("/")[2] for event in page.events("Network.requestWillBeSent")} == {
        stage.url.partition("//")[2]
    }


def test_the_page_says_whose_figures_it_shows(stage: Stage) -> None:
    """Several processes have figures of their own."""
    assert f"process {stage.app.log.worker.pid} on {stage.app.log.worker.host}" in text_of(stage.open(), "#worker")


def test_a_decision_appears_while_the_page_is_open(stage: Stage) -> None:
    """The newest is on top, and the list of reasons has its number."""
    page = stage.open()

    stage.feed(denied("order.not_owner", path="/orders/4711"))

    wait(page, "document.querySelector('#rows tr').innerText.includes('/orders/4711')")


def test_what_passed_because_it_is_report_only_is_told_apart(stage: Stage) -> None:
    """Its row, its explanation and the totals say so."""
    page = stage.open()

    stage.feed(denied("role.missing", event="would_deny", status=403, path="/trial"))

    wait(page, "document.querySelector('#rows tr').innerText.includes('/trial')")
    assert "passed (403)" in text_of(page, "#rows tr")
    number = int(page.evaluate("document.querySelector('#rows button').dataset.number"))
    assert "It passed, because what denies it is report-only." in explain(page, number)


def test_a_filter_is_asked_of_the_server(stage: Stage) -> None:
    """The button of a reason shows its decisions alone, also those that were not shown before."""
    page = stage.open()

    page.evaluate("[...document.querySelectorAll('#reasons button')].find(b => b.innerText == 'role.missing').click()")

    wait(page, "document.querySelectorAll('#rows tr').length >= 10")
    reasons = page.evaluate("[...new Set([...document.querySelectorAll('#rows button')].map(b => b.innerText))]")
    assert reasons == ["role.missing"]
    page.evaluate("document.getElementById('clear').click()")
    wait(page, "document.querySelectorAll('#rows tr').length == 100")


def test_grants_are_shown_on_demand(stage: Stage) -> None:
    """Only while the box is ticked does the guard make records of them."""
    page = stage.open()
    page.evaluate("document.querySelector('[name=grants]').click()")

    # The page asks for them after a moment, and what was granted before is lost.
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        stage.app.send(stage.app.token("zoe"), "/orders/1")
        if page.evaluate(
            "new Promise(done => setTimeout(() => done(document.querySelector('#rows').innerText), 20))"
        ).count("zoe"):
            break

    assert "zoe" in text_of(page, "#rows tr")
    assert "granted" in text_of(page, "#rows tr")


def test_a_page_goes_on_where_the_response_ended(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server ends each response after some seconds. Nothing is lost or shown twice, and nobody notices."""
    monkeypatch.setattr(event_stream, "TICKS", 1)
    page = stage.open()
    first = int(wait(page, "document.querySelector('#rows button').dataset.number"))

    for number in range(3):
        stage.feed(denied(subject=f"later{number}"))
        wait(page, f"document.querySelector('#rows tr').innerText.includes('later{number}')")

    numbers = page.evaluate("[...document.querySelectorAll('#rows button')].slice(0, 4).map(b => +b.dataset.number)")
    assert numbers == [first + 3, first + 2, first + 1, first]
    assert text_of(page, "#connection") == "Live"


def test_another_process_begins_the_page_anew(fresh: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """With several workers another one may answer later. The page says so, and mixes no decisions of two."""
    monkeypatch.setattr(event_stream, "TICKS", 1)
    page = fresh.open()
    before = page.evaluate("document.querySelectorAll('#rows tr').length")

    fresh.app.log.renew()
    fresh.app.log.worker = fresh.app.log.worker._replace(pid=4711, host="elsewhere")
    fresh.feed(denied(subject="of the other"))

    wait(page, "document.getElementById('worker').innerText.startsWith('process 4711 on elsewhere')")
    wait(page, "document.querySelectorAll('#rows tr').length == 1")
    assert before > 1
    assert "of the other" in text_of(page, "#rows")


def test_a_list_that_somebody_looks_at_does_not_move(stage: Stage) -> None:
    """A row must not run away from the pointer, and the focus stays where it is."""
    page = stage.open()
    page.evaluate("document.querySelector('#rows button').focus()")
    before = text_of(page, "#rows tr")

    stage.feed(denied(subject="meanwhile"))

    wait(page, "document.getElementById('held').innerText.includes('1 new decision')")
    assert text_of(page, "#rows tr") == before
    page.evaluate("document.activeElement.blur()")
    wait(page, "document.querySelector('#rows tr').innerText.includes('meanwhile')")


def test_a_paused_page_asks_for_nothing(stage: Stage) -> None:
    """And goes on with what came meanwhile."""
    page = stage.open()
    wait(page, "document.getElementById('connection').innerText == 'Live'")
    page.evaluate("document.getElementById('pause').click()")
    assert text_of(page, "#connection") == "Paused"

    stage.feed(denied(subject="while paused"))
    page.evaluate("document.getElementById('pause').click()")

    wait(page, "document.querySelector('#rows tr').innerText.includes('while paused')")


# --- the causes -------------------------------------------------------------------------------------------------------


async def _refused(code: str, name: str) -> Record:
    (refusal,) = [refusal for refusal in REFUSALS[code] if refusal.__name__ == name]
    return await refusal()


async def _expired_by_4_s() -> Record:
    return await Site(bearer(), leeway=0).send(token(exp=NOW - 4))


async def _audience_with_a_slash() -> Record:
    return await Site(bearer()).send(token(aud="orders/"))


#: Causes of a refusal, each with the words by which a person knows the cause and what to do. The twelfth is below.
CAUSES: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "expired by 4 s": (_expired_by_4_s, ["expired_by", "4s", "compare the clocks"]),
    "wrong audience by a slash": (_audience_with_a_slash, ["orders/", "a slash at the end", "audience="]),
    "unknown key": (
        lambda: _refused("key.unknown", "unknown_key"),
        ["kid", "old", "[new]", "compare known with the key set"],
    ),
    "role claim not found": (
        lambda: _refused("role.missing", "dotted_path"),
        ["claim('realm_access.roles')", "absent", 'roles=claim("realm_access", "roles")'],
    ),
    "joined by a proxy": (
        lambda: _refused("credentials.malformed", "joined"),
        ["joined on the way", "let one hop set the field"],
    ),
    "wrong scheme": (
        lambda: _refused("scheme.unsupported", "another_scheme"),
        ["presented", "basic", "[bearer]", "must use one of wanted"],
    ),
    "replayed digest": (lambda: _refused("nonce.replayed", "replay"), ["was used before", "a proxy repeats requests"]),
    "revoked key": (lambda: _refused("api_key.revoked", "revoked_key"), ["revoked"]),
    "idle session": (lambda: _refused("session.idle", "session_idle"), ["idle_by", "200s", "raise Session(idle=)"]),
    "preflight": (lambda: _refused("credentials.missing", "preflight"), ["preflight", "add CORSMiddleware last"]),
    "key server away": (
        lambda: _refused("keys.unavailable", "keys_down"),
        ["login.example/jwks", "the fetch raised OSError", "Look at the server in detail"],
    ),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_a_cause_can_be_named_from_the_page(stage: Stage, cause: str) -> None:
    """What happened, what was found and wanted, and what to do, without the log and the source."""
    refuse, words = CAUSES[cause]
    record = asyncio.run(refuse())
    stage.feed(record)
    number = stage.app.log.since(0)[-1].number

    told = explain(stage.open(), number)

    assert record.reason is not None
    assert told.startswith(record.reason)
    assert "What to do" in told
    assert [word for word in words if word.lower() not in told.lower()] == []


def test_a_header_that_a_proxy_strips_can_be_named_from_the_page(fresh: Stage) -> None:
    """The twelfth cause: one such request could be anybody's, and many of clients that used to log in are a proxy."""
    page = fresh.open()
    fresh.feed(*[asyncio.run(_refused("credentials.missing", "nothing_sent"))] * 25)
    fresh.app.clock.move(2)

    wait(page, "document.querySelectorAll('#bursts li').length == 1")
    told = text_of(page, "#bursts")
    assert "requests had no credentials, since 01:48" in told
    assert "something on the way takes Authorization off: look at the proxy" in told


def test_any_health_of_a_scheme_or_a_store_is_shown(fresh: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store on a server that is away, one of the guard's own, and a scheme of the app."""
    server = {"state": "unavailable", "server": "127.0.0.1:6379", "failures": 3, "last_error": "Connection refused"}
    store = {"state": "unavailable", "epoch": "f00d", "servers": [server]}
    health = {
        "bearer": {"keys": [{"source": "own", "size": 3}], "clocks": {}, "stores": {"nonces": store}},
        "badge": {"queue": {"waiting": 5}, "names": ["a", "b"], "nothing": None, "empty": []},
        "revocations": {**store, "state": "ok"},
        "digest": {"services": []},
        "odd": {"stores": {"proofs": "gone"}},
    }
    monkeypatch.setattr(fresh.app.guard, "health", lambda: health)
    page = fresh.open()
    fresh.app.clock.move(2)

    wait(page, "document.getElementById('health').innerText.includes('Store of nonces')")
    told = text_of(page, "#health")
    assert "Connection refused" in told
    assert "queue.waiting" in told
    assert "gone" in told
    assert "digest" not in told
    assert complaints(page) == []


# --- what nobody can make it do ---------------------------------------------------------------------------------------

PAYLOADS = [
    "<img src=x onerror=pwned()>",
    "<script>pwned()</script>",
    '"><svg onload=pwned()>',
    "'-pwned()-'",
    "javascript:pwned()",
    "{{pwned()}}${pwned()}",
    "</title></style></textarea><iframe srcdoc='<script>parent.pwned()</script>'>",
    "`<b>`[link](javascript:pwned())",
]


def test_nothing_that_a_client_sends_becomes_markup(fresh: Stage) -> None:
    """Payloads as subject, path, client, rule, reason, facts and detail are texts, in the list, in the filters, in the
    rankings, in the sentences and in the explanation."""
    page = fresh.open()
    elements = "document.querySelectorAll('img, iframe, script, style, object, a').length"
    page.evaluate(f"window.hits = 0, window.pwned = () => window.hits++, window.before = {elements}")
    records = [
        denied(
            payload,
            subject=payload,
            path=payload,
            client=payload,
            rule=payload,
            scheme=payload,
            status=503,
            requirement=payload,
            missing=(payload,),
            facts={payload: payload, "detail": payload, "problem": payload},
        )
        for payload in PAYLOADS
    ]
    fresh.feed(*records * 20)
    last = fresh.app.log.since(0)[-1].number
    fresh.app.clock.move(2)

    wait(page, f"document.querySelectorAll('#bursts li').length == {len(PAYLOADS)}")
    for number, payload in enumerate(PAYLOADS, last - len(PAYLOADS) + 1):
        assert payload.replace("`", "") in explain(page, number).replace("`", "")
    names = page.evaluate("[...document.querySelectorAll('#subjects button')].map(b => b.textContent)")

    assert set(names) <= set(PAYLOADS)
    assert page.evaluate("window.hits") == 0
    assert page.evaluate(f"{elements} - window.before") == 0
    with_handlers = (
        "[...document.querySelectorAll('*')].filter(e => e.getAttributeNames().some(a => a.startsWith('on')))"
    )
    assert page.evaluate(f"{with_handlers}.length") == 0
    assert complaints(page) == []


def test_payloads_of_real_requests_are_texts(fresh: Stage) -> None:
    """A path, a name and a token that a client really sends."""
    page = fresh.open()
    page.evaluate("window.hits = 0, window.pwned = () => window.hits++")

    fresh.app.send(fresh.app.token("<img src=x onerror=pwned()>", roles=[]), "/orders/<script>pwned()</script>")
    fresh.app.send("Basic PGltZyBzcmM9eCBvbmVycm9yPXB3bmVkKCk+Ong=")  # <img src=x onerror=pwned()>:x
    fresh.app.send(fresh.app.token(iss="<svg onload=pwned()>", aud=["<b>"]))

    wait(page, "document.querySelectorAll('#rows tr').length >= 4")
    for decision in fresh.app.log.since(1):
        explain(page, decision.number)
    assert "<script>pwned()</script>" in text_of(page, "#rows")
    assert "<img src=x onerror=pwned()>" in text_of(page, "#rows")
    assert "<svg onload=pwned()>" in page.evaluate("document.getElementById('rows').textContent")
    assert page.evaluate("window.hits") == 0
    assert page.evaluate("document.querySelectorAll('img, svg [onload], #rows b').length") == 0


def test_the_browser_forbids_markup_and_scripts(stage: Stage) -> None:
    """Even a script of the page could make no markup of a text, and none of anybody else runs."""
    page = stage.open()
    attempts = {
        "markup": "document.createElement('p').innerHTML = '<b>x</b>'",
        "script": "document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = 1'}))",
        "host": "fetch('https://elsewhere.example/')",
    }
    for attempt in attempts.values():
        count = "window.refused = (window.refused || 0) + 1"
        page.evaluate(f"(async () => {{ try {{ await ({attempt}) }} catch {{ {count} }} }})()")

    assert page.evaluate("window.refused") == len(attempts)
    assert page.evaluate("window.ran") is None
    page.wait_until(lambda: any("Trusted" in text for text in complaints(page)), "the complaint about the markup")


# --- keyboard, screen reader, dark ------------------------------------------------------------------------------------


def press(page: Page, key: str, code: int) -> None:
    """Press a key."""
    options = {"key": key, "code": key, "windowsVirtualKeyCode": code, **({"text": "\r"} if key == "Enter" else {})}
    page.command("Input.dispatchKeyEvent", type="keyDown", **options)
    page.command("Input.dispatchKeyEvent", type="keyUp", **options)


def test_the_keyboard_reaches_everything(stage: Stage) -> None:
    """The first key leads to the decisions; the arrows go through them, Enter explains one, and Escape comes back."""
    page = stage.open()
    page.command("Page.bringToFront")

    press(page, "Tab", 9)
    assert page.evaluate("document.activeElement.className") == "skip"
    page.evaluate("document.querySelector('#rows button').focus()")
    press(page, "ArrowDown", 40)
    number = page.evaluate("document.activeElement.dataset.number")
    press(page, "Enter", 13)
    assert page.evaluate("[document.activeElement.id, document.getElementById('detail').hidden]") == ["detail", False]
    press(page, "Escape", 27)
    assert page.evaluate("[document.activeElement.dataset.number, document.getElementById('detail').hidden]") == [
        number,
        True,
    ]


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_axe_finds_nothing(stage: Stage, scheme: str, width: int) -> None:
    """Contrast, names, roles, order and focus, with an explanation open, on a wide screen and on a telephone."""
    page = stage.open(scheme)
    page.command("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    explain(page, int(wait(page, "document.querySelector('#rows button').dataset.number")))
    page.evaluate(f"{AXE.read_text('utf-8')}; 0")

    shown = "[v.id, v.impact, v.nodes.map(n => n.html + ' ' + n.failureSummary).slice(0, 3)]"
    # It need not fetch styles and media once more.
    options = "{resultTypes: ['violations'], preload: false}"
    found = page.evaluate(f"axe.run(document, {options}).then(result => result.violations.map(v => {shown}))")

    assert found == []


def test_dark_mode_is_dark(stage: Stage) -> None:
    """The page follows the system."""
    grounds = [
        stage.open(scheme).evaluate("getComputedStyle(document.documentElement).backgroundColor")
        for scheme in ("light", "dark")
    ]

    assert grounds == ["rgb(251, 251, 250)", "rgb(17, 19, 22)"]


def test_a_narrow_page_does_not_scroll_sideways(stage: Stage) -> None:
    """On a telephone at 3 a.m., only the lists do."""
    page = stage.open()
    page.command("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)

    assert page.evaluate("document.documentElement.scrollWidth") <= 390


# --- a flood ----------------------------------------------------------------------------------------------------------


def test_a_flood_is_shown_and_stays_small(fresh: Stage) -> None:
    """A thousand decisions at each look: the page shows the newest, says that it was not sent all, and neither it nor
    the log grows."""
    page = fresh.open()
    stop = threading.Event()
    fed: list[int] = []

    def flood() -> None:
        while not stop.is_set():
            for number in range(100):
                fresh.feed(denied(subject=f"user{number}", path=f"/orders/{len(fed)}"))
            fed.append(100)
            stop.wait(0.1)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        wait(page, "document.getElementById('held').innerText.includes('came too fast')")
        wait(page, "document.querySelectorAll('#rows tr').length == 100")
        page.evaluate("document.querySelector('#rows button').click()")  # in one step: the list moves
        told = text_of(page, "#detail")
    finally:
        stop.set()
        thread.join()

    assert told.startswith("token.expired")
    assert page.evaluate("document.querySelectorAll('#rows tr').length") == 100
    kept = fresh.app.log.since(0, with_grants=True)
    assert sum(decision.record.subject_proven for decision in kept) <= MAX_DECISIONS
    assert complaints(page) == []
