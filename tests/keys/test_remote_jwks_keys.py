"""What of a published key set is used, and what is told of the rest."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

import pytest

from authguard import BackendUnavailable
from authguard.keys import FetchFailed
from authguard.keys.jwk import KeySet, published, read_keys
from tests.support.coroutines import wait_until
from tests.support.key_source import StubbedSource
from tests.support.tokens import HMAC_SECRET, b64url, ec_key, ed_key, key_set, published_jwk, rsa_key

PRIVATE = {**published_jwk("private", rsa_key()), "d": "CANARY-of-a-private-key"}

#: What is left out, and what is told of it.
UNUSABLE: list[tuple[Any, str]] = [
    (published_jwk("a", rsa_key(), use="enc"), "(kid 'a') is left out: its use is not sig"),
    (published_jwk("a", rsa_key(), key_ops=["encrypt"]), "(kid 'a') is left out: its key_ops do not hold verify"),
    (
        published_jwk("a", rsa_key(), alg="RSA-OAEP"),
        "(kid 'a') is left out: its alg is no signature algorithm that is known",
    ),
    (
        published_jwk("a", rsa_key(), alg="ES256"),
        "(kid 'a') is left out: its alg is ES256, and it does not fit the key",
    ),
    (
        published_jwk("a", ec_key("P-384"), alg="ES256"),
        "(kid 'a') is left out: its alg is ES256, and it does not fit the key",
    ),
    (published_jwk("a", ed_key(), alg="HS256"), "(kid 'a') is left out: its alg is HS256, and it does not fit the key"),
    (published_jwk("a", rsa_key(1024)), "(kid 'a') is left out: an RSA key of 1024 bits; 2048 is the least"),
    (published_jwk("a", ec_key(), crv="P-999"), "(kid 'a') is left out: its members make no EC key"),
    (published_jwk("a", ec_key(), y="AAAA"), "(kid 'a') is left out: its members make no EC key"),
    ({"kty": "OKP", "crv": "X25519", "x": "AAAA"}, " is left out: its members make no OKP key"),
    ({"kty": "XYZ", "kid": "\n\x1b[31m\u2028" + "k" * 999}, "is left out: its kty is none of"),
    (
        {"kty": "oct", "kid": "s", "k": b64url(HMAC_SECRET)},
        "(kid 's') is left out: it is a secret, and a key server has none",
    ),
    (PRIVATE, "(kid 'private') is left out: it holds a private key"),
    ({**published_jwk(None, rsa_key()), "kid": 5}, " is left out: kid is no string"),
    (published_jwk("a", rsa_key(), n=None), "(kid 'a') is left out: its members make no RSA key"),
    ({}, " is left out: its kty is none of"),
    (None, " is left out: it is no JSON object"),
    ("{}", " is left out: it is no JSON object"),
    ([], " is left out: it is no JSON object"),
]


def read(*members: Any) -> KeySet:
    """The set of these members."""
    return read_keys(key_set(*members))


@pytest.mark.parametrize(("member", "told"), UNUSABLE)
@pytest.mark.rfc("7517-2")
def test_a_key_that_cannot_be_used_spoils_no_other(member: Any, told: str) -> None:
    """RFC 7517 sections 4.1 to 4.5 and 5. What is told of it names its place and its id, and nothing of the key."""
    found = read(member, published_jwk("good", rsa_key(), alg="RS256"))

    assert [key.kid for key in found.keys] == ["good"]
    assert (found.held, found.skipped) == (1, 1)
    (remark,) = found.remarks
    assert remark.text.startswith("key 0 ")
    assert told in remark.text
    assert remark.text.isprintable()
    assert len(remark.text) < 500
    assert "CANARY" not in repr(found)
    assert b64url(HMAC_SECRET) not in repr(found)


def test_all_bad_keys_together_spoil_no_good_one() -> None:
    """FastMCP #4515, PyJWT #722: in whatever order they stand."""
    bad = [member for member, _ in UNUSABLE]

    found = read(*bad, published_jwk("a", rsa_key()), *bad, published_jwk("b", ed_key()))

    assert {key.kid for key in found.keys} == {"a", "b"}
    assert (found.held, found.skipped) == (2, 2 * len(UNUSABLE))


def test_a_key_that_its_reader_stumbles_over_spoils_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it raises may hold the key, and is not told."""

    def stumbling(member: Any) -> Any:
        if member == {"kid": "odd"}:
            raise OverflowError("CANARY")
        return published(member)

    monkeypatch.setattr("authguard.keys.jwk.published", stumbling)

    found = read({"kid": "odd"}, published_jwk("good", ec_key()))

    assert [key.kid for key in found.keys] == ["good"]
    assert [remark.text for remark in found.remarks] == ["key 0 (kid 'odd') is left out: it cannot be read"]


def test_a_key_that_is_nested_too_deep_spoils_no_other() -> None:
    """Whatever depth a parser, or what comes after it, can still follow."""

    def outcome(depth: int) -> str | None:
        deep = '{"kty": "deep", "x": ' + "[" * depth + "]" * depth + "}"
        try:
            return (
                read_keys(b'{"keys": [' + deep.encode() + b"," + key_set(a=rsa_key())[len('{"keys": [') :]).keys[0].kid
            )
        except FetchFailed as error:
            return error.problem

    outcomes = [outcome(depth) for depth in range(1, 1200, 7)]

    assert set(outcomes) <= {"a", "what it answers is no JSON object"}
    assert outcomes[:50] == ["a"] * 50


@pytest.mark.rfc("7517-2")
def test_a_set_of_bad_keys_alone_is_a_failure() -> None:
    """And each of them is told all the same."""
    with pytest.raises(FetchFailed, match="no key of its key set can be used"):
        read(*[member for member, _ in UNUSABLE])


@pytest.mark.parametrize(
    ("key", "algorithms"),
    [
        (rsa_key(), {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
        (ec_key(), {"ES256"}),
        (ec_key("P-384"), {"ES384"}),
        (ec_key("P-521"), {"ES512"}),
        (ec_key("secp256k1"), {"ES256K"}),
        (ed_key(), {"EdDSA"}),
    ],
)
@pytest.mark.rfc("7517-1")
def test_a_key_without_alg_serves_what_its_type_allows(key: Any, algorithms: set[str]) -> None:
    """RFC 7517 section 4.4: it is optional. The issuer's own list chooses; no public key is ever a secret."""
    found = read(published_jwk("a", key))

    assert {each.algorithm for each in found.keys} == algorithms
    assert found.held == 1


@pytest.mark.rfc("7517-1")
def test_a_key_with_alg_serves_that_alone() -> None:
    """RFC 8725 section 3.1."""
    found = read(published_jwk("a", rsa_key(), alg="PS256", use="sig", key_ops=["verify"]))

    assert [(key.kid, key.algorithm) for key in found.keys] == [("a", "PS256")]
    assert found.remarks == []


def test_keys_of_one_kid_are_each_tried_and_told() -> None:
    """RFC 7517 section 4.5 lets keys of different types share one; of one type it is an accident of the server's."""
    found = read(
        published_jwk("a", rsa_key(), alg="RS256"),
        published_jwk("a", rsa_key(which=1), alg="RS256"),
        published_jwk("a", ec_key()),
    )

    assert [(key.kid, key.algorithm) for key in found.keys] == [("a", "RS256"), ("a", "RS256"), ("a", "ES256")]
    assert [remark.text for remark in found.remarks] == ["2 keys have the kid 'a'; each is tried"]


def test_keys_without_a_kid_are_no_accident() -> None:
    """It is optional; there may be several."""
    found = read(published_jwk(None, rsa_key()), published_jwk(None, ec_key()))

    assert (found.held, found.remarks) == (2, [])


async def test_each_key_that_is_left_out_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """One WARNING for what is new in a set; the same set again says nothing, and another key is told."""
    source = StubbedSource()
    sets = [key_set({}, PRIVATE, a=rsa_key()), key_set({}, PRIVATE, a=rsa_key()), key_set({"kty": "new"}, {}, PRIVATE)]
    told: list[list[str]] = []
    both = (
        "key 0 is left out: its kty is none of oct, RSA, EC, OKP; "
        "key 1 (kid 'private') is left out: it holds a private key; verifying takes the public one alone"
    )

    for answer in (*sets, *sets):
        source.server.answer = answer
        with suppress(BackendUnavailable):  # the last has no good key
            await source.keys.warm()
        await wait_until(lambda: source.keys._refresh.flight is None)
        warnings = [each for each in caplog.records if each.levelno == logging.WARNING and "left out" in each.message]
        told.append([each.getMessage() for each in warnings])
        caplog.clear()

    assert told == [
        [f"https://login.example/jwks: {both}"],
        [],
        ["https://login.example/jwks: key 0 is left out: its kty is none of oct, RSA, EC, OKP"],
        [],
        [],
        [],
    ]
    assert "CANARY" not in str(told)


async def test_a_set_full_of_garbage_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The first sixteen, and how many more."""
    source = StubbedSource()
    source.server.answer = key_set(*[{"kty": str(number)} for number in range(1000)], a=rsa_key())

    await source.key_ids("a")

    (record,) = caplog.records
    assert record.getMessage().count("is left out") == 16
    assert record.getMessage().endswith("; and 984 more")


async def test_a_log_that_breaks_breaks_no_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter of the app's own that raises is its own affair."""
    source = StubbedSource()
    source.server.answer = key_set({}, a=rsa_key())

    def broken(record: logging.LogRecord) -> bool:
        raise LookupError

    logger = logging.getLogger("authguard")
    logger.addFilter(broken)
    try:
        assert await source.key_ids("a") == ["a"]
    finally:
        logger.removeFilter(broken)
