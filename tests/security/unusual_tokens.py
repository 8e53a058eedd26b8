"""Valid tokens that look odd and must be accepted, by family."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypeAlias

from tests.security.peers import Verifiers
from tests.support.clock import NOW
from tests.support.tokens import AUDIENCE, claims

Cases: TypeAlias = Iterator[tuple[str, bytes]]

#: Header members that could choose a key in other libraries (RFC 8725 section 3.10).
FOREIGN_KEYS: dict[str, Any] = {
    "jwk": {"kty": "oct", "k": "QUFBQQ"},
    "jku": "https://attacker.example/keys.json",
    "x5u": "https://attacker.example/cert.pem",
    "x5c": ["MIIB"],
}


def headers(setup: Verifiers) -> Cases:
    """Headers with members that are not needed."""
    for name, value in (FOREIGN_KEYS | {"cty": "JWT", "x5t": "abc", "zip": "DEF", "enc": "A128GCM"}).items():
        yield f"{name} {value!r}", setup.token({"alg": setup.algorithm, name: value})
    for name in FOREIGN_KEYS:
        yield f"{name} of an odd type", setup.token({"alg": setup.algorithm, name: 5})
    for kid in ("", " ", "../../../etc/passwd", "' OR 1=1 --", "a\r\nb\x1b[31m\u2028", "k" * 3000, "\U0001f511"):
        yield f"kid {kid[:20]!r}", setup.token({"alg": setup.algorithm, "kid": kid})
    for typ in ("jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/JWT"):
        yield f"typ {typ!r}", setup.token({"alg": setup.algorithm, "typ": typ})
    alg = setup.algorithm
    yield "no typ", setup.token({"alg": alg})
    yield "b64 is true", setup.token({"alg": alg, "b64": True})
    yield "members of no meaning", setup.token({"alg": alg, "": 1, "Alg": "none", "ALG": "none", "x": [{"y": None}]})
    yield "alg escaped", setup.token(rf'{{"\u0061lg": "\u{ord(alg[0]):04x}{alg[1:]}"}}'.encode())
    yield "whitespace", setup.token(f' \n\t\r{{ "alg"\n:\r"{alg}" }} \n'.encode())


def payloads(setup: Verifiers) -> Cases:
    """Unusual claims that authguard does not check."""
    changes: dict[str, dict[str, Any]] = {
        "stamps with fractions": {"exp": NOW + 0.5, "nbf": NOW - 0.5, "iat": NOW - 0.25},
        "stamps long gone": {"iat": 0, "nbf": -1},
        "stamps with an exponent": {"exp": 2e9},
        "the last moment": {"exp": NOW - 59, "nbf": NOW + 60, "iat": NOW + 60},
        "a list of audiences": {"aud": ["others", AUDIENCE]},
        "the audience twice": {"aud": [AUDIENCE, AUDIENCE]},
        "the audience among empty ones": {"aud": ["", AUDIENCE]},
        "a subject of one space": {"sub": " "},
        "a subject with a null": {"sub": "a\0b"},
        "a subject of a whole pair": {"sub": "\U0001f600"},
        "a long subject": {"sub": "s" * 4000},
        "no cnf": {"cnf": None},
        "roles and scope of odd types": {"roles": 5, "scope": {"a": 1}},
        "a jti": {"jti": "1"},
        "arrays 32 deep": {"x": json.loads("[" * 31 + "]" * 31)},
        "many brackets in a string": {"x": "[{" * 500},
        "a number of 4,000 digits": {"x": 10**3999},
        "small numbers": {"x": [-0.0, 1e-400, 5e-324]},
        "no name": {"": ""},
        "names that are no claims": {"EXP": 1, "exp ": 1, "__class__": 1},
    }
    for what, change in changes.items():
        yield what, setup.token(payload=claims(**change))
    unescaped = json.dumps(claims(sub="zoë \U0001f600"), ensure_ascii=False)
    yield "UTF-8 without escapes", setup.token(payload=unescaped.encode())
    yield "escapes for all", setup.token(payload=unescaped.replace("sub", r"\u0073\u0075\u0062").encode())
    yield "whitespace", setup.token(payload=f"\n\n {unescaped.replace(', ', chr(9) + ',' + chr(13))} \r\n".encode())
    yield "a stamp of 308 digits after the point", setup.token(payload=unescaped[:-1].encode() + b"}")
