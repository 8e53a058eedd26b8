"""What is found in the ``WWW-Authenticate`` lines of a refusal."""

from __future__ import annotations

import pytest

from authguard.probe.challenges import _GRAMMAR, judge_challenges, judge_nonces, judge_refused_token, read_refusal
from authguard.wire import challenge_list

DIGEST = 'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256'


def found(*lines: str | bytes) -> list[str]:
    """The level and the code of each finding."""
    data = [line.encode() if isinstance(line, str) else line for line in lines]
    return [f"{one.level} {one.code}" for one in judge_challenges(read_refusal(data))]


@pytest.mark.parametrize(
    "lines",
    [
        ('Basic realm="r", charset="UTF-8"',),
        ('Basic realm="r", charset=utf-8',),
        ('Bearer realm="r"',),
        (
            'Bearer realm="r", scope="a b", resource_metadata="https://api.example/.well-known/oauth-protected-resource"',
        ),
        (DIGEST,),
        ('Digest realm="r", nonce="n", qop="auth, auth-int", algorithm=sha-512-256, userhash=true, charset=UTF-8',),
        (DIGEST, 'Basic realm="r", charset="UTF-8"'),
        (DIGEST, DIGEST.replace("SHA-256", "SHA-512-256")),
        ("Negotiate",),
        ('DPoP algs="ES256"',),
        (),
    ],
)
def test_a_right_challenge_has_no_finding(lines: tuple[str, ...]) -> None:
    """Each is as its RFC wants it."""
    assert found(*lines) == []


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("Basic realm=r, charset=UTF-8", "fault realm.unquoted"),
        ('Basic charset="UTF-8"', "fault basic.realm"),
        ('Basic realm="r"', "note basic.charset"),
        ('Basic realm="r", charset="latin1"', "fault basic.charset"),
        (b'Basic realm="\xfc", charset="UTF-8"', "warning realm.encoding"),
        ('Basic realm="r" charset="UTF-8"', "fault challenge.grammar"),
        ('Basic realm="r", charset="UTF-8",', "fault challenge.grammar"),
        ('Digest nonce="n", qop="auth", algorithm=SHA-256', "fault digest.realm"),
        ('Digest realm="r", qop="auth", algorithm=SHA-256', "fault digest.nonce"),
        ('Digest realm="r", nonce="", qop="auth", algorithm=SHA-256', "fault digest.nonce"),
        ('Digest realm="r", nonce=n, qop="auth", algorithm=SHA-256', "fault digest.quotes"),
        ('Digest realm="r", nonce="n", qop="auth", algorithm="SHA-256"', "fault digest.quotes"),
        ('Digest realm="r", nonce="n", algorithm=SHA-256', "fault digest.qop"),
        ('Digest realm="r", nonce="n", qop="auth-int", algorithm=SHA-256', "warning digest.qop"),
        ('Digest realm="r", nonce="n", qop="auth", algorithm=SHA1', "fault digest.algorithm"),
        ('Digest realm="r", nonce="n", qop="auth", algorithm=MD5', "note digest.md5"),
        ('Digest realm="r", nonce="n", qop="auth"', "note digest.md5"),
        (f"{DIGEST}, charset=latin1", "fault digest.charset"),
        (f"{DIGEST}, stale=TRUE", "warning digest.stale"),
        ("Bearer", "fault bearer.bare"),
        ("Bearer abc=", "fault bearer.bare"),
        ('Bearer realm="r", scope="\\"a\\""', "fault bearer.characters"),
        ('Bearer realm="r", resource_metadata="http://api.example/"', "fault bearer.resource_metadata"),
        ('Bearer realm="r", resource_metadata="/x"', "fault bearer.resource_metadata"),
        ('Bearer realm="r", resource_metadata="https://[x"', "fault bearer.resource_metadata"),
        ('Bearer realm="r", resource_metadata="https://ü/"', "fault bearer.resource_metadata"),
        ('ApiKey realm="r"', "note scheme.unregistered"),
    ],
)
def test_what_is_wrong_in_one_challenge(line: str | bytes, finding: str) -> None:
    """One thing is wrong, and that alone is found."""
    assert found(line) == [finding]


@pytest.mark.parametrize(
    ("lines", "finding", "why"),
    [
        (('Negotiate, Basic realm="r", charset="UTF-8"',), "warning challenge.joined", "Browsers read only the first"),
        ((f"Negotiate, {DIGEST}",), "warning challenge.joined", "never see that Digest"),
        ((f"{DIGEST}, Negotiate",), "warning challenge.joined", "Browsers read only the first of them ("),
        (("Negotiate", DIGEST), "warning challenge.order", "aiohttp and urllib read only the first line"),
        (('Bearer realm="r"', 'Bearer realm="s"'), "warning challenge.repeated", "nobody can say which"),
    ],
)
def test_what_is_wrong_between_challenges(lines: tuple[str, ...], finding: str, why: str) -> None:
    """Clients that take a line for a challenge, or the first line for the only one, miss some."""
    (one,) = judge_challenges(read_refusal([line.encode() for line in lines]))

    assert f"{one.level} {one.code}" == finding
    assert why in str(one)


def test_an_error_is_not_for_a_request_without_a_token() -> None:
    """A known error is one warning, and an unknown one is another."""
    assert found('Bearer realm="r", error="invalid_token"') == ["warning bearer.error_unasked"]
    assert found('Bearer realm="r", error="expired"') == ["warning bearer.error", "warning bearer.error_unasked"]


@pytest.mark.parametrize(
    ("line", "status", "findings"),
    [
        ('Bearer realm="r", error="invalid_token"', 401, []),
        ('Bearer realm="r"', 401, ["bearer.no_error"]),
        ('Bearer realm="r"', 429, []),
        ("", 401, []),
        ('Bearer realm="r", error="invalid_token"', 403, ["bearer.status"]),
        ('Bearer realm="r", error="invalid_request"', 401, ["bearer.status"]),
        ('Bearer realm="r", error="insufficient_scope"', 401, ["bearer.status"]),
        ('Bearer realm="r", error="oops"', 401, ["bearer.error"]),
        ("Bearer", 401, ["bearer.bare", "bearer.no_error"]),
    ],
)
def test_what_is_wrong_in_the_answer_to_a_bad_token(line: str, status: int, findings: list[str]) -> None:
    """The error says what is wrong with the token, and the status belongs to it."""
    refusal = read_refusal([line.encode()], status)

    assert [one.code for one in judge_refused_token(refusal)] == findings


def test_a_folded_line_is_one_finding() -> None:
    """What it holds is read as if it were in one line."""
    assert found('Basic realm="r",\r\n charset="UTF-8"') == ["fault challenge.folded"]
    assert found('Basic realm="r"\n\tcharset="UTF-8"') == ["fault challenge.folded", "fault challenge.grammar"]


@pytest.mark.parametrize(
    ("first", "second", "codes"),
    [
        ('Digest realm="r", nonce="a"', 'Digest realm="r", nonce="b"', []),
        ('Digest realm="r", nonce="a"', 'Digest realm="r", nonce="a"', ["digest.same_nonce"]),
        ('Digest realm="r", nonce=""', 'Digest realm="r", nonce=""', []),
        ('Digest realm="r"', "Basic", []),
    ],
)
def test_each_answer_has_a_nonce_of_its_own(first: str, second: str, codes: list[str]) -> None:
    """A nonce that is constant lets a captured answer be sent again for ever."""
    refusals = (read_refusal([line.encode()]) for line in (first, second))

    assert [one.code for one in judge_nonces(*refusals)] == codes


def test_a_grammar_finding_names_the_place_and_the_fix() -> None:
    """It shows the bytes around the mistake, the section and what to write."""
    (one,) = judge_challenges(read_refusal([b'Bearer realm="r" scope="a"']))

    assert str(one) == (
        'fault challenge.grammar: WWW-Authenticate has no comma before a parameter, at byte 17: r realm="r" scope="a". '
        "Each client reads this in a way of its own, or drops the whole field (RFC 9110 section 11.2). "
        "Put a comma between the parameters."
    )


def test_all_mistakes_of_a_challenge_share_its_scheme() -> None:
    """Otherwise a long scheme before many commas would be kept once for each of them."""
    (found,) = read_refusal([b"A" * 1000 + b"," * 100]).lists

    assert {id(mistake.scheme) for mistake in found.mistakes} == {id(found.mistakes[0].scheme)}


def test_each_mistake_of_the_grammar_has_a_fix() -> None:
    """The table has exactly the mistakes that the reader can tell."""
    names = {name: value for name, value in vars(challenge_list).items() if name.isupper() and isinstance(value, str)}

    assert set(_GRAMMAR) == set(names.values())


def test_what_a_server_sends_cannot_reach_the_terminal() -> None:
    """Control characters and what is not ASCII are escaped, and a long value is cut."""
    (one,) = (
        one
        for one in judge_challenges(read_refusal([b"Basic realm=\x1b[2J\xff" + b"x" * 500]))
        if "unquoted" in one.code
    )

    assert one.what.startswith(r"the realm of Basic has no quotes: \x1b[2J\xffx")
    assert one.what.endswith("x...")
    assert len(one.what) < 200
