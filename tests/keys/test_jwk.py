"""JWKs and JWK Sets: which keys are used, and what is reported of the others."""

from __future__ import annotations

import contextlib
import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authguard import JWK, ConfigurationError, JWKSet, VerificationKey
from tests.keys.key_material import PUBLIC, RS256, binding_problem, bound_key
from tests.support.tokens import HMAC_SECRET, b64url, ec_key, ed_key, public_jwk, rsa_key


@pytest.mark.parametrize("write", [dict, json.dumps, lambda jwk: json.dumps(jwk).encode()])
def test_a_jwk_is_a_mapping_or_json(write: Any) -> None:
    """A JWK may be a mapping or JSON (RFC 7517)."""
    jwk = write({**public_jwk(rsa_key()), "kid": "2026", "alg": "RS256", "use": "sig", "key_ops": ["verify"]})

    key = bound_key(JWK(jwk), "RS256", "PS256")

    assert (key.algorithm, key.kid) == ("RS256", "2026")
    assert key.material.public_numbers() == rsa_key().public_key().public_numbers()


@pytest.mark.parametrize(("key", "algorithm"), [(ec_key(), "ES256"), (ed_key(), "EdDSA"), (rsa_key(), "RS256")])
def test_a_jwk_is_bound_by_its_type(key: Any, algorithm: str) -> None:
    """A JWK without ``alg`` is bound to the algorithm of its type and curve."""
    assert bound_key(JWK(public_jwk(key)), *PUBLIC).algorithm == algorithm


def test_a_jwk_may_hold_a_secret() -> None:
    """A JWK may hold an HMAC secret, with the same minimum size as ``Secret``."""
    jwk = {"kty": "oct", "k": b64url(HMAC_SECRET), "kid": "a"}

    assert bound_key(JWK(jwk), "HS512") == VerificationKey("HS512", "a", HMAC_SECRET)
    assert binding_problem(JWK({**jwk, "k": b64url(HMAC_SECRET[:31])}), "HS256").startswith("this secret has 31 bytes")
    assert binding_problem(JWK({**jwk, "alg": "RS256"}), "RS256").startswith("RS256 is not in algorithms=")


@pytest.mark.rfc("7517-1")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kid": 5.5}, "its kid is not a string"),
        ({"kid": True}, "its kid is not a string"),
        ({"use": "enc"}, "its use is not sig"),
        ({"use": ["sig"]}, "its use is not sig"),
        ({"key_ops": ["encrypt"]}, "its key_ops do not contain verify"),
        ({"key_ops": "sign"}, "its key_ops do not contain verify"),
        ({"key_ops": 5}, "its key_ops do not contain verify"),
        ({"alg": "RSA-OAEP"}, "its alg is not a supported signature algorithm"),
        ({"alg": "none"}, "its alg is not a supported signature algorithm"),
        ({"alg": ["RS256"]}, "its alg is not a supported signature algorithm"),
        ({"alg": {}}, "its alg is not a supported signature algorithm"),
        ({"alg": "RS512"}, "RS512 is not in algorithms=, or does not fit this key"),
        ({"alg": "ES256"}, "ES256 is not in algorithms=, or does not fit this key"),
        ({"d": "AQAB"}, "it contains a private key; give only the public key, without d"),
        ({"kty": "XYZ"}, "its kty is not one of oct, RSA, EC, OKP"),
        ({"kty": None}, "its kty is not one of oct, RSA, EC, OKP"),
        ({"kty": ["RSA"]}, "its kty is not one of oct, RSA, EC, OKP"),
        ({"kty": "EC"}, "its members are not those of a valid EC key"),
        ({"kty": "OKP"}, "its members are not those of a valid OKP key"),
        ({"kty": "oct"}, "its members are not those of a valid oct key"),
        ({"kty": "oct", "k": 5}, "its members are not those of a valid oct key"),
        ({"kty": "OKP", "crv": "X25519", "x": "AAAA"}, "its members are not those of a valid OKP key"),
        ({"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}, "its members are not those of a valid EC key"),
        ({"n": 5}, "its members are not those of a valid RSA key"),
        ({"n": None}, "its members are not those of a valid RSA key"),
        ({"n": "ä"}, "its members are not those of a valid RSA key"),
        ({"e": "AQ"}, "an RSA key whose public exponent is less than 3; make one with 65537"),
        ({"e": 5}, "its members are not those of a valid RSA key"),
        ({"e": None}, "its members are not those of a valid RSA key"),
        ({"e": "ä"}, "an RSA key whose public exponent is less than 3; make one with 65537"),
        ({"n": b64url(b"\xff" * 128)}, "an RSA key of 1024 bits; 2048 is the minimum"),
        ({"n": b64url(b"\xff" * 2049)}, "an RSA key of 16392 bits; 16384 is the maximum"),
    ],
)
def test_an_unusable_jwk_raises(change: dict[str, Any], said: str) -> None:
    """A JWK whose type, use, operations, algorithm or id does not allow its use raises (RFC 7517 sections 4.1 to
    4.5)."""
    assert binding_problem(JWK({**public_jwk(rsa_key()), **change}), *PUBLIC) == said


@pytest.mark.parametrize("text", ["", "null", "[]", '"x"', "5", b"\xff", "{", "[" * 100_000])
def test_an_invalid_jwk_raises(text: str | bytes) -> None:
    """A JWK that is not JSON, or not an object, raises."""
    assert binding_problem(JWK(text)) in {"this JWK is not JSON", "a JWK must be a JSON object"}
    assert binding_problem(JWKSet(text)) in {"this JWK Set is not JSON", "a JWK Set must be a JSON object"}


_names = st.sampled_from(["kty", "kid", "use", "key_ops", "alg", "crv", "n", "e", "x", "y", "k", "d"])
_values: list[Any] = [None, True, 5, 0.5, "", "AQAB", "ä", "A" * 9999, [], ["verify"], {}, {"a": 1}, "P-521", "Ed448"]
_good = st.sampled_from([rsa_key(), ec_key(), ed_key()]).map(public_jwk) | st.just(
    {"kty": "oct", "k": b64url(HMAC_SECRET)}
)
_odd = st.dictionaries(_names, st.sampled_from(_values), min_size=1, max_size=2)


@given(_good, _odd)
def test_no_jwk_raises_anything_else(good: dict[str, Any], odd: dict[str, Any]) -> None:
    """Whatever a key server publishes, the only error is ``ConfigurationError``, so one bad key does not spoil
    the set."""
    with contextlib.suppress(ConfigurationError):
        JWK({**good, **odd}).bind(PUBLIC)


# --- JWK Set ----------------------------------------------------------------------------------------------------------

GARBAGE: list[Any] = [
    {"kty": "RSA", "use": "enc", "n": "x"},
    {"kty": "XYZ", "kid": "a"},
    {"kty": "EC", "crv": "P-999", "x": "AA", "y": "AA"},
    {"kty": "OKP", "crv": "X25519", "x": "AA"},
    {"kty": "RSA", "n": "!", "e": "AQAB"},
    {"kty": "RSA", "alg": ["RS256"]},
    {},
    None,
    "a",
    "{}",
    [],
]


@pytest.mark.rfc("7517-2")
def test_one_good_key_among_garbage_is_enough(caplog: pytest.LogCaptureFixture) -> None:
    """FastMCP #4515, PyJWT #722: unusable keys are skipped, and one WARNING lists them by their position."""
    jwks = {"keys": [*GARBAGE, {**public_jwk(rsa_key()), "kid": "good"}, *GARBAGE]}

    for written in (jwks, json.dumps(jwks)):
        caplog.clear()
        keys = JWKSet(written).bind(RS256)

        assert [key.kid for key in keys] == ["good"]
        (record,) = caplog.records
        assert (record.name, record.levelno) == ("authguard", logging.WARNING)
        assert record.getMessage().startswith("keys of a JWK Set are skipped: key 0: its use is not sig; key 1: ")
        assert record.getMessage().count("; key ") == 2 * len(GARBAGE) - 1


def test_a_set_of_usable_keys_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """All keys of a valid set are used, in their order, and nothing is logged."""
    jwks = {
        "keys": [{**public_jwk(key), "kid": kid} for kid, key in (("a", rsa_key()), ("b", ec_key()), ("a", ed_key()))]
    }

    keys = JWKSet(jwks).bind(PUBLIC)

    assert [(key.kid, key.algorithm) for key in keys] == [("a", "RS256"), ("b", "ES256"), ("a", "EdDSA")]
    assert caplog.records == []


@pytest.mark.rfc("7517-2")
@pytest.mark.parametrize(
    ("jwks", "said"),
    [
        ({}, 'a JWK Set must have a list under "keys"'),
        ({"keys": {}}, 'a JWK Set must have a list under "keys"'),
        ({"keys": None}, 'a JWK Set must have a list under "keys"'),
        ({"keys": []}, "no key of this set can be used; it is empty"),
        (
            {"keys": [{"kty": "XYZ"}]},
            "no key of this set can be used; key 0: its kty is not one of oct, RSA, EC, OKP",
        ),
    ],
)
def test_a_set_without_a_usable_key_is_refused(jwks: Any, said: str) -> None:
    """A key set without a usable key raises, because its issuer could verify nothing."""
    assert binding_problem(JWKSet(jwks)) == said


def test_secrets_and_public_keys_of_one_set_do_not_mix() -> None:
    """Only keys for the allowed algorithms are used: a secret in a set of public keys is skipped."""
    jwks = {"keys": [{"kty": "oct", "k": b64url(HMAC_SECRET)}, public_jwk(rsa_key())]}

    assert [key.algorithm for key in JWKSet(jwks).bind(RS256)] == ["RS256"]
    assert [key.algorithm for key in JWKSet(jwks).bind(frozenset({"HS256"}))] == ["HS256"]
