"""Which header, key, signature and type a token needs, and in which order they are checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from authguard import (
    ANY_AUDIENCE,
    JWK,
    PEM,
    Bearer,
    Issuer,
    Rejected,
    claim,
)
from tests.support.clock import NOW
from tests.support.schemes.bearer import accepted_principal, bearer, issuer, outcome, rejection, signed_token
from tests.support.tokens import claims, ec_key, mint, public_pem, raw_token, rsa_key, unsigned_token, with_signature
from tests.support.vectors import load_vectors

SCHEME = bearer()


def test_a_disallowed_algorithm_is_reported_with_the_allowed_ones() -> None:
    """The facts hold the algorithm of the token and the allowed ones."""
    keys = [PEM(public_pem(rsa_key())), PEM(public_pem(ec_key()))]
    scheme = bearer(issuer(keys, algorithms=["RS256", "ES256"]))

    assert rejection(scheme, raw_token({"alg": "RS512"}, claims(), rsa_key(), "RS512")) == (
        "token.algorithm_refused",
        {"algorithm": "RS512", "wanted": ("ES256", "RS256")},
    )


@pytest.mark.parametrize("header", [{"crit": ["exp"]}, {"b64": False}, {"b64": None}, {"crit": [], "b64": True}])
def test_critical_headers_are_rejected(header: dict[str, Any]) -> None:
    """Every critical header is rejected (RFC 7515 section 4.1.11, RFC 7797), because none is understood."""
    assert rejection(SCHEME, signed_token(header)) == ("token.critical_unknown", {})


def test_a_wrong_type_is_reported_with_the_expected_one() -> None:
    """The facts of a wrong type hold the type that is expected."""
    assert rejection(SCHEME, signed_token({"typ": "dpop+jwt"})) == (
        "token.type_refused",
        {"typ": "dpop+jwt", "wanted": "JWT or at+jwt"},
    )


def test_no_key_and_no_fitting_key_are_two_reasons() -> None:
    """An unknown kid is reported with the kid. A known key that does not fit is a wrong signature."""
    scheme = bearer(issuer(PEM(public_pem(rsa_key()), kid="2026")))

    assert rejection(scheme, mint(headers={"kid": "2025"})) == ("key.unknown", {"kid": "2025", "algorithm": "RS256"})
    assert rejection(scheme, mint(rsa_key(which=1), headers={"kid": "2026"})) == (
        "token.signature_invalid",
        {"kid": "2026", "algorithm": "RS256"},
    )
    assert rejection(scheme, mint(rsa_key(which=1))) == ("token.signature_invalid", {"kid": None, "algorithm": "RS256"})


def test_each_key_that_may_have_signed_is_tried() -> None:
    """A token without a kid is verified by the one key that fits."""
    keys = [PEM(public_pem(key), kid=kid) for kid, key in (("1", rsa_key(which=1)), ("0", rsa_key()))]

    assert accepted_principal(bearer(issuer(keys)), mint()).subject == "alice"
    assert rejection(bearer(issuer(keys)), mint(headers={"kid": "1"}))[0] == "token.signature_invalid"


def test_the_signature_comes_before_the_claims() -> None:
    """A token with a wrong signature is a forgery, whatever its claims, and no function of the app reads them."""
    read: list[object] = []

    def reading(said: Mapping[str, Any]) -> list[str]:
        read.append(said)
        return []

    scheme = bearer(issuer(roles=reading))
    wrong = claims(exp=NOW - 1e6, aud="x", sub=5, nbf="x", cnf={})

    assert rejection(scheme, raw_token({"alg": "RS256"}, wrong, rsa_key(which=1)))[0] == "token.signature_invalid"
    assert (
        rejection(scheme, with_signature(unsigned_token({"alg": "RS256"}, wrong), b""))[0] == "token.signature_invalid"
    )
    assert rejection(scheme, raw_token({"alg": "RS256"}, wrong, rsa_key()))[0] == "token.claim_invalid"
    assert read == []


def test_a_subject_is_authenticated_only_by_a_signature() -> None:
    """The subject of a forged token is recorded as not authenticated."""
    forged, expired = outcome(SCHEME, mint(rsa_key(which=1))), outcome(SCHEME, mint(exp=NOW - 100))
    unknown, odd = outcome(SCHEME, mint(iss="x")), outcome(SCHEME, signed_token(payload=claims(iss="x", sub=5)))

    assert [
        (said.subject, said.authenticated) for said in (forged, expired, unknown, odd) if isinstance(said, Rejected)
    ] == [
        ("alice", False),
        ("alice", True),
        ("alice", False),
        (None, False),
    ]


# --- the examples of RFC 7515, and RFC 9068 ---------------------------------------------------------------------------


@pytest.mark.parametrize("case", load_vectors("jws.json")["cases"][:3], ids=lambda case: case["source"])
def test_the_examples_of_rfc_7515_are_valid_until_they_expire(case: dict[str, Any]) -> None:
    """The tokens of RFC 7515 appendices A.1 to A.3 are valid before March 2011, and expired after it."""
    joe = Issuer(
        "joe", audience=ANY_AUDIENCE, algorithms=[case["algorithm"]], keys=JWK(case["jwk"]), subject=claim("iss")
    )
    scheme = Bearer(joe, realm="x")

    principal = accepted_principal(scheme, case["token"], now=1300819379, leeway=0)

    assert (principal.subject, principal.expires_at) == ("joe", 1300819380)
    assert principal.claims == {"iss": "joe", "exp": 1300819380, "http://example.com/is_root": True}
    assert rejection(scheme, case["token"], now=1300819380, leeway=0)[0] == "token.expired"


@pytest.mark.rfc("9068-1")
@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "AT+JWT", "Application/At+Jwt"])
def test_the_profile_of_rfc_9068_is_asked_for_by_its_type(typ: str) -> None:
    """``typ="at+jwt"``, in any spelling, requires the claims of RFC 9068."""
    scheme = bearer(issuer(typ=typ))
    token = signed_token({"typ": "at+jwt"}, claims(client_id="shop", jti="1"))

    assert accepted_principal(scheme, token).subject == "alice"
    assert rejection(scheme, signed_token({"typ": "JWT"}, claims(client_id="shop", jti="1"))) == (
        "token.type_refused",
        {"typ": "JWT", "wanted": "at+jwt"},
    )
    assert rejection(scheme, signed_token({}, claims(client_id="shop", jti="1")))[0] == "token.type_refused"
    assert rejection(scheme, signed_token({"typ": "at+jwt"})) == ("token.claim_missing", {"claim": "client_id"})


def test_another_type_may_be_asked_for() -> None:
    """A different ``typ`` accepts that type only, and does not require the claims of RFC 9068."""
    scheme = bearer(issuer(typ="vnd.example+jwt"))

    assert accepted_principal(scheme, signed_token({"typ": "application/vnd.example+jwt"})).subject == "alice"
    assert rejection(scheme, signed_token({"typ": "at+jwt"}))[0] == "token.type_refused"
