"""Keys in memory: PEM and secrets."""

from __future__ import annotations

import base64
import datetime as dt
import traceback
from pathlib import Path
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
from tests.support.canary import KEY_CANARY
from tests.support.tokens import HMAC_SECRET, ec_key, ed_key, private_pem, public_pem, rsa_key


def certificate() -> bytes:
    """An expired certificate for the RSA key."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "login.example")])
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(name, name, rsa_key().public_key(), 1, start, start + dt.timedelta(days=1))
    return builder.sign(rsa_key(), hashes.SHA256()).public_bytes(Encoding.PEM)


# --- PEM --------------------------------------------------------------------------------------------------------------


def test_a_pem_is_text_or_bytes() -> None:
    """Text and bytes make the same key, which has the kid that was given."""
    pem = public_pem(rsa_key())

    keys = [bound_key(PEM(pem, "2026"), "RS256"), bound_key(PEM(pem.decode(), kid="2026"), "RS256")]

    assert [key.material.public_numbers() for key in keys] == [rsa_key().public_key().public_numbers()] * 2
    assert {(key.algorithm, key.kid) for key in keys} == {("RS256", "2026")}


def test_a_pem_may_be_of_an_older_form_or_a_certificate() -> None:
    """A PEM may be PKCS #1, or an X.509 certificate, whose dates are not checked."""
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
    """Each curve has an algorithm of its own (RFC 7518 section 3.4, RFC 8037, RFC 8812)."""
    every = ["RS256", "ES256", "ES384", "ES512", "ES256K", "EdDSA"]

    bound = bound_key(PEM(public_pem(key)), *every)

    assert (bound.algorithm, bound.kid) == (algorithm, None)


def test_a_key_that_fits_several_algorithms_needs_one() -> None:
    """An RSA key fits six algorithms, and is bound to the one that is named."""
    pem = public_pem(rsa_key())

    assert binding_problem(PEM(pem), "RS256", "PS256") == (
        "this key fits PS256 and RS256; give algorithm=, or alg in the JWK"
    )
    assert bound_key(PEM(pem, algorithm="PS256"), "RS256", "PS256").algorithm == "PS256"


@pytest.mark.rfc("7517-1")
@pytest.mark.parametrize(
    ("key", "stated", "said"),
    [
        (rsa_key(), "ES256", "ES256 is not in algorithms=, or does not fit this key"),
        (rsa_key(), "RS512", "RS512 is not in algorithms=, or does not fit this key"),
        (rsa_key(), "HS256", "HS256 is not in algorithms=, or does not fit this key"),
        (ec_key("P-384"), None, "this is a key for ES384; algorithms= has only ES256, RS256"),
        (ed_key(), None, "this is a key for Ed25519, EdDSA; algorithms= has only ES256, RS256"),
        (ec.generate_private_key(ec.SECP224R1()), None, "this is a key of an unknown kind; algorithms="),
        (x25519.X25519PrivateKey.generate(), None, "this is a key of an unknown kind"),
        (dsa.generate_private_key(1024), None, "this is a key of an unknown kind"),
        (rsa_key(1024), "RS256", "an RSA key of 1024 bits; 2048 is the minimum"),
    ],
)
def test_a_key_that_fits_no_algorithm_raises(key: Any, stated: str | None, said: str) -> None:
    """A key whose curve, kind or size does not fit the issuer's algorithms raises."""
    assert binding_problem(PEM(public_pem(key), algorithm=stated), "RS256", "ES256").startswith(said)


@pytest.mark.parametrize(
    "pem",
    [
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ],
)
def test_a_pem_without_a_public_key_raises(pem: str | bytes) -> None:
    """A PEM without a public key raises while the app is built."""
    assert binding_problem(PEM(pem)) == "this PEM contains neither a public key nor a certificate"


@pytest.mark.parametrize("text", [b"\xff\xfe", "public.pem", "0" * 64, "A" * 45, b"0\x03\x02\x01\x00"])
def test_a_value_that_is_no_pem_raises(text: str | bytes) -> None:
    """A value that is not a PEM, such as the path of one, raises, and the error says so."""
    assert binding_problem(PEM(text)) == "this is not PEM; PEM(...) takes the text of the file, not its path"


def _der(key: Any) -> bytes:
    return base64.b64decode(b"".join(public_pem(key).split(b"\n")[1:-2]))


def _private_der() -> bytes:
    return rsa_key().private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _encrypted_der() -> bytes:
    return rsa_key().private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))


PUBLIC_TEXT = public_pem(rsa_key()).decode()
BARE = "".join(PUBLIC_TEXT.split("\n")[1:-2])
BARE_CERTIFICATE = b"".join(certificate().split(b"\n")[1:-2])
PRIVATE = "this is a private key, in base64; give only the public key: openssl pkey -in private.pem -pubout"
LINES = "in base64 without the first and last line of PEM; put -----BEGIN "
MISTAKES: list[tuple[str | bytes, str]] = [
    (
        PUBLIC_TEXT.replace("\n", "\\n"),
        "this PEM has \\n as two characters in place of line feeds, as environment files",
    ),
    (BARE, f"this is a public key {LINES}PUBLIC KEY----- and -----END PUBLIC KEY----- around it"),
    (BARE.rstrip("=") + "\n", f"this is a public key {LINES}PUBLIC KEY----- and"),
    (BARE_CERTIFICATE, f"this is a certificate {LINES}CERTIFICATE----- and -----END CERTIFICATE----- around it"),
    (base64.b64encode(_private_der()), PRIVATE),
    (base64.encodebytes(_encrypted_der()), PRIVATE),
    (_der(rsa_key()), "this is a public key in DER, which is not text; convert it: openssl"),
    (
        "ssh-rsa AAAAB3NzaC1yc2E",
        "this is a key in the format of OpenSSH; convert it: ssh-keygen -e -m PKCS8 -f key.pub",
    ),
    ("ecdsa-sha2-nistp256 AAAA me@host", "this is a key in the format of OpenSSH"),
    ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA", "this is a key in the format of OpenSSH"),
    ("https://login.example/jwks.json", "this is a URL and not PEM; for a key server write RemoteJWKS(...)"),
    ('{"kty":"RSA","n":"AQAB","e":"AQAB"}', "this is JSON and not PEM; write JWK(...)"),
    ("{", "this is JSON and not PEM; write JWK(...)"),
    ('{"kty":"EC","d":"s3cr3t"}', "this is a private JWK and not PEM; write JWK(...) of the public key, without d"),
    ('{"keys":[]}', "this is a JWK Set and not PEM; write JWKSet(...)"),
    (PUBLIC_TEXT.encode("utf-16"), "this PEM is in UTF-16; save the file as UTF-8"),
    (PUBLIC_TEXT.partition("-----END")[0], "this PEM has no -----END line; it is cut off"),
    (
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----",
        "this PEM is a request for a certificate; give the certificate, or the public key",
    ),
]


@pytest.mark.parametrize(("text", "said"), MISTAKES)
def test_what_is_taken_for_pem_has_a_message_of_its_own(text: str | bytes, said: str) -> None:
    """N06: the error says what the text is, and how to make PEM of it. It quotes nothing of it."""
    problem = binding_problem(PEM(text))

    assert problem.startswith(said)
    assert "s3cr3t" not in problem


def test_the_fix_of_each_text_makes_it_readable() -> None:
    """N06: with the line feeds, or the first and last line, that the error asks for, the key is read."""
    fixed = f"-----BEGIN PUBLIC KEY-----\n{BARE}\n-----END PUBLIC KEY-----"

    for text in (PUBLIC_TEXT.replace("\n", "\\n").replace("\\n", "\n"), fixed):
        assert bound_key(PEM(text), "RS256").material.public_numbers() == rsa_key().public_key().public_numbers()


def test_the_path_of_a_file_is_not_its_text() -> None:
    """N06: the error says how to read the file."""
    path: Any = Path("public.pem")

    assert binding_problem(PEM(path)) == "PEM(...) takes the text of the file; write path.read_bytes()"


@pytest.mark.parametrize(
    ("material", "said"),
    [
        (JWK(PUBLIC_TEXT), "this JWK is PEM; write PEM(...)"),
        (JWKSet(PUBLIC_TEXT.encode()), "this JWK Set is PEM; write PEM(...)"),
        (JWK({"keys": []}), "this is a JWK Set and not a JWK; write JWKSet(...)"),
        (
            JWKSet({"jwks_uri": "https://x"}),
            "this is a discovery document and not a JWK Set; write RemoteJWKS(...) wit",
        ),
        (JWKSet({"key": []}), 'a JWK Set must have a list under "keys"'),
    ],
)
def test_a_key_of_another_form_raises(material: KeyMaterial, said: str) -> None:
    """N06: PEM, a JWK, a JWK Set and a discovery document are told apart."""
    assert binding_problem(material).startswith(said)


@pytest.mark.parametrize("text", [b"", "", " \n"])
def test_an_empty_pem_raises(text: str | bytes) -> None:
    """An empty PEM, as it comes from an empty environment variable, raises with a message of its own."""
    assert binding_problem(PEM(text)) == "this PEM is empty"


def test_an_rsa_key_for_an_elliptic_algorithm_raises() -> None:
    """The error names the kind of the key and the ``algorithms=`` of the issuer."""
    problem = binding_problem(PEM(public_pem(rsa_key())), "ES256")

    assert problem == "this is an RSA key (RS256, PS256, ...); algorithms= has only ES256"


@pytest.mark.rfc("limits-6")
@pytest.mark.parametrize("address", ["https://login.example/jwks.json", "HTTP://login.example/jwks.json"])
def test_an_address_is_no_key_set(address: str) -> None:
    """A URL in place of a key set raises, and the error names ``RemoteJWKS``."""
    assert binding_problem(JWKSet(address)) == "this JWK Set is a URL; for a key server write RemoteJWKS(...)"


def test_a_private_key_raises_in_every_form() -> None:
    """A private key raises as PKCS #8, in its traditional form, encrypted, in OpenSSH's format, and beside a
    certificate."""
    forms = [
        private_pem(rsa_key()),
        rsa_key().private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        rsa_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")),
        ed_key().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        certificate() + private_pem(rsa_key()),
    ]

    for pem in forms:
        assert binding_problem(PEM(pem)) == (
            "this PEM contains a private key; give only the public key: openssl pkey -in private.pem -pubout"
        )


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_a_secret_is_text_or_bytes() -> None:
    """The text of a secret is encoded in UTF-8."""
    text = HMAC_SECRET.hex()

    assert bound_key(Secret(HMAC_SECRET, "a"), "HS256") == VerificationKey("HS256", "a", HMAC_SECRET)
    assert bound_key(Secret(HMAC_SECRET), "HS512").material == HMAC_SECRET
    assert bound_key(Secret(text), "HS512").material == text.encode()
    assert bound_key(Secret("ä" * 3 + text), "HS256").material == ("ä" * 3 + text).encode()


def test_a_secret_is_bound_to_one_algorithm() -> None:
    """With several HMAC algorithms, the secret names its own. It cannot be bound to a public-key algorithm."""
    assert bound_key(Secret(HMAC_SECRET, algorithm="HS384"), *HS).algorithm == "HS384"
    assert binding_problem(Secret(HMAC_SECRET), *HS).startswith(
        "this key fits HS256 and HS384 and HS512; give algorithm="
    )
    assert binding_problem(Secret(HMAC_SECRET), "RS256").startswith(
        "this is a secret (HS256, HS384, HS512); algorithms= has only RS256"
    )
    assert binding_problem(Secret(HMAC_SECRET, algorithm="RS256"), "RS256").startswith("RS256 is not in algorithms=")


def test_a_short_secret_raises_with_a_way_to_make_one() -> None:
    """The error says how to make a secret, and has nothing of this one."""
    problem = binding_problem(Secret("short"), "HS384")

    assert problem == ("this secret has 5 bytes; HS384 needs 48 or more. Make one with: authguard secret")


@pytest.mark.parametrize("nothing", [None, 5, ["x"], "\ud800" * 40], ids=["None", "a number", "a list", "half a pair"])
def test_a_key_that_is_no_text_raises(nothing: Any) -> None:
    """A missing environment variable is None, which raises while the app is built."""
    binding_problem(PEM(nothing))
    binding_problem(Secret(nothing), "HS256")


def test_a_kid_that_is_no_string_raises() -> None:
    """A kid that is not a string raises, because it would silently match no token."""
    odd: Any = 2026

    binding_problem(PEM(public_pem(rsa_key()), kid=odd))
    binding_problem(Secret(HMAC_SECRET, kid=odd), "HS256")


# --- nothing is shown -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "material",
    [
        PEM(KEY_CANARY),
        PEM(KEY_CANARY.encode(), "kid", "RS256"),
        Secret(KEY_CANARY),
        Secret(KEY_CANARY.encode(), algorithm="HS512"),
        Secret("secret" * 8 + KEY_CANARY[:6]),
        JWK(KEY_CANARY),
        JWK({"kty": "oct", "k": KEY_CANARY}),
        JWK({"kty": KEY_CANARY}),
        JWK({"kty": "RSA", "alg": KEY_CANARY, "use": "sig", "n": KEY_CANARY, "e": KEY_CANARY}),
        JWKSet(KEY_CANARY),
        JWKSet({"keys": [{"kty": "oct", "k": base64.b64encode(KEY_CANARY.encode()).decode()}, {"kty": KEY_CANARY}]}),
    ],
)
def test_neither_a_key_nor_an_error_about_it_shows_its_text(material: KeyMaterial) -> None:
    """The text of a key is neither in a repr, nor in the message of an error, nor in its traceback."""
    assert KEY_CANARY not in repr(material) + str(material)

    try:
        text = repr(material.bind(frozenset({"HS512"})))
    except ConfigurationError as error:
        text = "".join(traceback.format_exception(error))

    assert KEY_CANARY not in text
    assert "CANARY" not in text


def test_the_repr_of_a_secret_does_not_show_it() -> None:
    """The repr of a valid secret, and of the key made of it, does not contain the secret."""
    secret = f"{KEY_CANARY} {KEY_CANARY[::-1]}"
    keys = [*Secret(secret).bind(frozenset({"HS256"})), *JWK(HMACAlgorithm.to_jwk(secret)).bind(HS & {"HS256"})]

    assert [key.material for key in keys] == [secret.encode()] * 2
    assert "CANARY" not in repr(keys)
