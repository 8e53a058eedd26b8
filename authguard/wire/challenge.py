"""Challenges: how one is built, written and read, and how a whole ``WWW-Authenticate`` field is read (RFC 9110)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import cast

from authguard.value_types import frozen
from authguard.wire.challenge_list import MAX_ELEMENTS, ReadChallenge, read_challenges
from authguard.wire.grammar import CONTROL, TOKEN, TOKEN68, WireError, is_token, parse_auth_params, quoted

#: The longest list of auth-params that is parsed, in elements.
MAX_PARAMS = 32


@frozen
class Challenge:
    """One challenge: the scheme and the parameters that tell a client how to authenticate.

    The constructor checks everything, so every ``Challenge`` can be sent. It raises ``ValueError`` for a name that is
    not a token, a name that is listed twice, and a value that cannot be sent.

    ``params`` is a mapping or an iterable of pairs; its order is the order on the wire. Names are stored in lower case,
    because they are case-insensitive (section 11.2). A value is sent as a quoted-string, unless its name is in
    ``bare``: then it is sent as a token, as RFC 7616 requires for some parameters. Names in ``bare`` that are not in
    ``params`` are ignored. Text outside ASCII is sent in UTF-8.

    ``token68`` is what some schemes, such as Negotiate, send in place of parameters.
    """

    scheme: str
    params: tuple[tuple[str, str], ...]
    bare: frozenset[str]
    token68: str | None

    def __init__(
        self,
        scheme: str,
        params: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        bare: Collection[str] = frozenset(),
        token68: str | None = None,
    ) -> None:
        if not is_token(scheme):
            raise ValueError("the auth-scheme of a challenge must be a token")
        if isinstance(bare, str):
            raise TypeError("bare must be a collection of names, not a string")
        pairs = cast("Iterable[tuple[str, str]]", params.items() if isinstance(params, Mapping) else params)
        unquoted = {name.lower() for name in bare}
        checked: dict[str, str] = {}
        for name, value in pairs:
            key = name.lower()
            if (problem := _problem(name, value, bare=key in unquoted)) is not None:
                raise ValueError(f"the parameter {name!r} of a challenge {problem}")
            if key in checked:
                raise ValueError(f"the parameter {name!r} of a challenge is listed twice")
            checked[key] = value
        if token68 is not None and (checked or not token68.isascii() or not TOKEN68.fullmatch(token68.encode("ascii"))):
            raise ValueError("the token68 of a challenge has other characters, or stands beside parameters")
        # A frozen class sets its own fields this way.
        object.__setattr__(self, "scheme", scheme)
        object.__setattr__(self, "params", tuple(checked.items()))
        object.__setattr__(self, "bare", frozenset(unquoted & checked.keys()))
        object.__setattr__(self, "token68", token68)

    def get(self, name: str) -> str | None:
        """Return the value of a parameter, or None. The case of the name does not matter."""
        return dict(self.params).get(name.lower())

    def to_header(self) -> bytes:
        """Return the value of a field with only this challenge. ``from_header`` and ``parse_all`` reverse it."""
        params = b", ".join(
            (b"%b=%b" if name in self.bare else b'%b="%b"') % (name.encode("ascii"), quoted(value.encode("utf-8")))
            for name, value in self.params
        )
        scheme = self.scheme.encode("ascii")
        if self.token68 is not None:
            params = self.token68.encode("ascii")
        return scheme + b" " + params if params else scheme

    @classmethod
    def from_header(cls, line: bytes) -> Challenge:
        """Parse the value of a field with one challenge. This is the reverse of ``to_header``.

        https://www.rfc-editor.org/rfc/rfc9110.html#section-11.3

            challenge   = auth-scheme [ 1*SP ( token68 / #auth-param ) ]

        For tests and clients. It reads what ``to_header`` writes, and raises ``WireError`` for anything else: a second
        challenge, or a value that is not UTF-8.
        """
        line = line.strip(b" \t")
        match = TOKEN.match(line)
        if match is None:
            raise WireError("no auth-scheme")
        scheme = match[0].decode("ascii")
        rest = line[match.end() :]
        if rest and not rest.startswith(b" "):
            raise WireError("no space after the auth-scheme", scheme.lower())
        rest = rest.lstrip(b" ")
        if TOKEN68.fullmatch(rest):
            return cls(scheme, token68=rest.decode("ascii"))
        bare: set[str] = set()
        params = parse_auth_params(rest, MAX_PARAMS, bare)
        try:
            return cls(scheme, [(name, value.decode("utf-8")) for name, value in params.items()], bare)
        except ValueError:
            pass
        raise WireError(_UNUSABLE, scheme.lower())

    @classmethod
    def parse_all(cls, line: bytes, limit: int = MAX_ELEMENTS) -> tuple[Challenge, ...]:
        """Parse the whole value of a ``WWW-Authenticate`` field: any number of challenges, in their order.

        https://www.rfc-editor.org/rfc/rfc9110.html#section-11.6.1

            WWW-Authenticate = #challenge

        Several field lines are one value: pass ``b", ".join(lines)``. Empty elements of the list, and whitespace beside
        an equals sign, are accepted, because recipients must (sections 5.6.1.2 and 5.6.3). The cost is linear in the
        length, and at most ``limit`` elements are read: each challenge, each further parameter, and each empty element
        is one.

        Raises ``WireError`` for the first mistake. Its ``position`` is the place in bytes from 0, and its ``scheme``
        that of the challenge. A value that is not UTF-8 or holds a control character is a mistake too, although the
        grammar allows some, because no ``Challenge`` can have it.
        """
        found = read_challenges(line, limit)
        mistake = next((mistake for mistake in found.mistakes if not mistake.is_tolerated), None)
        if mistake is not None:
            raise WireError(mistake.problem, mistake.scheme, mistake.position)
        return tuple(map(cls._from_read, found.challenges))

    @classmethod
    def _from_read(cls, read: ReadChallenge) -> Challenge:
        params: list[tuple[str, str]] = []
        for param in read.params:
            try:
                text = param.value.decode("utf-8")
            except UnicodeDecodeError:
                text = "\0"  # a control character, and refused as such
            if CONTROL.search(text):
                raise WireError(_UNUSABLE, read.scheme.lower(), param.position)
            params.append((param.name, text))
        bare = {param.name for param in read.params if not param.is_quoted}
        return cls(read.scheme, params, bare, None if read.token68 is None else read.token68.decode("ascii"))


#: Why the grammar allows a value, and a ``Challenge`` does not.
_UNUSABLE = "a value that is not UTF-8, or holds a control character"


def _problem(name: str, value: str, *, bare: bool) -> str | None:
    if not is_token(name):
        return "has a name that is not a token"
    if CONTROL.search(value):
        return "holds a control character"
    if any("\ud800" <= character <= "\udfff" for character in value):
        return "holds half of a surrogate pair, which UTF-8 cannot encode"
    if bare and not is_token(value):
        return "is sent without quotes, so its value must be a token"
    return None
