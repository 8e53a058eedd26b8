"""Keys and key sets as issuers publish them: what an app gives and what a server publishes are read the same way."""

from __future__ import annotations

import base64
import datetime as dt
import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.serialization import Encoding

from authguard import JWK, PEM, ConfigurationError, JWKSet, RemoteJWKS, Secret, VerificationKey
from authguard.concurrency.slices import at_once
from authguard.http_client import FetchFailed
from authguard.keys.jwk import parse_key_set
from tests.keys.key_material import binding_problem
from tests.support.schemes.bearer import accepted_principal, bearer, issuer, rejection
from tests.support.tokens import HMAC_SECRET, b64url, claims, ec_key, ed_key, public_jwk, public_pem, raw_token, rsa_key

PUBLIC = frozenset({"RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "Ed448"})


def read_both_ways(document: Any, use: Any = "sig") -> tuple[set[tuple[str, str | None]], set[tuple[str, str | None]]]:
    """The algorithms and ids of the keys in a document: as ``JWKSet`` reads it, and as ``RemoteJWKS`` does."""
    given = JWKSet(document, use=use).bind(PUBLIC)
    fetched = at_once(parse_key_set(json.dumps(document).encode(), frozenset({use}))).keys
    return (
        {(key.algorithm, key.kid) for key in given},
        {(key.algorithm, key.kid) for key in fetched if key.algorithm in PUBLIC},
    )


def certificate(key: Any) -> x509.Certificate:
    """A certificate of this key."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "login.example")])
    day = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(day).not_valid_after(day + dt.timedelta(days=9))
    return builder.sign(key, hashes.SHA256())


def x5c_of(key: Any) -> list[str]:
    """The member ``x5c`` of a JWK of this key."""
    return [base64.b64encode(certificate(key).public_bytes(Encoding.DER)).decode()]


# --- a key without alg ------------------------------------------------------------------------------------------------


def test_a_key_without_alg_is_read_the_same_way_everywhere() -> None:
    """A JWK without ``alg`` verifies each allowed algorithm of its type, given or fetched, in a set or alone."""
    jwk = {**public_jwk(rsa_key()), "kid": "a"}
    given, fetched = read_both_ways({"keys": [jwk]})

    assert given == fetched == {("RS256", "a"), ("PS256", "a")}
    assert [key.algorithm for key in JWK(jwk).bind(PUBLIC)] == ["PS256", "RS256"]
    assert [key.algorithm for key in JWKSet({"keys": [jwk]}).bind(frozenset({"RS256"}))] == ["RS256"]


def test_an_algorithm_may_be_named_for_a_jwk() -> None:
    """``JWK(..., algorithm=)`` binds a key to one algorithm, as ``PEM`` and ``Secret`` do."""
    jwk = public_jwk(rsa_key())

    assert [key.algorithm for key in JWK(jwk, algorithm="PS256").bind(PUBLIC)] == ["PS256"]
    assert binding_problem(JWK(jwk, algorithm="ES256"), *PUBLIC) == (
        "ES256 is not in algorithms=, or does not fit this key"
    )
    assert binding_problem(JWK({**jwk, "alg": "RS256"}, algorithm="PS256"), *PUBLIC) == (
        "the alg of this JWK is RS256, and algorithm= is PS256"
    )


def test_the_advice_about_a_secret_can_be_followed() -> None:
    """A secret that fits two algorithms needs one, and ``algorithm=`` says which."""
    jwk = {"kty": "oct", "k": b64url(HMAC_SECRET)}

    assert binding_problem(JWK(jwk), "HS256", "HS512") == (
        "this key fits HS256 and HS512; give algorithm=, or alg in the JWK"
    )
    (key,) = JWK(jwk, algorithm="HS512").bind(frozenset({"HS256", "HS512"}))
    assert key == VerificationKey("HS512", None, HMAC_SECRET)
    assert Secret(HMAC_SECRET, algorithm="HS512").bind(frozenset({"HS256", "HS512"})) == (key,)


# --- Ed25519 ----------------------------------------------------------------------------------------------------------


def ed_token(algorithm: str) -> str:
    """A token of an Ed25519 key that names this algorithm."""
    return raw_token({"alg": algorithm}, claims(), ed_key(), "EdDSA")


@pytest.mark.parametrize("algorithm", ["Ed25519", "EdDSA"])
@pytest.mark.parametrize("form", ["pem", "jwk", "jwk with alg"])
def test_both_names_of_eddsa_are_accepted_each_for_itself(algorithm: str, form: str) -> None:
    """R013: RFC 9864 gives EdDSA with Ed25519 a name of its own. An issuer accepts the names that it lists."""
    jwk, other = public_jwk(ed_key()), {"Ed25519": "EdDSA", "EdDSA": "Ed25519"}[algorithm]
    keys: Any = {"pem": PEM(public_pem(ed_key())), "jwk": JWK(jwk), "jwk with alg": JWK({**jwk, "alg": algorithm})}[
        form
    ]
    scheme = bearer(issuer(keys, algorithms=[algorithm]))

    assert accepted_principal(scheme, ed_token(algorithm)).subject == "alice"
    assert rejection(scheme, ed_token(other))[0] == "token.algorithm_refused"


def test_an_issuer_may_use_both_names() -> None:
    """R013: a key without ``alg`` verifies tokens that say either; a key with ``alg`` verifies that alone."""
    both = {"algorithms": ["EdDSA", "Ed25519"]}
    for keys in (PEM(public_pem(ed_key())), JWK(public_jwk(ed_key())), JWKSet({"keys": [public_jwk(ed_key())]})):
        scheme = bearer(issuer(keys, **both))
        assert [accepted_principal(scheme, ed_token(name)).subject for name in ("EdDSA", "Ed25519")] == ["alice"] * 2

    bound = bearer(issuer(JWK({**public_jwk(ed_key()), "alg": "Ed25519"}), **both))
    assert accepted_principal(bound, ed_token("Ed25519")).subject == "alice"
    assert rejection(bound, ed_token("EdDSA"))[0] == "key.unknown"


def test_a_published_key_has_both_names() -> None:
    """R013: a key server's Ed25519 key is no longer lost if it says ``alg: Ed25519``."""
    jwk = public_jwk(ed_key())

    assert read_both_ways({"keys": [{**jwk, "alg": "Ed25519"}]}) == ({("Ed25519", None)}, {("Ed25519", None)})
    assert read_both_ways({"keys": [jwk]})[1] == {("Ed25519", None), ("EdDSA", None)}


def test_a_name_is_that_of_its_curve() -> None:
    """Ed448 has a name of its own too, and a key of one curve is none for the name of the other."""
    key = ed448.Ed448PrivateKey.generate()

    assert {bound.algorithm for bound in PEM(public_pem(key)).bind(PUBLIC)} == {"EdDSA", "Ed448"}
    assert binding_problem(PEM(public_pem(key)), "Ed25519").startswith("this is a key for Ed448, EdDSA")
    with pytest.raises(TypeError, match="is not a key for Ed25519"):
        VerificationKey("Ed25519", None, key.public_key()).verify(b"a", key.sign(b"a"))


# --- use --------------------------------------------------------------------------------------------------------------


def test_another_use_is_accepted_by_name() -> None:
    """R014: SPIFFE publishes keys with ``use: jwt-svid`` beside keys for X.509."""
    document: dict[str, Any] = {
        "keys": [
            {**public_jwk(ec_key()), "kid": "jwt", "use": "jwt-svid"},
            {**public_jwk(ec_key("P-384")), "kid": "x509", "use": "x509-svid"},
            {**public_jwk(rsa_key()), "kid": "sig", "use": "sig", "alg": "RS256"},
        ],
        "spiffe_refresh_hint": 300,
    }

    assert read_both_ways(document, "jwt-svid") == ({("ES256", "jwt")},) * 2
    assert read_both_ways(document) == ({("RS256", "sig")},) * 2
    assert {key.kid for key in JWKSet(document, use=["sig", "jwt-svid"]).bind(PUBLIC)} == {"jwt", "sig"}
    assert JWK(document["keys"][0], use="jwt-svid").bind(PUBLIC)[0].kid == "jwt"


@pytest.mark.parametrize("use", ["enc", ["sig", "enc"], [], "", 5])
def test_a_key_for_encryption_never_verifies(use: Any) -> None:
    """No ``use`` of encryption is accepted, nor none at all."""
    with pytest.raises(ConfigurationError, match=r"^use: "):
        JWKSet({"keys": []}, use=use).bind(PUBLIC)
    with pytest.raises(ConfigurationError, match=r"^use: "):
        RemoteJWKS("https://login.example/jwks.json", use=use)


# --- oddities ---------------------------------------------------------------------------------------------------------

RSA = {**public_jwk(rsa_key()), "kid": "a"}
RSA_KEYS = {("RS256", "a"), ("PS256", "a")}


@pytest.mark.parametrize(
    "odd",
    [
        {"alg": None, "use": None, "key_ops": None, "d": None, "x5c": None},
        {"alg": "", "use": "", "key_ops": [], "d": "", "x5c": []},
        {"key_ops": "verify"},
        {"key_ops": ["verify", "sign"]},
        {"kty": "rsa"},
        {"n": RSA["n"] + "=" * (-len(RSA["n"]) % 4)},
        {"n": base64.b64encode(b"\0" + base64.urlsafe_b64decode(RSA["n"] + "==")).decode()},
        {"x5c": ["not a certificate"], "x5t": 5},
        {"issuer": "https://login.example/", "ext": True},
    ],
    # Each process makes a key of its own, and the names of the tests must be the same in all.
    ids=["null", "empty", "key_ops", "sign", "kty", "padded", "leading zero", "certificates", "others"],
)
def test_an_oddity_that_can_only_mean_one_thing_is_read(odd: Any) -> None:
    """Null and empty members, one operation, another case, padding, leading zeros and unknown members do not matter."""
    assert read_both_ways({"keys": [{**RSA, **odd}]}) == (RSA_KEYS, RSA_KEYS)


def test_a_kid_may_be_a_number() -> None:
    """A ``kid`` that is a whole number is the text of that number, which a token names."""
    assert read_both_ways({"keys": [{**public_jwk(ec_key()), "kid": 7}]}) == ({("ES256", "7")},) * 2


@pytest.mark.parametrize("curve", ["P-256", "P-384", "P-521"])
@pytest.mark.parametrize("which", range(2))
def test_coordinates_may_have_another_length(curve: str, which: int) -> None:
    """Libraries that write a coordinate as a number leave out leading zeros, or add one; the key is the same."""
    size = {"P-256": 32, "P-384": 48, "P-521": 66}[curve]
    kinds: dict[str, Any] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
    key = next(
        key
        for key in (ec.derive_private_key(number, kinds[curve]) for number in range(1, 4000))
        if key.public_key().public_numbers().x.bit_length() <= 8 * (size - 1)
    )
    numbers = key.public_key().public_numbers()
    lengths = (size - 1, size) if which else (size + 1, size + 1)
    odd = {
        "kty": "EC",
        "crv": curve,
        "x": b64url(numbers.x.to_bytes(lengths[0])),
        "y": b64url(numbers.y.to_bytes(lengths[1])),
    }

    (bound,) = JWK(odd).bind(PUBLIC)
    (fetched,) = at_once(parse_key_set(json.dumps({"keys": [odd]}).encode())).keys
    assert bound.material.public_numbers() == fetched.material.public_numbers() == numbers


def test_a_coordinate_that_is_too_large_is_refused() -> None:
    """A coordinate that has more bits than its curve is no key of that curve."""
    jwk = {**public_jwk(ec_key()), "x": b64url(b"\x01" + bytes(32))}

    assert binding_problem(JWK(jwk), *PUBLIC) == "its members are not those of a valid EC key"


@pytest.mark.parametrize("key", [rsa_key(), ec_key()], ids=["RSA", "EC"])
def test_a_certificate_may_stand_for_the_key(key: Any) -> None:
    """A JWK with ``x5c`` and without the members of the key is the key of its first certificate."""
    kty = {"rsa": "RSA"}.get(type(key).__name__[:3].lower(), "EC")
    for stated in ({"kty": kty}, {}):
        document = {"keys": [{**stated, "kid": "a", "x5c": x5c_of(key)}]}
        (first, *_) = JWKSet(document).bind(PUBLIC)
        assert first.material.public_numbers() == key.public_key().public_numbers()
        assert read_both_ways(document)[0] == read_both_ways(document)[1]


@pytest.mark.parametrize(
    ("jwk", "problem"),
    [
        ({"kty": "EC", "x5c": x5c_of(rsa_key())}, "its x5c is not the certificate of an EC key"),
        ({"kty": "RSA", "x5c": ["AAAA"]}, "its x5c is not a list of certificates"),
        ({"kty": "RSA", "x5c": "AAAA"}, "its x5c is not a list of certificates"),
        ({"kty": "RSA", "x5c": [5]}, "its x5c is not a list of certificates"),
        ({"kty": "RSA", "x5c": x5c_of(rsa_key()), "use": "enc"}, "its use is not sig"),
        ({"kty": "RSA", "x5c": x5c_of(rsa_key(1024))}, "an RSA key of 1024 bits; 2048 is the minimum"),
    ],
)
def test_a_certificate_of_another_key_is_skipped(jwk: Any, problem: str) -> None:
    """A certificate is held to what is asked of a key, and must be of the type that the JWK names."""
    assert binding_problem(JWK(jwk), *PUBLIC) == problem


def test_a_key_is_not_taken_from_its_certificate() -> None:
    """Where the JWK has the key itself, ``x5c`` is not read."""
    (key,) = JWK({**public_jwk(ec_key()), "x5c": x5c_of(ec_key(which=1))}).bind(PUBLIC)

    assert key.material.public_numbers() == ec_key().public_key().public_numbers()


@pytest.mark.parametrize("form", ["list", "one key", "certificates"])
def test_a_set_may_have_another_form(form: str) -> None:
    """A list of keys, one key, and Google's certificates by their key ids are key sets too."""
    pem = certificate(rsa_key()).public_bytes(Encoding.PEM).decode()
    document = {"list": [RSA], "one key": RSA, "certificates": {"a": pem}}[form]

    assert read_both_ways(document) == (RSA_KEYS, RSA_KEYS)
    assert {key.kid for key in JWKSet(json.dumps(document)).bind(PUBLIC)} == {"a"}


@pytest.mark.parametrize(
    "document", [{}, [], {"a": "b"}, {"keys": RSA}, {"a": "-----BEGIN CERTIFICATE-----"}, {"a": 5}]
)
def test_what_is_no_set_is_refused(document: Any) -> None:
    """Anything else is no key set."""
    with pytest.raises(FetchFailed):
        at_once(parse_key_set(json.dumps(document).encode()))
    with pytest.raises(ConfigurationError):
        JWKSet(document).bind(PUBLIC)
