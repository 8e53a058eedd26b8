"""The compact serialisation of a signed token, after RFC 7515 and RFC 8725: one strict pass over the raw octets.

Strict means that a token has one reading. Each of the base64url parts has one spelling, the JSON has no member twice,
and what only some readers take (NaN, UTF-16, a byte order mark, half of a surrogate pair) nobody gets to see.
"""

from __future__ import annotations

import binascii
import json
import re
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from typing import NoReturn, cast

from authguard.wire.grammar import WireError

#: The longest token that is read at all, in octets.
MAX_TOKEN = 8 * 1024

#: The deepest nesting of objects and arrays that is read. Fixed here, because the depth at which the interpreter gives
#: up depends on how deep in the app the guard was called.
MAX_DEPTH = 32

_MAX_CACHED_HEADER = 1024


@dataclass(frozen=True, slots=True)
class JoseHeader:
    """What the JOSE header says that is ever looked at.

    ``crit``: a ``crit`` member is present, whatever it holds. ``b64``: a ``b64`` member is present and not ``true``, so
    that the payload would not be what RFC 7515 signs. Keys that a header brings along (``jwk``, ``jku``, ``x5c``,
    ``x5u``) have no place here: a token does not choose its own key (RFC 8725 section 3.10).
    """

    alg: str
    kid: str | None = None
    typ: str | None = None
    crit: bool = False
    b64: bool = False


@dataclass(frozen=True, slots=True)
class Jws:
    """A token whose form is right. Nothing is proven yet: ``signature`` may be wrong, or empty."""

    header: JoseHeader
    claims: dict[str, object] = field(repr=False)
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def parse(token: bytes, limit: int = MAX_TOKEN) -> Jws:
    """Read a token, and raise nothing but ``WireError``.

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
    return Jws(
        read_header(header),
        read_object(_decode(payload)),
        token[: -len(signature) - 1],
        _decode(signature),
    )


_WRONG_NUMBER_OF_PARTS = {
    1: "no dot: an opaque token, not a JWS",
    2: "two parts: no signature",
    4: "four parts",
    5: "an encrypted token (JWE), five parts",
    6: "more than five parts",
}


def is_jose(token: bytes) -> bool:
    """Whether what is no JWS was meant for one, or for a JWE, and is no opaque token.

    Its first part then reads as a JOSE header (RFC 7515 section 4.1.1), or begins as one and does not read at all.
    """
    first, dot, _ = token.partition(b".")
    # An open brace, and the quote, the blank or the line break behind it.
    if not dot or first[:2] not in {b"ey", b"ew"}:
        return False
    try:
        return "alg" in read_object(_decode(first))
    except WireError:
        return True


def _read_header(segment: bytes) -> JoseHeader:
    members = read_object(_decode(segment))
    alg = _text(members, "alg")
    if alg is None:
        raise WireError("no alg")
    return JoseHeader(
        alg=alg,
        kid=_text(members, "kid"),
        typ=_text(members, "typ"),
        crit="crit" in members,
        b64=members.get("b64", True) is not True,
    )


# An issuer signs with few keys, so the same few headers come back with every request. Failures raise, and so are not
# kept; what is kept is bounded in number and in length.
_cached_header = lru_cache(maxsize=256)(_read_header)


def _text(members: dict[str, object], name: str) -> str | None:
    if name not in members:
        return None
    value = members[name]
    if not isinstance(value, str):
        raise WireError("a header member of the wrong type")
    return value


# https://www.rfc-editor.org/rfc/rfc7515.html#section-2: base64url without padding, line breaks, whitespace or other
# characters. The URL alphabet is turned into the standard one; "+", "/" and "=" become an octet of neither.
_TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/\0\0\0")
# By the length modulo four: the padding that the decoder wants, and the characters that may stand last. Those are the
# ones whose unused bits are zero; any other would be a second spelling. No encoding has a length of one modulo four.
_PADDING = (b"", b"", b"==", b"=")
_LAST = (b"", b"", b"AQgw", b"AEIMQUYcgkosw048")


def _decode(part: bytes) -> bytes:
    remainder = len(part) % 4
    if not remainder or part[-1] in _LAST[remainder]:
        try:
            return binascii.a2b_base64(part.translate(_TO_STANDARD) + _PADDING[remainder], strict_mode=True)
        except binascii.Error:
            pass
    # Some issuers pad (a load balancer of Amazon's is known for it), and their users should read why it fails.
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


def read_object(octets: bytes) -> dict[str, object]:
    """The one JSON object that the octets are, read as strictly as a token. Raises ``WireError``."""
    # Brackets inside strings count here, so only a large count needs a closer look.
    if octets.count(b"[") + octets.count(b"{") > MAX_DEPTH and _depth(octets) > MAX_DEPTH:
        raise WireError("nested too deeply")
    value: object = None
    try:
        # json.loads would guess at UTF-16 and UTF-32. A byte order mark is decoded, and is no JSON.
        text = octets.decode("utf-8").strip(" \t\n\r")
        value, end = _JSON.raw_decode(text)
        if end != len(text):
            value = None
        elif "\\" in text and ("\\ud" in text or "\\uD" in text):
            # Half of a surrogate pair is what an escape can say and UTF-8 cannot.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except WireError:
        raise
    except ValueError:
        # Not JSON, not UTF-8, or more digits than the interpreter converts. Raised below and not here: as context of
        # ours, the error would carry the claims along.
        value = None
    if not isinstance(value, dict):
        raise WireError("not a JSON object in UTF-8")
    return cast("dict[str, object]", value)


# A string that does not end runs to the end of the text, so that no quote is tried as an opening one twice.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NO_BRACKET = bytes(octet for octet in range(256) if octet not in b"[]{}")
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def _depth(octets: bytes) -> int:
    # The true depth of what is JSON. In what is not, it is true up to the first fault, and no parser goes beyond.
    brackets = _STRING.sub(b"", octets).translate(None, _NO_BRACKET)
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0)
