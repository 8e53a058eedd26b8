"""The carrier of the ``Authorization`` field, which most schemes share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

from authguard.errors import ConfigurationError
from authguard.model import Rejected
from authguard.reasons import CREDENTIALS_AMBIGUOUS, HEADER_TOO_LONG
from authguard.request import AuthRequest
from authguard.schemes.scheme import Carrier
from authguard.value_types import frozen
from authguard.wire.authorization import MAX_FIELD, Credentials, split
from authguard.wire.grammar import is_token


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


@frozen
class HeaderField(Carrier):
    """A header field of its own that a proxy sets, such as ``Cf-Access-Jwt-Assertion``.

    ``header``: its name in lower case. ``auth_scheme``: whom its value is for. ``limit``: its longest value, in bytes.
    The proxy adds it to requests of a browser that is logged in, as the browser itself adds a cookie.
    """

    sent_by_browsers = True

    header: str
    auth_scheme: str
    limit: int

    def find(self, request: AuthRequest) -> Sequence[Credentials] | Rejected:
        """The value of the field line, if there is one and it is not empty."""
        lines = request.lines(self.header.encode("ascii"))
        if len(lines) > 1:
            return _doubled(self.header, lines)
        value = lines[0].strip(b" \t") if lines else b""
        if len(value) > self.limit:
            return _too_long(self.header, value, self.limit)
        return (Credentials(self.auth_scheme, value),) if value else ()


def _doubled(header: str, lines: Sequence[bytes]) -> Rejected:
    """Several lines of one field. Whether they are equal tells a doubling on the way from two different credentials."""
    all_equal = all(line.strip(b" \t") == lines[0].strip(b" \t") for line in lines)
    problem = "the same line several times: doubled on the way" if all_equal else "different lines"
    facts = {"field": header, "field_lines": len(lines), "all_equal": all_equal, "problem": problem}
    return Rejected(CREDENTIALS_AMBIGUOUS, facts=facts)


def _too_long(header: str, value: bytes, limit: int) -> Rejected:
    return Rejected(HEADER_TOO_LONG, facts={"field": header, "octets": len(value), "limit": limit})


# Fields that mean something else to servers, and the one that has a carrier of its own.
_RESERVED_FIELDS = frozenset({"authorization", "proxy-authorization", "cookie", "host", "content-length", "connection"})


def check_header(header: str) -> str:
    """The argument ``header``, the name of a header field, in lower case. Raises ``ConfigurationError``."""
    name = header.lower() if isinstance(header, str) else ""
    if not is_token(name) or name in _RESERVED_FIELDS:
        raise ConfigurationError(
            "header", f"{header!r} is not a field of a proxy's own; write Cf-Access-Jwt-Assertion, for example"
        )
    return name


def field_for(scheme: str, limit: int) -> AuthorizationField:
    """The carrier of a scheme whose credentials may have ``limit`` bytes."""
    longest = limit + MAX_SCHEME
    return AUTHORIZATION if longest <= MAX_FIELD else AuthorizationField({scheme: longest})


#: The longest auth-scheme with the spaces around it, in bytes, where a field may be longer than others.
MAX_SCHEME = 64


#: The carrier of a scheme whose credentials travel in the ``Authorization`` field.
AUTHORIZATION = AuthorizationField()
