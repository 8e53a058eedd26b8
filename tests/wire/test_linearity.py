"""The cost of parsing is linear in the length of the input.

Two things are tested. *In Python*: the number of calls, to Python functions and to C functions, grows no faster than
the input (``steps``). *In C*: a regular expression is one call, whatever happens inside, so its structure is checked
instead (``backtracking_parts``): if no repeat can backtrack, each byte is read a bounded number of times. It is
assumed, and not tested, that ``json``, ``binascii`` and the methods of ``bytes`` read their input once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest

from authguard.wire import jws
from authguard.wire.authorization import auth_params, split, token68
from authguard.wire.basic import UserPass
from authguard.wire.challenge import Challenge
from authguard.wire.challenge_list import read_challenges
from authguard.wire.jws import parse
from tests.wire.call_count import steps
from tests.wire.tokens import HEADER, WIRE, b64url, compact


def _params(data: bytes) -> object:
    return auth_params(data, limit=len(data))


def _all_challenges(data: bytes) -> object:
    return read_challenges(data, limit=len(data))


HOSTILE: list[tuple[Callable[[bytes], object], Callable[[int], bytes]]] = [
    (split, lambda n: b" " * n),
    (split, lambda n: b"a" * n),
    (split, lambda n: b"a" + b" " * n + b"b"),
    (split, lambda n: b"a" * n + b"="),
    (token68, lambda n: b"a" * n + b"=" * n + b"a"),
    (_params, lambda n: b"," * n),
    (_params, lambda n: b" ," * n),
    (_params, lambda n: b"a=b," * n),
    (_params, lambda n: b"".join(b"a%d=b," % i for i in range(n // 8))),
    (_params, lambda n: b'a="' + b"\\" * n),
    (_params, lambda n: b'a="' + b'\\"' * n + b'"'),
    (_params, lambda n: b'a="' + b"b" * n),
    (_params, lambda n: b"a" * n),
    (_params, lambda n: b"a" + b" " * n),
    (_params, lambda n: b"a=b" + b" " * n),
    (_params, lambda n: b"a=" + b"b" * n + b"\x00"),
    (Challenge.from_header, lambda n: b'Basic realm="' + b"\\a" * n + b'"'),
    (_all_challenges, lambda n: b"," * n),
    (_all_challenges, lambda n: b"a" * n),
    (_all_challenges, lambda n: b"a," * n),
    (_all_challenges, lambda n: b"a b," * n),
    (_all_challenges, lambda n: b"a " * n),
    (_all_challenges, lambda n: b"a" + b" " * n + b"b"),
    (_all_challenges, lambda n: b"a b" + b"=" * n + b"c"),
    (_all_challenges, lambda n: b"a b=" + b"," * n),
    (_all_challenges, lambda n: b"a b=c " * n),
    (_all_challenges, lambda n: b"a " + b"b=c," * n),
    (_all_challenges, lambda n: b"a " + b"".join(b"b%d=c," % i for i in range(n // 8))),
    (_all_challenges, lambda n: b'a b="' + b"\\" * n),
    (_all_challenges, lambda n: b'a b="' + b"c" * n),
    (_all_challenges, lambda n: b'a b="' + b'\\"' * n + b'"'),
    (_all_challenges, lambda n: b"a " + b'b="\x00",' * n),
    (_all_challenges, lambda n: b"a " + b'b="c"' * n),
    (_all_challenges, lambda n: b'"' * n),
    (_all_challenges, lambda n: b'"a",' * n),
    (_all_challenges, lambda n: b"/" * n),
    (UserPass.from_token68, lambda n: b"Ojo6" * n),
    (UserPass.from_token68, lambda n: b"=" * n),
    (parse, lambda n: b"." * n),
    (parse, lambda n: compact(payload=b"[" * n)),
    (parse, lambda n: compact(payload=b'{"a":[' + b"[]," * n + b"1]}")),
    (parse, lambda n: compact(payload=b'{"a":"' + b'\\"' * n + b"[" * 40)),
    (parse, lambda n: compact(payload=b'{"a":' + b'"[' * n)),
    (parse, lambda n: compact(payload=b"{" + b",".join(b'"%d":{}' % i for i in range(n // 8)) + b"}")),
    (parse, lambda n: compact(payload=b'{"a":"' + b"\\ud83d\\ude39" * (n // 8) + b'"}')),
    (parse, lambda n: compact(payload=b'{"a":' + b"9" * n + b"}")),
    (parse, lambda n: compact(header=b'{"alg":"a","b":"' + b"c" * n + b'"}')),
]


@pytest.mark.rfc("limits-5")
@pytest.mark.parametrize(("function", "hostile"), HOSTILE)
def test_steps_grow_no_faster_than_the_input(
    function: Callable[[bytes], object], hostile: Callable[[int], bytes]
) -> None:
    """From 512 to 1024 bytes, at most twice as many steps are added as from 256 to 512."""
    at_n, at_2n, at_4n = (steps(function, hostile(n)) for n in (256, 512, 1024))

    assert at_4n - at_2n <= 2 * (at_2n - at_n)


@pytest.mark.parametrize("function", [split, parse])
def test_input_over_the_limit_costs_the_same_at_every_length(function: Callable[[bytes], object]) -> None:
    """Input longer than the limit is refused without being read."""
    assert steps(function, b"a." * 10_000) == steps(function, b"a." * 1_000_000) < 10


def test_steps_detects_a_quadratic_cost() -> None:
    """The measurement can fail: it detects a function that reads its whole rest again at every byte."""

    def quadratic(data: bytes) -> None:
        while data:
            for byte in data:
                abs(byte)
            data = data[1:]

    at_n, at_2n, at_4n = (steps(quadratic, b"a" * n) for n in (16, 32, 64))

    assert at_4n - at_2n > 2 * (at_2n - at_n)


def backtracking_parts(pattern: re.Pattern[Any]) -> list[str]:
    """The parts of a pattern where the regex engine can backtrack, and so read a byte again.

    A possessive repeat never backtracks. An optional part, or a repeat of a fixed number, has at most one alternative
    at each position, so both are allowed. Look-around and references to groups are not.
    """
    return list(_walk(import_module("re._parser").parse(pattern.pattern, pattern.flags & re.DOTALL)))


def _walk(parsed: Any) -> Iterator[str]:
    for operator, argument in parsed:
        match str(operator):
            case "LITERAL" | "NOT_LITERAL" | "IN" | "ANY" | "AT":
                pass
            case "SUBPATTERN":
                yield from _walk(argument[3])
            case "ATOMIC_GROUP":
                yield from _walk(argument)
            case "BRANCH":
                for branch in argument[1]:
                    yield from _walk(branch)
            case "POSSESSIVE_REPEAT":
                yield from _walk(argument[2])
            case "MAX_REPEAT" | "MIN_REPEAT" if argument[1] <= 1 or argument[0] == argument[1]:
                yield from _walk(argument[2])
            case other:
                yield other


PATTERNS = {
    f"{module.__name__}.{name}": value
    for module in WIRE
    for name, value in vars(module).items()
    if isinstance(value, re.Pattern)
}


@pytest.mark.rfc("limits-5")
@pytest.mark.parametrize("name", PATTERNS)
def test_no_pattern_can_backtrack(name: str) -> None:
    """No pattern of the package contains a repeat that can backtrack."""
    assert backtracking_parts(PATTERNS[name]) == []


@pytest.mark.parametrize(
    "evil", [r"(a+)+b", r"a*a*b", r"(?:a|ab)*c", r"a{2,5}b", r"a*?b", r"(a)\1", r"(?=a*b)a", r"(?<=a)b"]
)
def test_backtracking_parts_finds_each_kind_of_backtracking(evil: str) -> None:
    """The check can fail: each of these patterns is reported."""
    assert backtracking_parts(re.compile(evil)) != []


def test_the_string_pattern_matches_at_every_quote_that_it_tries() -> None:
    """``_STRING`` is the only pattern used in a search. It cannot fail after its first character.

    It is a quote followed by optional parts only, so no quote is tried in vain, and none is tried twice.
    """
    first, *rest = import_module("re._parser").parse(jws._STRING.pattern)

    assert first[1] == ord('"')
    assert jws._STRING.sub(b"", b'"' + b'\\"' * 1000) == b""
    assert all(argument[0] == 0 for _, argument in rest)


def test_steps_counts_a_plausible_number() -> None:
    """A valid token is parsed in a few dozen steps."""
    token = compact()
    parse(token)

    assert 10 < steps(parse, token) < 60
    assert steps(parse, b64url(HEADER)) < steps(parse, token)
