"""The arithmetic of Digest, after RFC 7616. The hash is an argument, and whoever compares does so in constant time."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import quote, unquote_to_bytes

from authguard.wire.authorization import auth_params
from authguard.wire.grammar import CONTROL, TOKEN, WireError, quoted
from authguard.wire.text import nfc

#: The digest of some octets, in octets.
Hash: TypeAlias = Callable[[bytes], bytes]

# https://www.rfc-editor.org/rfc/rfc7616.html#section-3.4
#
#   nc-value       = 8LHEX
#
# Upper case is taken too, for some clients print it so; it is hashed as it was sent.
_COUNT = re.compile(rb"[0-9a-fA-F]{8}")

# https://www.rfc-editor.org/rfc/rfc8187.html#section-3.2.1
#
#   ext-value     = charset  "'" [ language ] "'" value-chars
#   value-chars   = *( pct-encoded / attr-char )
#   attr-char     = ALPHA / DIGIT / "!" / "#" / "$" / "&" / "+" / "-" / "." / "^" / "_" / "`" / "|" / "~"
_EXTENDED = re.compile(rb"[uU][tT][fF]-8'[A-Za-z0-9-]*+'((?:%[0-9a-fA-F]{2}|[A-Za-z0-9!#$&+\-.^_`|~])++)")
_ATTR_CHAR = "!#$&+^`|"  # what urllib.parse.quote would escape, and RFC 8187 does not

# https://www.rfc-editor.org/rfc/rfc7616.html#section-3.4
#
#   request-digest = <"> *LHEX <">
#
# of 128 bits (MD5) or 256. Upper case says the same.
_DIGITS = re.compile(rb"[0-9a-fA-F]{32}(?:[0-9a-fA-F]{32})?")

# https://www.rfc-editor.org/rfc/rfc3986.html#section-3, of which the scheme and the authority are dropped.
_ORIGIN = re.compile(rb"[A-Za-z][A-Za-z0-9+\-.]*+://[^/?#]*+")

_MISSING = {
    "realm": "no realm",
    "nonce": "no nonce",
    "uri": "no uri",
    "response": "no response",
    "qop": "no qop",
    "cnonce": "no cnonce",
    "nc": "no nc",
}
_TRUTH = {b"true": True, b"false": False}


@dataclass(frozen=True, slots=True)
class DigestCredentials:
    """What a client presented, each value without its quotes. RFC 7616 section 3.4.

    ``username`` is in the form NFC; with ``hashed`` it is the hexadecimal digits of ``H(name:realm)``, in lower case.
    ``algorithm`` is in upper case, and MD5 where the client named none (section 3.3).
    """

    username: str
    realm: bytes
    nonce: bytes = field(repr=False)
    uri: bytes = field(repr=False)
    response: bytes = field(repr=False)
    qop: bytes
    cnonce: bytes = field(repr=False)
    nc: bytes
    algorithm: str = "MD5"
    opaque: bytes | None = field(default=None, repr=False)
    hashed: bool = False

    @property
    def count(self) -> int:
        """How many requests the client has made with this nonce, this one among them."""
        return int(self.nc, 16)

    @classmethod
    def from_auth_params(cls, rest: bytes) -> DigestCredentials:
        """Read what a client sent after ``Digest``. This is the reverse of ``to_auth_params``.

        Parameters that are not known are ignored. Raises ``WireError`` for one that is missing or empty, that stands
        twice or is out of its grammar, and for the form of RFC 2069, which has no ``qop``.
        """
        params = auth_params(rest)
        missing = next((name for name in _MISSING if not params.get(name)), None)
        if missing is not None:
            raise WireError(_MISSING[missing])
        if _COUNT.fullmatch(params["nc"]) is None:
            raise WireError("nc is not eight hexadecimal digits")
        if _DIGITS.fullmatch(params["response"]) is None:
            raise WireError("response is not 32 or 64 hexadecimal digits")
        hashed = _TRUTH.get(params.get("userhash", b"false").lower())
        if hashed is None:
            raise WireError("userhash is neither true nor false")
        credentials = cls(
            _username(params, hashed=hashed),
            params["realm"],
            params["nonce"],
            params["uri"],
            params["response"].lower(),
            params["qop"],
            params["cnonce"],
            params["nc"],
            # Of octets, for text would make two letters of one outside ASCII.
            params.get("algorithm", b"MD5").upper().decode("latin-1"),
            params.get("opaque"),
            hashed,
        )
        if credentials.count == 0:
            raise WireError("nc is zero")
        return credentials

    def to_auth_params(self) -> bytes:
        """What a client sends after ``Digest``. This is the reverse of ``from_auth_params``.

        A name outside ASCII goes as ``username*``.
        """
        name = self.username
        parts = [
            b'username="%b"' % quoted(name.encode("ascii"))
            if name.isascii()
            else b"username*=UTF-8''" + quote(name, safe=_ATTR_CHAR).encode("ascii"),
            b'realm="%b"' % quoted(self.realm),
            b'nonce="%b"' % quoted(self.nonce),
            b'uri="%b"' % quoted(self.uri),
            b'response="%b"' % self.response,
            b"qop=%b" % _bare(self.qop),
            b'cnonce="%b"' % quoted(self.cnonce),
            b"nc=%b" % self.nc,
            b"algorithm=%b" % _bare(self.algorithm.encode("latin-1")),
        ]
        if self.opaque is not None:
            parts.append(b'opaque="%b"' % quoted(self.opaque))
        if self.hashed:
            parts.append(b"userhash=true")
        return b", ".join(parts)

    def authentication_info(self, rspauth: bytes, nextnonce: str | None = None) -> bytes:
        """The value of ``Authentication-Info`` in the answer to these (RFC 7616 section 3.5), for ``qop=auth``."""
        parts = [b'rspauth="%b"' % rspauth, b"qop=auth", b'cnonce="%b"' % quoted(self.cnonce), b"nc=%b" % self.nc]
        if nextnonce is not None:
            parts.insert(0, b'nextnonce="%b"' % nextnonce.encode("ascii"))
        return b", ".join(parts)


def _bare(value: bytes) -> bytes:
    return value if TOKEN.fullmatch(value) else b'"%b"' % quoted(value)


def _username(params: Mapping[str, bytes], *, hashed: bool) -> str:
    plain, extended = params.get("username"), params.get("username*")
    if plain is not None and extended is not None:
        raise WireError("both username and username*")
    if hashed:
        # Section 3.4.4: what is hashed is ASCII, and needs no username*.
        if plain is None or _DIGITS.fullmatch(plain) is None:
            raise WireError("a hashed username is 32 or 64 hexadecimal digits")
        return plain.decode("ascii").lower()
    if extended is not None:
        found = _EXTENDED.fullmatch(extended)
        if found is None:
            raise WireError("username* is not in UTF-8 as of RFC 8187")
        plain = unquote_to_bytes(found[1])
    if not plain:
        raise WireError("no username")
    try:
        name = nfc(plain.decode("utf-8"))
    except UnicodeDecodeError:
        name = None
    if name is None or CONTROL.search(name):
        raise WireError("the username is not UTF-8, or holds a control character")
    return name


def resource(uri: bytes) -> bytes:
    """The path and the query of a ``uri`` or of a request target, as they were sent. RFC 7616 section 3.4.6.

    Not decoded, for ``%2F`` is no slash. A final ``?`` with nothing behind it is dropped: ASGI does not tell of it.
    """
    found = _ORIGIN.match(uri)
    if found is not None:
        uri = uri[found.end() :]
        uri = uri if uri.startswith(b"/") else b"/" + uri
    return uri[:-1] if uri.find(b"?") == len(uri) - 1 else uri


def ha1(hashed: Hash, username: str, realm: str, password: str) -> bytes:
    """``H(A1)`` without a session: what a store keeps, in hexadecimal digits. Section 3.4.2.

    All three in the form NFC (section 4).
    """
    return _digits(hashed, *(nfc(part).encode("utf-8") for part in (username, realm, password)))


def user_hash(hashed: Hash, username: str, realm: str) -> bytes:
    """What ``userhash=true`` sends for a name, in hexadecimal digits. Section 3.4.4."""
    return _digits(hashed, *(nfc(part).encode("utf-8") for part in (username, realm)))


def session(hashed: Hash, stored: bytes, nonce: bytes, cnonce: bytes) -> bytes:
    """``H(A1)`` of a ``-sess`` algorithm, of the nonce and cnonce that the session began with. Section 3.4.2."""
    return _digits(hashed, stored, nonce, cnonce)


def expected(
    hashed: Hash, stored: bytes, sent: DigestCredentials, method: bytes, entity: bytes | None = None, qop: bytes = b""
) -> bytes:
    """The ``response`` that fits these credentials, in hexadecimal digits. Sections 3.4.1 and 3.4.3.

    ``stored`` is what ``ha1`` or ``session`` made; ``entity`` is the body, for ``auth-int``. An empty method and the
    ``qop`` that is answered make it ``rspauth`` (section 3.5).
    """
    a2 = (method, sent.uri) if entity is None else (method, sent.uri, hashed(entity).hex().encode("ascii"))
    return _digits(hashed, stored, sent.nonce, sent.nc, sent.cnonce, qop or sent.qop, _digits(hashed, *a2))


def _digits(hashed: Hash, *parts: bytes) -> bytes:
    return hashed(b":".join(parts)).hex().encode("ascii")
