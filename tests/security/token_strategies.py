"""Hypothesis strategies for tokens: headers and payloads that are nearly right, and tokens with changed bytes."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from tests.security.unusual_tokens import FOREIGN_KEYS
from tests.support.clock import NOW
from tests.support.tokens import AUDIENCE, ISSUER, claims

_texts = st.text(st.characters(), max_size=6) | st.sampled_from(["\ud800", "\0", "", " ", "\ufeff", "orders", ISSUER])
_numbers = st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), 10**12, 1e400, 1e308, 2**63, -0.0])
_leaves = st.none() | st.booleans() | _numbers | _texts
_values: st.SearchStrategy[Any] = st.recursive(
    _leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=2), max_leaves=4
)

_offsets = st.integers(-70, 70) | st.integers(-(10**7), 10**7)
_whole_stamps = _offsets.map(lambda offset: int(NOW) + offset)
_stamps = _whole_stamps | _offsets.map(lambda offset: NOW + offset + 0.5)
# PyJWT cuts off the fraction of `exp`, so it is stricter by up to a second, which has a test of its own.
_ends = _whole_stamps | _whole_stamps.filter(lambda at: at != NOW - 60).map(lambda at: at + 0.5)

_claims: dict[str, st.SearchStrategy[Any]] = {
    "exp": _ends | _values | _ends.map(str),
    "nbf": _stamps | _values | _stamps.map(str),
    "iat": _stamps | _values | _stamps.map(str),
    "aud": st.lists(_leaves | st.just(AUDIENCE), max_size=3) | _values,
    "iss": st.just(ISSUER) | _values,
    "sub": _texts | _values,
    "jti": _texts | _values,
    "scope": _values,
    "roles": _values,
    "cnf": st.none() | _values,
}


@st.composite
def _members(draw: st.DrawFn, good: dict[str, Any], odd: dict[str, st.SearchStrategy[Any]]) -> list[tuple[str, Any]]:
    """The members of an object: the valid ones, of which a few are unusual, missing or repeated."""
    members = dict(good)
    for name in draw(st.lists(st.sampled_from(sorted(odd)), max_size=3, unique=True)):
        members[name] = draw(odd[name])
        if draw(st.integers(0, 7)) == 7:
            del members[name]
    if draw(st.integers(0, 3)) == 3:
        members[draw(_texts)] = draw(_values)
    again = [draw(st.sampled_from(sorted(members.items(), key=str)))] if draw(st.integers(0, 15)) == 15 else []
    return [*members.items(), *again]


@st.composite
def _written(draw: st.DrawFn, members: st.SearchStrategy[list[tuple[str, Any]]]) -> bytes:
    """The JSON of an object, in one of its possible spellings."""
    before, after = draw(st.sampled_from([("", ""), ("", " "), (" ", "\n"), ("\t\r", "")]))
    ascii_only = draw(st.booleans())
    parts = [
        f"{json.dumps(name, ensure_ascii=ascii_only)}{before}:{after}{json.dumps(value, ensure_ascii=ascii_only)}"
        for name, value in draw(members)
    ]
    text = f"{before}{{{after}{f'{before},{after}'.join(parts)}}}{before}"
    codec = draw(st.sampled_from(["utf-8"] * 13 + ["utf-8-sig", "utf-16", "utf-32-le"]))
    return text.encode(codec, "surrogatepass")


def payloads() -> st.SearchStrategy[bytes]:
    """Payloads that may be valid, or a little wrong."""
    return _written(_members(claims(), _claims))


def headers(algorithm: str) -> st.SearchStrategy[bytes]:
    """Headers that may be valid, or ask for unusual things."""
    odd: dict[str, st.SearchStrategy[Any]] = {
        "alg": st.sampled_from([algorithm, "none", algorithm.lower(), "HS256", "RS512"]) | _values,
        "typ": st.sampled_from(["at+jwt", "JWT", "dpop+jwt", "application/jwt"]) | _values,
        "kid": _values,
        "crit": st.lists(st.sampled_from(["b64", "exp", "x"]), max_size=2) | _values,
        "b64": st.booleans() | _values,
        "cty": _values,
        **{name: st.just(value) | _values for name, value in FOREIGN_KEYS.items()},
    }
    return _written(_members({"alg": algorithm, "typ": "JWT"}, odd))


@st.composite
def slips(draw: st.DrawFn) -> bytes:
    """Valid claims with one or two typing errors in their JSON."""
    words = ["{", "}", "[", "]", ",", ":", '"', "\\", " ", "1", "-", "e9", ".5", "\ud800", "\ufeff", "\0", ', "exp": 1']
    text = json.dumps(claims())
    for at in draw(st.lists(st.integers(0, len(text)), min_size=1, max_size=2)):
        text = text[:at] + draw(st.sampled_from(words)) + text[at + draw(st.integers(0, 1)) :]
    return text.encode("utf-8", "surrogatepass")


@st.composite
def mutated(draw: st.DrawFn, token: bytes) -> bytes:
    """A token with a few bytes changed, inserted, removed or repeated."""
    data = bytearray(token)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        octet = draw(st.integers(0, 255) | st.sampled_from(b".=-_+/ AQgw\n\0"))
        match draw(st.sampled_from(["change", "insert", "remove", "cut", "double"])):
            case "change":
                data[at : at + 1] = bytes([octet])
            case "insert":
                data[at:at] = bytes([octet])
            case "remove":
                del data[at : at + 1]
            case "cut":
                del data[at:]
            case _:
                data[at:at] = data[at : at + 8]
    return bytes(data)
