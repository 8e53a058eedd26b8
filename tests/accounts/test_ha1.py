"""``H(A1)`` and the hash functions behind it."""

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
    """Make hashlib refuse these algorithms, as OpenSSL does where it forbids them."""
    new = hashlib.new

    def refused(*arguments: object, **options: object) -> None:
        raise ValueError("[digital envelope routines] unsupported")

    monkeypatch.setattr(hashlib, "new", lambda name, octets: refused() if name in names else new(name, octets))
    if "md5" in names:
        monkeypatch.setattr(hashlib, "md5", refused)


@pytest.mark.rfc("7616-1")
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['algorithm']} {case['name']}")
def test_ha1_is_what_other_tools_compute(case: dict[str, str]) -> None:
    """``H(A1)`` matches Apache's htdigest for MD5, and OpenSSL for the other algorithms."""
    made = digest_ha1(case["name"], case["realm"], case["password"], case["algorithm"])

    assert f"{case['name']}:{case['realm']}:{made}" == case["line"]


def test_the_default_algorithm_is_sha_256() -> None:
    """The default algorithm is SHA-256, like that of the challenges."""
    assert digest_ha1("alice", "orders", "correct horse") == ALICE["line"].rpartition(":")[2]


@pytest.mark.rfc("7616-13")
def test_name_realm_and_password_are_hashed_in_nfc() -> None:
    """RFC 7616 section 4: name, realm and password are normalized to NFC before they are hashed."""
    composed = digest_ha1("am\u00e9lie", "caf\u00e9", "p\u00e9ch\u00e9")

    assert digest_ha1("ame\u0301lie", "cafe\u0301", "pe\u0301che\u0301") == composed


@pytest.mark.parametrize(
    ("given_name", "password", "problem"),
    [
        ("", "horse", "the username must be a non-empty string"),
        (None, "horse", "the username must be a non-empty string"),
        ("al:ice", "horse", "the username must not contain a colon"),
        ("al\x7fice", "horse", "the username must not contain control characters"),
        ("al\ud800ice", "horse", "the username must not contain .* surrogate"),
        ("alice", "", "the password must be a non-empty string"),
        ("alice", b"horse", "the password must be a non-empty string"),
        ("alice", "horse\r", "the password must not contain control characters"),
        ("alice", "horse\udce9", "the password must not contain .* surrogate"),
    ],
)
def test_an_invalid_name_or_password_is_a_value_error(given_name: Any, password: Any, problem: str) -> None:
    """An invalid name or password raises ``ValueError``, without the password in the error or in its cause."""
    with pytest.raises(ValueError, match=problem) as caught:
        digest_ha1(given_name, "orders", password)

    assert not isinstance(caught.value, ConfigurationError)
    assert caught.value.__context__ is None
    assert "horse" not in str(caught.value)


@pytest.mark.parametrize("realm", ["", None, b"orders", 'or"ders', "or\\ders", "or\tders", "or\ud800ders"])
def test_an_invalid_realm_is_a_configuration_error(realm: Any) -> None:
    """A realm that ``Digest`` would refuse raises a ``ConfigurationError``."""
    with pytest.raises(ConfigurationError) as caught:
        digest_ha1("alice", realm, "correct horse")

    assert caught.value.argument == "realm"


@pytest.mark.parametrize("algorithm", ["sha-256", "SHA-256-sess", "SHA-512", "", None, ["MD5"]])
def test_an_unknown_algorithm_raises(algorithm: Any) -> None:
    """An unknown algorithm raises, and the error names the argument and lists the known algorithms."""
    with pytest.raises(ConfigurationError, match=r"^algorithm: .* is not one of SHA-256, SHA-512-256, MD5$"):
        digest_ha1("alice", "orders", "correct horse", algorithm)
    with pytest.raises(ConfigurationError, match=r"^algorithms: "):
        hash_of(algorithm)


@pytest.mark.parametrize("algorithm", DIGITS)
def test_a_hash_is_what_its_standard_says(algorithm: str) -> None:
    """Each hash function gives the example of its standard."""
    digest = hash_of(algorithm)(b"abc")

    assert digest.hex() == ABC[algorithm]
    assert len(digest.hex()) == DIGITS[algorithm]


@given(st.binary())
def test_sha_512_256_is_the_same_with_and_without_openssl(octets: bytes) -> None:
    """Where hashlib has no SHA-512-256, cryptography computes the same value."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        theirs = hash_of("SHA-512-256")(octets)
        _forbid("sha512_256", monkeypatch=monkeypatch)

        assert hash_of("SHA-512-256")(octets) == theirs


def test_md5_is_asked_for_as_what_it_is() -> None:
    """MD5 is requested with ``usedforsecurity=False``, so platforms that forbid it only for security provide it."""
    seen: list[bool] = []
    real = hashlib.md5

    def md5(octets: bytes, *, usedforsecurity: bool = True) -> Any:
        seen.append(usedforsecurity)
        return real(octets, usedforsecurity=usedforsecurity)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(hashlib, "md5", md5)
        hash_of("MD5")(b"abc")

    assert set(seen) == {False}


def test_md5_raises_while_the_app_is_built_where_it_is_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the algorithms to use instead, and those still work."""
    _forbid("md5", monkeypatch=monkeypatch)

    with pytest.raises(ConfigurationError, match=r'^algorithms: this platform forbids MD5 \(FIPS\): use "SHA-256"$'):
        hash_of("MD5")

    assert hash_of("SHA-256")(b"abc").hex() == ABC["SHA-256"]
