"""The Authorization field, after RFC 9110 section 11: octets to credentials and back."""

from __future__ import annotations

from dataclasses import dataclass, field

from authguard.wire.grammar import TOKEN, TOKEN68, WireError, parse_auth_params

#: The longest field that is read at all, in octets.
MAX_FIELD = 16 * 1024

#: The longest list of auth-params that is read, in elements. Digest, the wordiest scheme, has thirteen.
MAX_PARAMS = 32


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client presented, and the scheme that it is addressed to.

    ``scheme`` is always in lower case, since auth-schemes are compared without regard to case (section 11.1).
    ``rest`` is all that follows the scheme and its spaces, untouched: ``token68`` or ``auth_params`` reads it.
    """

    scheme: str
    rest: bytes = field(repr=False)

    def to_header(self) -> bytes:
        """The value of the field. This is the reverse of ``split``."""
        scheme = self.scheme.encode("ascii")
        return scheme + b" " + self.rest if self.rest else scheme


def split(field: bytes, limit: int = MAX_FIELD) -> Credentials:
    """Part the value of a field into scheme and rest. This is the reverse of ``Credentials.to_header``.

    https://www.rfc-editor.org/rfc/rfc9110.html#section-11.4

        credentials    = auth-scheme [ 1*SP ( token68 / #auth-param ) ]
        auth-scheme    = token

    Only the scheme is judged here; an octet after it that is no SP is an error that still names the scheme.
    """
    if len(field) > limit:
        raise WireError("too long")
    field = field.strip(b" \t")
    found = TOKEN.match(field)
    if found is None:
        raise WireError("no auth-scheme" if field else "empty")
    scheme = found[0].decode("ascii").lower()
    rest = field[found.end() :]
    if rest and not rest.startswith(b" "):
        raise WireError("no space after the auth-scheme", scheme)
    return Credentials(scheme, rest.lstrip(b" "))


def token68(rest: bytes) -> bytes:
    """The rest of credentials that must be one token68, and nothing else."""
    if TOKEN68.fullmatch(rest) is None:
        raise WireError("not a token68" if rest else "nothing after the auth-scheme")
    return rest


def auth_params(rest: bytes, limit: int = MAX_PARAMS) -> dict[str, bytes]:
    """The rest of credentials that must be a list of auth-params: names in lower case, values without their quotes.

    ``limit`` counts the elements of the list, empty ones too. A value that was a token and one that was a
    quoted-string are the same (section 11.2).
    """
    return parse_auth_params(rest, limit)
