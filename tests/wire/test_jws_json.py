"""The JSON of a token: whatever parsers disagree about is refused."""

from __future__ import annotations

import math

import pytest

from authguard.wire.grammar import WireError
from authguard.wire.jws import MAX_DEPTH, parse
from tests.wire.tokens import compact

# Values at the edges of RFC 8259, on which JSON parsers differ. Written for this file.
ACCEPTED = [
    b"{}",
    b'{"":0}',
    b"-0",
    b"1E+2",
    b"123.456e-7",
    b'"\\u0000"',
    b'"\\ud83d\\ude00"',
    b'"\xef\xbf\xbf"',
    b'"\x7f"',
    b'"\\/\\b\\f"',
    b"[ ]",
    b"[1\n,\t2]",
]
REFUSED = [
    b"",
    b"+1",
    b"01",
    b".5",
    b"5.",
    b"1e",
    b"0x1",
    b"Infinity",
    b"-Infinity",
    b"NaN",
    b"TRUE",
    b"nul",
    b"'a'",
    b'"\t"',
    b'"\x00"',
    b'"\\x41"',
    b'"\\u12"',
    b'"\\ud800"',
    b'"\\udc00\\ud800"',
    b'"\xff"',
    b'"\xc0\xaf"',
    b'"\xed\xa0\x80"',
    b"[1,]",
    b"[,1]",
    b"[1 2]",
    b"[1",
    b'{"a":1,}',
    b"{a:1}",
    b'{"a" 1}',
    b'{"a":1,"a":1}',
    b"1/**/",
    b"1 //",
    b"\xef\xbb\xbf1",
    b"\x0c1",
]


def _problem_of(token: bytes) -> str:
    with pytest.raises(WireError) as caught:
        parse(token)
    assert caught.value.__context__ is None  # a JSON or codec error would hold the claims
    return caught.value.problem


def _nested(depth: int) -> bytes:
    """A payload of this many objects and arrays inside one another."""
    levels = [(b'{"a":', b"}"), (b"[", b"]")] * depth
    opening = [opening for opening, _ in levels[: depth - 1]]
    closing = [closing for _, closing in levels[: depth - 1]]
    return b"".join([b'{"a":', *opening[1:], b"[", b"]", *reversed(closing[1:]), b"}"])


@pytest.mark.parametrize("value", ACCEPTED)
def test_an_unambiguous_value_is_accepted(value: bytes) -> None:
    """A token may contain everything that RFC 8259 allows and UTF-8 can encode."""
    assert parse(compact(payload=b'{"v":' + value + b"}")).claims.keys() == {"v"}


@pytest.mark.parametrize("value", REFUSED)
def test_a_value_that_only_some_parsers_accept_is_refused(value: bytes) -> None:
    """Two services must not read different claims out of one token."""
    with pytest.raises(WireError):
        parse(compact(payload=b'{"v":' + value + b"}"))


@pytest.mark.parametrize("payload", [b"", b"[]", b'"a"', b"1", b"null", b"true", b"{}{}", b"{} x", b"{", b"}", b"foo"])
def test_claims_are_one_object(payload: bytes) -> None:
    """Other JSON values, and anything after the object, are refused in the claims and in the header."""
    assert _problem_of(compact(payload=payload)) == "not a JSON object in UTF-8"
    assert _problem_of(compact(header=payload)) == "not a JSON object in UTF-8"


@pytest.mark.rfc("8725-7")
@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-8-sig"]
)
def test_json_is_in_utf_8_without_a_byte_order_mark(encoding: str) -> None:
    """The encoding is not guessed, unlike in ``json.loads``."""
    assert _problem_of(compact(payload='{"sub":"alice"}'.encode(encoding))) == "not a JSON object in UTF-8"


def test_whitespace_around_an_object_is_accepted() -> None:
    """Only the four whitespace characters of JSON are accepted there."""
    assert parse(compact(payload=b' \t\r\n{"a" : 1}\n')).claims == {"a": 1}
    assert _problem_of(compact(payload=b"\x0b{}")) == "not a JSON object in UTF-8"
    assert _problem_of(compact(payload=b"{}\xc2\xa0")) == "not a JSON object in UTF-8"


@pytest.mark.rfc("7519-2")
@pytest.mark.parametrize(
    "payload",
    [
        b'{"sub":"a","sub":"b"}',
        b'{"sub":"a","sub":"a"}',
        b'{"sub":"a","s\\u0075b":"b"}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":[[{"b":1,"c":2,"b":3}]]}',
        b'{"":1,"":2}',
    ],
)
def test_no_member_is_listed_twice_at_any_depth(payload: bytes) -> None:
    """A duplicate member is refused, even if one name is written with an escape, and at every depth."""
    assert _problem_of(compact(payload=payload)) == "duplicate member"


@pytest.mark.rfc("7515-2")
def test_no_header_member_is_listed_twice() -> None:
    """A header with two algorithms is refused."""
    assert _problem_of(compact(header=b'{"alg":"none","alg":"RS256"}')) == "duplicate member"


@pytest.mark.parametrize("constant", [b"NaN", b"Infinity", b"-Infinity"])
def test_numbers_that_json_does_not_have_are_refused(constant: bytes) -> None:
    """``json.loads`` accepts them; this parser does not."""
    assert _problem_of(compact(payload=b'{"exp":' + constant + b"}")) == "NaN or Infinity, which JSON does not have"


def test_a_number_beyond_a_float_is_infinite() -> None:
    """It is valid JSON. The check of the time claims has to refuse it."""
    assert parse(compact(payload=b'{"exp":1e400}')).claims == {"exp": math.inf}


@pytest.mark.parametrize("digits", [4301, 5000])
def test_a_number_of_too_many_digits_is_refused(digits: int) -> None:
    """The interpreter's limit on digits raises ``WireError`` like other malformed JSON."""
    assert _problem_of(compact(payload=b'{"exp":' + b"9" * digits + b"}")) == "not a JSON object in UTF-8"


@pytest.mark.rfc("8725-7")
@pytest.mark.parametrize(
    ("payload", "accepted"),
    [
        (rb'{"a":"\ud800"}', False),
        (rb'{"a":"\uD83D"}', False),
        (rb'{"a":"\udc00\ud800"}', False),
        (rb'{"\udfff":1}', False),
        (rb'{"a":[{"b":"x\uDBFF"}]}', False),
        (rb'{"a":"\ud83d\ude39"}', True),
        (rb'{"a":"\\ud800"}', True),
        (rb'{"a":"\ud7ff\ue000"}', True),
    ],
)
def test_half_a_surrogate_pair_is_refused_everywhere(payload: bytes, accepted: bool) -> None:
    """Such a string cannot be logged or stored as UTF-8. Complete pairs and escaped backslashes are accepted."""
    token = compact(payload=payload)

    if accepted:
        assert parse(token).claims
    else:
        assert _problem_of(token) == "not a JSON object in UTF-8"


@pytest.mark.rfc("limits-2")
def test_nesting_is_read_to_the_limit_and_no_deeper() -> None:
    """Objects and arrays both count, including the outermost one."""
    assert parse(compact(payload=_nested(32))).claims
    assert _problem_of(compact(payload=_nested(33))) == "nested too deeply"


def _at_depth(frames: int, token: bytes) -> str:
    return _problem_of(token) if frames == 0 else _at_depth(frames - 1, token)


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 2500])
@pytest.mark.parametrize("frames", [0, 700])
def test_the_limit_on_nesting_is_independent_of_the_call_stack(depth: int, frames: int) -> None:
    """The result is the same at every depth of the call stack, unlike the interpreter's own limit."""
    assert (
        _at_depth(frames, compact(payload=b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"))
        == "nested too deeply"
    )


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b'{"a":[' + b"[],{}," * 500 + b"1]}", id="broad, not deep"),
        pytest.param(b'{"a":"' + b"[" * 3000 + b'"}', id="brackets in a string"),
        pytest.param(b'{"a":"' + b'\\"[' * 1500 + b'"}', id="brackets after escaped quotes"),
        pytest.param(b'{"' + b"{\\\\" * 1500 + b'":1}', id="brackets in a name, between backslashes"),
    ],
)
def test_brackets_that_do_not_nest_do_not_count(payload: bytes) -> None:
    """For many brackets the exact depth is computed, which ignores brackets in strings."""
    assert parse(compact(payload=payload)).claims


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b'{"a":"x' + b"[" * 40, id="a string without an end"),
        pytest.param(b'{"a":"x' + b"[" * 40 + b"\\", id="a string that ends with a backslash"),
        pytest.param(b"]" * 40 + b"[" * 40, id="closed before it is opened"),
        pytest.param(b'{"a":' + b"[}" * 40 + b"}", id="pairs that do not match"),
    ],
)
def test_many_brackets_in_invalid_json_are_refused_as_invalid_json(payload: bytes) -> None:
    """The computation of the depth does not report other errors."""
    assert _problem_of(compact(payload=payload)) == "not a JSON object in UTF-8"
