"""Digest credentials and the hashes computed from them (RFC 7616).

The hash function is an argument. Comparing two digests is left to the caller, who must do it in constant time.
"""

from __future__ import annotations

import re
from binascii import hexlify
from collections.abc import Callable, Mapping
from dataclasses import field
from functools import cache
from typing import TypeAlias
from urllib.parse import quote, unquote_to_bytes

from authguard.value_types import value
from authguard.wire.authorization import MAX_PARAMS, auth_params
from authguard.wire.grammar import CONTROL, OWS, TOKEN, WireError, parse_auth_params, quoted
from authguard.wire.text import nfc

#: A hash function, such as ``lambda data: hashlib.sha256(data).digest()``.
Hash: TypeAlias = Callable[[bytes], bytes]

# https://www.rfc-editor.org/rfc/rfc7616.html#section-3.4
#
#   nc-value       = 8LHEX
#
# Upper case is accepted too, because some clients send it. It is hashed as it was sent.
_NC_VALUE = re.compile(rb"[0-9a-fA-F]{8}")
# Not of an RFC: without its leading zeros, as a few clients send it.
_LOOSE_NC = re.compile(rb"[0-9a-fA-F]{1,8}+")

# https://www.rfc-editor.org/rfc/rfc8187.html#section-3.2.1
#
#   ext-value     = charset  "'" [ language ] "'" value-chars
#   value-chars   = *( pct-encoded / attr-char )
#   attr-char     = ALPHA / DIGIT / "!" / "#" / "$" / "&" / "+" / "-" / "." / "^" / "_" / "`" / "|" / "~"
_EXT_VALUE = re.compile(rb"[uU][tT][fF]-8'[A-Za-z0-9-]*+'((?:%[0-9a-fA-F]{2}|[A-Za-z0-9!#$&+\-.^_`|~])++)")
_ATTR_CHAR = "!#$&+^`|"  # urllib.parse.quote would escape these; RFC 8187 does not

# https://www.rfc-editor.org/rfc/rfc7616.html#section-3.4
#
#   request-digest = <"> *LHEX <">
#
# of 128 bits (MD5) or 256. Upper case has the same meaning.
_HEX_DIGEST = re.compile(rb"[0-9a-fA-F]{32}(?:[0-9a-fA-F]{32})?")

# https://www.rfc-editor.org/rfc/rfc7616.html#section-3.4, as clients usually write it:
#
#   params         = param *( "," OWS param )
#   param          = "username=" text / "realm=" text / "nonce=" text / "uri=" text / "response=" digest
#                  / "qop=" word / "cnonce=" text / "nc=" nc-value
#                  / "algorithm=" word / "opaque=" text / "userhash=" ( "true" / "false" )
#   text           = DQUOTE 1*( HTAB / SP / %x21 / %x23-2B / %x2D-5B / %x5D-7E / %x80-FF ) DQUOTE
#   digest         = DQUOTE 1*2( 32LHEX ) DQUOTE
#   word           = token / ( DQUOTE token DQUOTE )
#
# The names are in lower case, and no value contains an escape or a comma, so there is one parameter more than there are
# commas. Each number of parameters has a pattern of its own, which repeats its group exactly so often. No two of its
# alternatives match at the same place, so it reads nothing twice, and each group has what the last parameter of its
# name says.
_QUOTED = rb'"([\t \x21\x23-\x2b\x2d-\x5b\x5d-\x7e\x80-\xff]++)"'
_WORD = rb'(%b|"%b")' % (TOKEN.pattern, TOKEN.pattern)
_REQUIRED = {
    "username": _QUOTED,
    "realm": _QUOTED,
    "nonce": _QUOTED,
    "uri": _QUOTED,
    "response": rb'"([0-9a-f]{32}(?:[0-9a-f]{32})?)"',
    "qop": _WORD,
    "cnonce": _QUOTED,
    "nc": rb"(%b)" % _NC_VALUE.pattern,
}
_OPTIONAL = {"algorithm": _WORD, "opaque": _QUOTED, "userhash": rb"(true|false)"}
_PARAM = b"|".join(b"%b=%b" % (name.encode(), value) for name, value in (_REQUIRED | _OPTIONAL).items())
_LEAST, _MOST = len(_REQUIRED), len(_REQUIRED) + len(_OPTIONAL)


@cache
def _usual_form(number: int) -> re.Pattern[bytes]:
    """The pattern of so many parameters, ``_LEAST`` to ``_MOST``. It is compiled when it is first needed."""
    return re.compile(rb"(?:(?:%b)(?:,%b|\Z)){%d}" % (_PARAM, OWS.pattern, number))


# https://www.rfc-editor.org/rfc/rfc3986.html#section-3: the scheme and the authority. The user information before "@"
# may hold a password.
_ORIGIN = re.compile(rb"([A-Za-z][A-Za-z0-9+\-.]*+)://(?:[^/?#@]*+@)*+([^/?#@]*+)")
_DEFAULT_PORTS = {b"http": b":80", b"https": b":443", b"ws": b":80", b"wss": b":443"}

# https://www.rfc-editor.org/rfc/rfc2069.html#section-2.1.2
#
#   credentials         = "Digest" digest-response
#   digest-response     = 1#( username | realm | nonce | digest-uri | response | [ digest ] | [ algorithm ] | opaque )
#
# This form has no qop, and knows MD5 alone.
_MISSING_IN_RFC2069 = {"realm": "no realm", "nonce": "no nonce", "uri": "no uri", "response": "no response"}
_MISSING = {**_MISSING_IN_RFC2069, "qop": "no qop", "cnonce": "no cnonce", "nc": "no nc"}
_BOOLEANS = {b"true": True, b"false": False}
_ZERO = b"0" * 8


@value
class DigestCredentials:
    """The parameters of ``Digest`` credentials, each value without its quotes (RFC 7616 section 3.4).

    ``username`` is in NFC. If ``hashed`` is True, it is the hexadecimal digest of ``name:realm`` in lower case instead
    (``userhash=true``). ``algorithm`` is in upper case; it is MD5 if the client sent none (section 3.3). In the form of
    RFC 2069, ``qop``, ``cnonce`` and ``nc`` are empty. ``latin1`` is True if the name was in ISO-8859-1, and
    ``backslash`` if a backslash in it was not escaped.
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
    latin1: bool = False
    backslash: bool = False

    @property
    def count(self) -> int:
        """The number of requests that the client has sent with this nonce, including this one; 0 without ``nc``."""
        return int(self.nc or b"0", 16)

    @classmethod
    def from_auth_params(
        cls,
        rest: bytes,
        *,
        rfc2069: bool = False,
        loose_nc: bool = False,
        latin1: bool = False,
        literal_backslash: bool = False,
    ) -> DigestCredentials:
        """Parse what a client sent after ``Digest``. This is the reverse of ``to_auth_params``.

        Unknown parameters are ignored. Raises ``WireError`` for a parameter that is missing, empty, listed twice or
        malformed.

        - ``rfc2069``: whether credentials for MD5 may have no ``qop``. Their ``cnonce`` and ``nc``, which some such
          clients send all the same, are in no hash, and are ignored.
        - ``loose_nc``: whether ``nc`` may have fewer than eight digits, and be zero.
        - ``latin1``: whether a name that is not UTF-8 is read as ISO-8859-1.
        - ``literal_backslash``: whether a backslash in the name stands for itself, unless a quote or another follows.
        """
        return cls._from_usual_form(rest) or cls._from_any_form(
            rest, rfc2069=rfc2069, loose_nc=loose_nc, latin1=latin1, literal_backslash=literal_backslash
        )

    @classmethod
    def _from_usual_form(cls, rest: bytes) -> DigestCredentials | None:
        """Parse the form that clients usually write in one match; None for any other form, and for every error."""
        number = rest.count(b",") + 1
        match = _usual_form(number).fullmatch(rest) if _LEAST <= number <= _MOST else None
        if match is None:
            return None
        values = match.groups()
        username, realm, nonce, uri, response, qop, cnonce, nc, algorithm, opaque, userhash = values
        if not (username and realm and nonce and uri and response and qop and cnonce and nc):
            return None
        # If a parameter is listed twice, there are more parameters than groups with a value.
        if len(values) - values.count(None) != number:
            return None
        hashed = userhash == b"true"
        name = _hashed_name(username) if hashed else _text_of(username)
        if name is None or nc == _ZERO:
            return None
        return cls(
            name,
            realm,
            nonce,
            uri,
            response,
            qop.strip(b'"'),
            cnonce,
            nc,
            "MD5" if algorithm is None else algorithm.strip(b'"').upper().decode("ascii"),
            opaque,
            hashed,
        )

    @classmethod
    def _from_any_form(
        cls, rest: bytes, *, rfc2069: bool, loose_nc: bool, latin1: bool, literal_backslash: bool
    ) -> DigestCredentials:
        """Parse every form that the grammar allows, parameter by parameter."""
        params = auth_params(rest)
        backslash = False
        if literal_backslash and b"\\" in rest:
            literal = parse_auth_params(rest, MAX_PARAMS, literal="username")
            backslash, params = literal != params, literal
        if rfc2069 and "qop" not in params and params.get("algorithm", b"MD5").upper() == b"MD5":
            missing = next((name for name in _MISSING_IN_RFC2069 if not params.get(name)), None)
            params |= dict.fromkeys(("qop", "cnonce", "nc"), b"")
        else:
            missing = next((name for name in _MISSING if not params.get(name)), None)
        if missing is not None:
            raise WireError(_MISSING[missing])
        if params["qop"] and (_LOOSE_NC if loose_nc else _NC_VALUE).fullmatch(params["nc"]) is None:
            raise WireError("nc is not eight hexadecimal digits")
        if _HEX_DIGEST.fullmatch(params["response"]) is None:
            raise WireError("response is not 32 or 64 hexadecimal digits")
        hashed = _BOOLEANS.get(params.get("userhash", b"false").lower())
        if hashed is None:
            raise WireError("userhash is neither true nor false")
        username, is_latin1 = _username(params, hashed=hashed, latin1=latin1)
        if params["nc"] == _ZERO and not loose_nc:
            raise WireError("nc is zero")
        return cls(
            username,
            params["realm"],
            params["nonce"],
            params["uri"],
            params["response"].lower(),
            params["qop"],
            params["cnonce"],
            params["nc"],
            # upper() before decode(): in text, upper() would also change letters outside ASCII ("ß" to "SS").
            params.get("algorithm", b"MD5").upper().decode("latin-1"),
            params.get("opaque"),
            hashed,
            is_latin1,
            backslash,
        )

    def to_auth_params(self) -> bytes:
        """Return what a client sends after ``Digest``. This is the reverse of ``from_auth_params``.

        A name outside ASCII is sent as ``username*``.
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
        ]
        if self.qop:
            parts.append(b"qop=%b" % _token_or_quoted(self.qop))
            parts.append(b'cnonce="%b"' % quoted(self.cnonce))
            parts.append(b"nc=%b" % self.nc)
        parts.append(b"algorithm=%b" % _token_or_quoted(self.algorithm.encode("latin-1")))
        if self.opaque is not None:
            parts.append(b'opaque="%b"' % quoted(self.opaque))
        if self.hashed:
            parts.append(b"userhash=true")
        return b", ".join(parts)

    def authentication_info(self, rspauth: bytes, nextnonce: str | None = None) -> bytes:
        """Return the value of ``Authentication-Info`` in the response (RFC 7616 section 3.5), for ``qop=auth``.

        To credentials of RFC 2069 it is the next nonce alone: that form has no other proof than one of the whole body.
        """
        if not self.qop:
            return b'nextnonce="%b"' % (nextnonce or "").encode("ascii")
        info = b'rspauth="%b", qop=auth, cnonce="%b", nc=%b' % (rspauth, quoted(self.cnonce), self.nc)
        return info if nextnonce is None else b'nextnonce="%b", %b' % (nextnonce.encode("ascii"), info)


def _token_or_quoted(value: bytes) -> bytes:
    return value if TOKEN.fullmatch(value) else b'"%b"' % quoted(value)


def _username(params: Mapping[str, bytes], *, hashed: bool, latin1: bool) -> tuple[str, bool]:
    """The name, and whether it was read as ISO-8859-1."""
    plain, extended = params.get("username"), params.get("username*")
    if plain is not None and extended is not None:
        raise WireError("both username and username*")
    if hashed:
        # Section 3.4.4: a hashed name is ASCII, so it is never sent as username*.
        name = None if plain is None else _hashed_name(plain)
        if name is None:
            raise WireError("a hashed username is 32 or 64 hexadecimal digits")
        return name, False
    if extended is not None:
        match = _EXT_VALUE.fullmatch(extended)
        if match is None:
            raise WireError("username* is not in UTF-8 as of RFC 8187")
        plain = unquote_to_bytes(match[1])
    if not plain:
        raise WireError("no username")
    name = _text_of(plain)
    is_latin1 = name is None and latin1 and extended is None and not _is_utf8(plain)
    if is_latin1:
        name = _text_of(plain.decode("latin-1").encode("utf-8"))
    if name is None:
        raise WireError("the username is not UTF-8, or holds a control character")
    return name, is_latin1


def _is_utf8(plain: bytes) -> bool:
    try:
        plain.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _hashed_name(plain: bytes) -> str | None:
    return None if _HEX_DIGEST.fullmatch(plain) is None else plain.decode("ascii").lower()


def _text_of(plain: bytes) -> str | None:
    """The text in NFC; None if it is not UTF-8, or holds a control character."""
    try:
        name = plain.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if name.isascii():
        return name if name.isprintable() else None  # without a search, because most names are ASCII
    name = nfc(name)
    return None if CONTROL.search(name) else name


def resource(uri: bytes) -> bytes:
    """Return the path and the query of a ``uri`` or of a request target, as they were sent (RFC 7616 section 3.4.6).

    Nothing is percent-decoded, because ``%2F`` is not a slash. A ``?`` without a query is removed, because ASGI does
    not report it.
    """
    origin = _ORIGIN.match(uri)
    if origin is not None:
        uri = uri[origin.end() :]
        uri = uri if uri.startswith(b"/") else b"/" + uri
    return uri[:-1] if uri.find(b"?") == len(uri) - 1 else uri


def authority(uri: bytes) -> tuple[bytes, bytes] | None:
    """Return the scheme and the authority of an absolute ``uri`` or request target; None for any other.

    The authority is as ``normalized_authority`` returns it, and without user information.
    """
    origin = _ORIGIN.match(uri)
    if origin is None:
        return None
    scheme = origin[1].lower()
    return scheme, normalized_authority(origin[2], scheme)


def normalized_authority(host_and_port: bytes, scheme: bytes) -> bytes:
    """Return a host and its port in lower case, and without the default port of the scheme.

    https://www.rfc-editor.org/rfc/rfc9110.html#section-4.2.3
    """
    value = host_and_port.lower()
    port = _DEFAULT_PORTS.get(scheme, b":")
    return value.removesuffix(b":").removesuffix(port)


def ha1(hash_function: Hash, username: str, realm: str, password: str) -> bytes:
    """Return ``H(A1)`` in hexadecimal digits: the hash of a password that a store keeps (RFC 7616 section 3.4.2).

    Name, realm and password are normalised to NFC first (section 4).
    """
    return hexlify(hash_function(b":".join(nfc(part).encode("utf-8") for part in (username, realm, password))))


def user_hash(hash_function: Hash, username: str, realm: str) -> bytes:
    """Return the hashed name that a client sends with ``userhash=true``, in hexadecimal digits (section 3.4.4)."""
    return hexlify(hash_function(b":".join(nfc(part).encode("utf-8") for part in (username, realm))))


def session(hash_function: Hash, ha1: bytes, nonce: bytes, cnonce: bytes) -> bytes:
    """Return ``H(A1)`` for a ``-sess`` algorithm, from the first nonce and cnonce of the session (section 3.4.2)."""
    return hexlify(hash_function(b":".join((ha1, nonce, cnonce))))


def expected_response(
    hash_function: Hash,
    ha1: bytes,
    credentials: DigestCredentials,
    method: bytes,
    entity: bytes | None = None,
    qop: bytes = b"",
) -> bytes:
    """Return the ``response`` that a client with the right password sends (RFC 7616 sections 3.4.1 and 3.4.3).

    ``ha1`` is the result of ``ha1()`` or ``session()``. ``entity`` is the request body, for ``auth-int`` only. With an
    empty method and ``qop``, the result is the server's ``rspauth`` (section 3.5). For credentials without ``qop`` it
    is the response of RFC 2069.
    """
    a2 = method + b":" + credentials.uri
    if entity is not None:
        a2 += b":" + hexlify(hash_function(entity))
    ha2 = hexlify(hash_function(a2))
    if not credentials.qop:  # RFC 2069 section 2.1.2
        return hexlify(hash_function(b":".join((ha1, credentials.nonce, ha2))))
    parts = ha1, credentials.nonce, credentials.nc, credentials.cnonce, qop or credentials.qop, ha2
    return hexlify(hash_function(b":".join(parts)))
