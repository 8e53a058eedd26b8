"""The credentials for tests are verified as those of real clients and issuers are."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
import requests

from authguard import Bearer, ConfigurationError, Guard, claim
from authguard.testing import ManualClock, TestIssuer, assert_denied, basic_auth, recording
from tests.testing.shop import CLOCK, ISSUER, client_of, guard_of


def test_a_name_and_a_password_are_sent_in_utf_8() -> None:
    """The store accepts them, and the roles are those of the account."""
    client = client_of(guard_of())

    assert client.get("/", headers=basic_auth("zoë", "s3cret")).json() == ["zoë", "basic", ["clerk"]]


@pytest.mark.parametrize("pair", [("alice", "s3cret"), ("zoë", "pässwörd:€"), ("a", "")])
def test_the_basic_header_is_that_of_requests(pair: tuple[str, str]) -> None:
    """It is equal byte for byte; ``requests`` encodes bytes as they are."""
    name, password = (text.encode() for text in pair)
    theirs = requests.Request("GET", "http://shop.test/", auth=(name, password)).prepare()  # type: ignore[arg-type]

    assert basic_auth(*pair) == {"Authorization": theirs.headers["Authorization"]}


@pytest.mark.parametrize("pair", [("a:b", "x"), ("a", "x\n")])
def test_what_basic_cannot_send_is_an_error(pair: tuple[str, str]) -> None:
    """A colon in the name would move the rest of the name into the password."""
    with pytest.raises(ValueError, match=r"colon|control"):
        basic_auth(*pair)


def test_a_token_is_verified() -> None:
    """Its roles and scopes count."""
    client = client_of(guard_of())

    admin = client.get("/admin", headers=ISSUER.headers("alice", roles={"editor"}))
    payer = client.get("/pay", headers=ISSUER.headers("bob", scopes=["pay", "read"]))

    assert (admin.json(), payer.json()) == (["alice", "bearer", ["editor"]], ["bob", "bearer", []])


def test_pyjwt_verifies_a_token() -> None:
    """It uses the public key, and finds all claims of RFC 9068 section 2.2."""
    clock = ManualClock(time.time())
    issuer = TestIssuer(clock=clock)
    key = issuer._key.public_key()

    token = issuer.token("alice", roles=["b", "a"], scopes={"y", "x"}, expires_in=5, acr="gold")
    claims = jwt.decode(token, key, algorithms=["ES256"], audience="tests", issuer="https://issuer.test/")

    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
    assert claims.pop("jti") != jwt.decode(issuer.token("alice"), key, algorithms=["ES256"], audience="tests")["jti"]
    assert claims == {
        "iss": "https://issuer.test/",
        "aud": "tests",
        "sub": "alice",
        "client_id": "tests",
        "iat": clock(),
        "exp": clock() + 5,
        "roles": ["a", "b"],
        "scope": "x y",
        "acr": "gold",
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"expires_in": -61}, "token.expired"),
        ({"aud": "others"}, "token.audience_mismatch"),
        ({"iss": "https://other.test/"}, "token.issuer_unknown"),
        ({"nbf": CLOCK() + 100}, "token.not_yet_valid"),
        ({"exp": ...}, "token.claim_missing"),
        ({"cnf": {"jkt": "x"}}, "token.bound"),
    ],
)
def test_a_token_can_be_invalid_in_one_way(changes: dict[str, Any], reason: str) -> None:
    """Each claim can be replaced, added or removed, and nothing else is wrong with the token."""
    guard = guard_of()

    with recording(guard):
        assert_denied(client_of(guard).get("/", headers=ISSUER.headers("alice", **changes)), 401, reason=reason)


def test_an_expired_token_was_issued_before_it_expired() -> None:
    """Otherwise it would be invalid in two ways."""
    claims = jwt.decode(ISSUER.token("alice", expires_in=-600), options={"verify_signature": False})

    assert claims["iat"] <= claims["exp"] == CLOCK() - 600


def test_each_issuer_has_its_own_key() -> None:
    """A token of another ``TestIssuer`` with the same name is denied."""
    guard = guard_of()
    other = TestIssuer(ISSUER.issuer, audience=ISSUER.audience, clock=CLOCK)

    with recording(guard):
        assert_denied(client_of(guard).get("/", headers=other.headers("alice")), 401, reason="key.unknown")


def test_as_issuer_has_the_options_of_issuer() -> None:
    """Roles can come from the claims of the real tokens, and ``typ`` can be required."""
    issuer = TestIssuer(clock=CLOCK)
    real_options = issuer.as_issuer(
        roles=claim("realm_access", "roles"), scopes=claim("scp"), subject=claim("client_id"), typ="at+jwt"
    )
    guard = Guard(Bearer(real_options, realm="r"), clock=CLOCK)
    headers = issuer.headers("x", roles={"not"}, realm_access={"roles": ["editor"]}, client_id="robot")

    assert client_of(guard).get("/", headers=headers).json() == ["robot", "bearer", ["editor"]]


def test_a_string_of_roles_is_an_error() -> None:
    """It would be a set of letters."""
    with pytest.raises(ConfigurationError, match="roles: 'admin' is one string"):
        ISSUER.token("alice", roles="admin")
    with pytest.raises(ConfigurationError, match="clock"):
        TestIssuer(clock=5.0)  # type: ignore[arg-type]


def test_tokens_are_dated_by_the_wall_clock_by_default() -> None:
    """That is the default of a guard too."""
    issuer = TestIssuer()
    guard = Guard(Bearer(issuer.as_issuer(), realm="r"))

    assert client_of(guard).get("/", headers=issuer.headers("alice")).status_code == 200


def test_the_repr_shows_no_key() -> None:
    """A failing test may print the issuer."""
    assert repr(ISSUER).startswith("<authguard.testing.credentials.TestIssuer object")
