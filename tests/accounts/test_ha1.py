"""``H(A1)`` and the hashes that it is made with."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authguard.accounts.digest_account import DIGITS, digest_ha1, hash_of
from authguard.errors import ConfigurationError
from tests.support.vectors import load_vectors

CASES = load_vectors("htdigest.json")["cases"]
ALICE = next(case for case in CASES if case["name"] == "alice" and case["algorithm"] == "SHA-256")

# SHAVS of NIST, and RFC 1321 section A.5: the digests of "abc".
ABC = {
    "MD5": "900150983cd24fb0d6963f7d28e17f72",
    "SHA-256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    "SHA-512-256": "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23",
}


def _forbid(*names: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes hashlib say of these what it says where OpenSSL lacks or refuses them."""
    new = hashlib.new

    def refused(*arguments: object, **options: object) -> None:
        raise ValueError("[digital envelope routines] unsupported")

    monkeypatch.setattr(hashlib, "new", lambda name, octets: refused() if name in names else new(name, octets))
    if "md5" in names:
        monkeypatch.setattr(hashlib, "md5", refused)


@pytest.mark.rfc("7616-1")
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['algorithm']} {case['name']}")
def test_what_is_kept_of_a_password_is_what_other_tools_make(case: dict[str, str]) -> None:
    """Apache's htdigest for MD5, OpenSSL for the others."""
    made = digest_ha1(case["name"], case["realm"], case["password"], case["algorithm"])

    assert f"{case['name']}:{case['realm']}:{made}" == case["line"]


def test_it_is_sha_256_unless_another_is_named() -> None:
    """As the challenges are."""
    assert digest_ha1("alice", "orders", "correct horse") == ALICE["line"].rpartition(":")[2]


@pytest.mark.rfc("7616-13")
def test_all_three_are_hashed_composed() -> None:
    """RFC 7616 section 4: whoever types them decomposed has the same digest."""
    composed = digest_ha1("am\u00e9lie", "caf\u00e9", "p\u00e9ch\u00e9")

    assert digest_ha1("ame\u0301lie", "cafe\u0301", "pe\u0301che\u0301") == composed


@pytest.mark.parametrize(
    ("given_name", "password", "problem"),
    [
        ("", "horse", "the username must be a non-empty string"),
        (None, "horse", "the username must be a non-empty string"),
        ("al:ice", "horse", "the username must not hold a colon"),
        ("al\x7fice", "horse", "the username must not hold control characters"),
        ("al\ud800ice", "horse", "the username must not hold .* surrogate"),
        ("alice", "", "the password must be a non-empty string"),
        ("alice", b"horse", "the password must be a non-empty string"),
        ("alice", "horse\r", "the password must not hold control characters"),
        ("alice", "horse\udce9", "the password must not hold .* surrogate"),
    ],
)
def test_a_name_or_a_password_that_cannot_serve_is_a_wrong_value(given_name: Any, password: Any, problem: str) -> None:
    """They are a user's, not a set-up; and the error does not hold the password, nor does what it was made of."""
    with pytest.raises(ValueError, match=problem) as caught:
        digest_ha1(given_name, "orders", password)

    assert not isinstance(caught.value, ConfigurationError)
    assert caught.value.__context__ is None
    assert "horse" not in str(caught.value)


@pytest.mark.parametrize("realm", ["", None, b"orders", 'or"ders', "or\\ders", "or\tders", "or\ud800ders"])
def test_a_realm_that_cannot_serve_is_a_wrong_set_up(realm: Any) -> None:
    """The same as ``Digest`` would refuse."""
    with pytest.raises(ConfigurationError) as caught:
        digest_ha1("alice", realm, "correct horse")

    assert caught.value.argument == "realm"


@pytest.mark.parametrize("algorithm", ["sha-256", "SHA-256-sess", "SHA-512", "", None, ["MD5"]])
def test_an_algorithm_that_is_none_is_told_with_those_that_there_are(algorithm: Any) -> None:
    """Under the argument that it was given for."""
    with pytest.raises(ConfigurationError, match=r"^algorithm: .* is none; there are SHA-256, SHA-512-256, MD5$"):
        digest_ha1("alice", "orders", "correct horse", algorithm)
    with pytest.raises(ConfigurationError, match=r"^algorithms: "):
        hash_of(algorithm)


@pytest.mark.parametrize("algorithm", DIGITS)
def test_a_hash_is_what_its_standard_says(algorithm: str) -> None:
    """By the example that each of them has."""
    digest = hash_of(algorithm)(b"abc")

    assert digest.hex() == ABC[algorithm]
    assert len(digest.hex()) == DIGITS[algorithm]


@given(st.binary())
def test_sha_512_256_is_the_same_with_and_without_openssl(octets: bytes) -> None:
    """What cryptography brings takes over where hashlib has none."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        theirs = hash_of("SHA-512-256")(octets)
        _forbid("sha512_256", monkeypatch=monkeypatch)

        assert hash_of("SHA-512-256")(octets) == theirs


def test_md5_is_asked_for_as_what_it_is() -> None:
    """A platform that forbids it for security alone has it."""
    seen: list[bool] = []
    real = hashlib.md5

    def md5(octets: bytes, *, usedforsecurity: bool = True) -> Any:
        seen.append(usedforsecurity)
        return real(octets, usedforsecurity=usedforsecurity)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(hashlib, "md5", md5)
        hash_of("MD5")(b"abc")

    assert set(seen) == {False}


def test_a_platform_that_forbids_md5_is_told_while_the_app_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to use, and not for a request; the others are there."""
    _forbid("md5", monkeypatch=monkeypatch)

    with pytest.raises(ConfigurationError, match=r'^algorithms: this platform forbids MD5 \(FIPS\): use "SHA-256"$'):
        hash_of("MD5")

    assert hash_of("SHA-256")(b"abc").hex() == ABC["SHA-256"]
