"""The grammar of credentials and challenges, after RFC 9110.

Each pattern stands under its ABNF and keeps three promises:

*Anchored.* Octets are read through ``fullmatch``, or through ``match`` where the last match ended; nothing between two
matches can be skipped. Searched is only what has been read already: for escapes, for control characters.

*Linear.* Every repeat is possessive (``*+``, ``++``): what it took it never gives back, so no octet is read twice. This
costs no match, because what may follow a repeat never begins with an octet that the repeat takes.

*Bounded.* The patterns carry no lengths. Whoever reads a field bounds its length before the first pattern runs, and a
list is bounded by its number of elements.
"""

from __future__ import annotations

import re


class WireError(ValueError):
    """These octets are not what the grammar asks for.

    ``problem`` is a constant phrase, so that no octet of the input can reach a log through it. ``scheme`` is the
    auth-scheme, in lower case, that the octets were addressed to, where that much could be read.
    """

    def __init__(self, problem: str, scheme: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.scheme = scheme


# https://www.rfc-editor.org/rfc/rfc9110.html#section-5.6.3
#
#   OWS            = *( SP / HTAB )
#                  ; optional whitespace
#   BWS            = OWS
#                  ; "bad" whitespace
OWS = re.compile(rb"[ \t]*+")
BWS = OWS

# https://www.rfc-editor.org/rfc/rfc9110.html#section-5.6.2
#
#   token          = 1*tchar
#   tchar          = "!" / "#" / "$" / "%" / "&" / "'" / "*"
#                  / "+" / "-" / "." / "^" / "_" / "`" / "|" / "~"
#                  / DIGIT / ALPHA
#                  ; any VCHAR, except delimiters
TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++")

# https://www.rfc-editor.org/rfc/rfc9110.html#section-11.2
#
#   token68        = 1*( ALPHA / DIGIT /
#                        "-" / "." / "_" / "~" / "+" / "/" ) *"="
TOKEN68 = re.compile(rb"[A-Za-z0-9\-._~+/]++=*+")

# https://www.rfc-editor.org/rfc/rfc9110.html#section-5.6.4
#
#   quoted-pair    = "\" ( HTAB / SP / VCHAR / obs-text )
#
# section 5.5:
#
#   obs-text       = %x80-FF
QUOTED_PAIR = re.compile(rb"\\([\t \x21-\x7e\x80-\xff])")

# https://www.rfc-editor.org/rfc/rfc9110.html#section-5.6.4
#
#   quoted-string  = DQUOTE *( qdtext / quoted-pair ) DQUOTE
#   qdtext         = HTAB / SP / %x21 / %x23-5B / %x5D-7E / obs-text
#
# The choice is written out as runs of qdtext with single quoted-pairs between them. It takes the same strings.
_QDTEXT = rb"[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]*+"
QUOTED_STRING = re.compile(rb'"(%b(?:%b%b)*+)"' % (_QDTEXT, rb"\\[\t \x21-\x7e\x80-\xff]", _QDTEXT))

# https://www.rfc-editor.org/rfc/rfc9110.html#section-11.2
#
#   auth-param     = token BWS "=" BWS ( token / quoted-string )
AUTH_PARAM = re.compile(
    rb"(%b)%b=%b(?:(%b)|%b)" % (TOKEN.pattern, BWS.pattern, BWS.pattern, TOKEN.pattern, QUOTED_STRING.pattern)
)

# https://www.rfc-editor.org/rfc/rfc9110.html#section-5.6.1.2
#
#   #element => [ element ] *( OWS "," OWS [ element ] )
#
# One element, which may be empty, with the comma that ends it or the end of the list.
_ELEMENT = re.compile(rb"(?:%b)?(?:%b(,)%b|\Z)" % (AUTH_PARAM.pattern, OWS.pattern, OWS.pattern))

# Not of RFC 9110: the general category Cc, that is C0, DEL and C1. RFC 7617 refuses them in user-id and password, and
# no challenge of ours sends one. The single class is looked for, not matched: one pass at most.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def is_token(text: str) -> bool:
    """Whether this text can be sent as a token."""
    return text.isascii() and TOKEN.fullmatch(text.encode("ascii")) is not None


def parse_auth_params(octets: bytes, limit: int, bare: set[str] | None = None) -> dict[str, bytes]:
    """Read a whole list of auth-params, at most ``limit`` elements long: the values by their names in lower case.

    The names of values that stood without quotes are added to ``bare``; mostly it makes no difference (section 11.2).
    Empty elements are ignored, as section 5.6.1.2 asks of recipients, but they count: it asks for a "reasonable
    number" of them. No name stands twice (section 11.2); names that differ in case alone are one name.
    """
    params: dict[str, bytes] = {}
    position = 0
    match = _ELEMENT.match
    for _ in range(limit):
        found = match(octets, position)
        if found is None:
            raise WireError("not a list of auth-params")
        raw_name, token, text, comma = found.groups()
        if raw_name is not None:
            name = raw_name.decode("ascii").lower()
            if name in params:
                raise WireError("duplicate auth-param")
            params[name] = token if text is None else QUOTED_PAIR.sub(rb"\1", text) if b"\\" in text else text
            if bare is not None and text is None:
                bare.add(name)
        if comma is None:
            return params
        position = found.end()
    raise WireError("too many auth-params")


def quoted(value: bytes) -> bytes:
    """What stands between the quotes of a quoted-string; ``parse_auth_params`` undoes it."""
    return value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
