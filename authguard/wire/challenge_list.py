"""The challenges of a whole ``WWW-Authenticate`` field value, each with its place, and everything that is wrong.

https://www.rfc-editor.org/rfc/rfc9110.html#section-11.6.1

    WWW-Authenticate = #challenge
    challenge        = auth-scheme [ 1*SP ( token68 / #auth-param ) ]

The comma separates challenges, and also the parameters of one challenge. Which of both it is, is told by what comes
after it: a token before ``=`` is a parameter, and any other token begins a challenge.

The reader goes on after a mistake, so that all mistakes of a field can be told. It reads each byte a bounded number of
times: it never goes back, and all of its patterns are possessive. ``Challenge.parse_all`` is the strict reader.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import field

from authguard.value_types import mutable, value
from authguard.wire.grammar import OWS, QUOTED_PAIR, TOKEN, TOKEN68

#: The most elements of the list that are read: parameters, challenges and empty elements. Servers send fewer than 20.
MAX_ELEMENTS = 256

# The separator of an auth-param, with the whitespace that only old senders write (BWS, RFC 9110 section 5.6.3).
_EQUALS = re.compile(rb"([ \t]*+)=([ \t]*+)")

# A token68 that is the whole of what comes after the auth-scheme.
_WHOLE_TOKEN68 = re.compile(rb"(%b)%b(?:,|\Z)" % (TOKEN68.pattern, OWS.pattern))

# Not of an RFC: what a quoted-string looks like if its end is missing, or if it holds what the grammar forbids.
_LOOSE_STRING = rb'"((?:[^"\\]++|\\.)*+)("?)'
_LOOSE_QUOTED = re.compile(_LOOSE_STRING, re.DOTALL)

# Not of an RFC: everything up to the next comma that is not inside quotes.
_TO_COMMA = re.compile(rb'(?:[^",]++|%b)*+' % _LOOSE_STRING, re.DOTALL)

# What no quoted-string may hold: the controls but HTAB (section 5.6.4).
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

_COMMA, _QUOTE = 0x2C, 0x22

# The mistakes. Each is a constant phrase, so that no byte of the field can reach a log through it.
NO_TOKEN = "neither a challenge nor a parameter"
NO_SPACE = "no space after the auth-scheme"
TAB = "a tab in place of the space after the auth-scheme"
NO_SCHEME = "a parameter before any auth-scheme"
COMMA_AFTER_SCHEME = "a comma between the auth-scheme and its parameters"
AFTER_TOKEN68 = "a parameter after a token68"
NOT_PARAMS = "neither parameters nor a token68 after the auth-scheme"
NO_VALUE = "a parameter without a value"
UNCLOSED = "a quoted-string without an end"
CONTROL_CHARACTER = "a control character in a quoted-string"
NOT_A_TOKEN = "a value that needs quotes"
NO_COMMA = "no comma before a parameter"
AFTER_VALUE = "something after a value that is not a comma"
DUPLICATE = "a parameter that the challenge has already"
TOO_MANY = "too many elements"
# A sender must not write these two; a recipient must accept them (sections 5.6.1 and 5.6.3).
EMPTY_ELEMENT = "an empty element of the list"
BAD_WHITESPACE = "whitespace beside the equals sign of a parameter"

TOLERATED = frozenset({EMPTY_ELEMENT, BAD_WHITESPACE})


@value
class Mistake:
    """Something in the field that its sender must not write. ``position`` counts bytes from 0.

    ``scheme`` is the auth-scheme of the challenge in lower case, or None if there is none yet.
    """

    problem: str
    position: int
    scheme: str | None = None

    @property
    def is_tolerated(self) -> bool:
        """Whether recipients must accept it."""
        return self.problem in TOLERATED


@value
class ReadParam:
    """One auth-param as it was sent: the name in its case, and the value without quotes and escapes."""

    name: str
    value: bytes
    is_quoted: bool
    position: int


@mutable
class ReadChallenge:
    """One challenge as it was sent. Of a parameter that is listed twice, ``params`` has the first.

    ``has_space`` is whether a space stands after the auth-scheme, as parameters need it.
    """

    scheme: str
    position: int
    token68: bytes | None = None
    has_space: bool = False
    params: list[ReadParam] = field(default_factory=list)

    def get(self, name: str) -> ReadParam | None:
        """The parameter of this name, in whatever case, or None."""
        return next((param for param in self.params if param.name.lower() == name), None)


@value
class ChallengeList:
    """What a field value has: its challenges, and its mistakes in the order of their places."""

    challenges: Sequence[ReadChallenge]
    mistakes: Sequence[Mistake]


def read_challenges(line: bytes, limit: int = MAX_ELEMENTS) -> ChallengeList:
    """Read a field value of at most ``limit`` elements. It raises nothing: mistakes are part of the result.

    Several field lines are one value, joined by commas (RFC 9110 section 5.3).
    """
    reader = _Reader(line)
    reader.read(limit)
    return ChallengeList(reader.challenges, reader.mistakes)


class _Reader:
    """The place that has been reached, and what has been found before it."""

    def __init__(self, line: bytes) -> None:
        self.data = line.rstrip(b" \t")
        self.end = len(self.data)
        self.position = 0
        self.challenges: list[ReadChallenge] = []
        self.mistakes: list[Mistake] = []
        # Of the last challenge: its scheme in lower case, which all of its mistakes share, the names of its parameters
        # in lower case, and whether nothing has come after it.
        self._scheme: str | None = None
        self._names: set[bytes] = set()
        self._is_bare = True

    def read(self, limit: int) -> None:
        self._skip_whitespace()
        for _ in range(limit):
            if self.position == self.end:
                return
            if self.data[self.position] == _COMMA:
                self._note(EMPTY_ELEMENT)
            else:
                self._element()
                if self.position == self.end:
                    return
                if self.data[self.position] != _COMMA:
                    continue  # the comma is missing, which has been noted
            self.position += 1
            self._skip_whitespace()
            if self.position == self.end:
                self._note(EMPTY_ELEMENT)
        if self.position < self.end:
            self._note(TOO_MANY)

    def _note(self, problem: str, position: int | None = None) -> None:
        self.mistakes.append(Mistake(problem, self.position if position is None else position, self._scheme))

    def _skip_whitespace(self) -> None:
        self.position = _end(OWS, self.data, self.position)

    def _skip_to_comma(self) -> bytes:
        start, self.position = self.position, _end(_TO_COMMA, self.data, self.position)
        return self.data[start : self.position]

    def _is_at_separator(self) -> bool:
        return self.position == self.end or self.data[self.position] == _COMMA

    def _element(self) -> None:
        """Read one element of the list, and the whitespace after it: a challenge or a parameter."""
        token = TOKEN.match(self.data, self.position)
        if token is None:
            self._note(NO_TOKEN)
            self._skip_to_comma()
        elif _EQUALS.match(self.data, token.end()):
            self._further_param(token)
        else:
            self._challenge(token)

    def _challenge(self, token: re.Match[bytes]) -> None:
        challenge = ReadChallenge(token[0].decode("ascii"), token.start())
        self.challenges.append(challenge)
        self._scheme = challenge.scheme.lower()
        self._names.clear()
        self.position = token.end()
        self._skip_whitespace()
        space = self.data[token.end() : self.position]
        challenge.has_space = space.startswith(b" ")
        self._is_bare = self._is_at_separator()
        if self._is_bare:
            return
        if not space:
            self._note(NO_SPACE)
            self._skip_to_comma()
            return
        if b"\t" in space:
            self._note(TAB, token.end() + space.index(b"\t"))
        whole = _WHOLE_TOKEN68.match(self.data, self.position)
        if whole is not None:
            challenge.token68 = whole[1]
            self.position = whole.end(1)
            self._skip_whitespace()
            return
        name = TOKEN.match(self.data, self.position)
        if name is None or not _EQUALS.match(self.data, name.end()):
            self._note(NOT_PARAMS)
            self._skip_to_comma()
        else:
            self._param(challenge, name)

    def _further_param(self, name: re.Match[bytes]) -> None:
        """A parameter behind a comma, or without one."""
        if not self.challenges:
            self._note(NO_SCHEME)
            self._param(ReadChallenge("", 0), name)
            return
        challenge = self.challenges[-1]
        if challenge.token68 is not None:
            self._note(AFTER_TOKEN68)
        elif self._is_bare:
            # "Basic , realm=x" is a list that begins with an empty element; in "Basic, realm=x" no list has begun.
            self._note(EMPTY_ELEMENT if challenge.has_space else COMMA_AFTER_SCHEME)
            self._is_bare = False
        self._param(challenge, name)

    def _param(self, challenge: ReadChallenge, name: re.Match[bytes]) -> None:
        self.position = name.end()
        equals = _EQUALS.match(self.data, self.position)
        assert equals is not None  # noqa: S101 - each caller has looked
        if equals[1] or equals[2]:
            self._note(BAD_WHITESPACE)
        self.position = equals.end()
        is_quoted = self.position < self.end and self.data[self.position] == _QUOTE
        data = self._quoted() if is_quoted else self._token()
        key = name[0].lower()
        if key in self._names:
            self._note(DUPLICATE, name.start())
            return
        self._names.add(key)
        challenge.params.append(ReadParam(name[0].decode("ascii"), data, is_quoted, name.start()))

    def _quoted(self) -> bytes:
        start = self.position
        match = _LOOSE_QUOTED.match(self.data, start)
        assert match is not None  # noqa: S101 - it begins with a quote, and the rest is optional
        forbidden = _FORBIDDEN.search(match[1])
        if forbidden is not None:
            self._note(CONTROL_CHARACTER, match.start(1) + forbidden.start())
        self.position = match.end()
        if match[2]:
            self._after_value()
        else:
            self._note(UNCLOSED, start)
            self.position = self.end
        return QUOTED_PAIR.sub(rb"\1", match[1])

    def _token(self) -> bytes:
        if self._is_at_separator():
            self._note(NO_VALUE)
            return b""
        start = self.position
        self.position = _end(TOKEN, self.data, start)
        if self._is_at_separator() or self.data[self.position] in b" \t":
            data = self.data[start : self.position]
            self._after_value()
            return data
        self._note(NOT_A_TOKEN)
        self._skip_to_comma()
        return self.data[start : self.position].rstrip(b" \t")

    def _after_value(self) -> None:
        self._skip_whitespace()
        if self._is_at_separator():
            return
        name = TOKEN.match(self.data, self.position)
        if name is not None and _EQUALS.match(self.data, name.end()):
            self._note(NO_COMMA)
        else:
            self._note(AFTER_VALUE)
            self._skip_to_comma()


def _end(pattern: re.Pattern[bytes], data: bytes, position: int) -> int:
    """Where a match from this place ends; the place itself if there is none."""
    match = pattern.match(data, position)
    return position if match is None else match.end()
