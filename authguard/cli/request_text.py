"""A request as text: header fields of a file, or a line of curl. Nothing of it is ever printed."""

from __future__ import annotations

import re
import shlex
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any
from urllib.parse import unquote, urlsplit

from authguard.core.diagnosis import names_in_query
from authguard.errors import ConfigurationError
from authguard.value_types import mutable

#: Fields that hold no credential, and may be arguments.
_HARMLESS = frozenset(
    {"accept", "accept-language", "accept-encoding", "access-control-request-headers", "access-control-request-method"}
    | {"connection", "content-type", "forwarded", "host", "origin", "referer", "sec-fetch-dest", "sec-fetch-mode"}
    | {"sec-fetch-site", "upgrade", "user-agent", "via", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"}
)
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*)")
_REQUEST_LINE = re.compile(r"([A-Z]+) (\S+)(?: HTTP/[0-9.]+)?")
#: The longest file or line that is read, in characters.
MAX_TEXT = 1_048_576

#: What the options of curl that take a value mean for the request.
_CURL: Mapping[str, str] = {
    **dict.fromkeys(("-X", "--request"), "method"),
    **dict.fromkeys(("-H", "--header"), "header"),
    **dict.fromkeys(("-u", "--user"), "user"),
    **dict.fromkeys(("-d", "--data", "--data-raw", "--data-binary", "--data-ascii", "--data-urlencode"), "data"),
    "--json": "json",
    **dict.fromkeys(("-b", "--cookie"), "cookie"),
    **dict.fromkeys(("-A", "--user-agent"), "agent"),
    **dict.fromkeys(("-e", "--referer"), "referer"),
    "--oauth2-bearer": "bearer",
    "--url": "url",
    # These take a value, and change nothing of what the guard sees.
    **dict.fromkeys(("-o", "--output", "-m", "--max-time", "--connect-timeout", "--cacert", "-w", "-x"), "ignored"),
    **dict.fromkeys(("--write-out", "--proxy", "--resolve", "--retry", "-c", "--cookie-jar", "-D"), "ignored"),
    **dict.fromkeys(
        ("--dump-header", "--cert", "--key", "-E", "-r", "-U", "-y", "-Y", "-z", "-C", "-Q", "-t"), "ignored"
    ),
    # These make another request than what is written here.
    **dict.fromkeys(("-F", "--form", "-T", "--upload-file", "-K", "--config"), "unread"),
}
#: They begin another request.
_NEXT = frozenset({"--next", "-:"})
_CURL_FLAGS: Mapping[str, str] = {"-I": "HEAD", "--head": "HEAD", "-G": "GET", "--get": "GET"}


@mutable
class RequestText:
    """A request as somebody has written it down."""

    method: str = ""
    target: str = ""
    fields: list[tuple[bytes, bytes]] = field(default_factory=list, repr=False)
    body: bytes = field(default=b"", repr=False)
    secure: bool = True

    def add(self, name: str, text: str) -> None:
        """Add a field line."""
        self.fields.append((name.lower().encode("latin-1"), text.encode("utf-8", "surrogateescape")))

    def scope(self, client: str, *, websocket: bool = False) -> dict[str, Any]:
        """The scope that a server makes of it."""
        path, _, query = self.target.partition("?")
        method = self.method or "GET"
        fields = list(self.fields)
        if not any(name == b"host" for name, _ in fields):
            fields.insert(0, (b"host", b"localhost"))
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": "https" if self.secure else "http",
            "path": unquote(path, errors="surrogateescape"),
            "raw_path": path.encode("utf-8", "surrogateescape"),
            "query_string": query.encode("utf-8", "surrogateescape"),
            "root_path": "",
            "headers": fields,
            "client": (client, 0),
            "server": ("localhost", 443 if self.secure else 80),
        }
        if websocket:
            del scope["method"]
            scope |= {"type": "websocket", "scheme": "wss" if self.secure else "ws", "subprotocols": []}
        return scope


def check_target(target: str) -> str:
    """A path as an argument. Raises ``ConfigurationError`` if its query seems to hold a credential."""
    path, _, query = target.partition("?")
    if not path.startswith("/"):
        raise ConfigurationError(
            "PATH", "it is the path alone, such as /admin/users; a whole URL goes into a curl line"
        )
    if names := tuple(names_in_query(query.encode("utf-8", "replace"))):
        raise ConfigurationError(
            "PATH", f"its query has {names[0]}, which other users of this machine could see; {_OTHER_WAY}"
        )
    return target


_OTHER_WAY = "write the request line and the fields into a file for -H @FILE, or pass a curl line to standard input"


def add_argument(request: RequestText, text: str) -> None:
    """Add a field that was given as an argument. Raises ``ConfigurationError`` for one that may hold a credential."""
    found = _FIELD.fullmatch(text)
    if found is None:
        raise ConfigurationError("-H", "write @FILE, with a file of the fields, or 'Name: value' without a credential")
    if found[1].lower() not in _HARMLESS:
        raise ConfigurationError(
            "-H",
            f"{found[1][:40]} may hold a credential, which other users of this machine and the shell's history would "
            f"see; {_OTHER_WAY}",
        )
    request.add(found[1], found[2])


def read_fields(request: RequestText, text: str) -> None:
    """Read the lines of a file: ``Name: value``, and before them the request line, if there is one.

    Raises ``ConfigurationError``, which quotes nothing of it.
    """
    head, _, body = _lines(text).partition("\n\n")
    for number, line in enumerate(head.split("\n"), 1):
        start = _REQUEST_LINE.fullmatch(line)
        if start is not None and not request.fields and not request.target:
            request.method, request.target = start[1], start[2]
            continue
        if not line.strip():
            continue
        found = _FIELD.fullmatch(line)
        if found is None:
            raise ConfigurationError("-H", f"line {number} of the file is not 'Name: value'")
        request.add(found[1], found[2].rstrip(" \t"))
    request.body = body.encode("utf-8", "surrogateescape")


def _lines(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise ConfigurationError("-H", "the file is too long for a request")
    return text.replace("\r\n", "\n")


def read_curl(text: str) -> RequestText:
    """The request of a curl line, as a browser's ``Copy as cURL`` writes it. Raises ``ConfigurationError``."""
    if len(text) > MAX_TEXT:
        raise ConfigurationError("standard input", "the line is too long for a request")
    try:
        words = shlex.split(text.replace("\\\n", " ").replace(" $'", " '"))
    except ValueError:
        words = []
    if not words or words[0] != "curl":
        raise ConfigurationError("standard input", "it is no whole curl line; a quote may be missing")
    request, options = RequestText(), iter_options(words[1:])
    unread = next((name for name, _ in options if name in _NEXT or _CURL.get(name) == "unread"), None)
    if unread is not None:
        raise ConfigurationError("standard input", f"{unread} of the curl line is not read; leave it out")
    _read_words(request, options)
    if not request.target:
        raise ConfigurationError("standard input", "the curl line has no URL")
    request.method = request.method or "GET"
    return request


def iter_options(words: Sequence[str]) -> list[tuple[str, str]]:
    """The options of curl with their values; a URL is the value of ``--url``. Raises ``ConfigurationError``."""
    found: list[tuple[str, str]] = []
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if not word.startswith("-") or word == "-":
            found.append(("--url", word))
        elif name in _CURL:
            if not equals and not waiting:
                raise ConfigurationError("standard input", f"the curl line ends after {name}")
            found.append((name, value if equals else waiting.pop(0)))
        elif word[:2] in _CURL and not word.startswith("--"):
            found.append((word[:2], word[2:]))
        elif len(word) > 2 and not word.startswith("--"):  # several options of one letter
            found.append((word[:2], ""))
            waiting.insert(0, f"-{word[2:]}")
        else:
            found.append((word, ""))
    return found


def _read_words(request: RequestText, options: Sequence[tuple[str, str]]) -> None:
    for name, value in options:
        kind = _CURL.get(name)
        if kind in _FIELD_OPTIONS:
            field_name, prefix = _FIELD_OPTIONS[kind]
            request.add(field_name, prefix + value)
        elif kind == "method":
            request.method = value
        elif kind == "user":
            _add_user(request, value)
        elif kind == "url":
            _read_url(request, value)
        elif kind in _BODY_OPTIONS:
            _read_body(request, name, value, _BODY_OPTIONS[kind])
        elif kind == "header":
            found = _FIELD.fullmatch(value)
            if found is None:
                raise ConfigurationError("standard input", "a -H of the curl line is not 'Name: value'")
            if found[2]:  # curl then sends no such field
                request.add(found[1], found[2])
        else:
            request.method = _CURL_FLAGS.get(name, request.method)


#: The field that an option of curl writes, and what stands before its value.
_FIELD_OPTIONS: Mapping[str | None, tuple[str, str]] = {
    "agent": ("user-agent", ""),
    "bearer": ("authorization", "Bearer "),
    "cookie": ("cookie", ""),
    "referer": ("referer", ""),
}
_BODY_OPTIONS: Mapping[str | None, str] = {"data": "application/x-www-form-urlencoded", "json": "application/json"}


def _read_body(request: RequestText, name: str, value: str, media_type: str) -> None:
    if value.startswith("@"):
        raise ConfigurationError("standard input", f"{name} @FILE is not read; give --body @FILE")
    request.method = request.method or "POST"
    request.body += (b"&" if request.body else b"") + value.encode("utf-8", "surrogateescape")
    if not any(known == b"content-type" for known, _ in request.fields):
        request.add("content-type", media_type)


def _read_url(request: RequestText, url: str) -> None:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
    except ValueError:  # its text would show a part of the URL
        raise ConfigurationError("standard input", "the URL of the curl line cannot be read") from None
    if request.target:
        raise ConfigurationError("standard input", "the curl line has two URLs; leave one")
    request.secure = parts.scheme == "https"
    request.target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.netloc.rpartition("@")[2]
    if host and not any(name == b"host" for name, _ in request.fields):
        request.add("host", host)
    if parts.username is not None:
        _add_user(request, f"{unquote(parts.username)}:{unquote(parts.password or '')}")


def _add_user(request: RequestText, user: str) -> None:
    """Add the credentials of ``name:password``."""
    octets = user.encode("utf-8", "surrogateescape")  # a line that is not UTF-8 keeps its bytes
    request.add("authorization", f"Basic {b64encode(octets).decode()}")
