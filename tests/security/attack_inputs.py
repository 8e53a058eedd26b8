"""Tokens that are refused although their signature is valid, by family."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, TypeAlias

import jwt

from tests.security.peers import Verifiers
from tests.support.clock import NOW
from tests.support.tokens import ISSUER, b64url, claims

Cases: TypeAlias = Iterator[tuple[str, bytes]]

_EMPTY: tuple[Any, ...] = ("", None, [])
_ODD_MEMBERS: tuple[Any, ...] = (None, 5, True, ["JWT"], {})
_ODD_CRIT: tuple[Any, ...] = ([], ["exp"], ["b64"], ["alg"], "b64", None, {}, [5], [None])
_ODD_B64: tuple[Any, ...] = (False, None, 0, "false", [])


def _spelled(name: str, json_text: str) -> bytes:
    """Valid claims, with this one written as the given JSON."""
    good = json.dumps(claims(**{name: ...}))[:-1]
    return f'{good}, "{name}": {json_text}}}'.encode()


def odd_stamps(setup: Verifiers) -> Cases:
    """Timestamps that are not a number, not finite, or milliseconds."""
    spellings = ["true", "false", '"1900000000"', '"NaN"', '""', "[]", "[1900000000]", "{}", "NaN", "Infinity"]
    spellings += ["-Infinity", "1e400", "-1e400", "1" + "0" * 400, "1" + "0" * 5000, "1e13", "-1e13", "1e12"]
    for name in ("exp", "nbf", "iat"):
        for spelling in (*spellings, "null"):
            yield f"{name} {spelling[:24]}", setup.token(payload=_spelled(name, spelling))


def odd_claims(setup: Verifiers) -> Cases:
    """Registered claims of a type that RFC 7519 section 4.1 does not allow."""
    for name in ("sub", "aud", "iss", "jti"):
        for odd in (5, 1.5, True, [5], {"a": 1}, {}):
            yield f"{name} {odd!r}", setup.token(payload=claims(**{name: odd}))
    yield "aud that is a name and a number", setup.token(payload=claims(aud=["orders", 5]))


def wrong_claims(setup: Verifiers) -> Cases:
    """Claims of the right type that are wrong or missing."""
    for name in ("exp", "iss", "aud", "sub"):
        yield f"no {name}", setup.token(payload=claims(**{name: ...}))
    for name in ("iss", "aud", "sub"):
        for empty in _EMPTY:
            yield f"{name} {empty!r}", setup.token(payload=claims(**{name: empty}))
    for near in (ISSUER[:-1], ISSUER + "x", ISSUER.upper(), ISSUER + "\0", [ISSUER], "login.example"):
        yield f"iss {near!r}", setup.token(payload=claims(iss=near))
    for near_aud in ("order", "orders ", "ORDERS", "orders,other", ["other"], [["orders"]], {"orders": 1}):
        yield f"aud {near_aud!r}", setup.token(payload=claims(aud=near_aud))
    for bound in ({"jkt": "x"}, {}, True, "x5t"):
        yield f"cnf {bound!r}", setup.token(payload=claims(cnf=bound))
    for offset in (-60, -61, -1e6, -NOW, -2 * NOW):
        yield f"exp {offset}", setup.token(payload=claims(exp=NOW + offset))
    for name in ("nbf", "iat"):
        for offset in (61, 60.5, 1e6):
            yield f"{name} {offset}", setup.token(payload=claims(**{name: NOW + offset}))


def odd_headers(setup: Verifiers) -> Cases:
    """Headers that ask for another verification than the app allows."""
    name = setup.algorithm
    algorithms: list[Any] = ["none", "None", "NONE", "nOnE", "", " ", None, True, 0, [name], {name: 1}, name + " "]
    algorithms += [name.swapcase(), name[:-1], name + "\0", "HS1", "dir", "RSA-OAEP", "A" * 1000]
    for alg in algorithms:
        yield f"alg {str(alg)[:24]!r}", setup.token({"alg": alg, "typ": "JWT"})
    for alg in {"RS256", "RS512", "PS256", "ES256", "ES384", "EdDSA", "HS256", "HS512"} - {name}:
        yield f"alg {alg}", setup.token({"alg": alg, "typ": "JWT"})
    yield "no alg", setup.token({"typ": "JWT"})
    for typ in ("dpop+jwt", "logout+jwt", "application/secevent+jwt", "JWE", "", "JWT ", "at+jwt;v=1", "at jwt"):
        yield f"typ {typ!r}", setup.token({"alg": name, "typ": typ})
    for member in ("typ", "kid"):
        for odd in _ODD_MEMBERS:
            yield f"{member} {odd!r}", setup.token({"alg": name, member: odd})
    for crit in _ODD_CRIT:
        yield f"crit {crit!r}", setup.token({"alg": name, "crit": crit, "exp": 1})
        yield f"crit {crit!r} and b64", setup.token({"alg": name, "crit": crit, "b64": True})
    for b64 in _ODD_B64:
        yield f"b64 {b64!r}", setup.token({"alg": name, "b64": b64})
        yield f"b64 {b64!r} that is critical", setup.token({"alg": name, "b64": b64, "crit": ["b64"]})


def odd_json(setup: Verifiers) -> Cases:
    """Headers and payloads that only some parsers accept as a JSON object."""
    header = json.dumps({"alg": setup.algorithm, "typ": "JWT"}).encode()
    for part, good in (("header", header), ("payload", json.dumps(claims()).encode())):
        for what, data in _misspelled(good).items():
            token = setup.token(data) if part == "header" else setup.token(payload=data)
            yield f"{part}: {what}", token
    yield "payload: longer than we read", setup.token(payload=claims(more="x" * 8192))


def _misspelled(good: bytes) -> dict[str, bytes]:
    text, inner = good.decode(), good[:-1]
    name, value = next(iter(json.loads(good).items()))
    again = f', "{name}": {json.dumps(value)}}}'
    whole = {"empty": b"", "null": b"null", "an array": b"[]", "a string": json.dumps(text).encode(), "a number": b"5"}
    around = {
        "a byte order mark": b"\xef\xbb\xbf" + good,
        "a comma at the end": inner + b",}",
        "a comment": inner + b"/**/}",
        "another document after it": good + b"{}",
        "a null octet after it": good + b"\0",
        "a vertical tab before it": b"\x0b" + good,
        "a no-break space before it": b"\xc2\xa0" + good,
        "single quotes": text.replace('"', "'").encode(),
        "cut off": inner,
    }
    encoded = {code: text.encode(code) for code in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le")}
    texts = {
        "a member twice": inner + again.encode(),
        "a member twice, once escaped": inner + again.replace(name, rf"\u{ord(name[0]):04x}{name[1:]}").encode(),
        "a member of a member twice": inner + b', "x": {"a": 1, "a": 1}}',
        "NaN": inner + b', "x": NaN}',
        "minus Infinity, deep": inner + b', "x": [{"y": -Infinity}]}',
        "half of a pair, escaped": inner + rb', "x": "\ud800"}',
        "half of a pair as a name": inner + rb', "\uDFFF": 1}',
        "two halves the wrong way round": inner + rb', "x": "\udc00\ud800"}',
        "half of a pair in UTF-8": inner + b', "x": "\xed\xa0\x80"}',
        "an overlong slash": inner + b', "x": "\xc0\xaf"}',
        "an octet of no UTF-8": inner + b', "x": "\xff"}',
        "a newline inside a string": inner + b', "x": "\n"}',
        "an unknown escape": inner + rb', "x": "\x41"}',
        "a number with a plus": inner + b', "x": +1}',
        "a number with a zero before": inner + b', "x": 01}',
        "a number of 5,000 digits": inner + b', "x": ' + b"9" * 5000 + b"}",
        "arrays 33 deep": inner + b', "x": ' + b"[" * 32 + b"]" * 32 + b"}",
        "arrays 2,000 deep": inner + b', "x": ' + b"[" * 2000 + b"]" * 2000 + b"}",
        "arrays without end": inner + b', "x": ' + b"[" * 2000,
    }
    return whole | around | encoded | texts


def odd_base64(setup: Verifiers) -> Cases:
    """Other Base64 spellings of the same bytes, part by part."""
    good = setup.token(payload=claims(pad="~~~???>>>"))
    for index, part in enumerate(("header", "payload", "signature")):
        parts = good.split(b".")
        spelled = parts[index]
        odd = {
            "padding": spelled + b"=" * (-len(spelled) % 4),
            "padding of one": spelled + b"=",
            "padding of four": spelled + b"====",
            "a line break": spelled[:8] + b"\n" + spelled[8:],
            "a space": spelled[:8] + b" " + spelled[8:],
            "a null octet": spelled + b"\0",
            "an octet of no ASCII": spelled + b"\xe9",
            "an escape of URLs": spelled[:-1] + b"%" + f"{spelled[-1]:02X}".encode(),
            "the other alphabet": spelled.replace(b"-", b"+").replace(b"_", b"/"),
            "a character too many": spelled + b"A",
            "four characters too many": spelled + b"!!!!",
        }
        # The last character has unused bits. This one differs only in those.
        alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        if len(spelled) % 4:
            odd["unused bits"] = spelled[:-1] + bytes([alphabet[alphabet.index(spelled[-1]) | 1]])
        for what, data in odd.items():
            parts[index] = data
            token = b".".join(parts)
            if token != good:
                yield f"{part}: {what}", token
    # Amazon's load balancers sign the padded form.
    padded = b".".join(base64.urlsafe_b64encode(part) for part in _unpadded(setup))
    signer = jwt.get_algorithm_by_name(setup.algorithm)
    yield "padded before it was signed", padded + b"." + b64url(signer.sign(padded, setup.key)).encode()


def _unpadded(setup: Verifiers) -> list[bytes]:
    parts = [json.dumps(part).encode() for part in ({"alg": setup.algorithm, "typ": "JWT"}, claims())]
    return [part + b" " * (-len(part) % 3 + 1) for part in parts]


def odd_parts(setup: Verifiers) -> Cases:
    """Tokens with too few or too many parts, or with other parts."""
    header, payload, signature = good = setup.token().split(b".")
    whole = b".".join(good)
    flat = {"protected": header.decode(), "payload": payload.decode(), "signature": signature.decode()}
    shapes = {"nothing": b"", "a dot": b".", "two dots": b"..", "many dots": b"." * 2000, "a word": b"null"}
    shapes |= {"no signature": header + b"." + payload, "an empty signature": header + b"." + payload + b"."}
    shapes |= {"an empty header": b"." + payload + b"." + signature, "no payload": header + b".." + signature}
    shapes |= {"a dot more": whole + b".", "a dot before": b"." + whole, "four parts": whole + b"." + signature}
    shapes |= {"five parts": b".".join((*good, header, payload)), "two tokens": whole + whole}
    shapes |= {"two with a comma": whole + b"," + whole, "a space before": b" " + whole, "a newline": whole + b"\n"}
    shapes |= {"quoted": b'"' + whole + b'"', "JSON": json.dumps({**flat, "header": {"alg": "none"}}).encode()}
    shapes |= {"general JSON": json.dumps({"payload": flat["payload"], "signatures": [flat]}).encode()}
    yield from shapes.items()
