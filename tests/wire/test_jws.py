from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode

import pytest

from authguard.wire import jws
from authguard.wire.grammar import WireError
from authguard.wire.jws import MAX_TOKEN, JoseHeader, Jws, parse
from tests.wire.tokens import HEADER, PAYLOAD, SIGNATURE, b64url, compact


def _problem_of(token: bytes, limit: int = MAX_TOKEN) -> str:
    with pytest.raises(WireError) as caught:
        parse(token, limit)
    assert caught.value.__context__ is None  # a JSON or codec error would hold the claims
    return caught.value.problem


def test_a_token_is_parsed() -> None:
    """One call returns header, claims, signing input and signature."""
    assert parse(compact()) == Jws(
        header=JoseHeader(alg="RS256", kid="2026-01", typ="at+jwt", crit=False, b64=False),
        claims={"sub": "alice"},
        payload=b64url(PAYLOAD),
        signing_input=b64url(HEADER) + b"." + b64url(PAYLOAD),
        signature=SIGNATURE,
    )


def test_the_example_of_rfc_7515_verifies() -> None:
    """Appendix A.1: the HMAC of ``signing_input`` equals ``signature``."""
    token = (
        b"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
        b".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
        b".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    )
    key = urlsafe_b64decode(b"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow==")

    parsed = parse(token)

    assert parsed.header == JoseHeader(alg="HS256", typ="JWT")
    assert parsed.claims == {"iss": "joe", "exp": 1300819380, "http://example.com/is_root": True}
    assert hmac.digest(key, parsed.signing_input, "sha256") == parsed.signature


def test_an_unsecured_token_is_parsed() -> None:
    """RFC 7519 section 6.1: an empty signature is well-formed. The algorithm ``none`` is refused later."""
    token = (
        b"eyJhbGciOiJub25lIn0"
        b".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
    )

    parsed = parse(token)

    assert (parsed.header.alg, parsed.signature, parsed.signing_input) == ("none", b"", token[:-1])


@pytest.mark.parametrize(
    ("token", "problem"),
    [
        (b"", "no dot: an opaque token, not a JWS"),
        (b"mF_9B5f-41JqM", "no dot: an opaque token, not a JWS"),
        (b"e30.e30", "two parts: no signature"),
        (b"e30.e30.e30.e30", "four parts"),
        (b"e30.e30.e30.", "four parts"),
        (b"e30.e30.e30.e30.e30", "an encrypted token (JWE), five parts"),
        (b"e30....", "an encrypted token (JWE), five parts"),
        (b"e30.e30.e30.e30.e30.e30", "more than five parts"),
        (b"." * MAX_TOKEN, "more than five parts"),
        # C2SP/wycheproof, testvectors_v1/json_web_signature_test.json: rejectsMissingHeader, and the beginning of
        # rejectsValidJsonSerialization.
        (b".Zm9v.TD37p4c_0jmreSrBSDmE0F3mYSPtkZ3WrSyI5wb_KTg", "not a JSON object in UTF-8"),
        (b'{"payload":"Zm9v","signatures":[]}', "no dot: an opaque token, not a JWS"),
    ],
)
def test_a_token_has_three_parts_of_the_right_kind(token: bytes, problem: str) -> None:
    """Each other number of parts has its own problem, and an encrypted token is identified as such."""
    assert _problem_of(token) == problem


@pytest.mark.parametrize(
    "token",
    [
        # RFC 7797 section 4.2: a detached payload.
        b"eyJhbGciOiJIUzI1NiIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il19..A5dxf2s96_n5FLueVuW1Z_vh161FwXZC4YLPff6dmDY",
        # C2SP/wycheproof, the file above, acceptsValid: the payload is the word foo.
        b"eyJhbGciOiJIUzI1NiIsImtpZCI6ImtpZC1hZXMtc2lnbiJ9.Zm9v.TD37p4c_0jmreSrBSDmE0F3mYSPtkZ3WrSyI5wb_KTg",
    ],
)
def test_a_jws_without_claims_is_refused(token: bytes) -> None:
    """A JWS can sign any bytes (RFC 7515); a JWT must have a JSON object as its payload (RFC 7519)."""
    assert _problem_of(token) == "not a JSON object in UTF-8"


def test_a_token_may_be_as_long_as_the_limit_and_no_longer() -> None:
    """The limit is 8 KiB, inclusive, and can be set by the caller."""
    token = compact(signature=b"")
    token += b64url(bytes((MAX_TOKEN - len(token)) * 3 // 4))
    token += b"A" * (MAX_TOKEN - len(token))

    assert MAX_TOKEN == len(token) == 8192
    assert len(parse(token).signature) == (len(token) - token.rindex(b".") - 1) * 3 // 4
    assert _problem_of(token + b"A") == "too long"
    assert _problem_of(compact(), limit=len(compact()) - 1) == "too long"


@pytest.mark.rfc("7515-1")
@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(b"e30=", "base64url with padding", id="padding"),
        pytest.param(b"eyJhIjoxfQ==", "base64url with padding", id="two of padding"),
        pytest.param(b"e30==", "base64url with padding", id="padding that does not fit"),
        pytest.param(b"e3=0", "not base64url", id="padding within"),
        pytest.param(b"e30\n", "not base64url", id="a newline after it"),
        pytest.param(b"e 30", "not base64url", id="a space within"),
        pytest.param(b"e3+0", "not base64url", id="a plus"),
        pytest.param(b"e3/0", "not base64url", id="a slash"),
        pytest.param(b"e3\x000", "not base64url", id="a null"),
        pytest.param(b"e3\xff0", "not base64url", id="a byte outside ASCII"),
        pytest.param(b"e30ab", "not base64url", id="one character modulo four"),
        pytest.param(b"e", "not base64url", id="one character"),
        pytest.param(b"eyJh!!!!IjoxfQ", "not base64url", id="four characters that a lenient decoder would skip"),
        pytest.param(b"eyJh\n\n\n\nIjoxfQ", "not base64url", id="four newlines within"),
        pytest.param(b"eyJh====IjoxfQ", "not base64url", id="padding that a lenient decoder would skip"),
        pytest.param(b"eyJh++++IjoxfQ", "not base64url", id="four characters of the other alphabet"),
        pytest.param(b"e31", "not base64url", id="unused bits that are not zero, of two"),
        pytest.param(b"eyJhIjoxfR", "not base64url", id="unused bits that are not zero, of four"),
    ],
)
def test_each_part_has_one_spelling(part: int, text: bytes, problem: str) -> None:
    """Each of the three parts must be base64url without padding and with zero unused bits."""
    parts = compact().split(b".")
    parts[part] = text

    assert _problem_of(b".".join(parts)) == problem


@pytest.mark.parametrize("remainder", [2, 3])
def test_unused_bits_must_be_zero(remainder: int) -> None:
    """Of the 64 possible last characters, exactly those are accepted that an encoder can write."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    body = compact(signature=b"") + b"A" * (remainder - 1)
    accepted = []

    for character in alphabet:
        token = body + bytes([character])
        try:
            accepted.append(b64url(parse(token).signature)[-1:] == bytes([character]))
        except WireError:
            continue

    assert accepted == [True] * {2: 4, 3: 16}[remainder]


@pytest.mark.parametrize("header", [{}, {"typ": "JWT"}, {"ALG": "RS256"}])
def test_a_header_must_name_an_algorithm(header: dict[str, object]) -> None:
    """RFC 7515 section 4.1.1: ``alg`` is required, and case-sensitive."""
    assert _problem_of(compact(header=header)) == "no alg"


@pytest.mark.parametrize("name", ["alg", "kid", "typ"])
@pytest.mark.parametrize("value", [None, 1, True, ["RS256"], {"a": "RS256"}])
def test_members_of_a_header_are_strings(name: str, value: object) -> None:
    """Every other type is refused. ``null`` does not count as absent."""
    assert _problem_of(compact(header={"alg": "RS256", name: value})) == f"the header member {name} is not a string"


@pytest.mark.parametrize("value", [[], ["exp"], ["b64"], None, "exp", False])
def test_a_critical_extension_is_noticed_whatever_it_holds(value: object) -> None:
    """A token with ``crit`` is refused later, so its mere presence sets the flag, whatever the value."""
    assert parse(compact(header={"alg": "RS256", "crit": value})).header.crit


@pytest.mark.parametrize(("value", "noticed"), [(True, False), (False, True), (None, True), (1, True), ("true", True)])
def test_an_unencoded_payload_is_noticed(value: object, noticed: bool) -> None:
    """RFC 7797: every ``b64`` other than the literal ``true`` sets the flag."""
    assert parse(compact(header={"alg": "RS256", "b64": value})).header.b64 is noticed


@pytest.mark.rfc("8725-5")
def test_a_token_does_not_bring_its_own_key() -> None:
    """RFC 8725 section 3.10: keys and key URLs in the header are discarded while parsing, and only their names are
    left."""
    header = {"alg": "RS256", "jwk": {"kty": "oct", "k": "AA"}, "jku": "https://evil.example", "x5u": "a", "x5c": ["b"]}

    assert parse(compact(header=header)).header == JoseHeader(alg="RS256", notable=("jwk", "jku", "x5c", "x5u"))


def test_the_repr_of_a_token_hides_claims_and_signature() -> None:
    """The repr shows only the header, so that no token can be rebuilt from a log."""
    assert repr(parse(compact(header={"alg": "RS256"}))) == (
        "Jws(header=JoseHeader(alg='RS256', kid=None, typ=None, crit=False, b64=False, notable=()))"
    )


def test_a_parsed_header_is_cached() -> None:
    """The same bytes give the same object."""
    assert parse(compact()).header is parse(compact(payload={"sub": "bob"})).header


def test_two_spellings_of_a_header_are_cached_separately() -> None:
    """The key of the cache is the bytes, not their meaning."""
    first, second = (parse(compact(header=header)).header for header in (b'{"alg":"RS256"}', b'{"alg": "RS256"}'))

    assert first == second
    assert first is not second


def test_the_header_cache_is_bounded() -> None:
    """It holds 256 headers at most, and neither long headers nor bad ones."""
    jws._cached_header.cache_clear()
    long_header = compact(header={"alg": "RS256", "x": "y" * 1024})
    for number in range(300):
        parse(compact(header={"alg": "RS256", "kid": str(number)}))
        assert _problem_of(compact(header={"kid": str(number)})) == "no alg"

    assert parse(long_header).header is not parse(long_header).header
    assert jws._cached_header.cache_info().currsize == 256
