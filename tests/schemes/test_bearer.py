"""The Bearer scheme without ASGI: which tokens it accepts, as whom, and why it rejects the others."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pytest

from authguard import (
    ANY_AUDIENCE,
    ANY_ISSUER,
    PEM,
    Accepted,
    Principal,
    Rejected,
    Secret,
    claim,
)
from tests.support.clock import NOW
from tests.support.schemes.bearer import accepted_principal, bearer, issuer, outcome, rejection, signed_token
from tests.support.tokens import HMAC_SECRET, ISSUER, claims, mint, public_pem, rsa_key

SCHEME = bearer()


# --- whom a token makes -----------------------------------------------------------------------------------------------


def test_a_valid_token_makes_a_principal() -> None:
    """The principal has subject, roles, scopes, all claims, the expiry and the scheme."""
    principal = accepted_principal(SCHEME, mint(more={"a": [1]}))

    assert principal == Principal(
        "alice", roles={"admin"}, scopes={"read", "write"}, expires_at=NOW + 600, scheme="bearer"
    )
    assert principal.claims == claims(more={"a": [1]})


def test_a_valid_token_has_no_facts() -> None:
    """The outcome of a token has facts only if it is valid thanks to the leeway."""
    right, late = outcome(SCHEME, mint()), outcome(SCHEME, mint(exp=NOW - 3))

    assert isinstance(right, Accepted)
    assert isinstance(late, Accepted)
    assert right.facts == {}
    assert late.facts == {"tolerated": {"exp": 3.0}}


def test_a_principal_of_a_token_without_an_end_has_none() -> None:
    """Where tokens without ``exp`` are accepted, their principal does not expire."""
    assert accepted_principal(bearer(issuer(require_exp=False)), mint(exp=...)).expires_at is None


def test_the_clock_is_that_of_the_request() -> None:
    """The moment of the request decides whether a token is valid, expired or not yet valid."""
    token = mint(iat=NOW, exp=NOW + 10)

    assert accepted_principal(SCHEME, token, now=NOW + 9.5, leeway=0).subject == "alice"
    assert rejection(SCHEME, token, now=NOW + 10, leeway=0) == (
        "token.expired",
        {"expired_by": 0.0, "leeway": 0, "issuer": ISSUER},
    )
    assert rejection(SCHEME, token, now=NOW - 1, leeway=0) == (
        "token.issued_in_future",
        {"issued_in": 1.0, "leeway": 0, "issuer": ISSUER},
    )


def test_the_subject_may_be_another_claim() -> None:
    """The subject may come from another claim, which must be a string and not empty."""
    scheme = bearer(issuer(subject=claim("ext", "upn")))

    assert accepted_principal(scheme, mint(ext={"upn": "bob"})).subject == "bob"
    assert rejection(scheme, mint()) == ("token.claim_missing", {"claim": "ext.upn"})
    assert rejection(scheme, mint(ext={"upn": 5})) == ("token.claim_invalid", {"claim": "ext.upn"})


@pytest.mark.parametrize("sub", [5, True, ["alice"], {"a": 1}, ""])
def test_a_subject_is_a_string(sub: Any) -> None:
    """PyJWT #1017: a subject that is not a string is a denial that names the claim, and not a crash."""
    assert rejection(SCHEME, signed_token(payload=claims(sub=sub))) == ("token.claim_invalid", {"claim": "sub"})


@pytest.mark.parametrize("sub", [..., None])
def test_a_subject_that_is_not_there_is_missing(sub: Any) -> None:
    """A token without a subject is rejected; it does not become a principal with an empty name."""
    code, facts = rejection(SCHEME, signed_token(payload=claims(sub=sub)))

    assert facts == {"claim": "sub"}
    assert code in {"token.claim_missing", "token.claim_invalid"}


@pytest.mark.rfc("7519-3")
@pytest.mark.parametrize("name", ["iss", "aud", "jti"])
@pytest.mark.parametrize("odd", [5, True, 1.5, {}, [5]], ids=repr)
def test_a_registered_claim_has_its_type(name: str, odd: Any) -> None:
    """A registered claim of the wrong type is rejected (RFC 7519 section 4.1), even if the app does not check that
    claim. Only ``sub`` may be anything where another claim is the subject."""
    scheme = bearer(issuer(name=ANY_ISSUER, audience=ANY_AUDIENCE, subject=claim("user")))

    assert accepted_principal(scheme, mint(user="bob")).subject == "bob"
    assert rejection(scheme, signed_token(payload=claims(user="bob", **{name: odd}))) == (
        "token.claim_invalid",
        {"claim": name},
    )


def test_roles_and_scopes_come_from_where_the_app_says() -> None:
    """Roles and scopes may come from nested claims, lists of claims and functions. A scope string is split at spaces
    only."""

    def of_groups(said: Mapping[str, Any]) -> list[str]:
        return [name.removeprefix("app-") for name in said["groups"]]

    found = [claim("realm_access", "roles"), claim("title"), of_groups]
    scheme = bearer(issuer(roles=found, scopes=claim("scp")))
    token = mint(realm_access={"roles": ["a b", "c"]}, title="e f", groups=["app-d"], scp="x y\tz")

    principal = accepted_principal(scheme, token)

    assert principal.roles == {"a b", "c", "d", "e f"}
    assert principal.scopes == {"x", "y\tz"}


# --- what is no token -------------------------------------------------------------------------------------------------


@pytest.mark.rfc("6750-1")
@pytest.mark.parametrize(
    ("token", "problem"),
    [
        (b"", "nothing after the auth-scheme"),
        (b"a b", "not a token68"),
        (b"a.b.c, d", "not a token68"),
        (b"\xff", "not a token68"),
        (b"token=abc", "not a token68"),
        (b"a=.b. c", "not a token68"),
    ],
)
def test_a_token_that_is_no_token68_is_malformed_credentials(token: bytes, problem: str) -> None:
    """A value that does not match RFC 6750 section 2.1 counts as malformed credentials."""
    assert rejection(SCHEME, token) == ("credentials.malformed", {"problem": problem})


@pytest.mark.parametrize(
    ("token", "problem"),
    [
        (b"opaque", "no dot: an opaque token, not a JWS"),
        (b"e30.e30", "two parts: no signature"),
        (b"e30.e30.e30.e30.e30", "an encrypted token (JWE), five parts"),
        (b"eyJhbGciOiJ4In0.e30.e30=", "base64url with padding"),
        (b"eyJhbGciOiJ4In0=.e30=.e30=", "base64url with padding"),  # the form of Amazon's load balancer
        (b"e30.e30.e30", "no alg"),
        (b"~.e30.e30", "not base64url"),
    ],
)
def test_a_token_that_is_no_jws_is_a_malformed_token(token: bytes, problem: str) -> None:
    """A token that is not a JWS of RFC 7515 is rejected, and the facts say why."""
    assert rejection(SCHEME, token) == ("token.malformed", {"problem": problem})


@pytest.mark.rfc("7519-2")
@pytest.mark.parametrize("payload", [rb'{"sub": "\ud800"}', rb'{"\udfff": 1}', b'{"exp": NaN}', b'{"a": 1, "a": 1}'])
def test_a_payload_that_parsers_read_differently_is_rejected(payload: bytes) -> None:
    """A payload with a lone surrogate, NaN or a repeated member is rejected before a claim is read, although it is
    signed."""
    code, _ = rejection(SCHEME, signed_token(payload=payload))

    assert code == "token.malformed"


def test_a_limit_of_ones_own_holds() -> None:
    """``limit`` is in bytes and inclusive, and may exceed the default."""
    token, long_token = mint(), mint(more="x" * 9000)

    assert accepted_principal(bearer(limit=len(token)), token).subject == "alice"
    assert accepted_principal(bearer(limit=len(long_token)), long_token).subject == "alice"
    assert rejection(SCHEME, long_token)[0] == "token.too_long"
    assert rejection(bearer(limit=len(token) - 1), token) == (
        "token.too_long",
        {"octets": len(token), "limit": len(token) - 1},
    )


def test_a_malformed_token_is_recorded_by_its_fingerprint() -> None:
    """The facts of a malformed token hold eight digits of its hash, and there is no subject."""
    result = outcome(SCHEME, b"opaque")

    assert isinstance(result, Rejected)
    assert (result.subject, result.authenticated) == (None, False)
    assert result.facts["token"] == hashlib.sha256(b"opaque").hexdigest()[:8]


# --- several issuers --------------------------------------------------------------------------------------------------

OTHER = "https://other.example"
BOTH = bearer(issuer(), issuer(PEM(public_pem(rsa_key(which=1))), OTHER, audience="billing", roles=claim("groups")))


def test_each_issuer_has_keys_an_audience_and_roles_of_its_own() -> None:
    """``iss`` chooses the keys, the audience and the roles by which a token is verified."""
    ours = accepted_principal(BOTH, mint(groups=["x"]))
    theirs = accepted_principal(BOTH, mint(rsa_key(which=1), iss=OTHER, aud="billing", groups=["x"]))

    assert ours.roles == {"admin"}
    assert theirs.roles == {"x"}
    assert rejection(BOTH, mint(rsa_key(which=1), iss=OTHER))[0] == "token.audience_mismatch"


@pytest.mark.rfc("8725-3")
def test_the_key_of_one_issuer_verifies_no_token_of_another() -> None:
    """RFC 8725 section 3.8: a token that is signed with the key of another issuer is rejected."""
    assert rejection(BOTH, mint(rsa_key(which=1)))[0] == "token.signature_invalid"
    assert rejection(BOTH, mint(iss=OTHER, aud="billing"))[0] == "token.signature_invalid"


@pytest.mark.parametrize("iss", ["https://third.example", "", ISSUER + " ", ..., None, 5, [ISSUER], {}])
def test_an_issuer_that_nobody_named_is_unknown(iss: Any) -> None:
    """``iss`` is compared as a whole. A missing ``iss``, and one of the wrong type, match no issuer."""
    expected: tuple[str, dict[str, Any]] = ("token.claim_invalid", {"claim": "iss"})
    if iss is ...:
        expected = ("token.claim_missing", {"claim": "iss"})
    elif isinstance(iss, str):
        expected = ("token.issuer_unknown", {"issuer": iss})

    for scheme in (SCHEME, BOTH):
        assert rejection(scheme, signed_token(payload=claims(iss=iss))) == expected


def test_any_issuer_accepts_every_token_of_its_keys() -> None:
    """With ANY_ISSUER every token that the keys verify is accepted, with or without ``iss``."""
    scheme = bearer(issuer(name=ANY_ISSUER))

    assert accepted_principal(scheme, mint(iss="x")).subject == "alice"
    assert accepted_principal(scheme, mint(iss=...)).subject == "alice"
    assert rejection(scheme, mint(rsa_key(which=1)))[0] == "token.signature_invalid"


def test_an_hmac_issuer_stands_beside_one_of_public_keys() -> None:
    """One scheme may have an issuer with HMAC and one with public keys. A token of one algorithm fails at the other
    issuer."""
    scheme = bearer(issuer(), issuer(Secret(HMAC_SECRET), OTHER, algorithms=["HS256"]))

    assert accepted_principal(scheme, mint(HMAC_SECRET, "HS256", iss=OTHER)).subject == "alice"
    assert rejection(scheme, mint(HMAC_SECRET, "HS256"))[0] == "token.algorithm_refused"
    assert rejection(scheme, mint(iss=OTHER))[0] == "token.algorithm_refused"
