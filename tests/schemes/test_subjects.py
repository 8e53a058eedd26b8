"""Whose token it is, where issuers name the subject in other ways than by a string in ``sub``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from authguard import Accepted, Bearer, ConfigurationError, Rejected, claim
from authguard.model import Outcome
from tests.support.clock import NOW
from tests.support.schemes.bearer import (
    accepted_principal,
    bearer,
    bearer_credentials,
    bearer_request,
    issuer,
    outcome,
    rejection,
    signed_token,
)
from tests.support.schemes.introspection import OPAQUE_TOKEN, IntrospectionServer, active_response, introspection
from tests.support.tokens import claims, mint

USERS_AND_CLIENTS = [claim("sub"), claim("client_id")]


def test_the_first_subject_that_is_there_is_used() -> None:
    """R015: a token of the client credentials grant has no ``sub``, and is the client's; a user's token is the
    user's."""
    scheme = bearer(issuer(subject=USERS_AND_CLIENTS))

    assert accepted_principal(scheme, mint(client_id="shop")).subject == "alice"
    assert accepted_principal(scheme, mint(sub=..., client_id="shop")).subject == "shop"


@pytest.mark.parametrize("sub", ["", None])
def test_an_empty_subject_counts_as_absent(sub: Any) -> None:
    """R015: some servers write an empty ``sub``, or null, into the tokens of clients."""
    scheme = bearer(issuer(subject=USERS_AND_CLIENTS))

    assert accepted_principal(scheme, signed_token(payload=claims(sub=sub, client_id="shop"))).subject == "shop"


@pytest.mark.parametrize("sub", [42, True, ["alice"], {"a": 1}])
def test_a_subject_that_cannot_be_read_is_not_passed_over(sub: Any) -> None:
    """R015: a user whose ``sub`` has another type does not become the client."""
    scheme = bearer(issuer(subject=USERS_AND_CLIENTS))

    token = signed_token(payload=claims(sub=sub, client_id="shop"))
    assert rejection(scheme, token) == ("token.claim_invalid", {"claim": "sub"})


@pytest.mark.parametrize("name", ["username", "preferred_username", "email", "upn", "unique_name", "user_id", "uid"])
def test_a_user_does_not_become_the_client(name: str) -> None:
    """R015: a token without ``sub`` that names a user in another claim is not the client's."""
    scheme = bearer(issuer(subject=USERS_AND_CLIENTS))

    user, client = ({"sub": ..., "client_id": "shop", name: value} for value in ("alice", "shop"))
    assert rejection(scheme, signed_token(payload=claims(**user))) == (
        "token.claim_missing",
        {"claim": "sub", "names_a_user": name},
    )
    assert accepted_principal(scheme, signed_token(payload=claims(**client))).subject == "shop"


def test_a_user_without_the_first_claim_does_not_become_the_client() -> None:
    """R015: where the subject is the e-mail address, a user without one has still a ``sub``, and is not the client."""
    scheme = bearer(issuer(subject=[claim("email"), claim("azp")]))

    assert rejection(scheme, mint(azp="shop")) == ("token.claim_missing", {"claim": "email", "names_a_user": "sub"})
    assert accepted_principal(scheme, mint(sub="shop", azp="shop")).subject == "shop"


def test_a_token_that_names_nobody_is_refused() -> None:
    """The record names all claims that were looked at."""
    scheme = bearer(issuer(subject=USERS_AND_CLIENTS))

    assert rejection(scheme, mint(sub=...)) == ("token.claim_missing", {"claim": "sub or client_id"})


@pytest.mark.parametrize("first", ["client_id", "azp", "cid", "appid"])
def test_a_client_comes_last(first: str) -> None:
    """R015: every user's token has the claim of its client, so that claim must not be asked first."""
    with pytest.raises(ConfigurationError, match=rf"^subject: claim\('{first}'\) must come last"):
        issuer(subject=[claim(first), claim("sub")])
    with pytest.raises(ConfigurationError, match=r"^subject: .* must come last"):
        issuer(subject=[claim(first), lambda claims: "alice"])

    assert issuer(subject=[claim("sub"), claim(first), claim("azp")]).subject is not None


# --- a function -------------------------------------------------------------------------------------------------------


def client_or_user(read: Mapping[str, Any]) -> str | None:
    """The subject of a token whose client is marked."""
    return f"client:{read['client_id']}" if read.get("gty") == "client-credentials" else None


def test_the_subject_may_be_a_function() -> None:
    """R015: a function of the claims names the subject, alone or before and after claims."""
    alone, several = bearer(issuer(subject=client_or_user)), bearer(issuer(subject=[client_or_user, claim("sub")]))
    client = mint(gty="client-credentials", client_id="shop")

    assert [accepted_principal(scheme, client).subject for scheme in (alone, several)] == ["client:shop"] * 2
    assert accepted_principal(several, mint()).subject == "alice"
    assert rejection(alone, mint()) == ("token.claim_missing", {"claim": "client_or_user"})
    assert rejection(bearer(issuer(subject=lambda read: "")), mint())[0] == "token.claim_missing"


def test_a_function_sees_verified_claims_alone() -> None:
    """A function of the app is not asked about a token with a wrong signature, nor about one that has expired."""
    asked: list[Mapping[str, Any]] = []

    def ask(read: Mapping[str, Any]) -> str:
        asked.append(read)
        return "bob"

    scheme = bearer(issuer(subject=ask))

    assert rejection(scheme, mint()[:-8] + "AAAAAAAA")[0] == "token.signature_invalid"
    assert rejection(scheme, mint(exp=NOW - 100))[0] == "token.expired"
    assert asked == []


@pytest.mark.parametrize("wrong", [42, ["alice"], True])
def test_a_function_returns_a_string(wrong: Any) -> None:
    """What a function returns is a string or None; anything else raises, so that nobody becomes the user "42"."""
    with pytest.raises(TypeError, match="neither a string nor None"):
        outcome(bearer(issuer(subject=lambda read: wrong)), mint())


@pytest.mark.parametrize("argument", ["subject", "roles", "scopes"])
def test_a_function_is_not_async(argument: str) -> None:
    """A function of the claims is called while the token is verified, so it must not be async."""

    async def look_up(read: Any) -> str:
        return "alice"

    class LookUp:
        async def __call__(self, read: Any) -> str:
            return "alice"

    functions: list[Any] = [look_up, LookUp()]
    for function in functions:
        with pytest.raises(ConfigurationError, match=f"^{argument}: .* must not be async"):
            issuer(**{argument: function})


@pytest.mark.parametrize("subject", [[], "sub", ["sub"], 42])
def test_a_subject_is_a_claim_or_a_function(subject: Any) -> None:
    """An empty list, or a name in place of a claim, raises while the app is built."""
    with pytest.raises(ConfigurationError, match=r"^subject: .*claim\("):
        issuer(subject=subject)


# --- a number, and other claims ---------------------------------------------------------------------------------------


def test_a_number_is_a_subject_by_name() -> None:
    """R011: with ``numeric_subject`` a whole number is the subject, and the record says that it was tolerated."""
    scheme = bearer(issuer(numeric_subject=True))
    number = signed_token(payload=claims(sub=42))
    result, late = outcome(scheme, number), outcome(scheme, signed_token(payload=claims(sub=42, exp=NOW - 3)))

    assert isinstance(result, Accepted)
    assert isinstance(late, Accepted)
    assert (result.principal.subject, result.facts) == ("42", {"tolerated": {"subject": "a number"}})
    assert late.facts == {"tolerated": {"exp": 3.0, "subject": "a number"}}
    assert outcome(scheme, number) == result
    assert outcome(scheme, mint()).facts == {}
    assert outcome(scheme, signed_token(payload=claims(sub="42"))).facts == {}


@pytest.mark.parametrize("sub", [True, 4.0, 2**63, [1]])
def test_a_number_is_whole_and_has_64_bits(sub: Any) -> None:
    """R011: true, a fraction and a number that no database holds are no subjects."""
    scheme = bearer(issuer(numeric_subject=True))

    assert rejection(scheme, signed_token(payload=claims(sub=sub))) == ("token.claim_invalid", {"claim": "sub"})


def test_a_number_is_not_leeway() -> None:
    """What was tolerated of the subject does not count as a sign of a drifting clock."""
    scheme = bearer(issuer(numeric_subject=True))
    outcome(scheme, signed_token(payload=claims(sub=42)))
    figures: Any = scheme.health()["clocks"]

    assert [clock["tolerated"] for clock in figures.values()] == [0]


@pytest.mark.parametrize("sub", [42, None, True, ["alice"]])
def test_sub_is_not_checked_where_it_is_not_the_subject(sub: Any) -> None:
    """R011: where another claim is the subject, ``sub`` may be anything."""
    scheme = bearer(issuer(subject=claim("email")))

    assert accepted_principal(scheme, signed_token(payload=claims(sub=sub, email="a@b.example"))).subject == (
        "a@b.example"
    )


def test_sub_may_be_missing_in_an_access_token_where_it_is_not_the_subject() -> None:
    """RFC 9068 requires ``sub``; servers that leave it out of the tokens of clients are read if the app says so."""
    token = signed_token({"typ": "at+jwt"}, claims(sub=..., client_id="shop", jti="1"))

    assert accepted_principal(bearer(issuer(subject=USERS_AND_CLIENTS, typ="at+jwt")), token).subject == "shop"
    assert rejection(bearer(issuer(typ="at+jwt")), token) == ("token.claim_missing", {"claim": "sub"})


# --- introspection ----------------------------------------------------------------------------------------------------


async def introspected(answer: Mapping[str, object], **options: Any) -> Outcome:
    """The outcome of an opaque token about which the server gives this answer."""
    scheme = Bearer(introspection(IntrospectionServer(answer), **options), realm="orders")
    return await scheme.authenticate(bearer_request(), bearer_credentials(OPAQUE_TOKEN))


async def test_an_introspected_token_of_a_client_is_the_clients() -> None:
    """R015: RFC 7662 does not require ``sub`` either. A user named in ``username`` does not become the client."""
    client = {**active_response(), "client_id": "shop", "sub": None}
    of_client, of_user = [
        await introspected(answer, subject=USERS_AND_CLIENTS) for answer in (client, {**client, "username": "alice"})
    ]

    assert isinstance(of_client, Accepted)
    assert of_client.principal.subject == "shop"
    assert isinstance(of_user, Rejected)
    assert (of_user.reason.code, of_user.facts["names_a_user"]) == ("token.claim_missing", "username")


async def test_an_introspected_number_is_a_subject_by_name() -> None:
    """R011: as for tokens that are signed."""
    answer = {**active_response(), "sub": 42}
    refused, result = await introspected(answer), await introspected(answer, numeric_subject=True)

    assert isinstance(refused, Rejected)
    assert isinstance(result, Accepted)
    assert (result.principal.subject, result.facts) == ("42", {"tolerated": {"subject": "a number"}})
