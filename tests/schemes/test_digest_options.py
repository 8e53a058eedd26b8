"""The options of a Digest challenge, and which of them raise while the app is built."""

from __future__ import annotations

import hashlib
import traceback
from typing import Any

import pytest

from authguard.accounts.digest_account import check_realm
from authguard.errors import ConfigurationError
from authguard.schemes.digest.options import (
    check_authority,
    check_prefix,
    check_qop,
    check_realms_held,
    parse_algorithms,
)
from authguard.schemes.nonce_secret import PER_PROCESS, check_secrets


def _refusal(function: Any, *given: Any) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        function(*given)
    return caught.value


# --- Algorithms -------------------------------------------------------------------------------------------------------


@pytest.mark.rfc("7616-1", "7616-2")
def test_algorithms_are_offered_in_the_order_given() -> None:
    """Names of algorithms are accepted in any case, written as in the RFC, and a session algorithm is stored as its
    base."""
    algorithms = parse_algorithms(["sha-256", "SHA-256-SESS", "sha-512-256", "Md5-Sess", "md5"])

    assert [(one.name, one.stored, one.session) for one in algorithms] == [
        ("SHA-256", "SHA-256", False),
        ("SHA-256-sess", "SHA-256", True),
        ("SHA-512-256", "SHA-512-256", False),
        ("MD5-sess", "MD5", True),
        ("MD5", "MD5", False),
    ]
    assert [len(one.hashed(b"")) for one in algorithms] == [32, 32, 32, 16, 16]


@pytest.mark.rfc("7616-2")
@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("SHA-512-256", "SHA-256"), "('SHA-256', 'SHA-512-256')"),
        (("MD5", "SHA-256"), "('SHA-256', 'MD5')"),
        (("SHA-256", "MD5-sess", "SHA-512-256-sess"), "('SHA-256', 'SHA-512-256-sess', 'MD5-sess')"),
    ],
)
def test_an_order_of_algorithms_that_breaks_clients_raises(given: tuple[str, ...], told: str) -> None:
    """SHA-512-256 first breaks curl 7, httpx and aiohttp, and MD5 first is the weakest choice. The error shows the
    right order."""
    error = _refusal(parse_algorithms, given)

    assert error.argument == "algorithms"
    assert told in str(error)


@pytest.mark.parametrize(
    "given",
    [
        (),
        "SHA-256",
        b"SHA-256",
        None,
        7,
        ("SHA-1",),
        ("SHA-512",),
        ("",),
        ("-sess",),
        ("SHA-256-sess-sess",),
        ("SHA-256", "sha-256"),
        (["SHA-256"],),
        (None,),
    ],
)
def test_other_algorithms_raise(given: Any) -> None:
    """An unknown or repeated algorithm raises, and the error names the argument."""
    assert _refusal(parse_algorithms, given).argument == "algorithms"


def test_md5_is_refused_where_the_platform_forbids_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where hashlib refuses MD5, as under FIPS, MD5 raises while the app is built, and SHA-256 still works."""

    def forbidden(*_: object, **__: object) -> Any:
        raise ValueError("[digital envelope routines] unsupported")

    monkeypatch.setattr(hashlib, "md5", forbidden)

    error = _refusal(parse_algorithms, ("SHA-256", "MD5-sess"))
    assert (error.argument, error.__cause__) == ("algorithms", None)
    assert "FIPS" in str(error)
    assert len(parse_algorithms(("SHA-256",))) == 1


@pytest.mark.rfc("7616-1")
def test_sha_512_256_works_where_openssl_does_not_provide_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where hashlib has no SHA-512-256, cryptography computes it, with the same result."""
    (there,) = parse_algorithms(("SHA-512-256",))

    def lacking(name: str, *_: object, **__: object) -> Any:
        raise ValueError(f"unsupported hash type {name}")

    monkeypatch.setattr(hashlib, "new", lacking)
    (elsewhere,) = parse_algorithms(("SHA-512-256",))
    monkeypatch.undo()

    assert elsewhere.hashed(b"abc").hex() == "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"
    assert there.hashed(b"abc") == elsewhere.hashed(b"abc")


# --- The rest ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [("auth",), ["auth", "auth-int"], iter(("auth-int",))])
def test_the_kinds_of_protection_are_named(given: Any) -> None:
    """``qop`` may be auth, auth-int or both."""
    assert check_qop(given) in {("auth",), ("auth", "auth-int"), ("auth-int",)}


@pytest.mark.parametrize("given", ["auth", b"auth", (), None, ("auth-int", "auth"), ("AUTH",), (["auth"],), ("none",)])
def test_other_kinds_of_protection_raise(given: Any) -> None:
    """An unknown or empty ``qop`` raises: the form of RFC 2069 without qop is not supported."""
    assert _refusal(check_qop, given).argument == "qop"


@pytest.mark.parametrize("given", ["", 'a "b"', "a\\b", "a\nb", "a\x7f", "\ud800", None, 7, b"orders"])
def test_a_realm_that_clients_read_in_several_ways_is_refused(given: Any) -> None:
    """A realm with a quote or a backslash raises, because only some clients undo the escapes before they hash."""
    assert _refusal(check_realm, given).argument == "realm"


@pytest.mark.rfc("7616-13")
def test_a_realm_is_in_nfc() -> None:
    """The realm is normalized to NFC, which is how it is hashed."""
    assert check_realm("Gro\u0308ße, here") == "Größe, here"


SECRETS: list[Any] = ["a" * 32, b"a" * 32, ["a" * 32], ("a" * 32, b"b" * 40), "ä" * 16]


@pytest.mark.parametrize("given", SECRETS)
def test_a_secret_has_at_least_32_bytes(given: Any) -> None:
    """Text counts in UTF-8. Of several secrets, the first one makes new nonces."""
    secrets = check_secrets(given)

    assert secrets is not None
    assert all(isinstance(one, bytes) and len(one) >= 32 for one in secrets)
    assert secrets[0] in {b"a" * 32, "ä".encode() * 16}


def test_a_secret_of_any_bytes_may_come_from_the_environment() -> None:
    """Python decodes bytes that are not UTF-8 to lone surrogates, and such a secret is accepted."""
    data = b"\xff" * 32

    secrets = check_secrets(data.decode("utf-8", "surrogateescape")) or ()

    assert [len(one) >= 32 for one in secrets] == [True]


@pytest.mark.parametrize(
    "given", [None, "", "S3CR3T" * 5, b"S3CR3T", [], ["a" * 32, "S3CR3T"], [None], 7, {"a" * 32}, bytearray(32)]
)
def test_an_invalid_secret_raises_and_is_not_quoted(given: Any) -> None:
    """The error of an invalid secret says how to make one, and does not repeat it."""
    error = _refusal(check_secrets, given)

    assert error.argument == "secret"
    assert "`authguard secret` makes one" in str(error)
    assert "S3CR3T" not in "".join(traceback.format_exception_only(error))


def test_a_secret_of_the_process_is_asked_for_by_name() -> None:
    """``PER_PROCESS`` asks for a secret of this process, and its repr is its name."""
    assert check_secrets(PER_PROCESS) is None
    assert repr(PER_PROCESS) == "PER_PROCESS"


@pytest.mark.parametrize("given", ["", "/api", "/api/v1", "/a%20b", "/~x;y=1,2"])
def test_a_prefix_is_as_clients_send_it(given: str) -> None:
    """A public prefix is an escaped path without a final slash."""
    assert check_prefix(given) == given.encode()


@pytest.mark.parametrize(
    "given", ["api", "/", "/api/", "//api", "/a b", "/ä", "/a?b", "/a%2", "http://x/api", "/api\n", None, b"/api", 7]
)
def test_an_invalid_prefix_raises(given: Any) -> None:
    """A public prefix that is not such a path raises, and the error names the argument."""
    assert _refusal(check_prefix, given).argument == "public_prefix"


@pytest.mark.parametrize("given", ["cameras.example", "Cameras.Example:8443", "10.0.0.1", "[2001:db8::1]:80", "a_b-c"])
def test_a_public_authority_is_a_host_as_clients_write_it(given: str) -> None:
    """A public authority is a host name or an address, with an optional port. None means that ``Host`` names it."""
    assert check_authority(given) == given.encode()
    assert check_authority(None) is None


@pytest.mark.parametrize(
    "given", ["", "https://cameras.example", "cameras.example/", "a b", "a:", "a:123456", "u@a", "ä.example", b"a", 7]
)
def test_an_invalid_public_authority_raises(given: Any) -> None:
    """The error names the argument and shows how to write it."""
    error = _refusal(check_authority, given)

    assert error.argument == "public_authority"
    assert 'such as "cameras.example:8443"' in str(error)


def test_a_store_needs_accounts_for_each_challenge() -> None:
    """A store without an account for the realm and an offered algorithm raises, and the error lists what the
    store has."""
    both = parse_algorithms(("SHA-256-sess", "MD5"))
    check_realms_held({("orders", "SHA-256"), ("orders", "MD5"), ("x", "MD5")}, "orders", both)

    error = _refusal(check_realms_held, {("orders", "MD5"), ("cameras", "SHA-256")}, "orders", both)
    assert error.argument == "accounts"
    assert "no SHA-256 digest of realm 'orders'" in str(error)
    assert "SHA-256 of realm 'cameras', MD5 of realm 'orders'" in str(error)
    assert "none at all" in str(_refusal(check_realms_held, set(), "orders", both))
