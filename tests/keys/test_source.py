"""Algorithms, verification keys, and key sources in memory."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any

import pytest

from authguard import (
    PEM,
    AuthGuardError,
    ConfigurationError,
    InvalidSignature,
    KeySource,
    RemoteJWKS,
    Secret,
    VerificationKey,
)
from authguard.concurrency.deadline import optional_method
from authguard.keys.signatures import ALGORITHMS
from authguard.keys.source import KeyMaterial, StaticKeys, as_source, check_algorithms
from tests.security.peers import verifiers_for
from tests.support.coroutines import run_without_waiting
from tests.support.tokens import HMAC_SECRET, ec_key, ed_key, public_pem, rsa_key


def key(algorithm: str, kid: str | None = None, material: object = None) -> VerificationKey:
    """A key with this algorithm, kid and material."""
    return VerificationKey(algorithm, kid, material)


# --- algorithms -------------------------------------------------------------------------------------------------------


@pytest.mark.rfc("7519-4")
def test_the_algorithms_are_those_of_rfc_7518_8037_and_9864() -> None:
    """The algorithms are registered names, without ``none``."""
    hmac_and_rsa = {f"{family}{bits}" for family in ("HS", "RS", "PS", "ES") for bits in (256, 384, 512)}

    assert set(ALGORITHMS) == hmac_and_rsa | {"ES256K", "EdDSA", "Ed25519", "Ed448"}


@pytest.mark.parametrize("given", [["RS256"], ("RS256", "RS256"), {"RS256"}, iter(["RS256"]), {"RS256": 1}])
def test_algorithms_become_a_set(given: Any) -> None:
    """Algorithms may be given in any collection."""
    assert check_algorithms(given) == frozenset({"RS256"})


@pytest.mark.parametrize("given", [["RS256", "PS512", "ES256", "EdDSA"], ["HS256", "HS384", "HS512"]])
def test_algorithms_of_one_kind_go_together(given: list[str]) -> None:
    """Public-key algorithms may be mixed with each other, and HMAC algorithms with each other."""
    assert check_algorithms(given) == frozenset(given)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("RS256", 'write ["RS256"]'),
        ([], 'name what your issuer signs with, such as ["RS256"]'),
        (["rs256"], "'rs256' is not one of ES256, ES256K"),
        (["none"], "'none' is not one of"),
        (["ES521"], "'ES521' is not one of"),
        (["RS256", "HS1"], "'HS1' is not one of"),
        ([None], "give a list of names"),
        (["RS256", "HS256"], "must not be mixed for one issuer"),
        (["HS256", "HS384", "EdDSA"], "must not be mixed for one issuer"),
    ],
)
def test_invalid_algorithms_raise(given: Any, problem: str) -> None:
    """Invalid algorithms raise a ``ConfigurationError`` that names the argument and says what to write."""
    with pytest.raises(ConfigurationError) as caught:
        check_algorithms(given)

    assert caught.value.argument == "algorithms"
    assert problem in str(caught.value)


@pytest.mark.parametrize("given", [None, 256, [["RS256"]], [{}]])
def test_algorithms_of_a_wrong_type_raise(given: Any) -> None:
    """Algorithms that are not a collection of strings raise, and the error names the argument."""
    with pytest.raises(ConfigurationError, match=r"^algorithms: "):
        check_algorithms(given)


# --- a key ------------------------------------------------------------------------------------------------------------


def test_a_right_signature_returns_and_a_wrong_one_raises() -> None:
    """``verify`` raises for a wrong signature, so that its result cannot be ignored by accident."""
    secret = key("HS256", material=HMAC_SECRET)

    secret.verify(b"text", hmac.digest(HMAC_SECRET, b"text", "sha256"))
    with pytest.raises(InvalidSignature) as caught:
        secret.verify(b"Text", hmac.digest(HMAC_SECRET, b"text", "sha256"))

    assert isinstance(caught.value, AuthGuardError)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value) == "HS256"


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_a_signature_of_any_length_is_right_or_wrong_and_nothing_else(algorithm: str) -> None:
    """A signature of any length makes a key raise ``InvalidSignature`` and nothing else."""
    material = verifiers_for(algorithm).key
    bound = key(algorithm, material=material if isinstance(material, bytes) else material.public_key())

    for size in (*range(140), 255, 256, 257, 512, 6000):
        for octet in (b"\x00", b"\x01", b"\xff"):
            with pytest.raises(InvalidSignature):
                bound.verify(b"a.b", octet * size)


def test_a_key_does_not_show_its_material() -> None:
    """The repr of a key has no key material: an HMAC secret is secret, and a public key is long."""
    assert repr(key("HS256", "2026", b"CANARY")) == "VerificationKey(algorithm='HS256', kid='2026')"


# --- keys in memory ---------------------------------------------------------------------------------------------------


def test_keys_are_found_by_id_and_algorithm() -> None:
    """A kid finds the keys that have it and the algorithm of the token."""
    first, second, other = key("RS256", "a"), key("RS256", "b"), key("ES256", "a")
    source = StaticKeys([first, second, other])

    assert source.held(kid="a", algorithm="RS256") == [first]
    assert source.held(kid="b", algorithm="RS256") == [second]
    assert source.held(kid="a", algorithm="ES256") == [other]
    assert source.held(kid="b", algorithm="ES256") == ()
    assert source.held(kid="c", algorithm="RS256") == ()


def test_two_keys_of_one_id_are_both_found() -> None:
    """Two keys may share a kid, which is only a hint (RFC 7517 section 4.5), and both are found."""
    first, second = key("RS256", "a", 1), key("RS256", "a", 2)

    assert [keys.material for keys in StaticKeys([first, second]).held(kid="a", algorithm="RS256")] == [1, 2]


def test_a_token_without_an_id_may_be_of_any_key() -> None:
    """For a token without a kid, all keys of its algorithm are found."""
    keys = [key("RS256", "a"), key("RS256"), key("ES256")]

    assert StaticKeys(keys).held(kid=None, algorithm="RS256") == keys[:2]
    assert StaticKeys(keys).held(kid=None, algorithm="PS256") == ()


def test_a_key_without_an_id_may_have_signed_a_token_that_names_one() -> None:
    """For a kid that no key has, the keys without a kid are found."""
    named, nameless = key("RS256", "a"), key("RS256")
    source = StaticKeys([named, nameless])

    assert source.held(kid="a", algorithm="RS256") == [named]
    assert source.held(kid="b", algorithm="RS256") == [nameless]
    assert source.held(kid="b", algorithm="ES256") == ()


def test_keys_in_memory_answer_at_once() -> None:
    """``held`` and ``keys_for`` of keys in memory give the same answer."""
    source = StaticKeys([key("RS256", "a")])

    assert isinstance(source, KeySource)
    assert optional_method(source, "held", beside="keys_for") == source.held
    assert run_without_waiting(source.keys_for(kid="a", algorithm="RS256")) == source.held(kid="a", algorithm="RS256")


# --- the argument `keys` ----------------------------------------------------------------------------------------------


class Own:
    async def keys_for(self, *, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        return ()


def test_a_custom_source_is_accepted() -> None:
    """Every object with ``keys_for`` is accepted as a source."""
    own = Own()

    assert as_source(own, frozenset({"RS256"})) is own
    assert optional_method(own, "held", beside="keys_for") is None


def test_materials_become_one_source() -> None:
    """Of one, of a list, of a tuple; each bound to the algorithm that fits it."""
    algorithms = frozenset({"RS256", "ES256", "EdDSA"})
    rsa, ec, ed = (PEM(public_pem(one)) for one in (rsa_key(), ec_key(), ed_key()))

    for given, bound in (
        (rsa, {"RS256": 1, "ES256": 0, "EdDSA": 0}),
        ([rsa, ec, PEM(public_pem(ec_key(which=1)))], {"RS256": 1, "ES256": 2, "EdDSA": 0}),
        ((ed, ec), {"RS256": 0, "ES256": 1, "EdDSA": 1}),
    ):
        source = as_source(given, algorithms)
        keys = {name: len(run_without_waiting(source.keys_for(kid=None, algorithm=name))) for name in algorithms}
        assert keys == bound


@pytest.mark.parametrize(
    "given",
    [
        None,
        [],
        (),
        "PEM",
        "https://login.example/jwks",
        [RemoteJWKS("https://login.example/jwks")],
        b"-----BEGIN PUBLIC KEY-----",
        [PEM(b""), None],
        {"keys": []},
        PEM,
        Secret,
        Own,
        5,
    ],
)
def test_an_invalid_key_raises(given: Any) -> None:
    """A bare string, an empty list and a class in place of an instance each raise a ``ConfigurationError``."""
    with pytest.raises(
        ConfigurationError,
        match=r"^keys: give PEM\(\.\.\.\).*, RemoteJWKS\(url\), .* not be in a list; for several sources write keys=",
    ) as caught:
        as_source(given, frozenset({"RS256"}))

    assert caught.value.argument == "keys"


def test_a_custom_material_implements_bind() -> None:
    """The base class ``KeyMaterial`` does not implement ``bind``."""
    with pytest.raises(NotImplementedError):
        KeyMaterial().bind(frozenset({"RS256"}))


@pytest.mark.parametrize("algorithm", ["RS256", "PS256"])
def test_a_signature_without_its_leading_zero_is_invalid(algorithm: str) -> None:
    """RFC 8017 sections 8.1.2 and 8.2.2: an RSA signature is as long as the modulus, also if it begins with a zero."""
    private = rsa_key()
    verifier = key(algorithm, material=private.public_key())
    signer = ALGORITHMS[algorithm]
    inputs = (str(number).encode() for number in range(10_000))
    signed = ((data, signer.sign(data, private)) for data in inputs)
    data, signature = next((data, signature) for data, signature in signed if signature[0] == 0)

    verifier.verify(data, signature)
    with pytest.raises(InvalidSignature):
        verifier.verify(data, signature[1:])
