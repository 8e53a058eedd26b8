"""Which keys of a published key set are used, and what is logged about the others."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

import pytest

from authguard import BackendUnavailable
from authguard.concurrency.slices import at_once
from authguard.keys import FetchFailed
from authguard.keys.jwk import KeySet, from_published_jwk, parse_key_set
from tests.support.coroutines import wait_until
from tests.support.key_source import StubbedSource
from tests.support.tokens import HMAC_SECRET, b64url, ec_key, ed_key, key_set, published_jwk, rsa_key

PRIVATE = {**published_jwk("private", rsa_key()), "d": "CANARY-of-a-private-key"}

#: Unusable members, and what the log says about them.
UNUSABLE: list[tuple[Any, str]] = [
    (published_jwk("a", rsa_key(), use="enc"), "(kid 'a') is skipped: its use is not sig"),
    (published_jwk("a", rsa_key(), key_ops=["encrypt"]), "(kid 'a') is skipped: its key_ops do not contain verify"),
    (
        published_jwk("a", rsa_key(), alg="RSA-OAEP"),
        "(kid 'a') is skipped: its alg is not a supported signature algorithm",
    ),
    (
        published_jwk("a", rsa_key(), alg="ES256"),
        "(kid 'a') is skipped: its alg is ES256, which does not fit the key",
    ),
    (
        published_jwk("a", ec_key("P-384"), alg="ES256"),
        "(kid 'a') is skipped: its alg is ES256, which does not fit the key",
    ),
    (published_jwk("a", ed_key(), alg="HS256"), "(kid 'a') is skipped: its alg is HS256, which does not fit the key"),
    (published_jwk("a", rsa_key(1024)), "(kid 'a') is skipped: an RSA key of 1024 bits; 2048 is the minimum"),
    (published_jwk("a", ec_key(), crv="P-999"), "(kid 'a') is skipped: its members are not those of a valid EC key"),
    (published_jwk("a", ec_key(), y="AAAA"), "(kid 'a') is skipped: its members are not those of a valid EC key"),
    ({"kty": "OKP", "crv": "X25519", "x": "AAAA"}, " is skipped: its members are not those of a valid OKP key"),
    ({"kty": "XYZ", "kid": "\n\x1b[31m\u2028" + "k" * 999}, "is skipped: its kty is not one of"),
    (
        {"kty": "oct", "kid": "s", "k": b64url(HMAC_SECRET)},
        "(kid 's') is skipped: it is a secret, which a key server must not publish",
    ),
    (PRIVATE, "(kid 'private') is skipped: it contains a private key"),
    ({**published_jwk(None, rsa_key()), "kid": 5.5}, " is skipped: its kid is not a string"),
    (published_jwk("a", rsa_key(), n=None), "(kid 'a') is skipped: its members are not those of a valid RSA key"),
    ({}, " is skipped: its kty is not one of"),
    (None, " is skipped: it is not a JSON object"),
    ("{}", " is skipped: it is not a JSON object"),
    ([], " is skipped: it is not a JSON object"),
]


def parse(*members: Any) -> KeySet:
    """The key set with these members."""
    return at_once(parse_key_set(key_set(*members)))


@pytest.mark.parametrize(("member", "told"), UNUSABLE)
@pytest.mark.rfc("7517-2")
def test_an_unusable_key_does_not_spoil_the_others(member: Any, told: str) -> None:
    """RFC 7517 sections 4.1 to 4.5 and 5: a skipped key is logged with its position and kid, and nothing of the key
    itself."""
    key_set = parse(member, published_jwk("good", rsa_key(), alg="RS256"))

    assert [key.kid for key in key_set.keys] == ["good"]
    assert (key_set.usable, key_set.skipped) == (1, 1)
    (warning,) = key_set.warnings
    assert warning.text.startswith("key 0 ")
    assert told in warning.text
    assert warning.text.isprintable()
    assert len(warning.text) < 500
    assert "CANARY" not in repr(key_set)
    assert b64url(HMAC_SECRET) not in repr(key_set)


def test_all_bad_keys_together_spoil_no_good_one() -> None:
    """FastMCP #4515, PyJWT #722: good keys are used among bad ones in any order."""
    bad = [member for member, _ in UNUSABLE]

    key_set = parse(*bad, published_jwk("a", rsa_key()), *bad, published_jwk("b", ed_key()))

    assert {key.kid for key in key_set.keys} == {"a", "b"}
    assert (key_set.usable, key_set.skipped) == (2, 2 * len(UNUSABLE))


def test_a_key_that_makes_its_parser_raise_does_not_spoil_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text of a parser's error is not logged, because it may contain the key."""

    def stumbling(member: Any, uses: frozenset[str]) -> Any:
        if member == {"kid": "odd"}:
            raise OverflowError("CANARY")
        return from_published_jwk(member, uses)

    monkeypatch.setattr("authguard.keys.jwk.from_published_jwk", stumbling)

    key_set = parse({"kid": "odd"}, published_jwk("good", ec_key()))

    assert [key.kid for key in key_set.keys] == ["good"]
    assert [warning.text for warning in key_set.warnings] == ["key 0 (kid 'odd') is skipped: it is unreadable"]


def test_a_key_that_is_nested_too_deeply_does_not_spoil_the_others() -> None:
    """A key of any nesting depth is skipped or used, and raises nothing."""

    def outcome(depth: int) -> str | None:
        deep = '{"kty": "deep", "x": ' + "[" * depth + "]" * depth + "}"
        try:
            body = b'{"keys": [' + deep.encode() + b"," + key_set(a=rsa_key())[len('{"keys": [') :]
            return at_once(parse_key_set(body)).keys[0].kid
        except FetchFailed as error:
            return error.problem

    outcomes = [outcome(depth) for depth in range(1, 1200, 7)]

    assert set(outcomes) <= {"a", "what it answers is no JSON object"}
    assert outcomes[:50] == ["a"] * 50


@pytest.mark.rfc("7517-2")
def test_a_set_of_bad_keys_alone_is_a_failure() -> None:
    """A set of unusable keys is a failed fetch. Each key is logged all the same, and the record says why it is not
    used."""
    with pytest.raises(FetchFailed, match="no key of its key set can be used") as caught:
        parse(*[member for member, _ in UNUSABLE])

    unusable = caught.value.facts["unusable"]
    assert isinstance(unusable, tuple)
    assert len(unusable) == len(UNUSABLE)
    assert UNUSABLE[0][1] in unusable[0]


@pytest.mark.parametrize(
    ("key", "algorithms"),
    [
        (rsa_key(), {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
        (ec_key(), {"ES256"}),
        (ec_key("P-384"), {"ES384"}),
        (ec_key("P-521"), {"ES512"}),
        (ec_key("secp256k1"), {"ES256K"}),
        (ed_key(), {"EdDSA", "Ed25519"}),
    ],
)
@pytest.mark.rfc("7517-1")
def test_a_key_without_alg_serves_what_its_type_allows(key: Any, algorithms: set[str]) -> None:
    """RFC 7517 section 4.4: without ``alg`` the issuer's algorithms decide. A public key is never used as a secret."""
    key_set = parse(published_jwk("a", key))

    assert {each.algorithm for each in key_set.keys} == algorithms
    assert key_set.usable == 1


@pytest.mark.rfc("7517-1")
def test_a_key_with_alg_serves_that_alone() -> None:
    """RFC 8725 section 3.1: a key with ``alg`` is used for that algorithm only."""
    key_set = parse(published_jwk("a", rsa_key(), alg="PS256", use="sig", key_ops=["verify"]))

    assert [(key.kid, key.algorithm) for key in key_set.keys] == [("a", "PS256")]
    assert key_set.warnings == []


def test_keys_with_one_kid_are_all_tried_and_logged() -> None:
    """Keys of different types may share a kid (RFC 7517 section 4.5). Two of one type are a mistake of the server."""
    key_set = parse(
        published_jwk("a", rsa_key(), alg="RS256"),
        published_jwk("a", rsa_key(which=1), alg="RS256"),
        published_jwk("a", ec_key()),
    )

    assert [(key.kid, key.algorithm) for key in key_set.keys] == [("a", "RS256"), ("a", "RS256"), ("a", "ES256")]
    assert [warning.text for warning in key_set.warnings] == ["2 keys have the kid 'a'; each is tried"]


def test_keys_without_a_kid_are_no_accident() -> None:
    """Several keys without a kid log nothing, because the kid is optional."""
    key_set = parse(published_jwk(None, rsa_key()), published_jwk(None, ec_key()))

    assert (key_set.usable, key_set.warnings) == (2, [])


async def test_each_skipped_key_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """One WARNING names the keys that are newly skipped. The same set again logs nothing."""
    source = StubbedSource()
    sets = [key_set({}, PRIVATE, a=rsa_key()), key_set({}, PRIVATE, a=rsa_key()), key_set({"kty": "new"}, {}, PRIVATE)]
    events: list[list[str]] = []
    both = (
        "key 0 is skipped: its kty is not one of oct, RSA, EC, OKP; "
        "key 1 (kid 'private') is skipped: it contains a private key; give only the public key, "
        "without d"
    )

    for answer in (*sets, *sets):
        source.server.answer = answer
        with suppress(BackendUnavailable):  # the last has no good key
            await source.keys.warm()
        await wait_until(lambda: source.keys._refresher.under_way is None)
        warnings = [each for each in caplog.records if each.levelno == logging.WARNING and "skipped" in each.message]
        events.append([each.getMessage() for each in warnings])
        caplog.clear()

    assert events == [
        [f"https://login.example/jwks: {both}"],
        [],
        ["https://login.example/jwks: key 0 is skipped: its kty is not one of oct, RSA, EC, OKP"],
        [],
        [],
        [],
    ]
    assert "CANARY" not in str(events)


async def test_a_set_full_of_garbage_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The WARNING names sixteen skipped keys, and the number of the others."""
    source = StubbedSource()
    source.server.answer = key_set(*[{"kty": str(number)} for number in range(1000)], a=rsa_key())

    await source.key_ids("a")

    (record,) = caplog.records
    assert record.getMessage().count("is skipped") == 16
    assert record.getMessage().endswith("; and 984 more")


async def test_a_log_that_breaks_breaks_no_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter of the app's logging that raises does not make the fetch fail."""
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
