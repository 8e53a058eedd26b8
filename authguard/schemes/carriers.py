"""The carriers that ship: where credentials travel in a request.

Most schemes share ``AUTHORIZATION``, the field that HTTP has for them. The others find credentials by the name of a
header field, a cookie, a subprotocol or a query parameter, and say how a challenge and OpenAPI name that place.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from functools import lru_cache
from itertools import pairwise
from typing import Self
from urllib.parse import unquote_to_bytes

from authguard.errors import ConfigurationError
from authguard.model import Rejected
from authguard.reasons import CREDENTIALS_AMBIGUOUS, HEADER_TOO_LONG
from authguard.request import AuthRequest
from authguard.schemes.scheme import Carrier
from authguard.value_types import frozen, value
from authguard.wire.authorization import MAX_FIELD, Credentials, split
from authguard.wire.cookie import MAX_COOKIES, cookie_value, cookie_values
from authguard.wire.grammar import TOKEN, WireError, is_token
from authguard.wire.jws import base64url_decode


@frozen
class AuthorizationField(Carrier):
    """The ``Authorization`` field (RFC 9110 section 11.6.2). A request has one at most, so two lines are ambiguous.

    ``limits``: the longest field of an auth-scheme whose credentials may be longer than 16 KiB, in bytes.
    """

    limits: Mapping[str, int] = field(default_factory=dict, compare=False)
    #: The field, as records name it.
    header = "authorization"

    def find(self, request: AuthRequest) -> Sequence[Credentials] | Rejected:
        """The credentials of the field line, if there is one. Raises ``WireError``."""
        lines = request.lines(b"authorization")
        if not lines:
            return ()
        if len(lines) > 1:
            return _doubled(self.header, lines)
        limit = MAX_FIELD
        if len(lines[0]) > MAX_FIELD:
            limit = self._limit_of(lines[0])
            if len(lines[0]) > limit:
                return _too_long(self.header, lines[0], limit)
        return (split(lines[0], limit),)

    def joined(self, other: AuthorizationField) -> AuthorizationField:
        """One carrier for the schemes of both."""
        names = {*self.limits, *other.limits}
        return AuthorizationField({name: max(self.limits.get(name, 0), other.limits.get(name, 0)) for name in names})

    def _limit_of(self, line: bytes) -> int:
        """The limit of the auth-scheme that the line begins with."""
        word = line[:MAX_SCHEME].lstrip(b" \t").partition(b" ")[0]
        return self.limits.get(word.decode("latin-1").lower(), MAX_FIELD)


class NamedCarrier(Carrier):
    """A carrier of credentials outside the ``Authorization`` field: it finds them by the ``name`` that it was given.

    ``limit``: the longest value, in bytes.
    """

    name: str
    limit: int

    #: Its kind, in the auth-scheme by which the guard knows its credentials: ``cookie.session-token``. No client can
    #: send that in ``Authorization``: what a carrier has found counts for the schemes with this carrier alone.
    kind: str
    #: The auth-scheme of a challenge that such a client understands: none for ``Authorization`` is one.
    challenge_scheme: str

    @property
    def header(self) -> str:
        """The field, as records name it."""
        return self.name.lower()

    @property
    def auth_scheme(self) -> str:
        """The auth-scheme of its credentials: that of no other place."""
        return _auth_scheme(self.kind, self.name)

    @property
    @abstractmethod
    def challenge_params(self) -> Mapping[str, str]:
        """The parameters of a challenge that say where the credentials go."""
        ...

    @property
    def openapi(self) -> Mapping[str, object]:
        """Its Security Scheme Object.

        https://spec.openapis.org/oas/v3.1.1#security-scheme-object
        """
        return {"type": "apiKey", "in": self.kind, "name": self.name}

    def with_limit(self, limit: int) -> Self:
        """The same for a scheme whose credentials may have ``limit`` bytes."""
        return replace(self, limit=limit)  # type: ignore[type-var]

    def joined(self, other: Self) -> Self:
        """One carrier for the schemes of both."""
        return self if other.limit <= self.limit else other


@value
class PlainField:
    """A header field whose whole value is the credentials: its name, their auth-scheme, and the longest value."""

    name: bytes
    auth_scheme: str
    limit: int


# Each request asks for these, of few carriers.
@lru_cache(64)
def _auth_scheme(kind: str, name: str) -> str:
    return f"{kind}.{name.lower()}"


@lru_cache(64)
def _field_name(name: str) -> bytes:
    return name.lower().encode("ascii")


@frozen
class Header(NamedCarrier):
    """Credentials in a header field of their own: ``Header("X-API-Key")``.

    - ``prefix``: a word before the credentials, in upper or lower case. Google's API Gateway sends
      ``X-Forwarded-Authorization: Bearer ey...``, which is ``Header("X-Forwarded-Authorization", prefix="Bearer")``.
    - ``sent_by_browsers``: whether a proxy adds the field to what a logged-in browser sends, as Cloudflare Access does.
      Then the guard refuses what other sites cause (403 ``origin.foreign``), and explicit credentials go first. For the
      fields of proxies that are known to do so it must be True.

    Raises ``ConfigurationError``.
    """

    kind = "header"
    challenge_scheme = "HeaderToken"

    name: str
    prefix: str = ""
    sent_by_browsers: bool = False
    limit: int = field(default=MAX_FIELD, compare=False)

    def __post_init__(self) -> None:
        """Raises ``ConfigurationError`` for what cannot be such a field."""
        if not _is_name(self.name) or self.name.lower() in _RESERVED_FIELDS:
            raise ConfigurationError(
                "name", f"{self.name!r} is not a field for credentials of its own; write X-API-Key, for example"
            )
        if self.prefix and not _is_name(self.prefix):
            raise ConfigurationError("prefix", f'{self.prefix!r} is not a word such as "Bearer"')
        if self.name.lower() in _PROXY_LOGINS and not self.sent_by_browsers:
            raise ConfigurationError(
                "sent_by_browsers",
                f"a proxy adds {self.name} to what a logged-in browser sends, whichever site caused it; write "
                f'Header("{self.name}", sent_by_browsers=True)',
            )

    @property
    def challenge_params(self) -> Mapping[str, str]:
        """The name of the field, and the word before the credentials."""
        return {"header": self.name, "prefix": self.prefix} if self.prefix else {"header": self.name}

    @property
    def openapi(self) -> Mapping[str, object]:
        """An ``apiKey`` in that header."""
        described: Mapping[str, object] = {"type": "apiKey", "in": "header", "name": self.name}
        return {**described, "description": f"After the word {self.prefix}"} if self.prefix else described

    @property
    def plain_field(self) -> PlainField | None:
        """What the guard reads by itself, if this is the only carrier; None if ``find`` must be asked."""
        if self.prefix or type(self) is not Header:
            return None
        return PlainField(self.header.encode("ascii"), self.auth_scheme, self.limit)

    def find(self, request: AuthRequest) -> Sequence[Credentials] | Rejected:
        """The value of the field line, if there is one and it is not empty."""
        name = _field_name(self.name)
        lines = [line for field_name, line in request.headers if field_name == name]
        if not lines:
            return ()
        if len(lines) > 1:
            return _doubled(self.header, lines)
        value = lines[0].strip(b" \t")
        if self.prefix and value:
            word, space, rest = value.partition(b" ")
            if word.lower() != self.prefix.lower().encode("ascii"):
                raise WireError("another word, or none, before the credentials", self.auth_scheme)
            value = rest.lstrip(b" ")
            if not value:
                raise WireError("nothing after the word" if space else "a word and nothing else", self.auth_scheme)
        if len(value) > self.limit:
            return _too_long(self.header, value, self.limit)
        return (Credentials(self.auth_scheme, value),) if value else ()


@frozen
class Cookie(NamedCarrier):
    """Credentials in a cookie: ``Cookie("__Host-session-token")``.

    The browser sends it by itself, so the guard refuses what other sites cause (403 ``origin.foreign``), and explicit
    credentials go first. Two cookies of the name are ambiguous: a neighbouring host may have set one of them. No other
    host can set one whose name begins with ``__Host-``. The guard warns of ``Set-Cookie`` lines for it without
    ``Secure``, ``HttpOnly`` or ``SameSite``. Raises ``ConfigurationError``.
    """

    kind = "cookie"
    challenge_scheme = "Cookie"
    sent_by_browsers = True

    name: str
    limit: int = field(default=MAX_FIELD, compare=False)

    def __post_init__(self) -> None:
        """Raises ``ConfigurationError`` for what cannot be the name of a cookie."""
        if not _is_name(self.name):
            raise ConfigurationError("name", f"{self.name!r} is not the name of a cookie")

    @property
    def header(self) -> str:
        """The field, as records name it."""
        return "cookie"

    @property
    def challenge_params(self) -> Mapping[str, str]:
        """The name of the cookie."""
        return {"cookie-name": self.name}

    def find(self, request: AuthRequest) -> Sequence[Credentials] | Rejected:
        """The value of the cookie, if there is one and it is not empty. Raises ``WireError``."""
        lines = request.lines(b"cookie")
        octets = sum(map(len, lines))
        if octets > MAX_COOKIES:
            return Rejected(HEADER_TOO_LONG, facts={"field": "cookie", "octets": octets, "limit": MAX_COOKIES})
        values = cookie_values(lines, self.name) if lines else []
        if len(values) > 1:
            facts = {"cookie": self.name, "cookies": len(values), "all_equal": len(set(values)) == 1}
            return Rejected(CREDENTIALS_AMBIGUOUS, facts={**facts, "problem": "several cookies of one name"})
        if not values or not values[0]:
            return ()
        try:
            value = cookie_value(values[0])
        except WireError as error:
            raise WireError(error.problem, self.auth_scheme) from None
        if len(value) > self.limit:
            return _too_long("cookie", value, self.limit)
        return (Credentials(self.auth_scheme, value),) if value else ()


@frozen
class WebSocketProtocol(NamedCarrier):
    """A token among the subprotocols that a script offers for a WebSocket, for which it cannot set ``Authorization``.

    ``WebSocketProtocol("bearer")`` reads ``new WebSocket(url, ["bearer", token])``: the entry after ``bearer``. Other
    subprotocols may stand before and after the two. The guard answers with ``bearer`` unless the app accepts another
    one, and never with the token, which the app does not find among ``scope["subprotocols"]``.

    ``base64url``: the token is sent in base64url without padding, as it must be if it may have characters that no
    subprotocol has, such as ``/`` and ``=``. Raises ``ConfigurationError``.
    """

    kind = "protocol"
    challenge_scheme = "WebSocketToken"

    name: str = "bearer"
    base64url: bool = False
    limit: int = field(default=MAX_FIELD, compare=False)

    def __post_init__(self) -> None:
        """Raises ``ConfigurationError`` for what cannot be a subprotocol."""
        if not _is_name(self.name):
            raise ConfigurationError("name", f"{self.name!r} is not a subprotocol, such as bearer")

    @property
    def header(self) -> str:
        """The field, as records name it."""
        return "sec-websocket-protocol"

    @property
    def challenge_params(self) -> Mapping[str, str]:
        """The subprotocol before the token."""
        return {"protocol": self.name}

    @property
    def openapi(self) -> Mapping[str, object]:
        """An ``apiKey`` in the field."""
        return {"type": "apiKey", "in": "header", "name": "Sec-WebSocket-Protocol"}

    def find(self, request: AuthRequest) -> Sequence[Credentials] | Rejected:
        """The token of a handshake. Raises ``WireError``."""
        octets = sum(map(len, request.lines(b"sec-websocket-protocol")))
        if octets > MAX_PROTOCOLS and request.kind == "websocket":
            return Rejected(HEADER_TOO_LONG, facts={"field": self.header, "octets": octets, "limit": MAX_PROTOCOLS})
        offered = offered_subprotocols(request)
        places = [place for place, word in enumerate(offered) if word == self.name]
        if not places:
            return ()
        if len(places) > 1:
            facts = {"field": self.header, "problem": "the subprotocol is there several times"}
            return Rejected(CREDENTIALS_AMBIGUOUS, facts=facts)
        token = "".join(offered[places[0] + 1 : places[0] + 2]).encode("latin-1", "replace")
        if not token:
            raise WireError("no token after the subprotocol", self.auth_scheme)
        if TOKEN.fullmatch(token) is None:
            raise WireError("not a subprotocol: such a token must be in base64url", self.auth_scheme)
        if len(token) > self.limit:
            return _too_long(self.header, token, self.limit)
        return (Credentials(self.auth_scheme, self._decoded(token)),)

    def _decoded(self, token: bytes) -> bytes:
        if not self.base64url:
            return token
        try:
            return base64url_decode(token)
        except WireError as error:
            raise WireError(error.problem, self.auth_scheme) from None

    def answer(self, offered: Sequence[str], chosen: str | None) -> str | None:
        """The subprotocol that the answer to a handshake names, where the app has chosen this one: never the token."""
        token = next((after for word, after in pairwise(offered) if word == self.name), None)
        return self.name if token is not None and chosen in {None, token} else chosen

    def without_token(self, offered: Sequence[str]) -> list[str]:
        """The subprotocols for the app to choose from."""
        place = next((place for place, word in enumerate(offered) if word == self.name), len(offered))
        return [*offered[:place], *offered[place + 2 :]]


@frozen
class LoggedQuery(NamedCarrier):
    """A token in the query of a WebSocket's address, **which servers and proxies write into their logs**.

    For clients that can send neither a field nor a subprotocol: ``LoggedQuery("access_token")``. It is read in
    handshakes and nowhere else, because the address of a page also ends up in histories and in ``Referer``. Whoever
    reads a log can use the token, so let it live for a minute. Raises ``ConfigurationError``.
    """

    kind = "query"
    challenge_scheme = "QueryToken"

    name: str
    limit: int = field(default=MAX_FIELD, compare=False)

    def __post_init__(self) -> None:
        """Raises ``ConfigurationError`` for what cannot be the name of a parameter."""
        if not _is_name(self.name):
            raise ConfigurationError("name", f"{self.name!r} is not the name of a query parameter")

    @property
    def header(self) -> str:
        """The parameter, as records name it."""
        return f"query {self.name}"

    @property
    def challenge_params(self) -> Mapping[str, str]:
        """The name of the parameter."""
        return {"parameter": self.name}

    def find(self, request: AuthRequest) -> Sequence[Credentials] | Rejected:
        """The value of the parameter in a handshake, if there is one and it is not empty."""
        query: bytes = request.scope.get("query_string", b"") if request.kind == "websocket" else b""
        if len(query) > MAX_COOKIES:
            return _too_long(self.header, query, MAX_COOKIES)
        wanted = self.name.encode()
        least = len(wanted)
        # A stranger may send as many short parameters as the query is long, and a name only shrinks by its decoding.
        pairs = (part.partition(b"=") for part in query.split(b"&") if len(part) >= least)
        values = [unquote_to_bytes(value) for name, _, value in pairs if unquote_to_bytes(name) == wanted]
        if len(values) > 1:
            return _doubled(self.header, values)
        value = values[0] if values else b""
        if len(value) > self.limit:
            return _too_long(self.header, value, self.limit)
        return (Credentials(self.auth_scheme, value),) if value else ()


#: The longest list of subprotocols that is read, in bytes: the longest token twice over.
MAX_PROTOCOLS = 128 * 1024


def offered_subprotocols(request: AuthRequest) -> Sequence[str]:
    """The subprotocols that a handshake offers; none if it is no handshake. Several field lines are one list.

    https://www.rfc-editor.org/rfc/rfc6455.html#section-11.3.4. Some servers hand on the list and not the field.
    """
    if request.kind != "websocket":
        return ()
    lines = request.lines(b"sec-websocket-protocol")
    if not lines:
        listed: Sequence[str] = request.scope.get("subprotocols") or ()
        return listed
    words = (word.strip() for word in b",".join(lines).decode("latin-1").split(","))
    return [word for word in words if word]


def _doubled(header: str, lines: Sequence[bytes]) -> Rejected:
    """Several lines of one field. Whether they are equal tells a doubling on the way from two different credentials."""
    all_equal = all(line.strip(b" \t") == lines[0].strip(b" \t") for line in lines)
    problem = "the same line several times: doubled on the way" if all_equal else "different lines"
    facts = {"field": header, "field_lines": len(lines), "all_equal": all_equal, "problem": problem}
    return Rejected(CREDENTIALS_AMBIGUOUS, facts=facts)


def _too_long(header: str, value: bytes, limit: int) -> Rejected:
    return Rejected(HEADER_TOO_LONG, facts={"field": header, "octets": len(value), "limit": limit})


# Fields that mean something else to servers, and those that have carriers of their own.
_RESERVED_FIELDS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "host", "content-length", "connection", "sec-websocket-protocol"}
)
# The fields of proxies that log a browser in by a cookie of their own, and add a token to each of its requests:
# Cloudflare, Google, Amazon, Microsoft, oauth2-proxy, Pomerium.
_PROXY_LOGINS = frozenset(
    {"cf-access-jwt-assertion", "x-goog-iap-jwt-assertion", "x-amzn-oidc-data", "x-amzn-oidc-accesstoken"}
    | {"x-ms-token-aad-access-token", "x-ms-token-aad-id-token", "x-forwarded-access-token", "x-pomerium-jwt-assertion"}
)


def _is_name(name: object) -> bool:
    return isinstance(name, str) and is_token(name)


def check_carrier(carrier: object) -> None:
    """The argument ``carrier`` of a scheme. Raises ``ConfigurationError``."""
    if callable(getattr(carrier, "find", None)) and not isinstance(carrier, str | type):
        return
    kind = type(carrier)
    known = kind.__module__.startswith("fastapi.") and kind.__name__ in {"Cookie", "Header", "Query"}
    problem = f"is {kind.__name__} of FastAPI; import it from authguard" if known else "is not a carrier"
    raise ConfigurationError("carrier", f'{carrier!r} {problem}, such as authguard.Header("X-API-Key")')


def field_for(scheme: str, limit: int) -> AuthorizationField:
    """The carrier of a scheme whose credentials may have ``limit`` bytes."""
    longest = limit + MAX_SCHEME
    return AUTHORIZATION if longest <= MAX_FIELD else AuthorizationField({scheme: longest})


#: The longest auth-scheme with the spaces around it, in bytes, where a field may be longer than others.
MAX_SCHEME = 64


#: The carrier of a scheme whose credentials travel in the ``Authorization`` field.
AUTHORIZATION = AuthorizationField()
