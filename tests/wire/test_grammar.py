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


def _matches_abnf(rule: str, data: bytes) -> bool:
    try:
        rfc9110.Rule(rule).parse_all(data.decode("latin-1"))
    except ParseError:
        return False
    return True


@pytest.mark.parametrize("rule", PATTERNS)
def test_every_single_byte_matches_as_in_the_rfc(rule: str) -> None:
    """For each of the 256 one-byte inputs, our pattern and the RFC's own ABNF agree."""
    inputs = [bytes([byte]) for byte in range(256)]

    matched = [data for data in inputs if PATTERNS[rule].fullmatch(data)]

    assert matched == [data for data in inputs if _matches_abnf(rule, data)]


@pytest.mark.parametrize("rule", ["token", "token68", "quoted-string", "quoted-pair", "auth-param"])
@pytest.mark.parametrize("template", [b"a%ba", b'"%b"', b'"\\%b"', b"\\%b", b'a="%b"', b"a=%b", b"a%b=b", b"%b=b"])
def test_every_byte_in_context_matches_as_in_the_rfc(rule: str, template: bytes) -> None:
    """Inside a token, a quoted-string, a quoted-pair or an auth-param, our pattern and the ABNF agree on each byte."""
    inputs = [template % bytes([byte]) for byte in range(256)]

    matched = [data for data in inputs if PATTERNS[rule].fullmatch(data)]

    assert matched == [data for data in inputs if _matches_abnf(rule, data)]


def test_a_final_newline_is_not_overlooked() -> None:
    """No pattern accepts a newline at the end of the input, as ``$`` would."""
    matched = [rule for rule, pattern in PATTERNS.items() if pattern.fullmatch(b"a\n") or pattern.fullmatch(b'a="b"\n')]

    assert matched == []


def test_text_outside_ascii_is_not_a_token() -> None:
    """``is_token`` accepts only the characters of the RFC, and no look-alikes outside ASCII."""
    assert [is_token(text) for text in ("realm", "", "a b", "ré", "\u212aid", "a\n")] == [True] + [False] * 5


def test_the_text_of_a_wire_error_is_its_problem() -> None:
    """The scheme is an attribute and not part of the text."""
    error = WireError("duplicate auth-param", "digest")

    assert (str(error), error.problem, error.scheme) == ("duplicate auth-param", "duplicate auth-param", "digest")


def test_a_wire_error_survives_pickling() -> None:
    """An error that is sent to another process keeps its problem and its scheme."""
    error = pickle.loads(pickle.dumps(WireError("empty", "basic")))

    assert (error.problem, error.scheme) == ("empty", "basic")


def test_a_wire_error_is_a_value_error() -> None:
    """``except ValueError`` catches malformed input."""
    assert issubclass(WireError, ValueError)


def test_no_problem_is_built_from_input() -> None:
    """Each WireError in the package is raised with a literal phrase, or with one from a table of literals."""
    variable = [
        f"{module.__name__}:{node.lineno}"
        for module in WIRE
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Call) and _takes_a_problem(node.func)
        if not _is_literal(node.args[0], module)
    ]

    assert variable == []


def _takes_a_problem(function: ast.expr) -> bool:
    """Whether it is ``WireError``, or the method that notes the mistakes of a list of challenges."""
    match function:
        case ast.Name(id="WireError") | ast.Attribute(attr="_note"):
            return True
        case _:
            return False


def _is_literal(node: ast.expr, module: ModuleType) -> bool:
    match node:
        case ast.Constant(value=str()) | ast.Attribute(value=ast.Name(id="mistake"), attr="problem"):
            return True
        case ast.Name(id=name):
            return name.isupper() and isinstance(getattr(module, name, None), str)
        case ast.IfExp(body=body, orelse=orelse):
            return _is_literal(body, module) and _is_literal(orelse, module)
        case ast.Subscript(value=ast.Name(id=name)):
            table = getattr(module, name, None)
            return isinstance(table, dict) and all(isinstance(phrase, str) for phrase in table.values())
        case _:
            return False


def test_no_input_between_matches_is_skipped() -> None:
    """No module of the package uses ``finditer`` or ``findall``, because both skip what does not match."""
    used = [module.__name__ for module in WIRE if re.search(r"\.(finditer|findall)\(", inspect.getsource(module))]

    assert used == []
