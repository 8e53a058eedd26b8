"""Parse signed tokens in the compact serialisation of JWS (RFC 7515, RFC 8725), in one strict pass.

Strict means that two parsers cannot disagree about a token. Each base64url part has only one spelling, a JSON object
has no duplicate member, and what only some JSON parsers accept (NaN, UTF-16, a byte order mark, half of a surrogate
pair) is an error.
"""

from __future__ import annotations

import binascii
import json
import re
from dataclasses import field
from functools import lru_cache
from itertools import accumulate
from typing import NoReturn, cast

from authguard.value_types import value
from authguard.wire.grammar import WireError

#: The longest token that is parsed, in bytes.
MAX_TOKEN = 8 * 1024

#: The deepest nesting of objects and arrays that is accepted. The interpreter's own limit is no substitute, because it
#: depends on how deep the call stack of the app already is.
MAX_DEPTH = 32

_MAX_CACHED_HEADER = 1024


@value
class JoseHeader:
    """The members of a JOSE header that authguard uses.

    ``crit`` is True if a ``crit`` member is present, whatever its value. ``b64`` is True if a ``b64`` member is present
    and is not ``true``; the signature then does not cover the payload as RFC 7515 defines it. Keys in the header
    (``jwk``, ``jku``, ``x5c``, ``x5u``) are left out on purpose: a token must not choose its own key (RFC 8725 section
    3.10). ``notable`` has the names of those, and of other members that explain why a token is refused; none of their
    values is used.
    """

    alg: str
    kid: str | None = None
    typ: str | None = None
    crit: bool = False
    b64: bool = False
    notable: tuple[str, ...] = ()


#: The names in ``JoseHeader.notable``. Microsoft signs another header than it sends where that has a ``nonce``, so that
#: only the API that a token is for can verify it. ``cty`` and ``zip`` are of tokens inside of others.
NOTABLE = ("nonce", "crit", "b64", "jwk", "jku", "x5c", "x5u", "cty", "zip")


@value
class Jws:
    """A well-formed token. It is not verified yet: ``signature`` may be wrong or empty.

    ``payload`` is its second part, in base64url, of which ``claims`` were read.
    """

    header: JoseHeader
    claims: dict[str, object] = field(repr=False)
    payload: bytes = field(repr=False)
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def parse(token: bytes, limit: int = MAX_TOKEN) -> Jws:
    """Parse a token. ``WireError`` is the only exception that the input can cause.

    https://www.rfc-editor.org/rfc/rfc7515.html#section-7.1

        BASE64URL(UTF8(JWS Protected Header)) || '.' ||
        BASE64URL(JWS Payload) || '.' ||
        BASE64URL(JWS Signature)
    """
    if len(token) > limit:
        raise WireError("too long")
    parts = token.split(b".", 5)
    if len(parts) != 3:
        raise WireError(_WRONG_NUMBER_OF_PARTS[len(parts)])
    header, payload, signature = parts
    read_header = _cached_header if len(header) <= _MAX_CACHED_HEADER else _read_header
    part = "header"
    try:
        members = read_header(header)
        part = "payload"
        claims = read_payload(payload)
        part = "signature"
        return Jws(members, claims, payload, token[: -len(signature) - 1], base64url_decode(signature))
    except WireError as error:
        error.part = part
        raise


def read_payload(segment: bytes) -> dict[str, object]:
    """The claims in the second part of a token. Raises ``WireError``."""
    return read_object(base64url_decode(segment))


_WRONG_NUMBER_OF_PARTS = {
    1: "no dot: an opaque token, not a JWS",
    2: "two parts: no signature",
    4: "four parts",
    5: "an encrypted token (JWE), five parts",
    6: "more than five parts",
}


def begins_like_jose(token: bytes) -> bool:
    """Whether the first part may be a JOSE header: in base64url, an opening brace and a quote, a space or a line break.

    Only a header that begins with white space does not, which nobody writes.
    """
    return token[:2] in _OBJECT_STARTS


_OBJECT_STARTS = frozenset({b"ey", b"ew"})


def is_jose(token: bytes) -> bool:
    """Tell a damaged JWS or a JWE from an opaque token, for a token that ``parse`` rejects.

    True if the first part is a JOSE header (RFC 7515 section 4.1.1), or begins like one and cannot be parsed.
    """
    first, dot, _ = token.partition(b".")
    if not dot or not begins_like_jose(first):
        return False
    try:
        return "alg" in read_object(base64url_decode(first))
    except WireError:
        return True


def _read_header(segment: bytes) -> JoseHeader:
    members = read_object(base64url_decode(segment))
    alg = _text(members, "alg")
    if alg is None:
        raise WireError("no alg")
    return JoseHeader(
        alg=alg,
        kid=_text(members, "kid"),
        typ=_text(members, "typ"),
        crit="crit" in members,
        b64=members.get("b64", True) is not True,
        notable=tuple([name for name in NOTABLE if name in members]),
    )


# An issuer signs with few keys, so most requests carry one of a few headers. A header that fails to parse raises and is
# not cached; the cache is bounded in number and in length of the headers.
_cached_header = lru_cache(maxsize=256)(_read_header)


def _text(members: dict[str, object], name: str) -> str | None:
    if name not in members:
        return None
    value = members[name]
    if not isinstance(value, str):
        raise WireError(_NOT_A_STRING[name])
    return value


_NOT_A_STRING = {
    "alg": "the header member alg is not a string",
    "kid": "the header member kid is not a string",
    "typ": "the header member typ is not a string",
}


# https://www.rfc-editor.org/rfc/rfc7515.html#section-2: base64url without padding, line breaks, whitespace or other
# characters. The URL alphabet is translated to the standard one; "+", "/" and "=" become a byte of neither alphabet.
_TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/\0\0\0")
# Indexed by the length modulo four: the padding that the decoder needs, and the characters that may come last. Those
# are the ones whose unused bits are zero; any other would be a second spelling of the same bytes. No base64 text has a
# length of one modulo four.
_PADDING = (b"", b"", b"==", b"=")
_LAST = (b"", b"", b"AQgw", b"AEIMQUYcgkosw048")


def base64url_decode(part: bytes) -> bytes:
    """The bytes of base64url without padding, in its only spelling. Raises ``WireError`` for anything else."""
    remainder = len(part) % 4
    if not remainder or part[-1] in _LAST[remainder]:
        try:
            return binascii.a2b_base64(part.translate(_TO_STANDARD) + _PADDING[remainder], strict_mode=True)
        except binascii.Error:
            pass
    # Some issuers pad (AWS Application Load Balancers do), and their users should learn why the token is refused.
    if part.endswith(b"="):
        raise WireError("base64url with padding")
    raise WireError("not base64url")


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise WireError("duplicate member")
    return members


def _no_constant(_: str) -> NoReturn:
    raise WireError("NaN or Infinity, which JSON does not have")


_JSON = json.JSONDecoder(object_pairs_hook=_members, parse_constant=_no_constant)


def read_object(data: bytes) -> dict[str, object]:
    """Parse one JSON object, as strictly as the parts of a token. Raises ``WireError``."""
    # This count includes brackets inside strings, so the exact depth is computed only where the count is large.
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _depth(data) > MAX_DEPTH:
        raise WireError("nested too deeply")
    value: object = None
    try:
        # json.loads would accept UTF-16 and UTF-32 too. A byte order mark survives the decoding, and is not valid JSON.
        text = data.decode("utf-8").strip(" \t\n\r")
        value, end = _JSON.raw_decode(text)
        if end != len(text):
            value = None
        elif "\\" in text and ("\\ud" in text or "\\uD" in text):
            # An escape can express half of a surrogate pair; UTF-8 cannot, so encoding raises for it.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except WireError:
        raise
    except ValueError:
        # Not JSON, not UTF-8, or a number with more digits than the interpreter converts. A WireError raised here would
        # carry this error, which holds the claims, as its context. It is therefore raised below.
        value = None
    if not isinstance(value, dict):
        raise WireError("not a JSON object in UTF-8")
    return cast("dict[str, object]", value)


# An unterminated string extends to the end of the text, so that no quote is tried twice as an opening quote.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NO_BRACKET = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def _depth(data: bytes) -> int:
    # Exact for valid JSON. For invalid JSON it is exact up to the first error, where every parser stops.
    brackets = _STRING.sub(b"", data).translate(None, _NO_BRACKET)
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0)
