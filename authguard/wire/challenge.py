"""One challenge of a WWW-Authenticate field, after RFC 9110 section 11.3."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from authguard.wire.grammar import CONTROL, TOKEN, WireError, is_token, parse_auth_params, quoted

#: The longest list of auth-params that is read, in elements.
MAX_PARAMS = 32


@dataclass(frozen=True, slots=True, init=False)
class Challenge:
    """What a scheme asks for. It is checked when it is built, so whatever exists can be sent.

    ``params`` may be given as a mapping or as pairs; their order is the order on the wire. Their names are kept in
    lower case, for case says nothing in them (section 11.2). A value is sent as a quoted-string, unless its name is in
    ``bare``: then as a token, which RFC 7616 asks for in places. Names in ``bare`` that this challenge does not have
    are dropped. Text outside ASCII is sent in UTF-8.
    """

    scheme: str
    params: tuple[tuple[str, str], ...]
    bare: frozenset[str]

    def __init__(
        self,
        scheme: str,
        params: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        bare: Collection[str] = frozenset(),
    ) -> None:
        if not is_token(scheme):
            raise ValueError("the auth-scheme of a challenge must be a token")
        if isinstance(bare, str):
            raise TypeError("bare must hold names, not be one")
        given = cast("Iterable[tuple[str, str]]", params.items() if isinstance(params, Mapping) else params)
        unquoted = {name.lower() for name in bare}
        checked: dict[str, str] = {}
        for name, value in given:
            key = name.lower()
            if (problem := _problem(name, value, bare=key in unquoted)) is not None:
                raise ValueError(f"the parameter {name!r} of a challenge {problem}")
            if key in checked:
                raise ValueError(f"the parameter {name!r} stands in a challenge twice")
            checked[key] = value
        # The class is frozen, and this is where it freezes.
        object.__setattr__(self, "scheme", scheme)
        object.__setattr__(self, "params", tuple(checked.items()))
        object.__setattr__(self, "bare", frozenset(unquoted & checked.keys()))

    def get(self, name: str) -> str | None:
        """The value of a parameter, whatever the case of its name; None where there is no such parameter."""
        return dict(self.params).get(name.lower())

    def to_header(self) -> bytes:
        """The value of a field with this challenge alone. This is the reverse of ``from_header``."""
        params = b", ".join(
            (b"%b=%b" if name in self.bare else b'%b="%b"') % (name.encode("ascii"), quoted(value.encode("utf-8")))
            for name, value in self.params
        )
        scheme = self.scheme.encode("ascii")
        return scheme + b" " + params if params else scheme

    @classmethod
    def from_header(cls, line: bytes) -> Challenge:
        """Read the value of a field that has one challenge, made of auth-params. This is the reverse of ``to_header``.

        https://www.rfc-editor.org/rfc/rfc9110.html#section-11.3

            challenge   = auth-scheme [ 1*SP ( token68 / #auth-param ) ]

        For tests and clients of ours: it takes what ``to_header`` can send, and says no to a second challenge, to a
        token68 and to a value that is not UTF-8.
        """
        line = line.strip(b" \t")
        found = TOKEN.match(line)
        if found is None:
            raise WireError("no auth-scheme")
        scheme = found[0].decode("ascii")
        rest = line[found.end() :]
        if rest and not rest.startswith(b" "):
            raise WireError("no space after the auth-scheme", scheme.lower())
        bare: set[str] = set()
        params = parse_auth_params(rest.lstrip(b" "), MAX_PARAMS, bare)
        try:
            return cls(scheme, [(name, value.decode("utf-8")) for name, value in params.items()], bare)
        except ValueError:
            pass
        raise WireError("a value that no challenge of ours has", scheme.lower())


def _problem(name: str, value: str, *, bare: bool) -> str | None:
    if not is_token(name):
        return "is not named by a token"
    if CONTROL.search(value):
        return "holds a control character"
    if any("\ud800" <= character <= "\udfff" for character in value):
        return "holds half of a surrogate pair, which UTF-8 cannot say"
    if bare and not is_token(value):
        return "is sent without quotes, so its value must be one"
    return None
