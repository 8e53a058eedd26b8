"""Warn of ``Set-Cookie`` lines with which a cookie that logs users in is not safe."""

from __future__ import annotations

from collections.abc import Awaitable, Collection

from starlette.types import Message, Send

from authguard.records.record import log
from authguard.wire.cookie import set_cookie_problems

_STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})


class SetCookieCheck:
    """Looks at the responses of an app. Each problem of each of the ``names`` is logged once, as a WARNING.

    The line itself goes out as the app wrote it: another one could be ignored by the browser, which nobody would
    understand.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        # As many as there are names and kinds of problems.
        self._warned: set[tuple[str, str]] = set()

    def watch(self, send: Send) -> Send:
        """The ``send`` of the app for one request."""

        def checked(message: Message) -> Awaitable[None]:
            if message["type"] in _STARTS:
                self._look_at(message)
            return send(message)

        return checked

    def _look_at(self, message: Message) -> None:
        for field, line in message.get("headers", ()):
            if field.lower() == b"set-cookie" and (found := set_cookie_problems(line, self._names)) is not None:
                for problem in found[1]:
                    self._warn(found[0], problem)

    def _warn(self, name: str, problem: str) -> None:
        if (name, problem) not in self._warned:
            self._warned.add((name, problem))
            log.warning("The cookie %s logs users in, and the app does not set it safely: %s.", name, problem)
