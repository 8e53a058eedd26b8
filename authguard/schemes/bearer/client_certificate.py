"""Tokens that are bound to a certificate of the client (RFC 8705 section 3), and where that certificate comes from.

The TLS handshake has proven that the client holds the key of its certificate. So whoever tells the app of the
certificate must be believed, and only whoever the app has named is.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from hashlib import sha256
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol, TypeAlias, cast

from cryptography import x509

from authguard.app_code import plain_function, wrong_answer
from authguard.difference import kind_of
from authguard.errors import ConfigurationError
from authguard.model import Failure
from authguard.reasons import (
    CERTIFICATE_INVALID,
    CERTIFICATE_MISMATCH,
    CERTIFICATE_MISSING,
    CERTIFICATE_SENDER_REFUSED,
    TOKEN_UNBOUND,
)
from authguard.request import AuthRequest, address_of
from authguard.schemes.bearer.claims import bound_failure, invalid_claim
from authguard.validation import check_flag
from authguard.wire.certificate import MAX_CERTIFICATE, from_base64, from_byte_sequence, from_pem
from authguard.wire.dpop_proof import base64url
from authguard.wire.grammar import WireError, is_token

#: The member of ``cnf`` that names a certificate (RFC 8705 section 3.1).
X5T: Final = "x5t#S256"

#: How a field says the certificate.
CertificateFormat: TypeAlias = Literal["rfc9440", "pem", "base64"]
_READERS: Mapping[str, Callable[[bytes], bytes]] = MappingProxyType(
    {"rfc9440": from_byte_sequence, "pem": from_pem, "base64": from_base64}
)

_UNIX = "unix:"
# Fields that carry something else, which a client may send.
_RESERVED_FIELDS = frozenset(
    {"authorization", "cookie", "dpop", "forwarded", "host", "origin", "proxy-authorization", "via", "x-forwarded-for"}
)
#: Where a server or a middleware may have taken ``scope["client"]`` from.
_ADDRESS_FIELDS = frozenset({b"x-forwarded-for", b"forwarded", b"x-real-ip"})

# The widest network that can be the address of proxies alone: fc00::/7 and 10.0.0.0/8 are private networks.
_SHORTEST_PREFIX = 7

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

log = logging.getLogger("authguard")


class CertificateSource(Protocol):
    """Where the certificate of the client comes from: ``Bearer(..., client_certificate=TlsExtension())``.

    Write ``find``. It returns the certificate in DER, or why there is none, and does not wait::

        class OwnServer(CertificateSource):
            def find(self, request: AuthRequest) -> bytes | Failure:
                der = request.scope["state"].get("client_certificate")
                return Failure(CERTIFICATE_MISSING, {}) if der is None else der
    """

    @abstractmethod
    def find(self, request: AuthRequest) -> bytes | Failure:
        """The certificate that the client of this request has proven to hold, in DER."""
        ...


class TlsExtension(CertificateSource):
    """The certificate as the server itself knows it, by the TLS extension of ASGI.

    The extension is ``scope["extensions"]["tls"]``, and the certificate is the first of its ``client_cert_chain``, in
    PEM. If the server has noted a ``client_cert_error``, the certificate counts as invalid. uvicorn, hypercorn and
    granian do not have the extension: behind a proxy, use ``ForwardedCertificate``.
    """

    def find(self, request: AuthRequest) -> bytes | Failure:
        """The certificate, in DER."""
        tls: Any = (request.scope.get("extensions") or {}).get("tls")
        if tls is None:
            return Failure(CERTIFICATE_MISSING, {"found": "no TLS extension in the scope"})
        chain: Iterable[object] = tls.get("client_cert_chain") or ()
        first = next(iter(chain), None)
        if first is None:
            return Failure(CERTIFICATE_MISSING, {"found": "no certificate in the TLS extension"})
        if (error := tls.get("client_cert_error")) is not None:
            return Failure(CERTIFICATE_INVALID, {"problem": f"the server says: {str(error)[:200]}"})
        if not isinstance(first, str):
            return Failure(CERTIFICATE_INVALID, {"problem": f"{kind_of(first)} in place of PEM"})
        return _read(from_pem, first.encode("utf-8", "replace"))


class ForwardedCertificate(CertificateSource):
    """The certificate as a proxy passes it on: ``ForwardedCertificate("Client-Cert", trusted=["10.0.0.7"])``.

    - ``header``: the field that the proxy sets. It must set or remove it in every request, so that no client can.
    - ``format``: ``"rfc9440"``, base64 between colons; ``"pem"``, percent-encoded or not, as nginx has it in
      ``$ssl_client_escaped_cert``; ``"base64"``, DER in base64 alone. Of a chain in PEM, the first one counts.
    - ``trusted``: who is believed. An address or a network of the proxies, ``"10.0.0.0/8"``; the path of the Unix
      socket that the server listens on, ``"unix:/run/app.sock"``; or ``"unix:"``, any Unix socket, for servers that do
      not tell the path, such as hypercorn. Whoever may open the socket, or sends from that network, can name any
      certificate.

    The field is refused if it comes from anybody else, and if a forwarded field may have changed who that is: many
    servers take ``scope["client"]`` from ``X-Forwarded-For``. A Unix socket has no such doubt. Raises
    ``ConfigurationError``.
    """

    def __init__(self, header: str, *, trusted: Iterable[str], format: CertificateFormat = "rfc9440") -> None:  # noqa: A002 - the word that users know
        if not isinstance(header, str) or not is_token(header) or header.lower() in _RESERVED_FIELDS:
            raise ConfigurationError(
                "header", f"{header!r} is not a field for a certificate of its own; write Client-Cert, for example"
            )
        if not isinstance(format, str) or format not in _READERS:
            raise ConfigurationError("format", f"{format!r} is not one of {', '.join(_READERS)}")
        self.header, self.format = header, format
        self._field, self._read = header.lower().encode("ascii"), _READERS[format]
        self.trusted = _check_trusted(trusted)
        self.networks: tuple[Network, ...] = tuple(
            ipaddress.ip_network(one) for one in self.trusted if not one.startswith(_UNIX)
        )
        #: The paths of sockets; "" is any.
        self.sockets = frozenset(one.removeprefix(_UNIX) for one in self.trusted if one.startswith(_UNIX))
        self._is_told = False

    def __repr__(self) -> str:
        return f"ForwardedCertificate({self.header!r}, format={self.format!r}, trusted={list(self.trusted)!r})"

    def find(self, request: AuthRequest) -> bytes | Failure:
        """The certificate, in DER."""
        lines = request.lines(self._field)
        if not lines:
            return Failure(CERTIFICATE_MISSING, {"found": f"no {self.header}{self._similar(request)}"})
        refusal = self._sender_refusal(request)
        if refusal is not None:
            self._tell(refusal)
            return refusal
        if len(lines) > 1:
            problem = f"{len(lines)} lines of this name"
            return Failure(CERTIFICATE_INVALID, {"header": self.header, "problem": problem})
        value = lines[0].strip(b" \t")
        found = _read(self._read, value) if value else b""
        if isinstance(found, Failure):
            return Failure(found.reason, {"header": self.header, **found.facts})
        if not found:
            # A proxy that always sets the field leaves it empty for a client without a certificate.
            return Failure(CERTIFICATE_MISSING, {"found": f"an empty {self.header}"})
        return found

    def _similar(self, request: AuthRequest) -> str:
        """A field that differs by its underscores, for the record: some frameworks do not tell them apart."""
        wanted = self._field.replace(b"_", b"-")
        other = next((name for name, _ in request.headers if name.replace(b"_", b"-") == wanted), None)
        return "" if other is None else f", but {other.decode('latin-1')}"

    def _sender_refusal(self, request: AuthRequest) -> Failure | None:
        """Why the sender of the request is not one to believe; None if it is."""
        path = _socket_path(request.scope)
        facts: dict[str, object] = {"header": self.header}
        if path is not None:
            if "" in self.sockets or path in self.sockets:
                return None
            facts |= {"sender": _UNIX + path, "wanted": self.trusted}
            return Failure(CERTIFICATE_SENDER_REFUSED, facts)
        client = request.client
        facts |= {"sender": client or "nobody: the server names no address", "wanted": self.trusted}
        address = None if client is None else address_of(client)
        is_named = address is not None and any(address in network for network in self.networks)
        if (doubt := _doubt(request)) is not None:
            facts["differs_by"] = doubt
        elif is_named:
            return None
        return Failure(CERTIFICATE_SENDER_REFUSED, facts)

    def _tell(self, refusal: Failure) -> None:
        if self._is_told:
            return
        self._is_told = True
        doubt = f" ({refusal.facts['differs_by']})" if "differs_by" in refusal.facts else ""
        log.warning(
            "a certificate in %s was refused: it came from %s%s, and trusted= names %s. If that is your proxy, name "
            "it, or let it reach the app by a Unix socket. This is logged once",
            self.header,
            refusal.facts["sender"],
            doubt,
            ", ".join(self.trusted),
        )


def _check_trusted(trusted: Iterable[str]) -> tuple[str, ...]:
    example = 'such as ["10.0.0.7"] or ["unix:/run/app.sock"]'
    if isinstance(trusted, str | bytes) or not isinstance(trusted, Iterable):
        raise ConfigurationError("trusted", f"{trusted!r} is not a list; name the proxies, {example}")
    listed = tuple(trusted)
    if not listed:
        raise ConfigurationError("trusted", f"the list is empty; name the proxies, {example}")
    return tuple(map(_check_sender, listed))


def _check_sender(sender: str) -> str:
    if isinstance(sender, str) and sender.startswith(_UNIX):
        path = sender.removeprefix(_UNIX)
        if path and not path.startswith("/"):
            raise ConfigurationError("trusted", f'{sender!r}: write the whole path, such as "unix:/run/app.sock"')
        return sender
    try:
        network = ipaddress.ip_network(sender) if isinstance(sender, str) else None
    except ValueError as error:
        raise ConfigurationError("trusted", f"{sender!r} is neither a network nor unix:/path ({error})") from None
    if network is None:
        raise ConfigurationError("trusted", f"{sender!r} is not a text such as 10.0.0.0/8")
    if network.prefixlen < _SHORTEST_PREFIX:
        raise ConfigurationError(
            "trusted", f"{sender} is nearly everybody, who could then name any certificate; name the proxies alone"
        )
    return str(network)


def _socket_path(scope: Mapping[str, Any]) -> str | None:
    """The path of the Unix socket that the request came through; "" if the server does not tell it, and None for TCP.

    uvicorn has ``(path, None)`` as the server, granian ``(path, "0")``. hypercorn names neither server nor client.
    """
    server, client = scope.get("server"), scope.get("client")
    if server is None:
        return "" if client is None else None
    host, port = str(server[0]), server[1]
    # A middleware may have taken the host from a forwarded field, where a client can write a path. It has a port then.
    is_port = str(port).isdecimal() and str(port) != "0"
    return host if port is None or (host.startswith("/") and not is_port) else None


def _doubt(request: AuthRequest) -> str | None:
    """Why the address of the client may not be that of the sender; None if it is.

    No connection has port 0: uvicorn, hypercorn and granian write it where they take the address from a forwarded
    field. uvicorn takes a port from there too. So an address that such a field names is not believed either.
    """
    client = request.scope.get("client")
    if client is None:
        return None
    if str(client[1]) == "0":
        return "port 0: the server took the address from a forwarded field"
    pattern = re.compile(rb"(?<![0-9A-Fa-f.])%s(?![0-9A-Fa-f.])" % re.escape(str(client[0]).encode()), re.IGNORECASE)
    for name, value in request.headers:
        if name in _ADDRESS_FIELDS and pattern.search(value):
            return f"{name.decode()} names it too, so the server may have taken it from there"
    return None


def _read(reader: Callable[[bytes], bytes], value: bytes) -> bytes | Failure:
    try:
        return reader(value)
    except WireError as error:
        return Failure(CERTIFICATE_INVALID, {"problem": error.problem})


class CertificateBinding:
    """Checks that a token belongs to the client that sends it, by what its ``cnf`` says.

    ``required``: whether a token that is not bound to a certificate is refused. ``confirmations``: the members of
    ``cnf`` that the scheme checks, this one among them.
    """

    __slots__ = ("_confirmations", "_required", "source")

    def __init__(self, source: CertificateSource, *, required: bool, confirmations: AbstractSet[str]) -> None:
        if isinstance(source, type | str) or not callable(getattr(source, "find", None)):
            raise ConfigurationError(
                "client_certificate", f"{source!r}: give TlsExtension(), or ForwardedCertificate(..., trusted=[...])"
            )
        plain_function("client_certificate", source.find, "find(self, request)", None)
        self.source, self._confirmations = source, confirmations
        self._required = check_flag("require_bound", required)

    def failure(self, confirmation: object, request: AuthRequest) -> Failure | None:
        """Why a token with this ``cnf`` is refused in this request; None if it may be used."""
        if confirmation is None:
            return Failure(TOKEN_UNBOUND, {"cnf": (), "wanted": X5T}) if self._required else None
        failure = bound_failure(confirmation, self._confirmations)
        if failure is not None:
            return failure
        members = cast("Mapping[str, object]", confirmation)  # `bound_failure` has looked
        if X5T not in members:
            wanted = {"cnf": tuple(islice(members, 8)), "wanted": X5T}
            return Failure(TOKEN_UNBOUND, wanted) if self._required else None
        bound_to = members[X5T]
        if not isinstance(bound_to, str):
            return invalid_claim(f"cnf.{X5T}", bound_to, "a string")
        found = self.source.find(request)
        if isinstance(found, Failure):
            return found
        if not isinstance(found, bytes):
            raise wrong_answer(self.source.find, found, "bytes or a Failure")
        if (problem := _certificate_problem(found)) is not None:
            return Failure(CERTIFICATE_INVALID, {"problem": problem})
        thumbprint = base64url(sha256(found).digest())
        if hmac.compare_digest(bound_to.encode("utf-8", "replace"), thumbprint.encode("ascii")):
            return None
        return Failure(CERTIFICATE_MISMATCH, {"found": thumbprint, "wanted": bound_to[:64]})


def _certificate_problem(der: bytes) -> str | None:
    """Why these bytes are no certificate; None if they are one."""
    if len(der) > MAX_CERTIFICATE:
        return f"more than {MAX_CERTIFICATE} bytes"
    try:
        x509.load_der_x509_certificate(der)
    except (ValueError, x509.InvalidVersion, Warning):  # a warning, where the app has made errors of warnings
        return "not an X.509 certificate in DER, or something after it"
    return None
