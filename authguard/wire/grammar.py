"""The grammar of credentials and challenges (RFC 9110).

Each pattern stands below the ABNF that it implements, and has three properties:

*Anchored.* Input is read with ``fullmatch``, or with ``match`` from the end of the previous match, so nothing between
two matches can be skipped. ``search`` and ``sub`` only run on text that has been matched already, to find escapes and
control characters.

*Linear.* Every repeat is possessive (``*+``, ``++``): it never backtracks, so no byte is read twice. No valid input is
lost by this, because whatever may follow a repeat never begins with a byte that the repeat matches.

*Bounded.* The patterns contain no length limits. The caller limits the length of a field before the first pattern runs;
a list is limited by its number of elements.
"""

from __future__ import annotations

import re


class WireError(ValueError):
    """The input does not match the grammar.

    ``problem`` is a constant phrase, so that no byte of the input can reach a log through it. ``scheme`` is the
    auth-scheme of the input in lower case, or None if it could not be read. ``part`` is the part of the input that has
    the problem, if it has parts: ``"payload"``. ``position`` is the place of the problem in bytes from 0, where the
    parser knows it.
    """

    def __init__(
        self, problem: str, scheme: str | None = None, position: int | None = None, *, part: str | None = None
    ) -> None:
        super().__init__(problem if position is None else f"{problem}, at byte {position}")
        self.problem = problem
        self.scheme = scheme
        self.part = part
        self.position = position


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

# Not of an RFC: the tokens of servers that do not keep to token68. Visible ASCII is VCHAR of RFC 5234 appendix B.1. A
# comma is left out, because a proxy may have joined two field lines with one.
VISIBLE = re.compile(rb"[\x21-\x2b\x2d-\x7e]++")

# https://www.rfc-editor.org/rfc/rfc9110.html#section-5.6.4
#
#   quoted-pair    = "\" ( HTAB / SP / VCHAR / obs-text )
#
# section 5.5:
#
#   obs-text       = %x80-FF
QUOTED_PAIR = re.compile(rb"\\([\t \x21-\x7e\x80-\xff])")

# Not of an RFC: the pairs that are escapes where a backslash before anything else stands for itself.
_LITERAL_PAIR = re.compile(rb'\\(["\\])')

# https://www.rfc-editor.org/rfc/rfc9110.html#section-5.6.4
#
#   quoted-string  = DQUOTE *( qdtext / quoted-pair ) DQUOTE
#   qdtext         = HTAB / SP / %x21 / %x23-5B / %x5D-7E / obs-text
#
# The alternation is written as runs of qdtext separated by single quoted-pairs. It matches the same strings.
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
# One element, which may be empty, and the comma after it or the end of the list.
ELEMENT = re.compile(rb"(?:%b)?(?:%b(,)%b|\Z)" % (AUTH_PARAM.pattern, OWS.pattern, OWS.pattern))

# Not from RFC 9110: the general category Cc, that is C0, DEL and C1. RFC 7617 forbids them in user-id and password, and
# ``Challenge`` refuses to send one. A search for a single character class reads the text once.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def is_token(text: str) -> bool:
    """Whether the text can be sent as a token."""
    return text.isascii() and TOKEN.fullmatch(text.encode("ascii")) is not None


def parse_auth_params(
    data: bytes, limit: int, bare: set[str] | None = None, *, literal: str | None = None
) -> dict[str, bytes]:
    """Parse a list of auth-params of at most ``limit`` elements: the values, by their names in lower case.

    If ``bare`` is given, the names of the values without quotes are added to it. For most callers quotes make no
    difference (section 11.2). Empty elements are ignored, as section 5.6.1.2 requires of recipients, but they count
    towards the limit, because it requires only "a reasonable number" of them. A name that is listed twice, in
    whatever case, is an error (section 11.2). All errors are ``WireError``.

    ``literal`` names a parameter in whose quoted-string a backslash escapes only a quote and a backslash. Before any
    other character it is a backslash, as clients mean it that do not know that it must be escaped.
    """
    params: dict[str, bytes] = {}
    position = 0
    match = ELEMENT.match
    for _ in range(limit):
        element = match(data, position)
        if element is None:
            raise WireError("not a list of auth-params")
        raw_name, token, text, comma = element.groups()
        if raw_name is not None:
            name = raw_name.decode("ascii").lower()
            if name in params:
                raise WireError("duplicate auth-param")
            if text is not None and b"\\" in text:
                text = (_LITERAL_PAIR if name == literal else QUOTED_PAIR).sub(rb"\1", text)
            params[name] = token if text is None else text
            if bare is not None and text is None:
                bare.add(name)
        if comma is None:
            return params
        position = element.end()
    raise WireError("too many auth-params")


def quoted(value: bytes) -> bytes:
    """Escape a value for the inside of a quoted-string. ``parse_auth_params`` reverses it."""
    return value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
