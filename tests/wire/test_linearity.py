"""That no octets keep the layer busy for longer than their number allows.

Two things are shown. *In Python*: the calls that the interpreter makes, into our functions and into C, grow no faster
than the input (``steps``). *In C*: a regular expression is one call, whatever it does inside, so its cost is shown by
its structure (``gives_back``): where no repeat gives back what it took, each octet is read a bounded number of times.
What is not shown but taken on trust is that ``json``, ``binascii`` and the methods of ``bytes`` read their input once.
"""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any

import pytest

from authguard.wire import jws
from authguard.wire.authorization import auth_params, split, token68
from authguard.wire.basic import UserPass
from authguard.wire.challenge import Challenge
from authguard.wire.grammar import WireError
from authguard.wire.jws import parse
from tests.wire.tokens import HEADER, WIRE, b64url, compact


def steps(function: Callable[[bytes], object], octets: bytes) -> int:
    """How many calls are made, of Python functions and of those in C, while the function runs."""
    count = 0

    def note(_frame: object, event: str, _arg: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    with suppress(WireError):
        function(octets)  # once unseen: what is done only the first time is no matter of the input
    jws._cached_header.cache_clear()
    gc.disable()  # its callbacks would be counted too
    previous = sys.getprofile()
    sys.setprofile(note)
    try:
        with suppress(WireError):
            function(octets)
    finally:
        sys.setprofile(previous)
        gc.enable()
    return count


def _params(octets: bytes) -> object:
    return auth_params(octets, limit=len(octets))


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
    """Twice the octets make at most twice the steps more, and the next doubling too."""
    at_n, at_2n, at_4n = (steps(function, hostile(n)) for n in (256, 512, 1024))

    assert at_4n - at_2n <= 2 * (at_2n - at_n)


@pytest.mark.parametrize("function", [split, parse])
def test_what_is_too_long_costs_the_same_whatever_its_length(function: Callable[[bytes], object]) -> None:
    """Beyond the limit no octet is looked at."""
    assert steps(function, b"a." * 10_000) == steps(function, b"a." * 1_000_000) < 10


def test_the_count_sees_a_cost_that_is_not_linear() -> None:
    """The measure itself can fail: a reader that slices its rest at every octet is found out."""

    def slices(octets: bytes) -> None:
        while octets:
            for octet in octets:
                abs(octet)
            octets = octets[1:]

    at_n, at_2n, at_4n = (steps(slices, b"a" * n) for n in (16, 32, 64))

    assert at_4n - at_2n > 2 * (at_2n - at_n)


def gives_back(pattern: re.Pattern[Any]) -> list[str]:
    """The parts of a pattern that may read an octet again: what the engine can return to with another choice.

    A possessive repeat never does. An optional part, or a repeat of one fixed number, offers no more than one other
    choice at one place, so it may stand; look-around and references to groups may not.
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
def test_no_pattern_reads_an_octet_again(name: str) -> None:
    """No repeat of any pattern in the layer gives back what it took."""
    assert gives_back(PATTERNS[name]) == []


@pytest.mark.parametrize(
    "evil", [r"(a+)+b", r"a*a*b", r"(?:a|ab)*c", r"a{2,5}b", r"a*?b", r"(a)\1", r"(?=a*b)a", r"(?<=a)b"]
)
def test_the_structure_test_finds_what_may_be_read_again(evil: str) -> None:
    """The measure itself can fail."""
    assert gives_back(re.compile(evil)) != []


def test_each_quote_that_may_open_a_string_does() -> None:
    """The one pattern that is looked for, and not matched at a given place, cannot fail once it has begun.

    It is a quote followed by nothing that must be there, so no quote is tried in vain, and none twice.
    """
    begins, *follows = import_module("re._parser").parse(jws._STRING.pattern)

    assert begins[1] == ord('"')
    assert jws._STRING.sub(b"", b'"' + b'\\"' * 1000) == b""
    assert all(argument[0] == 0 for _, argument in follows)


def test_steps_are_counted_at_all() -> None:
    """A token that is well is read in a few dozen steps."""
    token = compact()
    parse(token)

    assert 10 < steps(parse, token) < 60
    assert steps(parse, b64url(HEADER)) < steps(parse, token)
