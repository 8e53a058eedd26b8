"""Minted credentials are verified as those of real clients and issuers are."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
import requests

from authguard import Bearer, ConfigurationError, Guard, claim
from authguard.testing import ManualClock, TestIssuer, assert_denied, basic_auth, recording
from tests.testing.shop import CLOCK, MINTING, client_of, guard_of


def test_a_name_and_a_password_are_sent_in_utf_8() -> None:
    """The store's own account opens the door, with its roles."""
    client = client_of(guard_of())

    assert client.get("/", headers=basic_auth("zoë", "s3cret")).json() == ["zoë", "basic", ["clerk"]]


@pytest.mark.parametrize("pair", [("alice", "s3cret"), ("zoë", "pässwörd:€"), ("a", "")])
def test_the_basic_header_is_what_another_client_sends(pair: tuple[str, str]) -> None:
    """Octet for octet that of requests, which encodes what it is given."""
    name, password = (each.encode() for each in pair)
    theirs = requests.Request("GET", "http://shop.test/", auth=(name, password)).prepare()  # type: ignore[arg-type]

    assert basic_auth(*pair) == {"Authorization": theirs.headers["Authorization"]}


@pytest.mark.parametrize("pair", [("a:b", "x"), ("a", "x\n")])
def test_what_basic_cannot_send_is_an_error(pair: tuple[str, str]) -> None:
    """A colon in the name would move its rest into the password."""
    with pytest.raises(ValueError, match=r"colon|control"):
        basic_auth(*pair)


def test_a_minted_token_is_verified() -> None:
    """Subject, roles and scopes arrive, and the role opens what it opens."""
    client = client_of(guard_of())

    admin = client.get("/admin", headers=MINTING.headers("alice", roles={"editor"}))
    payer = client.get("/pay", headers=MINTING.headers("bob", scopes=["pay", "read"]))

    assert (admin.json(), payer.json()) == (["alice", "bearer", ["editor"]], ["bob", "bearer", []])


def test_a_token_is_what_another_implementation_reads() -> None:
    """PyJWT verifies it with the public key and finds all the claims of RFC 9068 section 2.2."""
    clock = ManualClock(time.time())
    minting = TestIssuer(clock=clock)
    key = minting._key.public_key()

    token = minting.token("alice", roles=["b", "a"], scopes={"y", "x"}, expires_in=5, acr="gold")
    claims = jwt.decode(token, key, algorithms=["ES256"], audience="tests", issuer="https://issuer.test/")

    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
    assert claims.pop("jti") != jwt.decode(minting.token("alice"), key, algorithms=["ES256"], audience="tests")["jti"]
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
    ("minted", "reason"),
    [
        ({"expires_in": -61}, "token.expired"),
        ({"aud": "others"}, "token.audience_mismatch"),
        ({"iss": "https://other.test/"}, "token.issuer_unknown"),
        ({"nbf": CLOCK() + 100}, "token.not_yet_valid"),
        ({"exp": ...}, "token.claim_missing"),
        ({"cnf": {"jkt": "x"}}, "token.bound"),
    ],
)
def test_a_token_can_be_bad_in_one_way(minted: dict[str, Any], reason: str) -> None:
    """Each claim can be replaced, added or taken away, and that alone is what is wrong."""
    guard = guard_of()

    with recording(guard):
        assert_denied(client_of(guard).get("/", headers=MINTING.headers("alice", **minted)), 401, reason=reason)


def test_a_token_that_expired_was_issued_before() -> None:
    """Else it would be odd in two ways."""
    claims = jwt.decode(MINTING.token("alice", expires_in=-600), options={"verify_signature": False})

    assert claims["iat"] <= claims["exp"] == CLOCK() - 600


def test_each_issuer_has_a_key_of_its_own() -> None:
    """A token of another one of the same name is refused by its signature, though it names no key."""
    guard = guard_of()
    other = TestIssuer(MINTING.issuer, audience=MINTING.audience, clock=CLOCK)

    with recording(guard):
        assert_denied(client_of(guard).get("/", headers=other.headers("alice")), 401, reason="key.unknown")


def test_the_issuer_takes_the_options_of_the_real_one() -> None:
    """Roles from where the real tokens have them, and access tokens of RFC 9068 alone."""
    minting = TestIssuer(clock=CLOCK)
    issuer = minting.as_issuer(
        roles=claim("realm_access", "roles"), scopes=claim("scp"), subject=claim("client_id"), typ="at+jwt"
    )
    guard = Guard(Bearer(issuer, realm="r"), clock=CLOCK)
    headers = minting.headers("x", roles={"not"}, realm_access={"roles": ["editor"]}, client_id="robot")

    assert client_of(guard).get("/", headers=headers).json() == ["robot", "bearer", ["editor"]]


def test_a_string_of_roles_is_an_error() -> None:
    """It would be a set of letters."""
    with pytest.raises(ConfigurationError, match="roles: 'admin' is one string"):
        MINTING.token("alice", roles="admin")
    with pytest.raises(ConfigurationError, match="clock"):
        TestIssuer(clock=5.0)  # type: ignore[arg-type]


def test_it_dates_by_the_real_clock_unless_told_otherwise() -> None:
    """So that it goes with a guard that reads the real one."""
    minting = TestIssuer()
    guard = Guard(Bearer(minting.as_issuer(), realm="r"))

    assert client_of(guard).get("/", headers=minting.headers("alice")).status_code == 200


def test_no_key_is_shown() -> None:
    """What a failing test prints of the issuer holds none."""
    assert repr(MINTING).startswith("<authguard.testing.credentials.TestIssuer object")
