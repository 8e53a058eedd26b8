"""Chromium without a window, driven over the DevTools protocol: only a browser shows what browsers do by themselves.

https://chromedevtools.github.io/devtools-protocol/

One thread keeps Chromium's stderr from filling up. There is no other: events are read, and paused requests continue,
while a call of this module waits.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple, Self

from websockets.sync.client import connect

PROGRAM = shutil.which("chromium")
TIMEOUT = 120.0

# Containers run their tests as root, which cannot use the sandbox; all pages are the tests' own. The other options stop
# requests of the browser to its vendor.
_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server"),
    "--remote-debugging-port=0",
)
_LISTENS = "DevTools listening on "


class Response(NamedTuple):
    """A response that reached the page. A challenge that the browser answered is not one: see
    ``Page.login_challenges``."""

    url: str
    status: int
    headers: Mapping[str, str]


class Browser:
    """A Chromium with a fresh profile: ``with Browser() as browser: browser.page().open(url)``."""

    def __init__(self) -> None:
        self._number = 0
        self._replies: dict[int, dict[str, Any]] = {}
        self._pages: dict[str, Page] = {}
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        assert PROGRAM is not None, "chromium is not here"
        with ExitStack() as closing:
            # Child processes may still write after it has ended.
            home = closing.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
            self._process = subprocess.Popen(
                [PROGRAM, *_OPTIONS, f"--user-data-dir={home}/profile", "about:blank"],
                env={**os.environ, "HOME": home},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="backslashreplace",
            )
            listens: queue.SimpleQueue[str] = queue.SimpleQueue()
            self._reader = threading.Thread(target=self._read, args=(listens,), daemon=True)
            self._reader.start()
            closing.callback(self._end)
            url = listens.get(timeout=TIMEOUT)
            assert url, "chromium ended before it listened"
            # A message may be as large as the value of an expression.
            self._socket = closing.enter_context(connect(url, proxy=None, compression=None, max_size=None))
            self._closing = closing.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def page(self) -> Page:
        """A page that shares neither cookies nor passwords with any other."""
        context = self.command("Target.createBrowserContext")["browserContextId"]
        target = self.command("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        page.enable_events()
        return page

    def command(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Run a command of the protocol and return its result. Raises ``AssertionError`` if it fails."""
        number = self.send(method, session, **parameters)
        self.wait_until(lambda: number in self._replies, method)
        reply = self._replies.pop(number)
        assert "error" not in reply, f"{method}: {reply['error']}"
        result: dict[str, Any] = reply["result"]
        return result

    def send(self, method: str, session: str | None = None, **parameters: Any) -> int:
        """Send a command without waiting for its result, and return its number."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message if session is None else {**message, "sessionId": session}))
        return self._number

    def wait_until(self, holds: Callable[[], bool], what: str) -> None:
        """Read events until the condition holds. Raises ``TimeoutError`` if that takes too long."""
        deadline = time.monotonic() + TIMEOUT
        while not holds():
            try:
                message = json.loads(self._socket.recv(timeout=max(0.0, deadline - time.monotonic())))
            except TimeoutError:
                raise TimeoutError(f"chromium: waited in vain for {what}") from None
            if "id" in message:
                self._replies[message["id"]] = message
            elif (page := self._pages.get(message.get("sessionId", ""))) is not None:
                page.receive_event(message["method"], message["params"])

    def _read(self, listens: queue.SimpleQueue[str]) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                if line.startswith(_LISTENS):
                    listens.put(line.removeprefix(_LISTENS).strip())
        listens.put("")

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(TIMEOUT)


class Page:
    """A page, and all its events so far.

    ``logins`` are the names and passwords for the next login dialogs, in this order. If none is left, a dialog is
    cancelled.
    """

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session
        self._events: list[tuple[str, dict[str, Any]]] = []
        self.logins: list[tuple[str, str]] = []

    def enable_events(self) -> None:
        """Subscribe to the page's events, and pause its requests: a login dialog can be answered only for a paused
        request."""
        for domain in ("Page", "Network", "Runtime"):
            self.command(f"{domain}.enable")
        self.command("Page.setLifecycleEventsEnabled", enabled=True)
        self.command("Network.setCacheDisabled", cacheDisabled=True)
        self.command("Fetch.enable", handleAuthRequests=True)

    def receive_event(self, method: str, params: dict[str, Any]) -> None:
        """Take in an event. The browser calls this."""
        self._events.append((method, params))
        if method == "Fetch.requestPaused":
            self._browser.send("Fetch.continueRequest", self._session, requestId=params["requestId"])
        elif method == "Fetch.authRequired":
            answer = {"response": "CancelAuth"}
            if self.logins:
                name, password = self.logins.pop(0)
                answer = {"response": "ProvideCredentials", "username": name, "password": password}
            command = {"requestId": params["requestId"], "authChallengeResponse": answer}
            self._browser.send("Fetch.continueWithAuth", self._session, **command)

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Run a command of the protocol on this page and return its result."""
        return self._browser.command(method, self._session, **parameters)

    def events(self, method: str) -> list[dict[str, Any]]:
        """The events with this name. ``Network.webSocketFrameError``, for one, says why a handshake failed."""
        return [told for name, told in self._events if name == method]

    def wait_until(self, holds: Callable[[], bool], what: str) -> None:
        """Read events until the condition holds: those about a response may come after a script has its result."""
        self._browser.wait_until(holds, what)

    @property
    def login_challenges(self) -> list[dict[str, str]]:
        """The challenges that opened a login dialog, each with its origin, scheme and realm."""
        return [event["authChallenge"] for event in self.events("Fetch.authRequired")]

    def responses(self, request: str | None = None) -> list[Response]:
        """The responses in order, or those to one request and its redirects. For a handshake, see ``events``."""
        urls: dict[str, list[str]] = {}
        for event in self.events("Network.requestWillBeSent"):
            urls.setdefault(event["requestId"], []).append(event["request"]["url"])
        # These events have the headers that a page of another origin must not see. One may arrive before the URL.
        events = self.events("Network.responseReceivedExtraInfo")
        events = [event for event in events if event["requestId"] in urls and request in {None, event["requestId"]}]
        return [Response(urls[event["requestId"]].pop(0), event["statusCode"], event["headers"]) for event in events]

    def open(self, url: str) -> Response:
        """Open a page over HTTP, wait until it is loaded, and return its response."""
        reply = self.command("Page.navigate", url=url)
        assert "errorText" not in reply, f"{url}: {reply['errorText']}"
        return self._load(reply["loaderId"])

    def follow(self, expression: str) -> Response:
        """Evaluate an expression that leads to another page, such as ``form.submit()``, and wait for that page as
        ``open`` does."""
        before = self._loader()
        self.evaluate(expression)
        self._browser.wait_until(lambda: self._loader() != before, f"a page after {expression}")
        return self._load(self._loader())

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, or of the promise that it returns. The browser treats it as a user's
        click."""
        options = {"awaitPromise": True, "returnByValue": True, "userGesture": True}
        reply = self.command("Runtime.evaluate", expression=expression, **options)
        assert "exceptionDetails" not in reply, f"{expression}: {reply['exceptionDetails']}"
        return reply["result"].get("value")

    def _loader(self) -> str:
        frames = [event["frame"] for event in self.events("Page.frameNavigated")]
        return next((frame["loaderId"] for frame in reversed(frames) if "parentId" not in frame), "")

    def _load(self, loader: str) -> Response:
        def loaded_completely() -> bool:
            # The request for a document has the id of its loader, and each redirect is a response of its own.
            requests = [event for event in self.events("Network.requestWillBeSent") if event["requestId"] == loader]
            loaded = {event["loaderId"] for event in self.events("Page.lifecycleEvent") if event["name"] == "load"}
            return loader in loaded and len(self.responses(loader)) == len(requests) > 0

        self._browser.wait_until(loaded_completely, "a page's load")
        return self.responses(loader)[-1]
