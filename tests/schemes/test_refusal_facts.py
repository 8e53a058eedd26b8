"""What the record of a refused token tells a person: what was found, what was wanted, how they differ, what to do.

The reasons themselves are in the tests of each check. The facts here only explain them.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import pytest

from authguard import (
    ANY_AUDIENCE,
    ANY_ISSUER,
    ANY_TENANT,
    NO_ISSUER,
    PEM,
    AuthGuardMiddleware,
    BackendUnavailable,
    Bearer,
    Denied,
    Guard,
    JWKSet,
    Principal,
    Reason,
    Record,
    Rejected,
    RemoteJWKS,
    Rule,
    Secret,
    all_of,
    claim,
    role,
    scopes,
)
from authguard.http_client import Fetched, cause_of
from authguard.keys.source import VerificationKey
from authguard.policy.rules import Match
from tests.support.asgi import RecordingApp, http_scope, run_app
from tests.support.clock import NOW
from tests.support.key_source import StubbedSource
from tests.support.schemes.bearer import (
    bearer,
    bearer_credentials,
    bearer_request,
    explained_rejection,
    issuer,
    signed_token,
)
from tests.support.schemes.introspection import (
    INTROSPECTION_URL,
    OPAQUE_TOKEN,
    IntrospectionServer,
    active_response,
    introspection,
)
from tests.support.servers.key_server import respond_with, running_key_server
from tests.support.tokens import (
    AUDIENCE,
    HMAC_SECRET,
    ISSUER,
    claims,
    ec_key,
    ed_key,
    key_set,
    mint,
    public_jwk,
    public_pem,
    rsa_key,
    unsigned_token,
    with_signature,
)

SCHEME = bearer()
TEMPLATE = "https://login.example/{tid}/v2.0"
UNCHECKED = {"signature": "unchecked"}


def facts(scheme: Bearer, token: str | bytes, **moment: float) -> Mapping[str, object]:
    """The facts with which a token is rejected."""
    return explained_rejection(scheme, token, **moment)[1]


def claim_facts(scheme: Bearer = SCHEME, /, **changes: Any) -> Mapping[str, object]:
    """The facts with which a signed token with these claims is rejected."""
    return facts(scheme, signed_token(payload=claims(**changes)))


# --- iss and aud ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("iss", "differs_by"),
    [
        (ISSUER.rstrip("/"), "a slash at the end"),
        (ISSUER.upper(), "upper and lower case"),
        (ISSUER + " ", "white space around it"),
        ("http://login.example/", "the scheme before ://"),
        ("https://login.example/realms/a", "its path"),
        ("", "it is empty"),
    ],
)
def test_an_unknown_issuer_is_shown_beside_the_wanted_one(iss: str, differs_by: str) -> None:
    """N04: the record has the ``iss`` that was found, the one that was wanted, and how they differ. It says that no
    signature has proven the ``iss``."""
    assert explained_rejection(SCHEME, signed_token(payload=claims(iss=iss))) == (
        "token.issuer_unknown",
        {"issuer": iss, "wanted": ISSUER, "differs_by": differs_by, **UNCHECKED},
    )


def test_all_issuers_are_wanted() -> None:
    """N04: of several issuers, each is named, and those that are nothing like the found one are named too."""
    scheme = Bearer(
        issuer(name=[ISSUER, NO_ISSUER]),
        introspection(IntrospectionServer(), issuer="https://idp.example"),
        realm="orders",
    )

    assert claim_facts(scheme, iss="https://third.example/x") == {
        "issuer": "https://third.example/x",
        "wanted": (ISSUER, "NO_ISSUER", "https://idp.example"),
        **UNCHECKED,
    }


def test_a_missing_iss_is_a_missing_claim() -> None:
    """N04: a token without ``iss`` says what is missing, what was wanted, and that the token has ``issuer`` instead."""
    assert explained_rejection(SCHEME, signed_token(payload=claims(iss=..., issuer=ISSUER))) == (
        "token.claim_missing",
        {"claim": "iss", "wanted": ISSUER, "token_has": ("issuer",), **UNCHECKED},
    )
    assert explained_rejection(SCHEME, signed_token(payload=claims(iss=[ISSUER]))) == (
        "token.claim_invalid",
        {"claim": "iss", "found": "a list of strings", "wanted": "a string", **UNCHECKED},
    )


def test_a_tenant_that_is_not_listed_is_named() -> None:
    """N04: an ``iss`` that fits a template names its tenant, and the template stands for all tenants."""
    scheme = bearer(issuer(name=[TEMPLATE, ISSUER], tenants=["home"]))

    assert claim_facts(scheme, iss="https://login.example/evil/v2.0") == {
        "issuer": "https://login.example/evil/v2.0",
        "wanted": (TEMPLATE, ISSUER),
        "tenant": "evil",
        "differs_by": "a tenant that is not listed",
        **UNCHECKED,
    }


def test_an_iss_of_two_templates_is_of_none() -> None:
    """N04: where two open templates fit, the record says so, and not that the tenant is not listed."""
    both = [issuer(name=f"https://login.example/{{tid}}{end}", tenants=ANY_TENANT) for end in ("", "-y")]

    assert claim_facts(bearer(*both), iss="https://login.example/x-y")["differs_by"] == "two templates fit it"


@pytest.mark.parametrize(
    ("aud", "more", "differs_by"),
    [
        ("orders/", {}, "a slash at the end"),
        (["billing", "Orders"], {}, "upper and lower case"),
        ("api://orders", {}, "the scheme before ://"),
        ("billing orders", {}, "several names in one text"),
        ("shop", {"azp": "shop"}, "the audience is the client that the token was issued to"),
        (["shop"], {"client_id": "shop"}, "the audience is the client that the token was issued to"),
    ],
)
def test_a_wrong_audience_says_how_it_differs(aud: Any, more: dict[str, Any], differs_by: str) -> None:
    """N04: the same for ``aud``. A token whose audience is its own client was issued for no API, or is an ID token."""
    stated = (aud,) if isinstance(aud, str) else tuple(aud)

    assert claim_facts(aud=aud, **more) == {
        "audience": stated,
        "wanted": (AUDIENCE,),
        "differs_by": differs_by,
        "issuer": ISSUER,
    }


# --- claims of the wrong type -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exp", "found", "differs_by"),
    [
        (int(NOW) * 1000, "a number", "milliseconds in place of seconds"),
        (NOW * 1_000_000, "a number", "microseconds in place of seconds"),
        (int(NOW) * 10**9, "a number", "nanoseconds in place of seconds"),
        (10**400, "a number", "the size of the number"),
        (str(int(NOW)), "a string", "a number in quotes"),
        ("2026-11-29T00:00:00Z", "a string", "a date"),
    ],
    ids=lambda value: str(value)[:20],
)
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
def test_a_time_in_another_unit_is_recognised(name: str, exp: Any, found: str, differs_by: str) -> None:
    """A time in milliseconds, in quotes or as a date is named as such. The number itself, which may be long, is not
    shown."""
    expected = {"claim": name, "found": found, "wanted": "seconds since 1970", "differs_by": differs_by}

    assert claim_facts(**{name: exp}) == expected


@pytest.mark.parametrize(("exp", "found"), [(None, "null"), (True, "true or false"), ("soon", "a string")])
def test_a_time_of_another_type_is_called_by_its_kind(exp: Any, found: str) -> None:
    """What is no time at all has no unit."""
    assert claim_facts(exp=exp) == {"claim": "exp", "found": found, "wanted": "seconds since 1970"}


@pytest.mark.parametrize(("name", "seconds", "shown"), [("nbf", 3600, "valid_in"), ("iat", 19_803, "issued_in")])
def test_a_local_time_in_place_of_utc_is_recognised(name: str, seconds: int, shown: str) -> None:
    """A token that begins a whole number of half hours from now was probably written by a clock in local time."""
    hours = {3600: "1", 19_803: "5.5"}[seconds]

    assert claim_facts(**{name: NOW + seconds}) == {
        shown: float(seconds),
        "leeway": 60,
        "differs_by": f"{hours} h: a local time in place of UTC, perhaps",
        "issuer": ISSUER,
    }
    assert claim_facts(**{name: NOW + seconds + 300}) == {shown: seconds + 300.0, "leeway": 60, "issuer": ISSUER}


@pytest.mark.parametrize(
    ("name", "value", "found", "wanted"),
    [
        ("jti", 5, "a number", "a string"),
        ("aud", {"orders": 1}, "an object", "a string or a list of strings"),
        ("aud", ["orders", 5], "a list of several kinds", "a string or a list of strings"),
        ("sub", "", "an empty string", "a string that is not empty"),
    ],
)
def test_a_claim_of_another_type_is_called_by_its_kind(name: str, value: Any, found: str, wanted: str) -> None:
    """The record names the claim, what it is, and what it must be."""
    assert claim_facts(**{name: value}) == {"claim": name, "found": found, "wanted": wanted}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"exp": ..., "expires_in": 300}, {"claim": "exp", "token_has": ("expires_in",)}),
        ({"aud": ..., "azp": "shop"}, {"claim": "aud", "wanted": (AUDIENCE,), "token_has": ("azp",)}),
        ({"sub": ..., "client_id": "shop", "email": ""}, {"claim": "sub", "token_has": ("client_id",)}),
        ({"sub": ...}, {"claim": "sub"}),
    ],
)
def test_a_missing_claim_names_those_that_may_be_meant(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    """Where a token has a claim that issuers use in place of the missing one, the record names it, without its
    value."""
    assert claim_facts(**changes) == expected


def test_a_path_to_the_subject_says_where_it_ends() -> None:
    """A subject inside of another claim may be missing at each step."""
    scheme = bearer(issuer(subject=claim("ext", "upn")))

    assert claim_facts(scheme, ext={"id": 1}) == {"claim": "ext.upn", "found": "ext has no upn"}
    assert claim_facts(scheme, ext="x") == {"claim": "ext.upn", "found": "ext is a string"}
    assert claim_facts(scheme, ext={"upn": None}) == {"claim": "ext.upn", "found": "null"}
    assert claim_facts(scheme) == {"claim": "ext.upn"}


def test_the_claims_of_an_access_token_say_who_wants_them() -> None:
    """``typ="at+jwt"`` requires claims that other tokens need not have. The record says so."""
    assert facts(bearer(issuer(typ="at+jwt")), signed_token({"typ": "at+jwt"})) == {
        "claim": "client_id",
        "wanted": "each claim of RFC 9068 section 2.2, for typ at+jwt",
    }


def test_a_user_that_may_not_be_a_client_is_explained() -> None:
    """R015: the record names the claim that is missing, the one that names a user, and the one that was not used."""
    scheme = bearer(issuer(subject=[claim("sub"), claim("client_id")]))

    assert claim_facts(scheme, sub=..., client_id="shop", email="a@b.example") == {
        "claim": "sub",
        "names_a_user": "email",
        "not_used": "client_id",
    }


# --- what binds, and what checks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cnf", "expected"),
    [
        ({"jkt": "x"}, {"cnf": ("jkt",), "wanted": "a DPoP proof (RFC 9449), which Bearer does not carry"}),
        (
            {"x5t#S256": "x"},
            {
                "cnf": ("x5t#S256",),
                "wanted": "a client certificate (RFC 8705): client_certificate= says where it comes from",
            },
        ),
        ({"jwk": {}, "kid": "a"}, {"cnf": ("jwk", "kid"), "wanted": "a proof of its key"}),
        ({}, {"cnf": "an empty object"}),
        ("x", {"cnf": "a string"}),
    ],
)
def test_the_member_that_binds_a_token_is_named(cnf: Any, expected: dict[str, Any]) -> None:
    """The members of ``cnf`` say which proof is wanted. The key itself is not shown."""
    assert explained_rejection(SCHEME, signed_token(payload=claims(cnf=cnf))) == ("token.bound", expected)


PAUSED = Reason("customer.paused", 403)


def is_paying(read: Mapping[str, Any]) -> bool | Reason:
    """A check of the issuer's own."""
    return PAUSED if read.get("paused") else False


def test_a_check_of_the_issuer_is_named() -> None:
    """A check that refuses is named with file and line, whether it returns False or a reason."""
    scheme = bearer(issuer(check=is_paying))
    line = is_paying.__code__.co_firstlineno
    expected = {"check": f"is_paying (schemes/test_refusal_facts.py:{line})"}

    assert explained_rejection(scheme, mint()) == ("token.check_refused", expected)
    assert explained_rejection(scheme, mint(paused=True)) == ("customer.paused", expected)


# --- the header -------------------------------------------------------------------------------------------------------


def test_a_type_in_the_header_is_told_from_one_in_a_claim() -> None:
    """The record says whether the ``typ`` of the header or a claim has refused the token, and that a type is
    missing."""
    assert facts(SCHEME, signed_token({"typ": "dpop+jwt"})) == {
        "header": "typ",
        "typ": "dpop+jwt",
        "wanted": "JWT or at+jwt",
        **UNCHECKED,
    }
    assert facts(bearer(issuer(typ="at+jwt")), signed_token())["found"] == "no type"
    assert claim_facts(typ="ID") == {"claim": "typ", "typ": "ID", "wanted": "an access token"}


@pytest.mark.parametrize(
    ("header", "members"),
    [({"crit": ["exp"]}, ("crit",)), ({"b64": False}, ("b64",)), ({"crit": [], "b64": False}, ("crit", "b64"))],
)
def test_the_members_that_must_be_understood_are_named(header: dict[str, Any], members: tuple[str, ...]) -> None:
    """The record names what the header has, and what may stand there: neither of the two."""
    expected = {"header": members, "wanted": "neither crit nor b64", **UNCHECKED}

    assert facts(SCHEME, signed_token(header)) == expected


@pytest.mark.parametrize("name", ["kid", "typ"])
def test_the_header_member_of_the_wrong_type_is_named(name: str) -> None:
    """``problem`` names the member, and ``found`` the part of the token."""
    assert explained_rejection(SCHEME, signed_token({name: 5})) == (
        "token.malformed",
        {"problem": f"the header member {name} is not a string", "found": "header"},
    )


@pytest.mark.parametrize(
    ("token", "part"),
    [("e30.e30.", "header"), ("eyJhbGciOiJ4In0.e.e30", "payload"), ("eyJhbGciOiJ4In0.e30.e", "signature")],
)
def test_the_part_that_cannot_be_read_is_named(token: str, part: str) -> None:
    """A token that lost some characters on the way is found by the part that is damaged."""
    assert facts(SCHEME, token)["found"] == part


def test_two_names_of_an_algorithm_are_recognised() -> None:
    """R013: RFC 9864 calls EdDSA by the name of its curve, and an algorithm has a case."""
    scheme = bearer(issuer(PEM(public_pem(ed_key())), algorithms=["EdDSA"]))
    other = with_signature(unsigned_token({"alg": "Ed25519"}), bytes(64))
    lower = with_signature(unsigned_token({"alg": "rs256"}), bytes(256))

    assert facts(scheme, other) == {
        "algorithm": "Ed25519",
        "wanted": ("EdDSA",),
        "differs_by": "EdDSA has two names for one curve; list the one that the token says, too",
        **UNCHECKED,
    }
    assert facts(SCHEME, lower)["differs_by"] == "upper and lower case"


# --- what is no token -------------------------------------------------------------------------------------------------

JWT = "eyJhbGciOiJSUzI1NiJ9.e30.AAAA"


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        (f"b'{JWT}'", "a bytes literal of Python, b'...'"),
        ('{"access_token": "x"}', "JSON, and not the token in it"),
        ("[object Object]", "an object of JavaScript, as a string"),
        ("{{access_token}}", "a placeholder that nothing has replaced"),
        ("<token>", "a placeholder that nothing has replaced"),
        ("${TOKEN}", "a placeholder that nothing has replaced"),
        ("$TOKEN", "a placeholder that nothing has replaced"),
        ("token=abc", "a name and an equals sign before the token"),
        (f"Token {JWT}", "another auth-scheme after Bearer"),
        (f"{JWT}\\n", "a backslash inside, perhaps an escaped line break"),
        (f"{JWT}%3D", "percent-encoding"),
        (f"{JWT}\xff", "a character outside ASCII"),
    ],
)
def test_a_mistake_in_the_field_is_recognised(sent: str, found: str) -> None:
    """What clients write in place of a token is recognised, and nothing of it is shown."""
    assert explained_rejection(SCHEME, sent.encode("latin-1")) == (
        "credentials.malformed",
        {"problem": "not a token68", "found": found},
    )


@pytest.mark.parametrize("word", ["undefined", "null", "None", "token"])
def test_a_word_in_place_of_a_token_is_recognised(word: str) -> None:
    """A program that has no token sends a word such as undefined. Only words of a fixed list are shown."""
    assert facts(SCHEME, word) == {
        "problem": "no dot: an opaque token, not a JWS",
        "found": f"the word {word.lower()}",
    }


@pytest.mark.parametrize("word", ["s3cret", "secret", "changeme", "Undefined1"])
def test_a_word_that_may_be_a_password_is_not_shown(word: str) -> None:
    """What is on no list may be a secret, and so may some words that programs write as examples."""
    assert facts(SCHEME, word) == {"problem": "no dot: an opaque token, not a JWS"}


@pytest.mark.parametrize("sent", [b"abc\x01", b"a b", b"1=b=c", b"ab=="])
def test_no_other_text_is_a_mistake(sent: bytes) -> None:
    """Of any other text only ``problem`` is said, here and by the guard, which recognises what clients of any scheme
    do: the scheme twice, quotes, two credentials that were joined on the way."""
    assert "found" not in facts(SCHEME, sent)


# --- the signature ----------------------------------------------------------------------------------------------------


def test_a_token_for_another_api_is_recognised() -> None:
    """R009: Microsoft signs tokens for its own APIs in another form, and marks them by a ``nonce`` in the header. The
    record says so, and what the claims say, which nothing has proven."""
    token = mint(rsa_key(which=1), headers={"nonce": "x", "jku": "https://evil.example"}, aud=["graph", "mail"])

    assert explained_rejection(SCHEME, token) == (
        "token.signature_invalid",
        {
            "kid": None,
            "algorithm": "RS256",
            "iss?": ISSUER,
            "aud?": ("graph", "mail"),
            "header_has": ("nonce", "jku"),
            "differs_by": "a nonce in the header: only the API that it is for can verify it",
        },
    )


@pytest.mark.parametrize(
    ("aud", "shown", "differs_by"),
    [
        ("billing", "billing", "an audience that is not ours: a token for another API, perhaps"),
        ([AUDIENCE, "billing"], (AUDIENCE, "billing"), None),
        ({"a": 1}, (), None),
        (..., (), None),
        ([5, {}], ("5", "{}"), "an audience that is not ours: a token for another API, perhaps"),
    ],
)
def test_the_unproven_audience_is_marked(aud: Any, shown: Any, differs_by: str | None) -> None:
    """R009: ``aud?`` is what an unproven token says, whatever that is."""
    token = with_signature(unsigned_token({"alg": "RS256"}, claims(aud=aud)), bytes(256))
    found = facts(SCHEME, token)

    assert (found["aud?"], found.get("differs_by")) == (shown, differs_by)


def test_an_audience_that_is_not_checked_explains_nothing() -> None:
    """With ANY_AUDIENCE no audience is another API's."""
    found = facts(bearer(issuer(audience=ANY_AUDIENCE)), mint(rsa_key(which=1), aud="billing"))

    assert (found["aud?"], "differs_by" in found) == ("billing", False)


@pytest.mark.parametrize(
    ("names", "is_shown"),
    [(ISSUER, False), (ANY_ISSUER, True), ([ISSUER, "https://second.example"], True), ([ISSUER, NO_ISSUER], True)],
)
def test_what_a_token_must_say_anyway_is_not_shown(names: Any, is_shown: bool) -> None:
    """R009: an issuer and an audience that are the only accepted ones explain nothing. They are not in the record of a
    token without a valid signature."""
    found = facts(bearer(issuer(name=names)), mint(rsa_key(which=1)))

    assert {name: found[name] for name in ("iss?", "aud?") if name in found} == (
        {"iss?": ISSUER, "aud?": AUDIENCE} if is_shown else {}
    )


@pytest.mark.parametrize(
    ("key", "algorithm", "signature", "differs_by"),
    [
        (rsa_key(), "RS256", b"", "the signature is empty"),
        (rsa_key(), "RS256", bytes(384), "the signature has 384 bytes, and those of the key have 256"),
        (
            ec_key(),
            "ES256",
            b"\x30" + bytes(70),
            "the signature is DER, and not the two numbers of RFC 7518 section 3.4",
        ),
        (ec_key(), "ES256", bytes(70), "the signature has 70 bytes, and those of the key have 64"),
        (ed_key(), "EdDSA", bytes(63), "the signature has 63 bytes, and those of the key have 64"),
        (HMAC_SECRET, "HS256", bytes(64), "the signature has 64 bytes, and those of the key have 32"),
        (rsa_key(), "RS256", bytes(256), None),
    ],
    ids=["empty", "rsa", "der", "ec", "ed", "hmac", "right length"],
)
def test_a_signature_of_another_form_is_recognised(key: Any, algorithm: str, signature: bytes, differs_by: Any) -> None:
    """A signature that cannot be of the key has another length. That of OpenSSL or of a key service is DER."""
    keys = Secret(key) if isinstance(key, bytes) else PEM(public_pem(key))
    token = with_signature(unsigned_token({"alg": algorithm}), signature)

    assert facts(bearer(issuer(keys, algorithms=[algorithm])), token).get("differs_by") == differs_by


def test_the_length_of_a_signature_is_that_of_its_key() -> None:
    """A key of a kind that authguard does not know has no known length."""
    assert VerificationKey("RS256", None, object()).signature_length is None
    assert VerificationKey("EdDSA", None, ed_key().public_key()).signature_length == 64
    assert VerificationKey("HS512", None, b"x").signature_length == 64
    assert VerificationKey("odd", None, b"x").signature_length is None


def test_several_tried_keys_are_counted() -> None:
    """Where a token has no ``kid``, the record says how many keys were tried."""
    keys = [PEM(public_pem(rsa_key(which=1))), PEM(public_pem(rsa_key(which=2)))]

    assert facts(bearer(issuer(keys)), mint())["tried"] == 2


def test_an_unknown_key_is_shown_beside_the_known_ones() -> None:
    """A ``kid`` that is in no set is shown with those that are, and with how it differs from one that it is like."""
    members = [{**public_jwk(rsa_key()), "kid": f"Key-{number}"} for number in range(8)]
    found = facts(bearer(issuer(JWKSet({"keys": members}))), mint(headers={"kid": "key-1"}))

    assert found == {
        "kid": "key-1",
        "algorithm": "RS256",
        "known": (*(f"Key-{number}" for number in range(6)), "and 2 more"),
        "differs_by": "upper and lower case",
    }


def test_a_set_of_another_algorithm_knows_no_key() -> None:
    """Where no key is for the token's algorithm, the list of known keys is empty."""
    keys = {"RS256": PEM(public_pem(rsa_key()), kid="a"), "ES256": PEM(public_pem(ec_key()), kid="b")}
    scheme = bearer(issuer(keys, algorithms=["RS256", "ES256"]))

    assert facts(scheme, mint(headers={"kid": "b"}))["known"] == ("a",)


class OneKey:
    """A source of an app's own."""

    async def keys_for(self, *, kid: str | None, algorithm: str) -> list[VerificationKey]:
        return []


async def test_the_source_of_the_keys_is_named() -> None:
    """Where the keys are from, which they are and how old: a key server's URL, or the class of a source of the app."""
    source = StubbedSource("a")
    fetched, own = bearer(issuer(source.keys)), bearer(issuer(OneKey()))
    token = with_signature(unsigned_token({"alg": "RS256", "kid": "b"}), bytes(256))

    async def rejected(scheme: Bearer) -> dict[str, object]:
        result = await scheme.authenticate(bearer_request(), bearer_credentials(token))
        assert isinstance(result, Rejected)
        return dict(result.facts)

    told = {"kid": "b", "algorithm": "RS256", "token": sha256(token).hexdigest()[:8]}
    assert await rejected(fetched) == {**told, "source": "https://login.example/jwks", "known": ("a",), "keys_age": 0.0}
    assert await rejected(own) == {**told, "source": "OneKey"}


async def test_keys_that_were_skipped_are_counted() -> None:
    """A key may be in the published set and not be used. The record of a token with an unknown key says how many."""
    source = StubbedSource("a")
    source.server.answer = Fetched(key_set({"kty": "EC", "kid": "b"}, a=rsa_key()))
    scheme = bearer(issuer(source.keys))

    result = await scheme.authenticate(bearer_request(), bearer_credentials(mint(headers={"kid": "b"})))

    assert isinstance(result, Rejected)
    assert (result.reason.code, result.facts["skipped"]) == ("key.unknown", 1)


async def test_where_a_key_server_redirects_is_recorded() -> None:
    """R006: a redirect is not followed, and the record names its target without its query."""
    with running_key_server() as server:
        server.behaviour = respond_with(b"", 302, location="https://login.example/elsewhere?key=secret")
        keys = RemoteJWKS(server.url, insecure_http=True)

        with pytest.raises(BackendUnavailable) as caught:
            await keys.keys_for(kid="a", algorithm="RS256")

    assert caught.value.facts == {"location": "https://login.example/elsewhere"}


def test_a_source_without_keys_has_only_its_name() -> None:
    """Before the first fetch, a record can say only where the keys would be from."""
    source = StubbedSource("a").keys

    assert source.key_facts("RS256") == {"source": "https://login.example/jwks"}


# --- introspection ----------------------------------------------------------------------------------------------------


async def introspected(server: IntrospectionServer, **options: Any) -> dict[str, object]:
    """The facts with which an opaque token is refused."""
    scheme = Bearer(introspection(server, **options), realm="orders")
    result = await scheme.authenticate(bearer_request(), bearer_credentials(OPAQUE_TOKEN))
    assert isinstance(result, Rejected)
    return {name: fact for name, fact in result.facts.items() if name != "token"}


UNKNOWN_TOKEN = "or, if it does not know the token, name the status in unknown_token_statuses="


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (401, f"it does not take our client_id and client_secret; {UNKNOWN_TOKEN}"),
        (400, f"it objects to the request; {UNKNOWN_TOKEN}"),
        (404, "is the URL right?"),
        (302, "a redirect, which is not followed"),
        (500, None),
    ],
)
async def test_what_to_do_about_an_endpoint_is_a_fact_of_its_own(status: int, hint: str | None) -> None:
    """The hint is not cut off with the end of ``detail``."""
    with pytest.raises(BackendUnavailable) as caught:
        await introspected(IntrospectionServer((status, b"{}")))

    assert caught.value.facts == {"endpoint_status": status, **({} if hint is None else {"hint": hint})}


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "s3cret"), os.strerror(errno.ECONNREFUSED)),
        (OSError("s3cret"), None),
        (socket.gaierror(socket.EAI_NONAME, "s3cret"), "its name is not found"),
        (ssl.SSLError("s3cret"), "SSLError"),
        (ExceptionGroup("s3cret", [OSError(errno.ETIMEDOUT, "s3cret")]), os.strerror(errno.ETIMEDOUT)),
        (ValueError("s3cret"), None),
    ],
    ids=["refused", "no number", "no name", "tls", "several", "other"],
)
async def test_why_a_connection_failed_is_recorded(error: Exception, cause: str | None) -> None:
    """R006: the record says why an endpoint cannot be reached, in the words of the system. The text of the exception,
    which may hold a secret, is not read; what has caused it is found, however deep."""

    async def post(url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        raise RuntimeError from error

    with pytest.raises(BackendUnavailable) as caught:
        await introspected(IntrospectionServer(), post=post)

    assert caught.value.facts == ({} if cause is None else {"cause": cause})


def test_a_chain_of_causes_has_an_end() -> None:
    """Exceptions may refer to one another in a circle."""
    first, second = RuntimeError(), RuntimeError()
    first.__cause__, second.__cause__ = second, first

    assert cause_of(first) is None


async def test_an_answer_that_refuses_is_explained() -> None:
    """The record names the endpoint, and what it found in the answer in place of what was wanted."""
    assert await introspected(IntrospectionServer({"active": False})) == {"endpoint": INTROSPECTION_URL}
    assert await introspected(IntrospectionServer(active_response(iss=ISSUER[:-1]))) == {
        "issuer": ISSUER[:-1],
        "wanted": ISSUER,
        "differs_by": "a slash at the end",
    }
    assert await introspected(IntrospectionServer(active_response(iss=...))) == {"claim": "iss", "wanted": ISSUER}
    assert await introspected(IntrospectionServer(active_response(token_type=5))) == {
        "claim": "token_type",
        "typ": None,
        "wanted": "Bearer",
        "found": "a number",
    }


# --- roles and scopes that are not there ------------------------------------------------------------------------------


async def denied(token: str, requirement: Any, scheme: Bearer | None = None, **options: Any) -> Record:
    """The record of a request with this token for a route that requires this."""
    records: list[Record] = []
    guard = Guard(
        scheme or bearer(),
        rules=[Rule("/", requirement)],
        clock=lambda: NOW,
        log=False,
        hooks=[records.append],
        **options,
    )
    app = AuthGuardMiddleware(RecordingApp(), guard=guard)
    await run_app(app, http_scope("/", headers=[(b"authorization", f"Bearer {token}".encode())]))
    (record,) = records
    return record


REALM = claim("realm_access", "roles")


@pytest.mark.parametrize(
    ("source", "changes", "expected"),
    [
        (
            claim("realm_access.roles"),
            {"realm_access": {"roles": ["admin"]}},
            {
                "read": "claim('realm_access.roles')",
                "found": "absent",
                "token_has": ("claim('realm_access', 'roles')",),
            },
        ),
        (REALM, {"realm_access": {}}, {"read": str(REALM), "found": "realm_access has no roles"}),
        (REALM, {"realm_access": ["admin"]}, {"read": str(REALM), "found": "realm_access is a list of strings"}),
        (
            claim("https://shop", "example/roles"),
            {"https://shop.example/roles": ["admin"]},
            {
                "read": "claim('https://shop', 'example/roles')",
                "found": "absent",
                "token_has": ("claim('https://shop.example/roles')",),
            },
        ),
        (
            claim("roles"),
            {"role": "admin", "resource_access": {"shop": {"roles": ["admin"]}, "odd": 5}},
            {
                "read": "claim('roles')",
                "found": "absent",
                "token_has": ("claim('role')", "claim('resource_access', 'shop', 'roles')"),
            },
        ),
        (claim("roles"), {"roles": [{"name": "admin"}]}, {"read": "claim('roles')", "found": "a list of objects"}),
        (claim("roles"), {"roles": {"admin": True}}, {"read": "claim('roles')", "found": "an object"}),
        (claim("roles"), {"roles": []}, {"read": "claim('roles')", "found": "an empty list"}),
        (
            [claim("roles"), claim("groups")],
            {"groups": None},
            {"read": ("claim('roles')", "claim('groups')"), "found": ("absent", "null")},
        ),
    ],
)
async def test_a_role_that_is_nowhere_is_explained(
    source: Any, changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    """N07: where a principal has no role at all, the record says which claim was read, whether it is absent or of which
    type, and which other claims the token has in which issuers write roles."""
    record = await denied(mint(**{"roles": ..., **changes}), role("admin"), bearer(issuer(roles=source)))

    assert (record.reason, record.missing, record.offered) == ("role.missing", ("admin",), ())
    assert record.facts == expected


async def test_a_scope_that_is_nowhere_is_explained() -> None:
    """N07: the same for scopes: Microsoft and Okta write them into ``scp``."""
    record = await denied(mint(scope=..., scp=["read"]), scopes("read"))

    assert (record.reason, record.offered) == ("scope.missing", ())
    assert record.facts == {"read": "claim('scope')", "found": "absent", "token_has": ("claim('scp')",)}


async def test_an_explanation_is_found_once_for_each_token() -> None:
    """N07: whoever has no role may send many requests, so the claims are not searched for each. The explanation belongs
    to the issuers of the scheme, and is another one when these are replaced."""
    scheme, token = bearer(), mint(roles=...)
    first, again, scoped = [
        await denied(token, wanted, scheme) for wanted in (role("admin"), role("clerk"), scopes("x"))
    ]
    scheme.replace(issuer(roles=claim("groups")))
    replaced = await denied(token, role("admin"), scheme)

    assert first.facts == again.facts == {"read": "claim('roles')", "found": "absent"}
    assert scoped.offered == ("read", "write")
    assert replaced.facts["read"] == "claim('groups')"


def no_roles(read: Mapping[str, Any]) -> list[str]:
    """A function of the claims that finds none."""
    return []


async def test_a_function_that_gives_no_role_is_named() -> None:
    """N07: a function is named with file and line. It is not called again."""
    record = await denied(mint(), role("admin"), bearer(issuer(roles=no_roles)))

    line = no_roles.__code__.co_firstlineno
    assert record.facts == {
        "read": f"no_roles (schemes/test_refusal_facts.py:{line})",
        "found": "it gave no name",
        "token_has": ("claim('roles')",),
    }


async def test_an_introspected_token_without_roles_is_explained() -> None:
    """N07: the claims of an opaque token are the members of the answer."""
    scheme = Bearer(
        issuer(), introspection(IntrospectionServer(active_response(roles=..., role="admin"))), realm="orders"
    )

    record = await denied(OPAQUE_TOKEN, role("admin"), scheme)

    assert record.facts == {"read": "claim('roles')", "found": "absent", "token_has": ("claim('role')",)}


@pytest.mark.parametrize(
    ("offered", "differs_by"),
    [
        (["Admin"], "upper and lower case"),
        (["ROLE_admin"], "ROLE_ before it"),
        (["/admin"], "a slash at the beginning"),
        (["clerk", "admin,editor"], "several names in one text"),
        (["clerk", "administrator"], None),
    ],
)
async def test_a_role_that_is_nearly_right_is_recognised(offered: list[str], differs_by: str | None) -> None:
    """N07: a role that differs by its case or by a prefix is shown beside the wanted one, with the difference."""
    record = await denied(mint(roles=offered), role("admin"))

    assert record.facts == ({} if differs_by is None else {"differs_by": differs_by})


async def test_the_names_offered_are_those_of_the_refusal() -> None:
    """A role that is missing on a route that requires scopes too is shown beside the roles."""
    record = await denied(mint(roles=["clerk"]), all_of(role("admin"), scopes("read")))

    assert (record.reason, record.offered) == ("role.missing", ("clerk",))


async def test_a_check_without_facts_is_named() -> None:
    """A check of the guard that refuses, and gives no facts, is named with file and line. One with facts has said what
    it wants to say."""
    owed = 7

    async def is_paid(request: Any, principal: Principal) -> Rejected:
        return Rejected(PAUSED, facts={"owed": owed} if owed else {})

    explained = await denied(mint(), role("admin"), checks=[is_paid])
    owed = 0
    silent = await denied(mint(), role("admin"), checks=[is_paid])

    line = is_paid.__code__.co_firstlineno
    assert explained.facts == {"owed": 7}
    assert silent.facts == {"check": f"is_paid (schemes/test_refusal_facts.py:{line})"}


async def test_a_principal_of_another_guard_is_not_explained() -> None:
    """An outer guard's scheme may be none of this guard, which then knows nothing of its claims."""
    guard = Guard(bearer(), log=False)
    match = Match(role("admin"))

    decision = await guard.decide(bearer_request(), match, Principal("alice", scheme="other"))

    assert isinstance(decision, Denied)
    assert (decision.reason.code, decision.facts) == ("role.missing", {})


async def test_what_a_check_has_removed_is_not_the_fault_of_the_claims() -> None:
    """Where the claims give roles, and a check of the guard has taken them away, nothing is said of the claims. What a
    check puts into the claims cannot break the refusal."""

    async def without_roles(request: Any, principal: Principal) -> Principal:
        return Principal(principal.subject, claims=dict(principal.claims))

    async def with_odd_claims(request: Any, principal: Principal) -> Principal:
        return Principal(principal.subject, claims={"iss": ISSUER, 5: "x"})  # type: ignore[dict-item]

    async def of_nobody(request: Any, principal: Principal) -> Principal:
        return Principal(principal.subject, claims={"iss": "https://third.example"})

    for check in (without_roles, with_odd_claims, of_nobody):
        record = await denied(mint(), role("admin"), checks=[check])
        assert (record.reason, record.facts) == ("role.missing", {}), check
