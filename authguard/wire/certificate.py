"""Decode client certificates as proxies and servers pass them on: RFC 9440, PEM, and base64 alone.

What comes out is DER. Whether it is a certificate is for others to say.
"""

from __future__ import annotations

import binascii
import re
from urllib.parse import unquote_to_bytes

from authguard.wire.grammar import WireError

#: The longest text that is decoded, in bytes. A certificate with an RSA key of 4,096 bits takes about 2,500.
MAX_CERTIFICATE = 16 * 1024

# https://www.rfc-editor.org/rfc/rfc8941.html#section-3.3.5
#
#   sf-binary = ":" *(base64) ":"
#   base64    = ALPHA / DIGIT / "+" / "/" / "="
#
# https://www.rfc-editor.org/rfc/rfc9440.html#section-2.2: the value of `Client-Cert` is one sf-binary, for which no
# parameters are defined.
_BYTE_SEQUENCE = re.compile(rb":([A-Za-z0-9+/]*+={0,2}+):")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]++={0,2}+")

# https://www.rfc-editor.org/rfc/rfc7468.html#section-3: a textual encoding, with any whitespace where its ABNF has the
# end of a line, because a field cannot hold one: Apache writes spaces, old versions of nginx tabs.
#
#   preeb      = "-----BEGIN " label "-----"
#   base64text = ...
#   posteb     = "-----END " label "-----"
_PEM = re.compile(rb"\s*+-----BEGIN CERTIFICATE-----\s*+((?:[A-Za-z0-9+/]++=*+\s*+)++)-----END CERTIFICATE-----\s*+")


def from_byte_sequence(value: bytes) -> bytes:
    """The bytes in a Structured Field item, as ``Client-Cert`` has it (RFC 9440). Empty for ``::``.

    ``WireError`` is the only exception that the input can cause.
    """
    found = _BYTE_SEQUENCE.fullmatch(_bounded(value))
    if found is None:
        if b"," in value:
            raise WireError("several values, joined by a comma")
        if _BYTE_SEQUENCE.match(value) and b";" in value:
            raise WireError("parameters, which the field does not have")
        raise WireError("not a byte sequence between colons (RFC 9440)")
    # RFC 8941 section 4.2.7: missing padding is no reason to fail.
    return _decoded(found[1])


def from_base64(value: bytes) -> bytes:
    """The bytes that are written in base64 and nothing else. ``WireError`` is the only exception."""
    if _BASE64.fullmatch(_bounded(value)) is None:
        raise WireError("several values, joined by a comma" if b"," in value else "not base64")
    return _decoded(value)


def from_pem(value: bytes) -> bytes:
    """The first certificate of a PEM text, which may be percent-encoded. In a chain, it is that of the client.

    ``WireError`` is the only exception that the input can cause.
    """
    text = unquote_to_bytes(_bounded(value))
    place, first = 0, b""
    while place < len(text):
        found = _PEM.match(text, place)
        if found is None:
            raise WireError("several values, joined by a comma" if b"," in text else "not a certificate in PEM")
        place, first = found.end(), first or found[1]
    return _decoded(b"".join(first.split()))


def _bounded(value: bytes) -> bytes:
    if len(value) > MAX_CERTIFICATE:
        raise WireError("too long")
    return value


def _decoded(text: bytes) -> bytes:
    data = text.rstrip(b"=")
    try:
        return binascii.a2b_base64(data + b"=" * (-len(data) % 4), strict_mode=True)
    except binascii.Error:
        raise WireError("not base64") from None
