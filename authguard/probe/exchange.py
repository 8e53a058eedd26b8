"""One request to the server that is probed, and its answer as it was sent.

It uses ``http.client``, so that the command needs no extra and sees each field line as it came. Redirects are not
followed, so nothing is sent to another host. No setting is taken from the environment: no proxy, no netrc file.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import field
from io import BufferedIOBase
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from authguard.errors import ConfigurationError
from authguard.http_client import cause_of, check_url
from authguard.value_types import value

#: The most bytes that are read of a head, in all its lines. Servers send fewer than 16 KiB.
MAX_HEAD = 32 * 1024
#: The most bytes that are read of a body. A login page shows its form before.
MAX_BODY = 64 * 1024

Fields = Sequence[tuple[str, str]]


@value
class Answer:
    """A response: the status, each field line as it came, with its name in lower case, and the start of the body."""

    status: int
    fields: Sequence[tuple[str, bytes]]
    body: bytes = field(default=b"", repr=False)

    def lines(self, name: str) -> list[bytes]:
        """The value of each field line of this name, which is in lower case."""
        return [data for key, data in self.fields if key == name]

    def get(self, name: str) -> str:
        """The value of a field; several lines are joined by commas, and "" means that there is none."""
        return b", ".join(self.lines(name)).decode("latin-1")

    def words(self, name: str) -> set[str]:
        """The elements of a list such as ``Access-Control-Allow-Headers``, in lower case."""
        return {word.strip().lower() for word in self.get(name).split(",")} - {""}


class Target:
    """The server and the path of a URL, and how long one request to it may take.

    ``ca_file`` is a file of certificates that are trusted in place of those of the system. Raises
    ``ConfigurationError`` if the URL or the file cannot be used.
    """

    def __init__(self, url: str, *, timeout: float = 10.0, ca_file: Path | None = None) -> None:
        self.url = check_url("URL", url, insecure_http=True, example="https://api.example/orders")
        parts = urlsplit(url)
        self.scheme = parts.scheme
        self.host = parts.hostname or ""
        self.port = parts.port or {"https": 443, "http": 80}[parts.scheme]
        self.authority = parts.netloc
        self.path = parts.path or "/"
        self.query = parts.query
        self._timeout = timeout
        self._context = _tls(ca_file) if parts.scheme == "https" else None

    @property
    def origin(self) -> str:
        """The scheme and the authority, as an ``Origin`` field has them."""
        return f"{self.scheme}://{self.authority}".lower()

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine, so that nobody on the way can read a request."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def request_target(self) -> str:
        """The path and the query, as a request line has them."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def send(self, method: str, fields: Fields = (), target: str | None = None) -> Answer:
        """Send one request over a connection of its own. Field names and values are sent as they are given.

        Raises ``ConfigurationError`` if there is no answer in time, or none that is HTTP.
        """
        connection = http.client.HTTPConnection(self.host, self.port, timeout=self._timeout)
        connection.response_class = _Response
        deadline = _Deadline(self._timeout)
        try:
            with deadline:
                self._connect(connection, deadline)
                connection.putrequest(method, target or self.request_target, skip_host=True, skip_accept_encoding=True)
                for name, text in (("Host", self.authority), ("User-Agent", "authguard-probe"), *fields):
                    connection.putheader(name, text.encode("utf-8"))
                if method in _WITH_BODY:
                    connection.putheader("Content-Length", "0")
                connection.endheaders()
                with connection.getresponse() as response:
                    items = [(name.lower(), text.encode("latin-1")) for name, text in response.msg.raw_items()]
                    body = response.read(MAX_BODY)
        except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
            problem = self._problem(error, is_late=deadline.is_over)
        else:
            if not deadline.is_over:
                return Answer(response.status, items, body)
            problem = self._problem(TimeoutError(), is_late=True)
        finally:
            connection.close()
        raise ConfigurationError("URL", problem)

    def _connect(self, connection: http.client.HTTPConnection, deadline: _Deadline) -> None:
        self._connect_to_host(connection, deadline)
        if self._context is not None:
            # The handshake comes after the assignment, so that the deadline can end it.
            connection.sock = deadline.socket = secured = self._context.wrap_socket(
                connection.sock, server_hostname=self.host, do_handshake_on_connect=False
            )
            secured.do_handshake()

    def _connect_to_host(self, connection: http.client.HTTPConnection, deadline: _Deadline) -> None:
        """Connect to the first address that accepts it. A name may have thousands, and each has the whole time-out."""
        error: OSError | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM):
            connection.sock = deadline.socket = candidate = socket.socket(family, kind, protocol)
            candidate.settimeout(self._timeout)
            try:
                candidate.connect(address)
                error = None
            except OSError as reason:
                candidate.close()
                error = reason
            if deadline.is_over:  # it may have ended before there was a connection that it could shut
                raise TimeoutError
            if error is None:
                return
        raise error or TimeoutError

    def _problem(self, error: Exception, *, is_late: bool) -> str:
        where = f"{self.host}:{self.port}"
        if is_late or isinstance(error, TimeoutError):
            return f"{where} did not answer within {self._timeout:g} seconds"
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"the certificate of {where} is not trusted: {cause_of(error)}; name its authority with --ca-file"
        if isinstance(error, OSError) and not isinstance(error, http.client.HTTPException):
            return f"there is no connection to {where}: {cause_of(error)}"
        return f"what {where} answers is no HTTP/1.1"


class _Response(http.client.HTTPResponse):
    """A response whose head is bounded. The parser of the standard library takes quadratic time for some heads."""

    def begin(self) -> None:
        """Read the head."""
        stream = self.fp
        self.fp = _Head(stream)  # type: ignore[assignment]
        try:
            super().begin()
        finally:
            self.fp = stream


class _Head:
    """The lines of a head."""

    def __init__(self, stream: BufferedIOBase) -> None:
        self._stream = stream
        self._left = MAX_HEAD

    def readline(self, limit: int) -> bytes:
        """The next line. Raises ``LineTooLong`` if there are too many bytes in all lines."""
        line = self._stream.readline(limit)
        self._left -= len(line)
        if self._left < 0:
            raise http.client.LineTooLong("head")
        return line

    def close(self) -> None:
        """Leave the stream open, which the response closes."""


class _Deadline:
    """Shuts a connection after the time-out. That of the socket begins anew with each byte, so it is not enough."""

    def __init__(self, seconds: float) -> None:
        self.socket: socket.socket | None = None
        self.is_over = False
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _end(self) -> None:
        self.is_over = True
        if self.socket is not None:
            with suppress(OSError):
                # Not that of an SSLSocket, which changes what another thread is reading from.
                socket.socket.shutdown(self.socket, socket.SHUT_RDWR)


# Such a request has a body, which is empty here (RFC 9110 section 8.6).
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:  # an ssl.SSLError is an OSError
        reason = cause_of(error) or "it cannot be read"
    raise ConfigurationError("--ca-file", f"{ca_file} holds no certificates in PEM: {reason}")
