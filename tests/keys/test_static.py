from __future__ import annotations

import base64
import datetime as dt
import traceback
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import HMACAlgorithm

from authguard import JWK, PEM, ConfigurationError, JWKSet, Secret, VerificationKey
from authguard.keys.source import KeyMaterial
from tests.keys.key_material import HS, binding_problem, bound_key
from tests.support.tokens import HMAC_SECRET, ec_key, ed_key, private_pem, public_pem, rsa_key


def certificate() -> bytes:
    """A certificate that expired long ago, of the RSA key."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "login.example")])
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(name, name, rsa_key().public_key(), 1, start, start + dt.timedelta(days=1))
    return builder.sign(rsa_key(), hashes.SHA256()).public_bytes(Encoding.PEM)


# --- PEM --------------------------------------------------------------------------------------------------------------


def test_a_pem_is_text_or_octets() -> None:
    """Both make the same key, which bears the id that it was given."""
    pem = public_pem(rsa_key())

    keys = [bound_key(PEM(pem, "2026"), "RS256"), bound_key(PEM(pem.decode(), kid="2026"), "RS256")]

    assert [key.material.public_numbers() for key in keys] == [rsa_key().public_key().public_numbers()] * 2
    assert {(key.algorithm, key.kid) for key in keys} == {("RS256", "2026")}


def test_a_pem_may_be_of_an_older_form_or_a_certificate() -> None:
    """PKCS #1, and an X.509 certificate, whose dates are nobody's business here."""
    old = rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1)

    for pem in (old, certificate()):
        assert bound_key(PEM(pem), "RS256").material.public_numbers() == rsa_key().public_key().public_numbers()


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec_key("P-256"), "ES256"),
        (ec_key("P-384"), "ES384"),
        (ec_key("P-521"), "ES512"),
        (ec_key("secp256k1"), "ES256K"),
        (ed_key(), "EdDSA"),
        (ed448.Ed448PrivateKey.generate(), "EdDSA"),
        (rsa_key(), "RS256"),
    ],
)
def test_a_key_is_bound_to_the_algorithm_that_fits_it(key: Any, algorithm: str) -> None:
    """RFC 7518 section 3.4, RFC 8037, RFC 8812: each curve has its own."""
    every = ["RS256", "ES256", "ES384", "ES512", "ES256K", "EdDSA"]

    bound = bound_key(PEM(public_pem(key)), *every)

    assert (bound.algorithm, bound.kid) == (algorithm, None)


def test_a_key_that_fits_several_is_told_which() -> None:
    """An RSA key could serve six algorithms; it is bound to one."""
    pem = public_pem(rsa_key())

    assert binding_problem(PEM(pem), "RS256", "PS256") == (
        "this key could serve PS256 and RS256; say algorithm= (or alg in the JWK)"
    )
    assert bound_key(PEM(pem, algorithm="PS256"), "RS256", "PS256").algorithm == "PS256"


@pytest.mark.rfc("7517-1")
@pytest.mark.parametrize(
    ("key", "stated", "said"),
    [
        (rsa_key(), "ES256", "ES256 is not allowed by algorithms= and fit for this key"),
        (rsa_key(), "RS512", "RS512 is not allowed by algorithms= and fit for this key"),
        (rsa_key(), "HS256", "HS256 is not allowed by algorithms= and fit for this key"),
        (ec_key("P-384"), None, "this is a key for ES384; algorithms= names ES256, RS256 only"),
        (ed_key(), None, "this is a key for EdDSA; algorithms= names ES256, RS256 only"),
        (ec.generate_private_key(ec.SECP224R1()), None, "this is a key of a kind that is not known here; algorithms="),
        (x25519.X25519PrivateKey.generate(), None, "this is a key of a kind that is not known here"),
        (dsa.generate_private_key(1024), None, "this is a key of a kind that is not known here"),
        (rsa_key(1024), "RS256", "an RSA key of 1024 bits; 2048 is the least"),
    ],
)
def test_a_key_that_fits_none_is_refused(key: Any, stated: str | None, said: str) -> None:
    """Its curve, its kind or its size is not what the issuer signs with."""
    assert binding_problem(PEM(public_pem(key), algorithm=stated), "RS256", "ES256").startswith(said)


@pytest.mark.parametrize(
    "pem",
    [
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ],
)
def test_what_holds_no_key_is_refused(pem: str | bytes) -> None:
    """Octets that hold no public key say so while the app is built."""
    assert binding_problem(PEM(pem)) == "this PEM holds no public key and no certificate"


@pytest.mark.parametrize("text", [b"\xff\xfe", "public.pem", "ssh-rsa AAAAB3NzaC1yc2E", '{"kty":"RSA"}'])
def test_what_is_no_pem_is_told_so(text: str | bytes) -> None:
    """The commonest is the path of one."""
    assert binding_problem(PEM(text)) == "this is no PEM; PEM(...) takes the text of the file, not its path"


@pytest.mark.parametrize("text", [b"", "", " \n"])
def test_a_pem_that_is_empty_is_told_so(text: str | bytes) -> None:
    """As it comes from a variable that is set to nothing."""
    assert binding_problem(PEM(text)) == "this PEM is empty"


def test_an_rsa_key_under_an_elliptic_algorithm_is_told_by_its_kind() -> None:
    """And the message names what ``algorithms=`` says."""
    said = binding_problem(PEM(public_pem(rsa_key())), "ES256")

    assert said == "this is an RSA key (RS256, PS256, ...); algorithms= names ES256 only"


@pytest.mark.rfc("limits-6")
@pytest.mark.parametrize("address", ["https://login.example/jwks.json", "HTTP://login.example/jwks.json"])
def test_an_address_is_no_key_set(address: str) -> None:
    """Which is a source of its own, and the error says so."""
    assert binding_problem(JWKSet(address)) == "this JWK Set is an address; for a key server write RemoteJWKS(...)"


def test_a_private_pem_is_refused_in_every_form() -> None:
    """PKCS #8, the traditional form, encrypted, OpenSSH's own, and beside a certificate."""
    forms = [
        private_pem(rsa_key()),
        rsa_key().private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        rsa_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")),
        ed_key().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        certificate() + private_pem(rsa_key()),
    ]

    for pem in forms:
        assert binding_problem(PEM(pem)) == "this PEM holds a private key; verifying takes the public one alone"


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_a_secret_is_text_or_octets() -> None:
    """Text is taken in UTF-8."""
    text = HMAC_SECRET.hex()

    assert bound_key(Secret(HMAC_SECRET, "a"), "HS256") == VerificationKey("HS256", "a", HMAC_SECRET)
    assert bound_key(Secret(HMAC_SECRET), "HS512").material == HMAC_SECRET
    assert bound_key(Secret(text), "HS512").material == text.encode()
    assert bound_key(Secret("ä" * 3 + text), "HS256").material == ("ä" * 3 + text).encode()


def test_a_secret_is_bound_to_one_algorithm() -> None:
    """Where the issuer allows several it says which, and no public-key algorithm is one."""
    assert bound_key(Secret(HMAC_SECRET, algorithm="HS384"), *HS).algorithm == "HS384"
    assert binding_problem(Secret(HMAC_SECRET), *HS).startswith(
        "this key could serve HS256 and HS384 and HS512; say algorithm="
    )
    assert binding_problem(Secret(HMAC_SECRET), "RS256").startswith(
        "this is a secret (HS256, HS384, HS512); algorithms= names RS256 only"
    )
    assert binding_problem(Secret(HMAC_SECRET, algorithm="RS256"), "RS256").startswith("RS256 is not allowed")


def test_a_short_secret_is_told_how_to_make_one() -> None:
    """The message is a mend, and holds nothing of the secret."""
    said = binding_problem(Secret("short"), "HS384")

    assert said == (
        "a secret of 5 octets; HS384 takes 48 or more: python -c 'import secrets; print(secrets.token_urlsafe(64))'"
    )


@pytest.mark.parametrize("nothing", [None, 5, ["x"], "\ud800" * 40], ids=["None", "a number", "a list", "half a pair"])
def test_a_key_that_is_no_text_is_told_by_name(nothing: Any) -> None:
    """What the environment did not hold is None, and the app says so while it is built."""
    binding_problem(PEM(nothing))
    binding_problem(Secret(nothing), "HS256")


def test_an_id_that_is_no_string_is_told_by_name() -> None:
    """It would match no token, in silence."""
    odd: Any = 2026

    binding_problem(PEM(public_pem(rsa_key()), kid=odd))
    binding_problem(Secret(HMAC_SECRET, kid=odd), "HS256")


# --- nothing is shown -------------------------------------------------------------------------------------------------

CANARY = "CANARY-in-a-coal-mine-0123456789"


@pytest.mark.parametrize(
    "material",
    [
        PEM(CANARY),
        PEM(CANARY.encode(), "kid", "RS256"),
        Secret(CANARY),
        Secret(CANARY.encode(), algorithm="HS512"),
        Secret("secret" * 8 + CANARY[:6]),
        JWK(CANARY),
        JWK({"kty": "oct", "k": CANARY}),
        JWK({"kty": CANARY}),
        JWK({"kty": "RSA", "alg": CANARY, "use": "sig", "n": CANARY, "e": CANARY}),
        JWKSet(CANARY),
        JWKSet({"keys": [{"kty": "oct", "k": base64.b64encode(CANARY.encode()).decode()}, {"kty": CANARY}]}),
    ],
)
def test_neither_a_key_nor_an_error_about_it_shows_its_text(material: KeyMaterial) -> None:
    """Not in ``repr``, not in the message, not in the traceback."""
    assert CANARY not in repr(material) + str(material)

    try:
        shown = repr(material.bind(frozenset({"HS512"})))
    except ConfigurationError as error:
        shown = "".join(traceback.format_exception(error))

    assert CANARY not in shown
    assert "CANARY" not in shown


def test_a_secret_that_is_taken_is_not_shown_either() -> None:
    """Nor is the key that it becomes."""
    secret = f"{CANARY} {CANARY[::-1]}"
    keys = [*Secret(secret).bind(frozenset({"HS256"})), *JWK(HMACAlgorithm.to_jwk(secret)).bind(HS & {"HS256"})]

    assert [key.material for key in keys] == [secret.encode()] * 2
    assert "CANARY" not in repr(keys)
