from __future__ import annotations

import ast
import inspect
import pickle
import re
from types import ModuleType

import pytest
from abnf import ParseError
from abnf.grammars import rfc9110

from authguard.wire.grammar import (
    AUTH_PARAM,
    BWS,
    OWS,
    QUOTED_PAIR,
    QUOTED_STRING,
    TOKEN,
    TOKEN68,
    WireError,
    is_token,
)
from tests.wire.tokens import WIRE

PATTERNS = {
    "OWS": OWS,
    "BWS": BWS,
    "token": TOKEN,
    "token68": TOKEN68,
    "quoted-pair": QUOTED_PAIR,
    "quoted-string": QUOTED_STRING,
    "auth-param": AUTH_PARAM,
}


def _says_abnf(rule: str, octets: bytes) -> bool:
    try:
        rfc9110.Rule(rule).parse_all(octets.decode("latin-1"))
    except ParseError:
        return False
    return True


@pytest.mark.parametrize("rule", PATTERNS)
def test_every_single_octet_matches_as_the_rfc_says(rule: str) -> None:
    """For each of the 256 octets alone, our pattern and the RFC's own ABNF agree."""
    octets = [bytes([octet]) for octet in range(256)]

    ours = [octet for octet in octets if PATTERNS[rule].fullmatch(octet)]

    assert ours == [octet for octet in octets if _says_abnf(rule, octet)]


@pytest.mark.parametrize("rule", ["token", "token68", "quoted-string", "quoted-pair", "auth-param"])
@pytest.mark.parametrize("template", [b"a%ba", b'"%b"', b'"\\%b"', b"\\%b", b'a="%b"', b"a=%b", b"a%b=b", b"%b=b"])
def test_every_octet_in_its_place_matches_as_the_rfc_says(rule: str, template: bytes) -> None:
    """Inside a token, a quoted-string, a quoted-pair or an auth-param, each octet is judged as the ABNF judges it."""
    texts = [template % bytes([octet]) for octet in range(256)]

    ours = [text for text in texts if PATTERNS[rule].fullmatch(text)]

    assert ours == [text for text in texts if _says_abnf(rule, text)]


def test_a_final_newline_is_not_overlooked() -> None:
    """No pattern lets a newline by at its end, which ``$`` would."""
    matched = [rule for rule, pattern in PATTERNS.items() if pattern.fullmatch(b"a\n") or pattern.fullmatch(b'a="b"\n')]

    assert matched == []


def test_text_outside_ascii_is_no_token() -> None:
    """A character that has no place in a token is none because some encoding would give it one octet."""
    assert [is_token(text) for text in ("realm", "", "a b", "ré", "\u212aid", "a\n")] == [True] + [False] * 5


def test_a_wire_error_says_its_problem_and_nothing_else() -> None:
    """The text of the error is the constant phrase; the scheme is kept beside it."""
    error = WireError("duplicate auth-param", "digest")

    assert (str(error), error.problem, error.scheme) == ("duplicate auth-param", "duplicate auth-param", "digest")


def test_a_wire_error_survives_pickling() -> None:
    """An error that crosses a process keeps its problem and its scheme."""
    error = pickle.loads(pickle.dumps(WireError("empty", "basic")))

    assert (error.problem, error.scheme) == ("empty", "basic")


def test_a_wire_error_is_a_value_error() -> None:
    """Whoever catches ValueError catches malformed octets."""
    assert issubclass(WireError, ValueError)


def test_no_problem_is_put_together_from_input() -> None:
    """Each WireError in the package is raised with a literal phrase, or with one out of a table of literals."""
    variable = [
        f"{module.__name__}:{node.lineno}"
        for module in WIRE
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "WireError"
        if not _is_literal(node.args[0], module)
    ]

    assert variable == []


def _is_literal(node: ast.expr, module: ModuleType) -> bool:
    match node:
        case ast.Constant(value=str()):
            return True
        case ast.IfExp(body=body, orelse=orelse):
            return _is_literal(body, module) and _is_literal(orelse, module)
        case ast.Subscript(value=ast.Name(id=name)):
            table = getattr(module, name, None)
            return isinstance(table, dict) and all(isinstance(phrase, str) for phrase in table.values())
        case _:
            return False


def test_nothing_is_searched_for_between_matches() -> None:
    """No module of the layer uses ``finditer`` or ``findall``, which skip what they do not know."""
    used = [module.__name__ for module in WIRE if re.search(r"\.(finditer|findall)\(", inspect.getsource(module))]

    assert used == []
