"""Chromium without a window, driven over the DevTools protocol: only a browser shows what browsers do by themselves.

https://chromedevtools.github.io/devtools-protocol/

But for the thread that keeps Chromium's stderr from filling up there is none: events are read, and requests that wait
for leave go on, while a call of this module waits for something.
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
TIMEOUT = 60.0

# Root, as whom a container runs its tests, cannot have the sandbox; all that is opened here is ours. The rest keeps the
# network quiet: what a browser asks of its maker is no part of any test.
_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server"),
    "--remote-debugging-port=0",
)
_LISTENS = "DevTools listening on "


class Response(NamedTuple):
    """A response that reached the page. A challenge that was answered does not: see ``Page.asked``."""

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
            # Its children may still write when it has ended.
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
            # A message may be as big as what a page evaluates to.
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
        """What a command of the protocol returns; ``AssertionError`` where it fails."""
        number = self.send(method, session, **parameters)
        self.wait_until(lambda: number in self._replies, method)
        reply = self._replies.pop(number)
        assert "error" not in reply, f"{method}: {reply['error']}"
        result: dict[str, Any] = reply["result"]
        return result

    def send(self, method: str, session: str | None = None, **parameters: Any) -> int:
        """Sends a command without waiting for what it returns. Its number."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message if session is None else {**message, "sessionId": session}))
        return self._number

    def wait_until(self, holds: Callable[[], bool], what: str) -> None:
        """Reads events until this holds; ``TimeoutError`` where that takes too long."""
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
    """A page, and all events of it until now.

    ``logins`` are the names and passwords that the next dialogs get, in this order; where none is left, a dialog is
    cancelled.
    """

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session
        self._events: list[tuple[str, dict[str, Any]]] = []
        self.logins: list[tuple[str, str]] = []

    def enable_events(self) -> None:
        """Has the events told, and requests wait for leave: else no dialog could be answered."""
        for domain in ("Page", "Network", "Runtime"):
            self.command(f"{domain}.enable")
        self.command("Page.setLifecycleEventsEnabled", enabled=True)
        self.command("Network.setCacheDisabled", cacheDisabled=True)
        self.command("Fetch.enable", handleAuthRequests=True)

    def receive_event(self, method: str, told: dict[str, Any]) -> None:
        """Takes an event in; the browser calls this."""
        self._events.append((method, told))
        if method == "Fetch.requestPaused":
            self._browser.send("Fetch.continueRequest", self._session, requestId=told["requestId"])
        elif method == "Fetch.authRequired":
            answer = {"response": "CancelAuth"}
            if self.logins:
                name, password = self.logins.pop(0)
                answer = {"response": "ProvideCredentials", "username": name, "password": password}
            given = {"requestId": told["requestId"], "authChallengeResponse": answer}
            self._browser.send("Fetch.continueWithAuth", self._session, **given)

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What a command of the protocol to this page returns."""
        return self._browser.command(method, self._session, **parameters)

    def events(self, method: str) -> list[dict[str, Any]]:
        """The events of this name, for one ``Network.webSocketFrameError``, which says why a handshake failed."""
        return [told for name, told in self._events if name == method]

    @property
    def login_challenges(self) -> list[dict[str, str]]:
        """The challenges that opened a dialog: each with its origin, scheme and realm."""
        return [told["authChallenge"] for told in self.events("Fetch.authRequired")]

    def responses(self, request: str | None = None) -> list[Response]:
        """The responses in order, or those to a request and its redirects. What a handshake gets is ``told`` alone."""
        urls: dict[str, list[str]] = {}
        for told in self.events("Network.requestWillBeSent"):
            urls.setdefault(told["requestId"], []).append(told["request"]["url"])
        # These have the headers that a page of another origin must not see. One may come before the URL.
        found = self.events("Network.responseReceivedExtraInfo")
        found = [told for told in found if told["requestId"] in urls and request in {None, told["requestId"]}]
        return [Response(urls[told["requestId"]].pop(0), told["statusCode"], told["headers"]) for told in found]

    def open(self, url: str) -> Response:
        """Opens a page over HTTP and waits until it is loaded. The response that it came with."""
        reply = self.command("Page.navigate", url=url)
        assert "errorText" not in reply, f"{url}: {reply['errorText']}"
        return self._load(reply["loaderId"])

    def follow(self, expression: str) -> Response:
        """Evaluates what leads to another page, ``form.submit()`` for one, and waits for that one as ``open`` does."""
        before = self._loader()
        self.evaluate(expression)
        self._browser.wait_until(lambda: self._loader() != before, f"a page after {expression}")
        return self._load(self._loader())

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; of a promise, what it becomes. It passes for a click of the user's."""
        options = {"awaitPromise": True, "returnByValue": True, "userGesture": True}
        reply = self.command("Runtime.evaluate", expression=expression, **options)
        assert "exceptionDetails" not in reply, f"{expression}: {reply['exceptionDetails']}"
        return reply["result"].get("value")

    def _loader(self) -> str:
        frames = [told["frame"] for told in self.events("Page.frameNavigated")]
        return next((frame["loaderId"] for frame in reversed(frames) if "parentId" not in frame), "")

    def _load(self, loader: str) -> Response:
        def over() -> bool:
            # The request for a document has the name of its loader, and each redirect a response of its own.
            asked = [told for told in self.events("Network.requestWillBeSent") if told["requestId"] == loader]
            loaded = {told["loaderId"] for told in self.events("Page.lifecycleEvent") if told["name"] == "load"}
            return loader in loaded and len(self.responses(loader)) == len(asked) > 0

        self._browser.wait_until(over, "a page's load")
        return self.responses(loader)[-1]
