"""The ``Authorization`` field: parse it into credentials and write it back (RFC 9110 section 11)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from authguard.value_types import value
from authguard.wire.grammar import TOKEN, TOKEN68, VISIBLE, WireError, parse_auth_params

#: The longest field that is parsed, in bytes.
MAX_FIELD = 16 * 1024

#: The longest list of auth-params that is parsed, in elements. Digest has the most parameters of all schemes: thirteen.
MAX_PARAMS = 32


@value
class Credentials:
    """The credentials of one request: the auth-scheme, and the bytes that follow it.

    ``scheme`` is always in lower case, because auth-schemes are case-insensitive (section 11.1). ``rest`` is everything
    after the scheme and its spaces, unchanged. ``token68`` and ``auth_params`` parse it.
    """

    scheme: str
    rest: bytes = field(repr=False)

    def to_header(self) -> bytes:
        """Return the value of the field. This is the reverse of ``split``."""
        scheme = self.scheme.encode("ascii")
        return scheme + b" " + self.rest if self.rest else scheme


def split(field: bytes, limit: int = MAX_FIELD) -> Credentials:
    """Split the value of a field into scheme and rest. This is the reverse of ``Credentials.to_header``.

    https://www.rfc-editor.org/rfc/rfc9110.html#section-11.4

        credentials    = auth-scheme [ 1*SP ( token68 / #auth-param ) ]
        auth-scheme    = token

    Only the scheme is checked here. Raises ``WireError`` without a scheme, for a field longer than ``limit`` bytes, and
    where something other than a space follows the scheme; that last error names the scheme.
    """
    if len(field) > limit:
        raise WireError("too long")
    field = field.strip(b" \t")
    match = TOKEN.match(field)
    if match is None:
        raise WireError("no auth-scheme" if field else "empty")
    scheme = match[0].decode("ascii").lower()
    rest = field[match.end() :]
    if rest and not rest.startswith(b" "):
        raise WireError("no space after the auth-scheme", scheme)
    return Credentials(scheme, rest.lstrip(b" "))


def split_plain(field: bytes, names: Mapping[bytes, str]) -> Credentials | None:
    """What ``split`` returns, if the field is written as nearly everybody writes it; None otherwise.

    That is one of the ``names``, one space, and something that neither begins nor ends with a space or a tab.
    ``names`` gives the scheme in lower case for each of its usual spellings.
    """
    word, _, rest = field.partition(b" ")
    scheme = names.get(word)
    if scheme is None or not rest or len(field) > MAX_FIELD or rest.strip(b" \t") != rest:
        return None
    return Credentials(scheme, rest)


def token68(rest: bytes) -> bytes:
    """Return ``rest`` if it is exactly one token68; otherwise raise ``WireError``."""
    if TOKEN68.fullmatch(rest) is None:
        raise WireError("not a token68" if rest else "nothing after the auth-scheme")
    return rest


def is_token68(rest: bytes) -> bool:
    """Whether ``rest`` is exactly one token68."""
    return TOKEN68.fullmatch(rest) is not None


def is_visible(rest: bytes) -> bool:
    """Whether ``rest`` is one word of visible ASCII without a comma, which would join two field lines."""
    return VISIBLE.fullmatch(rest) is not None


def auth_params(rest: bytes, limit: int = MAX_PARAMS) -> dict[str, bytes]:
    """Parse ``rest`` as a list of auth-params: names in lower case, values without their quotes.

    ``limit`` counts all elements of the list, empty ones too. A token and a quoted-string with the same content give
    the same value (section 11.2). Raises ``WireError`` for anything else.
    """
    return parse_auth_params(rest, limit)
