"""The echo of ``authguard echo``: it shows a marked request as it arrived behind a proxy, and nothing else.

It answers a request that carries the mark, and 404 to all others. It shows of a request what the probe has sent, and
what says where it came from. Everything else, such as a password that the proxy adds, is shown as its length. All of it
is bounded: connections, bytes, seconds, answers; and it ends by itself.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from urllib.parse import unquote_to_bytes

from authguard.errors import ConfigurationError
from authguard.probe.marked import BELIEVED, FIELD, MARK, NAME, MarkedRequest, marked_requests

#: Seconds until it ends by itself.
LIFETIME = 600.0
_MAX_HEAD, _MAX_CONNECTIONS, _MAX_ANSWERS, _PATIENCE = 32 * 1024, 16, 64, 10.0
_MAX_LINES = 200

Lines = Sequence[tuple[str, bytes]]

_WATCHED = frozenset({"authorization", *map(str.lower, BELIEVED)})
_REQUEST_LINE = re.compile(rb"([A-Z]{1,32}) (\S{1,8192}) HTTP/1\.[01]")
_FIELD_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
_ABSOLUTE = re.compile(r"[a-z]+://[^/?#]*", re.IGNORECASE)

_SEPARATORS = " ,;&"
_HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(?::[0-9]{1,5})?|\[[0-9a-fA-F:]{2,45}\](?::[0-9]{1,5})?")
_PROTO = re.compile(r"(?:https?|wss?)(?:, ?(?:https?|wss?)){0,8}", re.IGNORECASE)
_FORWARDED_PROTO = re.compile(r'(?:^|[;, ])proto="?(https?|wss?)"?(?=[;, ]|$)', re.IGNORECASE)
_SCHEME = re.compile(r"(?:Basic|Bearer|Digest|Negotiate|NTLM) ", re.IGNORECASE)
# The start of a path that a proxy has written; a longer segment may be a secret, such as a key of 128 bits.
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~\-]{0,20}){0,8}")


class Echo:
    """Answers marked requests. ``ended`` is set when the probe has sent its last one, or has sent too many."""

    def __init__(self, mark: str) -> None:
        self.ended = asyncio.Event()
        self._mark = mark
        self._requests = {request.kind: request for request in marked_requests(mark)}
        self._seen: Counter[str] = Counter()
        self._connections = 0
        self._is_over = False

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request of a connection, and close it."""
        self._connections += 1
        try:
            if self._connections <= _MAX_CONNECTIONS:
                with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
                    async with asyncio.timeout(_PATIENCE):
                        head = await reader.readuntil(b"\r\n\r\n")
                        writer.write(self.answer(head))
                        await writer.drain()
        finally:
            self._connections -= 1
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            if self._is_over:
                self.ended.set()

    def answer(self, head: bytes) -> bytes:
        """The response to a request whose head this is."""
        document = self._document(head)
        status = "404 Not Found" if document is None else "200 OK"
        body = b"" if document is None else json.dumps(document).encode("ascii")
        lines = (
            f"HTTP/1.1 {status}",
            "Content-Type: application/json",
            "X-Content-Type-Options: nosniff",
            "Cache-Control: no-store",
            f"Content-Length: {len(body)}",
            "Connection: close",
            "\r\n",
        )
        return "\r\n".join(lines).encode("ascii") + body

    def _document(self, head: bytes) -> dict[str, object] | None:
        first, *rest = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        line = _REQUEST_LINE.fullmatch(first)
        if line is None or not self._is_marked(head):
            return None
        pairs = [one.partition(b":") for one in rest[:_MAX_LINES]]
        lines = [
            (name.decode("ascii").lower(), data.strip(b" \t")) for name, _, data in pairs if _FIELD_NAME.fullmatch(name)
        ]
        target = line[2].decode("latin-1")
        request = self._requests.get(self._kind(target, lines))
        if request is None or self._is_over:
            return None
        self._seen[request.kind] += 1
        # The event comes after the answer has been sent.
        self._is_over = request.kind == "end" or sum(self._seen.values()) >= _MAX_ANSWERS
        path, _, query = _ABSOLUTE.sub("", target, count=1).partition("?")
        return {
            "authguard_echo": 1,
            "kind": request.kind,
            "seen": self._seen[request.kind],
            "method": line[1].decode("ascii"),
            "path": _shown_path(path, request),
            "query": _shown(query, [request.query]),
            "host": _shown_host(lines),
            "fields": self._shown_fields(request, lines),
        }

    def _is_marked(self, head: bytes) -> bool:
        """Whether the mark is somewhere in it. Each candidate is compared in constant time."""
        found = re.findall(MARK.pattern.encode("ascii"), head)[:_MAX_LINES]
        return any(hmac.compare_digest(one, self._mark.encode("ascii")) for one in found)

    def _kind(self, target: str, lines: Lines) -> str:
        """Which of the requests it is, from the path, the field or the query: a proxy may drop two of them."""
        field = next((data.decode("latin-1") for name, data in lines if name == FIELD), "")
        for text, separator in ((target.partition("?")[0], "/"), (field, "."), (target, ".")):
            match = re.search(rf"{self._mark}{re.escape(separator)}([a-z]+)", text)
            if match is not None:
                return match[1]
        return ""

    def _shown_fields(self, request: MarkedRequest, lines: Lines) -> list[list[str]]:
        sent = [text for _, text in request.fields]
        shown = []
        for name, data in lines:
            text = _shown(data.decode("utf-8", "replace"), sent, name)
            if name != FIELD and (name in _WATCHED or self._mark in text or text in sent):
                shown.append([name, text])
        return shown


def _shown(text: str, sent: Sequence[str], name: str = "") -> str:
    """A value, as far as it is what was sent or says where the request came from; the rest as its length."""
    if text in sent:
        return text
    if name == "x-forwarded-proto" and _PROTO.fullmatch(text):
        return text.lower()
    if name == "x-forwarded-host" and _HOST.fullmatch(text):
        return text
    if name == "forwarded":
        proto = _FORWARDED_PROTO.search(text)
        return _hidden(text) if proto is None else f"proto={proto[1].lower()}"
    if any(_plain(text) == _plain(one) for one in sent):
        return text
    parts = []
    for part in re.split(f"({'|'.join(map(re.escape, sorted(sent, key=len, reverse=True)))})", text):
        is_plain = part in sent or not part.strip(_SEPARATORS)
        parts.append(part if is_plain else _hidden(part))
    return "".join(parts)


def _hidden(text: str) -> str:
    """The length of a text, after its auth-scheme if it has one. Separators round it are kept."""
    inner = text.strip(_SEPARATORS)
    start = text.find(inner)
    scheme = _SCHEME.match(inner)
    word = "" if scheme is None else scheme[0]
    return f"{text[:start]}{word}<{len(inner) - len(word)} bytes>{text[start + len(inner) :]}"


def _plain(text: str) -> bytes:
    """What is the same if a text was only encoded in another way: quotes, blanks, percent signs, case."""
    return unquote_to_bytes(text).translate(None, b'"\\ +\t').lower()


def _plain_path(path: str) -> bytes:
    return _plain(re.sub("/+", "/", path).rstrip("/"))


def _shown_path(path: str, request: MarkedRequest) -> list[str]:
    """What the proxy has put before the path, and the path. "" is a path that is not the one that was sent."""
    start = path.lower().find(f"/{NAME}/{request.mark}/")
    prefix, rest = (path, "") if start < 0 else (path[:start], path[start:])
    if _plain_path(rest) != _plain_path(request.suffix):
        rest = ""
    return [prefix if _PREFIX.fullmatch(prefix) else f"<{len(prefix)} bytes>", rest]


def _shown_host(lines: Lines) -> str:
    host = next((data.decode("latin-1") for name, data in lines if name == "host"), "")
    return host if _HOST.fullmatch(host) else f"<{len(host)} bytes>"


async def serve(
    mark: str, *, host: str, port: int, listening: Callable[[str], None], lifetime: float = LIFETIME
) -> bool:
    """Answer until the probe has ended (True) or the time is over (False). ``listening`` gets the address.

    Raises ``ConfigurationError`` if nothing can listen there.
    """
    echo = Echo(mark)
    try:
        server = await asyncio.start_server(echo.handle, host, port, limit=_MAX_HEAD)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or "there is no such address"
        problem = f"nothing can listen at port {port} of {host}: {reason}"
    else:
        async with server:
            address, number = server.sockets[0].getsockname()[:2]
            listening(f"http://{f'[{address}]' if ':' in address else address}:{number}")
            with suppress(TimeoutError):
                async with asyncio.timeout(lifetime):
                    await echo.ended.wait()
        return echo.ended.is_set()
    raise ConfigurationError("--port", problem)
